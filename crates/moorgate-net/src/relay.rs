//! The tunnel: relays bytes between two legs until both have finished, one breaks off, or somebody cuts it.
//!
//! One small future for both directions. It reads into the thread's one buffer and writes at once; only what a slow
//! reader did not take is kept, so an idle tunnel holds no buffer.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use moorgate_contract::{
    exposure::Content,
    flow::Meter,
    limits::{LEFTOVER_BUDGET, RELAY_ROUNDS, SMALL_READ},
    outcome::{Ending, Outcome},
};

use crate::{
    buffer,
    leg::{Cut, Leg},
    pace::poll_turn,
    registry::Open,
};

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// Bytes that a reader has not taken yet. Counted against the thread's budget.
#[derive(Debug)]
struct Leftover {
    bytes: Bytes,
    from: usize,
}

impl Leftover {
    /// Boxed: most ways never have one.
    fn new(bytes: Bytes) -> Option<Box<Self>> {
        if bytes.is_empty() {
            return None;
        }
        HELD.with(|held| held.set(held.get() + bytes.len()));
        Some(Box::new(Self { bytes, from: 0 }))
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        // A tunnel may end on another thread than the one that read (at shutdown): never below zero.
        HELD.with(|held| held.set(held.get().saturating_sub(self.bytes.len())));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    Finishing,
    Done,
}

/// One direction.
#[derive(Debug)]
struct Way {
    phase: Phase,
    unflushed: bool,
    /// Bytes that may be read before the account's pace is asked again.
    allowed: u32,
    leftover: Option<Box<Leftover>>,
}

impl Way {
    fn new(early: Bytes) -> Self {
        Self { phase: Phase::Reading, unflushed: false, allowed: u32::MAX, leftover: Leftover::new(early) }
    }

    /// Whether the source is not being read, so that its reset would go unseen.
    fn is_deaf(&self) -> bool {
        self.leftover.is_some() || self.phase != Phase::Reading || self.allowed == 0
    }

    /// Asks the account's pace how much may be read.
    fn ask(&mut self, meter: &Meter, cx: &Context<'_>) {
        if self.phase == Phase::Reading {
            self.allowed = match poll_turn(meter, cx) {
                Poll::Ready(bytes) => u32::try_from(bytes).unwrap_or(u32::MAX),
                Poll::Pending => 0,
            };
        }
    }

    /// Whether it stopped because the pace did not allow more.
    fn is_paced(&self) -> bool {
        self.phase == Phase::Reading && self.leftover.is_none() && self.allowed == 0
    }
}

/// Which leg a cut came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source(Cut),
    Sink(Cut),
}

/// How a relay ended, and what the client's first bytes looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// How it ended.
    pub outcome: Outcome,
    /// What the bytes looked like.
    pub content: Content,
}

/// The tunnel's future. Resolves when both legs are done with; dropping it closes them.
pub struct Relay<C: Leg, T: Leg> {
    client: C,
    target: T,
    up: Way,
    down: Way,
    content: Content,
    open: Arc<Open>,
}

/// Relays between `client` and `target`. `early` came from the client together with its head and goes first.
pub fn relay<C: Leg, T: Leg>(client: C, target: T, early: Bytes, open: Arc<Open>) -> Relay<C, T> {
    let content = look(&early);
    Relay { client, target, up: Way::new(early), down: Way::new(Bytes::new()), content, open }
}

impl<C: Leg, T: Leg> Future for Relay<C, T> {
    type Output = Relayed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Relayed> {
        let this = self.get_mut();
        let outcome = match this.poll_outcome(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(outcome) => outcome,
        };
        if outcome != Outcome::Ok {
            this.client.abort();
            this.target.abort();
        }
        Poll::Ready(Relayed { outcome, content: this.content })
    }
}

impl<C: Leg, T: Leg> Relay<C, T> {
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Poll::Ready(ending) = self.open.poll_cut(cx) {
            return Poll::Ready(Outcome::Cut(ending));
        }
        let meter = self.open.meter();
        self.up.ask(meter, cx);
        let content = &mut self.content;
        let up = pump(
            cx,
            &mut self.client,
            &mut self.target,
            &mut self.up,
            self.down.phase == Phase::Done,
            |bytes| {
                if *content == Content::None {
                    *content = look(bytes);
                }
            },
            |written| meter.add_up(written),
        );
        if let Err(side) = up {
            return Poll::Ready(Outcome::Cut(ending(side, Leaving::Up)));
        }
        self.down.ask(meter, cx);
        let down = pump(
            cx,
            &mut self.target,
            &mut self.client,
            &mut self.down,
            self.up.phase == Phase::Done,
            |bytes| meter.add_down(bytes.len() as u64),
            |_| {},
        );
        if let Err(side) = down {
            return Poll::Ready(Outcome::Cut(ending(side, Leaving::Down)));
        }
        if self.up.phase == Phase::Done && self.down.phase == Phase::Done {
            return Poll::Ready(Outcome::Ok);
        }
        // What was allowed is used up: whoever is not to wait goes on after the others, the rest is woken by its turn.
        if (self.up.is_paced() || self.down.is_paced()) && poll_turn(meter, cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.poll_unread_cuts(cx)
    }

    /// A leg that nobody reads can be reset all the same; the sweep wakes us to look.
    fn poll_unread_cuts(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.open.watch(self.up.is_deaf() || self.down.is_deaf());
        let swept = self.open.take_swept();
        if self.up.is_deaf()
            && (swept || self.client.announces_cuts())
            && let Poll::Ready(cut) = self.client.poll_cut(cx)
        {
            return Poll::Ready(Outcome::Cut(ending(Side::Source(cut), Leaving::Up)));
        }
        if self.down.is_deaf()
            && (swept || self.target.announces_cuts())
            && let Poll::Ready(cut) = self.target.poll_cut(cx)
        {
            return Poll::Ready(Outcome::Cut(ending(Side::Source(cut), Leaving::Down)));
        }
        Poll::Pending
    }
}

#[derive(Clone, Copy)]
enum Leaving {
    Up,
    Down,
}

fn ending(side: Side, leaving: Leaving) -> Ending {
    match (side, leaving) {
        (Side::Source(Cut::Reset), Leaving::Up) | (Side::Sink(Cut::Reset), Leaving::Down) => Ending::ResetByClient,
        (Side::Source(Cut::Truncated), Leaving::Up) | (Side::Sink(Cut::Truncated), Leaving::Down) => {
            Ending::TruncatedByClient
        }
        (Side::Source(Cut::Reset), Leaving::Down) | (Side::Sink(Cut::Reset), Leaving::Up) => Ending::ResetByTarget,
        (Side::Source(Cut::Truncated), Leaving::Down) | (Side::Sink(Cut::Truncated), Leaving::Up) => {
            Ending::TruncatedByTarget
        }
    }
}

/// Moves bytes of one direction until something is not ready or others should get their turn. `last`: the other direction
/// is over.
fn pump<S: Leg, K: Leg>(
    cx: &mut Context<'_>,
    source: &mut S,
    sink: &mut K,
    way: &mut Way,
    last: bool,
    mut read: impl FnMut(&[u8]),
    mut written: impl FnMut(u64),
) -> Result<(), Side> {
    for _ in 0..RELAY_ROUNDS {
        let ready = match (&mut way.leftover, way.phase) {
            (Some(leftover), _) => write_leftover(cx, sink, leftover, &mut written)?,
            (None, Phase::Reading) => read_and_write(cx, source, sink, way, &mut read, &mut written)?,
            (None, Phase::Finishing) => finish(cx, sink, way, last)?,
            (None, Phase::Done) => return Ok(()),
        };
        if way.leftover.as_ref().is_some_and(|leftover| leftover.rest().is_empty()) {
            way.leftover = None;
        }
        if ready.is_pending() {
            return flush(cx, sink, way);
        }
    }
    flush(cx, sink, way)?;
    cx.waker().wake_by_ref();
    Ok(())
}

fn write_leftover<K: Leg>(
    cx: &mut Context<'_>,
    sink: &mut K,
    leftover: &mut Leftover,
    written: &mut impl FnMut(u64),
) -> Result<Poll<()>, Side> {
    match sink.poll_write(cx, leftover.rest()) {
        Poll::Pending => Ok(Poll::Pending),
        Poll::Ready(Err(cut)) => Err(Side::Sink(cut)),
        Poll::Ready(Ok(taken)) => {
            leftover.from += taken;
            written(taken as u64);
            Ok(Poll::Ready(()))
        }
    }
}

fn read_and_write<S: Leg, K: Leg>(
    cx: &mut Context<'_>,
    source: &mut S,
    sink: &mut K,
    way: &mut Way,
    read: &mut impl FnMut(&[u8]),
    written: &mut impl FnMut(u64),
) -> Result<Poll<()>, Side> {
    if way.allowed == 0 {
        return Ok(Poll::Pending);
    }
    buffer::with(|buffer| {
        let most = if HELD.get() < LEFTOVER_BUDGET { buffer.len() } else { SMALL_READ.min(buffer.len()) };
        let most = most.min(usize::try_from(way.allowed).unwrap_or(usize::MAX));
        let (buffer, _) = buffer.split_at_mut(most);
        let filled = match source.poll_read(cx, buffer) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Err(cut)) => return Err(Side::Source(cut)),
            Poll::Ready(Ok(0)) => {
                way.phase = Phase::Finishing;
                return Ok(Poll::Ready(()));
            }
            Poll::Ready(Ok(filled)) => buffer.get(..filled).unwrap_or_default(),
        };
        way.allowed = way.allowed.saturating_sub(u32::try_from(filled.len()).unwrap_or(u32::MAX));
        read(filled);
        way.unflushed = true;
        let taken = match sink.poll_write(cx, filled) {
            Poll::Pending => 0,
            Poll::Ready(Err(cut)) => return Err(Side::Sink(cut)),
            Poll::Ready(Ok(taken)) => taken,
        };
        written(taken as u64);
        way.leftover = Leftover::new(Bytes::copy_from_slice(filled.get(taken..).unwrap_or_default()));
        Ok(Poll::Ready(()))
    })
}

fn flush<K: Leg>(cx: &mut Context<'_>, sink: &mut K, way: &mut Way) -> Result<(), Side> {
    if way.unflushed {
        match sink.poll_flush(cx) {
            Poll::Ready(Ok(())) => way.unflushed = false,
            Poll::Ready(Err(cut)) => return Err(Side::Sink(cut)),
            Poll::Pending => {}
        }
    }
    Ok(())
}

fn finish<K: Leg>(cx: &mut Context<'_>, sink: &mut K, way: &mut Way, last: bool) -> Result<Poll<()>, Side> {
    match if last { sink.poll_finish_last(cx) } else { sink.poll_finish(cx) } {
        Poll::Pending => Ok(Poll::Pending),
        Poll::Ready(Err(cut)) => Err(Side::Sink(cut)),
        Poll::Ready(Ok(())) => {
            way.unflushed = false;
            way.phase = Phase::Done;
            Ok(Poll::Ready(()))
        }
    }
}

/// A TLS record of a handshake begins with 0x16 0x03 (RFC 8446 §5.1). One byte that fits is taken for TLS too.
fn look(bytes: &[u8]) -> Content {
    match bytes {
        [] => Content::None,
        [0x16] | [0x16, 0x03, ..] => Content::Tls,
        _ => Content::NotTls,
    }
}

#[cfg(test)]
mod tests;
