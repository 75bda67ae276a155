//! What every connection of this gateway shares: the snapshot, the registry, the connector, the limits.

mod per_address;
mod visit;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::{ArcSwap, Guard};
use moorgate_contract::{
    failure::{Code, Failure},
    flow::{FlowId, FlowSink, OpenFlow},
    limits::{Limits, REFUSING},
    listener::Listener,
    outcome::Ending,
    snapshot::{Ends, Revoked, Snapshot},
    time::Timestamp,
    usage::{Report, ReportSink},
};
use moorgate_net::{
    connect::Connector,
    descriptors,
    registry::{Moment, Registry},
    runtime,
};
use moorgate_tls::{LocalIssuer, Originator, SetupError, Terminator, TrustRoots};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use per_address::PerAddress;
use visit::Standing;
pub(crate) use visit::{Decided, Entered};

use crate::inbound::waiting::WaitingRooms;

/// One terminator for each listener that speaks TLS first, so that no ticket crosses over.
pub struct Terminators {
    /// The HTTPS proxy: h2 and http/1.1.
    pub https: Terminator,
    /// SOCKS5 over TLS.
    pub socks_tls: Terminator,
    /// The echo's https side.
    pub echo: Terminator,
    /// Certificates for terminate routes that have none of their own.
    pub local: LocalIssuer,
}

/// For so many places of connections there is one for a connection to an origin that waits for a request.
const KEEPING: usize = 8;

/// What is shared.
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    deadlines: Mutex<Vec<(Timestamp, Ends)>>,
    /// Every open flow.
    pub registry: Registry,
    /// Reaches targets.
    pub connector: Connector,
    /// Phases' limits.
    pub limits: Limits,
    /// TLS toward clients.
    pub terminators: Terminators,
    /// Cancelled when the gateway goes down.
    pub drain: CancellationToken,
    /// Counts connections, so that the drain knows when the last one is gone.
    pub connections: TaskTracker,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) refusing: Arc<Semaphore>,
    /// Connections to origins that wait for a request.
    pub(crate) waiting: WaitingRooms,
    strangers: PerAddress,
    guests: PerAddress,
    reports: ReportSink,
    sink: FlowSink,
    sequence: AtomicU64,
    began: Instant,
    system_roots: Mutex<Option<Originator>>,
    open: [AtomicUsize; Listener::ALL.len()],
}

/// One accepted connection, from accept to its last flow.
pub(crate) struct Visit {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) listener: Listener,
    /// Who asks: whoever connected, or whom a trusted load balancer says it connected for.
    pub(crate) client: SocketAddr,
    pub(crate) worker: usize,
    pub(crate) accepted: Instant,
    standing: Mutex<Standing>,
    /// The address that it counts on, unless it is known.
    counted: IpAddr,
    _place: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

impl Gateway {
    /// A gateway that serves `snapshot` on `workers` threads and reports to `reports` what ended and what moved.
    pub fn new(
        snapshot: Arc<Snapshot>,
        connector: Connector,
        limits: Limits,
        terminators: Terminators,
        workers: usize,
        reports: ReportSink,
    ) -> Self {
        let (strangers, guests) = (limits.unauthenticated_per_client, limits.inbound_per_client);
        let idle_request = limits.idle_request;
        let places = limits.connections.unwrap_or_else(descriptors::connections);
        // Ids of two gateways that start in the same millisecond should differ too.
        let sequence = getrandom::u64().unwrap_or_default();
        let ended = reports.clone();
        Self {
            deadlines: Mutex::new(snapshot.deadlines()),
            snapshot: ArcSwap::new(snapshot),
            registry: Registry::new(workers),
            connector,
            limits,
            terminators,
            drain: CancellationToken::new(),
            connections: TaskTracker::new(),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            refusing: Arc::new(Semaphore::new(REFUSING)),
            waiting: WaitingRooms::new(places / KEEPING, idle_request),
            strangers: PerAddress::new(strangers),
            guests: PerAddress::new(guests),
            reports,
            sink: Arc::new(move |flow| ended(Report::Flow(flow))),
            sequence: AtomicU64::new(sequence),
            began: Instant::now(),
            system_roots: Mutex::default(),
            open: std::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }

    /// The rules in force.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Serves `snapshot` from now on and cuts what it no longer allows.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let old = self.snapshot.swap(snapshot.clone());
        if !old.shares_credentials_with(&snapshot) {
            *self.deadlines.lock().unwrap_or_else(PoisonError::into_inner) = snapshot.deadlines();
        }
        let cut = self.registry.revoke(&old.revoked_by(&snapshot));
        if cut > 0 {
            tracing::info!(cut, version = snapshot.version, "open flows were revoked");
        }
    }

    /// Looks through what `worker` carries.
    pub(crate) fn sweep(&self, worker: usize) {
        let now = Moment::now();
        self.registry.sweep(worker, now, |tally| (self.reports)(Report::Tally(tally)));
        if worker == 0 {
            self.end_overlaps(now.wall);
        }
    }

    /// Cuts flows of passwords whose rotation overlap has ended, and of credentials that have expired. Needs nobody to compile a new snapshot.
    fn end_overlaps(&self, now: Timestamp) {
        let mut deadlines = self.deadlines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ended = Revoked::default();
        deadlines.retain(|(until, ends)| {
            let over = *until <= now;
            match *ends {
                Ends::Secret(secret) => ended.secrets.extend(over.then_some(secret)),
                Ends::Credential(credential) => ended.credentials.extend(over.then_some(credential)),
            }
            !over
        });
        drop(deadlines);
        self.registry.revoke(&ended);
    }

    /// TLS toward origins, with these roots; without, with the system's, which are read once.
    pub(crate) fn originator(&self, roots: Option<TrustRoots>) -> Result<Originator, SetupError> {
        if let Some(roots) = roots {
            return Originator::new(roots);
        }
        let mut system = self.system_roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(originator) = &*system {
            return Ok(originator.clone());
        }
        let originator = Originator::new(TrustRoots::System)?;
        *system = Some(originator.clone());
        Ok(originator)
    }

    /// The time since a fixed moment: what origins' health is counted by.
    pub fn clock(&self) -> Duration {
        runtime::now().saturating_duration_since(self.began)
    }

    /// Open connections of one listener.
    pub fn open_connections(&self, listener: Listener) -> usize {
        self.open.get(listener as usize).map_or(0, |open| open.load(Relaxed))
    }

    /// Cuts everything that is still open.
    pub fn cut_all(&self) -> usize {
        self.registry.cut_all(Ending::Drained)
    }

    /// Takes a connection in. `None` when its client address has too many that have not authenticated.
    pub(crate) fn welcome(
        self: &Arc<Self>,
        listener: Listener,
        client: SocketAddr,
        worker: usize,
        place: OwnedSemaphorePermit,
    ) -> Option<Visit> {
        if !self.strangers.enter(client.ip()) {
            return None;
        }
        if let Some(open) = self.open.get(listener as usize) {
            open.fetch_add(1, Relaxed);
        }
        Some(Visit {
            gateway: self.clone(),
            listener,
            client,
            worker,
            accepted: runtime::now(),
            standing: Mutex::new(Standing::Stranger),
            counted: client.ip(),
            _place: place,
            _token: self.connections.token(),
        })
    }

    /// Records a connection that found no place.
    pub(crate) fn record_full(&self, listener: Listener, client: SocketAddr) -> Failure {
        let failure = Failure::new(
            Code::Full,
            "this gateway has as many connections as it may have; close idle ones, or raise [limits] connections",
        );
        self.open_flow(listener, client, Instant::now()).fail(&failure);
        failure
    }

    fn open_flow(&self, listener: Listener, client: SocketAddr, since: Instant) -> OpenFlow {
        let at = now();
        let waited = u64::try_from(since.elapsed().as_micros()).unwrap_or(0);
        let id = FlowId::new(at, self.sequence.fetch_add(1, Relaxed));
        OpenFlow::open(id, Timestamp(at.0.saturating_sub(waited)), since, listener, client, self.sink.clone())
    }
}

/// The wall clock, for the contract.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}
