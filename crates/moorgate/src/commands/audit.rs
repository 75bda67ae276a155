//! `audit`: who changed what, from where.

mod evidence;

use moorgate_api::{
    client::Client,
    view::{AuditEntry, AuditVerdict, Time, Who},
    words,
};
use moorgate_wire::visible::visible_within;

use super::CommandError;
use crate::{
    cli::Audit,
    output::{self, answer, count, shown, when},
};

/// The longest text of what changed in one entry, in characters; `--json` has all of it.
const CHANGED: usize = 160;

pub(super) async fn run(client: &Client, command: Audit) -> Result<(), CommandError> {
    match command {
        Audit::List { account, limit, json } => {
            let most = usize::try_from(limit).unwrap_or(usize::MAX);
            let entries = client.audit(account.as_deref(), most).await?;
            if entries.is_empty() && !json.json {
                output::note("nothing was changed yet");
            }
            answer(json, &entries, || entries.iter().map(line).collect())
        }
        Audit::Evidence { account, json } => {
            let evidence = client.evidence(&account).await?;
            answer(json, &evidence, || evidence::text(&evidence))
        }
        Audit::Verify(json) => {
            let verdict = client.verify_audit().await?;
            let AuditVerdict { entries, head, problem } = &verdict;
            if json.json || problem.is_none() {
                answer(json, &verdict, || whole(*entries, head))?;
            }
            match problem {
                None => Ok(()),
                Some(problem) => {
                    Err(CommandError::AuditBroken { problem: problem.clone(), entries: *entries, head: head.clone() })
                }
            }
        }
    }
}

fn whole(entries: u64, head: &str) -> String {
    let entries = match entries {
        1 => "1 entry is".into(),
        entries => format!("{} entries are", count(entries)),
    };
    format!(
        "the audit log is whole: {entries} what was written\nhead {head}\n\
         noted elsewhere, the head proves later that nothing up to here was changed\n"
    )
}

fn line(entry: &AuditEntry) -> String {
    let by = match &entry.who {
        Who::Gateway => format!("gateway {}", entry.gateway),
        Who::Operator { token: Some(token) } => format!("operator {token}"),
        Who::Operator { token: None } => "operator".into(),
        Who::Account { account, token } => format!("account {account} {token}"),
        Who::Person { email, .. } => email.clone(),
    };
    let from = entry.client.map(|client| format!(" from {client}")).unwrap_or_default();
    let of = match &entry.account {
        Some(account) if *account != entry.name => format!(" of {account}"),
        _ => String::new(),
    };
    let what = format!("{} {} {}{of}", entry.action, entry.kind, entry.name);
    let time = |at| when(Time(at));
    let changed = words::changed(entry.before.as_ref(), entry.after.as_ref(), &time);
    let changed = if changed.is_empty() { changed } else { format!("  {}", visible_within(&changed, CHANGED)) };
    format!("{}  {}  {}{}\n", when(entry.at), shown(&format!("{by}{from}")), shown(&what), shown(&changed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_one_line_and_nothing_in_it_acts() {
        let entry = AuditEntry {
            seq: 1,
            at: "2026-11-28T12:00:00Z".parse().unwrap(),
            gateway: "gateway".into(),
            who: Who::Operator { token: Some("t1".into()) },
            client: Some("127.0.0.1".parse().unwrap()),
            action: "set".into(),
            kind: "route".into(),
            name: "app.example.com".into(),
            account: Some("acme".into()),
            before: None,
            after: Some(json!({"page": "a\nb\u{1b}[2J".repeat(100)})),
            hash: String::new(),
        };
        let line = line(&entry);
        assert!(
            line.contains("  operator t1 from 127.0.0.1  set route app.example.com of acme  page: a\\x0ab"),
            "{line}"
        );
        assert!(line.chars().count() < 800 && line.trim_end().chars().all(|c| !c.is_control()), "{line:?}");
    }
}
