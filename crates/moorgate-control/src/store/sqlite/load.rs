//! Reading everything that is stored.

use std::collections::HashMap;

use moorgate_contract::{
    account::{AccountId, CredentialId, Secret, SecretHash, SecretId},
    route::RouteId,
    time::Timestamp,
};
use sqlx::{Connection as _, SqliteConnection, query_as, query_scalar};

use super::Store;
use crate::{
    book::{AccountRow, CertificateRow, CredentialRow, RouteRow, Rows, TokenRow},
    error::StoreError,
    views::Scope,
};

impl Store {
    /// All rows as of one moment. A hash or scope that can't be read is left out, loudly: it opens nothing.
    pub(crate) async fn load(&mut self) -> Result<Rows, StoreError> {
        let failed = self.database("read");
        read(&mut self.connection).await.map_err(failed)
    }
}

async fn read(connection: &mut SqliteConnection) -> Result<Rows, sqlx::Error> {
    let mut tx = connection.begin().await?;
    let rows = Rows {
        version: number(query_scalar("SELECT version FROM gateway").fetch_one(&mut *tx).await?),
        accounts: accounts(&mut tx).await?,
        credentials: credentials(&mut tx).await?,
        tokens: tokens(&mut tx).await?,
        routes: routes(&mut tx).await?,
        certificates: certificates(&mut tx).await?,
    };
    tx.rollback().await?;
    Ok(rows)
}

async fn accounts(connection: &mut SqliteConnection) -> Result<Vec<AccountRow>, sqlx::Error> {
    let rows: Vec<(i64, String, i64, String, i64, String)> =
        query_as("SELECT id, name, created, policy, policy_cuts, egress FROM account ORDER BY id")
            .fetch_all(connection)
            .await?;
    let account = |(id, name, created, policy, policy_cuts, egress)| AccountRow {
        id: AccountId(number(id)),
        name,
        created: Timestamp(number(created)),
        policy,
        policy_cuts: number(policy_cuts),
        egress,
    };
    Ok(rows.into_iter().map(account).collect())
}

async fn credentials(connection: &mut SqliteConnection) -> Result<Vec<CredentialRow>, sqlx::Error> {
    let mut secrets = secrets(connection).await?;
    let rows: Vec<(i64, i64, String, i64)> =
        query_as("SELECT id, account, username, created FROM credential ORDER BY id").fetch_all(connection).await?;
    let credential = |(id, account, username, created)| CredentialRow {
        id: CredentialId(number(id)),
        account: AccountId(number(account)),
        username,
        created: Timestamp(number(created)),
        secrets: secrets.remove(&number(id)).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(credential).collect())
}

/// By credential, oldest first.
async fn secrets(connection: &mut SqliteConnection) -> Result<HashMap<u64, Vec<Secret>>, sqlx::Error> {
    let rows: Vec<(i64, i64, Vec<u8>, Option<i64>)> =
        query_as("SELECT id, credential, hash, until FROM secret ORDER BY id").fetch_all(connection).await?;
    let mut secrets: HashMap<u64, Vec<Secret>> = HashMap::new();
    for (id, credential, hash, until) in rows {
        let Ok(hash) = hash.try_into() else {
            tracing::error!(secret = id, "the stored hash of a password has a wrong length; rotate its credential");
            continue;
        };
        let (hash, until) = (SecretHash(hash), until.map(|until| Timestamp(number(until))));
        secrets.entry(number(credential)).or_default().push(Secret { id: SecretId(number(id)), hash, until });
    }
    Ok(secrets)
}

/// Id, account, scope, hash and when it was made.
type StoredToken = (String, Option<i64>, String, Vec<u8>, i64);

async fn tokens(connection: &mut SqliteConnection) -> Result<Vec<TokenRow>, sqlx::Error> {
    let rows: Vec<StoredToken> =
        query_as("SELECT id, account, scope, hash, created FROM token ORDER BY id").fetch_all(connection).await?;
    let token = |(id, account, scope, hash, created): StoredToken| {
        let (Some(scope), Ok(hash)) = (Scope::from_name(&scope), hash.try_into()) else {
            tracing::error!(token = %id, "a stored token can't be read; revoke it");
            return None;
        };
        let account = account.map(|account| AccountId(number(account)));
        Some(TokenRow { id, account, scope, hash: SecretHash(hash), created: Timestamp(number(created)) })
    };
    Ok(rows.into_iter().filter_map(token).collect())
}

async fn routes(connection: &mut SqliteConnection) -> Result<Vec<RouteRow>, sqlx::Error> {
    let rows: Vec<(i64, i64, String, String, String, i64)> =
        query_as("SELECT id, account, domain, mode, settings, created FROM route ORDER BY id")
            .fetch_all(connection)
            .await?;
    let route = |(id, account, domain, mode, settings, created)| RouteRow {
        id: RouteId(number(id)),
        account: AccountId(number(account)),
        domain,
        mode,
        settings,
        created: Timestamp(number(created)),
    };
    Ok(rows.into_iter().map(route).collect())
}

async fn certificates(connection: &mut SqliteConnection) -> Result<Vec<CertificateRow>, sqlx::Error> {
    let rows: Vec<(i64, String, String, Vec<u8>, i64)> =
        query_as("SELECT account, domain, chain, key, created FROM certificate ORDER BY id")
            .fetch_all(connection)
            .await?;
    let certificate = |(account, domain, chain, key, created)| CertificateRow {
        account: AccountId(number(account)),
        domain,
        chain,
        key,
        created: Timestamp(number(created)),
    };
    Ok(rows.into_iter().map(certificate).collect())
}

/// SQLite's integers are signed; none of ours is negative.
pub(super) fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}
