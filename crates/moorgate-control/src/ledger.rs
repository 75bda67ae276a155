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
    store::{Counted, Use, totals},
};

/// The counts of one run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    hours: HashMap<Key, Counts>,
    /// The same by the keys of [`totals`].
    totals: HashMap<Key, Counts>,
    months: HashMap<(u64, AccountId), Spent>,
    /// What has changed since it was written.
    changed: HashSet<Key>,
    changed_totals: HashSet<Key>,
    changed_months: HashSet<(u64, AccountId)>,
    uses: HashMap<CredentialId, (Timestamp, IpAddr)>,
    /// Of accounts that have a quota of requests: how many were counted when this run first looked at what traffic had let
    /// through in a month, what that was, and what it is by now.
    begun: HashMap<(u64, AccountId), (u64, u64, u64)>,
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
            for total in totals(&key) {
                self.totals.entry(total.clone()).or_default().merge(&counts);
                self.changed_totals.insert(total);
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
        if self.changed.is_empty() && self.changed_months.is_empty() && self.uses.is_empty() {
            return None;
        }
        let hour = |key: &Key| Some((key.clone(), self.hours.get(key)?.clone()));
        let total = |key: &Key| Some((key.clone(), self.totals.get(key)?.clone()));
        let month = |(month, account): &(u64, AccountId)| (*month, *account, self.spent(*month, *account));
        Some(Counted {
            run: run.to_owned(),
            hours: self.changed.iter().filter_map(hour).collect(),
            totals: self.changed_totals.iter().filter_map(total).collect(),
            months: self.changed_months.iter().map(month).collect(),
            uses: self.uses.iter().map(|(credential, (at, client))| (*credential, *at, *client)).collect(),
        })
    }

    /// Takes note of what was written, and lets go of hours that are over. What has grown since has yet to be written.
    pub(crate) fn written(&mut self, counted: &Counted, now: Timestamp) {
        for (key, counts) in &counted.hours {
            forget_if(&mut self.changed, key, self.hours.get(key) == Some(counts));
        }
        for (key, counts) in &counted.totals {
            forget_if(&mut self.changed_totals, key, self.totals.get(key) == Some(counts));
        }
        for (month, account, spent) in &counted.months {
            let is_same = self.spent(*month, *account) == *spent;
            forget_if(&mut self.changed_months, &(*month, *account), is_same);
        }
        for (credential, at, client) in &counted.uses {
            if self.uses.get(credential) == Some(&(*at, *client)) {
                self.uses.remove(credential);
            }
        }
        let (hour, month) = (calendar::hour(now), calendar::month(now));
        // Reports of the last hour may still be on their way.
        self.hours.retain(|key, _| key.hour + 1 >= hour || self.changed.contains(key));
        self.totals.retain(|key, _| key.hour + 1 >= hour || self.changed_totals.contains(key));
        self.months.retain(|of, _| of.0 + 1 >= month || self.changed_months.contains(of));
        self.begun.retain(|of, _| of.0 + 1 >= month || self.changed_months.contains(of));
    }

    /// Takes note of how many requests of an account traffic has let through so far: those that are still open are spent
    /// too, and what ends is counted no second time.
    pub(crate) fn begun(&mut self, month: u64, account: AccountId, requests: u64) {
        let ended = self.months.get(&(month, account)).map_or(0, |spent| spent.requests);
        let (.., now) = self.begun.entry((month, account)).or_insert((ended, requests, requests));
        if *now != requests {
            *now = requests;
            self.months.entry((month, account)).or_default();
            self.changed_months.insert((month, account));
        }
    }

    /// Uses of credentials that have yet to be written.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (CredentialId, Use)> {
        self.uses.iter().map(|(credential, (at, client))| (*credential, (*at, Some(*client))))
    }

    /// What this run has counted of an account in a month.
    pub(crate) fn spent(&self, month: u64, account: AccountId) -> Spent {
        let Spent { requests, bytes } = self.months.get(&(month, account)).copied().unwrap_or_default();
        let begun = self.begun.get(&(month, account)).map(|(counted, first, now)| counted + now.saturating_sub(*first));
        Spent { requests: requests.max(begun.unwrap_or_default()), bytes }
    }
}

fn forget_if<K: Eq + std::hash::Hash>(changed: &mut HashSet<K>, key: &K, is_written: bool) {
    if is_written {
        changed.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use moorgate_contract::usage::Whose;

    use super::*;

    #[test]
    fn what_grows_while_it_is_written_is_written_again() {
        let account = AccountId(1);
        let whose = Whose { account: Some(account), ..Whose::default() };
        let key = Key { hour: 9_000, whose, host: None, egress: None };
        let month = calendar::month_of_hour(key.hour);
        let mut ledger = Ledger::default();
        let grow = |ledger: &mut Ledger| {
            ledger.hours.entry(key.clone()).or_default().requests += 1;
            ledger.changed.insert(key.clone());
            ledger.months.entry((month, account)).or_default().requests += 1;
            ledger.changed_months.insert((month, account));
            ledger.uses.insert(CredentialId(1), (Timestamp(ledger.hours[&key].requests), [127, 0, 0, 1].into()));
        };
        grow(&mut ledger);
        let first = ledger.unwritten("run").unwrap();
        grow(&mut ledger);
        // Hours later.
        let later = calendar::begin_of_hour(key.hour + 3_000);
        ledger.written(&first, later);
        let second = ledger.unwritten("run").unwrap();
        assert_eq!((second.hours[0].1.requests, second.months[0].2.requests, second.uses[0].1), (2, 2, Timestamp(2)));
        ledger.written(&second, later);
        assert!(ledger.unwritten("run").is_none() && ledger.hours.is_empty() && ledger.months.is_empty());
    }

    #[test]
    fn a_request_counts_when_it_is_let_through_and_once() {
        let (mut ledger, account) = (Ledger::default(), AccountId(1));
        let ended = |ledger: &mut Ledger, requests| {
            ledger.months.entry((7, account)).or_default().requests += requests;
        };
        ended(&mut ledger, 2);
        // Two were counted before anybody looked at what traffic says.
        ledger.begun(7, account, 10);
        assert_eq!(ledger.spent(7, account).requests, 2);
        ledger.begun(7, account, 15);
        assert_eq!(ledger.spent(7, account).requests, 7, "five are open");
        ended(&mut ledger, 5);
        assert_eq!(ledger.spent(7, account).requests, 7, "and have ended");
        assert_eq!(ledger.spent(8, account).requests, 0);
    }
}
