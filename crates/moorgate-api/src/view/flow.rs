//! A flow as the API writes it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use moorgate_contract::{
    exposure::Exposure,
    flow::{Flow, FlowId, Kind},
    listener::Listener,
    outcome::Outcome,
    route::Mode,
};
use moorgate_control::Recorded;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// The record of one tunnel or exchange. Texts of peers stand as they came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlowView {
    /// Its name: thirteen letters and digits that sort by time.
    #[schema(value_type = String)]
    pub id: FlowId,
    /// The gateway that carried it, where there may be several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub gateway: Option<Arc<str>>,
    /// When the connection (or its request) came.
    #[schema(value_type = String, format = DateTime)]
    pub started: Time,
    /// From then to the end, in microseconds.
    pub duration_us: u64,
    /// `tunnel` or `exchange`.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// Where it came in: `outbound_http`, `outbound_socks`, `outbound_https`, `outbound_socks_tls`, `inbound_http`, `inbound_tls`.
    #[schema(value_type = String)]
    pub listener: Listener,
    /// Who connected.
    #[schema(value_type = String)]
    pub client: SocketAddr,
    /// The account's name, once authenticated.
    #[schema(value_type = Option<String>)]
    pub account: Option<Arc<str>>,
    /// The credential's username, once authenticated.
    #[schema(value_type = Option<String>)]
    pub username: Option<Arc<str>>,
    /// The target as asked, `host:port`; inbound the server name or authority.
    #[schema(value_type = Option<String>)]
    pub target: Option<Box<str>>,
    /// Inbound: the domain of the route that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub route: Option<Arc<str>>,
    /// Inbound: `terminate` or `passthrough`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub mode: Option<Mode>,
    /// Inbound: the forwarding URL that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub origin: Option<Box<str>>,
    /// Inbound: the protocol agreed on in TLS, or the first offered where TLS was passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub alpn: Option<Arc<str>>,
    /// The address that was dialled.
    #[schema(value_type = Option<String>)]
    pub address: Option<SocketAddr>,
    /// The address it left from.
    #[schema(value_type = Option<String>)]
    pub egress: Option<IpAddr>,
    /// How many addresses were dialled.
    pub tries: u32,
    /// Bytes written to the target.
    pub bytes_up: u64,
    /// Bytes read from the target.
    pub bytes_down: u64,
    /// From the start until the target had answered, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
    /// HTTP status given to the client, where HTTP was spoken.
    pub status: Option<u16>,
    /// The outcome's code; `ok` when both sides finished.
    #[schema(value_type = String)]
    pub outcome: Outcome,
    /// For refusals and failures: the line the client was given.
    #[schema(value_type = Option<String>)]
    pub said: Option<Box<str>>,
    /// What could be read of it, on each part of its way.
    #[schema(value_type = Object)]
    pub exposure: Exposure,
}

/// One line of the stream of flows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FlowLine {
    /// A flow that ended.
    Flow(Box<FlowView>),
    /// The reader was too slow: this many flows were left out.
    Missed {
        /// How many.
        missed: u64,
    },
}

impl From<&Recorded> for FlowView {
    fn from(Recorded { flow, gateway }: &Recorded) -> Self {
        Self { gateway: gateway.clone(), ..Self::from(flow) }
    }
}

impl From<&Flow> for FlowView {
    fn from(flow: &Flow) -> Self {
        let Flow { id, started, duration_us, kind, listener, client, tries, bytes_up, bytes_down, .. } = *flow;
        Self {
            id,
            gateway: None,
            started: Time(started),
            duration_us,
            kind,
            listener,
            client,
            account: flow.account.clone(),
            username: flow.username.clone(),
            target: flow.target.as_deref().map(Into::into),
            route: flow.route.clone(),
            mode: flow.mode,
            origin: flow.origin.as_deref().map(Into::into),
            alpn: flow.alpn.clone(),
            address: flow.address,
            egress: flow.egress,
            tries,
            bytes_up,
            bytes_down,
            latency_us: flow.latency_us,
            status: flow.status,
            outcome: flow.outcome,
            said: flow.said.clone(),
            exposure: flow.exposure,
        }
    }
}

impl From<FlowView> for Flow {
    fn from(view: FlowView) -> Self {
        let FlowView { id, duration_us, kind, listener, client, tries, bytes_up, bytes_down, .. } = view;
        Self {
            id,
            started: view.started.0,
            duration_us,
            kind,
            listener,
            client,
            account: view.account,
            username: view.username,
            target: view.target.map(Into::into),
            route: view.route,
            mode: view.mode,
            origin: view.origin.map(Into::into),
            alpn: view.alpn,
            address: view.address,
            egress: view.egress,
            tries,
            bytes_up,
            bytes_down,
            latency_us: view.latency_us,
            whose: Default::default(),
            unreported_up: 0,
            unreported_down: 0,
            status: view.status,
            outcome: view.outcome,
            said: view.said,
            exposure: view.exposure,
        }
    }
}
