//! PROXY protocol, versions 1 and 2 (HAProxy's `doc/proxy-protocol.txt`): who the client is, said
//! by a load balancer in front of us, or by us to an origin.
//!
//! Only TCP is carried. A header is worth what its sender is: the caller reads one only from
//! addresses that are trusted for it, requires it there, and never guesses whether there is one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use crate::name::DomainName;

mod v1;
mod v2;

/// Longest header of version 1, with its CR LF (§2.1).
pub const MAX_V1_BYTES: usize = 107;
/// Longest header of version 2 that is read. The protocol allows 65,551; what is sent, certificates
/// and all, has a few hundred.
pub const MAX_V2_BYTES: usize = 4 * 1024;
/// Longest protocol name in ALPN (RFC 7301 §3.1).
pub const MAX_ALPN_BYTES: usize = 255;

/// What the bytes at the front of a connection make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyStep {
    /// Not all of a header yet; call again with more behind the same bytes.
    NeedMore,
    /// A header; the client's own bytes begin after `consumed`.
    Header {
        /// How many bytes the header took.
        consumed: usize,
        /// What it says.
        header: ProxyHeader,
    },
    /// No header that can be trusted: close without an answer.
    Malformed(ProxyHeaderError),
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client's address, and the one it connected to. `None` for LOCAL, UNKNOWN and UNSPEC, as of
    /// a health check: the connection's own addresses count. IPv4 that is written as IPv6
    /// (RFC 4291 §2.5.5.2) is IPv4 here, so that one client has one address.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}

/// Why a header is refused, in words for whoever runs what sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// A byte that differs from both versions' beginnings.
    #[error("there is no PROXY header; the sender is to send one first on every connection")]
    Missing,
    /// No CR LF within [`MAX_V1_BYTES`], or a length beyond [`MAX_V2_BYTES`].
    #[error("the PROXY header is longer than 107 bytes in version 1, or 4096 in version 2")]
    TooLong,
    /// A byte in version 1 other than visible ASCII and spaces, or CR without LF.
    #[error("the PROXY header holds 0x{0:02x}, which it cannot")]
    Byte(u8),
    /// Version 1, and not `TCP4`, `TCP6` or `UNKNOWN`.
    #[error("the PROXY header is for none of TCP4, TCP6 and UNKNOWN")]
    Protocol,
    /// Version 1 without exactly two addresses and two ports, one space before each.
    #[error("the PROXY header is not \"PROXY protocol client listener port port\" with one space between")]
    Parts,
    /// Version 1 with an address that is not one of its protocol.
    #[error("the PROXY header has an address that is none of its protocol")]
    Address,
    /// Version 1 with a port that is no number from 0 to 65535, or begins with a zero.
    #[error("the PROXY header has a port that is no number from 0 to 65535")]
    Port,
    /// Neither LOCAL nor PROXY of version 2; the number is the byte.
    #[error("the PROXY header has version and command 0x{0:02x}, which version 2 does not have")]
    Command(u8),
    /// Version 2 for UDP, for a Unix socket, or for what it does not have.
    #[error("the PROXY header is for transport 0x{0:02x}; only TCP over IPv4 or IPv6 is carried")]
    Transport(u8),
    /// Version 2, shorter than its addresses.
    #[error("the PROXY header's length leaves no room for its addresses")]
    Short,
    /// Version 2 with fields whose lengths do not add up.
    #[error("the fields behind the PROXY header's addresses do not add up to its length")]
    Fields,
}

/// What version 2 can say of a connection besides its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// PP2_TYPE_AUTHORITY: the server name that the client sent.
    pub authority: Option<&'a DomainName>,
    /// PP2_TYPE_ALPN: the protocol that was agreed on; of 1 to [`MAX_ALPN_BYTES`], or it is left out.
    pub alpn: Option<&'a [u8]>,
}

/// Reads a header of either version at the front of `buf`. To be called again with the grown
/// buffer: the limits on a header bound what that costs.
pub fn parse(buf: &[u8]) -> ProxyStep {
    let read = match buf.first() {
        None => return ProxyStep::NeedMore,
        Some(&first) if v1::BEGINNING.starts_with(&[first]) => v1::read(buf),
        Some(_) => v2::read(buf),
    };
    match read {
        Ok(None) => ProxyStep::NeedMore,
        Ok(Some((consumed, header))) => ProxyStep::Header { consumed, header },
        Err(why) => ProxyStep::Malformed(why),
    }
}

/// A header of version 1: at most [`MAX_V1_BYTES`]. Addresses of two families are both written as IPv6.
pub fn encode_v1(client: SocketAddr, listener: SocketAddr) -> Vec<u8> {
    v1::write(Pair::new(client, listener), client.port(), listener.port())
}

/// A header of version 2: at most 16 + 36 + 2 * 3 + 253 + 255 bytes. Addresses of two families are
/// both written as IPv6.
pub fn encode_v2(client: SocketAddr, listener: SocketAddr, fields: Fields<'_>) -> Vec<u8> {
    v2::write(Pair::new(client, listener), client.port(), listener.port(), fields)
}

/// What a reader makes of its bytes: `None` is "not all here yet".
type Read = Result<Option<(usize, ProxyHeader)>, ProxyHeaderError>;

/// Two addresses of one family, client and listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair {
    V4([Ipv4Addr; 2]),
    V6([Ipv6Addr; 2]),
}

impl Pair {
    fn new(client: SocketAddr, listener: SocketAddr) -> Self {
        let v6 = |ip| match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        match (client.ip().to_canonical(), listener.ip().to_canonical()) {
            (IpAddr::V4(client), IpAddr::V4(listener)) => Self::V4([client, listener]),
            (client, listener) => Self::V6([v6(client), v6(listener)]),
        }
    }
}

/// As a header is understood: each address in its one form.
fn header(client: (IpAddr, u16), listener: (IpAddr, u16)) -> ProxyHeader {
    let address = |(ip, port): (IpAddr, u16)| SocketAddr::new(ip.to_canonical(), port);
    ProxyHeader { addresses: Some((address(client), address(listener))) }
}

/// Whether `buf` begins as `beginning` does, as far as it goes.
fn begins(buf: &[u8], beginning: &[u8]) -> bool {
    buf.iter().zip(beginning).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests;
