//! `audit evidence`: the document as an auditor reads it.

use std::fmt::Write as _;

use moorgate_api::view::Evidence;

use crate::output::{called, counted, when};

/// Sections with a heading each, in the order in which they are asked for.
pub(super) fn text(evidence: &Evidence) -> String {
    let mut text = String::new();
    // Writing into a String can't fail.
    let _ = write(&mut text, evidence);
    text
}

fn write(text: &mut String, evidence: &Evidence) -> std::fmt::Result {
    let none = |list: &[String], said: &str| if list.is_empty() { said.to_owned() } else { list.join(", ") };
    writeln!(text, "Evidence for account {}", evidence.account)?;
    writeln!(text, "made {} by gateway {}, Moorgate {}", when(evidence.made), evidence.gateway, evidence.release)?;
    writeln!(text, "account since {}\n", when(evidence.created))?;

    let tls = &evidence.tls;
    writeln!(text, "TLS, wherever the gateway speaks it (no setting weakens this)")?;
    writeln!(text, "  versions       {}", tls.versions.join(", "))?;
    writeln!(text, "  key exchange   {}", tls.key_exchange.join(", "))?;
    writeln!(text, "  origins        certificates {}", if tls.origins_verified { "verified" } else { "not verified" })?;
    writeln!(text, "  early data     {}", if tls.early_data { "taken" } else { "never taken" })?;
    writeln!(text, "  at rest        {}\n", tls.at_rest)?;

    writeln!(text, "Key custody, by route")?;
    for route in &evidence.routes {
        let key = match serde_json::to_value(route.key).ok().and_then(|key| Some(key.as_str()?.to_owned())).as_deref() {
            Some("origin") => "the origin alone: the gateway never decrypts",
            Some("gateway_uploaded") => "the gateway, sealed at rest; uploaded by the account",
            _ => "the gateway, sealed at rest; issued by its local CA",
        };
        writeln!(text, "  {} ({}): {key}", route.domain, route.mode.name())?;
        if route.origins_in_clear > 0 {
            writeln!(text, "    of its origins, {} reached without TLS", counted(route.origins_in_clear, "is", "are"))?;
        }
    }
    if evidence.routes.is_empty() {
        writeln!(text, "  no routes")?;
    }

    writeln!(text, "\nOutbound")?;
    let egress: Vec<String> = evidence.egress.iter().map(ToString::to_string).collect();
    writeln!(text, "  leaves from    {}", none(&egress, "whatever the kernel picks"))?;
    writeln!(text, "  policy         {}", none(&evidence.policy, "no rules: every port but 25"))?;
    for credential in &evidence.credentials {
        let used = credential.last_used.map_or_else(|| "never used".to_owned(), |at| format!("last used {}", when(at)));
        let ends = credential.expires.map_or_else(|| "no end".to_owned(), |at| format!("ends {}", when(at)));
        let from = none(&credential.clients, "anywhere");
        writeln!(
            text,
            "  credential     {}, from {from}, {ends}, {used}",
            called(&credential.username, &credential.name)
        )?;
        if !credential.policy.is_empty() {
            writeln!(text, "    narrowed by  {}", credential.policy.join(", "))?;
        }
    }

    let exposure = &evidence.exposure;
    writeln!(text, "\nExposure, as counted from the latest {}", counted(exposure.flows, "flow", "flows"))?;
    if let Some(since) = exposure.since {
        writeln!(text, "  the oldest began {}", when(since))?;
    }
    for count in &exposure.counts {
        writeln!(text, "  {} × {}", count.flows, count.listener.words())?;
        writeln!(text, "    wire to the gateway could read  {}", count.wire_to_gateway)?;
        writeln!(text, "    the gateway could read          {}", count.gateway)?;
        writeln!(text, "    wire to the target could read   {}", count.wire_to_target)?;
    }

    let changes = &evidence.changes;
    writeln!(text, "\nChange log")?;
    match &changes.problem {
        None => writeln!(text, "  whole: {} what was written", counted(changes.entries, "entry is", "entries are"))?,
        Some(problem) => writeln!(text, "  NOT WHOLE: {problem}")?,
    }
    writeln!(text, "  head           {}", changes.head)?;
    let latest = changes.latest.map_or_else(|| "none".to_owned(), when);
    writeln!(text, "  this account   {}, the latest {latest}", counted(changes.of_account, "entry", "entries"))
}
