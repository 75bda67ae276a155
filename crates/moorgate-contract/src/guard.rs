//! The SSRF guard: which addresses nobody may reach through the gateway.
//!
//! From the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates) and, for IPv6, every
//! way to write an IPv4 address inside it: such an address is judged by both, and the stricter answer counts.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::egress::Presence;

/// Why an address is special, in words that fit after "which is …, ".
pub type Class = &'static str;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(high: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = high;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

const LOOPBACK: Class = "a loopback address";
const LINK_LOCAL: Class = "a link-local address (cloud metadata lives there)";
const PRIVATE: Class = "a private address";
const SHARED: Class = "a carrier's shared address";
const DOCUMENTATION: Class = "a documentation address";
const RESERVED: Class = "a reserved address";
const MULTICAST: Class = "a multicast address";
const UNSPECIFIED: Class = "an address of \"this network\"";
const TRANSITION: Class = "a transition address, which hides another one";
const OTHER_GATEWAY: Class = "a listener of another gateway";
const STORE: Class = "the gateways' database";

/// Most specific first where they overlap.
const V4: &[(Ipv4Net, Class)] = &[
    (v4(0, 0, 0, 0, 8), UNSPECIFIED),
    (v4(10, 0, 0, 0, 8), PRIVATE),
    (v4(100, 64, 0, 0, 10), SHARED),
    (v4(127, 0, 0, 0, 8), LOOPBACK),
    (v4(169, 254, 0, 0, 16), LINK_LOCAL),
    (v4(172, 16, 0, 0, 12), PRIVATE),
    (v4(192, 0, 0, 0, 24), RESERVED),
    (v4(192, 0, 2, 0, 24), DOCUMENTATION),
    (v4(192, 31, 196, 0, 24), RESERVED),
    (v4(192, 52, 193, 0, 24), RESERVED),
    (v4(192, 88, 99, 0, 24), TRANSITION),
    (v4(192, 168, 0, 0, 16), PRIVATE),
    (v4(192, 175, 48, 0, 24), RESERVED),
    (v4(198, 18, 0, 0, 15), "a benchmarking address"),
    (v4(198, 51, 100, 0, 24), DOCUMENTATION),
    (v4(203, 0, 113, 0, 24), DOCUMENTATION),
    (v4(224, 0, 0, 0, 4), MULTICAST),
    (v4(240, 0, 0, 0, 4), RESERVED),
];

/// Addresses that embed an IPv4 address are taken apart by [`embedded`] before this table is asked.
const V6: &[(Ipv6Net, Class)] = &[
    (v6([0x64, 0xff9b, 1, 0], 48), TRANSITION),
    (v6([0x100, 0, 0, 0], 64), RESERVED),
    (v6([0x100, 0, 0, 1], 64), RESERVED),
    (v6([0x2001, 0, 0, 0], 23), RESERVED),
    (v6([0x2001, 0xdb8, 0, 0], 32), DOCUMENTATION),
    (v6([0x2620, 0x4f, 0x8000, 0], 48), RESERVED),
    (v6([0x3fff, 0, 0, 0], 20), DOCUMENTATION),
    (v6([0x5f00, 0, 0, 0], 16), RESERVED),
    (v6([0xfc00, 0, 0, 0], 7), PRIVATE),
    (v6([0xfe80, 0, 0, 0], 10), LINK_LOCAL),
    (v6([0xfec0, 0, 0, 0], 10), PRIVATE),
    (v6([0xff00, 0, 0, 0], 8), MULTICAST),
];

/// Global unicast as allocated so far (RFC 4291 §2.4): what is outside has no owner.
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// What is special about `address`; `None` for an address of the public internet.
pub fn classify(address: IpAddr) -> Option<Class> {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> Option<Class> {
    // The two globally reachable anycast addresses of 192.0.0.0/24 stay refused: nothing a destination would be.
    V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, class)| *class)
}

fn classify_v6(address: Ipv6Addr) -> Option<Class> {
    if address == Ipv6Addr::LOCALHOST {
        return Some(LOOPBACK);
    }
    if address == Ipv6Addr::UNSPECIFIED {
        return Some(UNSPECIFIED);
    }
    match embedded(address) {
        Some(Embedded::Transparent(inner)) => return classify_v4(inner),
        Some(Embedded::Tunnel(inner)) => return Some(classify_v4(inner).unwrap_or(TRANSITION)),
        None => {}
    }
    if let Some((_, class)) = V6.iter().find(|(net, _)| net.contains(&address)) {
        return Some(class);
    }
    (!GLOBAL_UNICAST.contains(&address)).then_some(RESERVED)
}

/// An IPv4 address inside an IPv6 one.
enum Embedded {
    /// Reaches exactly that IPv4 address: judged as it.
    Transparent(Ipv4Addr),
    /// Goes to a relay that may unpack it: refused in any case, and named after what it hides.
    Tunnel(Ipv4Addr),
}

fn embedded(address: Ipv6Addr) -> Option<Embedded> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        // IPv4-mapped, RFC 4291 §2.5.5.2.
        [0, 0, 0, 0, 0, 0xffff] => Some(Embedded::Transparent(join(g, h))),
        // NAT64's well-known prefix, RFC 6052 §2.1.
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(Embedded::Transparent(join(g, h))),
        // IPv4-compatible, RFC 4291 §2.5.5.1 (deprecated); IPv4-translated, RFC 2765 §2.1.
        [0, 0, 0, 0, 0, 0] | [0, 0, 0, 0, 0xffff, 0] => Some(Embedded::Tunnel(join(g, h))),
        // 6to4, RFC 3056 §2.
        [0x2002, ..] => Some(Embedded::Tunnel(join(b, c))),
        // Teredo, RFC 4380 §4: the client's address stands inverted at the end.
        [0x2001, 0, ..] => Some(Embedded::Tunnel(join(!g, !h))),
        // ISATAP, RFC 5214 §6.1, under whatever prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe] => Some(Embedded::Tunnel(join(g, h))),
        _ => None,
    }
}

/// What an operator's settings open, and what stays closed whatever they say.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Networks that are allowed although special.
    pub allowed: Vec<IpNet>,
    /// Our own listeners, as bound (the console's too). A wildcard address stands for every local one.
    pub own: Vec<SocketAddr>,
    /// Where listeners of the other gateways on the store are reached from here. A wildcard address is of
    /// one on this machine, and stands for every local one.
    pub others: BTreeSet<SocketAddr>,
    /// The store's server. Empty: it is a file.
    pub store: BTreeSet<SocketAddr>,
}

/// What the guard says of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// May be reached.
    Open,
    /// Special, and not opened by the operator.
    Special(Class),
    /// A listener of this gateway.
    OwnListener,
    /// What the gateways have for themselves, whatever is allowed.
    Kept(Class),
}

impl Guard {
    /// The loopback profile: 127.0.0.0/8 and ::1, nothing else.
    pub fn loopback_profile() -> Vec<IpNet> {
        vec![IpNet::V4(v4(127, 0, 0, 0, 8)), IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128))]
    }

    /// What `allow_private_destinations = true` opens: private and shared addresses. Loopback, link-local (metadata)
    /// and the rest stay closed; an operator who wants one of them names its CIDR.
    pub fn private_networks() -> Vec<IpNet> {
        vec![
            IpNet::V4(v4(10, 0, 0, 0, 8)),
            IpNet::V4(v4(100, 64, 0, 0, 10)),
            IpNet::V4(v4(172, 16, 0, 0, 12)),
            IpNet::V4(v4(192, 168, 0, 0, 16)),
            IpNet::V6(v6([0xfc00, 0, 0, 0], 7)),
        ]
    }

    /// Judges one resolved address, given what is local right now.
    pub fn judge(&self, address: SocketAddr, presence: &Presence) -> Sight {
        let reached = reached(address);
        let is_here = reaches_here(reached.ip(), presence);
        if self.own.iter().any(|own| is_at(*own, reached, is_here)) {
            return Sight::OwnListener;
        }
        if self.is_other(reached, is_here) {
            return Sight::Kept(OTHER_GATEWAY);
        }
        if self.is_store(reached, is_here, presence) {
            return Sight::Kept(STORE);
        }
        let Some(class) = classify(address.ip()) else { return Sight::Open };
        // An IPv6 spelling of an allowed IPv4 network stays closed: only the canonical form was allowed.
        if self.allowed.iter().any(|net| net.contains(&address.ip())) { Sight::Open } else { Sight::Special(class) }
    }

    /// Looked up rather than gone through: a gateway may have hundreds of addresses.
    fn is_other(&self, reached: SocketAddr, is_here: bool) -> bool {
        let wildcard = |ip: IpAddr| self.others.contains(&SocketAddr::new(ip, reached.port()));
        self.others.contains(&reached)
            || (is_here && (wildcard(Ipv4Addr::UNSPECIFIED.into()) || wildcard(Ipv6Addr::UNSPECIFIED.into())))
    }

    /// A server on this machine may listen on more of its addresses than the one that it is reached by.
    fn is_store(&self, reached: SocketAddr, is_here: bool, presence: &Presence) -> bool {
        self.store.contains(&reached)
            || (is_here
                && self.store.iter().any(|store| store.port() == reached.port() && reaches_here(store.ip(), presence)))
    }
}

/// What a connection to `address` reaches: an IPv4 address inside an IPv6 one, where that is handed on unread.
fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V6(outer) => match embedded(outer) {
            Some(Embedded::Transparent(inner)) => inner.into(),
            _ => outer.into(),
        },
        ip @ IpAddr::V4(_) => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn is_at(listener: SocketAddr, reached: SocketAddr, is_here: bool) -> bool {
    listener.port() == reached.port() && (listener.ip() == reached.ip() || (listener.ip().is_unspecified() && is_here))
}

fn reaches_here(ip: IpAddr, presence: &Presence) -> bool {
    ip.is_loopback() || ip.is_unspecified() || presence.local.contains(&ip)
}

#[cfg(test)]
mod tests;
