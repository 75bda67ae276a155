//! What came through: plots, the latest flows, and one flow whole.

use std::time::Duration;

use askama::Template;
use axum::{extract::State, response::Response};
use moorgate_api::words;
use moorgate_contract::{
    flow::{Flow, FlowId},
    listener::Listener,
    outcome::Outcome,
    time::Timestamp,
};
use moorgate_control::{ControlError, CredentialView, ExplainStep, GroupBy, LatestFlows, Part, Recorded, UsageFilter};
use moorgate_wire::visible::visible;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::timeout;

use super::{Frame, drawn, failed, nothing, now};
use crate::{
    Console,
    form::{Path, Query},
    guard::Inside,
    shown,
};

mod live;
mod plots;

pub(crate) use live::{Watching, live};
use plots::{HOUR, Plot, SPANS, Span};

/// Flows on the page.
const SHOWN: usize = 100;
/// How long the names of origins may take to resolve.
const RESOLVE: Duration = Duration::from_secs(2);
/// The latest flows, which are looked through for those that fit, and counted where usage is too coarse.
const LOOKED_AT: usize = 5_000;
/// Credentials and domains that are offered to be chosen from.
const OFFERED: usize = 500;

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

/// What can be chosen: how it stands in a link, and what it is called.
struct Offered {
    /// Too many to choose from: then it is written.
    is_many: bool,
    routes: Vec<(String, String)>,
    credentials: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "traffic.html")]
struct TrafficPage {
    frame: Frame,
    account: String,
    span: &'static str,
    spans: [(&'static str, &'static str); 4],
    offered: Offered,
    notes: Vec<String>,
    plots: Vec<Plot>,
    filter: Filter,
    flows: Vec<Row>,
}

#[derive(Deserialize)]
pub(crate) struct Reach {
    #[serde(default)]
    span: String,
}

/// Which flows.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Filter {
    /// What the page is of, plots included: `route:` and a domain, `credential:` and a username; empty: everything.
    #[serde(default)]
    of: String,
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
    /// What the page is of. Without the word before it a domain is known by its dots.
    fn part(&self) -> Option<Part> {
        let of = self.of.trim();
        let credential = |username: &str| Part::Credential(username.to_owned());
        match of.split_once(':') {
            _ if of.is_empty() => None,
            Some(("route", domain)) => Some(Part::Route(domain.to_owned())),
            Some(("credential", username)) => Some(credential(username)),
            _ if of.contains('.') => Some(Part::Route(of.to_owned())),
            _ => Some(credential(of)),
        }
    }

    fn fits(&self, flow: &Flow) -> bool {
        let holds = |text: &Option<std::sync::Arc<str>>, part: &str| {
            text.as_deref().is_some_and(|text| text.to_lowercase().contains(&part.to_lowercase()))
        };
        let (to, by) = (self.to.trim(), self.by.trim());
        (to.is_empty() || holds(&flow.target, to))
            && (by.is_empty() || holds(&flow.username, by) || holds(&flow.route, by))
            && self.part().is_none_or(|part| part.has(flow))
            && (self.only != "bad" || flow.outcome != Outcome::Ok)
    }

    /// Whether there may be flows that do not fit.
    fn is_choosy(&self) -> bool {
        let Self { of, to, by, only } = self;
        [of, to, by, only].iter().any(|part| !part.trim().is_empty())
    }

    /// As it stands in a link.
    fn query(&self) -> String {
        let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let Self { of, to, by, only } = self;
        format!("of={}&to={}&by={}&only={}", escaped(of), escaped(to), escaped(by), escaped(only))
    }

    /// What the page is of, as it stands in a link.
    fn escaped_of(&self) -> String {
        utf8_percent_encode(&self.of, NON_ALPHANUMERIC).to_string()
    }
}

pub(crate) async fn page(
    State(console): State<Console>,
    inside: Inside,
    Query(reach): Query<Reach>,
    Query(filter): Query<Filter>,
) -> Response {
    let (span, of) = (Span::named(&reach.span), filter.part());
    let (now, account) = (now(), &inside.account);
    let begins = span.begins(now);
    // Where plots are of what was counted and every flow fits, those that are shown are enough.
    let looked_at = if span.is_of_minutes() || filter.is_choosy() { LOOKED_AT } else { SHOWN };
    let latest = match console.control.latest_flows(account, looked_at).await {
        Ok(latest) => latest,
        Err(error) => return failed(&error),
    };
    // Also where nothing is counted by it: that there is no such credential or domain.
    let wanted = UsageFilter {
        account: Some(account.clone()),
        since: begins.first().copied().unwrap_or(now),
        until: now,
        by: GroupBy::Hour,
        of: of.clone(),
        hours: (span.step / HOUR).max(1),
    };
    let rows = match console.control.usage(wanted).await {
        Ok(rows) => rows,
        Err(error) => return failed(&error),
    };
    let counted = if span.is_of_minutes() {
        plots::by_the_minute(span, &begins, &latest, of.as_ref())
    } else {
        let of_column = |begin| rows.iter().find(|row| row.hour == Some(begin)).cloned().unwrap_or_default();
        begins.iter().copied().map(of_column).collect()
    };
    let offered = match offered(&console, account).await {
        Ok(offered) => offered,
        Err(error) => return failed(&error),
    };
    let fitting = latest.flows.iter().rev().map(|recorded| &recorded.flow).filter(|flow| filter.fits(flow));
    drawn(&TrafficPage {
        frame: Frame::of_account(&inside.visitor, account, "/traffic"),
        span: span.name,
        spans: SPANS.map(|span| (span.name, span.title)),
        notes: notes(&console, span, &begins, &latest),
        plots: plots::all(span, &begins, &counted),
        flows: fitting.take(SHOWN).map(Row::of).collect(),
        offered,
        filter,
        account: inside.account,
    })
}

/// What the plots can't know.
fn notes(console: &Console, span: Span, begins: &[Timestamp], latest: &LatestFlows) -> Vec<String> {
    let mut notes = Vec::new();
    if span.is_of_minutes() {
        notes.push(
            "By the minute, from recorded flows: each counts when it has ended, open ones do not yet.".to_owned(),
        );
        notes.extend(Some(plots::counted_since(begins, latest)).filter(|note| !note.is_empty()));
    }
    let lost = console.control.status().flows_lost;
    if lost > 0 {
        let lost = shown::counted(usize::try_from(lost).unwrap_or(usize::MAX), "flow");
        notes.push(format!("{lost} could not be recorded since this gateway was started."));
    }
    if !console.control.knows_all_flows() {
        notes.push("The store can't be asked: what other gateways recorded is not in it.".to_owned());
    }
    notes
}

/// What a plot may be of: each credential and each domain of the account.
async fn offered(console: &Console, account: &str) -> Result<Offered, ControlError> {
    let credentials = console.control.list_credentials(account).await?;
    let routes = console.control.routes_after(Some(account), "", OFFERED + 1).await;
    let is_many = credentials.len() + routes.len() > OFFERED;
    let credentials = credentials.into_iter().map(|one| (format!("credential:{}", one.username), one.called()));
    let routes = routes.into_iter().map(|one| (format!("route:{}", one.domain), one.domain));
    Ok(Offered {
        is_many,
        credentials: credentials.filter(|_| !is_many).collect(),
        routes: routes.filter(|_| !is_many).collect(),
    })
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
    // Where the store can't say it, the username does.
    let credentials = console.control.list_credentials(&inside.account).await.unwrap_or_default();
    let called = flow.username.as_deref().and_then(|username| credentials.iter().find(|one| one.username == username));
    let steps = steps(&console, &flow).await;
    drawn(&FlowPage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/traffic"),
        account: inside.account,
        facts: facts(&flow, gateway.as_deref(), called.map(CredentialView::called)),
        advice: words::advice(&flow).map(std::borrow::Cow::into_owned),
        steps: steps.into_iter().map(|step| (step.check, step.found)).collect(),
    })
}

/// What the same request would meet now; of a domain that another account has by now, nothing.
async fn steps(console: &Console, flow: &Flow) -> Vec<ExplainStep> {
    if !matches!(flow.listener, Listener::InboundHttp | Listener::InboundTls) {
        return console.control.explain_flow(flow, false).await.map(|it| it.steps).unwrap_or_default();
    }
    match timeout(RESOLVE, console.control.explain_inbound_flow(flow)).await {
        Ok(Some(it)) if it.account.is_none() || it.account.as_deref() == flow.account.as_deref() => {
            let origins = it.origins.into_iter().map(|origin| ExplainStep {
                check: "origin".to_owned(),
                found: match origin.refusal {
                    Some(refusal) => format!("{}: {}", origin.url, refusal.said),
                    None => format!("{}: {}", origin.url, origin.standing.name()),
                },
            });
            it.steps.into_iter().chain(origins).collect()
        }
        _ => Vec::new(),
    }
}

fn facts(flow: &Flow, gateway: Option<&str>, credential: Option<String>) -> Vec<(&'static str, String)> {
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
        ("Credential", credential.or_else(|| text(&flow.username))),
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
