//! Receivers of alarms and what they were told of: rows, read and written; and what has yet to reach them, which one gateway
//! at a time is at.

use std::{collections::HashMap, time::Duration};

use moorgate_contract::{account::AccountId, time::Timestamp};
use sqlx::{AnyConnection, Error, query, query_as, query_scalar, raw_sql};

use super::{Kind, Store, Tx, number, stored};
use crate::{
    alarm_views::AlarmKind,
    book::{AlarmRow, Edit, TroubleKey, TroubleRow},
    error::StoreError,
};

/// What has yet to reach a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The same for each try.
    pub(crate) id: String,
    /// To which receiver.
    pub(crate) alarm: String,
    pub(crate) account: AccountId,
    /// JSON of what is told.
    pub(crate) body: String,
    pub(crate) created: Timestamp,
    /// How often it came to nothing.
    pub(crate) tries: u64,
}

/// What became of the last try at a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) at: Timestamp,
    pub(crate) delivered: bool,
    pub(crate) said: String,
}

macro_rules! alarm_sql {
    ($rest:literal) => {
        concat!("SELECT id, account, receiver, kinds, secret, created, off FROM alarm ", $rest)
    };
}
macro_rules! trouble_sql {
    ($rest:literal) => {
        concat!("SELECT account, kind, about, stage, since, said FROM trouble ", $rest)
    };
}

type StoredAlarm = (String, i64, String, String, Option<Vec<u8>>, i64, String);
type StoredTrouble = (i64, String, String, i64, i64, String);
type StoredDelivery = (String, String, i64, String, i64, i64, String, i64);

pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<AlarmRow>, Error> {
    let rows: Vec<StoredAlarm> = query_as(alarm_sql!("ORDER BY id")).fetch_all(connection).await?;
    Ok(rows.into_iter().map(alarm).collect())
}

pub(super) async fn troubles(connection: &mut AnyConnection) -> Result<Vec<TroubleRow>, Error> {
    let rows: Vec<StoredTrouble> =
        query_as(trouble_sql!("ORDER BY account, kind, about")).fetch_all(connection).await?;
    Ok(rows.into_iter().filter_map(trouble).collect())
}

/// What a receiver's row is now.
pub(super) async fn changed(connection: &mut AnyConnection, id: &str) -> Result<Edit, Error> {
    let row = query_as(alarm_sql!("WHERE id = $1")).bind(id).fetch_optional(connection).await?;
    Ok(row.map_or_else(|| Edit::RemoveAlarm(id.to_owned()), |row| Edit::PutAlarm(alarm(row))))
}

/// What a trouble's row is now. `None`: its key can't be read.
pub(super) async fn changed_trouble(connection: &mut AnyConnection, key: &str) -> Result<Option<Edit>, Error> {
    let Some(key) = TroubleKey::parse(key) else { return Ok(None) };
    let row = query_as(trouble_sql!("WHERE account = $1 AND kind = $2 AND about = $3"))
        .bind(stored(key.account.0))
        .bind(key.kind.name())
        .bind(&key.about)
        .fetch_optional(connection)
        .await?;
    Ok(Some(row.and_then(trouble).map_or(Edit::RemoveTrouble(key), Edit::PutTrouble)))
}

fn alarm((id, account, receiver, kinds, secret, created, off): StoredAlarm) -> AlarmRow {
    // A later version's kind is none to this one.
    let kinds = kinds.split(',').filter_map(AlarmKind::from_name).collect();
    let (account, created) = (AccountId(number(account)), Timestamp(number(created)));
    AlarmRow { id, account, receiver, kinds, secret, created, off }
}

fn trouble((account, kind, about, stage, since, said): StoredTrouble) -> Option<TroubleRow> {
    let (account, since) = (AccountId(number(account)), Timestamp(number(since)));
    let stage = u8::try_from(stage).unwrap_or(u8::MAX);
    Some(TroubleRow { account, kind: AlarmKind::from_name(&kind)?, about, stage, since, said })
}

impl Tx {
    /// Adds a receiver, or replaces what can change of one.
    pub(crate) async fn put_alarm(&mut self, row: &AlarmRow) -> Result<(), StoreError> {
        let failed = self.failed();
        let kinds: Vec<&str> = row.kinds.iter().map(|kind| kind.name()).collect();
        query(
            "INSERT INTO alarm (id, account, receiver, kinds, secret, created, off) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (id) DO UPDATE SET kinds = excluded.kinds, off = excluded.off",
        )
        .bind(&row.id)
        .bind(stored(row.account.0))
        .bind(&row.receiver)
        .bind(kinds.join(","))
        .bind(row.secret.clone())
        .bind(stored(row.created.0))
        .bind(&row.off)
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(failed)
    }

    /// Removes a receiver, with what has yet to reach it.
    pub(crate) async fn delete_alarm(&mut self, id: &str) -> Result<(), StoreError> {
        self.delete_text("DELETE FROM alarm WHERE id = $1", id).await
    }

    /// Adds or replaces what receivers were told of.
    pub(crate) async fn put_trouble(&mut self, row: &TroubleRow) -> Result<(), StoreError> {
        let failed = self.failed();
        query(
            "INSERT INTO trouble (account, kind, about, stage, since, said) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (account, kind, about) DO UPDATE SET stage = excluded.stage, since = excluded.since, \
             said = excluded.said",
        )
        .bind(stored(row.account.0))
        .bind(row.kind.name())
        .bind(&row.about)
        .bind(i64::from(row.stage))
        .bind(stored(row.since.0))
        .bind(&row.said)
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(failed)
    }

    /// Removes what is over.
    pub(crate) async fn delete_trouble(&mut self, key: &TroubleKey) -> Result<(), StoreError> {
        let failed = self.failed();
        query("DELETE FROM trouble WHERE account = $1 AND kind = $2 AND about = $3")
            .bind(stored(key.account.0))
            .bind(key.kind.name())
            .bind(&key.about)
            .execute(self.connection())
            .await
            .map(drop)
            .map_err(failed)
    }

    /// How much has yet to reach a receiver.
    pub(crate) async fn waiting_for(&mut self, alarm: &str) -> Result<u64, StoreError> {
        let failed = self.failed();
        let count: i64 = query_scalar("SELECT count(*) FROM delivery WHERE alarm = $1")
            .bind(alarm)
            .fetch_one(self.connection())
            .await
            .map_err(failed)?;
        Ok(number(count))
    }

    /// Has a receiver told, as soon as it can be.
    pub(crate) async fn insert_delivery(&mut self, row: &Delivery) -> Result<(), StoreError> {
        let failed = self.failed();
        query(
            "INSERT INTO delivery (id, alarm, account, body, created, tries, next, holder, until) \
             VALUES ($1, $2, $3, $4, $5, $6, 0, '', 0)",
        )
        .bind(&row.id)
        .bind(&row.alarm)
        .bind(stored(row.account.0))
        .bind(&row.body)
        .bind(stored(row.created.0))
        .bind(stored(row.tries))
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(failed)
    }
}

impl Store {
    /// Takes up to `most` deliveries that are due and nobody is at, for the time `hold`. `run`: which run of which gateway,
    /// `NAME/ID`; what a run of the same gateway before it was at is nobody's. `of_account`: how many of one account at once,
    /// those included that `busy` counts.
    pub(crate) async fn claim_deliveries(
        &mut self,
        run: &str,
        hold: Duration,
        (most, of_account): (usize, usize),
        busy: &HashMap<AccountId, usize>,
    ) -> Result<Vec<Delivery>, StoreError> {
        let now = self.now().await?;
        let failed = self.failed("write to");
        // Mostly there is nothing, and nobody else is held up by finding that out.
        let due: Option<String> = query_scalar("SELECT id FROM delivery WHERE next <= $1 LIMIT 1")
            .bind(stored(now.0))
            .fetch_optional(&mut self.connection)
            .await
            .map_err(&failed)?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let begin = match self.kind {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        };
        raw_sql(begin).execute(&mut self.connection).await.map_err(&failed)?;
        let claimed = self.claim(run, hold, (most, of_account), busy.clone()).await;
        let end = if claimed.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = raw_sql(end).execute(&mut self.connection).await.map_err(failed);
        let claimed = claimed?;
        ended?;
        Ok(claimed)
    }

    async fn claim(
        &mut self,
        run: &str,
        hold: Duration,
        (most, of_account): (usize, usize),
        mut busy: HashMap<AccountId, usize>,
    ) -> Result<Vec<Delivery>, StoreError> {
        let now = self.now().await?;
        let failed = self.failed("write to");
        let due = match self.kind {
            Kind::Sqlite => {
                "SELECT id, alarm, account, body, created, tries, holder, until FROM delivery WHERE next <= $1 \
                 ORDER BY next, id LIMIT 500"
            }
            // Whoever else claims just now has them.
            Kind::Postgres => {
                "SELECT id, alarm, account, body, created, tries, holder, until FROM delivery WHERE next <= $1 \
                 ORDER BY next, id LIMIT 500 FOR UPDATE SKIP LOCKED"
            }
        };
        let rows: Vec<StoredDelivery> =
            query_as(due).bind(stored(now.0)).fetch_all(&mut self.connection).await.map_err(&failed)?;
        let mut claimed = Vec::new();
        for (id, alarm, account, body, created, tries, holder, until) in rows {
            let (account, created) = (AccountId(number(account)), Timestamp(number(created)));
            let at_once = busy.entry(account).or_default();
            if claimed.len() == most || *at_once >= of_account || !is_free(&holder, number(until), run, now) {
                continue;
            }
            query("UPDATE delivery SET holder = $1, until = $2 WHERE id = $3")
                .bind(run)
                .bind(stored(now.after(hold).0))
                .bind(&id)
                .execute(&mut self.connection)
                .await
                .map_err(&failed)?;
            *at_once += 1;
            claimed.push(Delivery { id, alarm, account, body, created, tries: number(tries) });
        }
        Ok(claimed)
    }

    /// Takes note of what became of a try. `again`: in so long it is tried anew; `None`: never.
    pub(crate) async fn conclude_delivery(
        &mut self,
        id: &str,
        alarm: &str,
        told: &Told,
        again: Option<Duration>,
    ) -> Result<(), StoreError> {
        let now = self.now().await?;
        let failed = self.failed("write to");
        match again {
            Some(wait) => {
                query("UPDATE delivery SET tries = tries + 1, next = $1, holder = '', until = 0 WHERE id = $2")
                    .bind(stored(now.after(wait).0))
                    .bind(id)
                    .execute(&mut self.connection)
                    .await
                    .map_err(failed)?;
            }
            None => {
                query("DELETE FROM delivery WHERE id = $1")
                    .bind(id)
                    .execute(&mut self.connection)
                    .await
                    .map_err(failed)?;
            }
        }
        self.note_told(alarm, told).await
    }

    /// Takes note of the last try at a receiver, if it still is there.
    pub(crate) async fn note_told(&mut self, alarm: &str, told: &Told) -> Result<(), StoreError> {
        query(
            "INSERT INTO told (alarm, at, delivered, said) SELECT id, $2, $3, $4 FROM alarm WHERE id = $1 \
             ON CONFLICT (alarm) DO UPDATE SET at = excluded.at, delivered = excluded.delivered, said = excluded.said",
        )
        .bind(alarm)
        .bind(stored(told.at.0))
        .bind(i64::from(told.delivered))
        .bind(&told.said)
        .execute(&mut self.connection)
        .await
        .map(drop)
        .map_err(self.failed("write to"))
    }

    /// What became of the last try at each of an account's receivers, and how much has yet to reach it.
    pub(crate) async fn told(
        &mut self,
        account: AccountId,
    ) -> Result<(HashMap<String, Told>, HashMap<String, u64>), StoreError> {
        let failed = self.failed("read");
        let told: Vec<(String, i64, i64, String)> = query_as(
            "SELECT told.alarm, told.at, told.delivered, told.said FROM told JOIN alarm ON alarm.id = told.alarm \
             WHERE alarm.account = $1",
        )
        .bind(stored(account.0))
        .fetch_all(&mut self.connection)
        .await
        .map_err(&failed)?;
        let waiting: Vec<(String, i64)> =
            query_as("SELECT alarm, count(*) FROM delivery WHERE account = $1 GROUP BY alarm")
                .bind(stored(account.0))
                .fetch_all(&mut self.connection)
                .await
                .map_err(failed)?;
        let told = told.into_iter().map(|(alarm, at, delivered, said)| {
            (alarm, Told { at: Timestamp(number(at)), delivered: delivered != 0, said })
        });
        Ok((told.collect(), waiting.into_iter().map(|(alarm, count)| (alarm, number(count))).collect()))
    }
}

/// Whether nobody is at it.
fn is_free(holder: &str, until: u64, run: &str, now: Timestamp) -> bool {
    let name = |run: &str| run.rsplit_once('/').map(|(name, _)| name.to_owned());
    holder.is_empty() || until <= now.0 || (holder != run && name(holder) == name(run))
}
