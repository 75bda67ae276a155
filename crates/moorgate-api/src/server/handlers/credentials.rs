//! `accounts/{account}/credentials`: proxy usernames and passwords. A password is in the answer that made it, and never again.

use std::time::Duration;

use axum::extract::{Path, State};
use http::StatusCode;
use moorgate_control::NewCredential;

use super::Answer;
use crate::{
    problem::Problem,
    server::{ApiState, extract::Json},
    view::{self, Credential, Rotate, Time},
};

/// Lists an account's credentials, without passwords.
#[utoipa::path(get, path = "/api/v1/accounts/{account}/credentials", tag = "credentials",
    params(("account" = String, Path, description = "The account's name")),
    responses((status = OK, body = Vec<Credential>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list_credentials(
    State(api): State<ApiState>,
    Path(account): Path<String>,
) -> Answer<Vec<Credential>> {
    let credentials = api.control.list_credentials(&account).await?;
    let view = credentials.into_iter().map(|credential| Credential {
        username: credential.username,
        created: Time(credential.created),
        passwords: credential.passwords,
        overlap_until: credential.overlap_until.map(Time),
    });
    Ok(axum::Json(view.collect()))
}

/// Makes a credential. The password is shown this once.
#[utoipa::path(post, path = "/api/v1/accounts/{account}/credentials", tag = "credentials",
    params(("account" = String, Path, description = "The account's name")),
    responses((status = CREATED, body = view::NewCredential), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn add_credential(
    State(api): State<ApiState>,
    Path(account): Path<String>,
) -> Result<(StatusCode, axum::Json<NewCredential>), Problem> {
    Ok((StatusCode::CREATED, axum::Json(api.control.add_credential(&account).await?)))
}

/// Gives a credential a new password, shown this once. The old one works for the overlap; then its open flows are cut.
#[utoipa::path(post, path = "/api/v1/accounts/{account}/credentials/{username}/rotate", tag = "credentials", request_body = Rotate,
    params(("account" = String, Path, description = "The account's name"), ("username" = String, Path, description = "The proxy username")),
    responses((status = OK, body = view::NewCredential), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn rotate_credential(
    State(api): State<ApiState>,
    Path((account, username)): Path<(String, String)>,
    Json(rotate): Json<Rotate>,
) -> Answer<NewCredential> {
    let overlap = Duration::from_secs(rotate.overlap_seconds);
    Ok(axum::Json(api.control.rotate_credential(&account, &username, overlap).await?))
}

/// Revokes a credential; its open flows are cut.
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/credentials/{username}", tag = "credentials",
    params(("account" = String, Path, description = "The account's name"), ("username" = String, Path, description = "The proxy username")),
    responses((status = NO_CONTENT), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn revoke_credential(
    State(api): State<ApiState>,
    Path((account, username)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    api.control.revoke_credential(&account, &username).await?;
    Ok(StatusCode::NO_CONTENT)
}
