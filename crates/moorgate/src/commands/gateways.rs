//! `gateway`: the gateways on one store.

use std::fmt::Write;

use moorgate_api::{client::Client, view::GatewayState};
use moorgate_control::GatewayHealth;

use super::CommandError;
use crate::{
    cli::GatewayCommand,
    output::{Table, answer, note, shown, when},
};

pub(super) async fn run(client: &Client, command: GatewayCommand) -> Result<(), CommandError> {
    match command {
        GatewayCommand::List(json) => {
            let gateways = client.gateways().await?;
            answer(json, &gateways, || list(&gateways))?;
            notes(&gateways).into_iter().for_each(note);
            Ok(())
        }
        GatewayCommand::Show { name, json } => {
            let gateway = client.gateway(&name).await?;
            answer(json, &gateway, || show(&gateway))?;
            notes(&[gateway]).into_iter().for_each(note);
            Ok(())
        }
    }
}

fn health(gateway: &GatewayState) -> &'static str {
    match gateway.health {
        GatewayHealth::Up => "up",
        GatewayHealth::Stopped => "stopped",
        GatewayHealth::Lost => "LOST",
        GatewayHealth::Unknown => "unknown",
    }
}

fn snapshot(gateway: &GatewayState) -> String {
    let newest = match gateway.health {
        GatewayHealth::Unknown => "last known",
        _ if gateway.is_newest => "newest",
        _ => "older",
    };
    format!("{} ({newest})", gateway.applied)
}

fn list(gateways: &[GatewayState]) -> String {
    if gateways.is_empty() {
        return "no gateway has said yet that it is here: the store can't be used now (the gateway's log says why)\n"
            .into();
    }
    let mut table = Table::new(["GATEWAY", "VERSION", "HEALTH", "ADDRESSES", "SNAPSHOT", "LAST SEEN"]);
    for gateway in gateways {
        let here = if gateway.is_this { " (asked)" } else { "" };
        let (name, seen) = (format!("{}{here}", gateway.name), when(gateway.seen));
        let addresses = if gateway.reached_at.is_empty() { "–".into() } else { addresses(gateway) };
        table.row([name, gateway.version.clone(), health(gateway).into(), addresses, snapshot(gateway), seen]);
    }
    table.to_string()
}

fn addresses(gateway: &GatewayState) -> String {
    gateway.reached_at.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What is amiss.
fn notes(gateways: &[GatewayState]) -> Vec<String> {
    let mut notes = Vec::new();
    if gateways.iter().any(|gateway| gateway.health == GatewayHealth::Unknown) {
        notes.push("the store can't be used now: this is how the other gateways were last seen".to_owned());
    }
    if let Some(twin) = gateways.iter().find(|gateway| gateway.has_twin) {
        notes.push(format!(
            "another gateway on this store is named {} too, and takes turns with this one here; give each its own with [cluster] name",
            shown(&twin.name)
        ));
    }
    notes
}

fn show(gateway: &GatewayState) -> String {
    let said = match gateway.health {
        GatewayHealth::Up => "",
        GatewayHealth::Stopped => " (in good order)",
        GatewayHealth::Lost => " (no sign of life; it may run on, cut off from the store)",
        GatewayHealth::Unknown => " (the store can't be asked)",
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
