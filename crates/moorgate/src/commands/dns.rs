//! `dns`, and `route check`.

use std::fmt::Write as _;

use moorgate_api::{
    client::Client,
    view::{CheckedRoute, Record, RouteFinding},
};
use moorgate_control::{DnsRecord, DnsState, Level, RouteState};

use super::CommandError;
use crate::{
    cli::Dns,
    output::{answer, shown, when},
};

pub(super) async fn run(client: &Client, command: Dns) -> Result<(), CommandError> {
    let Dns::Records(json) = command;
    let records = client.zone_records().await?;
    answer(json, &records, || list(&records))
}

/// Nothing but lines of a zone file and their comments: it may be appended to one.
fn list(records: &[Record]) -> String {
    let why = if records.iter().any(|record| record.kind == "NS") {
        "; in the zone above: these hand the zone of the targets to the gateways, which answer for it\n"
    } else {
        "; at the zone's DNS provider: these lead every target to the gateways\n"
    };
    records.iter().fold(why.to_owned(), |text, record| text + &line(record) + "\n")
}

/// As a zone file writes it.
pub(super) fn line(record: &Record) -> String {
    shown(&DnsRecord::from(record.clone()).to_string())
}

/// What was found, in words.
pub(super) fn check(check: &CheckedRoute) -> String {
    let mut text = format!("{}   {}\n\n", shown(&check.domain), standing(check));
    for finding in &check.findings {
        text += &found(finding);
    }
    text.push('\n');
    for seen in &check.seen {
        let _ = writeln!(text, "  seen     by {}: {}", shown(&seen.by), shown(&seen.says));
    }
    text
}

fn standing(check: &CheckedRoute) -> String {
    let since = when(check.dns_since);
    match (check.state, check.dns) {
        (RouteState::Pending, _) => format!("pending since {since}: served as soon as its DNS is here"),
        (RouteState::Released, _) => {
            format!("released on {since}: its DNS was not here for too long, and others may claim the domain")
        }
        (RouteState::Failed, _) => "failed: moorgate route show says why".to_owned(),
        (RouteState::Active, DnsState::Missing) => {
            format!("active, but its DNS is not here since {since}; after a week of that it is released")
        }
        (RouteState::Active, DnsState::Seen) => format!("active since {since}"),
        (RouteState::Active, _) => "active: it is older than [dns] zone, and so served without a proof".to_owned(),
    }
}

fn found(finding: &RouteFinding) -> String {
    let word = match finding.level {
        Level::Ok => "ok",
        Level::Wait => "wait",
        Level::Note => "note",
        Level::Problem => "problem",
    };
    let mut text = format!("  {word:<7}  {}\n", shown(&finding.said));
    for record in &finding.records {
        let _ = writeln!(text, "             {}", line(record));
    }
    if let Some(until) = finding.until {
        let _ = writeln!(text, "           what resolvers know now they keep until {} at most", when(until));
    }
    text
}
