//! Tasks of one thread, and its loop: run what is ready, wait for sockets and timers, again.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    future::Future,
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use slab::Slab;

use super::{
    reactor::{Reactor, Shared},
    timer::Timers,
};

/// Tasks that are run before sockets get another look.
const RUN_AT_ONCE: usize = 64;
/// Reads, writes and accepts of a task before it lets the others have their turn.
const TURN: u8 = 128;

type Task = Pin<Box<dyn Future<Output = ()>>>;

static NUMBER: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static HERE: OnceCell<Rc<Worker>> = const { OnceCell::new() };
}

/// This thread's worker, if it is one. `None` also while the thread ends.
pub(super) fn here<T>(work: impl FnOnce(&Rc<Worker>) -> T) -> Option<T> {
    HERE.try_with(|here| here.get().map(work)).ok().flatten()
}

/// A thread's tasks, timers and sockets.
pub(super) struct Worker {
    /// No other of the process has it.
    pub(super) number: u32,
    /// A task that runs is not in its place.
    tasks: RefCell<Slab<Option<Task>>>,
    ready: RefCell<VecDeque<Arc<Handle>>>,
    pub(super) timers: RefCell<Timers>,
    pub(super) shared: Arc<Shared>,
    reactor: RefCell<Reactor>,
    /// What is left of the turn of the task that runs.
    turn: Cell<u8>,
    /// When that began, if anybody has asked.
    now: Cell<Option<Instant>>,
    /// What goes on in its place.
    successor: Cell<Option<Task>>,
}

/// What wakes a task.
pub(super) struct Handle {
    key: usize,
    is_queued: AtomicBool,
    shared: Arc<Shared>,
}

impl Handle {
    /// Notes that it is queued; `false`: it was already. What was done before this is seen by the run that takes it from the
    /// queue: both change the same word, so neither may be a mere look at it.
    fn is_first(&self) -> bool {
        !self.is_queued.swap(true, Ordering::AcqRel)
    }

    fn queue(self: Arc<Self>) {
        let mut handle = Some(self);
        here(|worker| {
            if let Some(own) = handle.take_if(|handle| Arc::ptr_eq(&handle.shared, &worker.shared)) {
                worker.ready.borrow_mut().push_back(own);
            }
        });
        if let Some(handle) = handle {
            let shared = handle.shared.clone();
            shared.wake(handle);
        }
    }
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        if self.is_first() {
            self.queue();
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_first() {
            self.clone().queue();
        }
    }
}

/// Takes `future` as a task of this thread; gives it back where that is no worker's.
pub(super) fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Result<(), F> {
    let Some(worker) = here(Rc::clone) else { return Err(future) };
    worker.spawn(Box::pin(future));
    Ok(())
}

/// Has `future` go on in the place of the task that runs, when that has ended; gives it back where there is no worker.
pub(super) fn succeed<F: Future<Output = ()> + 'static>(future: F) -> Result<(), F> {
    let Some(worker) = here(Rc::clone) else { return Err(future) };
    worker.successor.set(Some(Box::pin(future)));
    Ok(())
}

/// What `work` comes to; `None` when it panicked. The hook has reported that.
fn unharmed<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// When the turn of the task that runs began; where no worker is, the time. Exact enough for limits, of which an exchange has a
/// dozen: each was a look at the clock.
pub fn now() -> Instant {
    let own = here(|worker| {
        let now = worker.now.get().unwrap_or_else(Instant::now);
        worker.now.set(Some(now));
        now
    });
    own.unwrap_or_else(Instant::now)
}

/// Whether the task that runs may go on; if not, it is woken when the others had their turn. Always, where no worker is.
pub(super) fn may_go_on(cx: &Context<'_>) -> bool {
    here(|worker| match worker.turn.get().checked_sub(1) {
        Some(left) => {
            worker.turn.set(left);
            true
        }
        None => {
            cx.waker().wake_by_ref();
            false
        }
    })
    .unwrap_or(true)
}

impl Worker {
    /// Makes this thread a worker.
    pub(super) fn start() -> io::Result<Rc<Self>> {
        let (reactor, shared) = Reactor::new()?;
        let worker = Rc::new(Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            tasks: RefCell::default(),
            ready: RefCell::default(),
            timers: RefCell::new(Timers::new(Instant::now())),
            shared,
            reactor: RefCell::new(reactor),
            turn: Cell::new(TURN),
            now: Cell::default(),
            successor: Cell::default(),
        });
        let set = HERE.with(|here| here.set(worker.clone()));
        set.map(|()| worker).map_err(|_| io::Error::other("this thread has run traffic before"))
    }

    pub(super) fn run(&self, main: impl Future<Output = ()> + 'static) -> io::Result<()> {
        let is_over = Rc::new(Cell::new(false));
        let over = is_over.clone();
        self.spawn(Box::pin(async move {
            main.await;
            over.set(true);
        }));
        while !is_over.get() {
            self.run_ready();
            if !is_over.get() {
                self.wait()?;
            }
        }
        // A task may wake others when it is dropped: nothing is borrowed then.
        let tasks = mem::take(&mut *self.tasks.borrow_mut());
        drop(tasks);
        Ok(())
    }

    fn spawn(&self, task: Task) {
        let key = self.tasks.borrow_mut().insert(Some(task));
        let handle = Handle { key, is_queued: AtomicBool::new(true), shared: self.shared.clone() };
        self.ready.borrow_mut().push_back(Arc::new(handle));
    }

    fn run_ready(&self) {
        for _ in 0..RUN_AT_ONCE {
            let Some(handle) = self.ready.borrow_mut().pop_front() else { return };
            self.run_one(handle);
        }
    }

    fn run_one(&self, handle: Arc<Handle>) {
        let key = handle.key;
        // One that has ended may have been woken late; whoever has its place by now is polled for nothing.
        let Some(mut task) = self.tasks.borrow_mut().get_mut(key).and_then(Option::take) else { return };
        handle.is_queued.swap(false, Ordering::AcqRel);
        self.turn.set(TURN);
        self.now.set(None);
        let waker = Waker::from(handle);
        loop {
            let polled = unharmed(|| task.as_mut().poll(&mut Context::from_waker(&waker)));
            let successor = self.successor.take();
            if polled == Some(Poll::Pending) {
                if let Some(place) = self.tasks.borrow_mut().get_mut(key) {
                    *place = Some(task);
                }
                return successor.into_iter().for_each(|task| self.spawn(task));
            }
            let Some(next) = successor else { break };
            let ended = mem::replace(&mut task, next);
            unharmed(|| drop(ended));
        }
        self.tasks.borrow_mut().try_remove(key);
        unharmed(|| drop(task));
    }

    /// Waits for sockets, timers and other threads; not at all while a task is ready.
    fn wait(&self) -> io::Result<()> {
        let most = if self.ready.borrow().is_empty() {
            self.timers.borrow().next(Instant::now())
        } else {
            Some(Duration::ZERO)
        };
        self.reactor.borrow_mut().wait(most)?;
        self.timers.borrow_mut().pass(Instant::now());
        for handle in self.shared.take_woken() {
            self.ready.borrow_mut().push_back(handle);
        }
        Ok(())
    }
}
