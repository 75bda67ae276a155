//! The operator's side of a gateway over HTTP: REST under `/api/v1` with its OpenAPI, its typed client, metrics and health.
//!
//! It asks [`moorgate_control::Control`] for everything and never reaches a table itself.

pub mod client;
pub mod metrics;
pub mod problem;
pub mod server;
pub mod view;
pub mod words;
