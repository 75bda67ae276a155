//! `alarms`: who is told of what is wrong. What webhooks are signed with is in the answer that made a receiver, and never
//! again.

use axum::extract::State;
use http::StatusCode;
use moorgate_control as control;

use super::Answer;
use crate::{
    problem::Problem,
    server::{
        ApiState,
        extract::{Acting, Json, Path},
    },
    view::{AddAlarm, Alarm, AlarmResult, NewAlarm},
};

/// Lists the receivers of an account's alarms, oldest first, with what became of the last try at each.
#[utoipa::path(get, path = "/api/v1/accounts/{account}/alarms", tag = "alarms",
    params(("account" = String, Path, description = "The account's name")),
    responses((status = OK, body = Vec<Alarm>)))]
pub(super) async fn list_alarms(State(api): State<ApiState>, Path(account): Path<String>) -> Answer<Vec<Alarm>> {
    Ok(axum::Json(api.control.list_alarms(&account).await?.into_iter().map(Alarm::from).collect()))
}

/// Shows one receiver.
#[utoipa::path(get, path = "/api/v1/accounts/{account}/alarms/{id}", tag = "alarms",
    params(("account" = String, Path, description = "The account's name"),
        ("id" = String, Path, description = "The receiver's id, as listed")),
    responses((status = OK, body = Alarm)))]
pub(super) async fn show_alarm(
    State(api): State<ApiState>,
    Path((account, id)): Path<(String, String)>,
) -> Answer<Alarm> {
    Ok(axum::Json(api.control.alarm(&account, &id).await?.into()))
}

/// Has an account's alarms told to a URL, which is posted to as Standard Webhooks has it, or to an email address. The secret
/// that webhooks are signed with is shown this once.
#[utoipa::path(post, path = "/api/v1/accounts/{account}/alarms", tag = "alarms", request_body = AddAlarm,
    params(("account" = String, Path, description = "The account's name")),
    responses((status = CREATED, body = NewAlarm)))]
pub(super) async fn add_alarm(
    Acting(api): Acting,
    Path(account): Path<String>,
    Json(add): Json<AddAlarm>,
) -> Result<(StatusCode, axum::Json<NewAlarm>), Problem> {
    let kinds: Vec<control::AlarmKind> = match add.kinds {
        Some(kinds) => kinds.into_iter().map(Into::into).collect(),
        None => control::AlarmKind::ALL.into(),
    };
    let made = api.control.add_alarm(&account, &add.receiver, &kinds).await?;
    Ok((StatusCode::CREATED, axum::Json(made.into())))
}

/// Removes a receiver: nothing is sent to it from now on.
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/alarms/{id}", tag = "alarms",
    params(("account" = String, Path, description = "The account's name"),
        ("id" = String, Path, description = "The receiver's id, as listed")),
    responses((status = NO_CONTENT)))]
pub(super) async fn remove_alarm(
    Acting(api): Acting,
    Path((account, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    api.control.remove_alarm(&account, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells a receiver something of no meaning, once and now; what became of it is the answer.
#[utoipa::path(post, path = "/api/v1/accounts/{account}/alarms/{id}/test", tag = "alarms",
    params(("account" = String, Path, description = "The account's name"),
        ("id" = String, Path, description = "The receiver's id, as listed")),
    responses((status = OK, body = AlarmResult)))]
pub(super) async fn test_alarm(
    Acting(api): Acting,
    Path((account, id)): Path<(String, String)>,
) -> Answer<AlarmResult> {
    Ok(axum::Json(api.control.test_alarm(&account, &id).await?.into()))
}
