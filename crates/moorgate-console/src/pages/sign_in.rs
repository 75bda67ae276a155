//! In and out: signing in, taking an invitation up, signing out.

use std::time::{Duration, Instant};

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use moorgate_control::{Call, MIN_PASSWORD, NewSignIn, Password, Role, Standing};
use moorgate_wire::visible::visible;
use serde::Deserialize;

use super::{drawn, drawn_as, failed, nothing, refusal};
use crate::{
    Console,
    form::{Form, OpenForm, Path, Query},
    guard::{From, Visitor, set_cookie},
};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    problem: Option<String>,
    email: &'a str,
    next: &'a str,
    sign_up: bool,
}

#[derive(Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(crate) struct Entering {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

pub(crate) async fn page(State(console): State<Console>, Query(Next { next }): Query<Next>) -> Response {
    drawn(&SignInPage { problem: None, email: "", next: here(&next), sign_up: console.sign_up })
}

pub(crate) async fn enter(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    OpenForm(Entering { email, password, next }): OpenForm<Entering>,
) -> Response {
    let (key, next) = (email.trim().to_lowercase(), here(&next));
    let again = |status, problem: String| {
        drawn_as(status, &SignInPage { problem: Some(problem), email: &email, next, sign_up: console.sign_up })
    };
    if let Some(wait) = console.throttle.begin(&key, from.client, Instant::now()) {
        return again(StatusCode::TOO_MANY_REQUESTS, too_many(wait));
    }
    let control = console.control.on_behalf(Call { from: Some(from.client), ..Call::default() });
    match control.sign_in(&email, &Password::given(&password), agent(&headers)).await {
        Ok(Some(made)) => {
            console.throttle.succeed(&key, from.client);
            welcome_in(&made, from, if next.is_empty() { "/" } else { next })
        }
        Ok(None) => {
            tracing::warn!(client = %from.client, email = %visible(&key), "somebody did not get into the console");
            again(StatusCode::UNAUTHORIZED, "There is nobody with this address and password.".to_owned())
        }
        Err(error) => failed(&error),
    }
}

fn too_many(wait: Duration) -> String {
    let minutes = wait.as_secs().div_ceil(60);
    format!("Too many tries. Wait {minutes} minute{}, then try again.", if minutes == 1 { "" } else { "s" })
}

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUpPage<'a> {
    problem: Option<String>,
    email: &'a str,
    account: &'a str,
    least: usize,
}

pub(crate) async fn sign_up_page(State(console): State<Console>) -> Response {
    if !console.sign_up {
        return nothing().await;
    }
    drawn(&SignUpPage { problem: None, email: "", account: "", least: MIN_PASSWORD })
}

#[derive(Deserialize)]
pub(crate) struct SigningUp {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    account: String,
}

/// Makes an account and its owner. What comes to nothing leaves neither.
pub(crate) async fn sign_up(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    OpenForm(SigningUp { email, password, account }): OpenForm<SigningUp>,
) -> Response {
    if !console.sign_up {
        return nothing().await;
    }
    let again = |problem| {
        let page = SignUpPage { problem: Some(problem), email: &email, account: &account, least: MIN_PASSWORD };
        drawn_as(StatusCode::BAD_REQUEST, &page)
    };
    // Somebody makes a few accounts, and a program that makes many waits.
    if let Some(wait) = console.throttle.begin(&email.trim().to_lowercase(), from.client, Instant::now()) {
        return again(too_many(wait));
    }
    let control = console.control.on_behalf(Call { from: Some(from.client), ..Call::default() });
    let name = account.trim();
    if let Err(error) = control.add_account(name).await {
        return again(error.to_string());
    }
    let standing = Standing::Member { account: name.to_owned(), role: Role::Owner };
    let made = match control.invite(Some(&email), standing).await {
        Ok(invited) => {
            let (token, password) = (invited.token.reveal(), Password::given(&password));
            control.accept_invitation(token, &email, &password, agent(&headers)).await
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(made) => welcome_in(&made, from, "/"),
        Err(error) => {
            if let Err(error) = control.remove_account(name).await {
                tracing::error!(account = name, %error, "an account that nobody owns was left by a sign-up; remove it");
            }
            again(error.to_string())
        }
    }
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

#[derive(Template)]
#[template(path = "welcome.html")]
struct WelcomePage<'a> {
    becomes: String,
    problem: Option<String>,
    email: &'a str,
    /// Whether it is for that address alone.
    fixed: bool,
    least: usize,
    /// Who could take it up as they are.
    joins: Option<Visitor>,
    path: String,
}

impl<'a> WelcomePage<'a> {
    /// `None`: the invitation can't be taken up.
    fn of(console: &Console, token: &str, email: &'a str, problem: Option<String>) -> Option<(Self, Option<String>)> {
        let invitation = console.control.invitation(token)?;
        let becomes = match invitation.standing {
            Standing::Operator => "an operator, who sees and may change everything".to_owned(),
            Standing::Member { account, role } => format!("a {} of the account {account}", role.name()),
        };
        let fixed = invitation.email.is_some();
        let page = Self {
            becomes,
            problem,
            email,
            fixed,
            least: MIN_PASSWORD,
            joins: None,
            path: format!("/welcome/{token}"),
        };
        Some((page, invitation.email))
    }
}

pub(crate) async fn welcome(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    Path(token): Path<String>,
) -> Response {
    let Some((page, meant)) = WelcomePage::of(&console, &token, "", None) else { return gone() };
    let joins = crate::guard::visitor_of(&console, &headers, from.tls);
    drawn(&WelcomePage { email: meant.as_deref().unwrap_or_default(), joins, ..page })
}

pub(crate) async fn accept(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    Path(token): Path<String>,
    OpenForm(Entering { email, password, .. }): OpenForm<Entering>,
) -> Response {
    let control = console.control.on_behalf(Call { from: Some(from.client), ..Call::default() });
    match control.accept_invitation(&token, &email, &Password::given(&password), agent(&headers)).await {
        Ok(made) => welcome_in(&made, from, "/"),
        Err(error @ moorgate_control::ControlError::StoreDown(_)) => failed(&error),
        Err(error) => match WelcomePage::of(&console, &token, &email, Some(error.to_string())) {
            Some((page, _)) => drawn_as(StatusCode::BAD_REQUEST, &page),
            None => gone(),
        },
    }
}

pub(crate) async fn join(
    State(console): State<Console>,
    visitor: Visitor,
    from: From,
    Path(token): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    match visitor.asks(&console, from, None).join_by_invitation(&token, &visitor.person.id).await {
        Ok(()) => Redirect::to("/").into_response(),
        Err(error) => failed(&error),
    }
}

fn gone() -> Response {
    refusal(
        StatusCode::NOT_FOUND,
        "This link opens nothing",
        "It was used, has ended or was taken back. Ask whoever sent it for another.",
    )
}

fn welcome_in(made: &NewSignIn, from: From, next: &str) -> Response {
    with_cookie(Redirect::to(next).into_response(), &set_cookie(Some(made.token.reveal()), from.tls))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    match HeaderValue::from_str(cookie) {
        Ok(cookie) => {
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn agent(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default()
}

/// A path of ours, or nothing: whoever made the link must not choose where one comes out.
fn here(next: &str) -> &str {
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
