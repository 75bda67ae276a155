//! Tiers, usage, the audit log, gateways.

use http::Method;

use super::{Client, ClientError, url::Path};
use crate::view::{AuditEntry, AuditVerdict, GatewayState, Quotas, Tier, UsageQuery, UsageRow};

/// The most rows of a page.
const PAGE: usize = 1_000;

impl Client {
    /// Every tier.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tiers(&self) -> Result<Vec<Tier>, ClientError> {
        self.list(&Path::of(["tiers"])).await
    }

    /// One tier.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tier(&self, name: &str) -> Result<Tier, ClientError> {
        self.get(&Path::of(["tiers", name])).await
    }

    /// Makes a tier, or replaces its quotas as a whole.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn set_tier(&self, name: &str, quotas: &Quotas) -> Result<Tier, ClientError> {
        self.send(Method::PUT, &Path::of(["tiers", name]), quotas).await
    }

    /// Removes a tier that no account has.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_tier(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&Path::of(["tiers", name])).await
    }

    /// What was moved, grouped.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, ClientError> {
        let mut path = Path::of(["usage"]);
        path.ask("account", query.account.as_deref());
        path.ask("since", query.since.map(|time| time.to_string()).as_deref());
        path.ask("until", query.until.map(|time| time.to_string()).as_deref());
        path.ask("by", Some(query.by.name()));
        self.list(&path).await
    }

    /// The newest `most` entries of the audit log, or of those that concern one account; the newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit(&self, account: Option<&str>, most: usize) -> Result<Vec<AuditEntry>, ClientError> {
        let mut path = Path::of(["audit"]);
        path.ask("account", account);
        path.ask("limit", Some(&most.min(PAGE).to_string()));
        self.list_most(&path, most).await
    }

    /// Whether the audit log is untouched.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn verify_audit(&self) -> Result<AuditVerdict, ClientError> {
        self.get(&Path::of(["audit", "verify"])).await
    }

    /// The gateways on the store of the one that is asked.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn gateways(&self) -> Result<Vec<GatewayState>, ClientError> {
        self.list(&Path::of(["gateways"])).await
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn gateway(&self, name: &str) -> Result<GatewayState, ClientError> {
        self.get(&Path::of(["gateways", name])).await
    }
}
