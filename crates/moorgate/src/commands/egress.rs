//! `egress`.

use moorgate_api::{client::Client, view::EgressAddress};

use super::CommandError;
use crate::{
    cli::Egress,
    output::{Table, answer},
};

pub(super) async fn run(client: &Client, command: Egress) -> Result<(), CommandError> {
    let Egress::List(json) = command;
    let addresses = client.egress().await?;
    answer(json, &addresses, || list(&addresses))
}

fn list(addresses: &[EgressAddress]) -> String {
    if addresses.is_empty() {
        return "no egress addresses are set, so connections leave from whatever the kernel picks;\n\
            list them under [egress] addresses in the gateway's file\n"
            .into();
    }
    let mut table = Table::new(["ADDRESS", "STATE", "PORTS FREE", "ACCOUNTS"]);
    for egress in addresses {
        let state = if egress.present { "present" } else { "absent: the kernel does not let us leave from it" };
        let accounts = if egress.accounts.is_empty() { "–".into() } else { egress.accounts.join(", ") };
        table.row([egress.address.to_string(), state.into(), ports(egress), accounts]);
    }
    table.to_string()
}

/// Toward the destination that takes most of them.
fn ports(egress: &EgressAddress) -> String {
    if !egress.present {
        return "–".into();
    }
    match (egress.ports_free, egress.ports, egress.busiest) {
        (Some(free), Some(all), Some(destination)) => format!("{free} of {all} to {destination}"),
        (Some(free), Some(all), None) => format!("{free} of {all}"),
        _ => "all".into(),
    }
}
