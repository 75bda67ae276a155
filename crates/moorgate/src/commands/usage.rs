//! `usage`: what accounts moved, for people (totals, a chart, the largest rows) and for programs (CSV, JSON).

mod chart;
mod csv;

use std::{cmp::Reverse, fmt::Write};

use moorgate_api::{
    client::Client,
    view::{Time, UsageQuery, UsageRow},
};
use moorgate_contract::time::Timestamp;
use moorgate_control::GroupBy;
use moorgate_wire::visible::visible_within;

use super::CommandError;
use crate::{
    cli::Usage,
    output::{self, Table, bytes, count, when},
};
use chart::Ink;

const MICROS_PER_HOUR: u64 = 3_600_000_000;
/// Longer than so many hours, the chart is over days.
const HOURS: u64 = 3 * 24;
/// Rows of a table for people.
const TOP: usize = 10;
/// The longest name in such a table, in characters: the table fits 100 columns.
const NAME: usize = 28;

pub(super) async fn run(client: &Client, args: Usage) -> Result<(), CommandError> {
    let now = Time(std::time::SystemTime::now().into());
    let (since, until) = (args.since.ago(), args.until.map_or(now, |until| until.ago()));
    let asked = Asked { client, account: args.account, since, until };
    let by = args.by.map(GroupBy::from);
    if args.json.json || args.csv {
        let rows = asked.rows(by.unwrap_or_default()).await?;
        let text = if args.csv { csv::text(&rows) } else { output::json_line(&rows)? };
        return output::print(&text);
    }
    let hours = asked.rows(GroupBy::Hour).await?;
    let total = sum(&hours);
    if total == UsageRow::default() {
        output::note(format_args!("nothing was moved since {}", when(since)));
        return Ok(());
    }
    let mut text = asked.head(&total);
    if total.bytes_up + total.bytes_down > 0 {
        text.push_str(&asked.chart(&hours));
    }
    let groups = match (by, &asked.account) {
        (Some(by), _) => vec![by],
        (None, None) => vec![GroupBy::Account],
        (None, Some(_)) => vec![GroupBy::Credential, GroupBy::Route, GroupBy::Host],
    };
    for group in groups {
        let rows = asked.rows(group).await?;
        text.push_str(&table(group, by.is_some(), rows));
    }
    output::print(&text)
}

/// What is asked, of whom.
struct Asked<'a> {
    client: &'a Client,
    account: Option<String>,
    since: Time,
    until: Time,
}

impl Asked<'_> {
    async fn rows(&self, by: GroupBy) -> Result<Vec<UsageRow>, CommandError> {
        let (account, since, until) = (self.account.clone(), Some(self.since), Some(self.until));
        Ok(self.client.usage(&UsageQuery { account, since, until, by }).await?)
    }

    fn head(&self, total: &UsageRow) -> String {
        let whose = self.account.as_ref().map_or_else(|| "all accounts".into(), |name| format!("account {name}"));
        let first = Time(Timestamp(self.since.0.0 / MICROS_PER_HOUR * MICROS_PER_HOUR));
        format!(
            "{whose} from {} to {}\n\nrequests {}, connections {}, up {}, down {}\nrefused {}, errors {}\n\n",
            when(first),
            when(self.until),
            count(total.requests),
            count(total.connections),
            bytes(total.bytes_up),
            bytes(total.bytes_down),
            count(total.refusals),
            count(total.errors),
        )
    }

    fn chart(&self, rows: &[UsageRow]) -> String {
        let (first, last) = (self.since.0.0 / MICROS_PER_HOUR, self.until.0.0 / MICROS_PER_HOUR);
        let by_day = last - first > HOURS;
        let name = |hour: u64| {
            let time = Time(Timestamp(hour.saturating_mul(MICROS_PER_HOUR)));
            if by_day {
                output::day(time).to_string()
            } else {
                when(time).chars().take("2026-11-28 13:00".len()).collect()
            }
        };
        // Hours that nobody used are in the chart too; those before there was anything are not worth a column.
        let oldest = rows.iter().filter_map(|row| row.hour).map(|hour| hour.0.0 / MICROS_PER_HOUR).min();
        let first = if by_day { oldest.unwrap_or(first).max(first) } else { first };
        let mut moved = rows.iter().filter(|row| row.hour.is_some()).peekable();
        let mut bars: Vec<(String, u64)> = Vec::new();
        for hour in first..=last {
            let mut sum = 0;
            while let Some(row) = moved.next_if(|row| row.hour.is_some_and(|at| at.0.0 / MICROS_PER_HOUR <= hour)) {
                sum += row.bytes_up + row.bytes_down;
            }
            let name = name(hour);
            match bars.last_mut() {
                Some((last, bytes)) if *last == name => *bytes += sum,
                _ => bars.push((name, sum)),
            }
        }
        let unit = if by_day { "day" } else { "hour" };
        format!("bytes by the {unit}, both ways\n{}", chart::text(&bars, Ink::here()))
    }
}

fn sum(rows: &[UsageRow]) -> UsageRow {
    rows.iter().fold(UsageRow::default(), |sum, row| UsageRow {
        requests: sum.requests + row.requests,
        connections: sum.connections + row.connections,
        bytes_up: sum.bytes_up + row.bytes_up,
        bytes_down: sum.bytes_down + row.bytes_down,
        refusals: sum.refusals + row.refusals,
        errors: sum.errors + row.errors,
        ..sum
    })
}

/// What a row is of.
fn name(row: &UsageRow, by: GroupBy) -> Option<String> {
    match by {
        GroupBy::Account => Some(row.account.clone().unwrap_or_else(|| "(nobody known)".into())),
        GroupBy::Credential => row.credential.clone(),
        GroupBy::Route => row.route.clone(),
        GroupBy::Host => row.host.clone(),
        GroupBy::Egress => row.egress.map(|egress| egress.to_string()),
        GroupBy::Hour => row.hour.map(when),
        GroupBy::All => {
            let target = row.host.as_deref().or(row.route.as_deref()).unwrap_or("–");
            Some(format!("{} {target}", row.hour.map(when).unwrap_or_default()))
        }
    }
}

/// Within what time so many were answered.
fn latency(micros: Option<u64>) -> String {
    micros.map_or_else(|| "–".into(), output::duration)
}

/// The largest rows. `asked`: by this it was asked for, so what has no name of that kind is shown too.
fn table(by: GroupBy, asked: bool, mut rows: Vec<UsageRow>) -> String {
    if by != GroupBy::Hour {
        rows.sort_by_key(|row| Reverse((row.bytes_up + row.bytes_down, row.requests + row.connections)));
    }
    rows.retain(|row| asked || name(row, by).is_some());
    if rows.is_empty() {
        return String::new();
    }
    let title = by.name().to_uppercase();
    let mut table = Table::new([&*title, "REQS", "CONNS", "UP", "DOWN", "REFUSED", "ERRORS", "P50", "P99"]);
    let most = if by == GroupBy::Hour { rows.len() } else { TOP };
    for row in rows.iter().take(most) {
        let name = name(row, by).unwrap_or_else(|| "–".into());
        table.row([
            visible_within(&name, NAME).to_string(),
            count(row.requests),
            count(row.connections),
            bytes(row.bytes_up),
            bytes(row.bytes_down),
            count(row.refusals),
            count(row.errors),
            latency(row.latency_p50_us),
            latency(row.latency_p99_us),
        ]);
    }
    let mut text = format!("\n{table}");
    if let Some(more @ 1..) = rows.len().checked_sub(most) {
        let _ = writeln!(text, "and {more} more; --by {} --csv has them all", by.name());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(host: Option<&str>, bytes_up: u64) -> UsageRow {
        UsageRow { account: Some("acme".into()), host: host.map(str::to_owned), bytes_up, ..UsageRow::default() }
    }

    #[test]
    fn the_largest_come_first_and_the_rest_is_named() {
        let long = "a".repeat(300);
        let mut rows: Vec<UsageRow> = (0..20).map(|size| row(Some("a.example"), size)).collect();
        rows.extend([row(Some("large.example"), 1 << 50), row(Some(&long), 1 << 49), row(None, 1 << 51)]);
        let text = table(GroupBy::Host, false, rows.clone());
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("HOST") && lines[2].starts_with("large.example"), "{text}");
        assert_eq!(lines.last().unwrap(), &"and 12 more; --by host --csv has them all");
        // Asked for by host, what went to none is a row too.
        assert!(table(GroupBy::Host, true, rows).lines().nth(2).unwrap().starts_with('–'));
        assert_eq!(table(GroupBy::Route, false, vec![row(Some("a.example"), 1)]), "");
    }
}
