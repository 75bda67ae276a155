//! Domains that come in by the gateway: a list, the wizard, and what one waits for.

use askama::Template;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::StatusCode;
use moorgate_contract::{
    listener::Listener,
    route::{Mode, OriginSpec},
};
use moorgate_control::{ControlError, DnsState, Level, OriginExplanation, RouteChange, RouteState, RouteView};
use serde::Deserialize;
use serde_json::json;

use super::{Frame, drawn, drawn_as, failed, nothing, sign_in::Nothing};
use crate::{
    Console,
    form::{Form, Path, Query},
    given,
    guard::{Changing, From, Inside},
};

/// Domains on one page.
const ON_A_PAGE: usize = 100;

struct Row {
    domain: String,
    product: &'static str,
    origin: String,
    class: &'static str,
    state: String,
}

fn product(mode: Mode) -> &'static str {
    match mode {
        Mode::Terminate => "Static",
        Mode::Passthrough => "Shield",
    }
}

/// How a route is, in a word and in a sentence, and how that looks.
fn state(view: &RouteView) -> (&'static str, &'static str, String) {
    match (view.state, view.dns) {
        (RouteState::Active, Some(DnsState::Missing)) => (
            "problem",
            "DNS has left",
            "It is served, but its DNS is not here any more. After a week it is released.".to_owned(),
        ),
        (RouteState::Active, Some(_)) => ("good", "served", "It is served.".to_owned()),
        // Without a zone nobody looks whether its DNS leads here.
        (RouteState::Active, None) => (
            "good",
            "ready",
            "It is ready here, and served as soon as the domain's DNS leads to this gateway.".to_owned(),
        ),
        (RouteState::Pending, _) => (
            "waiting",
            "waits for DNS",
            "Waiting for the CNAME record below. This is looked for every few seconds; DNS may take up to an hour."
                .to_owned(),
        ),
        (RouteState::Released, _) => (
            "problem",
            "released",
            "It is not served any more: its DNS was not here for a week. Set the record below, and it is again."
                .to_owned(),
        ),
        (RouteState::Failed, _) => (
            "problem",
            "can't be served",
            format!("It can't be served: {}", view.problem.as_deref().unwrap_or("nobody knows why")),
        ),
    }
}

#[derive(Template)]
#[template(path = "routes.html")]
struct RoutesPage {
    frame: Frame,
    account: String,
    may_change: bool,
    all: Vec<Row>,
    more: bool,
    last: String,
}

#[derive(Deserialize)]
pub(crate) struct After {
    #[serde(default)]
    after: String,
}

pub(crate) async fn page(
    State(console): State<Console>,
    inside: Inside,
    Query(After { after }): Query<After>,
) -> Response {
    let mut views = console.control.routes_after(Some(&inside.account), &after, ON_A_PAGE + 1).await;
    let more = views.len() > ON_A_PAGE;
    views.truncate(ON_A_PAGE);
    let row = |view: &RouteView| {
        let (class, word, _) = state(view);
        let origin = view.origins.first().map(|origin| origin.url.clone()).unwrap_or_default();
        Row { domain: view.domain.clone(), product: product(view.mode), origin, class, state: word.to_owned() }
    };
    drawn(&RoutesPage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/routes"),
        may_change: inside.may_change(),
        all: views.iter().map(row).collect(),
        more,
        last: views.last().map(|view| view.domain.clone()).unwrap_or_default(),
        account: inside.account,
    })
}

#[derive(Template)]
#[template(path = "wizard.html")]
struct Wizard {
    frame: Frame,
    account: String,
    problem: Option<String>,
    domain: String,
    url: String,
    is_passthrough: bool,
}

#[derive(Default, Deserialize)]
pub(crate) struct NewRoute {
    #[serde(default)]
    domain: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    mode: String,
}

fn asked(inside: &Inside, given: &NewRoute, problem: Option<String>) -> Response {
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = Wizard {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/routes"),
        account: inside.account.clone(),
        problem,
        domain: given.domain.clone(),
        url: given.url.clone(),
        is_passthrough: given.mode == Mode::Passthrough.name(),
    };
    drawn_as(status, &page)
}

pub(crate) async fn wizard(Changing(inside): Changing, Query(given): Query<NewRoute>) -> Response {
    asked(&inside, &given, None)
}

pub(crate) async fn add(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Form(given): Form<NewRoute>,
) -> Response {
    let (domain, url) = (given::domain(&given.domain), given::forwarding_url(&given.url));
    let mode = if given.mode == Mode::Passthrough.name() { Mode::Passthrough } else { Mode::Terminate };
    if domain.is_empty() || url.is_empty() {
        let said = "Write a domain of yours and the URL that it goes to.".to_owned();
        return asked(&inside, &given, Some(said));
    }
    let origin = match url.parse() {
        Ok(url) => OriginSpec { url, weight: 1 },
        Err(error) => return asked(&inside, &given, Some(format!("{error}"))),
    };
    let change = RouteChange { origins: Some(vec![origin]), ..RouteChange::default() };
    let control = inside.asks(&console, from);
    match control.add_route(Some(&inside.account), &domain, mode, change).await {
        Ok(view) => Redirect::to(&format!("/a/{}/routes/{}", inside.account, view.domain)).into_response(),
        Err(error @ ControlError::StoreDown(_)) => failed(&error),
        Err(error) => asked(&inside, &given, Some(error.to_string())),
    }
}

#[derive(Template)]
#[template(path = "route.html")]
struct RoutePage {
    frame: Frame,
    account: String,
    may_change: bool,
    class: &'static str,
    state: String,
    product: &'static str,
    findings: Vec<(&'static str, String, Vec<String>)>,
    certificate_problem: Option<String>,
    /// Each origin, and whether it could be reached; empty: nobody asked.
    origins: Vec<(String, bool, String)>,
    steps: Vec<(String, String)>,
    view: RouteView,
}

#[derive(Deserialize)]
pub(crate) struct Tested {
    #[serde(default)]
    test: String,
}

/// A route of this account. What is another's is not there.
async fn theirs(console: &Console, inside: &Inside, domain: &str) -> Result<RouteView, Response> {
    match console.control.route(domain).await {
        Ok(view) if view.account == inside.account => Ok(view),
        Ok(_) | Err(ControlError::NotFound { .. }) => Err(nothing().await),
        Err(error) => Err(failed(&error)),
    }
}

pub(crate) async fn show(
    State(console): State<Console>,
    inside: Inside,
    Path((_, domain)): Path<(String, String)>,
    Query(Tested { test }): Query<Tested>,
) -> Response {
    let view = match theirs(&console, &inside, &domain).await {
        Ok(view) => view,
        Err(refused) => return refused,
    };
    // What DNS says is asked now, where there is a zone to lead to.
    let is_well = view.state == RouteState::Active && view.dns != Some(DnsState::Missing);
    let asks = view.cname.is_some() && (!is_well || !test.is_empty());
    let findings = if asks { console.control.check_route(&view.domain).await.ok() } else { None };
    let findings = findings.map(|check| check.findings).unwrap_or_default().into_iter().map(|finding| {
        let class = match finding.level {
            Level::Problem => "bad",
            Level::Ok | Level::Wait | Level::Note => "",
        };
        (class, finding.said, finding.records.iter().map(ToString::to_string).collect())
    });
    let certificate = console.control.certificate(&view.domain).await.ok();
    let explained = match &*test {
        "" => None,
        _ => console.control.explain_route(&view.domain, None, Listener::InboundTls).await.ok(),
    };
    let (steps, origins) = explained.map(|it| (it.steps, it.origins)).unwrap_or_default();
    let origin = |it: OriginExplanation| match it.refusal {
        Some(refusal) => (it.url, false, refusal.said),
        None => {
            let addresses: Vec<String> = it.admitted.iter().map(ToString::to_string).collect();
            (it.url, true, format!("is at {}; its health: {}", addresses.join(", "), it.standing.name()))
        }
    };
    let (class, _, said) = state(&view);
    drawn(&RoutePage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/routes"),
        account: inside.account.clone(),
        may_change: inside.may_change(),
        class,
        state: said,
        product: product(view.mode),
        findings: findings.collect(),
        origins: origins.into_iter().map(origin).collect(),
        steps: steps.into_iter().map(|step| (step.check, step.found)).collect(),
        certificate_problem: certificate.and_then(|certificate| certificate.last_error),
        view,
    })
}

/// How it is, for a script that waits.
pub(crate) async fn check(
    State(console): State<Console>,
    inside: Inside,
    Path((_, domain)): Path<(String, String)>,
) -> Response {
    match theirs(&console, &inside, &domain).await {
        Ok(view) => {
            let (class, _, said) = state(&view);
            Json(json!({ "state": class, "said": said })).into_response()
        }
        Err(refused) => refused,
    }
}

pub(crate) async fn remove(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Path((_, domain)): Path<(String, String)>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    let view = match theirs(&console, &inside, &domain).await {
        Ok(view) => view,
        Err(refused) => return refused,
    };
    match inside.asks(&console, from).remove_route(&view.domain).await {
        Ok(()) => Redirect::to(&format!("/a/{}/routes", inside.account)).into_response(),
        Err(error) => failed(&error),
    }
}
