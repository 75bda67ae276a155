//! The gateways on this store.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use moorgate_contract::time::Timestamp;

use super::{Control, Inner, kept};
use crate::{
    error::{ControlError, Result, What},
    limits::HEARTBEAT,
    store::GatewayRow,
    views::{GatewayHealth, GatewayView},
};

/// What is known of the gateways, and when by the store's time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(super) rows: Vec<GatewayRow>,
    at: Timestamp,
    /// Whether this one's name was seen to be another's as well.
    has_twin: bool,
}

/// Without a sign of life for so long, a gateway is lost.
const LOST: Duration = HEARTBEAT.saturating_mul(3);

impl Control {
    /// Every gateway on this store, by name. While the store is down: as they were last seen, their health unknown.
    pub async fn list_gateways(&self) -> Vec<GatewayView> {
        let is_current = self.beat().await.is_ok();
        let seen = super::lock(&self.inner.seen).clone();
        seen.rows.iter().map(|row| self.inner.view_gateway(row, &seen, is_current)).collect()
    }

    /// One gateway.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn gateway(&self, name: &str) -> Result<GatewayView> {
        let gateways = self.list_gateways().await;
        let found = gateways.into_iter().find(|gateway| gateway.name == name);
        found.ok_or_else(|| ControlError::not_found(What::Gateway, name))
    }

    /// Says that this gateway lives, and takes note of the others: the guard refuses their listeners from then on.
    pub(crate) async fn beat(&self) -> Result<()> {
        let said = self.say_alive().await;
        self.inner.renew_guard().await;
        said
    }

    async fn say_alive(&self) -> Result<()> {
        let row = self.inner.gateway_row();
        let own = row.clone();
        let work = move |mut store: crate::store::Store| async move {
            let before = store.gateways().await?;
            let (rows, at) = store.beat(&row).await?;
            Ok((store, (before, Seen { rows, at, has_twin: false })))
        };
        let (before, mut seen) = self.aside(work).await?;
        // The one before a restart has the same name, and says nothing more.
        let is_twin = |row: &GatewayRow| row.name == own.name && row.id != own.id && row.stopped.is_none();
        let lives = |row: &GatewayRow| seen.at.since(row.seen) < LOST;
        seen.has_twin = self.inner.has_beaten() && before.iter().any(|row| is_twin(row) && lives(row));
        if seen.has_twin {
            tracing::error!(
                name = own.name,
                "another gateway on this store has the same name; give each its own with [cluster] name"
            );
        }
        *super::lock(&self.inner.seen) = seen;
        Ok(())
    }

    /// Says that this gateway has ended in good order.
    pub(crate) async fn part(&self) {
        let (row, run) = (self.inner.gateway_row(), self.inner.counting.run.clone());
        // Whoever looks sees it is lost in any case.
        let _ = self
            .aside(move |mut store| async move {
                store.part(&row).await?;
                store.withdraw_demand(&run).await?;
                Ok((store, ()))
            })
            .await;
    }
}

impl Inner {
    fn has_beaten(&self) -> bool {
        super::lock(&self.seen).rows.iter().any(|row| row.id == self.id)
    }

    fn gateway_row(&self) -> GatewayRow {
        GatewayRow {
            name: self.gateway.name.clone(),
            id: self.id.clone(),
            release: self.gateway.release.clone(),
            // Names and addresses: nothing in them can fail to be JSON.
            addresses: serde_json::to_string(&self.gateway.addresses).unwrap_or_default(),
            place: serde_json::to_string(&self.place()).unwrap_or_default(),
            started: self.started,
            seen: Timestamp::default(),
            stopped: None,
            applied: self.book().version(),
        }
    }

    /// Whether this gateway is the one that does what one of all does: the first by name of those that are up.
    pub(super) fn has_duty(&self) -> bool {
        let seen = super::lock(&self.seen);
        let first = seen.rows.iter().find(|row| self.is_up(row, &seen));
        first.is_none_or(|row| row.id == self.id)
    }

    /// Whether a gateway answered when the store was asked last.
    pub(super) fn is_up(&self, row: &GatewayRow, seen: &Seen) -> bool {
        row.stopped.is_none() && (row.id == self.id || seen.at.since(row.seen) < LOST)
    }

    fn view_gateway(&self, row: &GatewayRow, seen: &Seen, is_current: bool) -> GatewayView {
        let is_this = row.id == self.id;
        let silent = seen.at.since(row.seen);
        let health = match row.stopped {
            Some(_) => GatewayHealth::Stopped,
            None if !is_this && !is_current => GatewayHealth::Unknown,
            None if is_this || silent < LOST => GatewayHealth::Up,
            None => GatewayHealth::Lost,
        };
        let addresses: BTreeMap<String, Vec<SocketAddr>> = serde_json::from_str(&row.addresses).unwrap_or_default();
        GatewayView {
            name: row.name.clone(),
            is_this,
            release: row.release.clone(),
            addresses,
            reached_at: kept::reached_at(row),
            has_twin: is_this && seen.has_twin,
            started: row.started,
            seen: row.seen,
            health,
            applied: if is_this { self.book().version() } else { row.applied },
        }
    }
}
