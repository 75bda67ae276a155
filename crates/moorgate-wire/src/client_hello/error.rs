//! Why a ClientHello is refused, in words for the person whose client sent it, and on the wire.

use std::{fmt, net::IpAddr};

use thiserror::Error;

use crate::{
    host::NotCanonical,
    tls_record::{ALERT_DECODE_ERROR, ALERT_UNRECOGNIZED_NAME},
};

/// Why a connection's first bytes are no ClientHello that can be routed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HelloError {
    /// The first byte begins no handshake record.
    #[error("the connection begins with {}, and TLS is spoken here", guess(*.0))]
    NotTls(u8),
    /// A record of another type between those of the hello (RFC 8446 §5.1).
    #[error("a record of type {0} comes before the ClientHello is over")]
    RecordType(u8),
    /// A byte of a record's version that no version of TLS has.
    #[error("there is 0x{0:02x} in a record's version, which TLS does not have")]
    RecordVersion(u8),
    /// A handshake record without content (RFC 8446 §5.1).
    #[error("a record is empty")]
    EmptyRecord,
    /// More than [`MAX_PLAINTEXT_BYTES`](super::MAX_PLAINTEXT_BYTES).
    #[error("a record has more than 16384 bytes")]
    RecordTooLong,
    /// The first handshake message is another one.
    #[error("the handshake begins with message type {0}, not with a ClientHello")]
    NotClientHello(u8),
    /// Beyond [`MAX_HELLO_WIRE_BYTES`](super::MAX_HELLO_WIRE_BYTES).
    #[error("the ClientHello does not end within 64 KiB")]
    TooLong,
    /// SSL 3.0 (RFC 7568), or nothing known.
    #[error("the ClientHello has version 0x{0:04x}; use TLS 1.2 or 1.3")]
    Version(u16),
    /// A length that does not fit what it counts, or what is around it.
    #[error("a length in the ClientHello does not add up: that of its {0}")]
    Length(Field),
    /// A list that has at least one member has none.
    #[error("the ClientHello has an empty list: that of its {0}")]
    Empty(Field),
    /// The same extension twice (RFC 8446 §4.2).
    #[error("the ClientHello has two extensions of type {0}")]
    DuplicateExtension(u16),
    /// More bytes in the record in which the ClientHello ends.
    #[error("the ClientHello is followed by something else in the same record")]
    Followed,
    /// More than one name (RFC 6066 §3).
    #[error("the ClientHello has more than one server name; send one")]
    TwoServerNames,
    /// A type of name other than host_name (RFC 6066 §3).
    #[error("the ClientHello has a server name of type {0}, which TLS does not have")]
    NameType(u8),
    /// An address, which RFC 6066 §3 forbids.
    #[error("the server name is an address ({0}); connect to a name")]
    Address(IpAddr),
    /// No canonical domain name.
    #[error("the server name is not right: {0}")]
    ServerName(NotCanonical),
    /// Fed again after the hello.
    #[error("the ClientHello is over already")]
    Over,
}

impl HelloError {
    /// The record that is sent before the close; `None` is a close without one. Of what is too
    /// long the rest is still on its way, and a close with unread bytes takes an alert with it.
    pub fn alert(&self) -> Option<&'static [u8; 7]> {
        match self {
            Self::TooLong | Self::Over => None,
            Self::Address(_) | Self::ServerName(_) => Some(&ALERT_UNRECOGNIZED_NAME),
            Self::NotTls(_)
            | Self::RecordType(_)
            | Self::RecordVersion(_)
            | Self::EmptyRecord
            | Self::RecordTooLong
            | Self::NotClientHello(_)
            | Self::Version(_)
            | Self::Length(_)
            | Self::Empty(_)
            | Self::DuplicateExtension(_)
            | Self::Followed
            | Self::TwoServerNames
            | Self::NameType(_) => Some(&ALERT_DECODE_ERROR),
        }
    }
}

/// A part of a ClientHello that has a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The message itself: too short for what every hello begins with.
    Message,
    /// At most 32 bytes.
    SessionId,
    /// An even number of bytes.
    CipherSuites,
    /// Compression methods.
    Compression,
    /// All extensions together.
    Extensions,
    /// One extension of this type.
    Extension(u16),
    /// The names in `server_name`, or one of them.
    ServerName,
    /// The protocols of ALPN, or one of them.
    Alpn,
    /// `supported_versions`.
    Versions,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Message => "message",
            Self::SessionId => "session id",
            Self::CipherSuites => "cipher suites",
            Self::Compression => "compression methods",
            Self::Extensions => "extensions",
            Self::Extension(kind) => return write!(f, "extension {kind}"),
            Self::ServerName => "server name",
            Self::Alpn => "ALPN protocols",
            Self::Versions => "supported versions",
        })
    }
}

/// What a first byte that begins no TLS probably is.
fn guess(first: u8) -> String {
    let what = match first {
        b'P' => " (plain HTTP, or a PROXY header that is not expected from this address)",
        0x0d => " (a PROXY header that is not expected from this address)",
        b'S' => " (SSH, or plain HTTP; the URL must begin with https://)",
        b'A'..=b'Z' | b'a'..=b'z' => " (plain HTTP; the URL must begin with https://)",
        4 | 5 => " (SOCKS)",
        20 | 21 | 23 => " (TLS, but not from its beginning)",
        0x80.. => " (SSL 2, which is no longer spoken)",
        _ => "",
    };
    format!("0x{first:02x}{what}")
}
