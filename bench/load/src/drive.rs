//! The client: opens connections through a proxy, does a work with each, and says what that took.

mod attempt;
mod held;
mod tls;
mod way;
mod work;

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    cli::{Drive, Via, Work},
    error::LoadError,
};
pub(crate) use attempt::AttemptError;
use way::Way;

/// A worker that has failed so often gives up: the proxy is not going to answer.
const MAX_ERRORS: u64 = 200;

/// What a run prints, as one line of JSON.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Connections, messages or uploads that were done to their end.
    done: u64,
    /// Bytes of bulk that have arrived: downloads as the client read them, uploads as the origin confirmed them.
    bytes: u64,
    /// How long it took.
    seconds: f64,
    /// `done` a second.
    per_s: f64,
    /// Half of them took no longer, in microseconds.
    p50_us: f64,
    /// 99 in 100 took no longer, in microseconds.
    p99_us: f64,
    /// Attempts that failed.
    errors: u64,
    /// The last failure.
    last_error: Option<String>,
    /// TLS handshakes that resumed a session.
    resumed: u64,
    /// Full TLS handshakes, each worker's first left out with `--resume`: it has nothing to resume yet.
    not_resumed: u64,
    /// The key exchange of the TLS handshakes.
    key_exchange: Option<String>,
}

/// What one worker did.
#[derive(Debug, Default)]
pub(super) struct Tally {
    done: u64,
    bytes: u64,
    times: Vec<Duration>,
    errors: u64,
    last_error: Option<String>,
    resumed: u64,
    full: u64,
    key_exchange: Option<String>,
}

/// Does the work and prints its report; what is held is held until standard input ends.
///
/// # Errors
/// Arguments that don't go together, TLS that can't be set up, or a connection to be held that failed.
pub(crate) async fn run(drive: &Drive) -> Result<(), LoadError> {
    if drive.work == Work::Request && !matches!(drive.via, Via::Terminate | Via::Direct) {
        return Err(LoadError::Request);
    }
    match drive.work {
        Work::Idle | Work::Stalled => held::hold(drive).await,
        Work::Connection | Work::Ping | Work::Down | Work::Up | Work::Request => measure(drive).await,
    }
}

async fn measure(drive: &Drive) -> Result<(), LoadError> {
    // A way of its own for each: sessions to resume are a worker's own, as a client's are.
    let ways = (0..drive.connections).map(|_| Way::new(drive)).collect::<Result<Vec<_>, _>>()?;
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(drive.seconds.max(0.0));
    let mut workers = JoinSet::new();
    for way in ways {
        workers.spawn(worker(way, drive.work, until));
    }
    let mut tallies = Vec::new();
    while let Some(tally) = workers.join_next().await {
        tallies.push(tally.map_err(LoadError::Worker)?);
    }
    let report = Report::of(tallies, began.elapsed(), drive.resume);
    crate::print_line(&serde_json::to_string(&report).map_err(LoadError::Report)?)
}

async fn worker(way: Way, work: Work, until: Instant) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < until {
        if let Err(error) = work::attempt(&way, work, until, &mut tally).await {
            tally.errors += 1;
            tally.last_error = Some(crate::chain(&error));
            if tally.errors >= MAX_ERRORS {
                break;
            }
        }
    }
    tally
}

impl Report {
    fn of(tallies: Vec<Tally>, took: Duration, resumes: bool) -> Self {
        let mut report = Self { seconds: took.as_secs_f64(), ..Self::default() };
        let mut times = Vec::new();
        for tally in tallies {
            report.done += tally.done;
            report.bytes += tally.bytes;
            report.errors += tally.errors;
            report.resumed += tally.resumed;
            report.not_resumed += tally.full.saturating_sub(u64::from(resumes));
            report.key_exchange = tally.key_exchange.or(report.key_exchange);
            report.last_error = tally.last_error.or(report.last_error);
            times.extend(tally.times);
        }
        times.sort_unstable();
        report.per_s = report.done as f64 / report.seconds;
        report.p50_us = percentile(&times, 50);
        report.p99_us = percentile(&times, 99);
        report
    }
}

/// The time that so many of 100 don't exceed, in microseconds; 0 without any. Nearest rank.
fn percentile(sorted: &[Duration], hundredths: usize) -> f64 {
    let rank = (sorted.len() * hundredths).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests;
