//! Who is told of alarms, and what they were told of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use moorgate_contract::{account::AccountId, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::alarm_views::AlarmKind;

/// A receiver of an account's alarms, as stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AlarmRow {
    pub(crate) id: String,
    pub(crate) account: AccountId,
    /// A URL, or an email address, as it was given.
    pub(crate) receiver: String,
    pub(crate) kinds: BTreeSet<AlarmKind>,
    /// What a URL's webhooks are signed with, sealed.
    pub(crate) secret: Option<Vec<u8>>,
    pub(crate) created: Timestamp,
    /// Why nothing is sent to it any more; empty: it is on.
    pub(crate) off: String,
}

impl fmt::Debug for AlarmRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlarmRow").field("id", &self.id).finish_non_exhaustive()
    }
}

impl AlarmRow {
    /// Whether it is told of these.
    pub(crate) fn wants(&self, kind: AlarmKind) -> bool {
        self.off.is_empty() && self.kinds.contains(&kind)
    }
}

/// What receivers were told of and is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TroubleRow {
    pub(crate) account: AccountId,
    pub(crate) kind: AlarmKind,
    /// On what: a domain, a username, a quota.
    pub(crate) about: String,
    /// How bad it is: told again when that grows.
    pub(crate) stage: u8,
    pub(crate) since: Timestamp,
    pub(crate) said: String,
}

impl TroubleRow {
    /// What it is found by.
    pub(crate) fn key(&self) -> TroubleKey {
        TroubleKey { account: self.account, kind: self.kind, about: self.about.clone() }
    }
}

/// What a trouble is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct TroubleKey {
    pub(crate) account: AccountId,
    pub(crate) kind: AlarmKind,
    pub(crate) about: String,
}

/// As the audit log has it.
impl fmt::Display for TroubleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.account.0, self.kind.name(), self.about)
    }
}

impl TroubleKey {
    /// Reads what [`Display`](fmt::Display) has written.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let account = AccountId(parts.next()?.parse().ok()?);
        Some(Self { account, kind: AlarmKind::from_name(parts.next()?)?, about: parts.next()?.to_owned() })
    }
}

/// All of them, found by what callers know.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    receivers: BTreeMap<AccountId, BTreeMap<String, AlarmRow>>,
    owners: BTreeMap<String, AccountId>,
    troubles: BTreeMap<AccountId, BTreeMap<TroubleKey, TroubleRow>>,
}

impl Alarms {
    pub(super) fn put(&mut self, row: AlarmRow) {
        self.owners.insert(row.id.clone(), row.account);
        self.receivers.entry(row.account).or_default().insert(row.id.clone(), row);
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(account) = self.owners.remove(id) else { return };
        if let Some(of) = self.receivers.get_mut(&account) {
            of.remove(id);
            if of.is_empty() {
                self.receivers.remove(&account);
            }
        }
    }

    pub(super) fn put_trouble(&mut self, row: TroubleRow) {
        self.troubles.entry(row.account).or_default().insert(row.key(), row);
    }

    pub(super) fn remove_trouble(&mut self, key: &TroubleKey) {
        if let Some(of) = self.troubles.get_mut(&key.account) {
            of.remove(key);
            if of.is_empty() {
                self.troubles.remove(&key.account);
            }
        }
    }

    pub(super) fn remove_account(&mut self, account: AccountId) {
        self.receivers.remove(&account);
        self.owners.retain(|_, owner| *owner != account);
        self.troubles.remove(&account);
    }

    /// Every receiver.
    pub(crate) fn all(&self) -> impl Iterator<Item = &AlarmRow> {
        self.receivers.values().flat_map(BTreeMap::values)
    }

    /// Those of an account, by id.
    pub(crate) fn of(&self, account: AccountId) -> impl Iterator<Item = &AlarmRow> {
        self.receivers.get(&account).into_iter().flat_map(BTreeMap::values)
    }

    /// One of an account's.
    pub(crate) fn one(&self, account: AccountId, id: &str) -> Option<&AlarmRow> {
        self.receivers.get(&account)?.get(id)
    }

    /// Whoever has a receiver, or was told of something.
    pub(crate) fn accounts(&self) -> BTreeSet<AccountId> {
        self.receivers.keys().chain(self.troubles.keys()).copied().collect()
    }

    /// Everything that is not over.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = &TroubleRow> {
        self.troubles.values().flat_map(BTreeMap::values)
    }

    /// What of it an account was told of.
    pub(crate) fn troubles_of(&self, account: AccountId) -> impl Iterator<Item = &TroubleRow> {
        self.troubles.get(&account).into_iter().flat_map(BTreeMap::values)
    }

    /// One of them.
    pub(crate) fn trouble(&self, key: &TroubleKey) -> Option<&TroubleRow> {
        self.troubles.get(&key.account)?.get(key)
    }
}
