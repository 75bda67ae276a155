//! One's own password, app, passkeys and browsers.

use std::time::Instant;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::{HeaderMap, StatusCode};
use moorgate_control::{MIN_PASSWORD, Password, PersonView};
use serde::Deserialize;

use super::{
    Frame, drawn_as, failed,
    sign_in::{Nothing, too_many},
};
use crate::{
    Console,
    form::{Form, Path},
    guard::{From, Visitor, has_name},
    shown,
};

/// A password that is asked for once more, before something is changed that lets somebody in.
#[derive(Deserialize)]
pub(crate) struct Confirming {
    #[serde(default)]
    pub(crate) password: String,
}

pub(crate) const WRONG: &str = "That is not your password.";

#[derive(Template)]
#[template(path = "you.html")]
struct YouPage {
    frame: Frame,
    problem: Option<String>,
    done: Option<&'static str>,
    least: usize,
    person: PersonView,
    /// Whether a passkey can be made here.
    passkeys: bool,
    /// Id, since when, from where, which browser, and whether it is this one.
    sign_ins: Vec<(String, String, String, String, bool)>,
}

fn shown(
    console: &Console,
    visitor: &Visitor,
    headers: &HeaderMap,
    problem: Option<String>,
    done: Option<&'static str>,
) -> Response {
    let all = console.control.list_sign_ins(&visitor.person.id).into_iter();
    let sign_ins = all
        .map(|one| (one.id.clone(), shown::time(one.created), one.client, one.agent, one.id == visitor.sign_in))
        .collect();
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    // What was just changed is shown as it is now.
    let person = console.control.person(&visitor.person.id).unwrap_or_else(|_| visitor.person.clone());
    let (frame, passkeys) = (Frame::of(visitor, "/you"), has_name(headers));
    drawn_as(status, &YouPage { frame, problem, done, least: MIN_PASSWORD, person, passkeys, sign_ins })
}

pub(crate) fn with_problem(console: &Console, visitor: &Visitor, headers: &HeaderMap, problem: String) -> Response {
    shown(console, visitor, headers, Some(problem), None)
}

pub(crate) fn with_done(console: &Console, visitor: &Visitor, headers: &HeaderMap, done: &'static str) -> Response {
    shown(console, visitor, headers, None, Some(done))
}

/// What is said to somebody who guesses.
pub(crate) fn too_often(console: &Console, visitor: &Visitor, from: From) -> Option<String> {
    console.throttle.begin(&visitor.person.email, from.client, Instant::now()).map(too_many)
}

/// Whether they have said their password once more: whoever finds a browser open must not make a way in of their own.
pub(crate) async fn confirmed(console: &Console, visitor: &Visitor, from: From, password: &str) -> Result<(), String> {
    if let Some(said) = too_often(console, visitor, from) {
        return Err(said);
    }
    match console.control.confirms(&visitor.person.id, &Password::given(password)).await {
        Ok(true) => {
            console.throttle.succeed(&visitor.person.email, from.client);
            Ok(())
        }
        Ok(false) => Err(WRONG.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) async fn page(State(console): State<Console>, visitor: Visitor, headers: HeaderMap) -> Response {
    shown(&console, &visitor, &headers, None, None)
}

#[derive(Deserialize)]
pub(crate) struct Passwords {
    old: String,
    new: String,
}

pub(crate) async fn set_password(
    State(console): State<Console>,
    visitor: Visitor,
    from: From,
    headers: HeaderMap,
    Form(Passwords { old, new }): Form<Passwords>,
) -> Response {
    if let Some(said) = too_often(&console, &visitor, from) {
        return with_problem(&console, &visitor, &headers, said);
    }
    let (old, new) = (Password::given(&old), Password::given(&new));
    let control = visitor.asks(&console, from, None);
    match control.change_password(&visitor.person.id, &visitor.sign_in, &old, &new).await {
        Ok(true) => {
            console.throttle.succeed(&visitor.person.email, from.client);
            with_done(&console, &visitor, &headers, "Your password is changed.")
        }
        Ok(false) => with_problem(&console, &visitor, &headers, "The old password is another.".to_owned()),
        Err(error) => with_problem(&console, &visitor, &headers, error.to_string()),
    }
}

pub(crate) async fn end_sign_in(
    State(console): State<Console>,
    visitor: Visitor,
    from: From,
    Path(id): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    match visitor.asks(&console, from, None).sign_out(&visitor.person.id, &id).await {
        Ok(()) => Redirect::to("/you").into_response(),
        Err(error) => failed(&error),
    }
}
