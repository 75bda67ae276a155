//! Egress addresses: an account's pair, which of the two a destination is reached from, and what is present.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The one or two addresses that an account's connections leave from. Empty: the kernel chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pair(Vec<IpAddr>);

impl Pair {
    /// The most addresses of a pair.
    pub const MAX: usize = 2;

    /// The first two of `addresses`.
    pub fn first_of(addresses: &[IpAddr]) -> Self {
        Self(addresses.iter().copied().take(Self::MAX).collect())
    }

    /// The addresses, in the operator's order.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.0
    }

    /// Whether nothing was set, so that the kernel chooses.
    pub fn is_kernels_choice(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a connection to `destination` can leave from this pair at all.
    pub fn has_family_of(&self, destination: IpAddr) -> bool {
        self.is_kernels_choice() || self.0.iter().any(|address| address.is_ipv4() == destination.is_ipv4())
    }

    /// The addresses of `destination`'s family in the order to try them: sticky for an account and destination
    /// host (banks pin sessions to an address), spread over hosts.
    pub fn order(&self, account: u64, host: &str, destination: IpAddr) -> impl Iterator<Item = IpAddr> + use<> {
        let mut fitting: Vec<IpAddr> =
            self.0.iter().copied().filter(|address| address.is_ipv4() == destination.is_ipv4()).collect();
        // Rendezvous hashing: an address that leaves moves only the hosts that it served.
        fitting.sort_by_key(|address| std::cmp::Reverse(weight(account, host, *address)));
        fitting.into_iter()
    }
}

/// FNV-1a with a final mix; not std's hasher, whose results may change with the compiler and move every customer.
fn weight(account: u64, host: &str, address: IpAddr) -> u64 {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let bytes = account.to_be_bytes().into_iter().chain(octets).chain(host.bytes());
    let mut hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// What this machine has right now. Changes by the second, so it is no part of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Every address of this machine's interfaces.
    pub local: Vec<IpAddr>,
    /// Configured egress addresses that the kernel does not let us bind.
    pub absent: Vec<IpAddr>,
}

impl Presence {
    /// Whether `address` can be left from.
    pub fn has(&self, address: IpAddr) -> bool {
        !self.absent.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(addresses: &[&str]) -> Pair {
        Pair::first_of(&addresses.iter().map(|address| address.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn a_host_keeps_its_address_and_hosts_are_spread() {
        let pair = pair(&["203.0.113.10", "203.0.113.11"]);
        let destination = "8.8.8.8".parse().unwrap();
        let mut first = 0;
        for n in 0..1000 {
            let host = format!("host{n}.example");
            let order: Vec<_> = pair.order(7, &host, destination).collect();
            assert_eq!(order, pair.order(7, &host, destination).collect::<Vec<_>>());
            assert_eq!(order.len(), 2);
            first += usize::from(order.first() == pair.addresses().first());
        }
        assert!((400..600).contains(&first), "{first} of 1000 on one address");
    }

    #[test]
    fn only_the_destinations_family_is_offered() {
        let pair = pair(&["203.0.113.10", "2001:db8::10"]);
        let order: Vec<_> = pair.order(1, "a.example", "2a00::1".parse().unwrap()).collect();
        assert_eq!(order, ["2001:db8::10".parse::<IpAddr>().unwrap()]);
        assert!(!Pair::first_of(&["203.0.113.10".parse().unwrap()]).has_family_of("2a00::1".parse().unwrap()));
    }
}
