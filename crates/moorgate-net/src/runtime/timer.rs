//! Timers: on a worker one coarse wheel for all of them, elsewhere tokio's.
//!
//! Most timers are limits that never run out. Here one costs a place in two tables when something has to be waited for, and
//! nothing at all before.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;
use slab::Slab;
use thiserror::Error;

use super::executor::{here, now};

/// How exact a timer is: it runs out so much later at most, and never earlier, counted from when its task's turn began.
const TICK: Duration = Duration::from_millis(TICK_MILLIS);
const TICK_MILLIS: u64 = 2;
/// Ticks of one turn of the wheel. What is due later is passed by until its turn comes.
const SLOTS: usize = 2048;
const WORD: usize = u64::BITS as usize;

/// The timers of a thread.
pub(super) struct Timers {
    began: Instant,
    /// Ticks that have passed.
    passed: u64,
    /// Keys of timers by when they are due. One that was cancelled leaves its key, which its slot's turn takes away.
    slots: Box<[Vec<u32>]>,
    /// A bit for each slot that has keys.
    taken: [u64; SLOTS / WORD],
    timers: Slab<Timer>,
}

struct Timer {
    due: u64,
    /// `None` when it has run out.
    waker: Option<Waker>,
}

fn slot_of(tick: u64) -> usize {
    usize::try_from(tick % SLOTS as u64).unwrap_or_default()
}

impl Timers {
    pub(super) fn new(now: Instant) -> Self {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self { began: now, passed: 0, slots, taken: [0; SLOTS / WORD], timers: Slab::new() }
    }

    fn ticks(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX) / TICK_MILLIS
    }

    /// Whether `at` is over by when time was passed last.
    fn has_passed(&self, at: Instant) -> bool {
        at <= self.began || self.ticks(at) < self.passed
    }

    /// A timer that wakes `waker` at `at`.
    pub(super) fn add(&mut self, at: Instant, waker: &Waker) -> u32 {
        // The tick after: never too early.
        let due = self.ticks(at).max(self.passed).saturating_add(1);
        let key = self.timers.insert(Timer { due, waker: Some(waker.clone()) });
        // Four thousand million timers do not fit into memory.
        let key = u32::try_from(key).unwrap_or(u32::MAX);
        self.put(slot_of(due), key);
        key
    }

    fn put(&mut self, slot: usize, key: u32) {
        if let (Some(keys), Some(bits)) = (self.slots.get_mut(slot), self.taken.get_mut(slot / WORD)) {
            keys.push(key);
            *bits |= 1 << (slot % WORD);
        }
    }

    /// Whether a timer has run out; if not, it wakes `waker`.
    fn poll(&mut self, key: u32, waker: &Waker) -> Poll<()> {
        match self.timers.get_mut(key as usize).and_then(|timer| timer.waker.as_mut()) {
            Some(kept) => {
                kept.clone_from(waker);
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }

    pub(super) fn cancel(&mut self, key: u32) {
        self.timers.try_remove(key as usize);
    }

    /// Wakes whoever is due by `now`.
    pub(super) fn pass(&mut self, now: Instant) {
        let (from, to) = (self.passed, self.ticks(now));
        self.passed = to;
        let slots = usize::try_from(to - from).unwrap_or(SLOTS).min(SLOTS);
        for tick in (from + 1..).take(slots) {
            let slot = slot_of(tick);
            if self.taken.get(slot / WORD).is_some_and(|bits| bits & (1 << (slot % WORD)) != 0) {
                self.turn(slot);
            }
        }
    }

    /// A slot's turn.
    fn turn(&mut self, slot: usize) {
        let (Some(keys), Some(bits)) = (self.slots.get_mut(slot), self.taken.get_mut(slot / WORD)) else { return };
        *bits &= !(1 << (slot % WORD));
        let mut keys = mem::take(keys);
        keys.retain(|key| {
            // Its place may be another's by now, which is in a slot of its own.
            let Some(timer) = self.timers.get_mut(*key as usize).filter(|timer| slot_of(timer.due) == slot) else {
                return false;
            };
            if timer.due > self.passed {
                return true;
            }
            if let Some(waker) = timer.waker.take() {
                waker.wake();
            }
            false
        });
        if let (false, Some(bits)) = (keys.is_empty(), self.taken.get_mut(slot / WORD)) {
            *bits |= 1 << (slot % WORD);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = keys;
        }
    }

    /// How long until there may be somebody to wake; `None`: there is no timer.
    pub(super) fn next(&self, now: Instant) -> Option<Duration> {
        let first = self.passed + 1;
        let start = slot_of(first);
        let from = |word: usize, mask: u64| {
            let bits = self.taken.get(word).copied().unwrap_or_default() & mask;
            (bits != 0).then(|| word * WORD + bits.trailing_zeros() as usize)
        };
        let above = u64::MAX << (start % WORD);
        let words = self.taken.len();
        let slot = from(start / WORD, above)
            .or_else(|| (1..words).find_map(|next| from((start / WORD + next) % words, u64::MAX)))
            .or_else(|| from(start / WORD, !above))?;
        let ahead = (slot + SLOTS - start) % SLOTS;
        let since = Duration::from_millis(first.saturating_add(ahead as u64).saturating_mul(TICK_MILLIS));
        // A moment that the clock can't tell is never reached.
        Some(self.began.checked_add(since).map_or(TICK, |at| at.saturating_duration_since(now)))
    }
}

/// The time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the time is over")]
pub struct Elapsed;

/// Resolves at a moment, or a little later.
#[derive(Debug)]
pub struct Sleep {
    at: Instant,
    armed: Option<Armed>,
}

#[derive(Debug)]
enum Armed {
    Own { worker: u32, key: u32 },
    Tokio(Pin<Box<tokio::time::Sleep>>),
}

/// Resolves when `time` is over.
pub fn sleep(time: Duration) -> Sleep {
    let now = now();
    // What never ends, ends in a year.
    sleep_until(now.checked_add(time).unwrap_or(now + Duration::from_secs(24 * 3600 * 365)))
}

/// Resolves at `at`.
pub fn sleep_until(at: Instant) -> Sleep {
    Sleep { at, armed: None }
}

impl Sleep {
    /// From now on it resolves at `at`.
    pub fn reset(&mut self, at: Instant) {
        self.disarm();
        self.at = at;
    }

    fn disarm(&mut self) {
        if let Some(Armed::Own { worker, key }) = self.armed.take() {
            here(|here| {
                if here.number == worker {
                    here.timers.borrow_mut().cancel(key)
                }
            });
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let own = here(|here| match self.armed {
            Some(Armed::Own { worker, key }) if worker == here.number => here.timers.borrow_mut().poll(key, cx.waker()),
            _ if here.timers.borrow().has_passed(at) => Poll::Ready(()),
            _ => {
                let key = here.timers.borrow_mut().add(at, cx.waker());
                self.armed = Some(Armed::Own { worker: here.number, key });
                Poll::Pending
            }
        });
        if let Some(polled) = own {
            return polled;
        }
        let tokio = match self.armed.take() {
            Some(Armed::Tokio(sleep)) => sleep,
            _ => Box::pin(tokio::time::sleep_until(at.into())),
        };
        let Armed::Tokio(sleep) = self.armed.insert(Armed::Tokio(tokio)) else { return Poll::Pending };
        sleep.as_mut().poll(cx)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

pin_project! {
    /// A future that may take so long and no longer.
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

/// Resolves with what `future` resolves with, or with [`Elapsed`] when `time` is over.
pub fn timeout<F: Future>(time: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep(time) }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed)),
        }
    }
}
