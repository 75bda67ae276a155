//! `accounts/{account}/evidence`: what an auditor asks.

use axum::extract::State;

use super::Answer;
use crate::{
    server::{ApiState, extract::Path},
    view::Evidence,
};

/// One document for an auditor: TLS policy, who keeps which key, what was exposed to whom, and the change log's head.
#[utoipa::path(get, path = "/api/v1/accounts/{account}/evidence", tag = "audit",
    params(("account" = String, Path, description = "The account's name")),
    responses((status = OK, body = Evidence)))]
pub(super) async fn show_evidence(State(api): State<ApiState>, Path(account): Path<String>) -> Answer<Evidence> {
    Ok(axum::Json(api.control.evidence(&account).await?.into()))
}
