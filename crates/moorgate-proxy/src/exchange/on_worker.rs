//! What hyper needs of a runtime, from ours.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use hyper::rt::{Executor, Sleep, Timer};
use moorgate_net::runtime::{sleep, sleep_until, spawn};

/// Tasks and timers where the connection itself is.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnWorker;

struct Sleeping(moorgate_net::runtime::Sleep);

impl Future for Sleeping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.0.poll_unpin(cx)
    }
}

impl Sleep for Sleeping {}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for OnWorker {
    fn execute(&self, future: F) {
        spawn(future.map(drop));
    }
}

impl Timer for OnWorker {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Sleeping(sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Sleeping(sleep_until(deadline)))
    }
}
