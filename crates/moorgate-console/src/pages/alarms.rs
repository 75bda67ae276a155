//! Who is told of what is wrong in an account.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::StatusCode;
use moorgate_control::{AlarmKind, AlarmTry, AlarmView, ControlError, NewAlarm};
use serde::Deserialize;

use super::{Frame, drawn_as, failed, now, sign_in::Nothing};
use crate::{
    Console,
    form::{Form, Path},
    guard::{Changing, From, Inside},
    shown,
};

struct Row {
    id: String,
    receiver: String,
    kinds: String,
    class: &'static str,
    state: &'static str,
    said: String,
}

impl Row {
    fn of(view: AlarmView) -> Self {
        let waits = match view.waiting {
            0 => String::new(),
            count => format!(" {count} to be told."),
        };
        let (class, state, said) = match (view.off, view.last) {
            (Some(off), _) => ("problem", "off", off),
            (None, None) => ("waiting", "never tried", waits),
            (None, Some(AlarmTry { at, delivered, said })) => {
                let (class, state) = if delivered { ("good", "delivered") } else { ("problem", "not delivered") };
                (class, state, format!("{}, {said}.{waits}", shown::ago(at, now())))
            }
        };
        let kinds: Vec<&str> = view.kinds.into_iter().map(title).collect();
        let kinds = if kinds.len() == AlarmKind::ALL.len() { "everything".to_owned() } else { kinds.join(", ") };
        Self { id: view.id, receiver: view.receiver, kinds, class, state, said }
    }
}

#[derive(Template)]
#[template(path = "alarms.html")]
struct AlarmsPage {
    frame: Frame,
    account: String,
    may_change: bool,
    sends_mail: bool,
    all: Vec<Row>,
    /// Name, title and words of each kind, and whether it is chosen.
    kinds: Vec<(&'static str, &'static str, &'static str, bool)>,
    made: Option<NewAlarm>,
    secret: Option<String>,
    /// Whether it went well, and what is said of it.
    note: Option<(bool, String)>,
    problem: Option<String>,
    receiver: String,
}

fn title(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::Quota => "quota",
        AlarmKind::Certificate => "certificate",
        AlarmKind::Dns => "DNS left",
        AlarmKind::Origin => "origin down",
        AlarmKind::NeverUsed => "never used",
        AlarmKind::Stopped => "stopped",
    }
}

/// What the page shows beside the list.
#[derive(Default)]
struct Shown {
    made: Option<NewAlarm>,
    note: Option<(bool, String)>,
    problem: Option<String>,
    given: Option<Given>,
}

async fn shown_with(console: &Console, inside: &Inside, shown: Shown) -> Response {
    let all = match console.control.list_alarms(&inside.account).await {
        Ok(all) => all,
        Err(error) => return failed(&error),
    };
    let Shown { made, note, problem, given } = shown;
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let is_chosen = |kind: AlarmKind| given.as_ref().is_none_or(|given| given.kinds.contains_key(kind.name()));
    let page = AlarmsPage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/alarms"),
        account: inside.account.clone(),
        may_change: inside.may_change(),
        sends_mail: console.control.sends_mail(),
        all: all.into_iter().map(Row::of).collect(),
        kinds: AlarmKind::ALL.map(|kind| (kind.name(), title(kind), kind.words(), is_chosen(kind))).into(),
        secret: made.as_ref().and_then(|made| made.secret.as_ref()).map(|secret| secret.reveal().to_owned()),
        made,
        note,
        problem,
        receiver: given.map(|given| given.receiver).unwrap_or_default(),
    };
    drawn_as(status, &page)
}

pub(crate) async fn page(State(console): State<Console>, inside: Inside) -> Response {
    shown_with(&console, &inside, Shown::default()).await
}

/// What somebody has typed; a kind that is chosen is a field by its name.
#[derive(Deserialize)]
pub(crate) struct Given {
    #[serde(default)]
    receiver: String,
    #[serde(flatten)]
    kinds: BTreeMap<String, String>,
}

pub(crate) async fn add(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Form(given): Form<Given>,
) -> Response {
    let kinds: Vec<AlarmKind> = given.kinds.keys().filter_map(|name| AlarmKind::from_name(name)).collect();
    let control = inside.asks(&console, from);
    let shown = match control.add_alarm(&inside.account, &given.receiver, &kinds).await {
        Ok(made) => Shown { made: Some(made), ..Shown::default() },
        Err(error @ ControlError::StoreDown(_)) => return failed(&error),
        Err(error) => Shown { problem: Some(error.to_string()), given: Some(given), ..Shown::default() },
    };
    shown_with(&console, &inside, shown).await
}

pub(crate) async fn remove(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Path((_, id)): Path<(String, String)>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    match inside.asks(&console, from).remove_alarm(&inside.account, &id).await {
        Ok(()) => Redirect::to(&format!("/a/{}/alarms", inside.account)).into_response(),
        Err(error) => failed(&error),
    }
}

pub(crate) async fn test(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Path((_, id)): Path<(String, String)>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    let shown = match inside.asks(&console, from).test_alarm(&inside.account, &id).await {
        Ok(AlarmTry { delivered: true, said, .. }) => {
            Shown { note: Some((true, format!("The receiver has the test: {said}."))), ..Shown::default() }
        }
        Ok(AlarmTry { said, .. }) => {
            Shown { note: Some((false, format!("The receiver does not have the test: {said}."))), ..Shown::default() }
        }
        Err(error @ ControlError::Invalid(_)) => Shown { problem: Some(error.to_string()), ..Shown::default() },
        Err(error) => return failed(&error),
    };
    shown_with(&console, &inside, shown).await
}
