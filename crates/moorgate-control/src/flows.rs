//! The kept flows: a file of their own, in which losing the last second to a power cut is better than waiting for the
//! disk. Nothing here may hold up traffic or control.

mod packed;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use moorgate_contract::{
    flow::{EndedFlow, Flow, FlowId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use sqlx::{
    SqlitePool, query, query_as, query_scalar,
    sqlite::{SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    error::{StoreError, chain},
    limits::{MAX_FLOWS_READ, RETRY, STORE_TIME},
    location::Location,
    store::{
        Opening,
        file::{options, prepare},
        schema,
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

/// A flow as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The record.
    pub flow: Flow,
    /// The gateway that carried it, where there may be several.
    pub gateway: Option<Arc<str>>,
}

/// The last flows that were recorded.
#[derive(Clone, Debug, Default)]
pub struct LatestFlows {
    /// In the order in which they ended.
    pub flows: Vec<Recorded>,
    /// There are more before them.
    pub is_cut: bool,
}

/// A filter with the account's beginning: flows before it were another's.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) account: Option<(String, Timestamp)>,
    pub(crate) limit: usize,
    pub(crate) before: Before,
}

/// When a flow ended, and which of those that ended then it is.
pub(crate) type End = (Timestamp, FlowId);

pub(crate) fn end(flow: &Flow) -> End {
    (flow.started.after(Duration::from_micros(flow.duration_us)), flow.id)
}

/// Which flows come before those that were read already.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before {
    /// All.
    Everything,
    /// Those that were kept before this one.
    Flow(FlowId),
    /// Those that ended before.
    End(End),
}

impl Wanted {
    /// Only those that ended before.
    pub(crate) fn end(&self) -> Option<End> {
        match self.before {
            Before::End(end) => Some(end),
            Before::Everything | Before::Flow(_) => None,
        }
    }

    /// Whether a flow is one of those.
    pub(crate) fn fits(&self, flow: &Flow) -> bool {
        let is_theirs =
            |(name, since): &(String, Timestamp)| flow.account.as_deref() == Some(name) && flow.started >= *since;
        let is_before = match self.before {
            Before::End(before) => end(flow) < before,
            Before::Everything | Before::Flow(_) => true,
        };
        is_before && self.account.as_ref().is_none_or(is_theirs)
    }
}

/// Flows of one row. A row and its way to SQLite's thread cost more than a flow.
const BATCH: usize = 1_024;
/// Bytes of a flow's line, or a few more.
const LINE: usize = 512;
/// So many more may be in the file, unseen, before the oldest make room.
const SLACK: u64 = 4_096;
/// Rows that are read at once, until there are enough flows.
const READ: i64 = 8;

/// A row on its way in.
pub(crate) struct Batch {
    pub(crate) flows: i64,
    /// When the first of them ended, and the last.
    pub(crate) began: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) lowest: i64,
    pub(crate) highest: i64,
    /// A line for each.
    pub(crate) body: String,
    pub(crate) accounts: BTreeSet<Arc<str>>,
}

impl Batch {
    /// Rows of flows.
    pub(crate) fn all(flows: &[EndedFlow]) -> Vec<Self> {
        flows.chunks(BATCH).filter_map(Self::of).collect()
    }

    /// `None` when there is nothing that can be written.
    fn of(flows: &[EndedFlow]) -> Option<Self> {
        let (began, ended) = (Timestamp(u64::MAX), Timestamp(0));
        let mut lines = Vec::with_capacity(flows.len() * LINE);
        let (body, accounts) = (String::new(), BTreeSet::new());
        let mut batch = Self { flows: 0, began, ended, lowest: i64::MAX, highest: i64::MIN, body, accounts };
        for flow in flows {
            if batch.flows > 0 {
                // JSON has no line end inside.
                lines.push(b'\n');
            }
            flow.push_line(&mut lines);
            let id = flow.id.0.cast_signed();
            batch.flows += 1;
            batch.lowest = batch.lowest.min(id);
            batch.highest = batch.highest.max(id);
            let (end, _) = end(flow);
            (batch.began, batch.ended) = (batch.began.min(end), batch.ended.max(end));
            if let Some(account) = &flow.account
                && !batch.accounts.contains(account)
            {
                batch.accounts.insert(account.clone());
            }
        }
        batch.body = String::from_utf8(lines).ok()?;
        (batch.flows > 0).then_some(batch)
    }
}

/// A row as it is in the file: the number of its last flow, how many it has, and their lines as they were packed.
type Row = (i64, i64, Vec<u8>);

/// The same, and a line for each flow.
type Kept = (i64, i64, String);

fn unpacked((last, flows, packed): Row) -> Kept {
    (last, flows, packed::unpack(packed).unwrap_or_default())
}

/// A row's flows from the newest on, each with its number, those that are older than the `oldest` that is shown left out.
fn newest_first((last, flows, body): &Kept, oldest: i64) -> impl Iterator<Item = (i64, &str)> {
    let shown = usize::try_from((last - oldest + 1).min(*flows)).unwrap_or_default();
    (0..).map(move |back| last - back).zip(body.rsplit('\n')).take(shown)
}

pub(crate) struct FlowStore {
    path: PathBuf,
    kept: u64,
    lost: AtomicU64,
    /// Flows written since the oldest made room.
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
    pub(crate) fn new(data_dir: &Path, kept: u64) -> Self {
        let path = data_dir.join("flows.sqlite");
        Self { path, kept, lost: AtomicU64::new(0), since: AtomicU64::new(SLACK), state: Mutex::default() }
    }

    /// How many are kept.
    pub(crate) fn most(&self) -> i64 {
        i64::try_from(self.kept).unwrap_or(i64::MAX)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Keeps flows, in one transaction; the oldest make room.
    pub(crate) async fn record(&self, flows: &[EndedFlow]) {
        let batches = Batch::all(flows);
        if batches.is_empty() {
            return;
        }
        let written = timeout(STORE_TIME, self.write(&batches)).await;
        let written = written.unwrap_or(Err(StoreError::TooSlow { limit: STORE_TIME }));
        if let Err(error) = written {
            // What is wrong with the file may show, and be mended, when it is opened anew.
            self.state.lock().await.pool = None;
            let count = u64::try_from(flows.len()).unwrap_or_default();
            let before = self.lost.fetch_add(count, Relaxed);
            if before == 0 {
                tracing::error!(error = chain(&error), "flows can't be kept; they are counted from here on");
            }
        }
    }

    async fn write(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let pool = self.pool().await?;
        let count: i64 = batches.iter().map(|batch| batch.flows).sum();
        let count = count.cast_unsigned();
        let crowded = self.since.fetch_add(count, Relaxed) + count > SLACK.min(self.kept);
        let work = async {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
            let mut last: i64 = query_scalar("SELECT coalesce(max(last), 0) FROM batch").fetch_one(&mut *tx).await?;
            for batch in batches {
                last += batch.flows;
                query("INSERT INTO batch (last, flows, lowest, highest, body) VALUES (?, ?, ?, ?, ?)")
                    .bind(last)
                    .bind(batch.flows)
                    .bind(batch.lowest)
                    .bind(batch.highest)
                    .bind(packed::pack(&batch.body))
                    .execute(&mut *tx)
                    .await?;
                for account in &batch.accounts {
                    let insert = query("INSERT INTO batch_account (account, batch) VALUES (?, ?)");
                    insert.bind(&**account).bind(last).execute(&mut *tx).await?;
                }
            }
            if crowded {
                let oldest = last - self.most();
                query("DELETE FROM batch WHERE last <= ?").bind(oldest).execute(&mut *tx).await?;
                query("DELETE FROM batch_account WHERE batch <= ?").bind(oldest).execute(&mut *tx).await?;
            }
            tx.commit().await
        };
        work.await.map_err(self.database("write"))?;
        if crowded {
            self.since.store(0, Relaxed);
        }
        Ok(())
    }

    /// The last flows that are wanted, in the order in which they ended.
    pub(crate) async fn last(&self, wanted: Wanted) -> Result<Vec<Flow>, StoreError> {
        self.in_time(async |pool| {
            let oldest = self.oldest(&pool).await?;
            let end = match wanted.before {
                Before::Everything | Before::End(_) => i64::MAX,
                // One that had to make room had nothing but older ones before it.
                Before::Flow(id) => match self.locate(&pool, id, oldest).await? {
                    Some((number, _)) => number,
                    None => return Ok(Vec::new()),
                },
            };
            // Ids begin with when a flow began: what began later did not end before.
            let lowest = match wanted.before {
                Before::End((end, _)) => FlowId::new(end, u64::MAX).0.cast_signed(),
                Before::Everything | Before::Flow(_) => i64::MAX,
            };
            // The row that it is in ends at most so much later.
            let (mut found, mut before) = (Vec::new(), end.saturating_add(BATCH.try_into().unwrap_or(i64::MAX)));
            while found.len() < wanted.limit {
                let statement = match &wanted.account {
                    None => query_as(
                        "SELECT last, flows, body FROM batch WHERE last >= ? AND last < ? AND lowest <= ? \
                         ORDER BY last DESC LIMIT ?",
                    ),
                    // What began before the account did is another's of that name.
                    Some((name, since)) => query_as(
                        "SELECT last, flows, body FROM batch_account JOIN batch ON batch = last \
                         WHERE account = ? AND highest >= ? AND batch >= ? AND batch < ? AND lowest <= ? \
                         ORDER BY batch DESC LIMIT ?",
                    )
                    .bind(name)
                    .bind(FlowId::new(*since, 0).0.cast_signed()),
                };
                let rows: Vec<Row> =
                    statement.bind(oldest).bind(before).bind(lowest).bind(READ).fetch_all(&pool).await?;
                let rows: Vec<Kept> = rows.into_iter().map(unpacked).collect();
                let Some((first, ..)) = rows.last() else { break };
                before = *first;
                let lines = rows.iter().flat_map(|row| newest_first(row, oldest));
                let flows = lines.filter(|(number, _)| *number < end).filter_map(|(_, line)| parse(line));
                found.extend(flows.filter(|flow| wanted.fits(flow)).take(wanted.limit - found.len()));
            }
            found.reverse();
            Ok(found)
        })
        .await
    }

    /// The flow of that name; the last one, had two the same.
    pub(crate) async fn find(&self, id: FlowId) -> Result<Option<Flow>, StoreError> {
        self.in_time(async |pool| {
            let oldest = self.oldest(&pool).await?;
            Ok(self.locate(&pool, id, oldest).await?.and_then(|(_, line)| parse(&line)))
        })
        .await
    }

    /// A flow's number and line.
    async fn locate(&self, pool: &SqlitePool, id: FlowId, oldest: i64) -> sqlx::Result<Option<(i64, String)>> {
        let (wanted, mut before) = (id.0.cast_signed(), i64::MAX);
        // A flow's name is the first that is written of it.
        let written = format!("{{\"id\":\"{id}\"");
        loop {
            let statement = query_as(
                "SELECT last, flows, body FROM batch WHERE highest >= ? AND lowest <= ? AND last >= ? AND last < ? \
                 ORDER BY last DESC LIMIT ?",
            );
            let statement = statement.bind(wanted).bind(wanted).bind(oldest).bind(before).bind(READ);
            let rows: Vec<Row> = statement.fetch_all(pool).await?;
            let rows: Vec<Kept> = rows.into_iter().map(unpacked).collect();
            let Some((first, ..)) = rows.last() else { return Ok(None) };
            before = *first;
            let mut lines = rows.iter().flat_map(|row| newest_first(row, oldest));
            if let Some((number, line)) = lines.find(|(_, line)| line.starts_with(&written)) {
                return Ok(Some((number, line.to_owned())));
            }
        }
    }

    /// The number of the oldest flow that is shown.
    async fn oldest(&self, pool: &SqlitePool) -> sqlx::Result<i64> {
        let last: i64 = query_scalar("SELECT coalesce(max(last), 0) FROM batch").fetch_one(pool).await?;
        Ok(last - self.most() + 1)
    }

    pub(crate) async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(pool) = state.pool.take() {
            pool.close().await;
        }
    }

    async fn in_time<T>(&self, work: impl AsyncFnOnce(SqlitePool) -> sqlx::Result<T>) -> Result<T, StoreError> {
        let pool = self.pool().await?;
        match timeout(STORE_TIME, work(pool)).await {
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
        migrated.map_err(|source| StoreError::Migration { location: self.path.as_path().into(), source })?;
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
        let location = Location::from(self.path.as_path());
        move |source| StoreError::Database { action, location: location.clone(), source: source.into() }
    }
}

fn is_no_database(error: &StoreError) -> bool {
    // SQLITE_CORRUPT and SQLITE_NOTADB; the low byte is the primary code.
    let StoreError::Database { source, .. } = error else { return false };
    let code = source.code().and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

pub(crate) fn parse(line: &str) -> Option<Flow> {
    serde_json::from_str(line).inspect_err(|error| tracing::warn!(%error, "a kept flow can't be read")).ok()
}

#[cfg(test)]
mod tests;
