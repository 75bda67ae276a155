//! One's own password and browsers.

use std::time::Instant;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::StatusCode;
use moorgate_control::{MIN_PASSWORD, Password};
use serde::Deserialize;

use super::{Frame, drawn_as, failed, sign_in::Nothing};
use crate::{
    Console,
    form::{Form, Path},
    guard::{From, Visitor},
    shown,
};

#[derive(Template)]
#[template(path = "you.html")]
struct YouPage {
    frame: Frame,
    problem: Option<String>,
    done: Option<&'static str>,
    least: usize,
    /// Id, since when, from where, which browser, and whether it is this one.
    sign_ins: Vec<(String, String, String, String, bool)>,
}

fn shown(console: &Console, visitor: &Visitor, problem: Option<String>, done: Option<&'static str>) -> Response {
    let all = console.control.list_sign_ins(&visitor.person.id).into_iter();
    let sign_ins = all
        .map(|one| (one.id.clone(), shown::time(one.created), one.client, one.agent, one.id == visitor.sign_in))
        .collect();
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    drawn_as(status, &YouPage { frame: Frame::of(visitor, "/you"), problem, done, least: MIN_PASSWORD, sign_ins })
}

pub(crate) async fn page(State(console): State<Console>, visitor: Visitor) -> Response {
    shown(&console, &visitor, None, None)
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
    Form(Passwords { old, new }): Form<Passwords>,
) -> Response {
    let email = &visitor.person.email;
    if console.throttle.begin(email, from.client, Instant::now()).is_some() {
        return shown(&console, &visitor, Some("Too many tries. Wait a quarter of an hour.".to_owned()), None);
    }
    let (old, new) = (Password::given(&old), Password::given(&new));
    let control = visitor.asks(&console, from, None);
    match control.change_password(&visitor.person.id, &visitor.sign_in, &old, &new).await {
        Ok(true) => {
            console.throttle.succeed(email, from.client);
            shown(&console, &visitor, None, Some("Your password is changed."))
        }
        Ok(false) => shown(&console, &visitor, Some("The old password is another.".to_owned()), None),
        Err(error) => shown(&console, &visitor, Some(error.to_string()), None),
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
