//! What carries traffic on a worker thread: tasks, sockets and timers around one epoll, for that thread alone.
//!
//! A tunnel is two sockets and a task, and most of the time it waits: here that is some 500 bytes, and a connection costs two
//! system calls less than on tokio, which tells epoll of each socket that is closed. What runs elsewhere (control, the agent,
//! tests) runs on tokio; [`TcpStream`], [`TcpListener`], [`timeout`], [`sleep`] and [`spawn`] work in both, and belong to
//! where they were made.

mod executor;
mod reactor;
mod tcp;
mod timer;

use std::{future::Future, io};

use executor::Worker;
pub use executor::now;
pub use tcp::{TcpListener, TcpStream};
pub use timer::{Elapsed, Sleep, Timeout, sleep, sleep_until, timeout};

/// Runs `main` on this thread, and what it spawns, until `main` ends; what is left then is dropped. Once in a thread's life.
///
/// # Errors
/// When there is no epoll to be had, or this thread has run one before.
pub fn run(main: impl Future<Output = ()> + 'static) -> io::Result<()> {
    Worker::start()?.run(main)
}

/// Runs `future` beside the task that says so, until it ends. A panic in it ends it alone.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    if let Err(future) = executor::spawn(future) {
        tokio::spawn(future);
    }
}

/// Runs `future` in place of the task that says so, when that has ended: what a task needed at first is gone then. A task says
/// so once, as the last it does.
pub fn go_on_as(future: impl Future<Output = ()> + Send + 'static) {
    if let Err(future) = executor::succeed(future) {
        tokio::spawn(future);
    }
}

#[cfg(test)]
mod tests;
