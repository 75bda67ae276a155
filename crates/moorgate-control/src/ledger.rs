//! What this run of a gateway has counted and still writes on: each hour's and month's counts as they are by now.
//!
//! They are written as they stand, never as what was added, so that a write whose answer was lost may be done again.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use moorgate_contract::{
    account::{AccountId, CredentialId},
    quota::Spent,
    time::Timestamp,
    usage::{Counts, Key, OTHER_HOSTS, Usage},
};

use crate::{
    calendar,
    limits::MAX_COUNTED,
    store::{Counted, Use},
};

/// The counts of one run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    hours: HashMap<Key, Counts>,
    months: HashMap<(u64, AccountId), Spent>,
    /// What has changed since it was written.
    changed: HashSet<Key>,
    changed_months: HashSet<(u64, AccountId)>,
    uses: HashMap<CredentialId, (Timestamp, IpAddr)>,
}

impl Ledger {
    /// Adds what traffic has reported.
    pub(crate) fn add(&mut self, usage: &mut Usage) {
        for (credential, at, client) in usage.last_uses() {
            self.uses.insert(credential, (at, client));
        }
        for (mut key, counts) in usage.take() {
            if let Some(account) = key.whose.account {
                let month = (calendar::month_of_hour(key.hour), account);
                let spent = self.months.entry(month).or_default();
                spent.requests += counts.connections + counts.requests;
                spent.bytes += counts.bytes_up + counts.bytes_down;
                self.changed_months.insert(month);
            }
            // While the store is down the counts grow; which hosts they were of is given up first.
            if self.hours.len() >= MAX_COUNTED && !self.hours.contains_key(&key) {
                key.host = key.host.map(|_| OTHER_HOSTS.into());
            }
            self.hours.entry(key.clone()).or_default().merge(&counts);
            self.changed.insert(key);
        }
    }

    /// What has to be written; `None`: nothing.
    pub(crate) fn unwritten(&self, run: &str) -> Option<Counted> {
        if self.changed.is_empty() && self.uses.is_empty() {
            return None;
        }
        let hour = |key: &Key| Some((key.clone(), self.hours.get(key)?.clone()));
        let month = |month: &(u64, AccountId)| Some((month.0, month.1, *self.months.get(month)?));
        Some(Counted {
            run: run.to_owned(),
            hours: self.changed.iter().filter_map(hour).collect(),
            months: self.changed_months.iter().filter_map(month).collect(),
            uses: self.uses.iter().map(|(credential, (at, client))| (*credential, *at, *client)).collect(),
        })
    }

    /// Takes note that all of it was written, and lets go of hours that are over.
    pub(crate) fn written(&mut self, now: Timestamp) {
        self.changed.clear();
        self.changed_months.clear();
        self.uses.clear();
        let (hour, month) = (calendar::hour(now), calendar::month(now));
        // Reports of the last hour may still be on their way.
        self.hours.retain(|key, _| key.hour + 1 >= hour);
        self.months.retain(|(of, _), _| of + 1 >= month);
    }

    /// Uses of credentials that have yet to be written.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (CredentialId, Use)> {
        self.uses.iter().map(|(credential, (at, client))| (*credential, (*at, Some(*client))))
    }

    /// What this run has counted of an account in a month.
    pub(crate) fn spent(&self, month: u64, account: AccountId) -> Spent {
        self.months.get(&(month, account)).copied().unwrap_or_default()
    }
}
