//! Gateways as the API writes them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use moorgate_control::{GatewayHealth, GatewayView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// A gateway on the store that this one uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GatewayState {
    /// Its name.
    pub name: String,
    /// Whether it is the one that was asked.
    pub is_this: bool,
    /// The version of its binary.
    pub version: String,
    /// `up`, `stopped` (in good order), `lost` (no sign of life for a while) or `unknown` (the store can't be asked).
    #[schema(value_type = String)]
    pub health: GatewayHealth,
    /// Where its listeners are bound, by their names.
    #[schema(value_type = Object)]
    pub addresses: BTreeMap<String, Vec<SocketAddr>>,
    /// The addresses at which those are reached.
    #[schema(value_type = Vec<String>)]
    pub reached_at: Vec<IpAddr>,
    /// Whether another that lives has the same name; known of the one that was asked.
    pub has_twin: bool,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started: Time,
    /// Its last sign of life.
    #[schema(value_type = String, format = DateTime)]
    pub seen: Time,
    /// The version of the snapshot that it serves.
    pub applied: u64,
    /// Whether that is the newest that any of them serves.
    pub is_newest: bool,
}

impl GatewayState {
    /// `newest`: the newest version that any gateway serves.
    pub(crate) fn new(gateway: GatewayView, newest: u64) -> Self {
        Self {
            name: gateway.name,
            is_this: gateway.is_this,
            version: gateway.release,
            health: gateway.health,
            addresses: gateway.addresses,
            reached_at: gateway.reached_at,
            has_twin: gateway.has_twin,
            started: Time(gateway.started),
            seen: Time(gateway.seen),
            applied: gateway.applied,
            is_newest: gateway.applied >= newest,
        }
    }
}
