//! Source ports: how many there are toward one destination from one address, and how many are taken.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

/// Where connections share a range of source ports: from one address to one destination (ip(7), IP_BIND_ADDRESS_NO_PORT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Toward {
    /// The address they leave from.
    pub egress: IpAddr,
    /// Where they go.
    pub destination: SocketAddr,
}

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The ports that the kernel chooses from, for IPv4 and IPv6 alike.
///
/// # Errors
/// When /proc does not tell.
pub fn local_range() -> io::Result<RangeInclusive<u16>> {
    parse(&fs::read_to_string(RANGE)?).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, RANGE))
}

fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last)), None) if first <= last => Some(first..=last),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_range_is_read() {
        assert_eq!(parse("32768\t60999\n"), Some(32_768..=60_999));
        for broken in ["", "1", "2 1", "1 70000", "1 2 3", "a b"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
        assert!(local_range().unwrap().len() > 1);
    }
}
