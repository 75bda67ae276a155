//! `dns`: the zone in which routes have their targets. Operators' alone.

use axum::extract::State;

use super::Answer;
use crate::{server::ApiState, view::Record};

/// Lists the records to make, once, so that the zone's names are found: those that hand it to the gateways' own servers, or
/// where none is configured those that answer in their place.
#[utoipa::path(get, path = "/api/v1/dns/records", tag = "dns",
    responses((status = OK, body = Vec<Record>)))]
pub(super) async fn list_records(State(api): State<ApiState>) -> Answer<Vec<Record>> {
    Ok(axum::Json(api.control.zone_records()?.into_iter().map(Record::from).collect()))
}
