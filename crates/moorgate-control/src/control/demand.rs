//! Quotas over all gateways on a store: each says every second what it has and wants of them, and leaves to the others what
//! they say; of a month's it takes its part while others spend it too. While the store is down they hold at each gateway by
//! itself.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use moorgate_contract::{
    account::{Account, AccountId},
    quota::{
        Quota,
        part::{Demand, THOUSAND},
    },
};

use super::{Control, Inner};
use crate::{error::Result, limits::SETTLE, store::Store};

/// What others said holds for so long; then they may be gone, or we have lost the store.
const HOLDS: Duration = SETTLE.saturating_mul(15);
/// Rates are measured over no less.
const SHORTEST: Duration = Duration::from_millis(500);
/// Of a second.
const NANOS: u128 = 1_000_000_000;

/// What is known of what gateways want.
#[derive(Debug, Default)]
pub(crate) struct Demands {
    own: Own,
    others: HashMap<AccountId, Vec<Demand>>,
    heard: Option<Instant>,
}

/// What this gateway wants, and what its counters stood at when that was worked out.
#[derive(Debug, Default)]
struct Own {
    at: Option<Instant>,
    counted: HashMap<AccountId, Counted>,
    wants: Vec<(AccountId, Demand)>,
}

/// How many gateways spend at the same time.
pub(super) struct Sharers {
    pub(super) of_requests: u64,
    pub(super) of_bytes: u64,
}

/// Counters of a quota.
#[derive(Clone, Copy, Debug)]
struct Counted {
    asked: u64,
    bytes: u64,
}

impl Demands {
    /// What others have and want of an account's quotas, while it is known.
    pub(super) fn of_others(&self, account: AccountId, now: Instant) -> &[Demand] {
        let is_known = self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < HOLDS);
        let known = if is_known { self.others.get(&account) } else { None };
        known.map_or(&[], Vec::as_slice)
    }
}

impl Own {
    /// Works out what is wanted, of accounts with something open and of those with quotas.
    fn look<'a>(&mut self, accounts: impl Iterator<Item = &'a Account>, now: Instant) {
        let since = self.at.map(|at| now.saturating_duration_since(at));
        if since.is_some_and(|since| since < SHORTEST) {
            return;
        }
        let mut counted = HashMap::new();
        self.wants.clear();
        for account in accounts {
            let mut demand = Demand { open: account.load.taken() as u64, ..Demand::default() };
            if let Some(quota) = account.quota.as_deref() {
                let now = Counted { asked: quota.asked(), bytes: quota.spent().bytes };
                let before = self.counted.get(&account.id).unwrap_or(&now);
                let in_a_second = |count: u64| rate(count, since.unwrap_or_default());
                demand.requests = in_a_second(now.asked.saturating_sub(before.asked).saturating_mul(THOUSAND));
                demand.bytes = match quota.quotas().bytes_per_second {
                    Some(all) if quota.was_held_up() => all,
                    _ => in_a_second(now.bytes.saturating_sub(before.bytes)),
                };
                counted.insert(account.id, now);
            }
            if !demand.is_nothing() {
                self.wants.push((account.id, demand));
            }
        }
        (self.at, self.counted) = (Some(now), counted);
    }
}

/// What `count` in `time` is in a second.
fn rate(count: u64, time: Duration) -> u64 {
    let rate = (u128::from(count) * NANOS).checked_div(time.as_nanos()).unwrap_or_default();
    u64::try_from(rate).unwrap_or(u64::MAX)
}

impl Control {
    /// Says to the other gateways what this one wants of quotas, and hears what they want.
    pub(crate) async fn exchange_demand(&self) -> Result<()> {
        if !self.inner.is_shared() {
            return Ok(());
        }
        let said = self.inner.own_demand(Instant::now());
        let run = self.inner.counting.run.clone();
        let work = async move |mut store: Store| {
            let heard = store.exchange_demand(&run, &said).await?;
            Ok((store, heard))
        };
        let heard = self.aside(work).await?;
        let mut others: HashMap<AccountId, Vec<Demand>> = HashMap::new();
        for said in heard {
            let said: Vec<(AccountId, Demand)> = serde_json::from_str(&said).unwrap_or_default();
            said.into_iter().for_each(|(account, demand)| others.entry(account).or_default().push(demand));
        }
        let mut demands = super::lock(&self.inner.demands);
        (demands.others, demands.heard) = (others, Some(Instant::now()));
        Ok(())
    }

    /// How many tunnels and exchanges of an account are open: on this gateway, and on the others as they last said.
    pub fn open_of(&self, account: &Account) -> usize {
        let demands = super::lock(&self.inner.demands);
        let others = demands.of_others(account.id, Instant::now()).iter();
        let others: u64 = others.map(|demand| demand.open).fold(0, u64::saturating_add);
        account.load.taken().saturating_add(usize::try_from(others).unwrap_or(usize::MAX))
    }
}

impl Inner {
    fn own_demand(&self, now: Instant) -> String {
        let (snapshot, mut demands) = (self.current.load(), super::lock(&self.demands));
        demands.own.look(snapshot.accounts().map(|account| &**account), now);
        // Numbers: nothing in them can fail to be JSON.
        serde_json::to_string(&demands.own.wants).unwrap_or_default()
    }

    /// How many gateways spend of an account's quotas now, this one included.
    pub(super) fn sharers(&self, account: AccountId) -> Sharers {
        let demands = super::lock(&self.demands);
        let others = demands.of_others(account, Instant::now());
        let count = |spends: fn(&Demand) -> bool| 1 + others.iter().filter(|other| spends(other)).count() as u64;
        Sharers { of_requests: count(|other| other.requests > 0), of_bytes: count(|other| other.bytes > 0) }
    }

    /// Leaves to other gateways what they have and want.
    pub(super) fn leave_to_others(&self, account: AccountId, quota: &Quota) {
        quota.leave_to(super::lock(&self.demands).of_others(account, Instant::now()));
    }
}
