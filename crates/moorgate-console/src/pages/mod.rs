//! The pages, one module for each place.

pub(crate) mod account;
pub(crate) mod alarms;
pub(crate) mod app;
pub(crate) mod connect;
pub(crate) mod credentials;
pub(crate) mod exposure;
pub(crate) mod home;
pub(crate) mod invited;
pub(crate) mod members;
pub(crate) mod openid;
pub(crate) mod operator;
pub(crate) mod passkeys;
pub(crate) mod policy;
pub(crate) mod route;
pub(crate) mod routes;
pub(crate) mod sign_in;
pub(crate) mod tiers;
pub(crate) mod tokens;
pub(crate) mod traffic;
pub(crate) mod you;

use askama::Template;
use axum::response::{Html, IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use moorgate_contract::time::Timestamp;
use moorgate_control::ControlError;

use crate::{Console, guard::Visitor};

/// What is around every page of somebody who is signed in.
pub(crate) struct Frame {
    pub(crate) email: String,
    pub(crate) operator: bool,
    pub(crate) csrf: String,
    /// Stands in forms that make something: each drawing of a page makes it once.
    pub(crate) once: String,
    /// The account that the page is of.
    pub(crate) account: Option<String>,
    /// Where one can go: link, title, and whether one is there.
    pub(crate) links: Vec<(String, &'static str, bool)>,
}

const OF_ACCOUNT: [(&str, &str); 10] = [
    ("", "Start"),
    ("/connect", "Connect an app"),
    ("/credentials", "Credentials"),
    ("/routes", "Domains"),
    ("/traffic", "Traffic"),
    ("/exposure", "Exposure"),
    ("/policy", "Policy"),
    ("/alarms", "Alarms"),
    ("/members", "Members"),
    ("/tokens", "API tokens"),
];
const OF_OPERATOR: [(&str, &str); 5] = [
    ("/accounts", "Accounts"),
    ("/tiers", "Tiers"),
    ("/gateways", "Gateways"),
    ("/people", "People"),
    ("/audit", "Audit log"),
];

impl Frame {
    /// A page of an account, at this place of it.
    pub(crate) fn of_account(visitor: &Visitor, account: &str, here: &str) -> Self {
        let links = OF_ACCOUNT.map(|(path, title)| (format!("/a/{account}{path}"), title, path == here));
        Self { account: Some(account.to_owned()), ..Self::with(visitor, links.into()) }
    }

    /// Any other page.
    pub(crate) fn of(visitor: &Visitor, here: &str) -> Self {
        let links = if visitor.person.operator {
            OF_OPERATOR.map(|(path, title)| (path.to_owned(), title, path == here)).into()
        } else {
            vec![("/".to_owned(), "Your accounts", here == "/")]
        };
        Self::with(visitor, links)
    }

    fn with(visitor: &Visitor, links: Vec<(String, &'static str, bool)>) -> Self {
        let Visitor { person, csrf, .. } = visitor;
        let once = once();
        Self { email: person.email.clone(), operator: person.operator, csrf: csrf.clone(), once, account: None, links }
    }
}

/// Nobody else's, and never again.
fn once() -> String {
    let mut bytes = [0; 16];
    // Without it a form that is sent twice is done twice, which is no reason to have no page.
    if getrandom::fill(&mut bytes).is_err() {
        return String::new();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A page as it is drawn.
pub(crate) fn drawn(template: &impl Template) -> Response {
    drawn_as(StatusCode::OK, template)
}

/// The same with another status.
pub(crate) fn drawn_as(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(page) => (status, Html(page)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page can't be drawn");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct Refusal<'a> {
    title: &'a str,
    said: &'a str,
}

/// A page that says no.
pub(crate) fn refusal(status: StatusCode, title: &str, said: &str) -> Response {
    drawn_as(status, &Refusal { title, said })
}

/// There is no such page, or none for whoever asks.
pub(crate) async fn nothing() -> Response {
    refusal(
        StatusCode::NOT_FOUND,
        "There is no such page",
        "It may have been removed, or be of an account that you are not in.",
    )
}

/// What went wrong behind a page.
pub(crate) fn failed(error: &ControlError) -> Response {
    match error {
        ControlError::NotFound { .. } => {
            refusal(StatusCode::NOT_FOUND, "It is not there (any more)", &error.to_string())
        }
        ControlError::StoreDown(_) => refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not now",
            "The gateway's store can't be used at the moment. Traffic goes on by the last rules; try again in a minute.",
        ),
        ControlError::AlreadyDone { did } => refusal(
            StatusCode::CONFLICT,
            "Done already",
            &format!("This form was sent before, and done: {did}. What it showed once is not shown again."),
        ),
        _ => refusal(StatusCode::BAD_REQUEST, "That did not work", &error.to_string()),
    }
}

/// Whether a script of ours asks, and no browser for a page.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"))
}

pub(crate) fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// What an app is given, as a file of variables.
pub(crate) fn environment(console: &Console, username: &str, password: &str) -> String {
    let urls = (console.proxy_urls)(username, password);
    let mut text: String = urls.into_iter().map(|it| format!("{}={}\n", it.variable, it.url)).collect();
    if (console.proxy_ca)().is_some() {
        text.push_str("MOORGATE_CA=moorgate-ca.pem\n");
    }
    text
}
