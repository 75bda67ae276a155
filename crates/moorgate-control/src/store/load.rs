//! Reading: everything that is stored, or what has changed.

use std::collections::HashMap;

use moorgate_contract::{
    account::{AccountId, CredentialId, Secret, SecretHash, SecretId},
    route::RouteId,
    time::Timestamp,
};
use sqlx::{AnyConnection, Error, query_as, query_scalar};

use super::{Change, Head, Store, alarms, number, people};
use crate::{
    book::{
        AccountRow, CertificateRow, CredentialRow, Edit, IssuanceRow, RouteRow, Rows, SealedCertificate, TierRow,
        TokenRow,
    },
    error::{StoreError, What},
    route_views::DnsState,
    views::Scope,
};

impl Store {
    /// The version of what is stored now.
    pub(crate) async fn version(&mut self) -> Result<u64, StoreError> {
        let failed = self.failed("read");
        let version: i64 =
            query_scalar("SELECT version FROM store").fetch_one(&mut self.connection).await.map_err(failed)?;
        Ok(number(version))
    }
}

/// All rows. A hash or scope that can't be read is left out, loudly: it opens nothing.
pub(super) async fn all(connection: &mut AnyConnection) -> Result<Rows, Error> {
    let (version, key, seq, hash, mark): (i64, Option<Vec<u8>>, i64, Vec<u8>, Vec<u8>) =
        query_as("SELECT version, key, audit_seq, audit_hash, audit_mark FROM store")
            .fetch_one(&mut *connection)
            .await?;
    let mut secrets = secrets(connection).await?;
    let credentials = all_of(connection, credential_sql!("ORDER BY id")).await?.into_iter();
    let tokens = all_of(connection, token_sql!("ORDER BY id")).await?.into_iter();
    Ok(Rows {
        version: number(version),
        key,
        head: Head { seq: number(seq), hash, mark },
        tiers: all_of(connection, tier_sql!("ORDER BY name")).await?.into_iter().map(tier).collect(),
        accounts: all_of(connection, account_sql!("ORDER BY id")).await?.into_iter().map(account).collect(),
        credentials: credentials
            .map(|row: StoredCredential| {
                let secrets = secrets.remove(&number(row.0)).unwrap_or_default();
                credential(row, secrets)
            })
            .collect(),
        tokens: tokens.filter_map(token).collect(),
        routes: all_of(connection, route_sql!("ORDER BY id")).await?.into_iter().map(route).collect(),
        certificates: all_of(connection, certificate_sql!("ORDER BY id")).await?.into_iter().map(certificate).collect(),
        issuances: all_of(connection, issuance_sql!("ORDER BY domain")).await?.into_iter().map(issuance).collect(),
        people: people::all(connection).await?,
        sign_ins: people::sign_ins(connection).await?,
        invitations: people::invitations(connection).await?,
        alarms: alarms::all(connection).await?,
        troubles: alarms::troubles(connection).await?,
    })
}

/// What the row that a change speaks of is now, as an edit of what is known. `None`: its key can't be read.
pub(super) async fn edit(connection: &mut AnyConnection, change: &Change) -> Result<Option<Edit>, Error> {
    let Change { what, key } = change;
    Ok(match what {
        What::Tier => {
            let row = query_as(tier_sql!("WHERE name = $1")).bind(key).fetch_optional(connection).await?;
            Some(row.map_or_else(|| Edit::RemoveTier(key.clone()), |row| Edit::PutTier(tier(row))))
        }
        What::Account => {
            let Ok(id) = key.parse() else { return Ok(None) };
            let row = query_as(account_sql!("WHERE id = $1")).bind(id).fetch_optional(connection).await?;
            Some(row.map_or(Edit::RemoveAccount(AccountId(number(id))), |row| Edit::PutAccount(account(row))))
        }
        What::Credential => {
            let Some((id, username)) = key.split_once('/') else { return Ok(None) };
            let Ok(id) = id.parse() else { return Ok(None) };
            changed_credential(connection, AccountId(id), username).await?
        }
        What::Token => {
            let row = query_as(token_sql!("WHERE id = $1")).bind(key).fetch_optional(connection).await?;
            Some(row.and_then(token).map_or_else(|| Edit::RemoveToken(key.clone()), Edit::PutToken))
        }
        What::Route => {
            let row = query_as(route_sql!("WHERE domain = $1")).bind(key).fetch_optional(connection).await?;
            Some(row.map_or_else(|| Edit::RemoveRoute(key.clone()), |row| Edit::PutRoute(route(row))))
        }
        What::Certificate => {
            let row = query_as(certificate_sql!("WHERE domain = $1")).bind(key).fetch_optional(connection).await?;
            let gone = || Edit::RemoveCertificate(key.clone());
            Some(row.map_or_else(gone, |row| Edit::PutCertificate(certificate(row))))
        }
        What::Issuance => {
            let row = query_as(issuance_sql!("WHERE domain = $1")).bind(key).fetch_optional(connection).await?;
            Some(row.map_or_else(|| Edit::RemoveIssuance(key.clone()), |row| Edit::PutIssuance(issuance(row))))
        }
        What::Person => Some(people::changed(connection, key).await?),
        What::SignIn => Some(people::changed_sign_in(connection, key).await?),
        What::Invitation => Some(people::changed_invitation(connection, key).await?),
        What::Alarm => Some(alarms::changed(connection, key).await?),
        What::Trouble => alarms::changed_trouble(connection, key).await?,
        // No row of its own that anything is served by.
        What::Gateway => None,
    })
}

async fn changed_credential(
    connection: &mut AnyConnection,
    account: AccountId,
    username: &str,
) -> Result<Option<Edit>, Error> {
    let row: Option<StoredCredential> =
        query_as(credential_sql!("WHERE username = $1")).bind(username).fetch_optional(&mut *connection).await?;
    let Some(row) = row.filter(|row| number(row.1) == account.0) else {
        return Ok(Some(Edit::RemoveCredential(account, username.to_owned())));
    };
    let rows: Vec<StoredSecret> =
        query_as(secret_sql!("WHERE credential = $1 ORDER BY id")).bind(row.0).fetch_all(connection).await?;
    let secrets = rows.into_iter().filter_map(secret).map(|(_, secret)| secret).collect();
    Ok(Some(Edit::PutCredential(credential(row, secrets))))
}

async fn all_of<T>(connection: &mut AnyConnection, sql: &'static str) -> Result<Vec<T>, Error>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow> + Send + Unpin,
{
    query_as(sql).fetch_all(connection).await
}

macro_rules! account_sql {
    ($rest:literal) => {
        concat!("SELECT id, name, created, policy, policy_cuts, egress, tier FROM account ", $rest)
    };
}
macro_rules! credential_sql {
    ($rest:literal) => {
        concat!(
            "SELECT id, account, username, name, created, expires, clients, policy, policy_cuts FROM credential ",
            $rest
        )
    };
}
macro_rules! secret_sql {
    ($rest:literal) => {
        concat!("SELECT id, credential, hash, until FROM secret ", $rest)
    };
}
macro_rules! token_sql {
    ($rest:literal) => {
        concat!("SELECT id, account, scope, hash, created FROM token ", $rest)
    };
}
macro_rules! tier_sql {
    ($rest:literal) => {
        concat!("SELECT name, quotas, created FROM tier ", $rest)
    };
}
macro_rules! route_sql {
    ($rest:literal) => {
        concat!("SELECT id, account, domain, mode, settings, created, label, dns, dns_since FROM route ", $rest)
    };
}
macro_rules! certificate_sql {
    ($rest:literal) => {
        concat!("SELECT account, domain, chain, key, created, issued FROM certificate ", $rest)
    };
}
macro_rules! issuance_sql {
    ($rest:literal) => {
        concat!(
            "SELECT domain, account, holder, until, challenge, failures, next, error, chain, key, \
             rsa_chain, rsa_key, rsa_only FROM issuance ",
            $rest
        )
    };
}
use {account_sql, certificate_sql, credential_sql, issuance_sql, route_sql, secret_sql, tier_sql, token_sql};

type StoredAccount = (i64, String, i64, String, i64, String, Option<String>);

fn account((id, name, created, policy, policy_cuts, egress, tier): StoredAccount) -> AccountRow {
    AccountRow {
        id: AccountId(number(id)),
        name,
        created: Timestamp(number(created)),
        policy,
        policy_cuts: number(policy_cuts),
        egress,
        tier,
    }
}

type StoredCredential = (i64, i64, String, String, i64, Option<i64>, String, Option<String>, i64);

fn credential(row: StoredCredential, secrets: Vec<Secret>) -> CredentialRow {
    let (id, account, username, name, created, expires, clients, policy, policy_cuts) = row;
    CredentialRow {
        id: CredentialId(number(id)),
        account: AccountId(number(account)),
        username,
        name,
        created: Timestamp(number(created)),
        expires: expires.map(|expires| Timestamp(number(expires))),
        clients,
        policy,
        policy_cuts: number(policy_cuts),
        secrets,
    }
}

type StoredSecret = (i64, i64, Vec<u8>, Option<i64>);

/// With the id of its credential.
fn secret((id, credential, hash, until): StoredSecret) -> Option<(u64, Secret)> {
    let Ok(hash) = hash.try_into() else {
        tracing::error!(secret = id, "the stored hash of a password has a wrong length; rotate its credential");
        return None;
    };
    let until = until.map(|until| Timestamp(number(until)));
    Some((number(credential), Secret { id: SecretId(number(id)), hash: SecretHash(hash), until }))
}

/// By credential, oldest first.
async fn secrets(connection: &mut AnyConnection) -> Result<HashMap<u64, Vec<Secret>>, Error> {
    let mut secrets: HashMap<u64, Vec<Secret>> = HashMap::new();
    for (credential, secret) in all_of(connection, secret_sql!("ORDER BY id")).await?.into_iter().filter_map(secret) {
        secrets.entry(credential).or_default().push(secret);
    }
    Ok(secrets)
}

type StoredToken = (String, Option<i64>, String, Vec<u8>, i64);

fn token((id, account, scope, hash, created): StoredToken) -> Option<TokenRow> {
    let (Some(scope), Ok(hash)) = (Scope::from_name(&scope), hash.try_into()) else {
        tracing::error!(token = %id, "a stored token can't be read; revoke it");
        return None;
    };
    let account = account.map(|account| AccountId(number(account)));
    Some(TokenRow { id, account, scope, hash: SecretHash(hash), created: Timestamp(number(created)) })
}

fn tier((name, quotas, created): (String, String, i64)) -> TierRow {
    TierRow { name, quotas, created: Timestamp(number(created)) }
}

type StoredRoute = (i64, i64, String, String, String, i64, String, String, i64);

fn route((id, account, domain, mode, settings, created, label, dns, dns_since): StoredRoute) -> RouteRow {
    RouteRow {
        id: RouteId(number(id)),
        account: AccountId(number(account)),
        domain,
        mode,
        settings,
        created: Timestamp(number(created)),
        label,
        // A later version's word proves nothing to this one.
        dns: DnsState::from_name(&dns).unwrap_or(DnsState::Pending),
        dns_since: Timestamp(number(dns_since)),
    }
}

type StoredCertificate = (i64, String, String, Vec<u8>, i64, i64);

fn certificate((account, domain, chain, key, created, issued): StoredCertificate) -> CertificateRow {
    let (account, created) = (AccountId(number(account)), Timestamp(number(created)));
    CertificateRow { account, domain, chain, key, created, issued: issued != 0 }
}

type StoredIssuance = (
    String,
    Option<i64>,
    String,
    i64,
    String,
    i64,
    i64,
    String,
    Option<String>,
    Option<Vec<u8>>,
    Option<String>,
    Option<Vec<u8>>,
    i64,
);

fn issuance(row: StoredIssuance) -> IssuanceRow {
    let (domain, account, holder, until, challenge, failures, next, error, chain, key, rsa_chain, rsa_key, rsa_only) =
        row;
    let sealed = |chain: Option<String>, key| chain.zip(key).map(|(chain, key)| SealedCertificate { chain, key });
    IssuanceRow {
        domain,
        account: account.map(|account| AccountId(number(account))),
        holder,
        until: Timestamp(number(until)),
        challenge,
        failures: number(failures),
        next: Timestamp(number(next)),
        error,
        own: sealed(chain, key),
        rsa: sealed(rsa_chain, rsa_key),
        rsa_only: rsa_only != 0,
    }
}
