//! Writing: one transaction per operation. What is not committed changes nothing.

use moorgate_contract::{
    account::{AccountId, CredentialId, Pepper, SecretHash, SecretId},
    route::RouteId,
    time::Timestamp,
};
use moorgate_keys::KeyId;
use sqlx::{AnyConnection, query, query_as, query_scalar, raw_sql};

use super::{
    Change, Entry, Kind, Store,
    audit::{self, Author, Head},
    load, number, stored,
};
use crate::{
    book::{AccountRow, CertificateRow, CredentialRow, Edit, IssuanceRow, RouteRow, Rows, TierRow, TokenRow},
    error::StoreError,
};

/// A transaction: alone in writing from its beginning on, whichever gateways share the store, so that it never has to give
/// up half-way. It has the connection, and gives it back when it ends.
pub(crate) struct Tx {
    store: Store,
    /// Of what was stored when it began.
    version: u64,
    pub(super) head: Head,
    /// Whether nothing at all was stored when it began.
    pub(super) is_first: bool,
}

/// PostgreSQL's lock (any number that nothing else uses) for the time in which there is no row to lock yet.
const FIRST: &str = "BEGIN; SELECT pg_advisory_xact_lock(6071921)";

impl Store {
    /// Begins a transaction. Fails without giving the connection back: what became of it nobody knows.
    pub(crate) async fn begin(mut self) -> Result<Tx, StoreError> {
        let failed = self.failed("write to");
        let (begin, read) = match self.kind {
            Kind::Sqlite => ("BEGIN IMMEDIATE", "SELECT version, audit_seq, audit_hash, audit_mark FROM store"),
            Kind::Postgres => ("BEGIN", "SELECT version, audit_seq, audit_hash, audit_mark FROM store FOR UPDATE"),
        };
        let begin = if self.is_new && self.kind == Kind::Postgres { FIRST } else { begin };
        raw_sql(begin).execute(&mut self.connection).await.map_err(&failed)?;
        let row: Option<(i64, i64, Vec<u8>, Vec<u8>)> =
            query_as(read).fetch_optional(&mut self.connection).await.map_err(failed)?;
        // Another gateway's first start may have come before ours.
        self.is_new = row.is_none();
        let is_first = row.is_none();
        let (version, seq, hash, mark) = row.unwrap_or_default();
        Ok(Tx { store: self, version: number(version), head: Head { seq: number(seq), hash, mark }, is_first })
    }

    /// Ends a transaction that somebody left in the middle.
    pub(crate) async fn rollback(&mut self) -> Result<(), StoreError> {
        raw_sql("ROLLBACK").execute(&mut self.connection).await.map(drop).map_err(self.failed("write to"))
    }
}

impl Tx {
    pub(super) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.store.connection
    }

    pub(super) fn kind(&self) -> Kind {
        self.store.kind
    }

    pub(super) fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + Send + Sync + use<> {
        self.store.failed("write to")
    }

    /// The version of what was stored when it began.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The end of the audit log.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Whether nothing was ever stored.
    pub(crate) fn is_new(&self) -> bool {
        self.store.is_new
    }

    /// All rows.
    pub(crate) async fn load(&mut self) -> Result<Rows, StoreError> {
        let failed = self.store.failed("read");
        load::all(self.connection()).await.map_err(failed)
    }

    /// What has changed since `version`, as edits; `None` when it is less work to read everything.
    pub(crate) async fn edits_since(&mut self, version: u64, most: usize) -> Result<Option<Vec<Edit>>, StoreError> {
        let failed = self.store.failed("read");
        let Some(changes) = audit::changes(self.connection(), version, most).await.map_err(&failed)? else {
            return Ok(None);
        };
        let mut edits: Vec<Edit> = Vec::with_capacity(changes.len());
        let mut seen: Vec<&Change> = Vec::new();
        for change in &changes {
            // Read as it is now: once is enough.
            if !seen.contains(&change) {
                edits.extend(load::edit(self.connection(), change).await.map_err(&failed)?);
                seen.push(change);
            }
        }
        Ok(Some(edits))
    }

    /// Raises the version above `floor`, which was seen elsewhere: a store restored from a backup must not count again.
    pub(crate) fn raise_version(&mut self, floor: u64) {
        self.version = self.version.max(floor);
    }

    /// Writes down which master key the store is made under, and its own key, sealed. Once, in the first transaction.
    pub(crate) async fn initialise(&mut self, key_id: KeyId, key: &[u8]) -> Result<(), StoreError> {
        let failed = self.failed();
        self.store.is_new = false;
        query("INSERT INTO store (\"only\", key_id, version, key) VALUES (1, $1, 0, $2)")
            .bind(key_id.0.to_vec())
            .bind(key.to_vec())
            .execute(self.connection())
            .await
            .map(drop)
            .map_err(failed)
    }

    /// Replaces the sealed key of the store, and says which master key it is sealed under.
    pub(crate) async fn set_key(&mut self, key_id: KeyId, key: &[u8]) -> Result<(), StoreError> {
        let failed = self.failed();
        let statement = query("UPDATE store SET key_id = $1, key = $2").bind(key_id.0.to_vec()).bind(key.to_vec());
        statement.execute(self.connection()).await.map(drop).map_err(failed)
    }

    /// Raises the version, appends to the audit log and makes all of it durable. Answers with the new version and the
    /// end of the log.
    pub(crate) async fn commit(
        mut self,
        entries: Vec<Entry>,
        author: &Author,
        chain: &Pepper,
    ) -> Result<(Store, u64, Head), StoreError> {
        let (failed, version) = (self.failed(), self.version + 1);
        self.append(entries, author, chain, version).await?;
        let head = self.head.clone();
        query("UPDATE store SET version = $1, audit_seq = $2, audit_hash = $3, audit_mark = $4")
            .bind(stored(version))
            .bind(stored(head.seq))
            .bind(head.hash.clone())
            .bind(head.mark.clone())
            .execute(self.connection())
            .await
            .map_err(&failed)?;
        let commit = match self.store.kind {
            Kind::Sqlite => "COMMIT",
            // A hint: who hears it looks at once, and who doesn't within a second.
            Kind::Postgres => "NOTIFY moorgate; COMMIT",
        };
        raw_sql(commit).execute(self.connection()).await.map_err(failed)?;
        Ok((self.store, version, head))
    }

    /// Changes nothing.
    pub(crate) async fn rollback(mut self) -> Result<Store, StoreError> {
        self.store.rollback().await?;
        Ok(self.store)
    }

    /// The connection as it is, in the middle: [`Store::rollback`] comes next.
    pub(crate) fn abandon(self) -> Store {
        self.store
    }

    /// Adds or replaces a tier.
    pub(crate) async fn put_tier(&mut self, row: &TierRow) -> Result<(), StoreError> {
        let failed = self.failed();
        query(
            "INSERT INTO tier (name, quotas, created) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET quotas = excluded.quotas",
        )
        .bind(&row.name)
        .bind(&row.quotas)
        .bind(stored(row.created.0))
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(failed)
    }

    /// Removes a tier that no account has.
    pub(crate) async fn delete_tier(&mut self, name: &str) -> Result<(), StoreError> {
        let failed = self.failed();
        query("DELETE FROM tier WHERE name = $1").bind(name).execute(self.connection()).await.map(drop).map_err(failed)
    }

    /// Adds an account; its id is given here.
    pub(crate) async fn insert_account(&mut self, row: &AccountRow) -> Result<AccountId, StoreError> {
        let failed = self.failed();
        let statement = query_scalar(
            "INSERT INTO account (name, created, policy, policy_cuts, egress, tier) VALUES ($1, $2, $3, $4, $5, $6) \
             RETURNING id",
        );
        let id: i64 = statement
            .bind(&row.name)
            .bind(stored(row.created.0))
            .bind(&row.policy)
            .bind(stored(row.policy_cuts))
            .bind(&row.egress)
            .bind(&row.tier)
            .fetch_one(self.connection())
            .await
            .map_err(failed)?;
        Ok(AccountId(number(id)))
    }

    /// Replaces what can change of an account.
    pub(crate) async fn update_account(&mut self, row: &AccountRow) -> Result<(), StoreError> {
        let failed = self.failed();
        query("UPDATE account SET policy = $1, policy_cuts = $2, egress = $3, tier = $4 WHERE id = $5")
            .bind(&row.policy)
            .bind(stored(row.policy_cuts))
            .bind(&row.egress)
            .bind(&row.tier)
            .bind(stored(row.id.0))
            .execute(self.connection())
            .await
            .map(drop)
            .map_err(failed)
    }

    /// Removes an account with all that is its own.
    pub(crate) async fn delete_account(&mut self, id: AccountId) -> Result<(), StoreError> {
        self.delete("DELETE FROM account WHERE id = $1", id.0).await
    }

    /// Adds a credential without a password; its id is given here.
    pub(crate) async fn insert_credential(&mut self, row: &CredentialRow) -> Result<CredentialId, StoreError> {
        let failed = self.failed();
        let statement = query_scalar(
            "INSERT INTO credential (account, username, name, created, expires, clients, policy, policy_cuts) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
        );
        let id: i64 = statement
            .bind(stored(row.account.0))
            .bind(&row.username)
            .bind(&row.name)
            .bind(stored(row.created.0))
            .bind(row.expires.map(|expires| stored(expires.0)))
            .bind(&row.clients)
            .bind(&row.policy)
            .bind(stored(row.policy_cuts))
            .fetch_one(self.connection())
            .await
            .map_err(failed)?;
        Ok(CredentialId(number(id)))
    }

    /// Replaces what can change of a credential, its passwords aside.
    pub(crate) async fn update_credential(&mut self, row: &CredentialRow) -> Result<(), StoreError> {
        let failed = self.failed();
        query(
            "UPDATE credential SET name = $1, expires = $2, clients = $3, policy = $4, policy_cuts = $5 WHERE id = $6",
        )
        .bind(&row.name)
        .bind(row.expires.map(|expires| stored(expires.0)))
        .bind(&row.clients)
        .bind(&row.policy)
        .bind(stored(row.policy_cuts))
        .bind(stored(row.id.0))
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(failed)
    }

    /// Removes a credential with its passwords.
    pub(crate) async fn delete_credential(&mut self, id: CredentialId) -> Result<(), StoreError> {
        self.delete("DELETE FROM credential WHERE id = $1", id.0).await
    }

    /// Adds a password.
    pub(crate) async fn insert_secret(
        &mut self,
        credential: CredentialId,
        hash: SecretHash,
    ) -> Result<SecretId, StoreError> {
        let failed = self.failed();
        let id: i64 = query_scalar("INSERT INTO secret (credential, hash) VALUES ($1, $2) RETURNING id")
            .bind(stored(credential.0))
            .bind(hash.0.to_vec())
            .fetch_one(self.connection())
            .await
            .map_err(failed)?;
        Ok(SecretId(number(id)))
    }

    /// Gives a password an end.
    pub(crate) async fn end_secret(&mut self, id: SecretId, until: Timestamp) -> Result<(), StoreError> {
        let failed = self.failed();
        let statement = query("UPDATE secret SET until = $1 WHERE id = $2").bind(stored(until.0)).bind(stored(id.0));
        statement.execute(self.connection()).await.map(drop).map_err(failed)
    }

    /// Removes a password.
    pub(crate) async fn delete_secret(&mut self, id: SecretId) -> Result<(), StoreError> {
        self.delete("DELETE FROM secret WHERE id = $1", id.0).await
    }

    /// Adds a token.
    pub(crate) async fn insert_token(&mut self, row: &TokenRow) -> Result<(), StoreError> {
        let failed = self.failed();
        query("INSERT INTO token (id, account, scope, hash, created) VALUES ($1, $2, $3, $4, $5)")
            .bind(&row.id)
            .bind(row.account.map(|account| stored(account.0)))
            .bind(row.scope.name())
            .bind(row.hash.0.to_vec())
            .bind(stored(row.created.0))
            .execute(self.connection())
            .await
            .map(drop)
            .map_err(failed)
    }

    /// Removes a token.
    pub(crate) async fn delete_token(&mut self, id: &str) -> Result<(), StoreError> {
        self.delete_text("DELETE FROM token WHERE id = $1", id).await
    }

    /// Deletes what a text names.
    pub(super) async fn delete_text(&mut self, statement: &'static str, key: &str) -> Result<(), StoreError> {
        let failed = self.failed();
        query(statement).bind(key).execute(self.connection()).await.map(drop).map_err(failed)
    }

    /// Adds a route; its id is given here.
    pub(crate) async fn insert_route(&mut self, row: &RouteRow) -> Result<RouteId, StoreError> {
        let failed = self.failed();
        let statement = query_scalar(
            "INSERT INTO route (account, domain, mode, settings, created, label, dns, dns_since) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
        );
        let id: i64 = statement
            .bind(stored(row.account.0))
            .bind(&row.domain)
            .bind(&row.mode)
            .bind(&row.settings)
            .bind(stored(row.created.0))
            .bind(&row.label)
            .bind(row.dns.name())
            .bind(stored(row.dns_since.0))
            .fetch_one(self.connection())
            .await
            .map_err(failed)?;
        Ok(RouteId(number(id)))
    }

    /// Replaces what can change of a route.
    pub(crate) async fn update_route(&mut self, row: &RouteRow) -> Result<(), StoreError> {
        let failed = self.failed();
        let statement = query("UPDATE route SET settings = $1, label = $2, dns = $3, dns_since = $4 WHERE id = $5")
            .bind(&row.settings)
            .bind(&row.label)
            .bind(row.dns.name())
            .bind(stored(row.dns_since.0))
            .bind(stored(row.id.0));
        statement.execute(self.connection()).await.map(drop).map_err(failed)
    }

    /// Removes a route.
    pub(crate) async fn delete_route(&mut self, id: RouteId) -> Result<(), StoreError> {
        self.delete("DELETE FROM route WHERE id = $1", id.0).await
    }

    /// Adds the certificate of a domain, or replaces it.
    pub(crate) async fn put_certificate(&mut self, row: &CertificateRow) -> Result<(), StoreError> {
        self.delete_certificate(&row.domain).await?;
        let failed = self.failed();
        query("INSERT INTO certificate (account, domain, chain, key, created, issued) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(stored(row.account.0))
            .bind(&row.domain)
            .bind(&row.chain)
            .bind(&row.key)
            .bind(stored(row.created.0))
            .bind(i64::from(row.issued))
            .execute(self.connection())
            .await
            .map(drop)
            .map_err(failed)
    }

    /// Removes the certificate of a domain.
    pub(crate) async fn delete_certificate(&mut self, domain: &str) -> Result<(), StoreError> {
        self.delete_text("DELETE FROM certificate WHERE domain = $1", domain).await
    }

    /// Adds or replaces what is being done for a domain's certificate.
    pub(crate) async fn put_issuance(&mut self, row: &IssuanceRow) -> Result<(), StoreError> {
        self.delete_issuance(&row.domain).await?;
        let failed = self.failed();
        query(
            "INSERT INTO issuance (domain, account, holder, until, challenge, failures, next, error, chain, key, \
             rsa_chain, rsa_key, rsa_only) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(&row.domain)
        .bind(row.account.map(|account| stored(account.0)))
        .bind(&row.holder)
        .bind(stored(row.until.0))
        .bind(&row.challenge)
        .bind(stored(row.failures))
        .bind(stored(row.next.0))
        .bind(&row.error)
        .bind(row.own.as_ref().map(|own| own.chain.clone()))
        .bind(row.own.as_ref().map(|own| own.key.clone()))
        .bind(row.rsa.as_ref().map(|rsa| rsa.chain.clone()))
        .bind(row.rsa.as_ref().map(|rsa| rsa.key.clone()))
        .bind(i64::from(row.rsa_only))
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(failed)
    }

    /// Forgets what is being done for a domain's certificate.
    pub(crate) async fn delete_issuance(&mut self, domain: &str) -> Result<(), StoreError> {
        self.delete_text("DELETE FROM issuance WHERE domain = $1", domain).await
    }

    /// What is kept of the account at a CA, sealed.
    pub(crate) async fn ca_account(&mut self, directory: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let failed = self.failed();
        query_scalar("SELECT credentials FROM ca_account WHERE directory = $1")
            .bind(directory)
            .fetch_optional(self.connection())
            .await
            .map_err(failed)
    }

    /// Keeps an account at a CA in place of any other there; `None`: keeps none.
    pub(crate) async fn set_ca_account(&mut self, directory: &str, sealed: Option<Vec<u8>>) -> Result<(), StoreError> {
        let failed = self.failed();
        let forget = query("DELETE FROM ca_account WHERE directory = $1").bind(directory);
        forget.execute(self.connection()).await.map_err(&failed)?;
        let Some(sealed) = sealed else { return Ok(()) };
        query("INSERT INTO ca_account (directory, credentials) VALUES ($1, $2)")
            .bind(directory)
            .bind(sealed)
            .execute(self.connection())
            .await
            .map(drop)
            .map_err(failed)
    }

    /// The store's time.
    pub(crate) async fn now(&mut self) -> Result<Timestamp, StoreError> {
        self.store.now().await
    }

    async fn delete(&mut self, sql: &'static str, id: u64) -> Result<(), StoreError> {
        let failed = self.failed();
        query(sql).bind(stored(id)).execute(self.connection()).await.map(drop).map_err(failed)
    }
}
