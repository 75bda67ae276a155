//! Rows into a snapshot. A row that can't be compiled takes out that one account or route, loudly, and nothing else.

use std::{
    net::{AddrParseError, IpAddr},
    sync::Arc,
};

use ipnet::IpNet;
use moorgate_contract::{
    account::{Account, Credential, Pepper},
    egress::Pair,
    policy::Policy,
    quota::{Quota, Quotas},
    snapshot::{Site, Snapshot},
};
use moorgate_keys::StoreKey;
use thiserror::Error;

use crate::{
    book::{AccountRow, Book, CredentialRow, Edit, TierRow},
    calendar,
    control::now,
    invalid::Invalid,
    names::check_account_name,
};

mod certificates;
mod headers;
mod issuance;
mod routes;

pub(crate) use certificates::seal_key;
pub(crate) use headers::{has_open_values, is_sealed, open_values, seal_values};
pub(crate) use routes::{mode, settings, wants_rsa};

/// Why an account can't be served.
#[derive(Debug, Error)]
pub(crate) enum Unservable {
    #[error(transparent)]
    Name(#[from] Invalid),
    #[error("its policy can't be read: {0}")]
    Policy(#[from] serde_json::Error),
    #[error("its egress addresses can't be read: {0}")]
    Egress(#[from] AddrParseError),
    #[error("none of its egress addresses is configured in [egress] addresses any more")]
    EgressGone,
    #[error("its tier {0} can't be read; set the tier's quotas anew")]
    Tier(Box<str>),
}

/// Why a credential can't be served.
#[derive(Debug, Error)]
enum UnservableCredential {
    #[error("its policy can't be read: {0}")]
    Policy(#[from] serde_json::Error),
    #[error("the networks that it may be used from can't be read: {0}")]
    Clients(#[from] ipnet::AddrParseError),
}

/// Compiles rows, given what the gateway's file says.
pub(crate) struct Compiler {
    site: Arc<Site>,
    pepper: Pepper,
    egress: Vec<IpAddr>,
    /// Opens the keys of certificates.
    store_key: Arc<StoreKey>,
    /// Whether there is a zone: then a domain is served only once its DNS has proved whose it is.
    has_zone: bool,
}

impl Compiler {
    pub(crate) fn new(
        site: Arc<Site>,
        pepper: Pepper,
        egress: Vec<IpAddr>,
        store_key: Arc<StoreKey>,
        has_zone: bool,
    ) -> Self {
        Self { site, pepper, egress, store_key, has_zone }
    }

    pub(crate) fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    /// `[egress] addresses`.
    pub(crate) fn configured_egress(&self) -> &[IpAddr] {
        &self.egress
    }

    pub(crate) fn empty(&self) -> Snapshot {
        Snapshot::empty(self.site.clone(), self.pepper.clone())
    }

    /// A snapshot of everything in `book`. Built upon `previous`, so that what is open stays counted.
    pub(crate) fn all(&self, previous: &Snapshot, book: &Book) -> Snapshot {
        let mut snapshot = previous.clone();
        for account in previous.accounts() {
            if book.account_by_id(account.id).is_none() {
                snapshot.remove_account(account.id);
            }
        }
        for credential in previous.credentials() {
            if book.credential(credential.account, &credential.username).is_none() {
                snapshot.remove_credential(&credential.username);
            }
        }
        for row in book.accounts() {
            self.put_account(&mut snapshot, row, tier_of(row, book));
        }
        for row in book.credentials() {
            if book.account_by_id(row.account).is_none() {
                tracing::error!(username = %row.username, "a credential can't be served: its account is not there; remove its row");
            }
            put_credential(&mut snapshot, row);
        }
        self.all_certificates(&mut snapshot, previous, book);
        self.all_routes(&mut snapshot, previous, book);
        snapshot.forget_challenges();
        for row in book.issuances() {
            self.put_issuance(&mut snapshot, row, book);
        }
        snapshot.version = book.version();
        snapshot
    }

    /// Carries one edit over to a snapshot. `book` is as it was before the edit.
    pub(crate) fn edit(&self, snapshot: &mut Snapshot, edit: &Edit, book: &Book) {
        match edit {
            Edit::PutTier(tier) => {
                for row in book.accounts_of_tier(&tier.name) {
                    self.put_account(snapshot, row, Some(tier));
                }
            }
            Edit::PutAccount(row) => self.put_account(snapshot, row, tier_of(row, book)),
            Edit::RemoveAccount(id) => {
                for row in book.credentials_of(*id) {
                    snapshot.remove_credential(&row.username);
                }
                for row in book.routes_of(*id) {
                    routes::remove_route(snapshot, row);
                }
                for row in book.issuances().filter(|row| row.account == Some(*id)) {
                    self.remove_issuance(snapshot, row, book);
                }
                for row in book.certificates_of(*id) {
                    certificates::remove_certificate(snapshot, &row.domain);
                }
                snapshot.remove_account(*id);
            }
            Edit::PutCredential(row) => put_credential(snapshot, row),
            Edit::RemoveCredential(_, username) => snapshot.remove_credential(username),
            // Nobody has a tier that is removed; and no traffic is served by the rest.
            Edit::PutToken(_)
            | Edit::RemoveToken(_)
            | Edit::RemoveTier(_)
            | Edit::PutPerson(_)
            | Edit::RemovePerson(_)
            | Edit::PutSignIn(_)
            | Edit::RemoveSignIn(_)
            | Edit::PutInvitation(_)
            | Edit::RemoveInvitation(_)
            | Edit::PutAlarm(_)
            | Edit::RemoveAlarm(_)
            | Edit::PutTrouble(_)
            | Edit::RemoveTrouble(..) => {}
            Edit::PutRoute(row) => {
                if let Some(old) = book.route(&row.domain).filter(|old| old.label != row.label) {
                    snapshot.remove_target(&old.label);
                }
                self.put_route(snapshot, row, book.certificate(&row.domain));
            }
            Edit::RemoveRoute(domain) => {
                book.route(domain).into_iter().for_each(|row| routes::remove_route(snapshot, row))
            }
            Edit::PutIssuance(row) => self.put_issuance(snapshot, row, book),
            Edit::RemoveIssuance(domain) => {
                if let Some(row) = book.issuance(domain) {
                    self.remove_issuance(snapshot, row, book);
                }
            }
            Edit::PutCertificate(row) => {
                self.put_certificate(snapshot, row, certificates::rsa_of(row, book));
                if let Some(route) = book.route(&row.domain) {
                    self.put_route(snapshot, route, Some(row));
                }
            }
            Edit::RemoveCertificate(domain) => {
                certificates::remove_certificate(snapshot, domain);
                if let Some(route) = book.route(domain) {
                    self.put_route(snapshot, route, None);
                }
            }
        }
    }

    fn put_account(&self, snapshot: &mut Snapshot, row: &AccountRow, tier: Option<&TierRow>) {
        match self.account(row, tier) {
            Ok(account) => snapshot.put_account(account),
            Err(problem) => {
                tracing::error!(account = %row.name, %problem, "an account can't be served; set its policy and egress addresses anew");
                snapshot.remove_account(row.id);
            }
        }
    }

    fn account(&self, row: &AccountRow, tier: Option<&TierRow>) -> Result<Account, Unservable> {
        check_account_name(&row.name)?;
        Ok(Account {
            id: row.id,
            name: row.name.as_str().into(),
            policy: policy(row)?,
            policy_cuts: row.policy_cuts,
            egress: self.pair(row)?,
            load: Default::default(),
            quota: quota(row, tier)?.map(Arc::new),
        })
    }

    /// The addresses that an account leaves from.
    pub(crate) fn pair(&self, row: &AccountRow) -> Result<Pair, Unservable> {
        let own = own_egress(row)?;
        if own.is_empty() {
            return Ok(Pair::first_of(&self.egress));
        }
        let configured: Vec<IpAddr> = own.iter().copied().filter(|address| self.egress.contains(address)).collect();
        if configured.len() < own.len() {
            tracing::error!(account = %row.name, egress = %row.egress, "an account's egress address is not in [egress] addresses any more");
        }
        // Leaving from an address that nobody promised would be worse than not leaving at all.
        if configured.is_empty() {
            return Err(Unservable::EgressGone);
        }
        Ok(Pair::first_of(&configured))
    }
}

fn put_credential(snapshot: &mut Snapshot, row: &CredentialRow) {
    match credential(row) {
        Ok(credential) => snapshot.put_credential(credential),
        Err(problem) => {
            tracing::error!(username = %row.username, %problem, "a credential can't be served; revoke it and add another");
            snapshot.remove_credential(&row.username);
        }
    }
}

fn tier_of<'a>(row: &AccountRow, book: &'a Book) -> Option<&'a TierRow> {
    book.tier(row.tier.as_deref()?)
}

/// What an account's tier allows it; `None`: everything.
fn quota(row: &AccountRow, tier: Option<&TierRow>) -> Result<Option<Quota>, Unservable> {
    let Some(name) = row.tier.as_deref() else { return Ok(None) };
    // Without limits it would be served more than was bought.
    let quotas = tier.and_then(|tier| serde_json::from_str::<Quotas>(&tier.quotas).ok());
    let quotas = quotas.ok_or_else(|| Unservable::Tier(name.into()))?;
    Ok((!quotas.is_unlimited()).then(|| Quota::new(quotas, calendar::end_of_month(calendar::month(now())))))
}

/// The policy of a row.
pub(crate) fn policy(row: &AccountRow) -> Result<Policy, serde_json::Error> {
    serde_json::from_str(&row.policy)
}

/// The addresses that a row names itself; empty: the gateway's first two.
pub(crate) fn own_egress(row: &AccountRow) -> Result<Vec<IpAddr>, AddrParseError> {
    let texts = row.egress.split(',').filter(|text| !text.is_empty());
    texts.map(str::parse).collect()
}

/// How addresses stand in a row.
pub(crate) fn egress_text(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}

fn credential(row: &CredentialRow) -> Result<Credential, UnservableCredential> {
    Ok(Credential {
        id: row.id,
        account: row.account,
        username: row.username.as_str().into(),
        secrets: row.secrets.clone(),
        expires: row.expires,
        clients: clients(row)?,
        policy: credential_policy(row)?.map(Arc::new),
        policy_cuts: row.policy_cuts,
    })
}

/// Why a credential can't be served; `None`: it can.
pub(crate) fn credential_problem(row: &CredentialRow) -> Option<String> {
    credential(row).err().map(|problem| format!("{problem}; revoke it and add another"))
}

/// The networks that a credential may be used from; empty: all.
pub(crate) fn clients(row: &CredentialRow) -> Result<Vec<IpNet>, ipnet::AddrParseError> {
    row.clients.split(',').filter(|text| !text.is_empty()).map(str::parse).collect()
}

/// How networks stand in a row.
pub(crate) fn clients_text(clients: &[IpNet]) -> String {
    let texts: Vec<String> = clients.iter().map(IpNet::to_string).collect();
    texts.join(",")
}

/// A credential's own policy.
pub(crate) fn credential_policy(row: &CredentialRow) -> Result<Option<Policy>, serde_json::Error> {
    row.policy.as_deref().map(serde_json::from_str).transpose()
}
