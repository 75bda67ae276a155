//! Where ended flows go: metrics, lines on standard output, the store. Whatever of these stalls, traffic does not.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use moorgate_api::metrics::Metrics;
use moorgate_contract::flow::EndedFlow;
use moorgate_control::Control;
use moorgate_proxy::recorder::Reports;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::UpError;
use crate::{
    config::{Config, FlowLog, LogFormat},
    output,
};

/// Flows taken from the queue at once.
const BATCH: usize = 8 * 1024;
/// Between two of these takes.
const PAUSE: Duration = Duration::from_millis(100);
/// Batches that wait for the store; lines that wait for whoever reads standard output.
const WAITING: usize = 1024;
/// How long the last flows may take to be stored, and to be written.
const FINISH: Duration = Duration::from_secs(1);

/// Log lines go to standard error: standard output is for flows.
pub(super) fn start_tracing(format: LogFormat) {
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // What a database says beside its answers is nothing that an operator has to act on.
    let levels = Targets::new().with_default(Level::INFO).with_target("sqlx", Level::ERROR);
    // A second gateway in one process (tests) keeps the first one's.
    let _ = tracing_subscriber::registry().with(levels).with(lines).try_init();
}

/// Counts panics of tasks; each is a defect, and takes down its own connection only.
pub(super) fn count_panics() -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let (counter, report) = (count.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        counter.fetch_add(1, Relaxed);
        report(info);
    }));
    count
}

/// The running consumers.
pub(super) struct Recording {
    stop: oneshot::Sender<()>,
    taken: JoinHandle<()>,
    kept: JoinHandle<()>,
    written: Option<std::sync::mpsc::Receiver<()>>,
}

impl Recording {
    /// Takes what has ended so far, then waits until it is stored and written, a moment at most: a pipe that nobody
    /// reads must not keep a gateway from ending.
    pub(super) async fn finish(self) {
        // Whoever is gone has nothing left to take.
        let _ = self.stop.send(());
        let _ = timeout(FINISH, async { (self.taken.await, self.kept.await) }).await;
        if let Some(written) = self.written {
            let _ = tokio::task::spawn_blocking(move || written.recv_timeout(FINISH)).await;
        }
    }
}

/// Starts the consumers.
pub(super) fn start(
    runtime: &Runtime,
    config: &Config,
    control: &Control,
    metrics: Arc<Metrics>,
    mut reports: Reports,
) -> Result<Recording, UpError> {
    let (lines, written) = start_writer(config)?.unzip();
    let (to_store, mut stored) = mpsc::channel::<Vec<EndedFlow>>(WAITING);
    let control = control.clone();
    let kept = runtime.spawn(async move {
        while let Some(batch) = stored.recv().await {
            control.record_flows(batch).await;
        }
    });
    let (stop, mut stopped) = oneshot::channel();
    let taken = runtime.spawn(async move {
        let mut batch = Vec::new();
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                taken = reports.recv_many(&mut batch, BATCH) => if taken == 0 { return },
                _ = &mut stopped, if !stopping => return,
                () = std::future::ready(()), if stopping => return,
            }
            for flow in &batch {
                metrics.observe(flow);
                if let Some(lines) = &lines {
                    // A reader that stands still loses lines, not traffic; the store has the flows.
                    let _ = lines.try_send(flow.clone());
                }
            }
            let full = std::mem::take(&mut batch);
            if let Err(error) = to_store.try_send(full) {
                tracing::warn!(%error, "the store does not keep up: flows are not kept");
            }
            if stopping {
                continue;
            }
            // Under load flows are taken in batches: traffic then wakes nobody, and the store writes once for many.
            tokio::select! {
                () = sleep(PAUSE) => {}
                _ = &mut stopped => stopping = true,
            }
        }
    });
    Ok(Recording { stop, taken, kept, written })
}

/// Where lines are put in, and what closes when the last one is written.
type Writer = (SyncSender<EndedFlow>, Receiver<()>);

/// A thread that writes lines: a pipe that nobody reads blocks it alone.
fn start_writer(config: &Config) -> Result<Option<Writer>, UpError> {
    let (out, colour): (Box<dyn Write + Send>, bool) = match &config.log_flows {
        FlowLog::Off => return Ok(None),
        FlowLog::Stdout => (Box::new(io::stdout()), output::colour()),
        FlowLog::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            let file = file.map_err(|source| UpError::File { action: "open", path: path.clone(), source })?;
            (Box::new(file), false)
        }
    };
    let (sender, receiver) = sync_channel(WAITING);
    let format = config.log_format;
    let (done, written) = sync_channel(1);
    let writer = thread::Builder::new().name("flow-lines".into()).spawn(move || {
        write_lines(out, &receiver, format, colour);
        drop(done);
    });
    writer.map_err(UpError::Thread)?;
    Ok(Some((sender, written)))
}

fn write_lines(mut out: Box<dyn Write + Send>, flows: &Receiver<EndedFlow>, format: LogFormat, colour: bool) {
    while let Ok(flow) = flows.recv() {
        let line = match format {
            LogFormat::Text => output::flow_line(&flow, colour),
            LogFormat::Json => output::flow_json(&flow),
        };
        // Nobody reads any more: the store and `moorgate log` still have the flows.
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
