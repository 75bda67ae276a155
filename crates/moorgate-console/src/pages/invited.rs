//! New people: by an invitation, or by themselves where the operator lets them.

use std::time::Instant;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::{HeaderMap, StatusCode};
use moorgate_control::{Call, MIN_PASSWORD, Password, Role, Standing};
use serde::Deserialize;

use super::{
    drawn, drawn_as, failed, nothing, refusal,
    sign_in::{Entering, Nothing, agent, too_many, welcome_in},
};
use crate::{
    Console,
    form::{Form, OpenForm, Path},
    guard::{From, Visitor},
};

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUpPage<'a> {
    problem: Option<String>,
    email: &'a str,
    account: &'a str,
    least: usize,
}

pub(crate) async fn sign_up_page(State(console): State<Console>) -> Response {
    if !console.lets_sign_up() {
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
    if !console.lets_sign_up() {
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

#[derive(Template)]
#[template(path = "welcome.html")]
struct WelcomePage<'a> {
    /// `None`: what they are already; they come in again.
    becomes: Option<String>,
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
            Standing::Known => return Some(Self::again(token, email, problem, invitation.email)),
        };
        let fixed = invitation.email.is_some();
        let page = Self {
            becomes: Some(becomes),
            problem,
            email,
            fixed,
            least: MIN_PASSWORD,
            joins: None,
            path: format!("/welcome/{token}"),
        };
        Some((page, invitation.email))
    }

    /// For somebody who has lost what they came in with.
    fn again(token: &str, email: &'a str, problem: Option<String>, meant: Option<String>) -> (Self, Option<String>) {
        let path = format!("/welcome/{token}");
        (Self { becomes: None, problem, email, fixed: true, least: MIN_PASSWORD, joins: None, path }, meant)
    }
}

pub(crate) async fn welcome(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    Path(token): Path<String>,
) -> Response {
    let Some((page, meant)) = WelcomePage::of(&console, &token, "", None) else { return gone() };
    let joins = crate::guard::visitor_of(&console, &headers, from.tls).filter(|_| page.becomes.is_some());
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
