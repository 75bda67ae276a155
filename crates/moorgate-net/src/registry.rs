//! The registry of open flows: what revocation walks, and what the sweep looks through for idle tunnels.
//!
//! One shard for each worker thread, so that a connection locks only what its own thread uses.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use atomic_waker::AtomicWaker;
use moorgate_contract::{
    account::{AccountId, CredentialId, SecretId},
    flow::Meter,
    outcome::Ending,
    policy::{Finding, Policy},
    route::RouteId,
    snapshot::Revoked,
    time::Timestamp,
    usage::{Tally, Whose, host_text},
};
use moorgate_wire::host::Host;
use slab::Slab;

use crate::{ports::Toward, runtime::now};

/// Whose an open flow is, and where it goes: what a revocation looks at.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A client with a credential asked for a destination.
    Outbound {
        /// The account.
        account: AccountId,
        /// The credential.
        credential: CredentialId,
        /// The password it came with.
        secret: SecretId,
        /// The host as asked.
        host: Host,
        /// The port as asked.
        port: u16,
        /// Who connected.
        client: IpAddr,
    },
    /// A client came by a route.
    Inbound {
        /// The account.
        account: AccountId,
        /// The route.
        route: RouteId,
    },
}

impl Owner {
    fn whose(&self) -> Whose {
        match *self {
            Self::Outbound { account, credential, .. } => {
                Whose { account: Some(account), credential: Some(credential), route: None }
            }
            Self::Inbound { account, route } => Whose { account: Some(account), credential: None, route: Some(route) },
        }
    }

    fn is_revoked_by(&self, revoked: &Revoked) -> bool {
        match self {
            Self::Outbound { account, credential, secret, .. } => {
                revoked.accounts.contains(account)
                    || revoked.credentials.contains(credential)
                    || revoked.secrets.contains(secret)
            }
            Self::Inbound { account, route } => revoked.accounts.contains(account) || revoked.routes.contains(route),
        }
    }
}

/// One open tunnel or exchange.
#[derive(Debug)]
pub struct Open {
    owner: Owner,
    meter: Arc<Meter>,
    dialled: Mutex<Option<Dialled>>,
    cut: AtomicU8,
    watched: AtomicBool,
    /// Set by the sweep when it wakes a watched flow.
    swept: AtomicBool,
    /// Milliseconds without a byte after which the sweep cuts it; 0: never.
    idle: AtomicU64,
    waker: AtomicWaker,
}

/// A connection to a target: where to, and where from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialled {
    /// The address that was dialled.
    pub address: IpAddr,
    /// The address it leaves from.
    pub egress: IpAddr,
}

/// One moment, on the clock that never runs back and on the wall.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For idle limits.
    pub instant: Instant,
    /// For quotas and reports.
    pub wall: Timestamp,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now().into() }
    }
}

/// The endings that come from outside; 0 is "not cut".
const CUTS: [Ending; 4] = [Ending::Revoked, Ending::Idle, Ending::Drained, Ending::QuotaSpent];

impl Open {
    /// Resolves when somebody cuts this flow. One task at a time may wait.
    pub fn poll_cut(&self, cx: &Context<'_>) -> Poll<Ending> {
        self.waker.register(cx.waker());
        self.is_cut().map_or(Poll::Pending, Poll::Ready)
    }

    /// Whether it has been cut, and why.
    pub fn is_cut(&self) -> Option<Ending> {
        let cut = usize::from(self.cut.load(Ordering::Acquire));
        CUTS.get(cut.checked_sub(1)?).copied()
    }

    /// The counter of its bytes.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Notes which address was dialled, and from where: a policy edited with `--cut` may speak of it, and usage does.
    pub fn dialled(&self, dialled: Dialled) {
        *lock(&self.dialled) = Some(dialled);
    }

    /// What has moved since it was asked last.
    fn tally(&self, at: Timestamp) -> Option<Tally> {
        let (up, down) = self.meter.take_unreported();
        if (up, down) == (0, 0) {
            return None;
        }
        let (host, client) = match &self.owner {
            Owner::Outbound { host, client, .. } => (Some(host_text(host)), Some(*client)),
            Owner::Inbound { .. } => (None, None),
        };
        let egress = lock(&self.dialled).map(|dialled| dialled.egress);
        Some(Tally { whose: self.owner.whose(), host, egress, client, at, up, down })
    }

    /// From now on the sweep cuts it when no byte has moved for `idle`; `None`: never.
    pub fn idles_after(&self, idle: Option<Duration>) {
        let millis = idle.map_or(0, |idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX).max(1));
        self.idle.store(millis, Ordering::Relaxed);
    }

    /// Asks the sweep to wake the task: it waits for something that no waker announces.
    pub(crate) fn watch(&self, on: bool) {
        // The flag is read far more often than it changes.
        if self.watched.load(Ordering::Relaxed) != on {
            self.watched.store(on, Ordering::Relaxed);
        }
    }

    /// Whether the sweep has woken the task since it was last asked.
    pub(crate) fn take_swept(&self) -> bool {
        self.swept.load(Ordering::Relaxed) && self.swept.swap(false, Ordering::Relaxed)
    }

    fn cut(&self, ending: Ending) {
        let code = CUTS.iter().position(|cut| *cut == ending).and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(1);
        // The first reason stays.
        let _ = self.cut.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake();
    }

    /// Whether one of the edited policies is its account's or its credential's, and refuses where it goes.
    fn is_refused_by(&self, revoked: &Revoked) -> bool {
        // A policy speaks of destinations; origins are the account's own.
        let Owner::Outbound { account, credential, host, port, .. } = &self.owner else { return false };
        let of_account = revoked.policies.iter().filter(|edited| edited.id == *account).map(|edited| &edited.policy);
        let of_credential = revoked.credential_policies.iter().filter(|edited| edited.id == *credential);
        let mut edited = of_account.chain(of_credential.filter_map(|edited| edited.policy.as_deref()));
        edited.any(|policy| self.is_refused_at(policy, host, *port))
    }

    fn is_refused_at(&self, policy: &Policy, host: &Host, port: u16) -> bool {
        let by_name = match host {
            Host::Name(name) => Some(policy.judge_name(name, port)),
            Host::V4(_) | Host::V6(_) => None,
        };
        let address = host.ip().or_else(|| lock(&self.dialled).map(|dialled| dialled.address));
        let by_address = address.map(|address| policy.judge_address(address, port));
        let denied = |finding: &Option<Finding<'_>>| matches!(finding, Some(Finding::Denied(..)));
        let passes = |finding: &Option<Finding<'_>>| matches!(finding, Some(Finding::Allowed(..) | Finding::Default));
        denied(&by_name) || denied(&by_address) || !(passes(&by_name) || passes(&by_address))
    }
}

struct Entry {
    open: Arc<Open>,
    seen: (u64, u64),
    moved: Instant,
}

/// Every open flow of the process.
#[derive(Clone)]
pub struct Registry {
    shards: Arc<[Mutex<Slab<Entry>>]>,
    count: Arc<AtomicUsize>,
}

/// A place in the registry, left when dropped.
pub struct Registered {
    open: Arc<Open>,
    registry: Registry,
    shard: usize,
    key: usize,
}

impl Deref for Registered {
    type Target = Arc<Open>;

    fn deref(&self) -> &Arc<Open> {
        &self.open
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(shard) = self.registry.shards.get(self.shard) {
            lock(shard).try_remove(self.key);
            self.registry.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks; what they guard is whole in any case.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// A registry for `workers` threads.
    pub fn new(workers: usize) -> Self {
        Self { shards: (0..workers.max(1)).map(|_| Mutex::default()).collect(), count: Arc::default() }
    }

    /// Enters a flow that `worker` carries.
    pub fn register(&self, worker: usize, owner: Owner, meter: Arc<Meter>) -> Registered {
        let open = Arc::new(Open {
            owner,
            meter,
            dialled: Mutex::default(),
            cut: AtomicU8::new(0),
            watched: AtomicBool::new(false),
            swept: AtomicBool::new(false),
            idle: AtomicU64::new(0),
            waker: AtomicWaker::new(),
        });
        let shard = worker % self.shards.len();
        let entry = Entry { open: open.clone(), seen: (0, 0), moved: now() };
        let key = self.shards.get(shard).map_or(usize::MAX, |shard| lock(shard).insert(entry));
        self.count.fetch_add(1, Ordering::Relaxed);
        Registered { open, registry: self.clone(), shard, key }
    }

    /// How many flows are open.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many open flows of outbound clients take a source port, by where from and where to. Connections that are kept
    /// between two requests are not among them.
    pub fn ports_in_use(&self) -> HashMap<Toward, usize> {
        let mut ports = HashMap::new();
        for shard in &*self.shards {
            for (_, Entry { open, .. }) in &*lock(shard) {
                if let (Owner::Outbound { port, .. }, Some(Dialled { address, egress })) =
                    (&open.owner, *lock(&open.dialled))
                {
                    let destination = SocketAddr::new(address, *port);
                    *ports.entry(Toward { egress, destination }).or_default() += 1;
                }
            }
        }
        ports
    }

    /// Cuts what `revoked` names; returns how many flows that were.
    pub fn revoke(&self, revoked: &Revoked) -> usize {
        if revoked.is_empty() {
            return 0;
        }
        self.cut_where(Ending::Revoked, |open| open.owner.is_revoked_by(revoked) || open.is_refused_by(revoked))
    }

    /// Cuts every open flow.
    pub fn cut_all(&self, ending: Ending) -> usize {
        self.cut_where(ending, |_| true)
    }

    fn cut_where(&self, ending: Ending, hit: impl Fn(&Open) -> bool) -> usize {
        let mut count = 0;
        for shard in &*self.shards {
            for (_, entry) in &*lock(shard) {
                if hit(&entry.open) {
                    entry.open.cut(ending);
                    count += 1;
                }
            }
        }
        count
    }

    /// Looks through one worker's flows: reports what moved in them, cuts those in which nothing did for their idle limit
    /// and those whose account has spent its bytes, wakes those that asked for it.
    pub fn sweep(&self, worker: usize, now: Moment, report: impl Fn(Tally)) {
        let Some(shard) = self.shards.get(worker % self.shards.len()) else { return };
        for (_, entry) in &mut *lock(shard) {
            let seen = entry.open.meter.read();
            let idle = Duration::from_millis(entry.open.idle.load(Ordering::Relaxed));
            // Whoever waits for its turn is not idle.
            let waits = entry.open.meter.share().is_some_and(|share| share.waits());
            if seen != entry.seen || idle.is_zero() || waits {
                entry.seen = seen;
                entry.moved = now.instant;
            } else if now.instant.saturating_duration_since(entry.moved) >= idle {
                entry.open.cut(Ending::Idle);
            }
            if let Some(tally) = entry.open.tally(now.wall) {
                report(tally);
            }
            if entry.open.meter.quota().is_some_and(|quota| quota.is_beyond_grace(now.wall)) {
                entry.open.cut(Ending::QuotaSpent);
            }
            if entry.open.watched.load(Ordering::Relaxed) {
                entry.open.swept.store(true, Ordering::Relaxed);
                entry.open.waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests;
