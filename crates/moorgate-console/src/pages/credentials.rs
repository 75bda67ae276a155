//! An account's credentials: made, rotated with an overlap, revoked.

use std::time::Duration;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::StatusCode;
use moorgate_control::{
    ControlError, CredentialChange, CredentialStanding, CredentialView, MAX_CREDENTIAL_NAME, NewCredential,
};
use serde::Deserialize;

use super::{Frame, drawn_as, environment, failed, now, sign_in::Nothing};
use crate::{
    Console,
    form::{Form, Path},
    guard::{Changing, From, Inside},
    shown,
};

struct Row {
    username: String,
    name: String,
    made: String,
    used: String,
    class: &'static str,
    state: &'static str,
    /// Until when the password before works.
    overlap: Option<String>,
    is_for_tests: bool,
}

impl Row {
    fn of(view: &CredentialView) -> Self {
        let (class, state) = match view.standing {
            CredentialStanding::InUse => ("good", "in use"),
            CredentialStanding::NeverUsed => ("waiting", "never used"),
            CredentialStanding::Stopped => ("waiting", "stopped"),
            CredentialStanding::Expired => ("problem", "expired"),
            CredentialStanding::Unknown => ("waiting", "not known"),
        };
        let used = view.last_used.map(|last| {
            let from = view.last_client.map_or_else(String::new, |client| format!(" from {client}"));
            format!("{}{from}", shown::ago(last, now()))
        });
        Self {
            username: view.username.clone(),
            name: view.name.clone(),
            made: shown::day(view.created),
            used: used.unwrap_or_else(|| "–".to_owned()),
            class,
            state,
            overlap: view.overlap_until.map(shown::time),
            is_for_tests: view.is_for_tests(),
        }
    }
}

#[derive(Template)]
#[template(path = "credentials.html")]
struct CredentialsPage {
    frame: Frame,
    account: String,
    may_change: bool,
    needs_ca: bool,
    all: Vec<Row>,
    made: Option<String>,
    said: String,
    problem: Option<String>,
    longest: usize,
}

/// What the page says beside the list.
#[derive(Default)]
struct Said {
    /// What was made, in words and as it is.
    made: Option<(String, NewCredential)>,
    /// What is wrong with what was asked.
    problem: Option<String>,
}

async fn shown_with(console: &Console, inside: &Inside, Said { made, problem }: Said) -> Response {
    let all = match console.control.list_credentials(&inside.account).await {
        Ok(all) => all,
        Err(error) => return failed(&error),
    };
    let (said, made) = made.map_or_else(Default::default, |(said, made)| {
        (said, Some(environment(console, &made.username, made.password.reveal())))
    });
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = CredentialsPage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/credentials"),
        account: inside.account.clone(),
        may_change: inside.may_change(),
        needs_ca: (console.proxy_ca)().is_some(),
        all: all.iter().map(Row::of).collect(),
        made,
        said,
        problem,
        longest: MAX_CREDENTIAL_NAME,
    };
    drawn_as(status, &page)
}

/// What is wrong with what was asked is said where it can be mended.
async fn refused(console: &Console, inside: &Inside, error: &ControlError) -> Response {
    match error {
        ControlError::Invalid(problem) => {
            shown_with(console, inside, Said { problem: Some(problem.to_string()), made: None }).await
        }
        error => failed(error),
    }
}

#[derive(Deserialize)]
pub(crate) struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    once: String,
}

pub(crate) async fn page(State(console): State<Console>, inside: Inside) -> Response {
    shown_with(&console, &inside, Said::default()).await
}

pub(crate) async fn add(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Form(Named { name, once }): Form<Named>,
) -> Response {
    let control = inside.asks_once(&console, from, &once);
    let change = CredentialChange { name: Some(name), ..CredentialChange::default() };
    match control.add_credential(&inside.account, change).await {
        Ok(made) => {
            let made = Some((format!("The credential {} is made.", made.username), made));
            shown_with(&console, &inside, Said { made, problem: None }).await
        }
        Err(error) => refused(&console, &inside, &error).await,
    }
}

pub(crate) async fn name(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Path((_, username)): Path<(String, String)>,
    Form(Named { name, .. }): Form<Named>,
) -> Response {
    let control = inside.asks(&console, from);
    let change = CredentialChange { name: Some(name), ..CredentialChange::default() };
    match control.set_credential(&inside.account, &username, change).await {
        Ok(_) => Redirect::to(&format!("/a/{}/credentials", inside.account)).into_response(),
        Err(error) => refused(&console, &inside, &error).await,
    }
}

#[derive(Deserialize)]
pub(crate) struct Overlap {
    overlap: u64,
    #[serde(default)]
    once: String,
}

pub(crate) async fn rotate(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Path((_, username)): Path<(String, String)>,
    Form(Overlap { overlap, once }): Form<Overlap>,
) -> Response {
    let control = inside.asks_once(&console, from, &once);
    match control.rotate_credential(&inside.account, &username, Duration::from_secs(overlap)).await {
        Ok(made) => {
            let made = Some((format!("{username} has a new password."), made));
            shown_with(&console, &inside, Said { made, problem: None }).await
        }
        Err(error) => failed(&error),
    }
}

pub(crate) async fn revoke(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Path((_, username)): Path<(String, String)>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    let control = inside.asks(&console, from);
    match control.revoke_credential(&inside.account, &username).await {
        Ok(()) => Redirect::to(&format!("/a/{}/credentials", inside.account)).into_response(),
        Err(error) => failed(&error),
    }
}
