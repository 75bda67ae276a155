//! Sockets of one thread: what epoll says of them, and whom to wake.

use std::{
    io::{self, ErrorKind},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{self, Context},
    time::Duration,
};

use atomic_waker::AtomicWaker;
use mio::{Events, Interest, Poll, Token, event::Source};
use slab::Slab;

use super::executor::{Handle, may_go_on};

/// Events taken at once.
const EVENTS: usize = 1024;
/// The token of wakes from other threads; no socket has it.
const WOKEN: Token = Token(usize::MAX);

/// Something may be read, an end among it.
pub(super) const READ: u32 = 1;
/// Something may be written.
pub(super) const WRITE: u32 = 2;
/// The socket's end is here, perhaps behind data; no other event will tell of it.
pub(super) const ENDED: u32 = 4;
/// The socket has an error to tell.
pub(super) const ERROR: u32 = 8;
/// Counts events, so that a newer one is not taken back with an older.
const EVENT: u32 = 16;

/// What a try came to.
pub(super) struct Tried<T> {
    pub(super) done: T,
    /// That was all there is, of bytes or of room, until an event tells of more.
    pub(super) is_all: bool,
}

/// What other threads reach of a reactor.
pub(super) struct Shared {
    registry: mio::Registry,
    waker: mio::Waker,
    /// Connections may be kept for, and so closed by, other threads.
    sockets: Mutex<Slab<Arc<Socket>>>,
    woken: Mutex<Vec<Arc<Handle>>>,
}

/// A socket as epoll knows it.
pub(super) struct Socket {
    state: AtomicU32,
    token: u32,
    shared: Arc<Shared>,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

/// A thread's epoll.
pub(super) struct Reactor {
    poll: Poll,
    events: Events,
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reactor {
    pub(super) fn new() -> io::Result<(Self, Arc<Shared>)> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WOKEN)?;
        let (registry, sockets, woken) = (poll.registry().try_clone()?, Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { registry, waker, sockets, woken });
        Ok((Self { poll, events: Events::with_capacity(EVENTS), shared: shared.clone() }, shared))
    }

    /// Waits for events, `most` at most, and wakes whom they concern.
    pub(super) fn wait(&mut self, most: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, most) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let sockets = lock(&self.shared.sockets);
        for event in &self.events {
            // An event of one that was closed meanwhile finds nobody, or whoever has its place now: that one looks for nothing.
            let Some(socket) = sockets.get(event.token().0) else { continue };
            let mut news = 0;
            for (is, bits) in [
                (event.is_readable(), READ),
                (event.is_writable(), WRITE),
                (event.is_read_closed(), READ | ENDED),
                (event.is_write_closed(), WRITE),
                (event.is_error(), READ | WRITE | ERROR),
            ] {
                news |= if is { bits } else { 0 };
            }
            socket.tell(news);
        }
        Ok(())
    }
}

impl Shared {
    /// Wakes a task of this reactor's thread from another.
    pub(super) fn wake(&self, handle: Arc<Handle>) {
        let mut woken = lock(&self.woken);
        woken.push(handle);
        // The first one has rung already.
        if woken.len() == 1 {
            drop(woken);
            // It can fail only with the epoll that it belongs to.
            let _ = self.waker.wake();
        }
    }

    pub(super) fn take_woken(&self) -> Vec<Arc<Handle>> {
        mem::take(&mut *lock(&self.woken))
    }

    /// Watches `source` for what comes in; with `is_full` for room to write too, until then it is taken for writable.
    pub(super) fn watch(self: &Arc<Self>, source: &mut impl Source, is_full: bool) -> io::Result<Arc<Socket>> {
        let mut sockets = lock(&self.sockets);
        let place = sockets.vacant_entry();
        let token = u32::try_from(place.key()).map_err(io::Error::other)?;
        let interest = if is_full { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.registry.register(source, Token(place.key()), interest)?;
        let socket = Socket {
            state: AtomicU32::new(if is_full { 0 } else { WRITE }),
            token,
            shared: self.clone(),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        };
        Ok(place.insert(Arc::new(socket)).clone())
    }
}

impl Socket {
    fn tell(&self, news: u32) {
        let told = |state: u32| Some((state | news).wrapping_add(EVENT));
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, told);
        if news & READ != 0 {
            self.reader.wake();
        }
        if news & WRITE != 0 {
            self.writer.wake();
        }
    }

    /// What is known of it. Where that has nothing of `wanted`, the task of `cx` is woken when it has.
    pub(super) fn look(&self, cx: &Context<'_>, wanted: u32) -> Option<u32> {
        let has = || Some(self.state.load(Ordering::Acquire)).filter(|state| state & wanted != 0);
        has().or_else(|| {
            let waker = if wanted == WRITE { &self.writer } else { &self.reader };
            waker.register(cx.waker());
            has()
        })
    }

    /// Tries what it has news of, until that comes to something. What it had is taken back when that was all of it.
    pub(super) fn poll_try<T>(
        &self,
        cx: &Context<'_>,
        wanted: u32,
        mut attempt: impl FnMut() -> io::Result<Tried<T>>,
    ) -> task::Poll<io::Result<T>> {
        if !may_go_on(cx) {
            return task::Poll::Pending;
        }
        loop {
            let Some(seen) = self.look(cx, wanted) else { return task::Poll::Pending };
            match attempt() {
                Ok(Tried { done, is_all }) => {
                    // Behind all that was there the end may be, of which no other event tells.
                    if is_all && (wanted == WRITE || seen & (ENDED | ERROR) == 0) {
                        self.used_up(seen, wanted);
                    }
                    return task::Poll::Ready(Ok(done));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.used_up(seen, if wanted == WRITE { WRITE } else { READ | ENDED | ERROR });
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return task::Poll::Ready(Err(error)),
            }
        }
    }

    /// Whether there is no room to write, as far as is known.
    pub(super) fn is_full(&self) -> bool {
        self.state.load(Ordering::Acquire) & WRITE == 0
    }

    /// Takes `bits` back, unless something came after it was `seen`.
    fn used_up(&self, seen: u32, bits: u32) {
        let _ = self.state.compare_exchange(seen, seen & !bits, Ordering::AcqRel, Ordering::Acquire);
    }

    /// What it is watched by.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Watches for room to write too.
    pub(super) fn watch_room(&self, source: &mut impl Source) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.shared.registry.reregister(source, Token(self.token as usize), both)
    }

    /// Forgets it. That its descriptor is closed epoll sees by itself.
    pub(super) fn forget(&self) {
        let gone = lock(&self.shared.sockets).try_remove(self.token as usize);
        drop(gone);
    }
}
