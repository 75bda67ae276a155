//! What a control plane is opened with, and what it says of its start.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use moorgate_acme::Ca;
use moorgate_alarm::Courier;
use moorgate_contract::{
    certificate::ChallengeKind,
    egress::Presence,
    failure::Failure,
    snapshot::{Site, Snapshot},
    usage::Usage,
};
use moorgate_keys::{LocalCa, MasterKeys};
use moorgate_wire::name::DomainName;

use crate::views::{NewCredential, NewToken};

/// What [`Control::open`](crate::Control::open) needs to know.
pub struct Settings {
    /// Where store and sealed copy live. Made (0700) when it is missing.
    pub data_dir: PathBuf,
    /// `[store] url`: `sqlite`, or `postgres://…` for several gateways.
    pub store_url: String,
    /// Seal the copy and the store's own key.
    pub master_keys: MasterKeys,
    /// This gateway.
    pub gateway: Itself,
    /// The local CA of this data directory. The store takes it, unless it has one.
    pub local_ca: Arc<LocalCa>,
    /// What the gateway's file says of traffic.
    pub site: Arc<Site>,
    /// `[dns]`; `None`: routes have no targets, and nobody asks about their domains.
    pub zone: Option<ZoneSettings>,
    /// `[acme]`; `None`: certificates are added by hand, or the local CA's.
    pub ca: Option<CaSettings>,
    /// How alarms reach people; `None`: they do not.
    pub alarms: Option<AlarmSettings>,
    /// `[egress] addresses` in the operator's order; may be empty.
    pub egress: Vec<IpAddr>,
    /// Whether a first start makes the account `default` with a credential.
    pub make_default_account: bool,
    /// Where traffic counts what it moves; control takes it each second.
    pub usage: Arc<Mutex<Usage>>,
    /// How many flows are kept, 1 at least; the oldest make room.
    pub keep_flows: u64,
    /// How long usage is kept.
    pub keep_usage: Duration,
    /// What serves the snapshots.
    pub plane: Arc<dyn Plane>,
}

/// A gateway, as the others on its store see it.
#[derive(Clone, Debug, Default)]
pub struct Itself {
    /// Its name: unique among the gateways of a store, and the same after a restart.
    pub name: String,
    /// Its version.
    pub release: String,
    /// Where its listeners are bound, by their names.
    pub addresses: BTreeMap<String, Vec<SocketAddr>>,
}

/// `[dns]`: the zone in which routes have their targets, and who is asked about their domains.
#[derive(Clone, Debug)]
pub struct ZoneSettings {
    /// Its name. [`Zone::new`](moorgate_dns::zone::Zone::new) takes it.
    pub name: DomainName,
    /// Where clients reach this gateway; empty: where its inbound listeners are bound.
    pub addresses: Vec<IpAddr>,
    /// What these see of a domain decides; never empty.
    pub resolvers: Vec<SocketAddr>,
}

/// `[acme]`: the CA that certificates are ordered from.
pub struct CaSettings {
    /// The CA.
    pub ca: Ca,
    /// Names of the gateways' own, for which it is asked too.
    pub own: Vec<DomainName>,
    /// Where it may look, the best first: where the gateway listens.
    pub kinds: Vec<ChallengeKind>,
    /// Whether the zone's own servers answer, so that it may look in DNS.
    pub by_dns: bool,
}

/// How alarms reach people.
#[derive(Clone)]
pub struct AlarmSettings {
    /// Who carries them.
    pub courier: Courier,
    /// Where people find the console.
    pub console_url: String,
}

/// What control asks of the data plane.
pub trait Plane: Send + Sync + 'static {
    /// Serves this snapshot from now on. When it returns, every new decision is made by it and what it revoked is
    /// being cut. Fast, and never waits for control.
    fn publish(&self, snapshot: Arc<Snapshot>);

    /// Which addresses this machine has right now.
    fn presence(&self) -> Arc<Presence>;

    /// How many connections are open from each egress address to each destination.
    fn ports_in_use(&self) -> Vec<PortsInUse>;

    /// How many source ports the kernel has toward one destination; `None`: it does not say.
    fn ports(&self) -> Option<usize>;

    /// The time since a fixed moment, the same that traffic counts origins' health by.
    fn clock(&self) -> Duration;

    /// How many tunnels and exchanges an account may have open here, whatever its quotas.
    fn places(&self) -> usize;

    /// Resolves a name as traffic does.
    ///
    /// # Errors
    /// The failure that a client would be told.
    fn resolve(&self, name: DomainName) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, Failure>> + Send + '_>>;
}

/// Source ports that are taken from one address toward one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortsInUse {
    /// The address they leave from.
    pub egress: IpAddr,
    /// Where they go.
    pub destination: SocketAddr,
    /// How many there are.
    pub taken: usize,
}

/// How a start went.
#[derive(Debug)]
pub struct Start {
    /// Whether the store was made by it.
    pub first: bool,
    /// The account made by it and that account's credential.
    pub created_account: Option<(String, NewCredential)>,
    /// An operator's token, made by the first start of a data directory.
    pub operator_token: Option<NewToken>,
    /// The local CA of all gateways on the store, when that is another than this data directory's.
    pub local_ca: Option<LocalCa>,
    /// Why the sealed copy is served and not the store; `None` when all is well.
    pub degraded: Option<String>,
    /// How many accounts there are.
    pub accounts: usize,
    /// How many routes there are.
    pub routes: usize,
    /// The version of the snapshot that is served.
    pub snapshot_version: u64,
}
