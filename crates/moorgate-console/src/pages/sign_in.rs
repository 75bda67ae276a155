//! In and out: by a password, with a code of an app where one is set up.

use std::time::{Duration, Instant};

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use moorgate_control::{Call, Control, ControlError, Entered, NewSignIn, Password};
use moorgate_wire::visible::visible;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{drawn, drawn_as, failed};
use crate::{
    Console,
    form::{Form, OpenForm, Query},
    guard::{From, Visitor, has_name, set_cookie},
};

const LOST: &str = "You are not signed in any more, so nothing of that was done. Sign in, go back with your browser to \
    what you had typed, load it anew, and send it again.";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    problem: Option<String>,
    email: &'a str,
    next: &'a str,
    sign_up: bool,
    /// Whether a passkey can be shown here: browsers keep none for an address.
    passkeys: bool,
    /// What the identity provider is called, and the way to it; `None`: there is none.
    provider: Option<(&'a str, String)>,
}

impl<'a> SignInPage<'a> {
    fn new(console: &'a Console, headers: &HeaderMap, next: &'a str) -> Self {
        let way = || format!("/sign-in/openid?next={}", utf8_percent_encode(next, NON_ALPHANUMERIC));
        let provider = console.provider.as_ref().map(|provider| (provider.label(), way()));
        let (sign_up, passkeys) = (console.lets_sign_up(), has_name(headers));
        Self { problem: None, email: "", next, sign_up, passkeys, provider }
    }
}

/// The page to sign in on, with what went wrong.
pub(crate) fn again(console: &Console, headers: &HeaderMap, status: StatusCode, problem: String) -> Response {
    drawn_as(status, &SignInPage { problem: Some(problem), ..SignInPage::new(console, headers, "") })
}

#[derive(Template)]
#[template(path = "code.html")]
struct CodePage<'a> {
    problem: Option<String>,
    step: &'a str,
    next: &'a str,
}

#[derive(Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    pub(crate) next: String,
    /// Whether a form was sent by somebody who was not signed in any more.
    #[serde(default)]
    lost: String,
}

#[derive(Deserialize)]
pub(crate) struct Entering {
    #[serde(default)]
    pub(crate) email: String,
    #[serde(default)]
    pub(crate) password: String,
    #[serde(default)]
    next: String,
}

pub(crate) async fn page(
    State(console): State<Console>,
    headers: HeaderMap,
    Query(Next { next, lost }): Query<Next>,
) -> Response {
    let problem = (!lost.is_empty()).then(|| LOST.to_owned());
    drawn(&SignInPage { problem, ..SignInPage::new(&console, &headers, here(&next)) })
}

pub(crate) async fn enter(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    OpenForm(Entering { email, password, next }): OpenForm<Entering>,
) -> Response {
    let (key, next) = (email.trim().to_lowercase(), here(&next));
    let again = |status, problem: String| {
        let page = SignInPage { problem: Some(problem), email: &email, ..SignInPage::new(&console, &headers, next) };
        drawn_as(status, &page)
    };
    if let Some(wait) = console.throttle.begin(&key, from.client, Instant::now()) {
        return again(StatusCode::TOO_MANY_REQUESTS, too_many(wait));
    }
    match asking(&console, from).sign_in(&email, &Password::given(&password), agent(&headers)).await {
        Ok(Some(Entered::In(made))) => {
            console.throttle.succeed(&key, from.client);
            welcome_in(&made, from, next)
        }
        // The guesses so far go on counting: a right password makes the code no easier to guess.
        Ok(Some(Entered::Code { step })) => drawn(&CodePage { problem: None, step: &step, next }),
        Ok(None) => {
            tracing::warn!(client = %from.client, email = %visible(&key), "somebody did not get into the console");
            note_refused(&console, from, key.clone());
            again(StatusCode::UNAUTHORIZED, "There is nobody with this address and password.".to_owned())
        }
        Err(error) => failed(&error),
    }
}

#[derive(Deserialize)]
pub(crate) struct Coded {
    #[serde(default)]
    step: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// The second step: a code of the app, or one that was written down.
pub(crate) async fn enter_code(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    OpenForm(Coded { step, code, next }): OpenForm<Coded>,
) -> Response {
    let next = here(&next);
    let Some(email) = console.control.who_steps(&step) else {
        return again(&console, &headers, StatusCode::BAD_REQUEST, "That took too long. Sign in again.".to_owned());
    };
    let page = |status, problem| drawn_as(status, &CodePage { problem: Some(problem), step: &step, next });
    if let Some(wait) = console.throttle.begin(&email, from.client, Instant::now()) {
        return page(StatusCode::TOO_MANY_REQUESTS, too_many(wait));
    }
    match asking(&console, from).sign_in_by_code(&step, &code, agent(&headers)).await {
        Ok(Some(made)) => {
            console.throttle.succeed(&email, from.client);
            welcome_in(&made, from, next)
        }
        Ok(None) => {
            tracing::warn!(client = %from.client, email = %visible(&email), "a wrong code at the console's door");
            note_refused(&console, from, email.clone());
            let said = "This code is wrong, or was used before. Wait for the app's next one.";
            page(StatusCode::UNAUTHORIZED, said.to_owned())
        }
        Err(error @ ControlError::StoreDown(_)) => failed(&error),
        Err(error) => again(&console, &headers, StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// The throttle bounds how many there are.
fn note_refused(console: &Console, from: From, email: String) {
    let control = asking(console, from);
    tokio::spawn(async move {
        if let Err(error) = control.note_refused_sign_in(&email).await {
            tracing::warn!(%error, "a refused sign-in is not in the audit log");
        }
    });
}

/// The control plane as somebody asks it who is nobody yet.
pub(crate) fn asking(console: &Console, from: From) -> Control {
    console.control.on_behalf(Call { from: Some(from.client), ..Call::default() })
}

pub(crate) fn too_many(wait: Duration) -> String {
    let minutes = wait.as_secs().div_ceil(60);
    format!("Too many tries. Wait {minutes} minute{}, then try again.", if minutes == 1 { "" } else { "s" })
}

pub(crate) async fn leave(
    State(console): State<Console>,
    visitor: Visitor,
    from: From,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    let left = visitor.asks(&console, from, None).sign_out(&visitor.person.id, &visitor.sign_in).await;
    if let Err(error) = left {
        return failed(&error);
    }
    with_cookie(Redirect::to("/sign-in").into_response(), &set_cookie(None, from.tls))
}

/// A form that says nothing but that it was sent.
#[derive(Deserialize)]
pub(crate) struct Nothing {}

pub(crate) fn welcome_in(made: &NewSignIn, from: From, next: &str) -> Response {
    let next = if next.is_empty() { "/" } else { next };
    with_cookie(Redirect::to(next).into_response(), &set_cookie(Some(made.token.reveal()), from.tls))
}

pub(crate) fn with_cookie(mut response: Response, cookie: &str) -> Response {
    match HeaderValue::from_str(cookie) {
        Ok(cookie) => {
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(crate) fn agent(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default()
}

/// A path of ours, or nothing: whoever made the link must not choose where one comes out.
pub(crate) fn here(next: &str) -> &str {
    let is_ours = next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_ours { next } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_comes_out_here_and_nowhere_else() {
        for good in ["/", "/a/acme/routes?after=x", "/a/acme/routes/app.example.com"] {
            assert_eq!(here(good), good);
        }
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a\r\nb",
            "/\t/evil",
        ] {
            assert_eq!(here(bad), "", "{bad:?}");
        }
    }
}
