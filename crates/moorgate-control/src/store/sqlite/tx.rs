//! Writing: one transaction per operation. Dropped before its commit, it changes nothing.

use moorgate_contract::{
    account::{AccountId, CredentialId, SecretHash, SecretId},
    route::RouteId,
    time::Timestamp,
};
use moorgate_keys::KeyId;
use sqlx::{Connection as _, Sqlite, Transaction, query, query_scalar};

use super::{Store, load::number};
use crate::{
    book::{AccountRow, CertificateRow, RouteRow, TokenRow},
    error::StoreError,
};

/// A transaction. Holds SQLite's write lock from its beginning, so it never has to give up half-way.
pub(crate) struct Tx<'a> {
    inner: Transaction<'a, Sqlite>,
    failed: Box<dyn Fn(sqlx::Error) -> StoreError + Send + Sync>,
}

impl Store {
    pub(crate) async fn begin(&mut self) -> Result<Tx<'_>, StoreError> {
        let failed = self.database("write");
        let inner = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        Ok(Tx { inner, failed: Box::new(failed) })
    }

    /// Raises the version above `floor`, which was seen elsewhere: a store restored from a backup must not count again.
    pub(crate) async fn raise_version(&mut self, floor: u64) -> Result<(), StoreError> {
        let failed = self.database("write");
        query("UPDATE gateway SET version = max(version, ? + 1)")
            .bind(stored(floor))
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(failed)
    }
}

impl Tx<'_> {
    /// Writes down which master key the store is made under. Once, in the first transaction.
    pub(crate) async fn initialise(&mut self, key: KeyId) -> Result<(), StoreError> {
        let statement = query("INSERT INTO gateway (only, key_id, version) VALUES (1, ?, 0)").bind(key.0.to_vec());
        statement.execute(&mut *self.inner).await.map(drop).map_err(&self.failed)
    }

    /// Raises the version and makes all of it durable. Answers with the new version.
    pub(crate) async fn commit(mut self) -> Result<u64, StoreError> {
        let version: i64 = query_scalar("UPDATE gateway SET version = version + 1 RETURNING version")
            .fetch_one(&mut *self.inner)
            .await
            .map_err(&self.failed)?;
        self.inner.commit().await.map_err(self.failed)?;
        Ok(number(version))
    }

    /// Adds an account; its id is given here.
    pub(crate) async fn insert_account(&mut self, row: &AccountRow) -> Result<AccountId, StoreError> {
        let statement = query_scalar(
            "INSERT INTO account (name, created, policy, policy_cuts, egress) VALUES (?, ?, ?, ?, ?) RETURNING id",
        );
        let id: i64 = statement
            .bind(&row.name)
            .bind(stored(row.created.0))
            .bind(&row.policy)
            .bind(stored(row.policy_cuts))
            .bind(&row.egress)
            .fetch_one(&mut *self.inner)
            .await
            .map_err(&self.failed)?;
        Ok(AccountId(number(id)))
    }

    /// Replaces what can change of an account.
    pub(crate) async fn update_account(&mut self, row: &AccountRow) -> Result<(), StoreError> {
        query("UPDATE account SET policy = ?, policy_cuts = ?, egress = ? WHERE id = ?")
            .bind(&row.policy)
            .bind(stored(row.policy_cuts))
            .bind(&row.egress)
            .bind(stored(row.id.0))
            .execute(&mut *self.inner)
            .await
            .map(drop)
            .map_err(&self.failed)
    }

    /// Removes an account with all that is its own.
    pub(crate) async fn delete_account(&mut self, id: AccountId) -> Result<(), StoreError> {
        let statement = query("DELETE FROM account WHERE id = ?").bind(stored(id.0));
        statement.execute(&mut *self.inner).await.map(drop).map_err(&self.failed)
    }

    /// Adds a credential without a password.
    pub(crate) async fn insert_credential(
        &mut self,
        account: AccountId,
        username: &str,
        created: Timestamp,
    ) -> Result<CredentialId, StoreError> {
        let id: i64 = query_scalar("INSERT INTO credential (account, username, created) VALUES (?, ?, ?) RETURNING id")
            .bind(stored(account.0))
            .bind(username)
            .bind(stored(created.0))
            .fetch_one(&mut *self.inner)
            .await
            .map_err(&self.failed)?;
        Ok(CredentialId(number(id)))
    }

    /// Removes a credential with its passwords.
    pub(crate) async fn delete_credential(&mut self, id: CredentialId) -> Result<(), StoreError> {
        let statement = query("DELETE FROM credential WHERE id = ?").bind(stored(id.0));
        statement.execute(&mut *self.inner).await.map(drop).map_err(&self.failed)
    }

    /// Adds a password.
    pub(crate) async fn insert_secret(
        &mut self,
        credential: CredentialId,
        hash: SecretHash,
    ) -> Result<SecretId, StoreError> {
        let id: i64 = query_scalar("INSERT INTO secret (credential, hash) VALUES (?, ?) RETURNING id")
            .bind(stored(credential.0))
            .bind(hash.0.to_vec())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(&self.failed)?;
        Ok(SecretId(number(id)))
    }

    /// Gives a password an end.
    pub(crate) async fn end_secret(&mut self, id: SecretId, until: Timestamp) -> Result<(), StoreError> {
        let statement = query("UPDATE secret SET until = ? WHERE id = ?").bind(stored(until.0)).bind(stored(id.0));
        statement.execute(&mut *self.inner).await.map(drop).map_err(&self.failed)
    }

    /// Removes a password.
    pub(crate) async fn delete_secret(&mut self, id: SecretId) -> Result<(), StoreError> {
        let statement = query("DELETE FROM secret WHERE id = ?").bind(stored(id.0));
        statement.execute(&mut *self.inner).await.map(drop).map_err(&self.failed)
    }

    /// Adds a token.
    pub(crate) async fn insert_token(&mut self, row: &TokenRow) -> Result<(), StoreError> {
        query("INSERT INTO token (id, account, scope, hash, created) VALUES (?, ?, ?, ?, ?)")
            .bind(&row.id)
            .bind(row.account.map(|account| stored(account.0)))
            .bind(row.scope.name())
            .bind(row.hash.0.to_vec())
            .bind(stored(row.created.0))
            .execute(&mut *self.inner)
            .await
            .map(drop)
            .map_err(&self.failed)
    }

    /// Removes a token.
    pub(crate) async fn delete_token(&mut self, id: &str) -> Result<(), StoreError> {
        let statement = query("DELETE FROM token WHERE id = ?").bind(id);
        statement.execute(&mut *self.inner).await.map(drop).map_err(&self.failed)
    }

    /// Adds a route; its id is given here.
    pub(crate) async fn insert_route(&mut self, row: &RouteRow) -> Result<RouteId, StoreError> {
        let statement = query_scalar(
            "INSERT INTO route (account, domain, mode, settings, created) VALUES (?, ?, ?, ?, ?) RETURNING id",
        );
        let id: i64 = statement
            .bind(stored(row.account.0))
            .bind(&row.domain)
            .bind(&row.mode)
            .bind(&row.settings)
            .bind(stored(row.created.0))
            .fetch_one(&mut *self.inner)
            .await
            .map_err(&self.failed)?;
        Ok(RouteId(number(id)))
    }

    /// Replaces what can change of a route.
    pub(crate) async fn update_route(&mut self, row: &RouteRow) -> Result<(), StoreError> {
        let statement = query("UPDATE route SET settings = ? WHERE id = ?").bind(&row.settings).bind(stored(row.id.0));
        statement.execute(&mut *self.inner).await.map(drop).map_err(&self.failed)
    }

    /// Removes a route.
    pub(crate) async fn delete_route(&mut self, id: RouteId) -> Result<(), StoreError> {
        let statement = query("DELETE FROM route WHERE id = ?").bind(stored(id.0));
        statement.execute(&mut *self.inner).await.map(drop).map_err(&self.failed)
    }

    /// Adds the certificate of a domain, or replaces it.
    pub(crate) async fn put_certificate(&mut self, row: &CertificateRow) -> Result<(), StoreError> {
        self.delete_certificate(&row.domain).await?;
        query("INSERT INTO certificate (account, domain, chain, key, created) VALUES (?, ?, ?, ?, ?)")
            .bind(stored(row.account.0))
            .bind(&row.domain)
            .bind(&row.chain)
            .bind(&row.key)
            .bind(stored(row.created.0))
            .execute(&mut *self.inner)
            .await
            .map(drop)
            .map_err(&self.failed)
    }

    /// Removes the certificate of a domain.
    pub(crate) async fn delete_certificate(&mut self, domain: &str) -> Result<(), StoreError> {
        let statement = query("DELETE FROM certificate WHERE domain = ?").bind(domain);
        statement.execute(&mut *self.inner).await.map(drop).map_err(&self.failed)
    }
}

/// SQLite's integers are signed. Times end in the year 294,247, ids never get there.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
