//! Usage: what accounts moved, by hour, for whoever counts and bills. Aggregated from ended flows and from what open ones
//! report; exact, since every byte is reported once.

mod histogram;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use foldhash::quality::RandomState;
use moorgate_wire::host::{Asked, Host};
use serde::{Deserialize, Serialize};

pub use histogram::Histogram;

use crate::{
    account::{AccountId, CredentialId},
    failure::Code,
    flow::{EndedFlow, Flow, Kind},
    outcome::Outcome,
    route::RouteId,
    time::Timestamp,
};

/// Whose a flow is, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Whose {
    /// The account.
    pub account: Option<AccountId>,
    /// Outbound: the credential.
    pub credential: Option<CredentialId>,
    /// Inbound: the route.
    pub route: Option<RouteId>,
}

/// What an open flow moved since it last said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Whose it is.
    pub whose: Whose,
    /// The destination's host, canonical and without its port; `None` inbound.
    pub host: Option<Arc<str>>,
    /// The address it leaves from; `None` before it has connected.
    pub egress: Option<IpAddr>,
    /// Outbound: who connected.
    pub client: Option<IpAddr>,
    /// When this was said.
    pub at: Timestamp,
    /// Bytes to the target.
    pub up: u64,
    /// Bytes from the target.
    pub down: u64,
}

/// What traffic reports.
#[derive(Clone, Debug)]
pub enum Report {
    /// A flow that ended.
    Flow(EndedFlow),
    /// What an open one moved.
    Tally(Tally),
}

/// Where reports go. Must not block.
pub type ReportSink = Arc<dyn Fn(Report) + Send + Sync>;

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Hours since the epoch.
    pub hour: u64,
    /// Whose it is.
    #[serde(flatten)]
    pub whose: Whose,
    /// The destination's host; [`OTHER_HOSTS`] beyond the bound, `None` inbound and for strangers.
    pub host: Option<Arc<str>>,
    /// The address it left from.
    pub egress: Option<IpAddr>,
}

/// What is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Tunnels that got through to their target.
    pub connections: u64,
    /// Exchanges that were answered.
    pub requests: u64,
    /// Bytes to targets.
    pub bytes_up: u64,
    /// Bytes from targets.
    pub bytes_down: u64,
    /// What we said no to.
    pub refusals: u64,
    /// The same by its code: how many of each.
    #[serde(default)]
    pub codes: BTreeMap<Code, u64>,
    /// What failed or broke off.
    pub errors: u64,
    /// From a flow's start until its target had answered, in microseconds.
    pub latency: Histogram,
}

impl Counts {
    /// Counts a flow that ended, its bytes aside: those count when they are moved.
    pub fn observe(&mut self, flow: &Flow) {
        if flow.latency_us.is_some() || flow.outcome == Outcome::Ok {
            match flow.kind {
                Kind::Tunnel => self.connections += 1,
                Kind::Exchange => self.requests += 1,
            }
        }
        match flow.outcome {
            Outcome::Ok => {}
            Outcome::Failed(code) if code.is_decision() => {
                self.refusals += 1;
                *self.codes.entry(code).or_default() += 1;
            }
            Outcome::Cut(ending) if ending.is_orderly() => {}
            Outcome::Failed(_) | Outcome::Cut(_) => self.errors += 1,
        }
        if let Some(latency) = flow.latency_us {
            self.latency.record(latency);
        }
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.requests += other.requests;
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
        self.refusals += other.refusals;
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
        self.errors += other.errors;
        self.latency.merge(&other.latency);
    }
}

/// Hosts of one account and hour that are counted apart: whoever scans a network must not fill a store with it.
pub const HOSTS_PER_HOUR: usize = 1_000;
/// What the others are counted under; also a host that has no canonical form.
pub const OTHER_HOSTS: &str = "(other)";

const MICROS_PER_HOUR: u64 = 3_600_000_000;

/// Counts reports until they are taken.
#[derive(Debug, Default)]
pub struct Usage {
    counts: HashMap<Key, Counts, RandomState>,
    hosts: HashMap<(AccountId, u64), HashSet<Arc<str>, RandomState>, RandomState>,
    uses: HashMap<CredentialId, (Timestamp, IpAddr), RandomState>,
}

impl Usage {
    /// Counts a flow that ended, in the hour of its end, and the bytes that it had not reported yet.
    pub fn observe(&mut self, flow: &Flow) {
        let ended = Timestamp(flow.started.0.saturating_add(flow.duration_us));
        let counts = self.counts(ended, flow.whose, || host_of(flow), flow.egress);
        counts.bytes_up += flow.unreported_up;
        counts.bytes_down += flow.unreported_down;
        counts.observe(flow);
        // Whoever comes from where it is not to be used has not used it, but tried to.
        if flow.outcome != Outcome::Failed(Code::ClientDenied) {
            self.used(flow.whose.credential, flow.started, Some(flow.client.ip()));
        }
    }

    /// Counts what an open flow moved, in the hour in which it said so.
    pub fn tally(&mut self, tally: &Tally) {
        let counts = self.counts(tally.at, tally.whose, || tally.host.clone(), tally.egress);
        counts.bytes_up += tally.up;
        counts.bytes_down += tally.down;
        self.used(tally.whose.credential, tally.at, tally.client);
    }

    /// Counts whichever it is.
    pub fn report(&mut self, report: &Report) {
        match report {
            Report::Flow(flow) => self.observe(flow),
            Report::Tally(tally) => self.tally(tally),
        }
    }

    /// Adds what another has counted.
    pub fn absorb(&mut self, mut other: Self) {
        for (credential, at, client) in other.last_uses() {
            self.used(Some(credential), at, Some(client));
        }
        for (key, counts) in other.take() {
            let Key { hour, whose, host, egress } = key;
            let at = Timestamp(hour.saturating_mul(MICROS_PER_HOUR));
            self.counts(at, whose, || host, egress).merge(&counts);
        }
    }

    /// Whether nothing was counted since it was taken last.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.uses.is_empty()
    }

    /// What was counted since this was asked last, in no order.
    pub fn take(&mut self) -> Vec<(Key, Counts)> {
        // Which hosts an hour has is remembered while anything of it may still come.
        let newest = self.hosts.keys().map(|(_, hour)| *hour).max().unwrap_or_default();
        self.hosts.retain(|(_, hour), _| hour + 1 >= newest);
        std::mem::take(&mut self.counts).into_iter().collect()
    }

    /// When each credential was used last, and from where, of those that were used since this was asked last.
    pub fn last_uses(&mut self) -> Vec<(CredentialId, Timestamp, IpAddr)> {
        std::mem::take(&mut self.uses).into_iter().map(|(credential, (at, client))| (credential, at, client)).collect()
    }

    fn counts(
        &mut self,
        at: Timestamp,
        whose: Whose,
        host: impl FnOnce() -> Option<Arc<str>>,
        egress: Option<IpAddr>,
    ) -> &mut Counts {
        let hour = at.0 / MICROS_PER_HOUR;
        // What a stranger names is nobody's usage.
        let host = whose.account.and_then(|account| Some(self.bounded(account, hour, host()?)));
        self.counts.entry(Key { hour, whose, host, egress }).or_default()
    }

    fn bounded(&mut self, account: AccountId, hour: u64, host: Arc<str>) -> Arc<str> {
        let known = self.hosts.entry((account, hour)).or_default();
        if known.contains(&host) {
            return host;
        }
        if known.len() >= HOSTS_PER_HOUR {
            return OTHER_HOSTS.into();
        }
        known.insert(host.clone());
        host
    }

    fn used(&mut self, credential: Option<CredentialId>, at: Timestamp, client: Option<IpAddr>) {
        let (Some(credential), Some(client)) = (credential, client) else { return };
        let newest = self.uses.entry(credential).or_insert((at, client));
        if at >= newest.0 {
            *newest = (at, client);
        }
    }
}

/// A destination's host as usage names it.
pub fn host_text(host: &Host) -> Arc<str> {
    match host {
        Host::Name(name) => name.shared(),
        Host::V4(address) => address.to_string().into(),
        Host::V6(address) => address.to_string().into(),
    }
}

fn host_of(flow: &Flow) -> Option<Arc<str>> {
    // Inbound listeners belong to no product, and what is asked for there is the account's own.
    flow.listener.product()?;
    let asked = Asked::from_authority(flow.target.as_deref()?, None).ok();
    let host = asked.and_then(|asked| asked.host.ok());
    Some(host.map_or_else(|| OTHER_HOSTS.into(), |host| host_text(&host)))
}

#[cfg(test)]
mod tests;
