//! Domains that come in by the gateway: a list, and the wizard.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::StatusCode;
use moorgate_contract::route::{Mode, OriginSpec};
use moorgate_control::{ControlError, DnsState, RouteChange, RouteState, RouteView};
use serde::Deserialize;

use super::{Frame, drawn, drawn_as, failed};
use crate::{
    Console,
    form::{Form, Query},
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

pub(super) fn product(mode: Mode) -> &'static str {
    match mode {
        Mode::Terminate => "Static",
        Mode::Passthrough => "Shield",
    }
}

/// How a route is, in a word and in a sentence, and how that looks.
pub(super) fn state(view: &RouteView) -> (&'static str, &'static str, String) {
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
    /// Whether certificates come by themselves.
    orders: bool,
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

fn asked(console: &Console, inside: &Inside, given: &NewRoute, problem: Option<String>) -> Response {
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = Wizard {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/routes"),
        account: inside.account.clone(),
        problem,
        domain: given.domain.clone(),
        url: given.url.clone(),
        is_passthrough: given.mode == Mode::Passthrough.name(),
        orders: console.control.orders_certificates(),
    };
    drawn_as(status, &page)
}

pub(crate) async fn wizard(
    State(console): State<Console>,
    Changing(inside): Changing,
    Query(given): Query<NewRoute>,
) -> Response {
    asked(&console, &inside, &given, None)
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
        return asked(&console, &inside, &given, Some(said));
    }
    let origin = match url.parse() {
        Ok(url) => OriginSpec { url, weight: 1 },
        Err(error) => return asked(&console, &inside, &given, Some(format!("{error}"))),
    };
    let change = RouteChange { origins: Some(vec![origin]), ..RouteChange::default() };
    let control = inside.asks(&console, from);
    match control.add_route(Some(&inside.account), &domain, mode, change).await {
        // The page says at once whether the other end can be reached, or may be.
        Ok(view) => Redirect::to(&format!("/a/{}/routes/{}?test=1", inside.account, view.domain)).into_response(),
        Err(error @ ControlError::StoreDown(_)) => failed(&error),
        Err(error) => asked(&console, &inside, &given, Some(error.to_string())),
    }
}
