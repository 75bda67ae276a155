//! `routes`: public names, how they are served and where they go. An account sees and changes its own.

use std::net::IpAddr;

use axum::{Extension, extract::State, response::Response};
use http::{StatusCode, Uri};
use moorgate_contract::listener::Listener;
use moorgate_control::{RouteView, What};
use moorgate_wire::name::DomainName;
use serde::Deserialize;

use super::{
    Answer,
    owned::{self, Whose, absent, owner},
};
use crate::{
    problem::Problem,
    server::{
        ApiState,
        access::Caller,
        extract::{Acting, FILES_BYTES, Json, Path, Query},
        page::Listing,
    },
    view::{AddRoute, ChangeRoute, CheckedRoute, ExplainedRoute, Route},
};

/// A route, if the caller may see it.
async fn seen(api: &ApiState, caller: &Caller, domain: &str) -> Result<RouteView, Problem> {
    owned::seen(api.control.route(domain).await, |route| &route.account, caller, What::Route, domain)
}

/// Lists the routes that the token may see, by domain.
#[utoipa::path(get, path = "/api/v1/routes", tag = "routes",
    params(("account" = Option<String>, Query, description = "Only this account's")),
    responses((status = OK, body = Vec<Route>)))]
pub(super) async fn list_routes(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    Query(whose): Query<Whose>,
) -> Result<Response, Problem> {
    let page = whose.page(Listing::Routes)?;
    let account = whose.account(&api, &caller).await?;
    let rows = api.control.routes_after(account.as_deref(), &page.after, page.fetch()).await;
    let rows: Vec<Route> = rows.into_iter().map(Route::from).collect();
    page.answer(&uri, &rows, |row| row.domain.clone())
}

/// Makes a route. It is served when this answers, or where a zone is configured as soon as its DNS is here.
#[utoipa::path(post, path = "/api/v1/routes", tag = "routes", request_body = AddRoute,
    responses((status = CREATED, body = Route)))]
pub(super) async fn add_route(
    Acting(api): Acting,
    Extension(caller): Extension<Caller>,
    Json(add): Json<AddRoute, FILES_BYTES>,
) -> Result<(StatusCode, axum::Json<Route>), Problem> {
    let account = owner(&caller, add.account)?;
    let route = api.control.add_route(account.as_deref(), &add.domain, add.mode, add.settings.into()).await?;
    Ok((StatusCode::CREATED, axum::Json(route.into())))
}

/// Shows one route, without passwords, keys and the values of header fields.
#[utoipa::path(get, path = "/api/v1/routes/{domain}", tag = "routes",
    params(("domain" = String, Path, description = "The route's domain")),
    responses((status = OK, body = Route)))]
pub(super) async fn show_route(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(domain): Path<String>,
) -> Answer<Route> {
    Ok(axum::Json(seen(&api, &caller, &domain).await?.into()))
}

/// Changes a route. New connections and requests are served by it when this answers; open ones stay.
#[utoipa::path(patch, path = "/api/v1/routes/{domain}", tag = "routes", request_body = ChangeRoute,
    params(("domain" = String, Path, description = "The route's domain")),
    responses((status = OK, body = Route)))]
pub(super) async fn change_route(
    Acting(api): Acting,
    Extension(caller): Extension<Caller>,
    Path(domain): Path<String>,
    Json(change): Json<ChangeRoute, FILES_BYTES>,
) -> Answer<Route> {
    seen(&api, &caller, &domain).await?;
    Ok(axum::Json(api.control.set_route(&domain, change.into()).await?.into()))
}

/// Removes a route: its domain is refused from now on, and its open flows are cut. A certificate of the domain stays.
#[utoipa::path(delete, path = "/api/v1/routes/{domain}", tag = "routes",
    params(("domain" = String, Path, description = "The route's domain")),
    responses((status = NO_CONTENT)))]
pub(super) async fn remove_route(
    Acting(api): Acting,
    Extension(caller): Extension<Caller>,
    Path(domain): Path<String>,
) -> Result<StatusCode, Problem> {
    seen(&api, &caller, &domain).await?;
    api.control.remove_route(&domain).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Looks at a route's domain as resolvers and the domain's own servers see it, and says what to set. What is seen counts
/// at once: a route that waits for its DNS may be active when this answers.
#[utoipa::path(get, path = "/api/v1/routes/{domain}/check", tag = "routes",
    params(("domain" = String, Path, description = "The route's domain")),
    responses((status = OK, body = CheckedRoute)))]
pub(super) async fn check_route(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(domain): Path<String>,
) -> Answer<CheckedRoute> {
    seen(&api, &caller, &domain).await?;
    Ok(axum::Json(api.control.check_route(&domain).await?.into()))
}

/// Who is to be let in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Coming {
    client: Option<IpAddr>,
}

/// Says what a client of a domain would meet, step by step, without sending traffic.
#[utoipa::path(get, path = "/api/v1/routes/{domain}/explain", tag = "routes",
    params(("domain" = String, Path, description = "The name that a client asks for"),
        ("client" = Option<String>, Query, description = "The client's address; left out: one that may come")),
    responses((status = OK, body = ExplainedRoute)))]
pub(super) async fn explain_route(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(domain): Path<String>,
    Query(coming): Query<Coming>,
) -> Answer<ExplainedRoute> {
    // Before any origin's name is resolved.
    if !caller.is_operator() && !is_theirs(&api, &caller, &domain).await {
        return Err(absent(What::Route, &domain));
    }
    let explained = api.control.explain_route(&domain, coming.client, Listener::InboundTls).await?;
    // A route that can't be served leaves its domain to a wildcard, which may be another's.
    if explained.account.as_deref().is_some_and(|account| !caller.sees(account)) {
        return Err(absent(What::Route, &domain));
    }
    Ok(axum::Json(explained.into()))
}

/// Whether a domain is served by a route of the caller's, its own or a wildcard's.
async fn is_theirs(api: &ApiState, caller: &Caller, domain: &str) -> bool {
    match api.control.route(domain).await {
        Ok(route) => caller.sees(&route.account),
        Err(_) => DomainName::parse(domain).is_ok_and(|name| {
            api.control.snapshot().route(&name).is_some_and(|(_, account)| caller.sees(&account.name))
        }),
    }
}
