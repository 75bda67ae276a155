//! `secrets` and `backup`: what is sealed, and under which master key.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderName, header};

use super::Answer;
use crate::{
    problem::Problem,
    server::{ApiState, extract::Acting},
    view::Rewrapped,
};

/// Which master key opens a backup.
pub(crate) const MASTER_KEY: HeaderName = HeaderName::from_static("moorgate-master-key");

/// Seals the store's key under the master key in use, whichever it was sealed under.
#[utoipa::path(post, path = "/api/v1/secrets/rewrap", tag = "secrets",
    responses((status = OK, body = Rewrapped)))]
pub(super) async fn rewrap_secrets(Acting(api): Acting) -> Answer<Rewrapped> {
    let master_key = api.control.rewrap_secrets().await?.to_string();
    Ok(axum::Json(Rewrapped { master_key }))
}

/// Everything in the store as of one moment, sealed under the master key that the header names.
#[utoipa::path(get, path = "/api/v1/backup", tag = "secrets",
    responses((status = OK, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn take_backup(State(api): State<ApiState>) -> Result<Response, Problem> {
    let backup = api.control.backup().await?;
    let headers = [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (MASTER_KEY, backup.key.to_string())];
    Ok((headers, backup.bytes).into_response())
}
