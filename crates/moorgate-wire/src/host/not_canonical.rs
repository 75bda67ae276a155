//! Why a host is refused before anything is resolved, in words.

use thiserror::Error;

use super::{authority::PortError, numeric::inet_aton};
use crate::{
    name::NameError,
    visible::{MAX_CHARS, visible},
};

/// Why a host is not canonical. `Display` says what to write instead; the text in it is escaped,
/// and holds no userinfo.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotCanonical {
    /// No host.
    #[error("the host is missing")]
    Empty,
    /// Longer than a name can be; the number is its length in bytes.
    #[error("\"{}\" is no host: it has {bytes} bytes, a name at most 253", visible(&**text))]
    TooLong {
        /// As asked, shortened.
        text: Box<str>,
        /// As asked.
        bytes: usize,
    },
    /// Another spelling of an address, or of a name with a dot at its end.
    #[error("\"{}\" is not a canonical address; write {write}", visible(&**text))]
    Numeric {
        /// As asked.
        text: Box<str>,
        /// The canonical form.
        write: std::net::Ipv4Addr,
    },
    /// Ends in a number, and means no address in any reading.
    #[error("\"{}\" is neither a name nor an IPv4 address; write four numbers from 0 to 255", visible(&**text))]
    BadIpv4 {
        /// As asked.
        text: Box<str>,
    },
    /// Ends in a dot.
    #[error("\"{}\" is not canonical; write it without the dot at the end", visible(&**text))]
    TrailingDot {
        /// As asked.
        text: Box<str>,
    },
    /// Has a username or password in it.
    #[error("\"{}\" has a username in front of its '@'; write the host alone", visible(&**text))]
    Userinfo {
        /// As asked, with what stands before the last `@` left out.
        text: Box<str>,
    },
    /// An IPv6 zone id (RFC 4007 §11).
    #[error("\"{}\" has a zone id; write the address without '%' and what follows", visible(&**text))]
    ZoneId {
        /// As asked.
        text: Box<str>,
    },
    /// Percent-encoding.
    #[error("\"{}\" is percent-encoded; write the host in plain characters", visible(&**text))]
    PercentEncoded {
        /// As asked.
        text: Box<str>,
    },
    /// IPv6 without brackets where a port may follow (RFC 3986 §3.2.2).
    #[error("\"{}\" needs brackets: write [address]:port", visible(&**text))]
    BracketsNeeded {
        /// As asked.
        text: Box<str>,
    },
    /// No IPv6 address (RFC 4291 §2.2).
    #[error("\"{}\" is not an IPv6 address", visible(&**text))]
    BadIpv6 {
        /// As asked.
        text: Box<str>,
    },
    /// A byte beyond ASCII.
    #[error("\"{}\" is not ASCII; write the name's xn-- form", visible(&**text))]
    NotAscii {
        /// As asked.
        text: Box<str>,
    },
    /// No domain name.
    #[error("\"{}\" is no host name: {why}", visible(&**text))]
    BadName {
        /// As asked.
        text: Box<str>,
        /// What is wrong with it.
        why: NameError,
    },
    /// Port 0 (reserved, RFC 6335 §6).
    #[error("port 0 cannot be connected to; write a port from 1 to 65535")]
    PortZero,
}

/// Why a text is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostPortError {
    /// The port is missing or no port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The host is not canonical.
    #[error(transparent)]
    Host(#[from] NotCanonical),
}

impl NotCanonical {
    pub(super) fn bad_ipv6(text: &str) -> Self {
        Self::BadIpv6 { text: short(text) }
    }

    pub(super) fn percent_encoded(text: &str) -> Self {
        Self::PercentEncoded { text: short(text) }
    }

    pub(super) fn brackets_needed(text: &str) -> Self {
        Self::BracketsNeeded { text: short(text) }
    }

    pub(super) fn userinfo(text: &str) -> Self {
        Self::Userinfo { text: short(&without_userinfo(text)) }
    }

    /// `%` in an address is a zone id, elsewhere percent-encoding.
    pub(super) fn zone(text: &str, address: &str) -> Self {
        if address.parse::<std::net::Ipv6Addr>().is_ok() {
            Self::ZoneId { text: short(text) }
        } else {
            Self::percent_encoded(text)
        }
    }

    pub(super) fn name(text: &str, why: NameError) -> Self {
        if let Some(write) = inet_aton(text) {
            return Self::Numeric { text: short(text), write };
        }
        match why {
            NameError::Empty => Self::Empty,
            NameError::TooLong(bytes) => Self::TooLong { text: short(text), bytes },
            NameError::TrailingDot => Self::TrailingDot { text: short(text) },
            NameError::NotAscii => Self::NotAscii { text: short(text) },
            NameError::EndsInNumber => Self::BadIpv4 { text: short(text) },
            NameError::EmptyLabel
            | NameError::LabelTooLong(_)
            | NameError::HyphenAtEdge
            | NameError::BadCharacter(_) => Self::BadName { text: short(text), why },
        }
    }
}

/// What is kept of a text that can be as long as a head: all that is ever shown of it.
pub(super) fn short<'a, T: From<&'a str>>(text: &'a str) -> T {
    if text.len() <= MAX_CHARS {
        return text.into();
    }
    match text.char_indices().nth(MAX_CHARS + 1) {
        Some((end, _)) => text.get(..end).unwrap_or_default().into(),
        None => text.into(),
    }
}

/// A password must not reach a flow: what stands before the last `@` goes.
pub(super) fn without_userinfo(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.to_owned(),
    }
}
