//! Flows that the gateways on one store show each other.

use std::time::Duration;

use moorgate_contract::time::Timestamp;
use sqlx::{AnyConnection, query, query_as, query_scalar, raw_sql};

use super::{Store, stored};
use crate::{
    error::StoreError,
    flows::{Batch, End},
};

/// Older ones are of gateways that are gone.
const FORGOTTEN: Duration = Duration::from_secs(8 * 24 * 3600);
/// Rows that are read at once.
const READ: i64 = 8;

/// A row: the number of its last flow, and a line for each.
pub(crate) type Row = (i64, String);

impl Store {
    /// Adds flows of a gateway, all or nothing; its oldest make room for more than `most`.
    pub(crate) async fn put_flows(
        &mut self,
        gateway: &str,
        batches: &[Batch],
        most: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let failed = self.failed("write to");
        raw_sql("BEGIN").execute(&mut self.connection).await.map_err(&failed)?;
        let written = write(&mut self.connection, gateway, batches, most, now).await;
        let end = if written.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = raw_sql(end).execute(&mut self.connection).await;
        written.and(ended.map(drop)).map_err(failed)
    }

    /// The gateways that have flows here.
    pub(crate) async fn gateways_with_flows(&mut self) -> Result<Vec<String>, StoreError> {
        let failed = self.failed("read");
        query_scalar("SELECT DISTINCT gateway FROM flow_batch").fetch_all(&mut self.connection).await.map_err(failed)
    }

    /// Some rows of a gateway, the newest first: those before the row `last` that may have flows of an account that ended
    /// before `end`.
    pub(crate) async fn flows_of(
        &mut self,
        gateway: &str,
        account: Option<&str>,
        last: i64,
        end: Option<End>,
    ) -> Result<Vec<Row>, StoreError> {
        let failed = self.failed("read");
        let end = end.map_or(i64::MAX, |(end, _)| stored(end.0));
        let statement = match account {
            None => query_as(
                "SELECT last, body FROM flow_batch WHERE gateway = $1 AND last < $2 AND began <= $3 \
                 ORDER BY last DESC LIMIT $4",
            ),
            Some(_) => query_as(
                "SELECT last, body FROM flow_batch_account JOIN flow_batch USING (gateway, last) \
                 WHERE gateway = $1 AND last < $2 AND began <= $3 AND account = $5 ORDER BY last DESC LIMIT $4",
            ),
        };
        let statement = statement.bind(gateway).bind(last).bind(end).bind(READ);
        let statement = if let Some(account) = account { statement.bind(account) } else { statement };
        statement.fetch_all(&mut self.connection).await.map_err(failed)
    }

    /// The rows that may have the flow of this id: whose they are, and a line for each.
    pub(crate) async fn flows_around(&mut self, id: i64) -> Result<Vec<(String, String)>, StoreError> {
        let failed = self.failed("read");
        query_as(
            "SELECT gateway, body FROM flow_batch WHERE highest >= $1 AND lowest <= $1 ORDER BY ended DESC LIMIT $2",
        )
        .bind(id)
        .bind(READ * READ)
        .fetch_all(&mut self.connection)
        .await
        .map_err(failed)
    }
}

async fn write(
    connection: &mut AnyConnection,
    gateway: &str,
    batches: &[Batch],
    most: i64,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut last: i64 = query_scalar("SELECT coalesce(max(last), 0) FROM flow_batch WHERE gateway = $1")
        .bind(gateway)
        .fetch_one(&mut *connection)
        .await?;
    for batch in batches {
        last += batch.flows;
        query(
            "INSERT INTO flow_batch (gateway, last, flows, began, ended, lowest, highest, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(gateway)
        .bind(last)
        .bind(batch.flows)
        .bind(stored(batch.began.0))
        .bind(stored(batch.ended.0))
        .bind(batch.lowest)
        .bind(batch.highest)
        .bind(&batch.body)
        .execute(&mut *connection)
        .await?;
        for account in &batch.accounts {
            query("INSERT INTO flow_batch_account (account, gateway, last) VALUES ($1, $2, $3)")
                .bind(&**account)
                .bind(gateway)
                .bind(last)
                .execute(&mut *connection)
                .await?;
        }
    }
    let forgotten = now.0.saturating_sub(u64::try_from(FORGOTTEN.as_micros()).unwrap_or(u64::MAX));
    query("DELETE FROM flow_batch WHERE (gateway = $1 AND last <= $2) OR ended < $3")
        .bind(gateway)
        .bind(last - most)
        .bind(stored(forgotten))
        .execute(connection)
        .await?;
    Ok(())
}
