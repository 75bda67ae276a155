//! The handlers: one file per resource. Whoever gets here was let through by [`access`](super::access).

use utoipa_axum::{router::OpenApiRouter, routes};

use super::ApiState;
use crate::problem::Problem;

mod accounts;
mod alarms;
mod audit;
mod certificates;
mod credentials;
mod deployment;
mod dns;
mod egress;
mod evidence;
mod explain;
mod flows;
mod gateways;
pub(super) mod health;
mod owned;
mod people;
mod policy;
mod routes;
pub(super) mod secrets;
mod tiers;
mod tokens;
mod usage;

/// Where the API describes itself.
pub(super) const OPENAPI: &str = "/api/v1/openapi.json";

/// What handlers of JSON answer.
type Answer<T> = Result<axum::Json<T>, Problem>;

/// Every route of `/api/v1` with its description.
pub(super) fn api() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(accounts::list_accounts, accounts::add_account))
        .routes(routes!(accounts::show_account, accounts::change_account, accounts::remove_account))
        .routes(routes!(credentials::list_credentials, credentials::add_credential))
        .routes(routes!(credentials::show_credential, credentials::change_credential, credentials::revoke_credential))
        .routes(routes!(credentials::rotate_credential))
        .routes(routes!(alarms::list_alarms, alarms::add_alarm))
        .routes(routes!(alarms::show_alarm, alarms::remove_alarm))
        .routes(routes!(alarms::test_alarm))
        .routes(routes!(policy::show_policy, policy::set_policy))
        .routes(routes!(tokens::list_tokens, tokens::add_token))
        .routes(routes!(tokens::show_token, tokens::revoke_token))
        .routes(routes!(people::list_people))
        .routes(routes!(people::remove_person))
        .routes(routes!(people::reset_person))
        .routes(routes!(people::invite))
        .routes(routes!(routes::list_routes, routes::add_route))
        .routes(routes!(routes::show_route, routes::change_route, routes::remove_route))
        .routes(routes!(routes::explain_route))
        .routes(routes!(routes::check_route))
        .routes(routes!(certificates::list_certificates))
        .routes(routes!(
            certificates::show_certificate,
            certificates::add_certificate,
            certificates::remove_certificate
        ))
        .routes(routes!(certificates::renew_certificate))
        .routes(routes!(evidence::show_evidence))
        .routes(routes!(deployment::apply_text))
        .routes(routes!(deployment::export_text))
        .routes(routes!(secrets::rewrap_secrets))
        .routes(routes!(secrets::take_backup))
        .routes(routes!(egress::list_egress))
        .routes(routes!(dns::list_records))
        .routes(routes!(tiers::list_tiers))
        .routes(routes!(tiers::show_tier, tiers::set_tier, tiers::remove_tier))
        .routes(routes!(usage::show_usage))
        .routes(routes!(audit::list_audit))
        .routes(routes!(audit::verify_audit))
        .routes(routes!(gateways::list_gateways))
        .routes(routes!(gateways::show_gateway))
        .routes(routes!(flows::list_flows))
        .routes(routes!(flows::show_flow))
        .routes(routes!(explain::explain_target))
        .routes(routes!(health::show_status))
        .routes(routes!(health::examine))
}

/// A defect of ours, with the line for the log.
pub(super) fn internal(what: &'static str) -> Problem {
    tracing::error!("{what}");
    Problem::new(crate::problem::Case::Internal, "something in the gateway failed; its log says what")
}
