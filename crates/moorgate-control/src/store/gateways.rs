//! The gateways on a store, as each says of itself. Times are the store's own: clocks of machines differ.

use moorgate_contract::time::Timestamp;
use sqlx::{query, query_as};

use super::{Kind, Store, number, stored};
use crate::error::StoreError;

/// A gateway as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GatewayRow {
    pub(crate) name: String,
    /// Random with each start.
    pub(crate) id: String,
    pub(crate) release: String,
    /// Where its listeners are bound: JSON.
    pub(crate) addresses: String,
    /// Where it runs: JSON. Empty: its version did not say so.
    pub(crate) place: String,
    pub(crate) started: Timestamp,
    /// Its last sign of life.
    pub(crate) seen: Timestamp,
    /// When it ended in good order.
    pub(crate) stopped: Option<Timestamp>,
    /// The version of what it serves.
    pub(crate) applied: u64,
}

/// A row older than this is of a gateway that is not coming back.
const FORGOTTEN: u64 = 24 * 3600 * 1_000_000;

impl Store {
    /// A sign of life. Answers with every gateway, by name, and the store's time.
    pub(crate) async fn beat(&mut self, row: &GatewayRow) -> Result<(Vec<GatewayRow>, Timestamp), StoreError> {
        let failed = self.failed("write to");
        let now = self.now().await?;
        query(
            "INSERT INTO gateway (name, id, release, addresses, place, started, seen, stopped, applied) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8) ON CONFLICT (name) DO UPDATE SET id = excluded.id, \
             release = excluded.release, addresses = excluded.addresses, place = excluded.place, \
             started = excluded.started, seen = excluded.seen, stopped = NULL, applied = excluded.applied",
        )
        .bind(&row.name)
        .bind(&row.id)
        .bind(&row.release)
        .bind(&row.addresses)
        .bind(&row.place)
        .bind(stored(row.started.0))
        .bind(stored(now.0))
        .bind(stored(row.applied))
        .execute(&mut self.connection)
        .await
        .map_err(&failed)?;
        query("DELETE FROM gateway WHERE seen < $1")
            .bind(stored(now.0.saturating_sub(FORGOTTEN)))
            .execute(&mut self.connection)
            .await
            .map_err(failed)?;
        Ok((self.gateways().await?, now))
    }

    /// Every gateway, by name.
    pub(crate) async fn gateways(&mut self) -> Result<Vec<GatewayRow>, StoreError> {
        type Row = (String, String, String, String, String, i64, i64, Option<i64>, i64);
        let rows: Vec<Row> = query_as(
            "SELECT name, id, release, addresses, place, started, seen, stopped, applied FROM gateway ORDER BY name",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(self.failed("read"))?;
        let row = |(name, id, release, addresses, place, started, seen, stopped, applied): Row| GatewayRow {
            name,
            id,
            release,
            addresses,
            place,
            started: Timestamp(number(started)),
            seen: Timestamp(number(seen)),
            stopped: stopped.map(|stopped| Timestamp(number(stopped))),
            applied: number(applied),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// The end of a gateway, in good order.
    pub(crate) async fn part(&mut self, row: &GatewayRow) -> Result<(), StoreError> {
        let now = self.now().await?;
        query("UPDATE gateway SET stopped = $1 WHERE name = $2 AND id = $3")
            .bind(stored(now.0))
            .bind(&row.name)
            .bind(&row.id)
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(self.failed("write to"))
    }

    /// The store's time.
    pub(crate) async fn now(&mut self) -> Result<Timestamp, StoreError> {
        let now = match self.kind {
            Kind::Sqlite => "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            Kind::Postgres => "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
        };
        let (now,): (i64,) = query_as(now).fetch_one(&mut self.connection).await.map_err(self.failed("read"))?;
        Ok(Timestamp(number(now)))
    }
}
