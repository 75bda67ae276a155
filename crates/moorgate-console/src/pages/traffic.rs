//! What came through: plots, the latest flows, and one flow whole.

use std::{convert::Infallible, sync::Arc};

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use moorgate_api::{server::Stopping, words};
use moorgate_contract::{
    flow::{Flow, FlowId},
    outcome::Outcome,
    time::Timestamp,
};
use moorgate_control::{FlowFilter, GroupBy, Recorded, UsageFilter, UsageRow};
use moorgate_wire::visible::visible;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{Frame, drawn, failed, nothing, now};
use crate::{
    Console,
    form::{Path, Query},
    guard::Inside,
    plot::{self, Column},
    shown,
};

/// Flows on the page.
const SHOWN: usize = 100;
/// Flows that are looked through for those that fit.
const LOOKED_AT: usize = 1_000;
/// Microseconds.
const HOUR: u64 = 3_600 * 1_000_000;

/// How far back the plots go: its name, its title, its hours, and how many hours a column has.
const SPANS: [(&str, &str, u64, u64); 3] =
    [("day", "A day", 24, 1), ("week", "A week", 168, 6), ("month", "A month", 720, 24)];

pub(crate) struct Row {
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

/// What the colours of a plot mean.
type Key = Vec<(u8, &'static str)>;

#[derive(Template)]
#[template(path = "traffic.html")]
struct TrafficPage {
    frame: Frame,
    account: String,
    span: &'static str,
    spans: Vec<(&'static str, &'static str)>,
    /// Title, what its colours mean, and the picture.
    plots: Vec<(&'static str, Key, String)>,
    filter: Filter,
    flows: Vec<Row>,
}

#[derive(Deserialize)]
pub(crate) struct Span {
    #[serde(default)]
    span: String,
}

/// Which flows.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Filter {
    /// A part of the target.
    #[serde(default)]
    to: String,
    /// A credential's username or a route's domain.
    #[serde(default)]
    by: String,
    /// `bad`: what was refused, failed or broke off.
    #[serde(default)]
    only: String,
}

impl Filter {
    fn fits(&self, flow: &Flow) -> bool {
        let holds = |text: &Option<std::sync::Arc<str>>, part: &str| {
            text.as_deref().is_some_and(|text| text.to_lowercase().contains(&part.to_lowercase()))
        };
        let (to, by) = (self.to.trim(), self.by.trim());
        (to.is_empty() || holds(&flow.target, to))
            && (by.is_empty() || holds(&flow.username, by) || holds(&flow.route, by))
            && (self.only != "bad" || flow.outcome != Outcome::Ok)
    }

    /// As it stands in a link.
    fn query(&self) -> String {
        let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        format!("to={}&by={}&only={}", escaped(&self.to), escaped(&self.by), escaped(&self.only))
    }
}

#[derive(Template)]
#[template(path = "flow_row.html")]
struct LiveRow<'a> {
    account: &'a str,
    one: Row,
}

/// Flows as they end, a row of the table each.
pub(crate) async fn live(
    State(console): State<Console>,
    inside: Inside,
    stopping: Option<Extension<Stopping>>,
    Query(filter): Query<Filter>,
) -> Response {
    let flows = console.control.follow();
    let next = async move |(mut flows, stopping): (Receiver<Arc<Recorded>>, Option<Stopping>)| {
        loop {
            let mut told = stopping.clone();
            let ended = async {
                match &mut told {
                    Some(told) => told.wait().await,
                    None => std::future::pending().await,
                }
            };
            let flow = tokio::select! {
                () = ended => return None,
                flow = flows.recv() => match flow {
                    Ok(recorded) => recorded,
                    // Who is too slow misses some; the page has them when it is loaded again.
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return None,
                },
            };
            // Whoever is signed out meanwhile, or put out of the account, sees no more.
            let person = &inside.visitor.person.id;
            let is_in = console.control.list_sign_ins(person).iter().any(|one| one.id == inside.visitor.sign_in)
                && console.control.may_see(person, &inside.account);
            if !is_in {
                return None;
            }
            let flow = &flow.flow;
            if flow.account.as_deref() == Some(&*inside.account) && filter.fits(flow) {
                let row = LiveRow { account: &inside.account, one: Row::of(flow) }.render().unwrap_or_default();
                return Some((Ok::<_, Infallible>(Event::default().data(row)), (flows, stopping)));
            }
        }
    };
    let next = Arc::new(next);
    let rows = futures_util::stream::unfold((flows, stopping.map(|Extension(stopping)| stopping)), move |state| {
        let next = next.clone();
        async move { next(state).await }
    });
    Sse::new(rows).keep_alive(KeepAlive::default()).into_response()
}

pub(crate) async fn page(
    State(console): State<Console>,
    inside: Inside,
    Query(asked): Query<Span>,
    Query(filter): Query<Filter>,
) -> Response {
    let [first, ..] = SPANS;
    let (span, _, hours, step) = SPANS.into_iter().find(|(name, ..)| *name == asked.span).unwrap_or(first);
    let until = now();
    let wanted = UsageFilter {
        account: Some(inside.account.clone()),
        since: Timestamp(until.0.saturating_sub((hours - 1) * HOUR)),
        until,
        by: GroupBy::Hour,
    };
    let rows = match console.control.usage(wanted).await {
        Ok(rows) => rows,
        Err(error) => return failed(&error),
    };
    let latest = FlowFilter { account: Some(inside.account.clone()), limit: LOOKED_AT };
    let mut flows = match console.control.flows(latest).await {
        Ok(flows) => flows,
        Err(error) => return failed(&error),
    };
    flows.reverse();
    flows.retain(|recorded| filter.fits(&recorded.flow));
    flows.truncate(SHOWN);
    let draw = |name: &str, parts: &dyn Fn(&UsageRow) -> Vec<f64>, say: fn(f64) -> String| {
        plot::columns(name, &steps(&rows, hours, step, parts, say), say)
    };
    let number = |value: f64| shown::number(value as u64);
    let slowest = |row: &UsageRow| vec![row.latency_p99_us.unwrap_or_default() as f64];
    let requests = |row: &UsageRow| vec![(row.requests + row.connections) as f64];
    let moved = |row: &UsageRow| vec![row.bytes_up as f64, row.bytes_down as f64];
    let bad = |row: &UsageRow| vec![row.refusals as f64, 0.0, row.errors as f64];
    let bytes = |value: f64| shown::bytes(value as u64);
    let span_of = |value: f64| shown::span(value as u64);
    let slow = "Latency: ninety-nine of a hundred were answered within";
    let plots = vec![
        ("Requests and tunnels", vec![], draw("Requests and tunnels", &requests, number)),
        ("Bytes", vec![(0, "sent"), (1, "received")], draw("Bytes, sent and received", &moved, bytes)),
        ("What did not get through", vec![(0, "refused"), (2, "failed")], draw("Refusals and failures", &bad, number)),
        (slow, vec![], draw("Latency", &slowest, span_of)),
    ];
    drawn(&TrafficPage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/traffic"),
        span,
        spans: SPANS.iter().map(|(name, title, ..)| (*name, *title)).collect(),
        plots,
        filter,
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
