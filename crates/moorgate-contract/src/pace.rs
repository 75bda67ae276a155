//! The pace of an account: so many bytes in a second, shared evenly by those of its tunnels and exchanges that wait for
//! them. Nothing is refused; what is too fast waits. Reads no clock: time is given.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::{Duration, Instant},
};

use crate::quota::Quota;

/// How often those that wait are given something, while any wait.
pub const TICK: Duration = Duration::from_millis(20);
/// Of the bytes of a second, so many parts may be saved up: a tenth of a second's.
const SAVED_PARTS: u64 = 10;
/// And so many make what one that does not have to wait is given at once: a tick's.
const TICK_PARTS: u64 = 50;
/// Bytes below which a share is not split further: those first in line get theirs, the others the next time.
const LEAST: u64 = 256;

const UNLIMITED: u64 = u64::MAX;

/// What is left of an account's pace.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes in a second; [`UNLIMITED`]: as many as there are.
    rate: AtomicU64,
    /// Whether any had to wait since somebody asked.
    held_up: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    credit: u64,
    /// Up to when credit was given.
    paid: Option<Instant>,
    waiting: VecDeque<(Arc<Share>, Waker)>,
    /// Whether somebody has promised to tick: some wait, or did at the last tick.
    ticking: bool,
}

/// One open flow's part in its account's quotas.
#[derive(Debug)]
pub struct Share {
    quota: Arc<Quota>,
    /// Bytes that it may still move; below zero: it moved more than it was given.
    own: AtomicI64,
    waits: AtomicBool,
}

/// Whether a flow may move bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// So many now. More is not lost, but has to be waited for afterwards.
    Now(u64),
    /// None yet: its waker is called. With `tick` whoever asked must see to [`Quota::tick`] every [`TICK`] until that says
    /// that it is enough.
    Wait {
        /// Nobody ticks yet.
        tick: bool,
    },
}

impl Share {
    pub(crate) fn new(quota: Arc<Quota>) -> Arc<Self> {
        Arc::new(Self { quota, own: AtomicI64::new(0), waits: AtomicBool::new(false) })
    }

    /// The account's quotas.
    pub fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// Whether it waits for its turn: then it is not idle, though nothing moves.
    pub fn waits(&self) -> bool {
        self.waits.load(Relaxed)
    }

    /// Asks for a turn. One task of a flow at a time.
    pub fn turn(self: &Arc<Self>, now: Instant, waker: &Waker) -> Turn {
        let pace = self.quota.pace();
        if pace.is_unlimited() {
            return Turn::Now(UNLIMITED);
        }
        if let Some(own) = self.left() {
            return Turn::Now(own);
        }
        let mut state = pace.lock();
        if self.waits()
            && let Some((_, known)) = state.waiting.iter_mut().find(|(share, _)| Arc::ptr_eq(share, self))
        {
            known.clone_from(waker);
            return Turn::Wait { tick: false };
        }
        pace.refill(&mut state, now);
        let slice = pace.per(TICK_PARTS);
        // While there is not enough for all, everybody gets a tick's part: who asks first must not get more.
        if !state.ticking && state.credit >= slice {
            state.credit -= slice;
            self.give(slice);
            if let Some(own) = self.left() {
                return Turn::Now(own);
            }
        }
        state.waiting.push_back((self.clone(), waker.clone()));
        self.waits.store(true, Relaxed);
        pace.held_up.store(true, Relaxed);
        Turn::Wait { tick: !std::mem::replace(&mut state.ticking, true) }
    }

    /// Takes note of bytes that moved.
    pub(crate) fn moved(&self, bytes: u64) {
        if !self.quota.pace().is_unlimited() {
            self.own.fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX), Relaxed);
        }
    }

    fn left(&self) -> Option<u64> {
        u64::try_from(self.own.load(Relaxed)).ok().filter(|own| *own > 0)
    }

    fn give(&self, bytes: u64) {
        self.own.fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX), Relaxed);
    }
}

impl Pace {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        let rate = AtomicU64::new(rate.unwrap_or(UNLIMITED));
        Self { rate, held_up: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Whether any had to wait since this was asked last.
    pub(crate) fn was_held_up(&self) -> bool {
        self.held_up.swap(false, Relaxed)
    }

    /// From now on it is this many bytes in a second, for open flows, too.
    pub(crate) fn set(&self, rate: Option<u64>) {
        self.rate.store(rate.unwrap_or(UNLIMITED), Relaxed);
    }

    /// Gives those that wait what has come in; whether any had waited.
    pub(crate) fn tick(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let waiting = state.waiting.len();
        if self.is_unlimited() {
            state.waiting.drain(..).for_each(|(share, waker)| go(&share, &waker));
        } else {
            self.refill(&mut state, now);
            let even = state.credit.checked_div(waiting as u64).unwrap_or(0).max(LEAST);
            for _ in 0..waiting {
                let part = even.min(state.credit);
                if part == 0 {
                    break;
                }
                let Some((share, waker)) = state.waiting.pop_front() else { break };
                state.credit -= part;
                share.give(part);
                if share.left().is_some() {
                    go(&share, &waker);
                } else {
                    state.waiting.push_back((share, waker));
                }
            }
        }
        state.ticking = waiting > 0;
        state.ticking
    }

    fn is_unlimited(&self) -> bool {
        self.rate.load(Relaxed) == UNLIMITED
    }

    fn per(&self, parts: u64) -> u64 {
        (self.rate.load(Relaxed) / parts).max(1)
    }

    fn refill(&self, state: &mut State, now: Instant) {
        let most = self.per(SAVED_PARTS);
        let Some(paid) = state.paid else {
            (state.paid, state.credit) = (Some(now), most);
            return;
        };
        let (since, rate) = (now.saturating_duration_since(paid), u128::from(self.rate.load(Relaxed)));
        let earned = since.as_nanos().saturating_mul(rate) / 1_000_000_000;
        // What is less than a byte stays to be earned.
        if earned > 0 {
            state.paid = Some(now);
            state.credit = state.credit.saturating_add(u64::try_from(earned).unwrap_or(u64::MAX)).min(most);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under it but a waker, which comes last.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn go(share: &Share, waker: &Waker) {
    share.waits.store(false, Relaxed);
    waker.wake_by_ref();
}

#[cfg(test)]
mod tests;
