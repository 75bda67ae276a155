//! The way up for what traffic reports: a bounded queue that traffic never waits for. Records of flows that do not fit are
//! dropped and counted; what they and open flows moved is counted all the same, so that usage is exact.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use moorgate_contract::{
    flow::EndedFlow,
    limits::FLOW_QUEUE,
    usage::{Report, ReportSink, Usage},
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

/// Places of the queue that are kept for flows: what open flows moved can be counted without a place, a record can't.
const FOR_FLOWS: usize = FLOW_QUEUE / 2;

/// Where reports come out.
#[derive(Debug)]
pub struct Reports {
    queue: mpsc::Receiver<Report>,
    batch: Vec<Report>,
    /// What did not fit into the queue. Traffic counts here, so it is held for a moment only.
    overflow: Arc<Mutex<Usage>>,
    usage: Arc<Mutex<Usage>>,
}

/// The queue: where reports go, where they come out, and the count of flows that did not fit.
pub fn queue() -> (ReportSink, Reports, Dropped) {
    let (sender, queue) = mpsc::channel(FLOW_QUEUE);
    let dropped = Dropped::default();
    let overflow = Arc::<Mutex<Usage>>::default();
    let (counter, beside) = (dropped.clone(), overflow.clone());
    let sink: ReportSink = Arc::new(move |report| {
        if matches!(report, Report::Tally(_)) && sender.capacity() < FOR_FLOWS {
            return lock(&beside).report(&report);
        }
        let Err(error) = sender.try_send(report) else { return };
        let report = error.into_inner();
        if matches!(report, Report::Flow(_)) {
            counter.0.fetch_add(1, Relaxed);
        }
        lock(&beside).report(&report);
    });
    (sink, Reports { queue, batch: Vec::new(), overflow, usage: Arc::default() }, dropped)
}

impl Reports {
    /// Where everything that was reported is counted, until somebody takes it.
    pub fn usage(&self) -> Arc<Mutex<Usage>> {
        self.usage.clone()
    }

    /// Takes up to `most` reports: counts them, with what did not fit, and puts flows behind `flows`. Waits for the first.
    /// Resolves with how many there were; 0: there will be none any more. Nothing is lost when it is dropped.
    pub async fn recv_many(&mut self, flows: &mut Vec<EndedFlow>, most: usize) -> usize {
        let taken = self.queue.recv_many(&mut self.batch, most).await;
        let beside = mem::take(&mut *lock(&self.overflow));
        let mut usage = lock(&self.usage);
        for report in self.batch.drain(..) {
            usage.report(&report);
            if let Report::Flow(flow) = report {
                flows.push(flow);
            }
        }
        if !beside.is_empty() {
            usage.absorb(beside);
        }
        taken
    }
}

fn lock(usage: &Mutex<Usage>) -> MutexGuard<'_, Usage> {
    // Counts are whole after any panic.
    usage.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
