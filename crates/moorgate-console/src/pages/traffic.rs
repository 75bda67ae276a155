//! What came through: plots, the latest flows, one flow whole, and who could read what.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use moorgate_api::words;
use moorgate_contract::{
    exposure::{Exposure, Readable},
    flow::{Flow, FlowId},
    outcome::Outcome,
    time::Timestamp,
};
use moorgate_control::{FlowFilter, GroupBy, Recorded, UsageFilter, UsageRow};
use moorgate_wire::visible::visible;
use serde::Deserialize;

use super::{Frame, drawn, failed, nothing, now};
use crate::{
    Console,
    guard::Inside,
    plot::{self, Column},
    shown,
};

/// Flows on the page.
const SHOWN: usize = 100;
/// Flows that exposure is counted from.
const COUNTED: usize = 1_000;
/// Microseconds.
const HOUR: u64 = 3_600 * 1_000_000;

/// How far back the plots go: its name, its title, its hours, and how many hours a column has.
const SPANS: [(&str, &str, u64, u64); 3] =
    [("day", "A day", 24, 1), ("week", "A week", 168, 6), ("month", "A month", 720, 24)];

struct Row {
    id: String,
    when: String,
    by: &'static str,
    to: String,
    up: String,
    down: String,
    took: String,
    class: &'static str,
    ended: String,
}

impl Row {
    fn of(flow: &Flow) -> Self {
        let target = flow.target.as_deref().unwrap_or("–");
        Self {
            id: flow.id.to_string(),
            when: format!("{} {}", shown::day(flow.started), shown::clock(flow.started)),
            by: flow.listener.words(),
            to: visible(target).to_string(),
            up: shown::bytes(flow.bytes_up),
            down: shown::bytes(flow.bytes_down),
            took: shown::span(flow.duration_us),
            class: if matches!(flow.outcome, Outcome::Failed(_)) { "bad" } else { "" },
            ended: match (flow.outcome, flow.status) {
                (Outcome::Ok, Some(status)) => status.to_string(),
                (outcome, _) => outcome.to_string(),
            },
        }
    }
}

#[derive(Template)]
#[template(path = "traffic.html")]
struct TrafficPage {
    frame: Frame,
    account: String,
    span: &'static str,
    spans: Vec<(&'static str, &'static str)>,
    plots: Vec<(&'static str, String)>,
    flows: Vec<Row>,
}

#[derive(Deserialize)]
pub(crate) struct Span {
    #[serde(default)]
    span: String,
}

pub(crate) async fn page(State(console): State<Console>, inside: Inside, Query(asked): Query<Span>) -> Response {
    let [first, ..] = SPANS;
    let (span, _, hours, step) = SPANS.into_iter().find(|(name, ..)| *name == asked.span).unwrap_or(first);
    let until = now();
    let filter = UsageFilter {
        account: Some(inside.account.clone()),
        since: Timestamp(until.0.saturating_sub((hours - 1) * HOUR)),
        until,
        by: GroupBy::Hour,
    };
    let rows = match console.control.usage(filter).await {
        Ok(rows) => rows,
        Err(error) => return failed(&error),
    };
    let latest = FlowFilter { account: Some(inside.account.clone()), limit: SHOWN };
    let mut flows = match console.control.flows(latest).await {
        Ok(flows) => flows,
        Err(error) => return failed(&error),
    };
    flows.reverse();
    let draw = |name: &str, parts: &dyn Fn(&UsageRow) -> Vec<f64>, say: fn(f64) -> String| {
        plot::columns(name, &steps(&rows, hours, step, parts, say), say)
    };
    let number = |value: f64| shown::number(value as u64);
    let slowest = |row: &UsageRow| vec![row.latency_p99_us.unwrap_or_default() as f64];
    let plots = vec![
        (
            "Requests and tunnels",
            draw("Requests and tunnels", &|row| vec![(row.requests + row.connections) as f64], number),
        ),
        (
            "Bytes, sent and received",
            draw("Bytes, sent and received", &|row| vec![row.bytes_up as f64, row.bytes_down as f64], |value| {
                shown::bytes(value as u64)
            }),
        ),
        (
            "Refusals and failures",
            draw("Refusals and failures", &|row| vec![row.refusals as f64, 0.0, row.errors as f64], number),
        ),
        (
            "Latency: ninety-nine of a hundred were answered within",
            draw("Latency", &slowest, |value| shown::span(value as u64)),
        ),
    ];
    drawn(&TrafficPage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/traffic"),
        span,
        spans: SPANS.iter().map(|(name, title, ..)| (*name, *title)).collect(),
        plots,
        flows: flows.iter().map(|recorded| Row::of(&recorded.flow)).collect(),
        account: inside.account,
    })
}

/// Columns of so many hours each, up to this one. Of quantiles the largest is taken, of all else the sum.
fn steps(
    rows: &[UsageRow],
    hours: u64,
    step: u64,
    parts: &dyn Fn(&UsageRow) -> Vec<f64>,
    say: fn(f64) -> String,
) -> Vec<Column> {
    let last = now().0 / HOUR;
    let is_quantile = rows.iter().any(|row| row.latency_p99_us.is_some_and(|us| parts(row) == [us as f64]));
    let columns = hours / step;
    let column = |place: u64| {
        let from = (last + 1).saturating_sub((columns - place) * step);
        let inside =
            rows.iter().filter(|row| row.hour.is_some_and(|hour| (from..from + step).contains(&(hour.0 / HOUR))));
        let mut sum: Vec<f64> = Vec::new();
        for row in inside {
            for (at, value) in parts(row).into_iter().enumerate() {
                match sum.get_mut(at) {
                    Some(known) if is_quantile => *known = known.max(value),
                    Some(known) => *known += value,
                    None => sum.push(value),
                }
            }
        }
        let at = Timestamp(from * HOUR);
        let title =
            format!("{}: {}", shown::time(at), sum.iter().map(|value| say(*value)).collect::<Vec<_>>().join(", "));
        let every = (columns / 6).max(1);
        let short = if hours <= 24 {
            shown::clock(at).get(..5).map(str::to_owned)
        } else {
            shown::day(at).get(5..).map(str::to_owned)
        };
        let label = if place.is_multiple_of(every) { short.unwrap_or_default() } else { String::new() };
        Column { label, title, parts: sum }
    };
    (0..columns).map(column).collect()
}

#[derive(Template)]
#[template(path = "flow.html")]
struct FlowPage {
    frame: Frame,
    account: String,
    facts: Vec<(&'static str, String)>,
    advice: Option<String>,
    steps: Vec<(String, String)>,
}

pub(crate) async fn flow(
    State(console): State<Console>,
    inside: Inside,
    Path((_, id)): Path<(String, String)>,
) -> Response {
    let Ok(id) = id.parse::<FlowId>() else { return nothing().await };
    let found = match console.control.flow(id).await {
        Ok(found) => found.filter(|recorded| recorded.flow.account.as_deref() == Some(&*inside.account)),
        Err(error) => return failed(&error),
    };
    let Some(Recorded { flow, gateway }) = found else { return nothing().await };
    let explained = console.control.explain_flow(&flow, false).await;
    drawn(&FlowPage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/traffic"),
        account: inside.account,
        facts: facts(&flow, gateway.as_deref()),
        advice: words::advice(&flow).map(std::borrow::Cow::into_owned),
        steps: explained
            .map(|it| it.steps.into_iter().map(|step| (step.check, step.found)).collect())
            .unwrap_or_default(),
    })
}

fn facts(flow: &Flow, gateway: Option<&str>) -> Vec<(&'static str, String)> {
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(|text| visible(text).to_string());
    let all = [
        (
            "When",
            Some(format!(
                "{} {}, for {}",
                shown::day(flow.started),
                shown::clock(flow.started),
                shown::span(flow.duration_us)
            )),
        ),
        ("By", Some(flow.listener.words().to_owned())),
        ("From", Some(flow.client.to_string())),
        ("Credential", text(&flow.username)),
        ("To, as asked", text(&flow.target)),
        ("Route", text(&flow.route)),
        ("Origin", text(&flow.origin)),
        ("Address dialled", flow.address.map(|address| address.to_string())),
        ("Left from", flow.egress.map(|egress| egress.to_string())),
        ("Gateway", gateway.map(str::to_owned)),
        ("Sent, received", Some(format!("{}, {}", shown::bytes(flow.bytes_up), shown::bytes(flow.bytes_down)))),
        ("Answered after", flow.latency_us.map(shown::span)),
        ("Status", flow.status.map(|status| status.to_string())),
        ("How it ended", Some(words::ended(flow))),
        ("On the way to the gateway, others could read", Some(flow.exposure.wire_to_gateway.to_string())),
        ("The gateway could read", Some(flow.exposure.gateway.to_string())),
        ("From the gateway on, others could read", Some(flow.exposure.wire_to_target.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

const COLUMNS: [&str; 6] = ["name", "port", "password", "path", "headers", "body"];

#[derive(Template)]
#[template(path = "exposure.html")]
struct ExposurePage {
    frame: Frame,
    account: String,
    day: String,
    count: usize,
    columns: [&'static str; 6],
    /// By what, how many flows, where, and in how many each thing could be read.
    rows: Vec<(String, usize, &'static str, [usize; 6])>,
}

pub(crate) async fn exposure(State(console): State<Console>, inside: Inside) -> Response {
    let filter = FlowFilter { account: Some(inside.account.clone()), limit: COUNTED };
    let flows = match console.control.flows(filter).await {
        Ok(flows) => flows,
        Err(error) => return failed(&error),
    };
    let mut by: BTreeMap<String, Vec<&Flow>> = BTreeMap::new();
    for Recorded { flow, .. } in &flows {
        let by_what = match (&flow.route, &flow.username) {
            (Some(route), _) => format!("domain {route}"),
            (None, Some(username)) => format!("{} with {username}", flow.listener.words()),
            (None, None) => flow.listener.words().to_owned(),
        };
        by.entry(by_what).or_default().push(flow);
    }
    let mut rows = Vec::new();
    for (name, flows) in &by {
        for (at, place) in
            ["on the way to the gateway", "in the gateway", "from the gateway on"].into_iter().enumerate()
        {
            let mut cells = [0; 6];
            for flow in flows {
                let Exposure { wire_to_gateway, gateway, wire_to_target, .. } = flow.exposure;
                let readable = [wire_to_gateway, gateway, wire_to_target].get(at).copied().unwrap_or_default();
                let Readable { name, port, credentials, path, headers, body } = readable;
                for (cell, is) in cells.iter_mut().zip([name, port, credentials, path, headers, body]) {
                    *cell += usize::from(is);
                }
            }
            rows.push((name.clone(), flows.len(), place, cells));
        }
    }
    drawn(&ExposurePage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/exposure"),
        account: inside.account,
        day: shown::day(now()),
        count: flows.len(),
        columns: COLUMNS,
        rows,
    })
}
