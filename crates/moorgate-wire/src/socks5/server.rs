//! The gateway's side of the handshake.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{AUTH_VERSION, Command, DOMAIN, IPV4, IPV6, NO_METHOD, Reader, SocksError, USERNAME_PASSWORD, VERSION};
use crate::host::Asked;

/// One per connection. It holds no bytes: the caller keeps what is not consumed, and feeds it again
/// with more behind it. After [`Step::Request`] what is left belongs to the tunnel.
///
/// ```
/// use moorgate_wire::socks5::{Server, Step};
///
/// let mut server = Server::new();
/// assert!(matches!(server.feed(&[5, 1]), Step::NeedMore));
/// assert!(matches!(server.feed(&[5, 1, 2]), Step::Send { consumed: 3, bytes } if bytes == [5, 2]));
/// ```
#[derive(Debug, Default)]
pub struct Server {
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Greeting,
    Credentials,
    Request,
    Over,
}

/// What the fed bytes call for.
#[derive(PartialEq, Eq)]
pub enum Step {
    /// Nothing yet; feed again when there is more.
    NeedMore,
    /// Send `bytes` (the chosen method).
    Send {
        /// How many of the fed bytes are done with.
        consumed: usize,
        /// At most two bytes.
        bytes: Vec<u8>,
    },
    /// Check these, and send [`Server::auth_reply`]. Only after `true` was sent may this be fed again.
    Authenticate {
        /// How many of the fed bytes are done with.
        consumed: usize,
        /// 0 to 255 bytes, any.
        username: Box<[u8]>,
        /// 0 to 255 bytes, any. Not in `Debug`.
        password: Box<[u8]>,
    },
    /// Decide on this, and send [`encode_reply`](super::encode_reply).
    Request {
        /// How many of the fed bytes are done with.
        consumed: usize,
        /// What is to be done.
        command: Command,
        /// With what.
        asked: Asked,
    },
    /// Close without an answer.
    Malformed(SocksError),
    /// The client offered no username and password: send `bytes` and close.
    NoAcceptableMethod {
        /// How many of the fed bytes are done with.
        consumed: usize,
        /// `05 FF`.
        bytes: [u8; 2],
    },
    /// The address's type is unknown, so nobody can tell where the request ends: send
    /// [`Reply::AddressTypeNotSupported`](super::Reply) and close.
    UnsupportedAddressType {
        /// How many of the fed bytes are done with.
        consumed: usize,
    },
}

impl Server {
    /// At the first byte of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the bytes that are there and not yet consumed.
    pub fn feed(&mut self, buf: &[u8]) -> Step {
        let step = match self.phase {
            Phase::Greeting => greeting(buf),
            Phase::Credentials => credentials(buf),
            Phase::Request => request(buf),
            Phase::Over => Some(Step::Malformed(SocksError::Over)),
        };
        let Some(step) = step else { return Step::NeedMore };
        self.phase = match step {
            Step::NeedMore => self.phase,
            Step::Send { .. } => Phase::Credentials,
            Step::Authenticate { .. } => Phase::Request,
            Step::Request { .. }
            | Step::Malformed(_)
            | Step::NoAcceptableMethod { .. }
            | Step::UnsupportedAddressType { .. } => Phase::Over,
        };
        step
    }

    /// The answer to credentials (RFC 1929 §2): `01 00`, or `01 01` and then a close.
    pub fn auth_reply(ok: bool) -> [u8; 2] {
        [AUTH_VERSION, u8::from(!ok)]
    }
}

/// RFC 1928 §3.
fn greeting(buf: &[u8]) -> Option<Step> {
    let mut reader = Reader::new(buf);
    let version = reader.byte()?;
    if version != VERSION {
        return Some(Step::Malformed(SocksError::NotSocks5(version)));
    }
    let methods = reader.counted()?;
    let consumed = reader.consumed();
    Some(if methods.contains(&USERNAME_PASSWORD) {
        Step::Send { consumed, bytes: vec![VERSION, USERNAME_PASSWORD] }
    } else {
        Step::NoAcceptableMethod { consumed, bytes: [VERSION, NO_METHOD] }
    })
}

/// RFC 1929 §2. Empty ones are read: the right answer to them is "wrong", not a close.
fn credentials(buf: &[u8]) -> Option<Step> {
    let mut reader = Reader::new(buf);
    let version = reader.byte()?;
    if version != AUTH_VERSION {
        return Some(Step::Malformed(SocksError::AuthVersion(version)));
    }
    let username = reader.counted()?.into();
    let password = reader.counted()?.into();
    Some(Step::Authenticate { consumed: reader.consumed(), username, password })
}

/// RFC 1928 §4. The reserved byte says nothing and is not judged.
fn request(buf: &[u8]) -> Option<Step> {
    let mut reader = Reader::new(buf);
    let version = reader.byte()?;
    if version != VERSION {
        return Some(Step::Malformed(SocksError::Version(version)));
    }
    let [command, _reserved, address_type] = reader.array()?;
    let asked = match address_type {
        IPV4 => {
            let ip = Ipv4Addr::from(reader.array::<4>()?);
            Asked::from_ip(ip.into(), reader.port()?)
        }
        IPV6 => {
            let ip = Ipv6Addr::from(reader.array::<16>()?);
            Asked::from_ip(ip.into(), reader.port()?)
        }
        DOMAIN => {
            let name = reader.counted()?;
            Asked::from_bytes(name, reader.port()?)
        }
        _ => return Some(Step::UnsupportedAddressType { consumed: reader.consumed() }),
    };
    Some(Step::Request { consumed: reader.consumed(), command: command.into(), asked })
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedMore => f.write_str("NeedMore"),
            Self::Send { consumed, bytes } => write!(f, "Send({consumed}, {bytes:?})"),
            Self::Authenticate { consumed, username, .. } => {
                write!(f, "Authenticate({consumed}, \"{}\", …)", username.escape_ascii())
            }
            Self::Request { consumed, command, asked } => write!(f, "Request({consumed}, {command:?}, {asked:?})"),
            Self::Malformed(why) => write!(f, "Malformed({why:?})"),
            Self::NoAcceptableMethod { consumed, .. } => write!(f, "NoAcceptableMethod({consumed})"),
            Self::UnsupportedAddressType { consumed } => write!(f, "UnsupportedAddressType({consumed})"),
        }
    }
}
