//! Quotas: what an account's tier allows, and what is left of it.
//!
//! Counted here, in memory, where traffic asks; how far the counters may run, and what other gateways leave of the quotas of
//! a moment, is what the control plane grants. While that grants nothing anew, each month begins by itself: a control plane
//! that stands still stops nobody.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use part::{Demand, THOUSAND};
use serde::{Deserialize, Serialize};

use crate::{
    failure::{Code, Failure},
    pace::Pace,
    time::Timestamp,
};

pub mod part;

/// What a tier allows an account. `None`: without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Tunnels and exchanges begun in a second; so many may come at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// Tunnels and exchanges begun in a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_month: Option<u64>,
    /// Bytes in a second, both ways together: beyond it they wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Bytes in a month, both ways together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_month: Option<u64>,
    /// Tunnels and exchanges open at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<u32>,
    /// Hundredths of the monthly quotas that are tolerated beyond them before anything is refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub grace_percent: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(percent: &u8) -> bool {
    *percent == 0
}

impl Quotas {
    /// Whether nothing is limited, whatever the grace.
    pub fn is_unlimited(&self) -> bool {
        Self { grace_percent: 0, ..*self } == Self::default()
    }

    /// How far a counter may run that stands at `at`, with `left` of `quota` left, and the grace beyond it.
    fn most(&self, at: u64, left: Option<i64>, quota: Option<u64>) -> u64 {
        let (Some(left), Some(quota)) = (left, quota) else { return UNLIMITED };
        let most = i128::from(at) + i128::from(left) + i128::from(self.grace(quota));
        u64::try_from(most.max(0)).unwrap_or(UNLIMITED - 1)
    }

    /// What of `left` (below zero: what is spent of the grace) is for one of several gateways that spend a month's `quota` at
    /// the same time: an even part, rounded up, until each knows what the others spent.
    pub fn part(&self, left: i64, quota: u64, sharers: u64) -> i64 {
        let grace = i64::try_from(self.grace(quota)).unwrap_or(i64::MAX);
        let (all, sharers) = (left.saturating_add(grace), i64::try_from(sharers).unwrap_or(i64::MAX).max(1));
        if all <= 0 {
            return left;
        }
        (all / sharers + i64::from(all % sharers > 0)).saturating_sub(grace)
    }

    fn grace(&self, quota: u64) -> u64 {
        u64::try_from(u128::from(quota) * u128::from(self.grace_percent) / 100).unwrap_or(u64::MAX)
    }

    fn with_grace(&self, quota: Option<u64>) -> u64 {
        quota.map_or(UNLIMITED, |quota| quota.saturating_add(self.grace(quota)))
    }
}

/// What an account has spent since the process began. Never less than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Tunnels and exchanges that were let through.
    pub requests: u64,
    /// Bytes, both ways together.
    pub bytes: u64,
}

/// How far an account's counters may run. `None`: without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What the counters were when it was worked out.
    pub at: Spent,
    /// Requests that were left then, without grace; below zero: spent beyond the quota.
    pub requests: Option<i64>,
    /// Bytes.
    pub bytes: Option<i64>,
    /// When the month ends, and the next one's quotas begin.
    pub until: Timestamp,
}

/// What is granted for as long as nobody grants: longer than a month never is, so that nothing ends early.
pub const OWN_MONTH: Duration = Duration::from_secs(31 * 24 * 60 * 60);

const UNLIMITED: u64 = u64::MAX;
const SECOND: u64 = 1_000_000_000;

/// An account's quotas with what was spent of them. Edited quotas go on with the counters of those before
/// ([`Quota::replacing`]).
#[derive(Clone, Debug)]
pub struct Quota {
    quotas: Quotas,
    live: Arc<Live>,
}

/// Two are equal when they allow the same; what was spent says nothing.
impl PartialEq for Quota {
    fn eq(&self, other: &Self) -> bool {
        self.quotas == other.quotas
    }
}

impl Eq for Quota {}

#[derive(Debug)]
struct Live {
    requests: AtomicU64,
    bytes: AtomicU64,
    /// How far each may run, the grace included.
    most_requests: AtomicU64,
    most_bytes: AtomicU64,
    /// The month's end, in microseconds since the epoch.
    until: AtomicU64,
    /// Held by whoever changes what may be spent.
    granting: Mutex<()>,
    /// Nanoseconds since the epoch at which all requests so far are paid for (the theoretical arrival time of GCRA).
    paid_until: AtomicU64,
    /// Requests that came too fast.
    too_fast: AtomicU64,
    /// Of the quotas of a moment, what is for this gateway: thousandths of requests in a second, and places.
    rate: AtomicU64,
    places: AtomicU64,
    pace: Pace,
}

impl Quota {
    /// Quotas of which nothing was spent, in a month that ends at `until`.
    pub fn new(quotas: Quotas, until: Timestamp) -> Self {
        let live = Live {
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            most_requests: AtomicU64::new(quotas.with_grace(quotas.requests_per_month)),
            most_bytes: AtomicU64::new(quotas.with_grace(quotas.bytes_per_month)),
            until: AtomicU64::new(until.0),
            granting: Mutex::default(),
            paid_until: AtomicU64::new(0),
            too_fast: AtomicU64::new(0),
            rate: AtomicU64::new(UNLIMITED),
            places: AtomicU64::new(UNLIMITED),
            pace: Pace::new(quotas.bytes_per_second),
        };
        let quota = Self { quotas, live: Arc::new(live) };
        quota.leave_to(&[]);
        quota
    }

    /// These quotas with the counters of `old`. What may be spent is changed by as much as the quotas were, until control
    /// grants anew.
    #[must_use]
    pub fn replacing(&self, old: &Self) -> Self {
        let live = old.live.clone();
        if !Arc::ptr_eq(&self.live, &live) {
            let _granting = live.granting.lock().unwrap_or_else(PoisonError::into_inner);
            let (new, old) = (&self.quotas, &old.quotas);
            let shift = |most: &AtomicU64, spent: &AtomicU64, quota: fn(&Quotas) -> Option<u64>| {
                shift(most, spent, old.with_grace(quota(old)), new.with_grace(quota(new)));
            };
            shift(&live.most_requests, &live.requests, |quotas| quotas.requests_per_month);
            shift(&live.most_bytes, &live.bytes, |quotas| quotas.bytes_per_month);
        }
        let quota = Self { quotas: self.quotas, live };
        if quota != *old {
            // What others have of it is asked anew within a second.
            quota.leave_to(&[]);
        }
        quota
    }

    /// What the tier allows.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// What was spent so far.
    pub fn spent(&self) -> Spent {
        Spent { requests: self.live.requests.load(Relaxed), bytes: self.live.bytes.load(Relaxed) }
    }

    /// Says how far the counters may run from now on.
    pub fn grant(&self, grant: Grant) {
        let _granting = self.live.granting.lock().unwrap_or_else(PoisonError::into_inner);
        let (quotas, at) = (&self.quotas, grant.at);
        self.live.allow(
            quotas.most(at.requests, grant.requests, quotas.requests_per_month),
            quotas.most(at.bytes, grant.bytes, quotas.bytes_per_month),
            grant.until.0,
        );
    }

    /// Leaves to other gateways what they have and want of the quotas of a moment; the rest is for this one, until it is
    /// told anew.
    pub fn leave_to(&self, others: &[Demand]) {
        let (quotas, live) = (&self.quotas, &*self.live);
        let rate = quotas.requests_per_second.map(|rate| u64::from(rate) * THOUSAND);
        let rate = rate.map(|rate| part::share(rate, others.iter().map(|other| other.requests)));
        let places = quotas.tunnels.map(|tunnels| part::rest(tunnels.into(), others.iter().map(|other| other.open)));
        live.rate.store(rate.unwrap_or(UNLIMITED), Relaxed);
        live.places.store(places.unwrap_or(UNLIMITED), Relaxed);
        live.pace.set(quotas.bytes_per_second.map(|pace| part::share(pace, others.iter().map(|other| other.bytes))));
    }

    /// How many tunnels and exchanges may be open at once on this gateway, and whether others have what lacks of the
    /// quota. `None`: without limit.
    pub fn places(&self) -> Option<(u64, bool)> {
        let all = u64::from(self.quotas.tunnels?);
        let here = self.live.places.load(Relaxed).min(all);
        Some((here, here < all))
    }

    /// Requests so far, those that came too fast included.
    pub fn asked(&self) -> u64 {
        self.live.requests.load(Relaxed) + self.live.too_fast.load(Relaxed)
    }

    /// Whether any had to wait for the account's pace since this was asked last.
    pub fn was_held_up(&self) -> bool {
        self.live.pace.was_held_up()
    }

    /// Gives those that wait for the account's pace their part of what has come in since. `true`: it must
    /// be called again after [`TICK`](crate::pace::TICK).
    pub fn tick(&self, now: Instant) -> bool {
        self.live.pace.tick(now)
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.live.pace
    }

    /// Counts bytes that moved.
    pub fn spend_bytes(&self, bytes: u64) {
        self.live.bytes.fetch_add(bytes, Relaxed);
    }

    /// Lets one tunnel or exchange of `account` through and counts it, or says why not.
    ///
    /// # Errors
    /// [`Code::QuotaSpent`], with when to come again.
    pub fn take_request(&self, account: &str, now: Timestamp) -> Result<(), Failure> {
        let refused = |spent| self.refused(account, spent, now);
        let most = self.judge_month(now).map_err(refused)?;
        if !self.live.take_time(now) {
            self.live.too_fast.fetch_add(1, Relaxed);
            return Err(refused(SpentUp::RequestsPerSecond));
        }
        // Asked once more in the same breath: many at once must not be let in on the last one's place.
        let count = |requests: u64| (requests < most).then_some(requests + 1);
        let counted = self.live.requests.fetch_update(Relaxed, Relaxed, count);
        counted.map(drop).map_err(|_| refused(SpentUp::RequestsPerMonth))
    }

    /// Asks whether one more would be let through, and counts nothing.
    ///
    /// # Errors
    /// As [`take_request`](Self::take_request).
    pub fn judge(&self, account: &str, now: Timestamp) -> Result<(), Failure> {
        let refused = |spent| self.refused(account, spent, now);
        self.judge_month(now).map_err(refused)?;
        if self.live.is_in_time(now) { Ok(()) } else { Err(refused(SpentUp::RequestsPerSecond)) }
    }

    /// How far requests may run, where nothing of the month is spent.
    fn judge_month(&self, now: Timestamp) -> Result<u64, SpentUp> {
        self.begin_month(now);
        let most = self.live.most_requests.load(Relaxed);
        if self.live.requests.load(Relaxed) >= most {
            return Err(SpentUp::RequestsPerMonth);
        }
        if self.is_over_bytes() { Err(SpentUp::BytesPerMonth) } else { Ok(most) }
    }

    /// Whether open tunnels are to be cut: the month's bytes are spent, and the grace with them.
    pub fn is_beyond_grace(&self, now: Timestamp) -> bool {
        self.begin_month(now);
        self.is_over_bytes()
    }

    fn is_over_bytes(&self) -> bool {
        let most = self.live.most_bytes.load(Relaxed);
        most != UNLIMITED && self.live.bytes.load(Relaxed) >= most
    }

    /// Begins a month by itself where the last one is over and nobody granted anything.
    fn begin_month(&self, now: Timestamp) {
        let live = &*self.live;
        let until = live.until.load(Acquire);
        if until > now.0 {
            return;
        }
        let _granting = live.granting.lock().unwrap_or_else(PoisonError::into_inner);
        let until = live.until.load(Acquire);
        if until > now.0 {
            return;
        }
        let month = u64::try_from(OWN_MONTH.as_micros()).unwrap_or(u64::MAX);
        let over = (now.0 - until) / month + 1;
        let spent = self.spent();
        let further = |spent: u64, quota: Option<u64>| spent.saturating_add(self.quotas.with_grace(quota));
        live.allow(
            further(spent.requests, self.quotas.requests_per_month),
            further(spent.bytes, self.quotas.bytes_per_month),
            until.saturating_add(over.saturating_mul(month)),
        );
    }

    fn refused(&self, account: &str, spent: SpentUp, now: Timestamp) -> Failure {
        let quotas = &self.quotas;
        let month = Timestamp(self.live.until.load(Acquire)).since(now);
        let (limit, wait) = match spent {
            SpentUp::RequestsPerSecond => {
                let limit = quotas.requests_per_second.unwrap_or_default();
                (format!("{limit} requests per second"), Duration::from_secs(1))
            }
            SpentUp::RequestsPerMonth => {
                (format!("{} requests per month", quotas.requests_per_month.unwrap_or_default()), month)
            }
            SpentUp::BytesPerMonth => {
                (format!("{} per month", Size(quotas.bytes_per_month.unwrap_or_default())), month)
            }
        };
        let said = format_args!(
            "account {account} has spent its quota of {limit}; free again in {}, or ask your operator for a larger tier",
            Wait(wait)
        );
        Failure::new(Code::QuotaSpent, said).to_be_tried_after(wait)
    }
}

/// Carries a change of a quota over to how far its counter may run.
fn shift(most: &AtomicU64, spent: &AtomicU64, old: u64, new: u64) {
    let granted = most.load(Relaxed);
    let most_now = match (old, new) {
        (_, UNLIMITED) => UNLIMITED,
        (UNLIMITED, new) => spent.load(Relaxed).saturating_add(new),
        (old, new) if granted != UNLIMITED => {
            let moved = i128::from(granted) + i128::from(new) - i128::from(old);
            u64::try_from(moved.max(0)).unwrap_or(UNLIMITED - 1)
        }
        (_, new) => spent.load(Relaxed).saturating_add(new),
    };
    most.store(most_now, Relaxed);
}

impl Live {
    /// `until` last: who sees it sees the others.
    fn allow(&self, requests: u64, bytes: u64, until: u64) {
        self.most_requests.store(requests, Relaxed);
        self.most_bytes.store(bytes, Relaxed);
        self.until.store(until, Release);
    }

    /// Takes the time of one more request, if it comes no earlier than the rate allows.
    fn take_time(&self, now: Timestamp) -> bool {
        let rate = self.rate.load(Relaxed);
        // Without a rate nothing is written that other cores read.
        rate == UNLIMITED || self.paid_until.fetch_update(Relaxed, Relaxed, |paid| pay(paid, rate, now)).is_ok()
    }

    fn is_in_time(&self, now: Timestamp) -> bool {
        let rate = self.rate.load(Relaxed);
        rate == UNLIMITED || pay(self.paid_until.load(Relaxed), rate, now).is_some()
    }
}

/// Up to when is paid with one more request, where it was `paid` before; `None`: it comes too early. GCRA with a second's
/// worth at once; `rate` in thousandths of a request in a second.
fn pay(paid: u64, rate: u64, now: Timestamp) -> Option<u64> {
    let each = (SECOND * THOUSAND).checked_div(rate)?;
    let (now, burst) = (now.0.saturating_mul(1_000), each.max(SECOND));
    // A clock that was set back must not lock an account out until it is where it was.
    let paid = if paid > now.saturating_add(2 * burst) { now } else { paid.max(now) };
    let after = paid.saturating_add(each);
    (after - now <= burst).then_some(after)
}

/// Which quota is spent.
#[derive(Clone, Copy, Debug)]
enum SpentUp {
    RequestsPerSecond,
    RequestsPerMonth,
    BytesPerMonth,
}

/// Bytes that somebody has set, in the unit in which they were most likely written.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 8] = [
            (1_000_000_000_000, "TB"),
            (1 << 40, "TiB"),
            (1_000_000_000, "GB"),
            (1 << 30, "GiB"),
            (1_000_000, "MB"),
            (1 << 20, "MiB"),
            (1_000, "kB"),
            (1 << 10, "KiB"),
        ];
        let whole = UNITS.into_iter().find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit));
        let (unit, name) = whole.unwrap_or((1, "B"));
        write!(f, "{} {name}", self.0 / unit)
    }
}

/// A time to wait, in the largest unit that says it well.
struct Wait(Duration);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..120 => write!(f, "{} s", seconds.max(1)),
            120..7_200 => write!(f, "{} minutes", seconds.div_ceil(60)),
            7_200..172_800 => write!(f, "{} hours", seconds.div_ceil(3_600)),
            _ => write!(f, "{} days", seconds.div_ceil(86_400)),
        }
    }
}

#[cfg(test)]
mod tests;
