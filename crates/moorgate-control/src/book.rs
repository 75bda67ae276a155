//! What is stored, in memory: the rows as they are in the store, found by what callers know.
//!
//! Listings and tokens are answered from here, so they work while the store is down.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use moorgate_contract::{
    account::{AccountId, SecretHash, SecretId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{route_views::DnsState, store::Head};

mod alarms;
mod people;
mod rows;

pub(crate) use alarms::{AlarmRow, Alarms, TroubleKey, TroubleRow};
pub(crate) use people::{InvitationRow, People, PersonRow, SignInRow};
pub(crate) use rows::{
    AccountRow, CertificateRow, CredentialRow, IssuanceRow, RouteRow, Rows, SealedCertificate, TierRow, TokenRow,
};

/// One change of the rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Edit {
    PutTier(TierRow),
    RemoveTier(String),
    PutAccount(AccountRow),
    RemoveAccount(AccountId),
    PutCredential(CredentialRow),
    RemoveCredential(AccountId, String),
    PutToken(TokenRow),
    RemoveToken(String),
    PutRoute(RouteRow),
    /// By domain.
    RemoveRoute(String),
    PutCertificate(CertificateRow),
    /// By domain.
    RemoveCertificate(String),
    PutIssuance(IssuanceRow),
    /// By domain.
    RemoveIssuance(String),
    PutPerson(PersonRow),
    /// By id.
    RemovePerson(String),
    PutSignIn(SignInRow),
    /// By id.
    RemoveSignIn(String),
    PutInvitation(InvitationRow),
    /// By id.
    RemoveInvitation(String),
    PutAlarm(AlarmRow),
    /// By id.
    RemoveAlarm(String),
    PutTrouble(TroubleRow),
    RemoveTrouble(TroubleKey),
}

/// A password whose end is known.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) until: Timestamp,
    pub(crate) account: AccountId,
    pub(crate) username: String,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    version: u64,
    key: Option<Vec<u8>>,
    head: Head,
    tiers: BTreeMap<String, TierRow>,
    accounts: BTreeMap<AccountId, AccountRow>,
    names: HashMap<String, AccountId>,
    credentials: BTreeMap<AccountId, BTreeMap<String, CredentialRow>>,
    tokens: BTreeMap<String, TokenRow>,
    /// By hash: a keyed hash tells nothing through how long it takes to find.
    bearers: HashMap<[u8; 32], String>,
    endings: BTreeMap<SecretId, Ending>,
    routes: ByDomain<RouteRow>,
    /// Those of them whose DNS is waited for, by domain.
    waiting: BTreeSet<String>,
    certificates: ByDomain<CertificateRow>,
    issuances: BTreeMap<String, IssuanceRow>,
    people: People,
    alarms: Alarms,
}

/// What has an owner and is found by its domain.
#[derive(Debug)]
struct ByDomain<R> {
    rows: BTreeMap<String, R>,
    of: BTreeMap<AccountId, BTreeSet<String>>,
}

impl<R> Default for ByDomain<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), of: BTreeMap::new() }
    }
}

impl<R> ByDomain<R> {
    /// What it replaces was the same account's.
    fn put(&mut self, account: AccountId, domain: String, row: R) {
        self.of.entry(account).or_default().insert(domain.clone());
        self.rows.insert(domain, row);
    }

    fn remove(&mut self, domain: &str, account: impl Fn(&R) -> AccountId) {
        if let Some(row) = self.rows.remove(domain)
            && let Some(of) = self.of.get_mut(&account(&row))
        {
            of.remove(domain);
        }
    }

    fn remove_account(&mut self, account: AccountId) {
        for domain in self.of.remove(&account).into_iter().flatten() {
            self.rows.remove(&domain);
        }
    }

    fn of(&self, account: AccountId) -> impl Iterator<Item = &R> {
        self.of.get(&account).into_iter().flatten().filter_map(|domain| self.rows.get(domain))
    }
}

impl Book {
    pub(crate) fn new(rows: Rows) -> Self {
        let mut book = Self { version: rows.version, key: rows.key, head: rows.head, ..Self::default() };
        let tiers = rows.tiers.into_iter().map(Edit::PutTier);
        let accounts = rows.accounts.into_iter().map(Edit::PutAccount);
        let credentials = rows.credentials.into_iter().map(Edit::PutCredential);
        let tokens = rows.tokens.into_iter().map(Edit::PutToken);
        let routes = rows.routes.into_iter().map(Edit::PutRoute);
        let certificates = rows.certificates.into_iter().map(Edit::PutCertificate);
        let issuances = rows.issuances.into_iter().map(Edit::PutIssuance);
        let people = rows.people.into_iter().map(Edit::PutPerson);
        let sign_ins = rows.sign_ins.into_iter().map(Edit::PutSignIn);
        let invitations = rows.invitations.into_iter().map(Edit::PutInvitation);
        let alarms = rows.alarms.into_iter().map(Edit::PutAlarm);
        let troubles = rows.troubles.into_iter().map(Edit::PutTrouble);
        let all =
            tiers.chain(accounts).chain(credentials).chain(tokens).chain(routes).chain(certificates).chain(issuances);
        let all = all.chain(people).chain(sign_ins).chain(invitations).chain(alarms).chain(troubles);
        all.for_each(|edit| book.apply(edit));
        book
    }

    pub(crate) fn rows(&self) -> Rows {
        Rows {
            version: self.version,
            key: self.key.clone(),
            head: self.head.clone(),
            tiers: self.tiers.values().cloned().collect(),
            accounts: self.accounts.values().cloned().collect(),
            credentials: self.credentials().cloned().collect(),
            tokens: self.tokens.values().cloned().collect(),
            routes: self.routes().cloned().collect(),
            certificates: self.certificates().cloned().collect(),
            issuances: self.issuances().cloned().collect(),
            people: self.people.all().cloned().collect(),
            sign_ins: self.people.sign_ins().cloned().collect(),
            invitations: self.people.invitations().cloned().collect(),
            alarms: self.alarms.all().cloned().collect(),
            troubles: self.alarms.troubles().cloned().collect(),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The store's own key, sealed; `None`: the master key itself is that.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// The store's own key, sealed anew.
    pub(crate) fn set_key(&mut self, key: Vec<u8>) {
        self.key = Some(key);
    }

    /// The end of the audit log, as far as this gateway has seen it.
    pub(crate) fn audit_head(&self) -> Head {
        self.head.clone()
    }

    pub(crate) fn set_version(&mut self, version: u64, head: Head) {
        (self.version, self.head) = (version, head);
    }

    pub(crate) fn apply(&mut self, edit: Edit) {
        match edit {
            Edit::PutTier(row) => {
                self.tiers.insert(row.name.clone(), row);
            }
            Edit::RemoveTier(name) => {
                self.tiers.remove(&name);
            }
            Edit::PutAccount(row) => {
                self.names.insert(row.name.clone(), row.id);
                self.accounts.insert(row.id, row);
            }
            Edit::RemoveAccount(id) => self.remove_account(id),
            Edit::PutCredential(row) => self.put_credential(row),
            Edit::RemoveCredential(account, username) => {
                let removed = self.credentials.get_mut(&account).and_then(|of| of.remove(&username));
                removed.iter().for_each(|row| self.forget_endings(row));
            }
            Edit::PutToken(row) => {
                self.bearers.insert(row.hash.0, row.id.clone());
                self.tokens.insert(row.id.clone(), row);
            }
            Edit::RemoveToken(id) => {
                if let Some(row) = self.tokens.remove(&id) {
                    self.bearers.remove(&row.hash.0);
                }
            }
            Edit::PutRoute(row) => {
                if matches!(row.dns, DnsState::Pending | DnsState::Missing) {
                    self.waiting.insert(row.domain.clone());
                } else {
                    self.waiting.remove(&row.domain);
                }
                self.routes.put(row.account, row.domain.clone(), row);
            }
            Edit::RemoveRoute(domain) => {
                self.waiting.remove(&domain);
                self.routes.remove(&domain, |row| row.account);
            }
            Edit::PutCertificate(row) => self.certificates.put(row.account, row.domain.clone(), row),
            Edit::RemoveCertificate(domain) => self.certificates.remove(&domain, |row| row.account),
            Edit::PutIssuance(row) => {
                self.issuances.insert(row.domain.clone(), row);
            }
            Edit::RemoveIssuance(domain) => {
                self.issuances.remove(&domain);
            }
            Edit::PutPerson(row) => self.people.put(row),
            Edit::RemovePerson(id) => self.people.remove(&id),
            Edit::PutSignIn(row) => self.people.put_sign_in(row),
            Edit::RemoveSignIn(id) => self.people.remove_sign_in(&id),
            Edit::PutInvitation(row) => self.people.put_invitation(row),
            Edit::RemoveInvitation(id) => self.people.remove_invitation(&id),
            Edit::PutAlarm(row) => self.alarms.put(row),
            Edit::RemoveAlarm(id) => self.alarms.remove(&id),
            Edit::PutTrouble(row) => self.alarms.put_trouble(row),
            Edit::RemoveTrouble(key) => self.alarms.remove_trouble(&key),
        }
    }

    fn remove_account(&mut self, id: AccountId) {
        if let Some(row) = self.accounts.remove(&id) {
            self.names.remove(&row.name);
        }
        for row in self.credentials.remove(&id).into_iter().flat_map(BTreeMap::into_values) {
            self.forget_endings(&row);
        }
        self.routes.remove_account(id);
        self.waiting.retain(|domain| self.routes.rows.contains_key(domain));
        self.certificates.remove_account(id);
        self.issuances.retain(|_, row| row.account != Some(id));
        self.people.remove_account(id);
        self.alarms.remove_account(id);
        self.tokens.retain(|_, token| token.account != Some(id));
        self.bearers.retain(|_, token| self.tokens.contains_key(token));
    }

    fn put_credential(&mut self, row: CredentialRow) {
        for secret in &row.secrets {
            if let Some(until) = secret.until {
                let (account, username) = (row.account, row.username.clone());
                self.endings.insert(secret.id, Ending { until, account, username });
            }
        }
        let of = self.credentials.entry(row.account).or_default();
        let kept: Vec<SecretId> = row.secrets.iter().map(|secret| secret.id).collect();
        if let Some(old) = of.insert(row.username.clone(), row) {
            for secret in old.secrets.iter().filter(|secret| !kept.contains(&secret.id)) {
                self.endings.remove(&secret.id);
            }
        }
    }

    fn forget_endings(&mut self, row: &CredentialRow) {
        for secret in &row.secrets {
            self.endings.remove(&secret.id);
        }
    }

    /// Who may use the console.
    pub(crate) fn people(&self) -> &People {
        &self.people
    }

    /// Who is told of alarms, and of what.
    pub(crate) fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    pub(crate) fn tier(&self, name: &str) -> Option<&TierRow> {
        self.tiers.get(name)
    }

    pub(crate) fn accounts_of_tier<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a AccountRow> {
        self.accounts.values().filter(move |row| row.tier.as_deref() == Some(name))
    }

    /// By name.
    pub(crate) fn tiers(&self) -> impl ExactSizeIterator<Item = &TierRow> {
        self.tiers.values()
    }

    pub(crate) fn account(&self, name: &str) -> Option<&AccountRow> {
        self.accounts.get(self.names.get(name)?)
    }

    pub(crate) fn account_by_id(&self, id: AccountId) -> Option<&AccountRow> {
        self.accounts.get(&id)
    }

    pub(crate) fn accounts(&self) -> impl ExactSizeIterator<Item = &AccountRow> {
        self.accounts.values()
    }

    pub(crate) fn credentials(&self) -> impl Iterator<Item = &CredentialRow> {
        self.credentials.values().flat_map(BTreeMap::values)
    }

    pub(crate) fn credentials_of(&self, account: AccountId) -> impl Iterator<Item = &CredentialRow> {
        self.credentials.get(&account).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn count_credentials(&self, account: AccountId) -> usize {
        self.credentials.get(&account).map_or(0, BTreeMap::len)
    }

    pub(crate) fn credential(&self, account: AccountId, username: &str) -> Option<&CredentialRow> {
        self.credentials.get(&account)?.get(username)
    }

    pub(crate) fn token(&self, id: &str) -> Option<&TokenRow> {
        self.tokens.get(id)
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &TokenRow> {
        self.tokens.values()
    }

    pub(crate) fn token_by_hash(&self, hash: &SecretHash) -> Option<&TokenRow> {
        self.tokens.get(self.bearers.get(&hash.0)?)
    }

    /// By domain.
    pub(crate) fn routes(&self) -> impl ExactSizeIterator<Item = &RouteRow> {
        self.routes.rows.values()
    }

    /// Those whose DNS is waited for, by domain.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &RouteRow> {
        self.waiting.iter().filter_map(|domain| self.routes.rows.get(domain))
    }

    /// By domain, from the one behind `after` on.
    pub(crate) fn routes_behind(&self, after: &str) -> impl Iterator<Item = &RouteRow> {
        self.routes.rows.range::<str, _>((Bound::Excluded(after), Bound::Unbounded)).map(|(_, row)| row)
    }

    /// By domain.
    pub(crate) fn routes_of(&self, account: AccountId) -> impl Iterator<Item = &RouteRow> {
        self.routes.of(account)
    }

    pub(crate) fn route(&self, domain: &str) -> Option<&RouteRow> {
        self.routes.rows.get(domain)
    }

    /// By domain.
    pub(crate) fn certificates(&self) -> impl ExactSizeIterator<Item = &CertificateRow> {
        self.certificates.rows.values()
    }

    /// By domain.
    pub(crate) fn certificates_of(&self, account: AccountId) -> impl Iterator<Item = &CertificateRow> {
        self.certificates.of(account)
    }

    pub(crate) fn certificate(&self, domain: &str) -> Option<&CertificateRow> {
        self.certificates.rows.get(domain)
    }

    /// By domain.
    pub(crate) fn issuances(&self) -> impl ExactSizeIterator<Item = &IssuanceRow> {
        self.issuances.values()
    }

    pub(crate) fn issuance(&self, domain: &str) -> Option<&IssuanceRow> {
        self.issuances.get(domain)
    }

    /// Every password whose end is known, in no order of time.
    pub(crate) fn endings(&self) -> impl Iterator<Item = (SecretId, &Ending)> {
        self.endings.iter().map(|(id, ending)| (*id, ending))
    }
}
