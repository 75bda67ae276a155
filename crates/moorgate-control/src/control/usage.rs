//! Usage: counted by traffic, written each second, read by whoever counts and bills; and the quotas that follow from it.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use moorgate_contract::{
    account::{AccountId, CredentialId},
    quota::{Grant, Quotas, Spent},
    route::RouteId,
    time::Timestamp,
    usage::{Counts, Key, Usage, Whose},
};

use tokio::time::timeout;

use super::{Control, Inner, now};
use crate::{
    calendar,
    error::{ControlError, Result, What},
    ledger::Ledger,
    limits::STORE_TIME,
    store::{Store, Use},
    usage_views::{GroupBy, Part, UsageFilter, UsageRow},
};

/// What traffic has counted, until it is written and after.
pub(crate) struct Counting {
    /// Names this run of this gateway in what is counted.
    pub(super) run: String,
    /// What traffic has counted and nobody has taken yet.
    usage: Arc<Mutex<Usage>>,
    ledger: Mutex<Ledger>,
    /// Held by whoever writes it.
    turn: tokio::sync::Mutex<()>,
    others: Mutex<Others>,
    /// Which quotas people were warned of.
    warned: Mutex<Warned>,
    /// How long usage is kept.
    keep: Duration,
}

impl Counting {
    pub(super) fn new(run: String, usage: Arc<Mutex<Usage>>, keep: Duration) -> Self {
        let (ledger, others, warned) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { run, usage, ledger, turn: tokio::sync::Mutex::default(), others, warned, keep }
    }
}

/// By account and quota: the month, and how urgently people were warned of it.
pub(crate) type Warned = HashMap<(AccountId, &'static str), (u64, u8)>;

/// What other gateways, and runs of this one before, have counted of a month.
#[derive(Debug, Default)]
pub(crate) struct Others {
    month: u64,
    spent: HashMap<AccountId, Spent>,
}

/// When credentials were used last, and from where.
pub(crate) struct Uses {
    uses: HashMap<CredentialId, Use>,
    /// Not so while the store is down: then it is what this gateway has seen and not written yet.
    is_whole: bool,
}

impl Uses {
    /// Of one credential. `Err`: nobody knows now.
    pub(crate) fn of(&self, credential: CredentialId) -> Result<Option<Use>, ()> {
        match self.uses.get(&credential) {
            None if !self.is_whole => Err(()),
            used => Ok(used.copied()),
        }
    }
}

impl Control {
    /// Takes what traffic has counted, writes it, and grants accounts with quotas what is left of them. Says whether it
    /// was written.
    pub(crate) async fn settle(&self) -> Result<()> {
        let inner = &self.inner;
        inner.take_usage();
        inner.note_begun(now());
        let written = self.write_usage().await;
        let seen = self.see_others().await;
        let heard = self.exchange_demand().await;
        inner.grant(now());
        written.and(seen).and(heard)
    }

    async fn write_usage(&self) -> Result<()> {
        // One after the other: what is older must not be written last.
        let _turn = self.inner.counting.turn.lock().await;
        let unwritten = self.inner.ledger().unwritten(&self.inner.counting.run);
        let Some(counted) = unwritten.map(Arc::new) else { return Ok(()) };
        let written = counted.clone();
        let work = async move |mut store: Store| {
            store.write_usage(&counted).await?;
            Ok((store, ()))
        };
        self.aside(work).await?;
        self.inner.ledger().written(&written, now());
        Ok(())
    }

    /// What others count changes only where there are others, and matters only where there is a quota.
    async fn see_others(&self) -> Result<()> {
        let month = calendar::month(now());
        let known = super::lock(&self.inner.counting.others).month == month;
        let alone = self.inner.store_url.server().is_none();
        let has_quota = self.snapshot().metered_accounts().next().is_some();
        if !has_quota || (known && alone) {
            return Ok(());
        }
        let run = self.inner.counting.run.clone();
        let work = async move |mut store: Store| {
            let spent = store.spent_by_others(month, &run).await?;
            Ok((store, spent))
        };
        let spent = self.aside(work).await?;
        *super::lock(&self.inner.counting.others) = Others { month, spent };
        Ok(())
    }

    /// What was moved, grouped, in the order of the groups.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageRow>> {
        let account = filter.account.as_deref().map(|name| self.inner.account_id(name)).transpose()?;
        let part = match (filter.of, account) {
            (Some(part), Some(account)) => Some(self.inner.whose(account, &part)?),
            _ => None,
        };
        // What was counted up to now is in it, unless the store is slow.
        let begun = Instant::now();
        let _ = timeout(STORE_TIME / 4, self.settle()).await;
        let (since, until) = (calendar::hour(filter.since), calendar::hour(filter.until).saturating_add(1));
        let whose = part.as_ref().map_or(Whose { account, ..Whose::default() }, |part| part.whose(account));
        let work = async move |mut store: Store| {
            // Sums tell hours and accounts apart; what else there is only its rows do.
            let rows = if matches!(filter.by, GroupBy::Account | GroupBy::Hour) {
                store.usage_totals(whose, since, until).await?
            } else {
                let mut rows = store.usage(account, since, until).await?;
                rows.retain(|(key, _)| part.as_ref().is_none_or(|part| part.has(key)));
                rows
            };
            Ok((store, rows))
        };
        let mut rows = self.aside_within(STORE_TIME.saturating_sub(begun.elapsed()), work).await?;
        // Hours that are counted together are those up to the last one's end.
        let together = filter.hours.max(1);
        for (key, _) in rows.iter_mut().filter(|_| filter.by == GroupBy::Hour) {
            let back = until.saturating_sub(key.hour);
            key.hour = until.saturating_sub(back.div_ceil(together) * together);
        }
        Ok(self.inner.grouped(rows, filter.by))
    }

    /// When an account's credentials were used last, and from where.
    pub(crate) async fn uses(&self, account: AccountId) -> Uses {
        self.inner.take_usage();
        let read = async move |mut store: Store| {
            let uses = store.uses(account).await?;
            Ok((store, uses))
        };
        let read = self.aside(read).await;
        let (is_whole, mut uses) = (read.is_ok(), read.unwrap_or_default());
        for (credential, own) in self.inner.ledger().uses() {
            let newest = uses.entry(credential).or_insert(own);
            *newest = own.max(*newest);
        }
        Uses { uses, is_whole }
    }

    /// Forgets usage that is older than it is to be kept.
    pub(crate) async fn forget_usage(&self) -> Result<()> {
        let kept = self.inner.counting.keep;
        let before = calendar::hour(now()).saturating_sub(kept.as_secs() / 3600);
        self.aside(async move |mut store: Store| {
            store.forget_usage(before).await?;
            Ok((store, ()))
        })
        .await
    }
}

/// How urgent it is: 1 from four fifths of a quota on, 2 when all of it is spent.
pub fn stage_of(used: u64, limit: u64) -> u8 {
    match used {
        used if used >= limit => 2,
        used if u128::from(used) * 5 >= u128::from(limit) * 4 => 1,
        _ => 0,
    }
}

/// Whose rows are wanted.
enum Wanted {
    Credential(CredentialId),
    Route(RouteId),
}

impl Wanted {
    fn whose(&self, account: Option<AccountId>) -> Whose {
        match *self {
            Self::Credential(id) => Whose { account, credential: Some(id), route: None },
            Self::Route(id) => Whose { account, credential: None, route: Some(id) },
        }
    }

    fn has(&self, key: &Key) -> bool {
        match self {
            Self::Credential(id) => key.whose.credential == Some(*id),
            Self::Route(id) => key.whose.route == Some(*id),
        }
    }
}

impl Inner {
    fn whose(&self, account: AccountId, part: &Part) -> Result<Wanted> {
        let book = self.book();
        match part {
            Part::Credential(username) => {
                let row = book.credential(account, username);
                let absent = || ControlError::not_found(What::Credential, username);
                row.map(|row| Wanted::Credential(row.id)).ok_or_else(absent)
            }
            Part::Route(domain) => {
                let row = book.route(domain).filter(|row| row.account == account);
                row.map(|row| Wanted::Route(row.id)).ok_or_else(|| ControlError::not_found(What::Route, domain))
            }
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        super::lock(&self.counting.ledger)
    }

    pub(crate) fn take_usage(&self) {
        // Taken out at once: traffic's reports wait for this lock.
        let mut taken = {
            let mut usage = self.counting.usage.lock().unwrap_or_else(PoisonError::into_inner);
            if usage.is_empty() {
                return;
            }
            std::mem::take(&mut *usage)
        };
        self.ledger().add(&mut taken);
        // Which hosts an hour has is remembered there.
        let mut usage = self.counting.usage.lock().unwrap_or_else(PoisonError::into_inner);
        taken.absorb(std::mem::take(&mut *usage));
        *usage = taken;
    }

    /// Requests count where they are let through, for whoever has a quota of them.
    fn note_begun(&self, now: Timestamp) {
        let (month, mut ledger) = (calendar::month(now), self.ledger());
        for account in self.current.load().metered_accounts() {
            if let Some(quota) = account.quota.as_ref().filter(|quota| quota.quotas().requests_per_month.is_some()) {
                ledger.begun(month, account.id, quota.spent().requests);
            }
        }
    }

    /// Says to every account with quotas how far it may go.
    fn grant(&self, now: Timestamp) {
        let month = calendar::month(now);
        let until = calendar::end_of_month(month);
        let (others, ledger) = (super::lock(&self.counting.others), self.ledger());
        for account in self.current.load().metered_accounts() {
            let Some(quota) = &account.quota else { continue };
            let own = ledger.spent(month, account.id);
            let other = others.spent.get(&account.id).filter(|_| others.month == month).copied().unwrap_or_default();
            let (quotas, spent) = (quota.quotas(), quota.spent());
            let left = |limit: Option<u64>, used: u64| {
                let end = if limit.is_some_and(|limit| used > limit) { i64::MIN } else { i64::MAX };
                limit.map(|limit| limit.checked_signed_diff(used).unwrap_or(end))
            };
            let used = Spent { requests: own.requests + other.requests, bytes: own.bytes + other.bytes };
            self.warn_of_quota(&account.name, account.id, quotas, used, month);
            let sharers = self.sharers(account.id);
            let part = |left: Option<i64>, limit: Option<u64>, sharers| Some(quotas.part(left?, limit?, sharers));
            quota.grant(Grant {
                at: spent,
                requests: part(
                    left(quotas.requests_per_month, used.requests),
                    quotas.requests_per_month,
                    sharers.of_requests,
                ),
                bytes: part(left(quotas.bytes_per_month, used.bytes), quotas.bytes_per_month, sharers.of_bytes),
                until,
            });
            self.leave_to_others(account.id, quota);
        }
    }

    /// Says so when most of a month's quota is spent, and when all of it is; each once.
    fn warn_of_quota(&self, name: &str, account: AccountId, quotas: &Quotas, used: Spent, month: u64) {
        let mut warned = super::lock(&self.counting.warned);
        let all =
            [("requests", quotas.requests_per_month, used.requests), ("bytes", quotas.bytes_per_month, used.bytes)];
        for (of, limit, used) in all.into_iter().filter_map(|(of, limit, used)| Some((of, limit?, used))) {
            let stage = stage_of(used, limit);
            let known = warned.entry((account, of)).or_insert((month, 0));
            if known.0 != month {
                *known = (month, 0);
            }
            if stage > known.1 {
                known.1 = stage;
                let what = if stage == 2 {
                    "has spent its quota of the month"
                } else {
                    "has spent four fifths of its quota of the month"
                };
                tracing::warn!(
                    account = name,
                    quota = of,
                    used,
                    limit,
                    "an account {what}; a larger tier gives it more"
                );
            }
        }
    }

    /// Whether what runs before this one and other gateways have counted of a month is known.
    pub(super) fn knows_spent(&self, month: u64) -> bool {
        super::lock(&self.counting.others).month == month
    }

    /// What an account has spent of the current month, on all gateways.
    pub(crate) fn spent(&self, account: AccountId, now: Timestamp) -> Spent {
        let month = calendar::month(now);
        let own = self.ledger().spent(month, account);
        let others = super::lock(&self.counting.others);
        let other = others.spent.get(&account).filter(|_| others.month == month).copied().unwrap_or_default();
        Spent { requests: own.requests + other.requests, bytes: own.bytes + other.bytes }
    }

    fn grouped(&self, rows: Vec<(Key, Counts)>, by: GroupBy) -> Vec<UsageRow> {
        let book = self.book();
        let (mut names, mut domains): (HashMap<_, String>, HashMap<_, String>) = Default::default();
        if matches!(by, GroupBy::Credential | GroupBy::All) {
            names = book.credentials().map(|row| (row.id, row.username.clone())).collect();
        }
        if matches!(by, GroupBy::Route | GroupBy::All) {
            domains = book.routes().map(|row| (row.id, row.domain.clone())).collect();
        }
        let mut groups: BTreeMap<UsageRow, Counts> = BTreeMap::new();
        for (key, counts) in rows {
            let account = key.whose.account.map(|id| {
                let known = book.account_by_id(id).map(|row| row.name.clone());
                known.unwrap_or_else(|| format!("(removed {})", id.0))
            });
            let gone = |what: &str, id: u64| format!("(removed {what} {id})");
            let credential =
                key.whose.credential.map(|id| names.get(&id).cloned().unwrap_or_else(|| gone("credential", id.0)));
            let route = key.whose.route.map(|id| domains.get(&id).cloned().unwrap_or_else(|| gone("route", id.0)));
            let egress: Option<IpAddr> = key.egress;
            let mut row = UsageRow { account, ..UsageRow::default() };
            match by {
                GroupBy::Account => {}
                GroupBy::Credential => row.credential = credential,
                GroupBy::Route => row.route = route,
                GroupBy::Host => row.host = key.host.map(|host| host.to_string()),
                GroupBy::Egress => row.egress = egress,
                GroupBy::Hour => row.hour = Some(calendar::begin_of_hour(key.hour)),
                GroupBy::All => {
                    (row.credential, row.route, row.egress) = (credential, route, egress);
                    row.host = key.host.map(|host| host.to_string());
                    row.hour = Some(calendar::begin_of_hour(key.hour));
                }
            }
            groups.entry(row).or_default().merge(&counts);
        }
        groups.into_iter().map(|(row, counts)| row.with(&counts)).collect()
    }
}
