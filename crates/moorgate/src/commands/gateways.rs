//! `gateway`: the gateways on one store.

use std::fmt::Write;

use moorgate_api::{client::Client, view::GatewayState};
use moorgate_control::GatewayHealth;

use super::CommandError;
use crate::{
    cli::GatewayCommand,
    output::{Table, answer, shown, when},
};

pub(super) async fn run(client: &Client, command: GatewayCommand) -> Result<(), CommandError> {
    match command {
        GatewayCommand::List(json) => {
            let gateways = client.gateways().await?;
            answer(json, &gateways, || list(&gateways))
        }
        GatewayCommand::Show { name, json } => {
            let gateway = client.gateway(&name).await?;
            answer(json, &gateway, || show(&gateway))
        }
    }
}

fn health(gateway: &GatewayState) -> &'static str {
    match gateway.health {
        GatewayHealth::Up => "up",
        GatewayHealth::Stopped => "stopped",
        GatewayHealth::Lost => "LOST",
    }
}

fn snapshot(gateway: &GatewayState) -> String {
    let newest = if gateway.is_newest { "newest" } else { "older" };
    format!("{} ({newest})", gateway.applied)
}

fn list(gateways: &[GatewayState]) -> String {
    if gateways.is_empty() {
        return "no gateway has said yet that it is here: the store can't be used now (the gateway's log says why)\n"
            .into();
    }
    let mut table = Table::new(["GATEWAY", "VERSION", "HEALTH", "SNAPSHOT", "LAST SEEN"]);
    for gateway in gateways {
        let here = if gateway.is_this { " (asked)" } else { "" };
        let (name, seen) = (format!("{}{here}", gateway.name), when(gateway.seen));
        table.row([name, gateway.version.clone(), health(gateway).into(), snapshot(gateway), seen]);
    }
    table.to_string()
}

fn show(gateway: &GatewayState) -> String {
    let said = match gateway.health {
        GatewayHealth::Up => "",
        GatewayHealth::Stopped => " (in good order)",
        GatewayHealth::Lost => " (no sign of life; it may run on, cut off from the store)",
    };
    let mut text = format!(
        "gateway    {}\nversion    {}\nhealth     {}{said}\nstarted    {}\nlast seen  {}\nsnapshot   {}\n",
        shown(&gateway.name),
        shown(&gateway.version),
        health(gateway),
        when(gateway.started),
        when(gateway.seen),
        snapshot(gateway),
    );
    for (listener, addresses) in &gateway.addresses {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  {:20}  {}", shown(listener), addresses.join(", "));
    }
    text
}
