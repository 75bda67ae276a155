//! One domain: what to set in DNS, how it is served, and whether a request gets through.

use askama::Template;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::StatusCode;
use moorgate_api::words;
use moorgate_contract::{listener::Listener, route::OriginSpec};
use moorgate_control::{
    ControlError, DnsState, Level, OriginExplanation, RouteChange, RouteState, RouteView, is_public_suffix,
};
use moorgate_wire::name::DomainName;
use serde::Deserialize;
use serde_json::json;

use super::{
    Frame, drawn, drawn_as, failed, nothing,
    routes::{product, state},
    sign_in::Nothing,
};
use crate::{
    Console,
    form::{Form, Path, Query},
    given,
    guard::{Changing, From, Inside},
    probe::{self, Step, inbound::visit},
};

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
    certificate: (&'static str, String),
    /// What a test request met.
    tried: Vec<Step>,
    /// Each origin, and whether it could be reached; empty: nobody asked.
    origins: Vec<(String, bool, String)>,
    steps: Vec<(String, String)>,
    /// Whether it stands at the top of a zone, where there can be no CNAME.
    is_apex: bool,
    /// What apps know the gateway by, where that is a name.
    known_as: Option<String>,
    /// What is wrong with where it was to go.
    problem: Option<String>,
    view: RouteView,
}

/// What was asked for beside the page.
#[derive(Default)]
struct Tests {
    explain: bool,
    problem: Option<String>,
    tried: Vec<Step>,
}

impl RoutePage {
    async fn of(console: &Console, inside: &Inside, view: RouteView, Tests { explain, problem, tried }: Tests) -> Self {
        // What DNS says is asked now, where there is a zone to lead to.
        let is_well = view.state == RouteState::Active && view.dns != Some(DnsState::Missing);
        let asks = view.cname.is_some() && (!is_well || explain);
        let findings = if asks { console.control.check_route(&view.domain).await.ok() } else { None };
        let findings = findings.map(|check| check.findings).unwrap_or_default().into_iter().map(|finding| {
            let class = match finding.level {
                Level::Problem => "bad",
                Level::Ok | Level::Wait | Level::Note => "",
            };
            (class, finding.said, finding.records.iter().map(ToString::to_string).collect())
        });
        let explained = if explain {
            console.control.explain_route(&view.domain, None, Listener::InboundTls).await.ok()
        } else {
            None
        };
        let (steps, origins) = explained.map(|it| (it.steps, it.origins)).unwrap_or_default();
        let (class, _, said) = state(&view);
        Self {
            frame: Frame::of_account(&inside.visitor, &inside.account, "/routes"),
            account: inside.account.clone(),
            may_change: inside.may_change(),
            class,
            state: said,
            product: product(view.mode),
            findings: findings.collect(),
            certificate: certificate(console, &view).await,
            tried,
            origins: origins.into_iter().map(origin).collect(),
            steps: steps.into_iter().map(|step| (step.check, step.found)).collect(),
            is_apex: is_apex(&view.domain),
            known_as: known_as(console),
            problem,
            view,
        }
    }
}

fn is_apex(domain: &str) -> bool {
    let parent = domain.split_once('.').and_then(|(_, parent)| parent.parse::<DomainName>().ok());
    parent.is_some_and(|parent| is_public_suffix(&parent))
}

/// The host of its proxies' URLs, where it is a name that others can resolve.
fn known_as(console: &Console) -> Option<String> {
    let url = (console.proxy_urls)("U", "P").into_iter().next()?.url;
    let host = url.rsplit_once('@')?.1.rsplit_once(':')?.0.to_owned();
    let is_name = host.contains('.') && host.contains(|c: char| c.is_ascii_alphabetic()) && !host.starts_with('[');
    is_name.then_some(host)
}

fn origin(it: OriginExplanation) -> (String, bool, String) {
    match it.refusal {
        Some(refusal) => (it.url, false, refusal.said),
        None => {
            let addresses: Vec<String> = it.admitted.iter().map(ToString::to_string).collect();
            (it.url, true, format!("is at {}; its health: {}", addresses.join(", "), it.standing.name()))
        }
    }
}

/// How its certificate is, and how that looks.
async fn certificate(console: &Console, view: &RouteView) -> (&'static str, String) {
    let Some(shown) = &view.certificate else {
        return ("good", "It is your server's own: the gateway has none and needs none.".to_owned());
    };
    let known = console.control.certificate(&view.domain).await.ok();
    let is_here = view.state == RouteState::Active && view.dns != Some(DnsState::Missing);
    let failed = known.and_then(|known| known.last_error).filter(|_| is_here);
    let orders = console.control.orders_certificates();
    match (shown.not_after, failed) {
        (Some(end), None) => ("good", format!("Issued by {}, valid until {}.", shown.issuer, crate::shown::day(end))),
        (Some(end), Some(why)) => {
            let end = crate::shown::day(end);
            ("problem", format!("Issued by {}, valid until {end}. It could not be renewed: {why}", shown.issuer))
        }
        (None, Some(why)) if orders => {
            ("waiting", format!("The CA was asked and gave none yet; it is asked again by itself. {why}"))
        }
        (None, Some(why)) => ("problem", why),
        (None, None) if orders && is_here => {
            ("waiting", "The CA is asked for one: this takes a minute at most.".to_owned())
        }
        (None, None) if orders => ("waiting", "It is ordered as soon as DNS leads here.".to_owned()),
        (None, None) => (
            "attention",
            format!(
                "It is the {}'s, which no browser trusts. An operator names a CA in [acme] directory, or adds a \
                 certificate with moorgate cert add.",
                shown.issuer
            ),
        ),
    }
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
    match theirs(&console, &inside, &domain).await {
        Ok(view) => {
            let tests = Tests { explain: !test.is_empty(), ..Tests::default() };
            drawn(&RoutePage::of(&console, &inside, view, tests).await)
        }
        Err(refused) => refused,
    }
}

/// Sends a request as a visitor of the domain would, and shows what it met.
pub(crate) async fn request(
    State(console): State<Console>,
    Changing(inside): Changing,
    Path((_, domain)): Path<(String, String)>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    match theirs(&console, &inside, &domain).await {
        Ok(view) => {
            let tried = tried(&console, &view).await;
            // It may have changed meanwhile.
            let view = console.control.route(&domain).await.unwrap_or(view);
            drawn(&RoutePage::of(&console, &inside, view, Tests { tried, ..Tests::default() }).await)
        }
        Err(refused) => refused,
    }
}

async fn tried(console: &Console, view: &RouteView) -> Vec<Step> {
    // Of a wildcard's names one is as good as another.
    let name = view.domain.strip_prefix('*').map_or(view.domain.clone(), |rest| format!("moorgate-test{rest}"));
    let mut steps = vec![dns(console, view, &name).await];
    let doors = &console.doors;
    let by_tls = doors.inbound_tls.map(|door| (door, true));
    let Some((door, tls)) = by_tls.or(doors.inbound_http.map(|door| (door, false))) else {
        let said = "This gateway has no listener for domains: an operator opens one with [inbound] tls.";
        steps.push(Step::new("problem", "Connection", said));
        return steps;
    };
    let flows = console.control.follow();
    let (visited, from) = visit(door, tls, &name).await;
    steps.extend(visited);
    let Some(flow) = probe::recorded(&console.control, flows, |flow| Some(flow.client) == from).await else {
        return steps;
    };
    // What a name met that is not served is nobody's.
    if flow.account.as_deref() != Some(&*view.account) {
        let (_, _, said) = state(view);
        steps.push(Step::new("problem", "Route", said.replace("below", "above")));
        return steps;
    }
    let (class, said) = match words::advice(&flow) {
        Some(advice) => ("problem", format!("{}. What to do: {advice}", words::ended(&flow))),
        None => {
            let origin = flow.origin.as_deref().map(|origin| format!(", answered by {origin}")).unwrap_or_default();
            ("good", format!("It came through{origin}."))
        }
    };
    steps.push(Step { flow: Some(flow.id.to_string()), ..Step::new(class, "Record", said) });
    steps
}

/// Where a visitor of the name would be led.
async fn dns(console: &Console, view: &RouteView, name: &str) -> Step {
    const TITLE: &str = "DNS";
    let found = match DomainName::parse(name) {
        Ok(name) => console.control.resolve(name).await.map_err(|refusal| refusal.said),
        Err(error) => Err(error.to_string()),
    };
    match found {
        Ok(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let said = format!("{name} is {}", addresses.join(", "));
            match view.dns {
                Some(DnsState::Seen) => Step::new("good", TITLE, format!("{said}, which leads here.")),
                Some(_) => {
                    Step::new("problem", TITLE, format!("{said}: that does not lead here yet. Set the CNAME above."))
                }
                None => {
                    let said = format!("{said}. See that this is the public address of this gateway.");
                    Step::new("attention", TITLE, said)
                }
            }
        }
        Err(said) => {
            let advice = if view.cname.is_some() { "Set the CNAME above" } else { "Set the record above" };
            Step::new("problem", TITLE, format!("Visitors are not led here yet: {said}. {advice}."))
        }
    }
}

/// How it is, for a script that waits.
pub(crate) async fn check(
    State(console): State<Console>,
    inside: Inside,
    Path((_, domain)): Path<(String, String)>,
    Query(Of { of }): Query<Of>,
) -> Response {
    match theirs(&console, &inside, &domain).await {
        Ok(view) => {
            let (class, said) = if of == "certificate" {
                certificate(&console, &view).await
            } else {
                let (class, _, said) = state(&view);
                (class, said)
            };
            Json(json!({ "state": class, "said": said })).into_response()
        }
        Err(refused) => refused,
    }
}

/// Of what: the route, or its `certificate`.
#[derive(Deserialize)]
pub(crate) struct Of {
    #[serde(default)]
    of: String,
}

#[derive(Deserialize)]
pub(crate) struct To {
    #[serde(default)]
    url: String,
}

/// Has a domain go somewhere else from now on.
pub(crate) async fn set_url(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Path((_, domain)): Path<(String, String)>,
    Form(To { url }): Form<To>,
) -> Response {
    let view = match theirs(&console, &inside, &domain).await {
        Ok(view) => view,
        Err(refused) => return refused,
    };
    let wrong = async |said: String, view| {
        let tests = Tests { problem: Some(said), ..Tests::default() };
        drawn_as(StatusCode::BAD_REQUEST, &RoutePage::of(&console, &inside, view, tests).await)
    };
    let origin = match given::forwarding_url(&url).parse() {
        Ok(url) => OriginSpec { url, weight: 1 },
        Err(error) => return wrong(format!("{error}"), view).await,
    };
    let change = RouteChange { origins: Some(vec![origin]), ..RouteChange::default() };
    match inside.asks(&console, from).set_route(&view.domain, change).await {
        Ok(view) => Redirect::to(&format!("/a/{}/routes/{}?test=1", inside.account, view.domain)).into_response(),
        Err(ControlError::Invalid(problem)) => wrong(problem.to_string(), view).await,
        Err(error) => failed(&error),
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
