//! Usage in the store: what each run of a gateway has counted.

use std::{collections::HashMap, fmt::Write as _, net::IpAddr};

use moorgate_contract::{
    account::{AccountId, CredentialId},
    outcome::Outcome,
    quota::Spent,
    route::RouteId,
    time::Timestamp,
    usage::{Counts, Key, Whose},
};
use sqlx::{
    Any, AnyConnection, AssertSqlSafe, Row as _,
    any::{AnyArguments, AnyRow},
    query,
    query::Query,
    query_as, raw_sql,
};

use super::{Kind, Store, number, stored};
use crate::error::StoreError;

/// What one gateway writes at once: everything as it is by now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// Which run of which gateway.
    pub(crate) run: String,
    pub(crate) hours: Vec<(Key, Counts)>,
    /// The same by the keys of [`totals`].
    pub(crate) totals: Vec<(Key, Counts)>,
    pub(crate) months: Vec<(u64, AccountId, Spent)>,
    pub(crate) uses: Vec<(CredentialId, Timestamp, IpAddr)>,
}

/// When a credential was used last, and from where.
pub(crate) type Use = (Timestamp, Option<IpAddr>);

/// Rows of one statement: fewer ways to the store and back, and few kinds of statement.
const AT_ONCE: usize = 50;

impl Store {
    /// Writes what was counted, all or nothing. Written twice it counts once.
    pub(crate) async fn write_usage(&mut self, counted: &Counted) -> Result<(), StoreError> {
        let failed = self.failed("write to");
        let begin = match self.kind {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        };
        raw_sql(begin).execute(&mut self.connection).await.map_err(&failed)?;
        let written = self.write_counts(counted).await;
        let end = if written.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = raw_sql(end).execute(&mut self.connection).await;
        written.and(ended).map(drop).map_err(failed)
    }

    async fn write_counts(&mut self, counted: &Counted) -> Result<(), sqlx::Error> {
        let run = &counted.run;
        write_hours(&mut self.connection, &of_run(run, &counted.hours)).await?;
        write_totals(&mut self.connection, &of_run(run, &counted.totals)).await?;
        for rows in counted.months.chunks(AT_ONCE) {
            let mut statement = query(AssertSqlSafe(upsert("spent", SPENT, &["requests", "bytes"], rows.len())));
            for (month, account, spent) in rows {
                statement = statement.bind(stored(*month)).bind(stored(account.0)).bind(run);
                statement = statement.bind(stored(spent.requests)).bind(stored(spent.bytes));
            }
            statement.execute(&mut self.connection).await?;
        }
        for (credential, at, client) in &counted.uses {
            query(
                "INSERT INTO credential_use (credential, at, client) SELECT id, $2, $3 FROM credential WHERE id = $1 \
                 ON CONFLICT (credential) DO UPDATE SET at = excluded.at, client = excluded.client \
                 WHERE excluded.at > credential_use.at",
            )
            .bind(stored(credential.0))
            .bind(stored(at.0))
            .bind(client.to_string())
            .execute(&mut self.connection)
            .await?;
        }
        Ok(())
    }

    /// What others than `run` have counted of a month, for each account.
    pub(crate) async fn spent_by_others(
        &mut self,
        month: u64,
        run: &str,
    ) -> Result<HashMap<AccountId, Spent>, StoreError> {
        let rows: Vec<(i64, i64, i64)> = query_as(
            "SELECT account, CAST(sum(requests) AS BIGINT), CAST(sum(bytes) AS BIGINT) FROM spent \
             WHERE month = $1 AND run <> $2 GROUP BY account",
        )
        .bind(stored(month))
        .bind(run)
        .fetch_all(&mut self.connection)
        .await
        .map_err(self.failed("read"))?;
        let spent = |(account, requests, bytes)| {
            (AccountId(number(account)), Spent { requests: number(requests), bytes: number(bytes) })
        };
        Ok(rows.into_iter().map(spent).collect())
    }

    /// When the credentials of an account were used last, and from where.
    pub(crate) async fn uses(&mut self, account: AccountId) -> Result<HashMap<CredentialId, Use>, StoreError> {
        let rows: Vec<(i64, i64, String)> = query_as(
            "SELECT credential_use.credential, at, client FROM credential_use \
             JOIN credential ON credential.id = credential_use.credential WHERE account = $1",
        )
        .bind(stored(account.0))
        .fetch_all(&mut self.connection)
        .await
        .map_err(self.failed("read"))?;
        let used = |(id, at, client): (i64, i64, String)| {
            (CredentialId(number(id)), (Timestamp(number(at)), client.parse().ok()))
        };
        Ok(rows.into_iter().map(used).collect())
    }

    /// What was counted from the hour `since` until before `until`, of one account or of all.
    pub(crate) async fn usage(
        &mut self,
        account: Option<AccountId>,
        since: u64,
        until: u64,
    ) -> Result<Vec<(Key, Counts)>, StoreError> {
        let failed = self.failed("read");
        let statement = match account {
            None => query(usage_sql!("WHERE hour >= $1 AND hour < $2")),
            Some(_) => query(usage_sql!("WHERE hour >= $1 AND hour < $2 AND account = $3")),
        };
        let statement = statement.bind(stored(since)).bind(stored(until));
        let statement = if let Some(AccountId(id)) = account { statement.bind(stored(id)) } else { statement };
        let rows = statement.fetch_all(&mut self.connection).await.map_err(&failed)?;
        rows.iter().map(|row| read(row).map_err(&failed)).collect()
    }

    /// The same by the hour, of all that `whose` has: of an account, one of its credentials or one of its routes; without
    /// an account, of each.
    pub(crate) async fn usage_totals(
        &mut self,
        whose: Whose,
        since: u64,
        until: u64,
    ) -> Result<Vec<(Key, Counts)>, StoreError> {
        let failed = self.failed("read");
        let statement = query(if whose.account.is_some() { total_sql!(" AND account = $5") } else { total_sql!("") })
            .bind(stored(since))
            .bind(stored(until))
            .bind(whose.credential.map_or(0, |id| stored(id.0)))
            .bind(whose.route.map_or(0, |id| stored(id.0)));
        let statement = if let Some(AccountId(id)) = whose.account { statement.bind(stored(id)) } else { statement };
        let rows = statement.fetch_all(&mut self.connection).await.map_err(&failed)?;
        rows.iter().map(|row| read(row).map_err(&failed)).collect()
    }

    /// Forgets what was counted before the hour `before`.
    pub(crate) async fn forget_usage(&mut self, before: u64) -> Result<(), StoreError> {
        for forget in ["DELETE FROM usage WHERE hour < $1", "DELETE FROM usage_total WHERE hour < $1"] {
            let statement = query(forget).bind(stored(before));
            statement.execute(&mut self.connection).await.map_err(self.failed("write to"))?;
        }
        Ok(())
    }
}

/// Everything that was counted, with which run counted it.
pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<(Key, String, Counts)>, sqlx::Error> {
    let rows = query(
        "SELECT hour, account, credential, route, host, egress, connections, requests, bytes_up, bytes_down, refusals, \
         errors, latency, codes, run FROM usage",
    );
    let rows = rows.fetch_all(connection).await?;
    let with_run = |row: &AnyRow| read(row).and_then(|(key, counts)| Ok((key, row.try_get(14)?, counts)));
    rows.iter().map(with_run).collect()
}

/// Puts in what [`all`] took out.
pub(super) async fn insert(connection: &mut AnyConnection, rows: &[(Key, String, Counts)]) -> Result<(), sqlx::Error> {
    let hours: Vec<_> = rows.iter().map(|(key, run, counts)| (key, &**run, counts)).collect();
    write_hours(connection, &hours).await?;
    let mut sums: HashMap<(Key, &str), Counts> = HashMap::new();
    for (key, run, counts) in rows {
        for total in totals(key) {
            sums.entry((total, run)).or_default().merge(counts);
        }
    }
    let sums: Vec<_> = sums.iter().map(|((key, run), counts)| (key, *run, counts)).collect();
    write_totals(connection, &sums).await
}

/// What a key counts toward: its hour of its account, and of its credential and its route.
pub(crate) fn totals(key: &Key) -> impl Iterator<Item = Key> {
    let Key { hour, whose: Whose { account, credential, route }, .. } = *key;
    let of = |credential, route| Key { hour, whose: Whose { account, credential, route }, host: None, egress: None };
    let parts = [credential.map(|id| of(Some(id), None)), route.map(|id| of(None, Some(id)))];
    [of(None, None)].into_iter().chain(parts.into_iter().flatten())
}

/// A key, which run counted it, and what.
type Row<'a> = (&'a Key, &'a str, &'a Counts);

fn of_run<'a>(run: &'a str, rows: &'a [(Key, Counts)]) -> Vec<Row<'a>> {
    rows.iter().map(|(key, counts)| (key, run, counts)).collect()
}

async fn write_hours(connection: &mut AnyConnection, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    for rows in rows.chunks(AT_ONCE) {
        let mut statement = query(AssertSqlSafe(upsert("usage", USAGE, COUNTS, rows.len())));
        for (Key { hour, whose, host, egress }, run, counts) in rows {
            statement = bind_whose(statement.bind(stored(*hour)), whose)
                .bind(host.as_deref().unwrap_or_default().to_owned())
                .bind(egress.map(|egress| egress.to_string()).unwrap_or_default())
                .bind((*run).to_owned());
            statement = bind_counts(statement, counts);
        }
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn write_totals(connection: &mut AnyConnection, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    for rows in rows.chunks(AT_ONCE) {
        let mut statement = query(AssertSqlSafe(upsert("usage_total", TOTAL, COUNTS, rows.len())));
        for (Key { hour, whose, .. }, run, counts) in rows {
            statement = bind_whose(statement, whose).bind(stored(*hour)).bind((*run).to_owned());
            statement = bind_counts(statement, counts);
        }
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

/// The columns of each table's key.
const USAGE: &[&str] = &["hour", "account", "credential", "route", "host", "egress", "run"];
const TOTAL: &[&str] = &["account", "credential", "route", "hour", "run"];
const SPENT: &[&str] = &["month", "account", "run"];
/// And of what is counted, in the order of [`bind_counts`].
const COUNTS: &[&str] =
    &["connections", "requests", "bytes_up", "bytes_down", "refusals", "errors", "latency", "codes"];

type Statement<'q> = Query<'q, Any, AnyArguments>;

fn bind_whose<'q>(statement: Statement<'q>, whose: &Whose) -> Statement<'q> {
    statement
        .bind(whose.account.map_or(0, |id| stored(id.0)))
        .bind(whose.credential.map_or(0, |id| stored(id.0)))
        .bind(whose.route.map_or(0, |id| stored(id.0)))
}

fn bind_counts<'q>(statement: Statement<'q>, counts: &Counts) -> Statement<'q> {
    // Numbers: nothing in it can fail to be JSON.
    let latency = serde_json::to_string(&counts.latency).unwrap_or_default();
    let codes = serde_json::to_string(&counts.codes).unwrap_or_default();
    statement
        .bind(stored(counts.connections))
        .bind(stored(counts.requests))
        .bind(stored(counts.bytes_up))
        .bind(stored(counts.bytes_down))
        .bind(stored(counts.refusals))
        .bind(stored(counts.errors))
        .bind(latency)
        .bind(codes)
}

macro_rules! usage_sql {
    ($rest:literal) => {
        concat!(
            "SELECT hour, account, credential, route, host, egress, connections, requests, bytes_up, bytes_down, \
             refusals, errors, latency, codes FROM usage ",
            $rest
        )
    };
}
macro_rules! total_sql {
    ($rest:literal) => {
        concat!(
            "SELECT hour, account, credential, route, CAST('' AS TEXT), CAST('' AS TEXT), connections, requests, bytes_up, \
             bytes_down, refusals, errors, latency, codes FROM usage_total \
             WHERE hour >= $1 AND hour < $2 AND credential = $3 AND route = $4",
            $rest
        )
    };
}
use {total_sql, usage_sql};

fn read(row: &AnyRow) -> Result<(Key, Counts), sqlx::Error> {
    let at = |index: usize| row.try_get::<i64, _>(index).map(number);
    let id = |index: usize| at(index).map(|id| (id > 0).then_some(id));
    let (host, egress): (String, String) = (row.try_get(4)?, row.try_get(5)?);
    let whose =
        Whose { account: id(1)?.map(AccountId), credential: id(2)?.map(CredentialId), route: id(3)?.map(RouteId) };
    let host = (!host.is_empty()).then(|| host.into());
    let key = Key { hour: at(0)?, whose, host, egress: egress.parse().ok() };
    let latency: String = row.try_get(12)?;
    let codes: String = row.try_get(13)?;
    // Of a newer version there may be some that this one does not know.
    let codes: HashMap<String, u64> = serde_json::from_str(&codes).unwrap_or_default();
    let refused = |(code, count): (String, u64)| match Outcome::from_code(&code)? {
        Outcome::Failed(code) => Some((code, count)),
        Outcome::Ok | Outcome::Cut(_) => None,
    };
    let counts = Counts {
        connections: at(6)?,
        requests: at(7)?,
        bytes_up: at(8)?,
        bytes_down: at(9)?,
        refusals: at(10)?,
        codes: codes.into_iter().filter_map(refused).collect(),
        errors: at(11)?,
        latency: serde_json::from_str(&latency).unwrap_or_default(),
    };
    Ok((key, counts))
}

/// `INSERT … ON CONFLICT … DO UPDATE` of `rows` rows: what has a key already has these values from now on.
fn upsert(table: &str, key: &[&str], values: &[&str], rows: usize) -> String {
    let columns = [key, values].concat();
    let mut sql = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
    for row in 0..rows {
        for column in 0..columns.len() {
            let before = if column > 0 {
                ", "
            } else if row > 0 {
                "), ("
            } else {
                "("
            };
            // Writing into a String can't fail.
            let _ = write!(sql, "{before}${}", row * columns.len() + column + 1);
        }
    }
    let set: Vec<String> = values.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    let _ = write!(sql, ") ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), set.join(", "));
    sql
}
