//! The kept flows: a file of their own, in which losing the last second to a power cut is better than waiting for the
//! disk. Nothing here may hold up traffic or control.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use moorgate_contract::{
    flow::{Flow, FlowId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use sqlx::{
    QueryBuilder, SqlitePool, query, query_scalar,
    sqlite::{SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    error::{StoreError, chain},
    limits::{FLOWS_KEPT, MAX_FLOWS_READ, RETRY, STORE_TIME},
    store::{
        Opening,
        sqlite::{options, prepare, schema},
    },
};

/// One connection for the writer and two for readers.
const CONNECTIONS: u32 = 3;

/// Which flows to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowFilter {
    /// Only those of this account.
    pub account: Option<String>,
    /// At most so many, the last ones; from 1 to [`MAX_FLOWS_READ`].
    pub limit: usize,
}

impl Default for FlowFilter {
    fn default() -> Self {
        Self { account: None, limit: MAX_FLOWS_READ }
    }
}

/// A filter with the account's beginning: flows before it were another's.
pub(crate) struct Wanted {
    pub(crate) account: Option<(String, Timestamp)>,
    pub(crate) limit: usize,
}

/// A row on its way in.
struct Row<'a> {
    id: i64,
    account: Option<&'a str>,
    started: i64,
    body: String,
}

/// Rows that one statement writes. A statement's way to SQLite's thread and back costs more than a row.
const ROWS: usize = 256;
/// So many more may be in the file, unseen, before the oldest make room: each time walks every index.
const SLACK: u64 = 4_096;

pub(crate) struct FlowStore {
    path: PathBuf,
    kept: u64,
    lost: AtomicU64,
    /// Rows written since the oldest made room.
    since: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pool: Option<SqlitePool>,
    tried: Option<Instant>,
    closed: bool,
}

impl FlowStore {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self::keeping(data_dir, FLOWS_KEPT)
    }

    pub(crate) fn keeping(data_dir: &Path, kept: u64) -> Self {
        let path = data_dir.join("flows.sqlite");
        Self { path, kept, lost: AtomicU64::new(0), since: AtomicU64::new(SLACK), state: Mutex::default() }
    }

    fn most(&self) -> i64 {
        i64::try_from(self.kept).unwrap_or(i64::MAX)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Keeps flows, in one transaction; the oldest make room.
    pub(crate) async fn record(&self, flows: &[Arc<Flow>]) {
        let rows: Vec<Row<'_>> = flows.iter().filter_map(|flow| row(flow)).collect();
        if rows.is_empty() {
            return;
        }
        let written = timeout(STORE_TIME, self.write(&rows)).await;
        let written = written.unwrap_or(Err(StoreError::TooSlow { limit: STORE_TIME }));
        if let Err(error) = written {
            // What is wrong with the file may show, and be mended, when it is opened anew.
            self.state.lock().await.pool = None;
            let count = u64::try_from(rows.len()).unwrap_or_default();
            let before = self.lost.fetch_add(count, Relaxed);
            if before == 0 {
                tracing::error!(error = chain(&error), "flows can't be kept; they are counted from here on");
            }
        }
    }

    async fn write(&self, rows: &[Row<'_>]) -> Result<(), StoreError> {
        let pool = self.pool().await?;
        let count = rows.len() as u64;
        let crowded = self.since.fetch_add(count, Relaxed) + count > SLACK.min(self.kept);
        let work = async {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
            for rows in rows.chunks(ROWS) {
                let mut insert = QueryBuilder::new("INSERT INTO flow (id, account, started, body) ");
                insert.push_values(rows, |mut row, Row { id, account, started, body }| {
                    row.push_bind(*id).push_bind(*account).push_bind(*started).push_bind(body.as_str());
                });
                // One that is full is prepared once; of others there are too many sizes.
                insert.build().persistent(rows.len() == ROWS).execute(&mut *tx).await?;
            }
            if crowded {
                let prune = "DELETE FROM flow WHERE seq <= (SELECT max(seq) FROM flow) - ?";
                query(prune).bind(self.most()).execute(&mut *tx).await?;
            }
            tx.commit().await
        };
        work.await.map_err(self.database("write"))?;
        if crowded {
            self.since.store(0, Relaxed);
        }
        Ok(())
    }

    pub(crate) async fn last(&self, wanted: Wanted) -> Result<Vec<Flow>, StoreError> {
        let pool = self.pool().await?;
        let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX).min(self.most());
        let statement = match wanted.account {
            None => query_scalar("SELECT body FROM flow ORDER BY seq DESC LIMIT ?").bind(limit),
            Some((name, since)) => {
                let statement = query_scalar(
                    "SELECT body FROM flow WHERE account = ? AND started >= ? \
                     AND seq > (SELECT max(seq) FROM flow) - ? ORDER BY seq DESC LIMIT ?",
                );
                statement.bind(name).bind(i64::try_from(since.0).unwrap_or(i64::MAX)).bind(self.most()).bind(limit)
            }
        };
        let bodies: Vec<String> = self.in_time(statement.fetch_all(&pool)).await?;
        Ok(bodies.iter().rev().filter_map(|body| parse(body)).collect())
    }

    pub(crate) async fn find(&self, id: FlowId) -> Result<Option<Flow>, StoreError> {
        let pool = self.pool().await?;
        let statement = query_scalar(
            "SELECT body FROM flow WHERE id = ? AND seq > (SELECT max(seq) FROM flow) - ? ORDER BY seq DESC LIMIT 1",
        );
        let body: Option<String> =
            self.in_time(statement.bind(id.0.cast_signed()).bind(self.most()).fetch_optional(&pool)).await?;
        Ok(body.and_then(|body| parse(&body)))
    }

    pub(crate) async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(pool) = state.pool.take() {
            pool.close().await;
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = sqlx::Result<T>>) -> Result<T, StoreError> {
        match timeout(STORE_TIME, work).await {
            Ok(done) => done.map_err(self.database("read")),
            Err(_) => Err(StoreError::TooSlow { limit: STORE_TIME }),
        }
    }

    /// The open file; opened when it is first wanted, and again after trouble, but not with every batch.
    async fn pool(&self) -> Result<SqlitePool, StoreError> {
        let mut state = self.state.lock().await;
        if let Some(pool) = &state.pool {
            return Ok(pool.clone());
        }
        if state.closed || state.tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return Err(StoreError::NotOpen);
        }
        state.tried = Some(Instant::now());
        let pool = match self.open().await {
            Ok(pool) => pool,
            Err(error) if is_no_database(&error) => {
                self.set_aside(&error)?;
                self.open().await?
            }
            Err(error) => return Err(error),
        };
        state.pool = Some(pool.clone());
        Ok(pool)
    }

    async fn open(&self) -> Result<SqlitePool, StoreError> {
        prepare(&self.path, Opening::MayCreate)?;
        let options = options(&self.path).synchronous(SqliteSynchronous::Normal);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(STORE_TIME);
        let pool = pool.connect_with(options).await.map_err(self.database("open"))?;
        let migrated = schema::migrator(schema::FLOWS).run(&pool).await;
        migrated.map_err(|source| StoreError::Migration { path: self.path.clone(), source })?;
        Ok(pool)
    }

    /// Renames a file that is no database, so that new flows are kept.
    fn set_aside(&self, error: &StoreError) -> Result<(), StoreError> {
        let aside = self.path.with_extension("sqlite.damaged");
        tracing::error!(error = chain(error), aside = %aside.display(), "the kept flows can't be read");
        let io = |source| StoreError::Io { action: "rename", path: self.path.clone(), source };
        for suffix in ["-wal", "-shm"] {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            // Left beside a new file they would be taken for its own.
            let _ = std::fs::remove_file(name);
        }
        std::fs::rename(&self.path, aside).map_err(io)
    }

    fn database(&self, action: &'static str) -> impl Fn(sqlx::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |source| StoreError::Database { action, path: path.clone(), source }
    }
}

fn is_no_database(error: &StoreError) -> bool {
    // SQLITE_CORRUPT and SQLITE_NOTADB; the low byte is the primary code.
    let StoreError::Database { source: sqlx::Error::Database(error), .. } = error else { return false };
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

fn row(flow: &Flow) -> Option<Row<'_>> {
    let body = serde_json::to_string(flow).ok()?;
    let started = i64::try_from(flow.started.0).unwrap_or(i64::MAX);
    Some(Row { id: flow.id.0.cast_signed(), account: flow.account.as_deref(), started, body })
}

fn parse(body: &str) -> Option<Flow> {
    serde_json::from_str(body).inspect_err(|error| tracing::warn!(%error, "a kept flow can't be read")).ok()
}

#[cfg(test)]
mod tests;
