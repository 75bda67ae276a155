//! The way up for ended flows: a bounded queue that traffic never waits for. What is dropped is counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use moorgate_contract::{
    flow::{Flow, FlowSink},
    limits::FLOW_QUEUE,
};
use tokio::sync::mpsc;

/// How many flows were dropped because nobody took them in time.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// The count since the start.
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The queue: where flows go, where they come out, and the count of those that did not fit.
pub fn queue() -> (FlowSink, mpsc::Receiver<Flow>, Dropped) {
    let (sender, receiver) = mpsc::channel(FLOW_QUEUE);
    let dropped = Dropped::default();
    let counter = dropped.clone();
    let sink: FlowSink = Arc::new(move |flow| {
        if sender.try_send(flow).is_err() {
            counter.0.fetch_add(1, Relaxed);
        }
    });
    (sink, receiver, dropped)
}
