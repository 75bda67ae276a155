//! Tiers and quotas as the API writes them.

use moorgate_contract::quota;
use moorgate_control::{QuotaView, TierView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// What a tier allows an account. What is left out is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Tunnels and exchanges begun in a second; so many may come at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// Tunnels and exchanges begun in a month (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_month: Option<u64>,
    /// Bytes in a second, both ways together: beyond it they wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Bytes in a month (UTC), both ways together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_month: Option<u64>,
    /// Tunnels and exchanges open at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<u32>,
    /// Hundredths of the monthly quotas that are tolerated beyond them before anything is refused.
    pub grace_percent: u8,
}

impl From<quota::Quotas> for Quotas {
    fn from(quotas: quota::Quotas) -> Self {
        Self {
            requests_per_second: quotas.requests_per_second,
            requests_per_month: quotas.requests_per_month,
            bytes_per_second: quotas.bytes_per_second,
            bytes_per_month: quotas.bytes_per_month,
            tunnels: quotas.tunnels,
            grace_percent: quotas.grace_percent,
        }
    }
}

impl From<Quotas> for quota::Quotas {
    fn from(quotas: Quotas) -> Self {
        Self {
            requests_per_second: quotas.requests_per_second,
            requests_per_month: quotas.requests_per_month,
            bytes_per_second: quotas.bytes_per_second,
            bytes_per_month: quotas.bytes_per_month,
            tunnels: quotas.tunnels,
            grace_percent: quotas.grace_percent,
        }
    }
}

/// A tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// What it allows.
    pub quotas: Quotas,
    /// How many accounts have it.
    pub accounts: usize,
}

impl From<TierView> for Tier {
    fn from(tier: TierView) -> Self {
        Self { name: tier.name, created: Time(tier.created), quotas: tier.quotas.into(), accounts: tier.accounts }
    }
}

/// What an account may do, and what it has done of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quota {
    /// What its tier allows.
    pub quotas: Quotas,
    /// What was spent this month.
    pub spent: Spent,
}

/// What an account has spent this month, on all gateways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Spent {
    /// Tunnels and exchanges.
    pub requests: u64,
    /// Bytes, both ways together.
    pub bytes: u64,
    /// When the month ends, and the next one's quotas begin.
    #[schema(value_type = String, format = DateTime)]
    pub until: Time,
}

impl From<QuotaView> for Quota {
    fn from(quota: QuotaView) -> Self {
        let QuotaView { quotas, requests, bytes, until } = quota;
        Self { quotas: quotas.into(), spent: Spent { requests, bytes, until: Time(until) } }
    }
}
