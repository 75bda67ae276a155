//! Which of a route's origins gets a connection: the less loaded of two taken at random, the others when it fails.
//!
//! Reads no clock: `now` is the time since any fixed moment, the same for all calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::route::{Origin, OriginSpec};

/// Failures in a row after which an origin is left alone for a while.
pub const EJECT_AFTER: u32 = 3;
/// How long the first time; doubled each further time.
pub const EJECT_FIRST: Duration = Duration::from_secs(5);
/// And at most this long.
pub const EJECT_MOST: Duration = Duration::from_secs(300);
/// How long an origin that came back is given less than its share.
pub const SLOW_START: Duration = Duration::from_secs(30);
/// Failed checks in a row after which an origin counts as down; the first good one ends that.
pub const CHECKS_TO_DOWN: u32 = 2;

/// What is known of an origin: shared by every copy of its route.
#[derive(Debug, Default)]
pub struct Health {
    open: AtomicUsize,
    failures: AtomicU32,
    ejections: AtomicU32,
    /// Milliseconds of `now`; 0: not ejected.
    ejected_until: AtomicU64,
    /// Milliseconds of `now`; 0: never away.
    back_since: AtomicU64,
    failed_checks: AtomicU32,
    down: AtomicBool,
}

/// How an origin is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Gets traffic.
    Up,
    /// Failed several times in a row, and is left alone for a while.
    Ejected,
    /// Its checks fail.
    Down,
}

/// A connection or exchange of an origin, counted for as long as it lives.
#[derive(Debug)]
pub struct InUse(Arc<Health>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

fn millis(now: Duration) -> u64 {
    // Never 0: that means "not".
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Health {
    /// Counts one more connection or exchange.
    pub fn take(self: &Arc<Self>) -> InUse {
        self.open.fetch_add(1, Relaxed);
        InUse(self.clone())
    }

    /// Connections and exchanges that are open.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// How it is at `now`.
    pub fn standing(&self, now: Duration) -> Standing {
        if self.down.load(Relaxed) {
            Standing::Down
        } else if self.ejected_until.load(Relaxed) > millis(now) {
            Standing::Ejected
        } else {
            Standing::Up
        }
    }

    /// It took a connection, or answered a request. Whether it was away until now.
    pub fn succeeded(&self, now: Duration) -> bool {
        // The usual case writes nothing that other threads read.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if self.ejections.load(Relaxed) == 0 {
            return false;
        }
        self.ejections.store(0, Relaxed);
        self.ejected_until.store(0, Relaxed);
        self.back_since.store(millis(now), Relaxed);
        true
    }

    /// It refused a connection, or broke one off. Whether that ejects it.
    pub fn failed(&self, now: Duration) -> bool {
        // What was under way when it was ejected says nothing new.
        if self.ejected_until.load(Relaxed) > millis(now) {
            return false;
        }
        if self.failures.fetch_add(1, Relaxed) + 1 < EJECT_AFTER {
            return false;
        }
        self.failures.store(0, Relaxed);
        let times = self.ejections.fetch_add(1, Relaxed).min(16);
        let pause = EJECT_FIRST.saturating_mul(1 << times).min(EJECT_MOST);
        self.ejected_until.store(millis(now + pause), Relaxed);
        // From its end on, it is on trial.
        self.back_since.store(millis(now + pause), Relaxed);
        true
    }

    /// What an active check found. Whether its standing changed by it.
    pub fn checked(&self, good: bool, now: Duration) -> bool {
        if good {
            self.failed_checks.store(0, Relaxed);
            let was_down = self.down.swap(false, Relaxed);
            if was_down {
                self.back_since.store(millis(now), Relaxed);
            }
            return was_down;
        }
        let enough = self.failed_checks.fetch_add(1, Relaxed) + 1 >= CHECKS_TO_DOWN;
        enough && !self.down.swap(true, Relaxed)
    }

    /// It is checked no longer: what checks found says nothing from now on.
    pub fn unchecked(&self) {
        self.failed_checks.store(0, Relaxed);
        self.down.store(false, Relaxed);
    }

    /// Hundredths of its share: less while it has just come back.
    fn share(&self, now: Duration) -> u64 {
        let since = self.back_since.load(Relaxed);
        let slow = u64::try_from(SLOW_START.as_millis()).unwrap_or(u64::MAX);
        match millis(now).checked_sub(since) {
            Some(back) if since != 0 && back < slow => (back * 100 / slow).max(10),
            _ => 100,
        }
    }
}

/// The origins of a route, or of a part of its paths.
#[derive(Clone, Debug)]
pub struct Pool {
    origins: Arc<[Origin]>,
}

impl Pool {
    /// Origins of which nothing is known yet.
    pub fn new(specs: &[OriginSpec]) -> Self {
        Self { origins: specs.iter().map(Origin::new).collect() }
    }

    /// The origins, in the account's order.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Takes over what `old` knows of the same forwarding URLs.
    pub fn take_over(&mut self, old: &Self) {
        let known = |origin: &Origin| {
            let old = old.origins.iter().find(|old| old.url == origin.url);
            Origin { health: old.map_or_else(|| origin.health.clone(), |old| old.health.clone()), ..origin.clone() }
        };
        self.origins = self.origins.iter().map(known).collect();
    }

    /// The origin to try next; `tried` names those that failed this time, `random` is drawn anew for each call.
    /// While every origin is down or ejected, they are tried all the same: a wrong guess must not take an app offline.
    pub fn pick(&self, tried: &[usize], random: u64, now: Duration) -> Option<(usize, &Origin)> {
        if let ([only], []) = (&*self.origins, tried) {
            return Some((0, only));
        }
        let left = || self.origins.iter().enumerate().filter(|(at, _)| !tried.contains(at));
        let up: Vec<_> = left().filter(|(_, origin)| origin.health.standing(now) == Standing::Up).collect();
        let fit = if up.is_empty() { left().collect() } else { up };
        let one = draw(&fit, random & 0xffff_ffff, None, now)?;
        let Some(other) = draw(&fit, random >> 32, Some(one.0), now) else { return Some(one) };
        Some(if load(other.1, now) < load(one.1, now) { other } else { one })
    }
}

/// Open connections for what it can take, in millionths. Of two that have none the draw decides: a lighter one must get its
/// share where connections come one at a time, too.
fn load(origin: &Origin, now: Duration) -> u64 {
    let open = u64::try_from(origin.health.open()).unwrap_or(u64::MAX);
    open.saturating_mul(1_000_000) / capacity(origin, now)
}

fn capacity(origin: &Origin, now: Duration) -> u64 {
    u64::from(origin.weight) * origin.health.share(now)
}

/// One of `fit` at random, each as likely as it can take more; never `except`.
fn draw<'a>(
    fit: &[(usize, &'a Origin)],
    random: u64,
    except: Option<usize>,
    now: Duration,
) -> Option<(usize, &'a Origin)> {
    let others = || fit.iter().copied().filter(|(at, _)| Some(*at) != except);
    let total: u64 = others().map(|(_, origin)| capacity(origin, now)).sum();
    let mut left = random.checked_rem(total)?;
    for (at, origin) in others() {
        let own = capacity(origin, now);
        if left < own {
            return Some((at, origin));
        }
        left -= own;
    }
    None
}

#[cfg(test)]
mod tests;
