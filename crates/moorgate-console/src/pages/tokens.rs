//! An account's tokens for the API.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use moorgate_control::{NewToken, Scope};
use serde::Deserialize;

use super::{Frame, drawn, failed, nothing, sign_in::Nothing};
use crate::{
    Console,
    form::{Form, Path},
    guard::{Changing, From, Inside},
    shown,
};

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    frame: Frame,
    account: String,
    may_change: bool,
    /// Id, what it may do, and since when.
    all: Vec<(String, &'static str, String)>,
    made: Option<String>,
    url: String,
}

async fn shown_with(console: &Console, inside: &Inside, made: Option<NewToken>) -> Response {
    let all = match console.control.list_tokens(Some(&inside.account)).await {
        Ok(all) => all,
        Err(error) => return failed(&error),
    };
    drawn(&TokensPage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/tokens"),
        account: inside.account.clone(),
        may_change: inside.may_change(),
        all: all.into_iter().map(|token| (token.id, token.scope.name(), shown::day(token.created))).collect(),
        made: made.map(|made| made.token.reveal().to_owned()),
        url: console.url.to_string(),
    })
}

pub(crate) async fn page(State(console): State<Console>, inside: Inside) -> Response {
    shown_with(&console, &inside, None).await
}

#[derive(Deserialize)]
pub(crate) struct NewScope {
    #[serde(default)]
    scope: String,
    #[serde(default)]
    once: String,
}

pub(crate) async fn add(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Form(NewScope { scope, once }): Form<NewScope>,
) -> Response {
    let scope = if scope == Scope::Write.name() { Scope::Write } else { Scope::Read };
    let control = inside.asks_once(&console, from, &once);
    match control.add_token(Some(&inside.account), scope).await {
        Ok(made) => shown_with(&console, &inside, Some(made)).await,
        Err(error) => failed(&error),
    }
}

pub(crate) async fn revoke(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Path((_, id)): Path<(String, String)>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    // Another account's is not there.
    let is_theirs =
        console.control.token(&id).await.is_ok_and(|token| token.account.as_deref() == Some(&*inside.account));
    if !is_theirs {
        return nothing().await;
    }
    match inside.asks(&console, from).revoke_token(&id).await {
        Ok(()) => Redirect::to(&format!("/a/{}/tokens", inside.account)).into_response(),
        Err(error) => failed(&error),
    }
}
