//! Usage as the API writes it.

use std::{collections::BTreeMap, net::IpAddr};

use moorgate_control::{self as control, GroupBy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// Which usage is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// Only this account's; `None`: all that the token may see.
    pub account: Option<String>,
    /// From the hour in which this is; `None`: 24 hours before `until`.
    pub since: Option<Time>,
    /// To the hour in which this is; `None`: now.
    pub until: Option<Time>,
    /// What is counted together.
    pub by: GroupBy,
}

/// What was moved: a group and its counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// When the hour begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub hour: Option<Time>,
    /// The account's name; none: of nobody that was known.
    pub account: Option<String>,
    /// The credential's username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The route's domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The destination's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The address it left from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub egress: Option<IpAddr>,
    /// Requests that were answered.
    pub requests: u64,
    /// Tunnels that got through.
    pub connections: u64,
    /// Bytes to targets.
    pub bytes_up: u64,
    /// Bytes from targets.
    pub bytes_down: u64,
    /// What was refused.
    pub refusals: u64,
    /// The same by its code: how many of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub codes: BTreeMap<String, u64>,
    /// What failed or broke off.
    pub errors: u64,
    /// Half of all answers came within so many microseconds; none: there were none.
    pub latency_p50_us: Option<u64>,
    /// Nine of ten.
    pub latency_p90_us: Option<u64>,
    /// Ninety-nine of a hundred.
    pub latency_p99_us: Option<u64>,
}

impl From<control::UsageRow> for UsageRow {
    fn from(row: control::UsageRow) -> Self {
        Self {
            hour: row.hour.map(Time),
            account: row.account,
            credential: row.credential,
            route: row.route,
            host: row.host,
            egress: row.egress,
            requests: row.requests,
            connections: row.connections,
            bytes_up: row.bytes_up,
            bytes_down: row.bytes_down,
            refusals: row.refusals,
            codes: row.codes,
            errors: row.errors,
            latency_p50_us: row.latency_p50_us,
            latency_p90_us: row.latency_p90_us,
            latency_p99_us: row.latency_p99_us,
        }
    }
}
