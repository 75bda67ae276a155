//! What the gateways on a store want of quotas, each told by the others.

use std::time::Duration;

use sqlx::{query, query_scalar};

use super::{Store, stored};
use crate::error::StoreError;

/// Whoever has said nothing for so long wants nothing: it was killed, or does not reach the store.
const SILENT: Duration = Duration::from_secs(5);
/// Rows so old are of nobody who comes back.
const FORGOTTEN: Duration = Duration::from_secs(60);

impl Store {
    /// Says what `run` wants from now on; answers with what the others said.
    pub(crate) async fn exchange_demand(&mut self, run: &str, said: &str) -> Result<Vec<String>, StoreError> {
        let now = self.now().await?;
        let failed = self.failed("write to");
        query(
            "INSERT INTO demand (run, at, said) VALUES ($1, $2, $3) \
             ON CONFLICT (run) DO UPDATE SET at = excluded.at, said = excluded.said",
        )
        .bind(run)
        .bind(stored(now.0))
        .bind(said)
        .execute(&mut self.connection)
        .await
        .map_err(&failed)?;
        query("DELETE FROM demand WHERE at < $1")
            .bind(stored(now.before(FORGOTTEN).0))
            .execute(&mut self.connection)
            .await
            .map_err(&failed)?;
        query_scalar("SELECT said FROM demand WHERE run <> $1 AND at >= $2")
            .bind(run)
            .bind(stored(now.before(SILENT).0))
            .fetch_all(&mut self.connection)
            .await
            .map_err(self.failed("read"))
    }

    /// Takes back what `run` has said.
    pub(crate) async fn withdraw_demand(&mut self, run: &str) -> Result<(), StoreError> {
        let statement = query("DELETE FROM demand WHERE run = $1").bind(run);
        statement.execute(&mut self.connection).await.map(drop).map_err(self.failed("write to"))
    }
}
