//! The API, health, metrics: routes, who may call them, and the listener that serves them.
//!
//! Plain HTTP on loopback, TLS elsewhere. A request passes: the connection's limits, the Host check, the table of [`access`],
//! the reading of its body, the key under which it may have been done before, its conditions, the handler.

use std::{fmt, sync::Arc};

use axum::{
    Router, middleware,
    routing::{any, get},
};
use moorgate_control::Control;

use self::{conditional::Conditions, idempotency::Answers};
use crate::{metrics::Metrics, problem::Problem};

mod access;
mod conditional;
mod document;
mod extract;
mod handlers;
mod hosts;
mod idempotency;
mod listen;
mod page;
mod whole;

pub(crate) use handlers::secrets::MASTER_KEY;
pub use listen::{Arrival, Door, Stopping, serve};

/// Says whether the gateway takes traffic, and why not.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the handlers work with.
#[derive(Clone)]
pub struct ApiState {
    /// What an operator can do.
    pub control: Control,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` says.
    pub ready: Ready,
    /// The version of the binary.
    pub version: &'static str,
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Every route, behind the table of who may call it, and `pages` for what no route is. [`serve`] is what gives it the
/// [`Arrival`]; without it nobody counts as loopback.
pub fn router(state: ApiState, pages: Router) -> Router {
    let (api, document) = handlers::api().split_for_parts();
    let document: Arc<str> = document::text(document, state.version).into();
    let conditions = Conditions::new(api.clone().with_state(state.clone()), state.control.clone());
    api.route_layer(middleware::from_fn_with_state(conditions, conditional::check))
        .route_layer(middleware::from_fn_with_state(Answers::default(), idempotency::once))
        .route_layer(middleware::from_fn(whole::whole))
        .route(handlers::OPENAPI, get(async move || document::answer(&document)))
        .route("/healthz", get(handlers::health::healthz))
        .route("/readyz", get(handlers::health::readyz))
        .route("/metrics", get(handlers::health::metrics))
        .method_not_allowed_fallback(access::method_not_allowed)
        .route_layer(middleware::from_fn_with_state(state.clone(), access::guard))
        .route("/api", any(async || Problem::no_page()))
        .route("/api/{*rest}", any(async || Problem::no_page()))
        .fallback_service(pages)
        .layer(middleware::from_fn(hosts::only_ours))
        .layer(middleware::map_response(access::quiet_headers))
        .with_state(state)
}

#[cfg(test)]
mod tests;
