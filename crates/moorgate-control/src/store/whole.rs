//! Everything in a store, as it is at one moment: taken out for a backup, and put into an empty store.

use moorgate_contract::{
    account::AccountId,
    quota::Spent,
    usage::{Counts, Key},
};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, query, query_as, query_scalar, raw_sql};

use super::{Kind, Store, StoredCa, Tx, Use, Written, audit, ca, load, number, stored, usage};
use crate::{book::Rows, error::StoreError};

/// All that a store holds, the list of gateways aside: they say again that they live.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Whole {
    pub(crate) rows: Rows,
    #[serde(default)]
    pub(crate) ca: Option<StoredCa>,
    pub(crate) audit: Vec<Written>,
    pub(crate) usage: Vec<(Key, String, Counts)>,
    pub(crate) spent: Vec<(u64, AccountId, String, Spent)>,
    pub(crate) uses: Vec<(u64, Use)>,
    /// The newest identity that was ever given, by table.
    pub(crate) newest: Vec<(String, u64)>,
}

/// Tables that give identities.
const NUMBERED: [&str; 4] = ["account", "credential", "secret", "route"];

impl Store {
    /// Everything, as of one moment, while others go on writing.
    pub(crate) async fn take_whole(&mut self) -> Result<Whole, StoreError> {
        let failed = self.failed("read");
        let begin = match self.kind {
            Kind::Sqlite => "BEGIN",
            Kind::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = '10min'",
        };
        raw_sql(begin).execute(&mut self.connection).await.map_err(&failed)?;
        let whole = self.read_whole().await;
        let ended = raw_sql("ROLLBACK").execute(&mut self.connection).await;
        let whole = whole.map_err(&failed)?;
        ended.map_err(failed)?;
        Ok(whole)
    }

    async fn read_whole(&mut self) -> Result<Whole, sqlx::Error> {
        let rows = load::all(&mut self.connection).await?;
        let ca = ca::ca(&mut self.connection).await?;
        let audit = audit::all(&mut self.connection).await?;
        let usage = usage::all(&mut self.connection).await?;
        let spent: Vec<(i64, i64, String, i64, i64)> =
            query_as("SELECT month, account, run, requests, bytes FROM spent").fetch_all(&mut self.connection).await?;
        let spent = spent.into_iter().map(|(month, account, run, requests, bytes)| {
            let spent = Spent { requests: number(requests), bytes: number(bytes) };
            (number(month), AccountId(number(account)), run, spent)
        });
        let uses: Vec<(i64, i64, String)> =
            query_as("SELECT credential, at, client FROM credential_use").fetch_all(&mut self.connection).await?;
        let uses = uses.into_iter().map(|(credential, at, client)| {
            (number(credential), (moorgate_contract::time::Timestamp(number(at)), client.parse().ok()))
        });
        let (spent, uses) = (spent.collect(), uses.collect());
        let mut newest = Vec::new();
        for table in NUMBERED {
            newest.push((table.to_owned(), number(self.newest(table).await?)));
        }
        Ok(Whole { rows, ca, audit, usage, spent, uses, newest })
    }

    async fn newest(&mut self, table: &str) -> Result<i64, sqlx::Error> {
        let newest: Option<i64> = match self.kind {
            Kind::Sqlite => {
                query_scalar("SELECT seq FROM sqlite_sequence WHERE name = $1")
                    .bind(table)
                    .fetch_optional(&mut self.connection)
                    .await?
            }
            // A sequence that was never asked says 1 too: one more is skipped then, and nothing is lost.
            Kind::Postgres => {
                let sql = format!("SELECT last_value FROM {table}_id_seq");
                query_scalar(AssertSqlSafe(sql)).fetch_optional(&mut self.connection).await?
            }
        };
        Ok(newest.unwrap_or_default())
    }
}

impl Tx {
    /// Puts everything into a store that holds nothing yet, but for who makes it. Its key is sealed under the master key
    /// that it was sealed under.
    pub(crate) async fn put_whole(&mut self, whole: &Whole) -> Result<(), StoreError> {
        let failed = self.failed();
        let done = self.write_whole(whole).await;
        done.map_err(failed)?;
        if let Some(ca) = &whole.ca {
            self.set_ca(ca).await?;
        }
        for row in &whole.rows.issuances {
            self.put_issuance(row).await?;
        }
        for row in &whole.rows.people {
            self.put_person(row).await?;
        }
        // Who was signed in when the backup was made signs in anew: it may be months ago.
        for row in &whole.rows.invitations {
            self.insert_invitation(row).await?;
        }
        for row in &whole.rows.alarms {
            self.put_alarm(row).await?;
        }
        // What was on its way when the backup was made is not sent again.
        for row in &whole.rows.troubles {
            self.put_trouble(row).await?;
        }
        self.raise_version(whole.rows.version);
        self.head = whole.rows.head.clone();
        self.is_first = false;
        Ok(())
    }

    async fn write_whole(&mut self, whole: &Whole) -> Result<(), sqlx::Error> {
        let rows = &whole.rows;
        for tier in &rows.tiers {
            query("INSERT INTO tier (name, quotas, created) VALUES ($1, $2, $3)")
                .bind(&tier.name)
                .bind(&tier.quotas)
                .bind(stored(tier.created.0))
                .execute(self.connection())
                .await?;
        }
        for row in &rows.accounts {
            query(
                "INSERT INTO account (id, name, created, policy, policy_cuts, egress, tier) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(stored(row.id.0))
            .bind(&row.name)
            .bind(stored(row.created.0))
            .bind(&row.policy)
            .bind(stored(row.policy_cuts))
            .bind(&row.egress)
            .bind(&row.tier)
            .execute(self.connection())
            .await?;
        }
        self.write_credentials(rows).await?;
        for row in &rows.tokens {
            query("INSERT INTO token (id, account, scope, hash, created) VALUES ($1, $2, $3, $4, $5)")
                .bind(&row.id)
                .bind(row.account.map(|account| stored(account.0)))
                .bind(row.scope.name())
                .bind(row.hash.0.to_vec())
                .bind(stored(row.created.0))
                .execute(self.connection())
                .await?;
        }
        for row in &rows.routes {
            query(
                "INSERT INTO route (id, account, domain, mode, settings, created, label, dns, dns_since) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(stored(row.id.0))
            .bind(stored(row.account.0))
            .bind(&row.domain)
            .bind(&row.mode)
            .bind(&row.settings)
            .bind(stored(row.created.0))
            .bind(&row.label)
            .bind(row.dns.name())
            .bind(stored(row.dns_since.0))
            .execute(self.connection())
            .await?;
        }
        for row in &rows.certificates {
            query("INSERT INTO certificate (account, domain, chain, key, created, issued) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(stored(row.account.0))
                .bind(&row.domain)
                .bind(&row.chain)
                .bind(&row.key)
                .bind(stored(row.created.0))
                .bind(i64::from(row.issued))
                .execute(self.connection())
                .await?;
        }
        for entry in &whole.audit {
            audit::insert(self.connection(), entry).await?;
        }
        self.write_counted(whole).await?;
        self.write_newest(whole).await
    }

    async fn write_credentials(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        for row in &rows.credentials {
            query(
                "INSERT INTO credential (id, account, username, name, created, expires, clients, policy, policy_cuts) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(stored(row.id.0))
            .bind(stored(row.account.0))
            .bind(&row.username)
            .bind(&row.name)
            .bind(stored(row.created.0))
            .bind(row.expires.map(|expires| stored(expires.0)))
            .bind(&row.clients)
            .bind(&row.policy)
            .bind(stored(row.policy_cuts))
            .execute(self.connection())
            .await?;
            for secret in &row.secrets {
                query("INSERT INTO secret (id, credential, hash, until) VALUES ($1, $2, $3, $4)")
                    .bind(stored(secret.id.0))
                    .bind(stored(row.id.0))
                    .bind(secret.hash.0.to_vec())
                    .bind(secret.until.map(|until| stored(until.0)))
                    .execute(self.connection())
                    .await?;
            }
        }
        Ok(())
    }

    async fn write_counted(&mut self, whole: &Whole) -> Result<(), sqlx::Error> {
        usage::insert(self.connection(), &whole.usage).await?;
        for (month, account, run, spent) in &whole.spent {
            query("INSERT INTO spent (month, account, run, requests, bytes) VALUES ($1, $2, $3, $4, $5)")
                .bind(stored(*month))
                .bind(stored(account.0))
                .bind(run)
                .bind(stored(spent.requests))
                .bind(stored(spent.bytes))
                .execute(self.connection())
                .await?;
        }
        for (credential, (at, client)) in &whole.uses {
            query("INSERT INTO credential_use (credential, at, client) VALUES ($1, $2, $3)")
                .bind(stored(*credential))
                .bind(stored(at.0))
                .bind(client.map(|client| client.to_string()).unwrap_or_default())
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Identities go on where they were: none is given twice.
    async fn write_newest(&mut self, whole: &Whole) -> Result<(), sqlx::Error> {
        for (table, newest) in &whole.newest {
            // What is not ours to name is not put into a statement.
            let Some(table) = NUMBERED.into_iter().find(|known| *known == table.as_str()) else { continue };
            let newest = stored((*newest).max(1));
            match self.kind() {
                Kind::Sqlite => {
                    query("DELETE FROM sqlite_sequence WHERE name = $1").bind(table).execute(self.connection()).await?;
                    let insert = query("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)");
                    insert.bind(table).bind(newest).execute(self.connection()).await?;
                }
                Kind::Postgres => {
                    let sql = format!("SELECT setval('{table}_id_seq', $1)");
                    query(AssertSqlSafe(sql)).bind(newest).execute(self.connection()).await?;
                }
            }
        }
        Ok(())
    }
}
