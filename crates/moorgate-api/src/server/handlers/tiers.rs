//! `tiers`: the quotas that accounts may have bought. Operators' alone.

use axum::{extract::State, response::Response};
use http::{StatusCode, Uri};

use super::{Answer, owned::Part};
use crate::{
    problem::Problem,
    server::{
        ApiState,
        extract::{Acting, Json, Path, Query},
        page::Listing,
    },
    view::{Quotas, Tier},
};

/// Lists the tiers, by name.
#[utoipa::path(get, path = "/api/v1/tiers", tag = "tiers",
    responses((status = OK, body = Vec<Tier>)))]
pub(super) async fn list_tiers(
    State(api): State<ApiState>,
    uri: Uri,
    Query(part): Query<Part>,
) -> Result<Response, Problem> {
    let page = part.page(Listing::Tiers)?;
    let rows = page.choose(api.control.list_tiers().await, |tier| tier.name.clone());
    let rows: Vec<Tier> = rows.into_iter().map(Tier::from).collect();
    page.answer(&uri, &rows, |tier| tier.name.clone())
}

/// Shows one tier.
#[utoipa::path(get, path = "/api/v1/tiers/{tier}", tag = "tiers",
    params(("tier" = String, Path, description = "The tier's name")),
    responses((status = OK, body = Tier)))]
pub(super) async fn show_tier(State(api): State<ApiState>, Path(name): Path<String>) -> Answer<Tier> {
    Ok(axum::Json(api.control.tier(&name).await?.into()))
}

/// Makes a tier, or replaces its quotas. Every account that has it follows at once; open flows stay.
#[utoipa::path(put, path = "/api/v1/tiers/{tier}", tag = "tiers", request_body = Quotas,
    params(("tier" = String, Path, description = "Its name: lower-case letters, digits and `-`, at most 63")),
    responses((status = OK, body = Tier)))]
pub(super) async fn set_tier(
    Acting(api): Acting,
    Path(name): Path<String>,
    Json(quotas): Json<Quotas>,
) -> Answer<Tier> {
    Ok(axum::Json(api.control.set_tier(&name, quotas.into()).await?.into()))
}

/// Removes a tier that no account has.
#[utoipa::path(delete, path = "/api/v1/tiers/{tier}", tag = "tiers",
    params(("tier" = String, Path, description = "The tier's name")),
    responses((status = NO_CONTENT)))]
pub(super) async fn remove_tier(Acting(api): Acting, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    api.control.remove_tier(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
