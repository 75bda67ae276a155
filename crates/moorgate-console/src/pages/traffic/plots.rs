//! The plots of traffic: by the hour from what is counted, by the minute from what was recorded.

use std::collections::BTreeMap;

use moorgate_contract::{flow::Flow, time::Timestamp};
use moorgate_control::{LatestFlows, Part, UsageRow};

use crate::{
    plot::{self, Column},
    shown,
};

/// Microseconds.
const MINUTE: u64 = 60 * 1_000_000;
pub(super) const HOUR: u64 = 60 * MINUTE;
/// Codes that have a colour of their own; the rest are counted together.
const CODES: usize = 4;

/// How far a plot goes back.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// How long a column is, in microseconds.
    pub(super) step: u64,
    columns: u64,
}

pub(super) const SPANS: [Span; 4] = [
    Span { name: "hour", title: "An hour", step: MINUTE, columns: 60 },
    Span { name: "day", title: "A day", step: HOUR, columns: 24 },
    Span { name: "week", title: "A week", step: 6 * HOUR, columns: 28 },
    Span { name: "month", title: "A month", step: 24 * HOUR, columns: 30 },
];

impl Span {
    /// The one of that name; else a day.
    pub(super) fn named(name: &str) -> Self {
        let [_, day, ..] = SPANS;
        SPANS.into_iter().find(|span| span.name == name).unwrap_or(day)
    }

    /// Whether usage, which is counted by the hour, is too coarse for it.
    pub(super) fn is_of_minutes(self) -> bool {
        self.step < HOUR
    }

    /// When each column begins, oldest first. The last one holds `now`: with its minute or hour it ends.
    pub(super) fn begins(self, now: Timestamp) -> Vec<Timestamp> {
        let unit = self.step.min(HOUR);
        let end = (now.0 / unit + 1) * unit;
        (1..=self.columns).rev().map(|back| Timestamp(end.saturating_sub(back * self.step))).collect()
    }
}

/// A plot: the picture, what its colours mean, and the same as a table.
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) key: Vec<(usize, String)>,
    pub(super) drawn: String,
    pub(super) head: Vec<String>,
    /// When, and how much of each.
    pub(super) rows: Vec<(String, Vec<String>)>,
}

/// What is drawn: for each column, how much of each thing.
struct Series {
    title: &'static str,
    /// What the parts of a column are, with the colour of each.
    parts: Vec<(usize, String)>,
    values: Vec<Vec<f64>>,
    say: fn(f64) -> String,
    /// Each value is the height up to which its part goes, not what it adds.
    is_height: bool,
}

impl Series {
    fn plot(self, span: Span, begins: &[Timestamp]) -> Plot {
        let Self { title, parts, values, say, is_height } = self;
        let every = (begins.len() / 6).max(1);
        let mut columns = Vec::new();
        let mut rows = Vec::new();
        for (place, (begin, values)) in begins.iter().zip(&values).enumerate() {
            let said: Vec<String> = values.iter().map(|value| say(*value)).collect();
            let label = if place.is_multiple_of(every) { label(span, *begin) } else { String::new() };
            let title = format!("{}: {}", shown::time(*begin), said.join(", "));
            let heights = if is_height { steps(values) } else { values.clone() };
            columns.push(Column { label, title, parts: coloured(&parts, &heights) });
            if values.iter().any(|value| *value > 0.0) {
                rows.push((shown::time(*begin), said));
            }
        }
        let head = parts.iter().map(|(_, word)| word.clone()).collect();
        let key = if parts.len() > 1 { parts } else { Vec::new() };
        Plot { title, key, drawn: plot::columns(title, &columns, say), head, rows }
    }
}

/// Each value at the place of its colour.
fn coloured(parts: &[(usize, String)], values: &[f64]) -> Vec<f64> {
    let places = parts.iter().map(|(colour, _)| colour + 1).max().unwrap_or_default();
    let mut coloured = vec![0.0; places];
    for ((colour, _), value) in parts.iter().zip(values) {
        if let Some(place) = coloured.get_mut(*colour) {
            *place = *value;
        }
    }
    coloured
}

/// What each adds to the one before.
fn steps(heights: &[f64]) -> Vec<f64> {
    let before = std::iter::once(&0.0).chain(heights);
    heights.iter().zip(before).map(|(height, before)| (height - before).max(0.0)).collect()
}

fn label(span: Span, begin: Timestamp) -> String {
    let (clock, day) = (shown::clock(begin), shown::day(begin));
    let short = if span.step <= HOUR { clock.get(..5) } else { day.get(5..) };
    short.unwrap_or_default().to_owned()
}

/// The plots of a span. `counted`: a row for each column.
pub(super) fn all(span: Span, begins: &[Timestamp], counted: &[UsageRow]) -> Vec<Plot> {
    let number = |value: f64| shown::number(value as u64);
    let bytes = |value: f64| shown::bytes(value as u64);
    let duration = |value: f64| shown::span(value as u64);
    let values = |of: fn(&UsageRow) -> Vec<u64>| -> Vec<Vec<f64>> {
        counted.iter().map(|row| of(row).into_iter().map(|value| value as f64).collect()).collect()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).enumerate().collect::<Vec<_>>();
    let series = |title, parts, values, say| Series { title, parts, values, say, is_height: false };
    let latency = |row: &UsageRow| {
        [row.latency_p50_us, row.latency_p90_us, row.latency_p99_us].map(Option::unwrap_or_default).to_vec()
    };
    let mut got_through = words(&["refused", "failed"]);
    if let Some(failed) = got_through.get_mut(1) {
        failed.0 = 2;
    }
    let all = [
        series("Requests", words(&["requests", "tunnels"]), values(|row| vec![row.requests, row.connections]), number),
        series("Bytes", words(&["sent", "received"]), values(|row| vec![row.bytes_up, row.bytes_down]), bytes),
        series("What did not get through", got_through, values(|row| vec![row.refusals, row.errors]), number),
        Series {
            is_height: true,
            ..series(
                "Latency: answered within",
                words(&["half of them", "90 of 100", "99 of 100"]),
                values(latency),
                duration,
            )
        },
        refusals(counted),
    ];
    all.into_iter().map(|series| series.plot(span, begins)).collect()
}

/// What flows come to, for each column.
pub(super) fn by_the_minute(
    span: Span,
    begins: &[Timestamp],
    latest: &LatestFlows,
    of: Option<&Part>,
) -> Vec<UsageRow> {
    let mut columns: Vec<Vec<&Flow>> = vec![Vec::new(); begins.len()];
    for (place, flow) in placed(span, begins, latest, of) {
        if let Some(column) = columns.get_mut(place) {
            column.push(flow);
        }
    }
    columns.into_iter().map(UsageRow::of_flows).collect()
}

/// The flows that ended within the span, with the column of each.
fn placed<'a>(
    span: Span,
    begins: &[Timestamp],
    latest: &'a LatestFlows,
    of: Option<&'a Part>,
) -> impl Iterator<Item = (usize, &'a Flow)> {
    let first = begins.first().copied().unwrap_or_default();
    let flows = latest.flows.iter().map(|recorded| &recorded.flow);
    flows.filter(move |flow| of.is_none_or(|part| part.has(flow))).filter_map(move |flow| {
        let ended = flow.started.0.saturating_add(flow.duration_us);
        Some((usize::try_from(ended.checked_sub(first.0)? / span.step).ok()?, flow))
    })
}

/// Refusals by their code, the most frequent ones first.
fn refusals(counted: &[UsageRow]) -> Series {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (code, count) in counted.iter().flat_map(|row| &row.codes) {
        *sums.entry(code).or_default() += count;
    }
    let mut codes: Vec<(&str, u64)> = sums.into_iter().collect();
    codes.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    let rest = codes.split_off(codes.len().min(CODES));
    let of_column = |row: &UsageRow| -> Vec<f64> {
        let count = |(code, _): &(&str, u64)| row.codes.get(*code).copied().unwrap_or_default();
        let others = (!rest.is_empty()).then(|| rest.iter().map(count).sum());
        codes.iter().map(count).chain(others).map(|count| count as f64).collect()
    };
    let others = (!rest.is_empty()).then_some("others");
    Series {
        title: "Refusals by code",
        values: counted.iter().map(of_column).collect(),
        parts: codes.iter().map(|(code, _)| *code).chain(others).map(str::to_owned).enumerate().collect(),
        say: |value| shown::number(value as u64),
        is_height: false,
    }
}

/// From when on recorded flows are counted, where that is not all of the span.
pub(super) fn counted_since(begins: &[Timestamp], latest: &LatestFlows) -> String {
    let ended = |flow: &Flow| Timestamp(flow.started.0.saturating_add(flow.duration_us));
    let oldest = latest.flows.first().map(|recorded| ended(&recorded.flow));
    match (oldest, begins.first()) {
        (None, _) => "No flow is recorded.".to_owned(),
        (Some(oldest), Some(first)) if oldest > *first && latest.is_cut => format!(
            "Counted from the last {} flows alone, since {}: what came before is not in it.",
            shown::number(latest.flows.len() as u64),
            shown::time(oldest)
        ),
        (Some(oldest), Some(first)) if oldest > *first => {
            format!("Counted from recorded flows, the oldest of which is of {}.", shown::time(oldest))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_holds_now_and_each_ends_where_the_next_begins() {
        let now = Timestamp(1_795_920_073 * 1_000_000);
        for span in SPANS {
            let begins = span.begins(now);
            let last = begins.last().unwrap().0;
            assert!(last <= now.0 && now.0 < last + span.step, "{}", span.name);
            assert!(begins.is_sorted() && begins.windows(2).all(|two| two[1].0 - two[0].0 == span.step));
            assert_eq!(last % span.step.min(HOUR), 0);
        }
        assert_eq!(Span::named("fortnight").name, "day");
    }

    #[test]
    fn heights_are_drawn_by_what_each_adds() {
        assert_eq!(steps(&[2.0, 5.0, 5.0]), [2.0, 3.0, 0.0]);
        let parts = [(0, "refused".to_owned()), (2, "failed".to_owned())];
        assert_eq!(coloured(&parts, &[1.0, 4.0]), [1.0, 0.0, 4.0], "each in the colour of its key");
    }
}
