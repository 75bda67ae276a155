//! The audit log in the store: appended to with every change, and read by gateways that have yet to hear of it.

use moorgate_contract::{account::Pepper, time::Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Error, query, query_as};

use super::{Store, Tx, number, stored};
use crate::error::{StoreError, What};

/// Which row has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) what: What,
    /// By what it is found: an account's id, `ID/USERNAME` of a credential, a token's id, a domain, a tier's name.
    pub(crate) key: String,
}

/// One change on its way into the log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) change: Change,
    /// What was done, in a word: `add`, `set`, `rotate`, `remove`.
    pub(crate) action: &'static str,
    /// What it is called.
    pub(crate) name: String,
    /// The name of whose it is.
    pub(crate) account: Option<String>,
    /// JSON, without secrets; `None`: there was nothing.
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

/// Who has the entries of one transaction written.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) at: Timestamp,
    pub(crate) gateway: String,
    pub(crate) token: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) client: Option<String>,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) seq: u64,
    pub(crate) version: u64,
    pub(crate) at: Timestamp,
    pub(crate) gateway: String,
    pub(crate) token: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) action: String,
    pub(crate) kind: String,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) account: Option<String>,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) hash: Vec<u8>,
}

impl Written {
    fn new(entry: Entry, author: &Author, seq: u64, version: u64) -> Self {
        let Entry { change: Change { what, key }, action, name, account, before, after } = entry;
        let Author { at, gateway, token, owner, client } = author.clone();
        let (action, kind) = (action.to_owned(), what.name().to_owned());
        Self {
            seq,
            version,
            at,
            gateway,
            token,
            owner,
            client,
            action,
            kind,
            key,
            name,
            account,
            before,
            after,
            hash: Vec::new(),
        }
    }

    /// The hash that an untouched entry has, given the one before it: HMAC-SHA-256 of that hash and all its columns, under
    /// a key that the store does not hold. Whoever can write to the store can't make one.
    pub(crate) fn right_hash(&self, chain: &Pepper, before: &[u8]) -> Vec<u8> {
        self.hash_for(ENTRY, chain, before)
    }

    /// The same, of an entry that a version wrote which did not mark the log's end.
    pub(crate) fn unmarked_hash(&self, chain: &Pepper, before: &[u8]) -> Vec<u8> {
        self.hash_for(UNMARKED_ENTRY, chain, before)
    }

    fn hash_for(&self, purpose: &str, chain: &Pepper, before: &[u8]) -> Vec<u8> {
        let Self { seq, version, at, gateway, token, owner, client, .. } = self;
        let Self { action, kind, key, name, account, before: old, after, .. } = self;
        let who = (gateway, token, owner, client);
        let what = (action, kind, key, name, account, old, after);
        // Numbers and texts: nothing in them can fail to be JSON.
        let text = serde_json::to_vec(&(before, seq, version, at, who, what)).unwrap_or_default();
        chain.hash(purpose, &text).0.to_vec()
    }
}

/// What an entry's hash is made for; it says whether the log's end was marked when it was written.
const ENTRY: &str = "audit entry";
const UNMARKED_ENTRY: &str = "audit log";
const END: &str = "audit end";

/// The end of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) hash: Vec<u8>,
    /// Proves that a gateway left the log so; empty: there was none yet, or a version before this one did.
    #[serde(default)]
    pub(crate) mark: Vec<u8>,
}

impl Head {
    /// The mark of a log that ends here: a MAC under a key that the store does not hold.
    fn right_mark(&self, chain: &Pepper) -> Vec<u8> {
        // A number and bytes: nothing in them can fail to be JSON.
        let text = serde_json::to_vec(&(self.seq, &self.hash)).unwrap_or_default();
        chain.hash(END, &text).0.to_vec()
    }

    /// Whether it is where a gateway left it.
    pub(crate) fn is_marked(&self, chain: &Pepper) -> bool {
        self.mark == self.right_mark(chain)
    }
}

impl Tx {
    /// Appends entries, as of `version`.
    pub(super) async fn append(
        &mut self,
        entries: Vec<Entry>,
        author: &Author,
        chain: &Pepper,
        version: u64,
    ) -> Result<(), StoreError> {
        let is_whole = self.is_whole(chain).await?;
        for entry in entries {
            let mut row = Written::new(entry, author, self.head.seq + 1, version);
            row.hash = row.right_hash(chain, &self.head.hash);
            insert(self.connection(), &row).await.map_err(self.failed())?;
            (self.head.seq, self.head.hash) = (row.seq, row.hash);
        }
        // What was moved once stays so: nothing that is written later makes it look whole.
        if is_whole {
            self.head.mark = self.head.right_mark(chain);
        }
        Ok(())
    }

    /// Whether the log ends where a gateway left it.
    async fn is_whole(&mut self, chain: &Pepper) -> Result<bool, StoreError> {
        if self.head.is_marked(chain) || self.is_first {
            return Ok(true);
        }
        if !self.head.mark.is_empty() {
            return Ok(false);
        }
        let last = self.head.seq;
        let two = query(entry_sql!("WHERE seq IN ($1, $2) ORDER BY seq DESC")).bind(stored(last));
        let two = two.bind(stored(last.saturating_sub(1))).fetch_all(self.connection()).await.map_err(self.failed())?;
        let two: Vec<Written> = two.iter().map(read).collect::<Result<_, _>>().map_err(self.failed())?;
        let before = two.get(1).map(|entry| entry.hash.clone()).unwrap_or_default();
        Ok(two.first().is_some_and(|entry| entry.seq == last && entry.hash == entry.unmarked_hash(chain, &before)))
    }
}

pub(super) async fn insert(connection: &mut AnyConnection, row: &Written) -> Result<(), Error> {
    query(
        "INSERT INTO audit (seq, version, at, gateway, token, owner, client, action, kind, key, name, account, before, \
         after, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(stored(row.seq))
    .bind(stored(row.version))
    .bind(stored(row.at.0))
    .bind(&row.gateway)
    .bind(&row.token)
    .bind(&row.owner)
    .bind(&row.client)
    .bind(&row.action)
    .bind(&row.kind)
    .bind(&row.key)
    .bind(&row.name)
    .bind(&row.account)
    .bind(&row.before)
    .bind(&row.after)
    .bind(&row.hash)
    .execute(connection)
    .await
    .map(drop)
}

/// The whole log.
pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<Written>, Error> {
    let rows = query(entry_sql!("ORDER BY seq")).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// Which rows have changed since `version`, in order; `None` when they are more than `most`, or can't all be told.
pub(super) async fn changes(
    connection: &mut AnyConnection,
    version: u64,
    most: usize,
) -> Result<Option<Vec<Change>>, Error> {
    let rows: Vec<(String, String)> = query_as("SELECT kind, key FROM audit WHERE version > $1 ORDER BY seq LIMIT $2")
        .bind(stored(version))
        .bind(i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1))
        .fetch_all(connection)
        .await?;
    if rows.len() > most {
        return Ok(None);
    }
    Ok(rows.into_iter().map(|(kind, key)| Some(Change { what: What::from_name(&kind)?, key })).collect())
}

impl Store {
    /// At most `limit` entries before `before`, the newest first; only those of one account, by name.
    pub(crate) async fn audit_before(
        &mut self,
        before: u64,
        limit: u32,
        account: Option<&str>,
    ) -> Result<Vec<Written>, StoreError> {
        let failed = self.failed("read");
        let statement = match account {
            None => query(entry_sql!("WHERE seq < $1 ORDER BY seq DESC LIMIT $2")),
            Some(_) => query(entry_sql!("WHERE seq < $1 AND account = $3 ORDER BY seq DESC LIMIT $2")),
        };
        let statement = statement.bind(stored(before)).bind(i64::from(limit));
        let statement = if let Some(account) = account { statement.bind(account) } else { statement };
        let rows = statement.fetch_all(&mut self.connection).await.map_err(&failed)?;
        rows.iter().map(|row| read(row).map_err(&failed)).collect()
    }

    /// At most `limit` entries after `after`, in order.
    pub(crate) async fn audit_after(&mut self, after: u64, limit: u32) -> Result<Vec<Written>, StoreError> {
        let failed = self.failed("read");
        let statement = query(entry_sql!("WHERE seq > $1 ORDER BY seq LIMIT $2"));
        let statement = statement.bind(stored(after)).bind(i64::from(limit));
        let rows = statement.fetch_all(&mut self.connection).await.map_err(&failed)?;
        rows.iter().map(|row| read(row).map_err(&failed)).collect()
    }

    /// What the store says the end of the log is.
    pub(crate) async fn audit_head(&mut self) -> Result<Head, StoreError> {
        let row: (i64, Vec<u8>, Vec<u8>) = query_as("SELECT audit_seq, audit_hash, audit_mark FROM store")
            .fetch_one(&mut self.connection)
            .await
            .map_err(self.failed("read"))?;
        Ok(Head { seq: number(row.0), hash: row.1, mark: row.2 })
    }
}

macro_rules! entry_sql {
    ($rest:literal) => {
        concat!(
            "SELECT seq, version, at, gateway, token, owner, client, action, kind, key, name, account, before, after, \
             hash FROM audit ",
            $rest
        )
    };
}
use entry_sql;

fn read(row: &sqlx::any::AnyRow) -> Result<Written, Error> {
    use sqlx::Row as _;
    let at = |index: usize| row.try_get::<i64, _>(index).map(number);
    Ok(Written {
        seq: at(0)?,
        version: at(1)?,
        at: Timestamp(at(2)?),
        gateway: row.try_get(3)?,
        token: row.try_get(4)?,
        owner: row.try_get(5)?,
        client: row.try_get(6)?,
        action: row.try_get(7)?,
        kind: row.try_get(8)?,
        key: row.try_get(9)?,
        name: row.try_get(10)?,
        account: row.try_get(11)?,
        before: row.try_get(12)?,
        after: row.try_get(13)?,
        hash: row.try_get(14)?,
    })
}
