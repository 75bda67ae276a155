//! The schema: forward only, and never touched when it is not ours to touch.

use std::path::Path;

use moorgate_keys::KeyId;
use sqlx::{
    SqlSafeStr as _, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    query_scalar,
};

use crate::error::{ControlError, StoreError};

const CONTROL: &[(i64, &str, &str)] = &[
    (1, "control", include_str!("../../../migrations/control/0001_control.sql")),
    (2, "routes", include_str!("../../../migrations/control/0002_routes.sql")),
];

/// The newest schema that this version knows.
const KNOWN: i64 = 2;

pub(crate) const FLOWS: &[(i64, &str, &str)] = &[
    (1, "flows", include_str!("../../../migrations/flows/0001_flows.sql")),
    (2, "batches", include_str!("../../../migrations/flows/0002_batches.sql")),
];

pub(crate) fn migrator(list: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(list.iter().map(migration).collect())
}

/// Refuses a store that a newer version has migrated, before anything is changed.
pub(super) async fn refuse_newer(connection: &mut SqliteConnection, path: &Path) -> Result<(), ControlError> {
    let database =
        |source| ControlError::StoreDown(StoreError::Database { action: "read", path: path.to_owned(), source });
    if !has_table(connection, "_sqlx_migrations").await.map_err(database)? {
        return Ok(());
    }
    let found: Option<i64> =
        query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(connection).await.map_err(database)?;
    match found {
        Some(found) if found > KNOWN => Err(ControlError::NewerSchema { path: path.to_owned(), found, known: KNOWN }),
        _ => Ok(()),
    }
}

/// Which master key the store was made under; `None` when nothing was ever stored.
pub(super) async fn key_id(connection: &mut SqliteConnection) -> Result<Option<KeyId>, sqlx::Error> {
    if !has_table(connection, "gateway").await? {
        return Ok(None);
    }
    let id: Option<Vec<u8>> = query_scalar("SELECT key_id FROM gateway").fetch_optional(connection).await?;
    // An id of another length is no key we could have.
    Ok(id.map(|id| KeyId(id.try_into().unwrap_or_default())))
}

async fn has_table(connection: &mut SqliteConnection, name: &str) -> Result<bool, sqlx::Error> {
    query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?)")
        .bind(name)
        .fetch_one(connection)
        .await
}

/// SQLite's own check of the whole file; it is small.
pub(super) async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let answer: Result<String, _> = query_scalar("PRAGMA quick_check(1)").fetch_one(connection).await;
    match answer {
        Ok(answer) if answer == "ok" => Ok(()),
        Ok(_) => Err(StoreError::Damaged { path: path.to_owned() }),
        Err(source) => Err(StoreError::Database { action: "check", path: path.to_owned(), source }),
    }
}

/// Brings the schema up to date; each step is one transaction.
pub(super) async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    // Not `run`: the compiler can't see that its future may move between threads.
    migrator(CONTROL)
        .run_direct(None, connection, false)
        .await
        .map_err(|source| StoreError::Migration { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_known_schema_is_the_last_migration() {
        assert_eq!(CONTROL.last().map(|(version, ..)| *version), Some(KNOWN));
    }
}
