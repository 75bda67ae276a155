//! The outbound helper: what an app connects to, with what, and the exact words for that.

use askama::Template;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, header};
use moorgate_contract::time::Timestamp;
use moorgate_control::{Control, ControlError, CredentialChange, NewCredential};
use serde::Deserialize;
use serde_json::json;

use super::{Frame, drawn, environment, failed, now};
use crate::{
    Console,
    form::{Form, Query},
    given,
    guard::{Changing, From, Inside},
    probe,
    snippets::{self, Kind, PLATFORMS, Snippet},
};

/// How long the credential of a test may live, in microseconds: should it not be taken away, it ends.
const TEST_LIFE: u64 = 60 * 1_000_000;

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
    /// Its username.
    made: Option<String>,
    password: String,
    env: String,
    needs_ca: bool,
    platforms: &'static [(&'static str, &'static str)],
    target: String,
    results: Vec<(bool, String)>,
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
}

impl ConnectPage {
    fn of(console: &Console, inside: &Inside, chosen: &Chosen) -> Self {
        let to = Kind::from_name(&chosen.to);
        let snippet = to.and_then(|to| snippets::named(&chosen.with).filter(|snippet| snippet.kind == to));
        Self {
            frame: Frame::of_account(&inside.visitor, &inside.account, "/connect"),
            account: inside.account.clone(),
            may_change: inside.may_change(),
            kinds: Kind::ALL,
            to,
            to_name: chosen.to.clone(),
            offered: snippets::ALL.iter().filter(|snippet| Some(snippet.kind) == to).collect(),
            chosen: snippet,
            chosen_name: snippet.map_or_else(String::new, |snippet| snippet.name.to_owned()),
            made: Some(chosen.username.clone()).filter(|username| !username.is_empty()),
            env: environment(console, &chosen.username, &chosen.password),
            password: chosen.password.clone(),
            needs_ca: (console.proxy_ca)().is_some(),
            platforms: PLATFORMS,
            target: chosen.target.clone(),
            results: Vec::new(),
        }
    }
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
    let control = inside.asks(&console, from);
    match control.add_credential(&inside.account, CredentialChange::default()).await {
        Ok(made) => {
            let NewCredential { username, password } = made;
            let chosen = Chosen { username, password: password.reveal().to_owned(), ..chosen };
            drawn(&ConnectPage::of(&console, &inside, &chosen))
        }
        Err(error) => failed(&error),
    }
}

/// Sends a request through the gateway as an app would, with a credential of its own that ends with it.
pub(crate) async fn test(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Form(chosen): Form<Chosen>,
) -> Response {
    let control = inside.asks(&console, from);
    let results = match tried(&console, &control, &inside.account, &given::target(&chosen.target)).await {
        Ok(results) => results,
        Err(error) => return failed(&error),
    };
    drawn(&ConnectPage { results, ..ConnectPage::of(&console, &inside, &chosen) })
}

async fn tried(
    console: &Console,
    control: &Control,
    account: &str,
    target: &str,
) -> Result<Vec<(bool, String)>, ControlError> {
    let Some(proxy) = console.own_proxy else {
        return Ok(vec![(false, "This gateway has no HTTP proxy open to test by.".to_owned())]);
    };
    let ends = Timestamp(now().0 + TEST_LIFE);
    let change = CredentialChange { expires: Some(Some(ends)), ..CredentialChange::default() };
    let made = control.add_credential(account, change).await?;
    let (username, password) = (&made.username, made.password.reveal());
    let mut results = vec![match probe::echo(proxy, username, password).await {
        Ok(seen) => (true, format!("The gateway works for this account: the other side saw {}.", seen.address)),
        Err(said) => (false, format!("It does not work yet: {said}")),
    }];
    if !target.is_empty() {
        results.push(match probe::reach(proxy, username, password, target).await {
            Ok(()) => (true, format!("{target} takes connections from here.")),
            Err(said) => (false, format!("{target}: {said}")),
        });
    }
    control.revoke_credential(account, username).await?;
    Ok(results)
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
    let wants_json =
        headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
    if wants_json {
        let state = if last.is_some() { "good" } else { "waiting" };
        return Json(json!({ "state": state, "said": said })).into_response();
    }
    let frame = Frame::of_account(&inside.visitor, &inside.account, "/connect");
    drawn(&CallsPage { frame, account: inside.account, called: last.is_some(), said })
}
