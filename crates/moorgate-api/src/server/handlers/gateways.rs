//! `gateways`: those on the store that this one uses. Operators' alone.

use axum::extract::State;
use moorgate_control::What;

use super::{Answer, owned::absent};
use crate::{
    server::{ApiState, extract::Path},
    view::GatewayState,
};

/// Lists the gateways, by name.
#[utoipa::path(get, path = "/api/v1/gateways", tag = "gateways",
    responses((status = OK, body = Vec<GatewayState>)))]
pub(super) async fn list_gateways(State(api): State<ApiState>) -> Answer<Vec<GatewayState>> {
    Ok(axum::Json(all(&api).await))
}

async fn all(api: &ApiState) -> Vec<GatewayState> {
    let gateways = api.control.list_gateways().await;
    let newest = gateways.iter().map(|gateway| gateway.applied).max().unwrap_or_default();
    gateways.into_iter().map(|gateway| GatewayState::new(gateway, newest)).collect()
}

/// Shows one gateway.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}", tag = "gateways",
    params(("gateway" = String, Path, description = "The gateway's name")),
    responses((status = OK, body = GatewayState)))]
pub(super) async fn show_gateway(State(api): State<ApiState>, Path(name): Path<String>) -> Answer<GatewayState> {
    let found = all(&api).await.into_iter().find(|gateway| gateway.name == name);
    found.map(axum::Json).ok_or_else(|| absent(What::Gateway, &name))
}
