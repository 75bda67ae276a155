//! `audit`: who changed what, from where. An account sees what concerns it.

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Uri, header};
use moorgate_control::AuditFilter;

use super::{Answer, owned::Whose};
use crate::{
    problem::Problem,
    server::{
        ApiState,
        access::Caller,
        extract::Query,
        page::{self, Listing},
    },
    view::{AuditEntry, AuditVerdict},
};

/// Lists the audit log, the newest entry first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit",
    params(("account" = Option<String>, Query, description = "Only what concerns this account")),
    responses((status = OK, body = Vec<AuditEntry>)))]
pub(super) async fn list_audit(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    Query(whose): Query<Whose>,
) -> Result<Response, Problem> {
    let page = whose.page(Listing::Audit)?;
    let before = if page.after.is_empty() { None } else { Some(page.after.parse()) };
    let before = before.transpose().map_err(|_| page::unreadable())?;
    let account = whose.account(&api, &caller).await?;
    let limit = u32::try_from(page.limit).unwrap_or(u32::MAX);
    let entries = api.control.audit(AuditFilter { account, before, limit }).await?;
    let entries = entries.into_iter().map(AuditEntry::from);
    let entries: Vec<AuditEntry> =
        if caller.is_operator() { entries.collect() } else { entries.map(AuditEntry::for_account).collect() };
    // The page before in time is the next one to read.
    let oldest = entries.last().filter(|oldest| entries.len() == page.limit && oldest.seq > 1);
    let link = oldest.and_then(|oldest| page::link(Listing::Audit, &uri, &oldest.seq.to_string()));
    let mut response = axum::Json(entries).into_response();
    response.headers_mut().extend(link.map(|link| (header::LINK, link)));
    Ok(response)
}

/// Goes through the whole log: whether each entry is what was written, none is missing, and the end is the end.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "audit",
    responses((status = OK, body = AuditVerdict)))]
pub(super) async fn verify_audit(State(api): State<ApiState>) -> Answer<AuditVerdict> {
    Ok(axum::Json(api.control.verify_audit().await?.into()))
}
