//! Usage as callers ask for it and are shown it.

use std::{collections::BTreeMap, net::IpAddr};

use moorgate_contract::{flow::Flow, time::Timestamp, usage::Counts};
use serde::{Deserialize, Serialize};

/// Which usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// Only that of this account, by name.
    pub account: Option<String>,
    /// From the hour in which this is.
    pub since: Timestamp,
    /// To the hour in which this is.
    pub until: Timestamp,
    /// What is counted together.
    pub by: GroupBy,
    /// Only that of a part of the account.
    pub of: Option<Part>,
    /// By the hour: how many hours are counted together, the last of which is that of `until`. None or one: each by itself.
    pub hours: u64,
}

/// A part of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A credential, by its username.
    Credential(String),
    /// A route, by its domain.
    Route(String),
}

impl Part {
    /// Whether a flow is its.
    pub fn has(&self, flow: &Flow) -> bool {
        match self {
            Self::Credential(username) => flow.username.as_deref() == Some(username),
            Self::Route(domain) => flow.route.as_deref() == Some(domain),
        }
    }
}

/// What usage is counted together for; each for its account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// An account.
    #[default]
    Account,
    /// A credential.
    Credential,
    /// A route.
    Route,
    /// A destination's host.
    Host,
    /// An egress address.
    Egress,
    /// An hour.
    Hour,
    /// Nothing: every row as it was counted.
    All,
}

impl GroupBy {
    /// Every one of them.
    pub const ALL: [Self; 7] =
        [Self::Account, Self::Credential, Self::Route, Self::Host, Self::Egress, Self::Hour, Self::All];

    /// In a word, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Credential => "credential",
            Self::Route => "route",
            Self::Host => "host",
            Self::Egress => "egress",
            Self::Hour => "hour",
            Self::All => "all",
        }
    }
}

/// A row of usage: what it is of, and how much.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UsageRow {
    /// When the hour begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<Timestamp>,
    /// The account's name; `None`: of nobody that was known.
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
    pub egress: Option<IpAddr>,
    /// Tunnels that got through.
    pub connections: u64,
    /// Requests that were answered.
    pub requests: u64,
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
    /// Half of all answers came within so many microseconds; `None`: there were none.
    pub latency_p50_us: Option<u64>,
    /// Nine of ten.
    pub latency_p90_us: Option<u64>,
    /// Ninety-nine of a hundred.
    pub latency_p99_us: Option<u64>,
}

impl UsageRow {
    /// What flows come to that have ended, whenever their bytes were moved.
    pub fn of_flows<'a>(flows: impl IntoIterator<Item = &'a Flow>) -> Self {
        let mut counts = Counts::default();
        for flow in flows {
            counts.observe(flow);
            counts.bytes_up += flow.bytes_up;
            counts.bytes_down += flow.bytes_down;
        }
        Self::default().with(&counts)
    }

    pub(crate) fn with(self, counts: &Counts) -> Self {
        let quantile = |part| counts.latency.quantile(part);
        Self {
            connections: counts.connections,
            requests: counts.requests,
            bytes_up: counts.bytes_up,
            bytes_down: counts.bytes_down,
            refusals: counts.refusals,
            codes: counts.codes.iter().map(|(code, count)| (code.row().code.to_owned(), *count)).collect(),
            errors: counts.errors,
            latency_p50_us: quantile(0.5),
            latency_p90_us: quantile(0.9),
            latency_p99_us: quantile(0.99),
            ..self
        }
    }
}
