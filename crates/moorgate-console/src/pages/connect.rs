//! The outbound helper: what an app connects to, with what, and the exact words for that.

use askama::Template;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode};
use moorgate_api::words;
use moorgate_contract::{flow::Flow, outcome::Outcome};
use moorgate_control::{Control, ControlError, CredentialChange, MAX_CREDENTIAL_NAME, NewCredential};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;

use super::{Frame, drawn, drawn_as, environment, failed, wants_json};
use crate::{
    Console,
    form::{Form, Query},
    given::Destination,
    guard::{Changing, From, Inside},
    probe::{self, Step, outbound::By},
    snippets::{self, Kind, PLATFORMS, Snippet},
};

#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectPage {
    frame: Frame,
    account: String,
    may_change: bool,
    kinds: [Kind; 4],
    to: Option<Kind>,
    to_name: String,
    offered: Vec<&'static Snippet>,
    chosen: Option<&'static Snippet>,
    chosen_name: String,
    /// Its text, going to the target.
    code: String,
    /// Its username.
    made: Option<String>,
    password: String,
    env: String,
    needs_ca: bool,
    /// Each platform, and what to do there.
    platforms: Vec<(&'static str, String)>,
    /// As it was typed, and as it stands in a link.
    target: String,
    target_link: String,
    placeholder: &'static str,
    /// What is wrong with it.
    problem: Option<String>,
    /// What the credential is to be called, and what is wrong with that.
    name: String,
    misnamed: Option<String>,
    longest: usize,
    results: Vec<Step>,
}

#[derive(Deserialize)]
pub(crate) struct Chosen {
    #[serde(default)]
    to: String,
    #[serde(default)]
    with: String,
    #[serde(default)]
    target: String,
    /// The credential that the page shows, so that it goes on showing it.
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    /// What a credential is made for.
    #[serde(default)]
    name: String,
    #[serde(default)]
    once: String,
    /// Another snippet, to go on with what is shown.
    #[serde(default)]
    pick: String,
    /// Whether the page is wanted and no test: what is shown once does not stand in a link.
    #[serde(default)]
    show: String,
}

impl ConnectPage {
    fn of(console: &Console, inside: &Inside, chosen: &Chosen) -> Self {
        let to = Kind::from_name(&chosen.to);
        let snippet = to.and_then(|to| snippets::named(&chosen.with).filter(|snippet| snippet.kind == to));
        let (destination, problem) = match Destination::parse(&chosen.target) {
            Ok(destination) => (destination, None),
            Err(said) => (None, Some(said)),
        };
        Self {
            frame: Frame::of_account(&inside.visitor, &inside.account, "/connect"),
            account: inside.account.clone(),
            may_change: inside.may_change(),
            kinds: Kind::ALL,
            to,
            to_name: chosen.to.clone(),
            offered: snippets::ALL.iter().filter(|snippet| Some(snippet.kind) == to).collect(),
            chosen: snippet,
            code: snippet.map_or_else(String::new, |snippet| snippet.text_to(destination.as_ref())),
            chosen_name: snippet.map_or_else(String::new, |snippet| snippet.name.to_owned()),
            made: Some(chosen.username.clone()).filter(|username| !username.is_empty()),
            env: environment(console, &chosen.username, &chosen.password),
            password: chosen.password.clone(),
            needs_ca: (console.proxy_ca)().is_some(),
            platforms: platforms(console, snippet, chosen),
            target: chosen.target.clone(),
            target_link: utf8_percent_encode(&chosen.target, NON_ALPHANUMERIC).to_string(),
            placeholder: to.map_or("", Kind::placeholder),
            problem,
            name: chosen.name.clone(),
            misnamed: None,
            longest: MAX_CREDENTIAL_NAME,
            results: Vec::new(),
        }
    }
}

/// What to do on each platform, with the values of the credential that is shown.
fn platforms(console: &Console, snippet: Option<&Snippet>, chosen: &Chosen) -> Vec<(&'static str, String)> {
    let variable = snippet.map_or("MOORGATE_SHIELD_URL", Snippet::variable);
    let urls = (console.proxy_urls)(&chosen.username, &chosen.password);
    let value = urls.into_iter().find(|it| it.variable == variable).map(|it| it.url).unwrap_or_default();
    let with = |text: &str| text.replace("VARIABLE", variable).replace("VALUE", &value);
    PLATFORMS.iter().map(|(platform, how)| (*platform, with(how))).collect()
}

pub(crate) async fn page(State(console): State<Console>, inside: Inside, Query(chosen): Query<Chosen>) -> Response {
    // A password does not stand in a link.
    let chosen = Chosen { username: String::new(), password: String::new(), ..chosen };
    drawn(&ConnectPage::of(&console, &inside, &chosen))
}

pub(crate) async fn make_credential(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Form(chosen): Form<Chosen>,
) -> Response {
    let control = inside.asks_once(&console, from, &chosen.once);
    let change = CredentialChange { name: Some(chosen.name.clone()), ..CredentialChange::default() };
    match control.add_credential(&inside.account, change).await {
        Ok(made) => {
            let NewCredential { username, password } = made;
            let chosen = Chosen { username, password: password.reveal().to_owned(), ..chosen };
            drawn(&ConnectPage::of(&console, &inside, &chosen))
        }
        Err(ControlError::Invalid(problem)) => {
            let page = ConnectPage::of(&console, &inside, &chosen);
            drawn_as(StatusCode::BAD_REQUEST, &ConnectPage { misnamed: Some(problem.to_string()), ..page })
        }
        Err(error) => failed(&error),
    }
}

/// Sends a request through the gateway as an app would, with the credential that the account has for tests.
pub(crate) async fn test(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Form(chosen): Form<Chosen>,
) -> Response {
    let picks = !chosen.pick.is_empty();
    let chosen = if picks { Chosen { with: chosen.pick.clone(), ..chosen } } else { chosen };
    let control = inside.asks(&console, from);
    let page = ConnectPage::of(&console, &inside, &chosen);
    if picks || !chosen.show.is_empty() {
        return drawn(&page);
    }
    let to = Destination::parse(&chosen.target).ok().flatten();
    let kind = page.to.unwrap_or(Kind::Web);
    let port = page.chosen.and_then(Snippet::port).unwrap_or_default();
    match tried(&console, &control, &inside.account, to.map(|to| (to, kind, port))).await {
        Ok(results) => drawn(&ConnectPage { results, ..page }),
        Err(error) => failed(&error),
    }
}

async fn tried(
    console: &Console,
    control: &Control,
    account: &str,
    to: Option<(Destination, Kind, u16)>,
) -> Result<Vec<Step>, ControlError> {
    let Some(proxy) = console.doors.proxy else {
        let said = "This gateway has no HTTP proxy open to test by: an operator opens one with [outbound] http.";
        return Ok(vec![Step::new("problem", "Through the gateway", said)]);
    };
    let made = control.test_credential(account).await?;
    let by = By { proxy, username: &made.username, password: made.password.reveal() };
    let mut steps = vec![by.echo().await];
    if let Some((to, kind, port)) = to {
        let flows = control.follow();
        let reached = by.reach(&to, kind, port).await;
        steps.extend(reached);
        let is_of_it = |flow: &Flow| flow.username.as_deref() == Some(by.username) && !is_echo(flow);
        steps.extend(probe::recorded(control, flows, is_of_it).await.map(|flow| left(&flow)));
    }
    Ok(steps)
}

fn is_echo(flow: &Flow) -> bool {
    flow.target.as_deref().is_some_and(|target| target.starts_with("echo.moorgate.internal:"))
}

/// From where a test left, or what to do where it did not.
fn left(flow: &Flow) -> Step {
    let failed = matches!(flow.outcome, Outcome::Failed(_));
    let step = match (flow.egress, words::advice(flow).filter(|_| failed)) {
        (_, Some(advice)) => Step::new("attention", "Advice", format!("What to do: {advice}")),
        (Some(egress), None) => Step::new("good", "Left from", format!("The other side saw {egress}.")),
        (None, None) => Step::new("good", "Left from", "It was answered by the gateway itself."),
    };
    Step { flow: Some(flow.id.to_string()), ..step }
}

#[derive(Deserialize)]
pub(crate) struct Whose {
    #[serde(default)]
    username: String,
}

#[derive(Template)]
#[template(path = "calls.html")]
struct CallsPage {
    frame: Frame,
    account: String,
    called: bool,
    said: String,
}

/// Whether a credential has been used: for a script as JSON, for people as a page.
pub(crate) async fn calls(
    State(console): State<Console>,
    inside: Inside,
    headers: HeaderMap,
    Query(Whose { username }): Query<Whose>,
) -> Response {
    let all = match console.control.list_credentials(&inside.account).await {
        Ok(all) => all,
        Err(error) => return failed(&error),
    };
    let last = all.iter().find(|one| one.username == username).and_then(|one| one.last_used);
    let said = match last {
        Some(_) => format!("{username} has called: your app comes by the gateway."),
        None => format!("Waiting for the first call of {username} …"),
    };
    if wants_json(&headers) {
        let state = if last.is_some() { "good" } else { "waiting" };
        return Json(json!({ "state": state, "said": said })).into_response();
    }
    let frame = Frame::of_account(&inside.visitor, &inside.account, "/connect");
    drawn(&CallsPage { frame, account: inside.account, called: last.is_some(), said })
}
