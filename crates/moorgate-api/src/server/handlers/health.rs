//! Health, readiness, metrics and state.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};

use super::Answer;
use crate::{
    metrics::MEDIA_TYPE,
    problem::Problem,
    server::ApiState,
    view::{Diagnosis, Status},
};

/// The process lives.
pub(in crate::server) async fn healthz() -> &'static str {
    "ok\n"
}

/// It takes traffic, or why not.
pub(in crate::server) async fn readyz(State(api): State<ApiState>) -> (StatusCode, String) {
    match (api.ready)() {
        Ok(()) => (StatusCode::OK, "ready\n".into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

/// The metrics.
pub(in crate::server) async fn metrics(State(api): State<ApiState>) -> Result<Response, Problem> {
    let text = api.metrics.text().map_err(|_| super::internal("the metrics can't be written"))?;
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    Ok(response)
}

/// Looks at everything that can be looked at without traffic, and says what is wrong. Takes as long as resolvers and the CA
/// take to answer.
#[utoipa::path(get, path = "/api/v1/doctor", tag = "status",
    responses((status = OK, body = Vec<Diagnosis>)))]
pub(super) async fn examine(State(api): State<ApiState>) -> Answer<Vec<Diagnosis>> {
    Ok(axum::Json(api.control.doctor().await.into_iter().map(Diagnosis::from).collect()))
}

/// Shows the gateway's state.
#[utoipa::path(get, path = "/api/v1/status", tag = "status",
    responses((status = OK, body = Status)))]
pub(super) async fn show_status(State(api): State<ApiState>) -> Answer<Status> {
    let (status, not_ready) = (api.control.status(), (api.ready)().err());
    Ok(axum::Json(Status {
        version: api.version.to_owned(),
        ready: not_ready.is_none(),
        not_ready,
        snapshot_version: status.snapshot_version,
        store_ok: status.store_ok,
        store_problem: status.store_problem,
        flows_lost: status.flows_lost,
        accounts: status.accounts,
        credentials: status.credentials,
    }))
}
