//! The control plane: one value through which everything an operator does goes.

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicBool},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use moorgate_contract::{account::Pepper, snapshot::Snapshot, time::Timestamp};
use moorgate_keys::{MasterKeys, StoreKey};
use tokio::{
    sync::{Notify, Semaphore},
    task::AbortHandle,
};

use crate::{
    book::{Book, Edit},
    call::Call,
    compile::Compiler,
    error::ControlError,
    sealed::Step,
    settings::{Itself, Plane, ZoneSettings},
    store::{Head, StoreUrl},
    views::{EgressView, PortsView, Status},
};

pub(crate) mod accounts;
pub(crate) mod alarms;
mod apply;
mod audit;
mod beginning;
mod certificates;
mod changes;
mod credentials;
mod demand;
mod doctor;
pub(crate) mod domains;
mod evidence;
mod flows;
mod gateways;
mod invitations;
pub(crate) mod issuing;
mod kept;
mod open;
mod people;
mod policy;
mod proofs;
mod replay;
pub(crate) mod routes;
mod schedule;
mod sealing;
mod secrets;
mod session;
mod shared_flows;
mod side;
mod tiers;
mod tokens;
mod unwell;
mod usage;
mod zone;

pub use audit::AuditFilter;
pub(crate) use audit::hex;
pub(crate) use beginning::AUDIT_CHAIN;
pub(crate) use changes::restored_backup;
pub use doctor::{CertificateCounts, Diagnosis};
pub(crate) use open::lock_directory;
pub(crate) use policy::text as policy_text;
pub use replay::{Replay, Replayed};
pub(crate) use session::{Session, Writer};
pub use unwell::Unwell;
pub use usage::stage_of;
pub use zone::{DNS_LISTENER, ZoneFacts};

/// What an operator can do. Cheap to clone; every clone is the same control plane.
///
/// A write answers when it is durable and served. Once begun it is finished, whatever becomes of its caller. While the
/// store is down, writes fail with [`ControlError::StoreDown`] and everything else goes on.
#[derive(Clone)]
pub struct Control {
    pub(crate) inner: Arc<Inner>,
    /// On whose behalf.
    call: Arc<Call>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("data_dir", &self.inner.data_dir).finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) data_dir: PathBuf,
    pub(crate) store_url: StoreUrl,
    pub(crate) master_keys: MasterKeys,
    store_key: Arc<StoreKey>,
    /// This gateway, as the others on its store see it.
    pub(crate) gateway: Itself,
    /// Random: which start of that gateway this is.
    id: String,
    started: Timestamp,
    seen: Mutex<gateways::Seen>,
    /// Where the store's server was found last.
    located: Mutex<BTreeSet<SocketAddr>>,
    side: side::Side,
    counting: usage::Counting,
    /// What gateways want of the quotas of a moment.
    demands: Mutex<demand::Demands>,
    pub(crate) plane: Arc<dyn Plane>,
    pub(crate) compiler: Compiler,
    /// `[dns]`.
    pub(crate) zone: Option<ZoneSettings>,
    checks: domains::Checks,
    /// `[acme]`.
    issuing: Option<Arc<issuing::Issuing>>,
    alarming: alarms::Alarming,
    /// Whether this gateway is about to end: its address is not given to clients any more.
    leaving: AtomicBool,
    token_pepper: Pepper,
    /// Turns at hashing what people sign in with.
    hashing: Semaphore,
    /// Of the audit log's hashes.
    chain: Pepper,
    book: RwLock<Book>,
    current: ArcSwap<Snapshot>,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    /// Why the store can't be used, in words.
    trouble: Mutex<Option<String>>,
    sealing: sealing::Sealing,
    pub(crate) signals: Arc<Signals>,
    flows: flows::Flows,
    tasks: Mutex<Vec<AbortHandle>>,
    /// Keeps other processes out of the data directory. `None` once closed.
    lock: Mutex<Option<File>>,
}

/// What wakes the background work.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// There is something to seal.
    pub(crate) seal: Notify,
    /// The ends of passwords may have changed.
    pub(crate) reap: Notify,
    /// There are flows to share.
    pub(crate) share: Notify,
    /// The other gateways may be told what is served here.
    pub(crate) beat: Notify,
    /// The store wants looking after.
    pub(crate) mend: Notify,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop_tasks();
    }
}

impl Control {
    /// The same control plane, asked on somebody's behalf: what the audit log says of the changes made through it.
    pub fn on_behalf(&self, call: Call) -> Self {
        Self { inner: self.inner.clone(), call: Arc::new(call) }
    }

    /// The control plane as the gateway itself asks it.
    pub(crate) fn by_itself(inner: Arc<Inner>) -> Self {
        Self { inner, call: Arc::default() }
    }

    /// What seals in this gateway's data directory.
    pub fn master_keys(&self) -> &MasterKeys {
        &self.inner.master_keys
    }

    /// The snapshot that is served.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.current.load_full()
    }

    /// The configured egress addresses, whether they are present, and who leaves from them.
    pub fn egress(&self) -> Vec<EgressView> {
        let (presence, snapshot) = (self.inner.plane.presence(), self.snapshot());
        let (in_use, all) = (self.inner.plane.ports_in_use(), self.inner.plane.ports());
        let view = |address: &IpAddr| {
            let users = snapshot.accounts().filter(|account| account.egress.addresses().contains(address));
            let mut accounts: Vec<String> = users.map(|account| account.name.to_string()).collect();
            accounts.sort_unstable();
            let most = in_use.iter().filter(|ports| ports.egress == *address).max_by_key(|ports| ports.taken);
            let ports =
                most.zip(all).map(|(most, all)| PortsView { destination: most.destination, taken: most.taken, all });
            EgressView { address: *address, present: presence.has(*address), accounts, ports }
        };
        self.inner.compiler.configured_egress().iter().map(view).collect()
    }

    /// Says so where an address is about to have no source ports left toward some destination.
    pub(crate) fn warn_of_ports(&self) {
        for egress in self.egress() {
            let Some(ports) = egress.ports.filter(PortsView::is_scarce) else { continue };
            tracing::warn!(
                address = %egress.address,
                destination = %ports.destination,
                free = ports.free(),
                "an egress address has few source ports left toward a destination; close idle tunnels, widen \
                 net.ipv4.ip_local_port_range, or give accounts other addresses"
            );
        }
    }

    /// How the control plane is.
    pub fn status(&self) -> Status {
        let store_problem = self.inner.trouble().clone();
        let book = self.inner.book();
        Status {
            snapshot_version: book.version(),
            store_ok: store_problem.is_none(),
            store_problem,
            accounts: book.accounts().len(),
            routes: book.routes().len(),
            credentials: book.credentials().count(),
            flows_lost: self.inner.flows.kept.lost(),
        }
    }

    /// Ends it in good order: background work stops, the last snapshot is sealed, the store is written out and closed.
    /// Later writes fail with [`ControlError::StoreDown`]; what is in memory can still be read.
    pub async fn close(&self) {
        self.inner.stop_tasks();
        if let Err(error) = self.settle().await {
            tracing::warn!(error = crate::error::chain(&error), "the last second's usage could not be written");
        }
        self.share().await;
        self.part().await;
        let mut writer = self.inner.writer.clone().lock_owned().await;
        let store = writer.close();
        self.inner.clone().seal().await;
        self.inner.flows.kept.close().await;
        let side = self.inner.side.lock().await.take();
        let flow_side = self.inner.flows.side.lock().await.take();
        for store in side.into_iter().chain(flow_side).chain(store) {
            if let Err(error) = store.close().await {
                tracing::error!(error = crate::error::chain(&error), "the store was not closed well");
            }
        }
        *lock(&self.inner.lock) = None;
    }
}

impl Inner {
    pub(crate) fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn book_mut(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        lock(&self.trouble)
    }

    /// Takes note of a store that can't be used, and has it looked after.
    pub(crate) fn note_trouble(&self, error: &ControlError) {
        let said = match error {
            ControlError::StoreDown(cause) => crate::error::chain(cause),
            error => crate::error::chain(error),
        };
        let mut trouble = self.trouble();
        if trouble.as_ref() != Some(&said) {
            tracing::error!(problem = %said, "the store can't be used; traffic goes on by what was last known");
        }
        *trouble = Some(said);
        drop(trouble);
        self.signals.mend.notify_one();
    }

    pub(crate) fn note_health(&self) {
        if self.trouble().take().is_some() {
            tracing::info!("the store can be used again");
        }
    }

    /// Serves what was just committed. Called under the writer's lock, so versions are published in order.
    fn publish(&self, version: u64, head: Head, edits: Vec<Edit>) {
        let mut snapshot = Snapshot::clone(&self.current.load());
        let mut book = self.book_mut();
        self.sealing.lacks(Step { version, head: head.clone(), edits: edits.clone() });
        for edit in edits {
            self.compiler.edit(&mut snapshot, &edit, &book);
            book.apply(edit);
        }
        book.set_version(version, head);
        drop(book);
        snapshot.version = version;
        self.serve(snapshot);
    }

    /// Serves `book` instead of everything that was known.
    fn replace(&self, book: Book) {
        let snapshot = self.compiler.all(&self.current.load(), &book);
        self.rewrite(|known| *known = book);
        self.serve(snapshot);
    }

    fn serve(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        self.current.store(snapshot.clone());
        self.plane.publish(snapshot);
        self.signals.seal.notify_one();
        self.signals.reap.notify_one();
        self.signals.beat.notify_one();
    }

    /// Changes the book other than by edits: the sealed copy is written anew.
    fn rewrite(&self, change: impl FnOnce(&mut Book)) {
        let mut book = self.book_mut();
        change(&mut book);
        self.sealing.lacks_all();
    }

    fn stop_tasks(&self) {
        lock(&self.tasks).drain(..).for_each(|task| task.abort());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests;
