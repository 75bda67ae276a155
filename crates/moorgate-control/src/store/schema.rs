//! The schema: forward only, and never touched when it is not ours to touch.

use moorgate_keys::KeyId;
use sqlx::{
    AnyConnection, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
    query_scalar,
};

use super::{Kind, Store};
use crate::error::{ControlError, StoreError};

/// A step of a schema: its number, its name and its statements.
pub(crate) type Step = (i64, &'static str, &'static str);

pub(crate) const SQLITE: &[Step] = &[
    (1, "control", include_str!("../../migrations/sqlite/0001_control.sql")),
    (2, "routes", include_str!("../../migrations/sqlite/0002_routes.sql")),
    (3, "tenants", include_str!("../../migrations/sqlite/0003_tenants.sql")),
    (4, "places", include_str!("../../migrations/sqlite/0004_places.sql")),
    (5, "done", include_str!("../../migrations/sqlite/0005_done.sql")),
    (6, "local CA", include_str!("../../migrations/sqlite/0006_local_ca.sql")),
    (7, "flows", include_str!("../../migrations/sqlite/0007_flows.sql")),
    (8, "demand", include_str!("../../migrations/sqlite/0008_demand.sql")),
    (9, "did", include_str!("../../migrations/sqlite/0009_did.sql")),
    (10, "targets", include_str!("../../migrations/sqlite/0010_targets.sql")),
    (11, "issuance", include_str!("../../migrations/sqlite/0011_issuance.sql")),
    (12, "rsa", include_str!("../../migrations/sqlite/0012_rsa.sql")),
    (13, "people", include_str!("../../migrations/sqlite/0013_people.sql")),
    (14, "alarms", include_str!("../../migrations/sqlite/0014_alarms.sql")),
    (15, "proofs", include_str!("../../migrations/sqlite/0015_proofs.sql")),
    (16, "names", include_str!("../../migrations/sqlite/0016_names.sql")),
    (17, "usage total", include_str!("../../migrations/sqlite/0017_usage_total.sql")),
    (18, "audit mark", include_str!("../../migrations/sqlite/0018_audit_mark.sql")),
];

/// Begins where SQLite's had come to; from there on the two have the same numbers.
const POSTGRES: &[Step] = &[
    (3, "tenants", include_str!("../../migrations/postgres/0003_tenants.sql")),
    (4, "places", include_str!("../../migrations/postgres/0004_places.sql")),
    (5, "done", include_str!("../../migrations/postgres/0005_done.sql")),
    (6, "local CA", include_str!("../../migrations/postgres/0006_local_ca.sql")),
    (7, "flows", include_str!("../../migrations/postgres/0007_flows.sql")),
    (8, "demand", include_str!("../../migrations/postgres/0008_demand.sql")),
    (9, "did", include_str!("../../migrations/postgres/0009_did.sql")),
    (10, "targets", include_str!("../../migrations/postgres/0010_targets.sql")),
    (11, "issuance", include_str!("../../migrations/postgres/0011_issuance.sql")),
    (12, "rsa", include_str!("../../migrations/postgres/0012_rsa.sql")),
    (13, "people", include_str!("../../migrations/postgres/0013_people.sql")),
    (14, "alarms", include_str!("../../migrations/postgres/0014_alarms.sql")),
    (15, "proofs", include_str!("../../migrations/postgres/0015_proofs.sql")),
    (16, "names", include_str!("../../migrations/postgres/0016_names.sql")),
    (17, "usage total", include_str!("../../migrations/postgres/0017_usage_total.sql")),
    (18, "audit mark", include_str!("../../migrations/postgres/0018_audit_mark.sql")),
];

/// The newest schema that this version knows.
const KNOWN: i64 = 18;

pub(crate) const FLOWS: &[Step] = &[
    (1, "flows", include_str!("../../migrations/flows/0001_flows.sql")),
    (2, "batches", include_str!("../../migrations/flows/0002_batches.sql")),
    (3, "packed", include_str!("../../migrations/flows/0003_packed.sql")),
];

pub(crate) fn migrator(steps: &[Step]) -> Migrator {
    let migration = |(version, name, sql): &Step| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(steps.iter().map(migration).collect())
}

impl Store {
    /// Refuses a store that a newer version has migrated, before anything is changed.
    pub(super) async fn refuse_newer(&mut self) -> Result<(), ControlError> {
        let failed = self.failed("read");
        if !has_table(&mut self.connection, self.kind, "_sqlx_migrations").await.map_err(&failed)? {
            return Ok(());
        }
        let found: Option<i64> = query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&mut self.connection)
            .await
            .map_err(failed)?;
        match found {
            Some(found) if found > KNOWN => {
                Err(ControlError::NewerSchema { location: self.location.clone(), found, known: KNOWN })
            }
            _ => Ok(()),
        }
    }

    /// Which master key the store was made under; `None` when nothing was ever stored.
    pub(super) async fn key_id(&mut self) -> Result<Option<KeyId>, sqlx::Error> {
        let connection = &mut self.connection;
        let statement = if has_table(connection, self.kind, "store").await? {
            "SELECT key_id FROM store"
        } else if self.kind == Kind::Sqlite && has_table(connection, self.kind, "gateway").await? {
            // Its name in the first two schemas, which PostgreSQL never had: there another gateway may
            // have made both tables since the question before, and this one is of another kind.
            "SELECT key_id FROM gateway"
        } else {
            return Ok(None);
        };
        let id: Option<Vec<u8>> = query_scalar(statement).fetch_optional(connection).await?;
        // An id of another length is no key we could have.
        Ok(id.map(|id| KeyId(id.try_into().unwrap_or_default())))
    }

    /// SQLite's own check of the whole file; it is small. PostgreSQL looks after itself.
    pub(super) async fn check(&mut self) -> Result<(), StoreError> {
        if self.kind != Kind::Sqlite {
            return Ok(());
        }
        let answer: String = query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut self.connection)
            .await
            .map_err(self.failed("check"))?;
        if answer == "ok" { Ok(()) } else { Err(StoreError::Damaged { location: self.location.clone() }) }
    }

    /// Brings the schema up to date; each step is one transaction, and one gateway at a time takes it.
    pub(super) async fn migrate(&mut self) -> Result<(), StoreError> {
        let steps = match self.kind {
            Kind::Sqlite => SQLITE,
            Kind::Postgres => POSTGRES,
        };
        let location = self.location.clone();
        // Not `run`: the compiler can't see that its future may move between threads.
        migrator(steps)
            .run_direct(None, &mut self.connection, false)
            .await
            .map_err(|source| StoreError::Migration { location, source })
    }
}

async fn has_table(connection: &mut AnyConnection, kind: Kind, name: &str) -> Result<bool, sqlx::Error> {
    let statement = match kind {
        Kind::Sqlite => "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1",
        Kind::Postgres => {
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = $1"
        }
    };
    let count: i64 = query_scalar(statement).bind(name).fetch_one(connection).await?;
    Ok(count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_known_schema_is_the_last_step_of_both() {
        for steps in [SQLITE, POSTGRES] {
            assert_eq!(steps.last().map(|(version, ..)| *version), Some(KNOWN));
        }
    }
}
