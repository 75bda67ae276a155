//! `alarm`.

use moorgate_api::{
    client::Client,
    view::{self, AlarmResult},
};

use super::CommandError;
use crate::{
    cli::Alarm,
    output::{self, Table, answer, when},
};

pub(super) async fn run(client: &Client, command: Alarm) -> Result<(), CommandError> {
    match command {
        Alarm::Add { account, receiver, kinds, json } => {
            let kinds = (!kinds.is_empty()).then_some(kinds);
            let new = client.add_alarm(&account, &receiver, kinds).await?;
            // Alone on its line, so that a script needs no --json.
            answer(json, &new, || format!("{}\n", new.secret.as_ref().unwrap_or(&new.id)))?;
            if !json.json {
                let secret = if new.secret.is_some() { "this is what its webhooks are signed with; " } else { "" };
                let id = &new.id;
                output::note(format_args!("{secret}try it with: moorgate alarm test {account} {id}"));
            }
            Ok(())
        }
        Alarm::List { account, json } => {
            let alarms = client.alarms(&account).await?;
            answer(json, &alarms, || list(&alarms))
        }
        Alarm::Remove { account, id } => {
            client.remove_alarm(&account, &id).await?;
            output::print(&format!("alarm {id} removed\n"))
        }
        Alarm::Test { account, id, json } => {
            let result = client.test_alarm(&account, &id).await?;
            answer(json, &result, || format!("{}\n", said(&result)))?;
            if result.delivered { Ok(()) } else { Err(CommandError::NotDelivered) }
        }
    }
}

fn list(alarms: &[view::Alarm]) -> String {
    let mut table = Table::new(["ID", "RECEIVER", "KINDS", "WAITING", "LAST"]);
    for alarm in alarms {
        let kinds: Vec<&str> = alarm.kinds.iter().map(|kind| kind.name()).collect();
        let last = alarm.last.as_ref().map_or_else(|| "never tried".to_owned(), said);
        let last = alarm.off.as_ref().map_or(last, |off| format!("off: {off}"));
        table.row([alarm.id.clone(), alarm.receiver.clone(), kinds.join(","), alarm.waiting.to_string(), last]);
    }
    table.to_string()
}

fn said(result: &AlarmResult) -> String {
    let what = if result.delivered { "delivered" } else { "not delivered" };
    format!("{} {what}: {}", when(result.at), result.said)
}
