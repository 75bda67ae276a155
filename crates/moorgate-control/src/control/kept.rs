//! What the gateways have for themselves and the guard refuses whatever is allowed: the listeners of the other gateways on
//! this store, and the store's server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use moorgate_contract::{
    egress::Presence,
    guard::Guard,
    snapshot::{Site, Snapshot},
};
use serde::{Deserialize, Serialize};
use tokio::{net::lookup_host, time::timeout};

use super::{Inner, lock};
use crate::{
    limits::LOOKUP_TIME,
    store::{GatewayRow, StoreUrl},
};

/// Where a gateway runs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// What gateways have in common that reach each other by loopback. `None`: that could not be said.
    machine: Option<String>,
    /// By what others reach the listeners that are bound to every address.
    local: Vec<IpAddr>,
    /// Where clients reach its inbound listeners.
    #[serde(default)]
    pub(super) clients: BTreeSet<IpAddr>,
    /// Where resolvers reach its server of the zone.
    #[serde(default)]
    pub(super) resolvers: BTreeSet<IpAddr>,
}

impl Place {
    pub(super) fn of_this(presence: &Presence) -> Self {
        let local = presence.local.iter().copied().filter(|address| !address.is_loopback());
        Self { machine: machine(), local: local.collect(), ..Self::default() }
    }

    /// Loopback means the same in both; also where neither can be told.
    fn is_with(&self, other: &Self) -> bool {
        self.machine.as_ref().zip(other.machine.as_ref()).is_none_or(|(a, b)| a == b)
    }
}

/// This start of the kernel and this network namespace: containers of one host differ in the second.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = fs::read_link("/proc/self/ns/net").ok()?;
    Some(format!("{} {}", boot.trim(), network.display()))
}

/// The addresses at which a gateway's listeners are reached, on its machine or from elsewhere.
pub(super) fn reached_at(row: &GatewayRow) -> Vec<IpAddr> {
    let there: Place = serde_json::from_str(&row.place).unwrap_or_default();
    let all: BTreeSet<IpAddr> = reached(row, &there).iter().map(SocketAddr::ip).collect();
    all.into_iter().filter(|ip| !ip.is_unspecified()).collect()
}

/// Where the listeners of a gateway are reached from `here`.
fn reached(row: &GatewayRow, here: &Place) -> Vec<SocketAddr> {
    let bound: BTreeMap<String, Vec<SocketAddr>> = serde_json::from_str(&row.addresses).unwrap_or_default();
    let there: Place = serde_json::from_str(&row.place).unwrap_or_default();
    let mut reached = Vec::new();
    for bound in bound.values().flatten() {
        let (ip, port) = (bound.ip().to_canonical(), bound.port());
        if ip.is_unspecified() {
            // One of IPv6 takes IPv4 as well.
            let local = there.local.iter().filter(|local| ip.is_ipv6() || local.is_ipv4());
            reached.extend(local.map(|local| SocketAddr::new(*local, port)));
        }
        if !(ip.is_unspecified() || ip.is_loopback()) || there.is_with(here) {
            reached.push(SocketAddr::new(ip, port));
        }
    }
    reached
}

/// Where the store's server is, as far as the system's resolver says so in time; `None`: it does not.
pub(super) async fn locate(store: &StoreUrl) -> Option<BTreeSet<SocketAddr>> {
    let server = store.address()?;
    let found = timeout(LOOKUP_TIME, lookup_host(server)).await.ok()?.ok()?;
    Some(found.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port())).collect())
}

impl Inner {
    /// Looks again where the store's server is. Without an answer it is where it was.
    pub(crate) async fn locate_store(&self) {
        if let Some(found) = locate(&self.store_url).await {
            *lock(&self.located) = found;
        }
    }

    /// Has the guard refuse what is known by now.
    pub(crate) async fn renew_guard(&self) {
        if self.renewed().is_none() {
            return;
        }
        // Whatever is published meanwhile must not be lost.
        let _writer = self.writer.clone().lock_owned().await;
        if let Some(guard) = self.renewed() {
            let mut snapshot = Snapshot::clone(&self.current.load());
            snapshot.site = Arc::new(Site { guard, ..Site::clone(&snapshot.site) });
            self.serve(snapshot);
        }
    }

    /// The guard as it is to be; `None`: as it is.
    fn renewed(&self) -> Option<Guard> {
        // Those that have ended as well, until they are forgotten: they may be about to start again.
        let here = Place { machine: machine(), ..Place::default() };
        let seen = lock(&self.seen);
        let others = seen.rows.iter().filter(|row| row.id != self.id).flat_map(|row| reached(row, &here)).collect();
        let store = lock(&self.located).clone();
        let guard = &self.current.load().site.guard;
        (guard.others != others || guard.store != store).then(|| Guard { others, store, ..guard.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listeners: &str, place: &str, here: &str, expected: &[&str]) {
        let row = GatewayRow {
            name: "two".to_owned(),
            id: "2".to_owned(),
            release: String::new(),
            addresses: listeners.to_owned(),
            place: place.to_owned(),
            started: Default::default(),
            seen: Default::default(),
            stopped: None,
            applied: 1,
        };
        let here = Place { machine: (!here.is_empty()).then(|| here.to_owned()), ..Place::default() };
        let reached: Vec<String> = reached(&row, &here).iter().map(SocketAddr::to_string).collect();
        assert_eq!(reached, expected, "{listeners} {place}");
    }

    #[test]
    fn the_listeners_of_another_gateway_are_where_they_are_reached_from_here() {
        let place = r#"{"machine":"a","local":["10.0.0.5","fd00::5"]}"#;
        let listeners = r#"{"console":["127.0.0.1:7070"],"outbound_http":["10.0.0.5:9293","[::1]:9293"]}"#;
        check(listeners, place, "b", &["10.0.0.5:9293"]);
        check(listeners, place, "a", &["127.0.0.1:7070", "10.0.0.5:9293", "[::1]:9293"]);
        check(listeners, place, "", &["127.0.0.1:7070", "10.0.0.5:9293", "[::1]:9293"]);
        check(listeners, "", "b", &["127.0.0.1:7070", "10.0.0.5:9293", "[::1]:9293"]);
        let every = r#"{"inbound_tls":["0.0.0.0:443"],"outbound_socks":["[::]:1080"]}"#;
        check(every, place, "b", &["10.0.0.5:443", "10.0.0.5:1080", "[fd00::5]:1080"]);
        check(every, place, "a", &["10.0.0.5:443", "0.0.0.0:443", "10.0.0.5:1080", "[fd00::5]:1080", "[::]:1080"]);
        check(every, "", "b", &["0.0.0.0:443", "[::]:1080"]);
        check("", place, "a", &[]);
    }

    #[test]
    fn this_machine_is_known_to_itself() {
        let presence =
            Presence { local: ["127.0.0.1", "10.0.0.1"].map(|ip| ip.parse().unwrap()).to_vec(), absent: vec![] };
        let (one, two) = (Place::of_this(&presence), Place::of_this(&presence));
        assert!(one.machine.is_some() && one.is_with(&two));
        assert_eq!(one.local, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    }
}
