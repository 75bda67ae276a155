//! The record of one tunnel or exchange. Opened at accept, ended *by value* on every way out.

mod line;

use std::{
    fmt, mem,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    exposure::Exposure,
    failure::Failure,
    listener::Listener,
    outcome::{Ending, Outcome},
    pace::Share,
    quota::Quota,
    route::Mode,
    time::Timestamp,
    usage::Whose,
};

/// Names one flow. Thirteen letters and digits (Crockford's base 32) that sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_LETTERS: usize = 13;
/// Below the milliseconds: enough that ids of one gateway don't meet within a millisecond.
const SEQUENCE_BITS: u32 = 22;

impl FlowId {
    /// The id of the `sequence`-th flow, opened at `at`.
    pub fn new(at: Timestamp, sequence: u64) -> Self {
        Self(((at.0 / 1000) << SEQUENCE_BITS) | (sequence & ((1 << SEQUENCE_BITS) - 1)))
    }

    /// As it is shown: digits and small letters.
    fn letters(self) -> [u8; ID_LETTERS] {
        let mut left = self.0;
        let mut letters = [b'0'; ID_LETTERS];
        for letter in letters.iter_mut().rev() {
            let digit = (left & 31) as usize;
            *letter = ALPHABET.get(digit).copied().unwrap_or(b'0');
            left >>= 5;
        }
        letters
    }
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.letters()).map_err(|_| fmt::Error)?)
    }
}

/// A text that is no flow's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no flow's id: those are {ID_LETTERS} letters and digits, as `moorgate log` prints them")]
pub struct NotAFlowId(Box<str>);

impl FromStr for FlowId {
    type Err = NotAFlowId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotAFlowId(text.chars().take(40).collect());
        if text.len() != ID_LETTERS {
            return Err(wrong());
        }
        text.bytes()
            .try_fold(0_u64, |id, byte| {
                let digit = ALPHABET.iter().position(|letter| letter.eq_ignore_ascii_case(&byte)).ok_or_else(wrong)?;
                id.checked_mul(32).and_then(|id| id.checked_add(digit as u64)).ok_or_else(wrong)
            })
            .map(Self)
    }
}

impl Serialize for FlowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FlowId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A tunnel, or one request and its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Bytes relayed blindly. Also what never became anything.
    #[default]
    Tunnel,
    /// One HTTP request and its response.
    Exchange,
}

/// The record. Texts of peers stand as they came: whoever prints them passes them through `visible`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Its name.
    pub id: FlowId,
    /// When the connection (or its request) came.
    pub started: Timestamp,
    /// From then to the end, in microseconds.
    pub duration_us: u64,
    /// Tunnel or exchange.
    pub kind: Kind,
    /// Where it came in.
    pub listener: Listener,
    /// Who connected.
    pub client: SocketAddr,
    /// The account's name, once authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Arc<str>>,
    /// The credential's username, once authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Arc<str>>,
    /// The target as asked: `host:port`; inbound the server name or authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Arc<str>>,
    /// Inbound: the domain of the route that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Arc<str>>,
    /// Inbound: how that route is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Inbound: the forwarding URL that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<str>>,
    /// Inbound: the protocol that was agreed on in TLS, or the first that the client offered where TLS was passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Arc<str>>,
    /// The address that was dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The address we left from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<IpAddr>,
    /// How many addresses were dialled; inbound over all origins that were tried.
    pub tries: u32,
    /// Bytes written to the target's socket.
    pub bytes_up: u64,
    /// Bytes read from the target's socket.
    pub bytes_down: u64,
    /// From its start until the target had answered, in microseconds: a tunnel's had connected, the head of an exchange's
    /// final response was there. `None`: it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
    /// Whose it is, where that is known. For usage; no part of the record that is kept.
    #[serde(skip)]
    pub whose: Whose,
    /// The part of `bytes_up` that was in no [`Tally`](crate::usage::Tally). No part of the record that is kept.
    #[serde(skip)]
    pub unreported_up: u64,
    /// The same of `bytes_down`.
    #[serde(skip)]
    pub unreported_down: u64,
    /// HTTP status given to the client, where HTTP was spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// For refusals and failures: the line the client was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Box<str>>,
    /// What could be read of it.
    #[serde(with = "crate::exposure::short")]
    pub exposure: Exposure,
}

impl Flow {
    /// A flow of which nothing is known but that it began.
    fn new(id: FlowId, started: Timestamp, listener: Listener, client: SocketAddr) -> Self {
        Self {
            id,
            started,
            duration_us: 0,
            kind: Kind::Tunnel,
            listener,
            client,
            account: None,
            username: None,
            target: None,
            route: None,
            mode: None,
            origin: None,
            alpn: None,
            address: None,
            egress: None,
            tries: 0,
            bytes_up: 0,
            bytes_down: 0,
            latency_us: None,
            whose: Whose::default(),
            unreported_up: 0,
            unreported_down: 0,
            status: None,
            outcome: Outcome::Cut(Ending::Lost),
            said: None,
            exposure: Exposure::default(),
        }
    }
}

/// Bytes of one open flow, counted while it runs and readable from outside.
#[derive(Debug, Default)]
pub struct Meter {
    up: AtomicU64,
    down: AtomicU64,
    /// What was reported of each.
    told_up: AtomicU64,
    told_down: AtomicU64,
    share: OnceLock<Arc<Share>>,
}

impl Meter {
    /// Counts bytes written to the target.
    pub fn add_up(&self, bytes: u64) {
        self.up.fetch_add(bytes, Relaxed);
        self.moved(bytes);
    }

    /// Counts bytes read from the target.
    pub fn add_down(&self, bytes: u64) {
        self.down.fetch_add(bytes, Relaxed);
        self.moved(bytes);
    }

    fn moved(&self, bytes: u64) {
        if let Some(share) = self.share.get() {
            share.moved(bytes);
        }
    }

    /// Bytes up and down so far.
    pub fn read(&self) -> (u64, u64) {
        (self.up.load(Relaxed), self.down.load(Relaxed))
    }

    /// From now on what it counts is spent of `quota`, and keeps its pace. The first one stays.
    pub fn spend_of(&self, quota: &Arc<Quota>) {
        let _ = self.share.set(Share::new(quota.clone()));
    }

    /// What it counts is spent of; `None`: of nothing that is limited.
    pub fn quota(&self) -> Option<&Arc<Quota>> {
        self.share.get().map(|share| share.quota())
    }

    /// Its part in what is limited.
    pub fn share(&self) -> Option<&Arc<Share>> {
        self.share.get()
    }

    /// Bytes up and down since this was asked last, spent of the quota now. Whoever asks must report them: nobody else
    /// will. Two threads that ask at once get each byte once.
    pub fn take_unreported(&self) -> (u64, u64) {
        self.report(self.read())
    }

    fn report(&self, (up, down): (u64, u64)) -> (u64, u64) {
        // The largest value wins whoever comes last, so that what is told never runs back.
        let fresh = |told: &AtomicU64, now: u64| now.saturating_sub(told.fetch_max(now, Relaxed));
        let (up, down) = (fresh(&self.told_up, up), fresh(&self.told_down, down));
        if let Some(quota) = self.quota() {
            quota.spend_bytes(up.saturating_add(down));
        }
        (up, down)
    }
}

/// A flow that ended. In the box in which it was filled: it is large, and goes through several hands.
pub type EndedFlow = Box<Flow>;

/// Where ended flows go. Must not block.
pub type FlowSink = Arc<dyn Fn(EndedFlow) + Send + Sync>;

/// A flow that has not ended. Whatever happens to its owner, it ends exactly once.
pub struct OpenFlow {
    /// What is known so far. Bytes, duration and outcome are filled in at the end.
    pub record: Box<Flow>,
    meter: Arc<Meter>,
    since: Instant,
    sink: Option<FlowSink>,
}

impl fmt::Debug for OpenFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFlow").field("id", &self.record.id).finish_non_exhaustive()
    }
}

impl OpenFlow {
    /// Opens a flow at `since` (= `started` on the wall clock).
    pub fn open(
        id: FlowId,
        started: Timestamp,
        since: Instant,
        listener: Listener,
        client: SocketAddr,
        sink: FlowSink,
    ) -> Self {
        let record = Box::new(Flow::new(id, started, listener, client));
        Self { record, meter: Arc::default(), since, sink: Some(sink) }
    }

    /// The counter that the flow's bytes go to.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Takes note that the target has answered. The first time counts.
    pub fn answered(&mut self) {
        self.record.latency_us.get_or_insert_with(|| micros(self.since.elapsed()));
    }

    /// Ends it.
    pub fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    /// Ends it with a failure, as the client was told.
    pub fn fail(mut self, failure: &Failure) {
        self.record.said = Some(failure.said.clone());
        self.finish(Outcome::Failed(failure.code));
    }

    /// Forgets it: nothing happened that is worth a record (a connection that came and left between two requests).
    pub fn forget(mut self) {
        self.sink = None;
    }

    fn finish(&mut self, outcome: Outcome) {
        let Some(sink) = self.sink.take() else { return };
        let record = &mut *self.record;
        (record.bytes_up, record.bytes_down) = self.meter.read();
        (record.unreported_up, record.unreported_down) = self.meter.report((record.bytes_up, record.bytes_down));
        record.duration_us = micros(self.since.elapsed());
        record.outcome = outcome;
        // What is filled in already goes on uncopied; an empty one stays in its place.
        let empty = Flow::new(record.id, record.started, record.listener, record.client);
        sink(mem::replace(&mut self.record, Box::new(empty)));
    }
}

impl Drop for OpenFlow {
    fn drop(&mut self) {
        self.finish(Outcome::Cut(Ending::Lost));
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_sorts_by_time() {
        let early = FlowId::new(Timestamp(1_000_000), 3_000_000);
        let late = FlowId::new(Timestamp(1_001_000), 0);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(late.to_string().parse(), Ok(late));
        assert!("zzzzzzzzzzzzz".parse::<FlowId>().is_err());
        assert!("".parse::<FlowId>().is_err());
    }

    #[test]
    fn each_byte_is_reported_once_whoever_asks_and_spent_of_the_quota() {
        let quota = Arc::new(Quota::new(crate::quota::Quotas::default(), Timestamp(u64::MAX)));
        let meter = Meter::default();
        meter.spend_of(&quota);
        let told: u64 = std::thread::scope(|scope| {
            let count = || {
                let mut told = 0;
                for _ in 0..10_000 {
                    meter.add_up(3);
                    meter.add_down(2);
                    let (up, down) = meter.take_unreported();
                    told += up + down;
                }
                told
            };
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((told, quota.spent().bytes), (150_000, 150_000));
        assert_eq!(meter.take_unreported(), (0, 0));
    }

    #[test]
    fn a_flow_reports_at_its_end_what_was_not_reported_before() {
        let (send, receive) = std::sync::mpsc::channel();
        let sink: FlowSink = Arc::new(move |flow| send.send(flow).unwrap());
        let client = "127.0.0.1:1".parse().unwrap();
        let mut open = OpenFlow::open(FlowId(1), Timestamp(0), Instant::now(), Listener::OutboundHttp, client, sink);
        open.meter().add_up(7);
        assert_eq!(open.meter().take_unreported(), (7, 0));
        open.meter().add_up(1);
        open.meter().add_down(4);
        open.answered();
        open.end(Outcome::Ok);
        let flow = receive.recv().unwrap();
        assert_eq!((flow.bytes_up, flow.bytes_down, flow.unreported_up, flow.unreported_down), (8, 4, 1, 4));
        let text = serde_json::to_string(&flow).unwrap();
        assert!(text.contains("latency_us") && !text.contains("unreported") && !text.contains("whose"), "{text}");
    }

    #[test]
    fn a_flow_that_nobody_ended_is_recorded_as_lost() {
        let (send, receive) = std::sync::mpsc::channel();
        let sink: FlowSink = Arc::new(move |flow| send.send(flow).unwrap());
        let client = "127.0.0.1:1".parse().unwrap();
        let open =
            |n| OpenFlow::open(FlowId(n), Timestamp(0), Instant::now(), Listener::OutboundHttp, client, sink.clone());
        drop(open(1));
        let ended = open(2);
        ended.meter().add_up(7);
        ended.end(Outcome::Ok);
        open(3).forget();
        let flows: Vec<EndedFlow> = receive.try_iter().collect();
        assert_eq!(
            flows.iter().map(|flow| (flow.id.0, flow.bytes_up, flow.outcome.code())).collect::<Vec<_>>(),
            [(1, 0, "lost"), (2, 7, "ok")]
        );
    }
}
