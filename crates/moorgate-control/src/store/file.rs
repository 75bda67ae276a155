//! SQLite's files: made by us, with the access that what is in them wants.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use sqlx::{
    ConnectOptions as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use super::Opening;
use crate::{error::StoreError, limits::BUSY_TIME};

/// Device and inode.
pub(crate) type Identity = (u64, u64);

/// How a file beside the store is opened: a log that survives kill -9, and waiting rather than failing when it is locked.
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
pub(crate) fn prepare(path: &Path, opening: Opening) -> Result<Identity, StoreError> {
    if opening == Opening::MayCreate {
        let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        if let Err(source) = created
            && source.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(StoreError::Io { action: "create", path: path.to_owned(), source });
        }
    }
    let file = fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::Gone { location: path.into() },
        _ => StoreError::Io { action: "open", path: path.to_owned(), source },
    })?;
    // SQLite would begin a database in it, while somebody may be about to put a backup there.
    if opening == Opening::MustExist && file.len() == 0 {
        return Err(StoreError::Gone { location: path.into() });
    }
    Ok((file.dev(), file.ino()))
}

pub(super) fn identify(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}
