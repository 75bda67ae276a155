//! `audit`: who changed what, from where.

mod evidence;

use moorgate_api::{
    client::Client,
    view::{AuditEntry, AuditVerdict, Time, Who},
};
use moorgate_contract::time::Timestamp;
use moorgate_wire::visible::visible_within;
use serde_json::Value;

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
    };
    let from = entry.client.map(|client| format!(" from {client}")).unwrap_or_default();
    let of = match &entry.account {
        Some(account) if *account != entry.name => format!(" of {account}"),
        _ => String::new(),
    };
    let what = format!("{} {} {}{of}", entry.action, entry.kind, entry.name);
    let changed = changed(entry.before.as_ref(), entry.after.as_ref());
    let changed = if changed.is_empty() { changed } else { format!("  {}", visible_within(&changed, CHANGED)) };
    format!("{}  {}  {}{}\n", when(entry.at), shown(&format!("{by}{from}")), shown(&what), shown(&changed))
}

/// The fields that are not as they were: `tier: none → gold`.
fn changed(before: Option<&Value>, after: Option<&Value>) -> String {
    let mut said = Vec::new();
    // What is gone is said by its name; what was in it is in --json.
    if let Some(after) = after {
        differ("", before.unwrap_or(&Value::Null), after, &mut said);
    }
    said.join(", ")
}

fn differ(path: &str, before: &Value, after: &Value, said: &mut Vec<String>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Null | Value::Object(_), Value::Object(now)) => {
            let empty = serde_json::Map::new();
            let was = before.as_object().unwrap_or(&empty);
            let gone = was.keys().filter(|name| !now.contains_key(*name));
            for name in now.keys().chain(gone) {
                let part = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                differ(&path, &part(was), &part(now), said);
            }
        }
        (was, now) if is_nothing(was) && is_nothing(now) => {}
        (was, now) if is_nothing(was) => said.push(format!("{path}: {}", told(path, now))),
        (was, now) => said.push(format!("{path}: {} → {}", told(path, was), told(path, now))),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Fields that hold a time, in microseconds.
const TIMES: [&str; 2] = ["expires", "overlap_until"];

fn told(path: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(micros) if TIMES.contains(&path) => when(Time(Timestamp(micros))),
        _ => brief(value),
    }
}

fn brief(value: &Value) -> String {
    match value {
        _ if is_nothing(value) => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(brief).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_shows_what_is_not_as_it_was() {
        let check = |before: Value, after: Value, said: &str| {
            assert_eq!(changed(Some(&before), Some(&after)), said);
        };
        let (none, acme) = (json!({"tier": null, "egress": [], "policy": []}), json!({"tier": "gold", "egress": []}));
        check(none.clone(), acme.clone(), "tier: gold");
        check(acme, none, "tier: gold → none");
        check(
            json!({"policy": ["deny a"]}),
            json!({"policy": ["deny a", "deny b"]}),
            "policy: [deny a] → [deny a deny b]",
        );
        check(json!({"settings": {"a": 1, "b": 2}}), json!({"settings": {"a": 1, "b": 3}}), "settings.b: 2 → 3");
        check(json!({"expires": 1_700_000_000_000_000_u64}), json!({"expires": null}), &{
            let time = when(Time(Timestamp(1_700_000_000_000_000)));
            format!("expires: {time} → none")
        });
        check(json!({"requests_per_month": 5}), json!({}), "requests_per_month: 5 → none");
        assert_eq!(changed(None, Some(&json!({"scope": "read", "operator": false}))), "operator: false, scope: read");
        assert_eq!(changed(Some(&json!({"scope": "read"})), None), "");
    }

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
