//! The zone in which routes have their targets: where the gateways are that are well.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
};

use moorgate_contract::{egress::Presence, guard::classify, listener::Listener};
use moorgate_dns::{DnsRecord, zone::Zone};

use super::{Control, Inner, kept::Place, lock};
use crate::error::{Invalid, Result};

/// What a gateway calls its server of the zone, among its listeners.
pub const DNS_LISTENER: &str = "dns";

/// Where a zone's names lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneFacts {
    /// Its servers.
    pub servers: BTreeSet<IpAddr>,
    /// The gateways.
    pub addresses: BTreeSet<IpAddr>,
}

impl ZoneFacts {
    /// Whether an address is one of these.
    pub(super) fn is(&self, address: &IpAddr) -> bool {
        self.addresses.contains(address) || self.servers.contains(address)
    }
}

impl Control {
    /// Where the zone's names lead now: to every gateway that was well when the store was asked last. `None`: there is no
    /// zone. Fast, and asks nobody.
    pub fn zone(&self) -> Option<ZoneFacts> {
        self.inner.zone.as_ref().map(|_| self.inner.zone_facts())
    }

    /// Takes this gateway out of the zone: it is about to end.
    pub fn leave(&self) {
        self.inner.leaving.store(true, Ordering::Relaxed);
        self.inner.signals.beat.notify_one();
    }

    /// The records that somebody has to make, once, so that the zone's names are found: those that hand it to its servers,
    /// or without any of these the ones that answer in their place.
    ///
    /// # Errors
    /// [`Invalid::NoZone`], [`Invalid::NoAddresses`].
    pub fn zone_records(&self) -> Result<Vec<DnsRecord>> {
        let settings = self.inner.zone.as_ref().ok_or(Invalid::NoZone)?;
        let ZoneFacts { servers, addresses } = self.inner.zone_facts();
        let zone = Zone::new(&settings.name, 0, &servers, &addresses).map_err(|_| Invalid::NoZone)?;
        let records = if servers.is_empty() { zone.wildcard() } else { zone.delegation() };
        if records.is_empty() || addresses.is_empty() {
            return Err(Invalid::NoAddresses.into());
        }
        Ok(records)
    }
}

impl Inner {
    /// Where this gateway runs, as the others see it.
    pub(super) fn place(&self) -> Place {
        let presence = self.plane.presence();
        let mut place = Place::of_this(&presence);
        if !self.leaving.load(Ordering::Relaxed) {
            place.clients = self.clients_come_to(&presence);
            place.resolvers = reached(self.bound(DNS_LISTENER), &presence);
        }
        place
    }

    fn clients_come_to(&self, presence: &Presence) -> BTreeSet<IpAddr> {
        match &self.zone {
            None => BTreeSet::new(),
            Some(zone) if !zone.addresses.is_empty() => zone.addresses.iter().copied().collect(),
            Some(_) => {
                let inbound = [Listener::InboundTls, Listener::InboundHttp];
                inbound.iter().flat_map(|listener| reached(self.bound(listener.name()), presence)).collect()
            }
        }
    }

    fn bound(&self, listener: &str) -> &[SocketAddr] {
        self.gateway.addresses.get(listener).map_or(&[], Vec::as_slice)
    }

    pub(super) fn zone_facts(&self) -> ZoneFacts {
        let mut facts = ZoneFacts::default();
        let mut take = |place: Place| {
            facts.addresses.extend(place.clients);
            facts.servers.extend(place.resolvers);
        };
        take(self.place());
        let seen = lock(&self.seen);
        for row in seen.rows.iter().filter(|row| row.id != self.id && self.is_up(row, &seen)) {
            take(serde_json::from_str(&row.place).unwrap_or_default());
        }
        drop(seen);
        if facts.addresses.is_empty() {
            // Nobody else is there. That there is no such address would be remembered beyond a restart.
            facts.addresses = self.clients_come_to(&self.plane.presence());
        }
        facts
    }
}

/// Where somebody from elsewhere reaches what is bound to `bound`.
fn reached(bound: &[SocketAddr], presence: &Presence) -> BTreeSet<IpAddr> {
    let mut reached = BTreeSet::new();
    for ip in bound.iter().map(|bound| bound.ip().to_canonical()) {
        if ip.is_unspecified() {
            let is_public = |local: &&IpAddr| classify(**local).is_none() && local.is_ipv4() == ip.is_ipv4();
            reached.extend(presence.local.iter().filter(is_public));
        } else {
            reached.insert(ip);
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_to_every_address_is_reached_at_the_public_ones() {
        let local = ["127.0.0.1", "10.0.0.5", "93.184.215.14", "2606:2800:21f::1", "fe80::1"];
        let presence = Presence { local: local.map(|ip| ip.parse().unwrap()).to_vec(), absent: vec![] };
        let check = |bound: &[&str], expected: &[&str]| {
            let bound: Vec<SocketAddr> = bound.iter().map(|bound| bound.parse().unwrap()).collect();
            let reached: Vec<String> = reached(&bound, &presence).iter().map(ToString::to_string).collect();
            assert_eq!(reached, expected, "{bound:?}");
        };
        check(&["0.0.0.0:443"], &["93.184.215.14"]);
        check(&["0.0.0.0:443", "[::]:443"], &["93.184.215.14", "2606:2800:21f::1"]);
        check(&["127.0.0.1:8443", "10.0.0.5:443"], &["10.0.0.5", "127.0.0.1"]);
        check(&[], &[]);
    }
}
