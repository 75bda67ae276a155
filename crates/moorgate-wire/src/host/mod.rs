//! Hosts in the one form that is decided on, resolved and dialled, and what a client asked for when
//! it is not in that form.
//!
//! Resolvers and URL parsers read `0x7f.1`, `2130706433` and `127.1` as 127.0.0.1 (inet_aton); a
//! guard that reads them otherwise is no guard. So they are refused here, with what to write instead.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::name::DomainName;

mod asked;
mod authority;
mod not_canonical;
mod numeric;

pub use asked::Asked;
pub use authority::PortError;
pub use not_canonical::{HostPortError, NotCanonical};

/// A name or an address, canonical.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A domain name, to be resolved.
    Name(DomainName),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, as written: one that embeds an IPv4 address stays IPv6 here.
    V6(Ipv6Addr),
}

impl Host {
    /// Reads a host without a port. IPv6 in any text of RFC 4291 §2.2, in brackets or bare; IPv4
    /// as four decimal numbers without leading zeros; names as [`DomainName`] has them.
    ///
    /// # Errors
    /// Why not, and where it can be told, what to write instead.
    pub fn parse(text: &str) -> Result<Self, NotCanonical> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(|| NotCanonical::bad_ipv6(text))?;
            return Self::parse_v6(inner);
        }
        if text.contains('@') {
            return Err(NotCanonical::userinfo(text));
        }
        if text.contains(':') {
            return Self::parse_v6(text);
        }
        if text.contains('%') {
            return Err(NotCanonical::percent_encoded(text));
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::V4(ip));
        }
        DomainName::parse(text).map(Self::Name).map_err(|e| NotCanonical::name(text, e))
    }

    fn parse_v6(text: &str) -> Result<Self, NotCanonical> {
        if let Some((address, _)) = text.split_once('%') {
            return Err(NotCanonical::zone(text, address));
        }
        text.parse().map(Self::V6).map_err(|_| NotCanonical::bad_ipv6(text))
    }

    /// The address, when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match *self {
            Self::Name(_) => None,
            Self::V4(ip) => Some(ip.into()),
            Self::V6(ip) => Some(ip.into()),
        }
    }

    /// The name, when it is one.
    pub fn name(&self) -> Option<&DomainName> {
        match self {
            Self::Name(name) => Some(name),
            Self::V4(_) | Self::V6(_) => None,
        }
    }
}

/// IPv6 without brackets, in the form of RFC 5952.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::V4(ip) => ip.fmt(f),
            Self::V6(ip) => ip.fmt(f),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(ip),
        }
    }
}

impl From<Ipv4Addr> for Host {
    fn from(ip: Ipv4Addr) -> Self {
        Self::V4(ip)
    }
}

impl From<Ipv6Addr> for Host {
    fn from(ip: Ipv6Addr) -> Self {
        Self::V6(ip)
    }
}

impl From<DomainName> for Host {
    fn from(name: DomainName) -> Self {
        Self::Name(name)
    }
}

/// A host and a port.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Where to.
    pub host: Host,
    /// Not 0 when it was read from text.
    pub port: u16,
}

impl HostPort {
    /// Reads `host:port` or `[v6]:port`; the port must be there.
    ///
    /// # Errors
    /// What is wrong with the host or the port.
    pub fn parse(text: &str) -> Result<Self, HostPortError> {
        let asked = Asked::from_authority(text, None)?;
        Ok(Self { host: asked.host?, port: asked.port })
    }
}

/// `host:port`, IPv6 in brackets.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::V6(ip) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Debug for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<SocketAddr> for HostPort {
    fn from(addr: SocketAddr) -> Self {
        Self { host: addr.ip().into(), port: addr.port() }
    }
}

#[cfg(test)]
mod tests;
