//! `accounts/{account}/credentials`: proxy usernames and passwords. A password is in the answer that made it, and never again.

use std::time::Duration;

use axum::{extract::State, response::Response};
use http::{StatusCode, Uri};
use moorgate_control::{NewCredential, What};
use serde::Deserialize;

use super::{
    Answer,
    owned::{Part, absent},
};
use crate::{
    problem::Problem,
    server::{
        ApiState,
        extract::{Acting, Flag, Json, Path, Query},
        page::{Listing, by_time},
    },
    view::{self, AddCredential, ChangeCredential, Credential, Rotate},
};

/// Lists an account's credentials, without passwords.
#[utoipa::path(get, path = "/api/v1/accounts/{account}/credentials", tag = "credentials",
    params(("account" = String, Path, description = "The account's name")),
    responses((status = OK, body = Vec<Credential>)))]
pub(super) async fn list_credentials(
    State(api): State<ApiState>,
    Path(account): Path<String>,
    uri: Uri,
    Query(part): Query<Part>,
) -> Result<Response, Problem> {
    let page = part.page(Listing::Credentials)?;
    let credentials = api.control.list_credentials(&account).await?;
    let rows = page.choose(credentials, |credential| by_time(credential.created, &credential.username));
    let rows: Vec<Credential> = rows.into_iter().map(Credential::from).collect();
    page.answer(&uri, &rows, |credential| by_time(credential.created.0, &credential.username))
}

/// Shows one credential, without its passwords.
#[utoipa::path(get, path = "/api/v1/accounts/{account}/credentials/{username}", tag = "credentials",
    params(("account" = String, Path, description = "The account's name"), ("username" = String, Path, description = "The proxy username")),
    responses((status = OK, body = Credential)))]
pub(super) async fn show_credential(
    State(api): State<ApiState>,
    Path((account, username)): Path<(String, String)>,
) -> Answer<Credential> {
    let mut credentials = api.control.list_credentials(&account).await?.into_iter();
    let found = credentials.find(|credential| credential.username == username);
    found.map(|credential| axum::Json(credential.into())).ok_or_else(|| absent(What::Credential, &username))
}

/// Makes a credential. The password is shown this once.
#[utoipa::path(post, path = "/api/v1/accounts/{account}/credentials", tag = "credentials", request_body = AddCredential,
    params(("account" = String, Path, description = "The account's name")),
    responses((status = CREATED, body = view::NewCredential)))]
pub(super) async fn add_credential(
    Acting(api): Acting,
    Path(account): Path<String>,
    Json(add): Json<AddCredential>,
) -> Result<(StatusCode, axum::Json<NewCredential>), Problem> {
    Ok((StatusCode::CREATED, axum::Json(api.control.add_credential(&account, add.into()).await?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    #[serde(default)]
    cut: Flag,
}

/// Changes a credential; its passwords stay. Open flows stay too, unless `cut` and its new policy refuses them.
#[utoipa::path(patch, path = "/api/v1/accounts/{account}/credentials/{username}", tag = "credentials", request_body = ChangeCredential,
    params(("account" = String, Path, description = "The account's name"), ("username" = String, Path, description = "The proxy username"),
        ("cut" = Option<bool>, Query, description = "Cut open flows that its new policy refuses")),
    responses((status = OK, body = Credential)))]
pub(super) async fn change_credential(
    Acting(api): Acting,
    Path((account, username)): Path<(String, String)>,
    Query(edit): Query<Edit>,
    Json(change): Json<ChangeCredential>,
) -> Answer<Credential> {
    let change = change.change(edit.cut.0);
    Ok(axum::Json(api.control.set_credential(&account, &username, change).await?.into()))
}

/// Gives a credential a new password, shown this once. The old one works for the overlap; then its open flows are cut.
#[utoipa::path(post, path = "/api/v1/accounts/{account}/credentials/{username}/rotate", tag = "credentials", request_body = Rotate,
    params(("account" = String, Path, description = "The account's name"), ("username" = String, Path, description = "The proxy username")),
    responses((status = OK, body = view::NewCredential)))]
pub(super) async fn rotate_credential(
    Acting(api): Acting,
    Path((account, username)): Path<(String, String)>,
    Json(rotate): Json<Rotate>,
) -> Answer<NewCredential> {
    let overlap = Duration::from_secs(rotate.overlap_seconds);
    Ok(axum::Json(api.control.rotate_credential(&account, &username, overlap).await?))
}

/// Revokes a credential; its open flows are cut.
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/credentials/{username}", tag = "credentials",
    params(("account" = String, Path, description = "The account's name"), ("username" = String, Path, description = "The proxy username")),
    responses((status = NO_CONTENT)))]
pub(super) async fn revoke_credential(
    Acting(api): Acting,
    Path((account, username)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    api.control.revoke_credential(&account, &username).await?;
    Ok(StatusCode::NO_CONTENT)
}
