//! `people` and `invitations`: who may use the console. An invitation's token is in the answer that made it, and never again.

use axum::extract::State;
use http::StatusCode;
use moorgate_control::{self as control, ControlError, Role, Standing, What};

use super::Answer;
use crate::{
    problem::{Case, Problem},
    server::{
        ApiState,
        extract::{Acting, Json, Path},
    },
    view::{AddInvitation, NewInvitation, Person},
};

/// Lists everybody who may use the console, by address.
#[utoipa::path(get, path = "/api/v1/people", tag = "people", responses((status = OK, body = Vec<Person>)))]
pub(super) async fn list_people(State(api): State<ApiState>) -> Answer<Vec<Person>> {
    Ok(axum::Json(api.control.list_people(None)?.into_iter().map(Person::from).collect()))
}

/// Removes somebody, who is signed out everywhere.
#[utoipa::path(delete, path = "/api/v1/people/{email}", tag = "people",
    params(("email" = String, Path, description = "Their address")),
    responses((status = NO_CONTENT)))]
pub(super) async fn remove_person(Acting(api): Acting, Path(email): Path<String>) -> Result<StatusCode, Problem> {
    let id = id_of(&api, &email)?;
    api.control.remove_person(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets somebody in again who has lost their password, app or passkeys: whoever takes it up as them chooses a new password.
/// Until then nothing changes.
#[utoipa::path(post, path = "/api/v1/people/{email}/reset", tag = "people",
    params(("email" = String, Path, description = "Their address")),
    responses((status = CREATED, body = NewInvitation)))]
pub(super) async fn reset_person(
    Acting(api): Acting,
    Path(email): Path<String>,
) -> Result<(StatusCode, axum::Json<NewInvitation>), Problem> {
    let id = id_of(&api, &email)?;
    let made = api.control.let_in_again(&id).await?;
    Ok((StatusCode::CREATED, axum::Json(made.into())))
}

fn id_of(api: &ApiState, email: &str) -> Result<String, Problem> {
    let email = email.to_lowercase();
    let found = api.control.list_people(None)?.into_iter().find(|person| person.email == email);
    Ok(found.ok_or(ControlError::NotFound { what: What::Person, name: email })?.id)
}

/// Invites somebody to the console: as an operator, or into an account as `viewer`, `member` or `owner`. Whoever has the
/// token may take it up, once and within a week; with an address only whoever has that.
#[utoipa::path(post, path = "/api/v1/invitations", tag = "people", request_body = AddInvitation,
    responses((status = CREATED, body = NewInvitation)))]
pub(super) async fn invite(
    Acting(api): Acting,
    Json(add): Json<AddInvitation>,
) -> Result<(StatusCode, axum::Json<NewInvitation>), Problem> {
    let standing = match (add.account, add.role) {
        (None, None) => Standing::Operator,
        (Some(account), role) => Standing::Member { account, role: role.map_or(Role::Owner, control::Role::from) },
        (None, Some(_)) => {
            return Err(Problem::new(Case::Invalid, "a role is one in an account: name the account too"));
        }
    };
    let made = api.control.invite(add.email.as_deref(), standing).await?;
    Ok((StatusCode::CREATED, axum::Json(made.into())))
}
