//! The store: SQLite's file or a PostgreSQL database, behind one set of statements. What is above this module knows rows
//! and transactions, never SQL.
//!
//! One connection, and every write a transaction that is durable when it is acknowledged.

mod alarms;
mod audit;
mod ca;
mod demand;
mod done;
pub(crate) mod file;
mod flows;
mod gateways;
mod load;
mod people;
pub(crate) mod schema;
mod tx;
mod url;
mod usage;
mod whole;

use moorgate_keys::MasterKeys;
use sqlx::{
    AnyConnection, ConnectOptions as _, Connection as _,
    any::{AnyConnectOptions, install_default_drivers},
    raw_sql,
};

use crate::{
    error::{ControlError, StoreError},
    location::Location,
};

pub(crate) use alarms::{Delivery, Told};
pub(crate) use audit::{Author, Change, Entry, Head, Written};
pub(crate) use ca::StoredCa;
pub(crate) use gateways::GatewayRow;
pub(crate) use tx::Tx;
pub(crate) use url::StoreUrl;
pub(crate) use usage::{Counted, Use, totals};
pub(crate) use whole::Whole;

/// What gateways on one PostgreSQL are told of changes by.
pub(crate) const CHANNEL: &str = "moorgate";

/// What an opening may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Make what is missing: nothing shows that there was a store before.
    MayCreate,
    /// There was a store: an empty or missing one was lost.
    MustExist,
}

/// The kinds of store, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    location: Location,
    kind: Kind,
    connection: AnyConnection,
    /// Of the file that is open.
    identity: Option<file::Identity>,
    is_new: bool,
}

impl Store {
    /// Opens the store, checks whose it is, and brings its schema up to date.
    ///
    /// # Errors
    /// [`ControlError::WrongMasterKey`] and [`ControlError::NewerSchema`], both before anything was changed;
    /// [`ControlError::StoreDown`] for all else.
    pub(crate) async fn open(url: &StoreUrl, keys: &MasterKeys, opening: Opening) -> Result<Self, ControlError> {
        let mut store = Self::connect(url, opening).await?;
        store.refuse_newer().await?;
        let wants = store.key_id().await.map_err(store.failed("read"))?;
        if let Some(wants) = wants
            && keys.iter().all(|key| key.key_id() != wants)
        {
            let have = keys.current.key_id();
            return Err(ControlError::WrongMasterKey { location: store.location, wants, have });
        }
        if wants.is_none() && opening == Opening::MustExist {
            return Err(StoreError::Gone { location: store.location }.into());
        }
        store.check().await?;
        store.migrate().await?;
        store.is_new = wants.is_none();
        Ok(store)
    }

    /// One more connection to a store that has been opened.
    pub(crate) async fn beside(url: &StoreUrl) -> Result<Self, StoreError> {
        Self::connect(url, Opening::MustExist).await
    }

    async fn connect(url: &StoreUrl, opening: Opening) -> Result<Self, StoreError> {
        // Every time: the first wins, and there is no saying which opening is the first.
        install_default_drivers();
        let location = url.location();
        let identity = match url {
            StoreUrl::Sqlite(path) => Some(file::prepare(path, opening)?),
            StoreUrl::Postgres(_) => None,
        };
        let connection = connect(url).await.map_err(|error| StoreError::connecting(&location, error))?;
        let mut store = Self { location, kind: url.kind(), connection, identity, is_new: false };
        store.prepare().await.map_err(store.failed("open"))?;
        Ok(store)
    }

    /// Whether the file that is open is the file that is there. SQLite goes on happily in one that was deleted.
    ///
    /// # Errors
    /// [`StoreError::Replaced`].
    pub(crate) fn check_file(&self) -> Result<(), StoreError> {
        match (&self.location, self.identity) {
            (Location::File(path), Some(identity)) if file::identify(path).ok() != Some(identity) => {
                Err(StoreError::Replaced { location: self.location.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Lets go of it; SQLite writes its log into the file.
    pub(crate) async fn close(self) -> Result<(), StoreError> {
        self.connection.close().await.map_err(failed(&self.location, "close"))
    }

    /// What every connection is told first.
    async fn prepare(&mut self) -> Result<(), sqlx::Error> {
        let said = match self.kind {
            // A log that survives kill -9, on the disk with every commit; foreign keys and a wait for whoever holds the
            // file are the driver's own.
            Kind::Sqlite => "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
            // A gateway that stands still must not hold up the others, nor one statement a gateway.
            Kind::Postgres => {
                "SET statement_timeout = '8s'; SET lock_timeout = '5s'; \
                 SET idle_in_transaction_session_timeout = '10s'; SET synchronous_commit = on"
            }
        };
        raw_sql(said).execute(&mut self.connection).await.map(drop)
    }

    fn failed(&self, action: &'static str) -> impl Fn(sqlx::Error) -> StoreError + Send + Sync + use<> {
        failed(&self.location, action)
    }
}

async fn connect(url: &StoreUrl) -> Result<AnyConnection, sqlx::Error> {
    let options: AnyConnectOptions = url.connect().parse()?;
    options.disable_statement_logging().connect().await
}

fn failed(location: &Location, action: &'static str) -> impl Fn(sqlx::Error) -> StoreError + Send + Sync + use<> {
    let location = location.clone();
    move |source| StoreError::Database { action, location: location.clone(), source: source.into() }
}

/// The store's integers are signed; none of ours is negative.
fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}

/// Times end in the year 294,247, ids never get there.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
