//! SQLite: one file, one connection, every write a transaction that is on the disk when it is acknowledged.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use moorgate_keys::KeyId;
use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{
    error::{ControlError, StoreError},
    limits::BUSY_TIME,
};

mod load;
pub(crate) mod schema;
mod tx;

pub(crate) use tx::Tx;

/// The name of the file in the data directory.
const FILE: &str = "moorgate.sqlite";

/// Where the store lives.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// What an opening may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Make what is missing: nothing shows that there was a store before.
    MayCreate,
    /// There was a store: an empty or missing file is one that was lost.
    MustExist,
}

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    connection: SqliteConnection,
    /// Device and inode of the file that is open.
    identity: (u64, u64),
    is_new: bool,
}

impl Store {
    /// Opens the store, checks whose it is, and brings its schema up to date.
    ///
    /// # Errors
    /// [`ControlError::WrongMasterKey`] and [`ControlError::NewerSchema`], both before anything was changed;
    /// [`ControlError::StoreDown`] for all else.
    pub(crate) async fn open(path: &Path, key: KeyId, opening: Opening) -> Result<Self, ControlError> {
        let down = ControlError::StoreDown;
        let identity = prepare(path, opening).map_err(down)?;
        let database = |action| {
            move |source| {
                let path = path.to_owned();
                ControlError::StoreDown(StoreError::Database { action, path, source })
            }
        };
        let options = options(path).synchronous(SqliteSynchronous::Full);
        let mut connection = options.connect().await.map_err(database("open"))?;
        schema::refuse_newer(&mut connection, path).await?;
        let wants = schema::key_id(&mut connection).await.map_err(database("read"))?;
        if let Some(wants) = wants
            && wants != key
        {
            let path = path.to_owned();
            return Err(ControlError::WrongMasterKey { path, wants, have: key });
        }
        if wants.is_none() && opening == Opening::MustExist {
            return Err(down(StoreError::Gone { path: path.to_owned() }));
        }
        schema::check(&mut connection, path).await.map_err(down)?;
        schema::migrate(&mut connection, path).await.map_err(down)?;
        Ok(Self { path: path.to_owned(), connection, identity, is_new: wants.is_none() })
    }

    /// Whether nothing was ever stored: the first transaction must [`initialise`](Tx::initialise).
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether the file that is open is the file that is there. SQLite goes on happily in one that was deleted.
    ///
    /// # Errors
    /// [`StoreError::Replaced`].
    pub(crate) fn check_file(&self) -> Result<(), StoreError> {
        match identify(&self.path) {
            Ok(identity) if identity == self.identity => Ok(()),
            _ => Err(StoreError::Replaced { path: self.path.clone() }),
        }
    }

    /// Writes the log into the file and lets go of it.
    pub(crate) async fn close(self) -> Result<(), StoreError> {
        let path = self.path;
        self.connection.close().await.map_err(|source| StoreError::Database { action: "close", path, source })
    }

    fn database(&self, action: &'static str) -> impl Fn(sqlx::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |source| StoreError::Database { action, path: path.clone(), source }
    }
}

/// How every file of ours is opened: a log that survives kill -9, and waiting rather than failing when it is locked.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIME)
        .disable_statement_logging()
}

/// Makes the file, if that is allowed, with mode 0600 (SQLite gives its log the same), and says which file it is.
pub(crate) fn prepare(path: &Path, opening: Opening) -> Result<(u64, u64), StoreError> {
    if opening == Opening::MayCreate {
        let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        if let Err(source) = created
            && source.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(StoreError::Io { action: "create", path: path.to_owned(), source });
        }
    }
    identify(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::Gone { path: path.to_owned() },
        _ => StoreError::Io { action: "open", path: path.to_owned(), source },
    })
}

fn identify(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}
