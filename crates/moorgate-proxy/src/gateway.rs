//! What every connection of this gateway shares: the snapshot, the registry, the connector, the limits.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use arc_swap::{ArcSwap, Guard};
use moorgate_contract::{
    account::{Place, Principal, SecretId},
    admit::admit,
    decide::{Ask, Destination, Plan, Transport, decide},
    failure::{Code, Failure},
    flow::{FlowId, FlowSink, OpenFlow},
    limits::{Limits, REFUSING},
    listener::Listener,
    outcome::Ending,
    snapshot::{Revoked, Snapshot},
    time::Timestamp,
};
use moorgate_net::{
    connect::{Connected, Connector, NotConnected},
    descriptors,
    registry::{Owner, Registered, Registry},
};
use moorgate_tls::Terminator;
use moorgate_wire::host::Asked;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// One terminator for each listener that speaks TLS first, so that no ticket crosses over.
pub struct Terminators {
    /// The HTTPS proxy: h2 and http/1.1.
    pub https: Terminator,
    /// SOCKS5 over TLS.
    pub socks_tls: Terminator,
    /// The echo's https side.
    pub echo: Terminator,
}

/// What is shared.
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    deadlines: Mutex<Vec<(Timestamp, SecretId)>>,
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
    strangers: Mutex<HashMap<IpAddr, usize>>,
    sink: FlowSink,
    sequence: AtomicU64,
    open: [AtomicUsize; Listener::ALL.len()],
}

/// One accepted connection, from accept to its last flow.
pub(crate) struct Visit {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) listener: Listener,
    pub(crate) client: SocketAddr,
    pub(crate) worker: usize,
    pub(crate) accepted: Instant,
    stranger: AtomicBool,
    _place: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

impl Gateway {
    /// A gateway that serves `snapshot` on `workers` threads and hands ended flows to `sink`.
    pub fn new(
        snapshot: Arc<Snapshot>,
        connector: Connector,
        limits: Limits,
        terminators: Terminators,
        workers: usize,
        sink: FlowSink,
    ) -> Self {
        let places = limits.connections.unwrap_or_else(descriptors::connections);
        // Ids of two gateways that start in the same millisecond should differ too.
        let sequence = getrandom::u64().unwrap_or_default();
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
            strangers: Mutex::default(),
            sink,
            sequence: AtomicU64::new(sequence),
            open: std::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }

    /// The rules in force.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Serves `snapshot` from now on and cuts what it no longer allows.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let deadlines = snapshot.deadlines();
        let old = self.snapshot.swap(snapshot.clone());
        *self.deadlines.lock().unwrap_or_else(PoisonError::into_inner) = deadlines;
        let cut = self.registry.revoke(&old.revoked_by(&snapshot));
        if cut > 0 {
            tracing::info!(cut, version = snapshot.version, "open flows were revoked");
        }
    }

    /// Cuts flows of passwords whose rotation overlap has ended. Needs nobody to compile a new snapshot.
    pub(crate) fn end_overlaps(&self, now: Timestamp) {
        let mut deadlines = self.deadlines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ended = Revoked::default();
        deadlines.retain(|(until, secret)| {
            let over = *until <= now;
            ended.secrets.extend(over.then_some(*secret));
            !over
        });
        drop(deadlines);
        self.registry.revoke(&ended);
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
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = strangers.entry(client.ip()).or_default();
        if *count >= self.limits.unauthenticated_per_client {
            return None;
        }
        *count += 1;
        drop(strangers);
        if let Some(open) = self.open.get(listener as usize) {
            open.fetch_add(1, Relaxed);
        }
        Some(Visit {
            gateway: self.clone(),
            listener,
            client,
            worker,
            accepted: Instant::now(),
            stranger: AtomicBool::new(true),
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

    fn no_stranger(&self, client: IpAddr) {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = strangers.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                strangers.remove(&client);
            }
        }
    }
}

/// The wall clock, for the contract.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// A flow's place in the registry and in its account's count.
pub(crate) struct Entered {
    pub(crate) open: Registered,
    _place: Place,
}

/// What a head turned out to want: on whose behalf, and the plan.
pub(crate) struct Decided {
    pub(crate) principal: Principal,
    pub(crate) plan: Plan,
}

impl Visit {
    /// Opens the flow of the connection itself (its first), or of a later request that began at `since`.
    pub(crate) fn open_flow(&self, since: Instant) -> OpenFlow {
        self.gateway.open_flow(self.listener, self.client, since)
    }

    /// Who this is, by username and password.
    pub(crate) fn authenticate(
        &self,
        presented: Option<(&str, &[u8])>,
        flow: &mut OpenFlow,
    ) -> Result<Principal, Failure> {
        let principal = self.gateway.snapshot().authenticate(presented, now())?;
        flow.record.account = Some(principal.account.name.clone());
        flow.record.username = Some(principal.username.clone());
        if self.stranger.swap(false, Relaxed) {
            self.gateway.no_stranger(self.client.ip());
        }
        Ok(principal)
    }

    /// The first step of the decision.
    pub(crate) fn decide(
        &self,
        principal: Principal,
        asked: &Asked,
        transport: Transport,
        flow: &mut OpenFlow,
    ) -> Result<Decided, Failure> {
        flow.record.target = Some(asked.text().into());
        if self.gateway.drain.is_cancelled() {
            return Err(Failure::new(Code::Draining, "this gateway is going down; connect again in a moment"));
        }
        let plan = decide(&Ask { account: &principal.account, asked, transport }, &mut ())?;
        Ok(Decided { principal, plan })
    }

    /// Enters a decided flow where revocation and the sweep find it.
    pub(crate) fn enter(&self, decided: &Decided, flow: &OpenFlow) -> Result<Entered, Failure> {
        let Decided { principal, plan } = decided;
        let gateway = &self.gateway;
        let limit = gateway.limits.connections_per_account;
        let place = principal.account.load.take(limit).ok_or_else(|| {
            Failure::new(
                Code::QuotaSpent,
                format_args!("account {} has {limit} connections open, which is its limit", principal.account.name),
            )
        })?;
        let host = plan.asked.host.clone().map_err(|why| Failure::new(Code::HostNotCanonical, why))?;
        let owner = Owner {
            account: principal.account.id,
            credential: principal.credential,
            secret: principal.secret,
            host,
            port: plan.port,
        };
        let open = gateway.registry.register(self.worker, owner, flow.meter().clone());
        // Revoked between authentication and here: the walk over the registry came too early to find it.
        if !gateway.snapshot().still_has(principal, now()) {
            return Err(Failure::new(Code::CredentialsWrong, "this credential has just been revoked"));
        }
        Ok(Entered { open, _place: place })
    }

    /// Resolves, admits and connects, unless somebody revokes it meanwhile.
    pub(crate) async fn connect(
        &self,
        decided: &Decided,
        entered: &Entered,
        flow: &mut OpenFlow,
    ) -> Result<Connected, Failure> {
        let site = self.gateway.snapshot().site.clone();
        let connected = tokio::select! {
            connected = self.gateway.connector.connect(&site, &decided.plan) => connected,
            _ = std::future::poll_fn(|cx| entered.open.poll_cut(cx)) => {
                Err(NotConnected::from(Failure::new(Code::CredentialsWrong, "this credential has just been revoked")))
            }
        };
        match connected {
            Ok(connected) => {
                flow.record.address = Some(connected.address);
                flow.record.egress = Some(connected.egress);
                flow.record.tries = connected.tries;
                entered.open.dialled(connected.address.ip());
                Ok(connected)
            }
            Err(NotConnected { failure, address, tries }) => {
                flow.record.address = address;
                flow.record.tries = tries;
                Err(failure)
            }
        }
    }

    /// Judges once more an address that an earlier request of this connection was connected to.
    pub(crate) fn admit_again(&self, plan: &Plan, address: IpAddr) -> Result<(), Failure> {
        let site = self.gateway.snapshot().site.clone();
        admit(&site.guard, &self.gateway.connector.presence().now(), plan, &[address], &mut ()).map(|_| ())
    }

    /// Whether a connection of an earlier request that left from `egress` may carry another.
    pub(crate) fn may_leave_from(&self, plan: &Plan, egress: IpAddr) -> bool {
        let pair = plan.egress();
        pair.is_kernels_choice()
            || (pair.addresses().contains(&egress) && self.gateway.connector.presence().now().has(egress))
    }

    /// The address that a destination would have seen: for the echo, which connects to nothing.
    pub(crate) fn would_leave_from(&self, plan: &Plan) -> Result<IpAddr, Failure> {
        debug_assert_eq!(plan.destination, Destination::Echo);
        self.gateway.connector.would_leave_from(plan, self.gateway.snapshot().site.loopback_profile)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(open) = self.gateway.open.get(self.listener as usize) {
            open.fetch_sub(1, Relaxed);
        }
        if *self.stranger.get_mut() {
            self.gateway.no_stranger(self.client.ip());
        }
    }
}
