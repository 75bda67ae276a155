//! `egress`: the addresses that connections leave from.

use axum::{Extension, extract::State};

use super::Answer;
use crate::{
    server::{ApiState, access::Caller},
    view::EgressAddress,
};

/// Lists the egress addresses, whether each is there, and who leaves from it. An account sees its own addresses.
#[utoipa::path(get, path = "/api/v1/egress", tag = "egress",
    responses((status = OK, body = Vec<EgressAddress>)))]
pub(super) async fn list_egress(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Answer<Vec<EgressAddress>> {
    let addresses = api.control.egress().into_iter().map(|egress| EgressAddress {
        address: egress.address,
        present: egress.present,
        accounts: egress.accounts.into_iter().filter(|account| caller.sees(account)).collect(),
        ports_free: egress.ports.map(|ports| ports.free()),
        ports: egress.ports.map(|ports| ports.all),
        busiest: egress.ports.map(|ports| ports.destination).filter(|_| caller.is_operator()),
    });
    let seen = addresses.filter(|egress| caller.is_operator() || !egress.accounts.is_empty());
    Ok(axum::Json(seen.collect()))
}
