//! SOCKS5 (RFC 1928) with username and password (RFC 1929), both sides, without I/O: fed the bytes
//! that are there, it answers what to do. No other method is offered or accepted.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

mod client;
mod server;

pub use client::{Client, ClientStep};
pub use server::{Server, Step};

/// Most bytes a client may send before the first byte of the tunnel: greeting 2 + 255,
/// credentials 3 + 255 + 255, request 4 + 1 + 255 + 2. A buffer of this size never fills.
pub const MAX_HANDSHAKE_BYTES: usize = 257 + 513 + 262;

const VERSION: u8 = 5;
/// Version of RFC 1929's subnegotiation.
const AUTH_VERSION: u8 = 1;
const USERNAME_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// What a request asks for (RFC 1928 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A connection to the destination.
    Connect,
    /// A listening port; not served.
    Bind,
    /// Datagrams; not served.
    UdpAssociate,
    /// A command that RFC 1928 does not have.
    Other(u8),
}

impl From<u8> for Command {
    fn from(byte: u8) -> Self {
        match byte {
            1 => Self::Connect,
            2 => Self::Bind,
            3 => Self::UdpAssociate,
            other => Self::Other(other),
        }
    }
}

/// A reply's code (RFC 1928 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reply {
    /// The tunnel is open.
    Succeeded = 0,
    /// Anything without a code of its own.
    GeneralFailure = 1,
    /// Refused by a rule.
    NotAllowed = 2,
    /// No way to the network.
    NetworkUnreachable = 3,
    /// No way to the host, or no address for its name.
    HostUnreachable = 4,
    /// The destination refused.
    ConnectionRefused = 5,
    /// The destination did not answer in time.
    TtlExpired = 6,
    /// Not CONNECT.
    CommandNotSupported = 7,
    /// An address type that RFC 1928 does not have.
    AddressTypeNotSupported = 8,
}

impl Reply {
    /// The byte on the wire.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reply for a byte from the wire; `None` for one that RFC 1928 does not have.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Succeeded,
            1 => Self::GeneralFailure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            _ => return None,
        })
    }
}

/// What breaks a SOCKS5 handshake, in words for the person whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SocksError {
    /// The first byte is not 5.
    #[error("the connection begins with {}, and SOCKS5 is spoken here", guess(*.0))]
    NotSocks5(u8),
    /// The subnegotiation's first byte is not 1 (RFC 1929 §2).
    #[error("the username and password begin with 0x{0:02x}, not with version 1 of RFC 1929")]
    AuthVersion(u8),
    /// A request or reply whose first byte is not 5.
    #[error("a message begins with 0x{0:02x}, not with version 5")]
    Version(u8),
    /// An address type in a reply that RFC 1928 does not have.
    #[error("the reply has address type 0x{0:02x}, which SOCKS5 does not have")]
    ReplyAddressType(u8),
    /// The proxy chose a method that was not offered, or none.
    #[error("the proxy does not take a username and password (it chose method 0x{0:02x})")]
    Method(u8),
    /// A username or password that RFC 1929 cannot carry.
    #[error("SOCKS5 carries usernames and passwords of 1 to 255 bytes")]
    CredentialLength,
    /// The proxy spoke before it was asked.
    #[error("the proxy sent more than the answer it was asked for")]
    Unasked,
    /// Fed again after the handshake was over.
    #[error("the handshake is over already")]
    Over,
}

/// What a first byte that is not 5 probably is.
fn guess(first: u8) -> String {
    let what = match first {
        4 => " (SOCKS4)",
        22 => " (TLS)",
        b'A'..=b'Z' | b'a'..=b'z' => " (HTTP)",
        _ => "",
    };
    format!("0x{first:02x}{what}")
}

/// A reply (RFC 1928 §6); `bound` is the address the connection leaves from, or 0.0.0.0:0.
pub fn encode_reply(reply: Reply, bound: SocketAddr) -> Vec<u8> {
    let mut out = vec![VERSION, reply.code(), 0];
    put_ip(&mut out, bound.ip());
    out.extend(bound.port().to_be_bytes());
    out
}

fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            out.push(IPV4);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(IPV6);
            out.extend(ip.octets());
        }
    }
}

/// Reads a message front to back; `None` is "not all here yet".
struct Reader<'a> {
    all: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(buf: &'a [u8]) -> Self {
        Self { all: buf.len(), rest: buf }
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    fn port(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// One byte of length, then as many bytes.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?);
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn consumed(&self) -> usize {
        self.all - self.rest.len()
    }
}

#[cfg(test)]
mod tests;
