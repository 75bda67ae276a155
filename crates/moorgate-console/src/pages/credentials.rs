//! An account's credentials: made, rotated with an overlap, revoked.

use std::time::Duration;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use moorgate_control::{CredentialChange, CredentialStanding, CredentialView, NewCredential};
use serde::Deserialize;

use super::{Frame, drawn, environment, failed, now, sign_in::Nothing};
use crate::{
    Console,
    form::{Form, Path},
    guard::{Changing, From, Inside},
    shown,
};

struct Row {
    username: String,
    made: String,
    used: String,
    class: &'static str,
    state: String,
}

impl Row {
    fn of(view: &CredentialView) -> Self {
        let (class, state) = match view.standing {
            CredentialStanding::InUse => ("good", "in use".to_owned()),
            CredentialStanding::NeverUsed => ("waiting", "never used".to_owned()),
            CredentialStanding::Stopped => ("waiting", "stopped".to_owned()),
            CredentialStanding::Expired => ("problem", "expired".to_owned()),
            CredentialStanding::Unknown => ("waiting", "not known".to_owned()),
        };
        let state = match view.overlap_until {
            Some(until) => format!("{state}; the old password works until {}", shown::time(until)),
            None => state,
        };
        let used = view.last_used.map(|last| {
            let from = view.last_client.map_or_else(String::new, |client| format!(" from {client}"));
            format!("{}{from}", shown::ago(last, now()))
        });
        Self {
            username: view.username.clone(),
            made: shown::day(view.created),
            used: used.unwrap_or_else(|| "–".to_owned()),
            class,
            state,
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
}

async fn shown_with(console: &Console, inside: &Inside, made: Option<(String, NewCredential)>) -> Response {
    let all = match console.control.list_credentials(&inside.account).await {
        Ok(all) => all,
        Err(error) => return failed(&error),
    };
    let (said, made) = made.map_or_else(Default::default, |(said, made)| {
        (said, Some(environment(console, &made.username, made.password.reveal())))
    });
    drawn(&CredentialsPage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/credentials"),
        account: inside.account.clone(),
        may_change: inside.may_change(),
        needs_ca: (console.proxy_ca)().is_some(),
        all: all.iter().map(Row::of).collect(),
        made,
        said,
    })
}

pub(crate) async fn page(State(console): State<Console>, inside: Inside) -> Response {
    shown_with(&console, &inside, None).await
}

pub(crate) async fn add(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    let control = inside.asks(&console, from);
    match control.add_credential(&inside.account, CredentialChange::default()).await {
        Ok(made) => {
            shown_with(&console, &inside, Some((format!("The credential {} is made.", made.username), made))).await
        }
        Err(error) => failed(&error),
    }
}

#[derive(Deserialize)]
pub(crate) struct Overlap {
    overlap: u64,
}

pub(crate) async fn rotate(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Path((_, username)): Path<(String, String)>,
    Form(Overlap { overlap }): Form<Overlap>,
) -> Response {
    let control = inside.asks(&console, from);
    match control.rotate_credential(&inside.account, &username, Duration::from_secs(overlap)).await {
        Ok(made) => shown_with(&console, &inside, Some((format!("{username} has a new password."), made))).await,
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
