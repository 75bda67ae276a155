//! `doctor`: what the gateway says of itself, and whether its listeners answer from here.

use std::{net::SocketAddr, time::Duration};

use moorgate_api::view::Diagnosis;
use moorgate_control::Level;
use tokio::{net::TcpStream, time::timeout};

use super::{CommandError, gateway::Gateway};
use crate::{
    cli::Json,
    output::{answer, shown},
};

/// How long a listener of this machine may take to accept.
const CONNECT: Duration = Duration::from_secs(2);

pub(super) async fn run(gateway: &Gateway, json: Json) -> Result<(), CommandError> {
    let mut found = Vec::new();
    for (name, address) in gateway.listeners() {
        found.push(knock(&name, address).await);
    }
    found.extend(gateway.client.doctor().await?);
    answer(json, &found, || list(&found))?;
    let problems = found.iter().filter(|one| one.level == Level::Problem).count();
    if problems == 0 { Ok(()) } else { Err(CommandError::Unwell { problems }) }
}

async fn knock(name: &str, address: SocketAddr) -> Diagnosis {
    let (check, accepted) = ("ports".to_owned(), timeout(CONNECT, TcpStream::connect(address)).await);
    match accepted {
        Ok(Ok(_)) => Diagnosis { check, level: Level::Ok, said: format!("{name} accepts at {address}") },
        Ok(Err(error)) => {
            Diagnosis { check, level: Level::Problem, said: format!("{name} does not accept at {address}: {error}") }
        }
        Err(_) => {
            Diagnosis { check, level: Level::Problem, said: format!("{name} does not accept at {address} in time") }
        }
    }
}

fn list(found: &[Diagnosis]) -> String {
    let mut text = String::new();
    for Diagnosis { check, level, said } in found {
        let word = match level {
            Level::Ok => "ok",
            Level::Wait => "wait",
            Level::Note => "note",
            Level::Problem => "PROBLEM",
        };
        text += &format!("{word:<8} {check:<13} {}\n", shown(said));
    }
    if found.iter().all(|one| one.level != Level::Problem) {
        text += "\nnothing is wrong\n";
    }
    text
}
