//! Who else may come into an account.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::StatusCode;
use moorgate_control::{ControlError, NewInvitation, Role, Standing};
use serde::Deserialize;

use super::{Frame, drawn_as, failed, nothing, sign_in::Nothing};
use crate::{
    Console,
    form::{Form, Path},
    guard::{From, Inside, Owning},
    shown,
};

#[derive(Template)]
#[template(path = "members.html")]
struct MembersPage {
    frame: Frame,
    account: String,
    may_own: bool,
    roles: [&'static str; 3],
    people: Vec<(String, String, &'static str)>,
    invitations: Vec<(String, String, &'static str, String)>,
    link: Option<String>,
    until: String,
    problem: Option<String>,
}

fn shown_with(console: &Console, inside: &Inside, made: Option<NewInvitation>, problem: Option<String>) -> Response {
    let account = Some(&*inside.account);
    let listed =
        console.control.list_people(account).and_then(|all| Ok((all, console.control.list_invitations(account)?)));
    let (people, invitations) = match listed {
        Ok(listed) => listed,
        Err(error) => return failed(&error),
    };
    let role_of = |standing: &Standing| match standing {
        Standing::Operator => "operator",
        Standing::Known => "as before",
        Standing::Member { role, .. } => role.name(),
    };
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = MembersPage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/members"),
        account: inside.account.clone(),
        may_own: inside.role == Role::Owner,
        roles: Role::ALL.map(Role::name),
        people: people
            .into_iter()
            .filter_map(|person| Some((person.id, person.email, person.roles.get(&inside.account)?.name())))
            .collect(),
        invitations: invitations
            .into_iter()
            .map(|one| {
                let whom = one.email.unwrap_or_else(|| "whoever has the link".to_owned());
                (one.id, whom, role_of(&one.standing), shown::time(one.until))
            })
            .collect(),
        until: made.as_ref().map(|made| shown::time(made.until)).unwrap_or_default(),
        link: made.map(|made| format!("{}/welcome/{}", console.url, made.token.reveal())),
        problem,
    };
    drawn_as(status, &page)
}

pub(crate) async fn page(State(console): State<Console>, inside: Inside) -> Response {
    shown_with(&console, &inside, None, None)
}

#[derive(Deserialize)]
pub(crate) struct Invited {
    #[serde(default)]
    email: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    once: String,
}

pub(crate) async fn invite(
    State(console): State<Console>,
    Owning(inside): Owning,
    from: From,
    Form(invited): Form<Invited>,
) -> Response {
    let Some(role) = Role::from_name(&invited.role) else {
        return shown_with(&console, &inside, None, Some("Choose a role.".to_owned()));
    };
    let standing = Standing::Member { account: inside.account.clone(), role };
    let control = inside.asks_once(&console, from, &invited.once);
    match control.invite(Some(&invited.email), standing).await {
        Ok(made) => shown_with(&console, &inside, Some(made), None),
        Err(error @ (ControlError::StoreDown(_) | ControlError::AlreadyDone { .. })) => failed(&error),
        Err(error) => shown_with(&console, &inside, None, Some(error.to_string())),
    }
}

pub(crate) async fn set(
    State(console): State<Console>,
    Owning(inside): Owning,
    from: From,
    Path((_, id)): Path<(String, String)>,
    Form(Invited { role, .. }): Form<Invited>,
) -> Response {
    // Somebody of another account is nobody here.
    let is_theirs =
        console.control.list_people(Some(&inside.account)).is_ok_and(|all| all.iter().any(|one| one.id == id));
    if !is_theirs {
        return nothing().await;
    }
    let named = Role::from_name(&role);
    if named.is_none() && !role.is_empty() {
        return shown_with(&console, &inside, None, Some("Choose a role, or none.".to_owned()));
    }
    let control = inside.asks(&console, from);
    match control.set_role(&id, &inside.account, named).await {
        Ok(()) => Redirect::to(&format!("/a/{}/members", inside.account)).into_response(),
        Err(error) => failed(&error),
    }
}

pub(crate) async fn take_back(
    State(console): State<Console>,
    Owning(inside): Owning,
    from: From,
    Path((_, id)): Path<(String, String)>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    let open = console.control.list_invitations(Some(&inside.account)).unwrap_or_default();
    if !open.iter().any(|one| one.id == id) {
        return nothing().await;
    }
    match inside.asks(&console, from).take_back_invitation(&id).await {
        Ok(()) => Redirect::to(&format!("/a/{}/members", inside.account)).into_response(),
        Err(error) => failed(&error),
    }
}
