//! The agent's side of the handshake.

use std::fmt;

use zeroize::Zeroizing;

use super::{AUTH_VERSION, DOMAIN, IPV4, IPV6, NO_METHOD, Reader, SocksError, USERNAME_PASSWORD, VERSION, put_ip};
use crate::host::{Host, HostPort};

/// One per connection: greets, authenticates, asks for CONNECT.
///
/// Feed it nothing first, to get the greeting. Each [`ClientStep::Send`] has taken all of the fed
/// bytes: the proxy says nothing that was not asked for, until the tunnel is open.
pub struct Client {
    phase: Phase,
    username: Box<str>,
    password: Zeroizing<String>,
    target: HostPort,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Start,
    Method,
    Auth,
    Reply,
    Over,
}

/// What the fed bytes call for.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// Send this. All fed bytes are done with.
    Send(Vec<u8>),
    /// Nothing yet; feed again when there is more.
    NeedMore,
    /// The tunnel is open; what comes after `consumed` bytes is the destination's.
    Done {
        /// How many of the fed bytes are done with.
        consumed: usize,
    },
    /// The proxy refused the request.
    Refused {
        /// See [`Reply::from_code`](super::Reply::from_code); never 0.
        reply: u8,
    },
    /// The proxy refused the username and password.
    AuthFailed,
    /// What the proxy said is no SOCKS5, or what it was to be told cannot be said in it.
    Malformed(SocksError),
}

impl Client {
    /// For one CONNECT to `target`, which the proxy resolves when it is a name. A username or password that is
    /// empty or longer than 255 bytes shows at the first [`Client::feed`].
    pub fn new(username: &str, password: &str, target: &HostPort) -> Self {
        Self {
            phase: Phase::Start,
            username: username.into(),
            password: Zeroizing::new(password.to_owned()),
            target: target.clone(),
        }
    }

    /// Looks at the bytes that are there and not yet consumed.
    pub fn feed(&mut self, buf: &[u8]) -> ClientStep {
        let step = match self.phase {
            Phase::Start => self.greet(buf),
            Phase::Method => self.method(buf),
            Phase::Auth => self.auth(buf),
            Phase::Reply => reply(buf),
            Phase::Over => Some(ClientStep::Malformed(SocksError::Over)),
        };
        let Some(step) = step else { return ClientStep::NeedMore };
        self.phase = match (&step, self.phase) {
            (ClientStep::NeedMore, phase) => phase,
            (ClientStep::Send(_), Phase::Start) => Phase::Method,
            (ClientStep::Send(_), Phase::Method) => Phase::Auth,
            (ClientStep::Send(_), Phase::Auth) => Phase::Reply,
            _ => Phase::Over,
        };
        step
    }

    fn greet(&self, buf: &[u8]) -> Option<ClientStep> {
        if !buf.is_empty() {
            return Some(ClientStep::Malformed(SocksError::Unasked));
        }
        let fits = |len: usize| (1..=255).contains(&len);
        if !fits(self.username.len()) || !fits(self.password.len()) {
            return Some(ClientStep::Malformed(SocksError::CredentialLength));
        }
        Some(ClientStep::Send(vec![VERSION, 1, USERNAME_PASSWORD]))
    }

    fn method(&self, buf: &[u8]) -> Option<ClientStep> {
        let (&version, rest) = buf.split_first()?;
        if version != VERSION {
            return Some(ClientStep::Malformed(SocksError::NotSocks5(version)));
        }
        Some(match rest {
            [] => return None,
            [USERNAME_PASSWORD] => {
                let mut out = vec![AUTH_VERSION];
                put_counted(&mut out, self.username.as_bytes());
                put_counted(&mut out, self.password.as_bytes());
                ClientStep::Send(out)
            }
            [NO_METHOD, ..] => ClientStep::Malformed(SocksError::Method(NO_METHOD)),
            [USERNAME_PASSWORD, ..] => ClientStep::Malformed(SocksError::Unasked),
            [other, ..] => ClientStep::Malformed(SocksError::Method(*other)),
        })
    }

    fn auth(&self, buf: &[u8]) -> Option<ClientStep> {
        let (&version, rest) = buf.split_first()?;
        if version != AUTH_VERSION {
            return Some(ClientStep::Malformed(SocksError::AuthVersion(version)));
        }
        Some(match rest {
            [] => return None,
            [0] => ClientStep::Send(self.request()),
            [0, ..] => ClientStep::Malformed(SocksError::Unasked),
            _ => ClientStep::AuthFailed,
        })
    }

    fn request(&self) -> Vec<u8> {
        let mut out = vec![VERSION, 1, 0];
        match &self.target.host {
            Host::Name(name) => {
                out.push(DOMAIN);
                put_counted(&mut out, name.as_str().as_bytes());
            }
            Host::V4(ip) => put_ip(&mut out, (*ip).into()),
            Host::V6(ip) => put_ip(&mut out, (*ip).into()),
        }
        out.extend(self.target.port.to_be_bytes());
        out
    }
}

/// One byte of length, then the bytes: at most 255, as the callers have seen to.
fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend(bytes.iter().take(usize::from(len)));
}

/// RFC 1928 §6. A refusal is one as soon as its code is there: some proxies send no more of it.
fn reply(buf: &[u8]) -> Option<ClientStep> {
    let mut reader = Reader::new(buf);
    let version = reader.byte()?;
    if version != VERSION {
        return Some(ClientStep::Malformed(SocksError::Version(version)));
    }
    let reply = reader.byte()?;
    if reply != 0 {
        return Some(ClientStep::Refused { reply });
    }
    let [_reserved, address_type] = reader.array()?;
    match address_type {
        IPV4 => drop(reader.array::<4>()?),
        IPV6 => drop(reader.array::<16>()?),
        DOMAIN => drop(reader.counted()?),
        other => return Some(ClientStep::Malformed(SocksError::ReplyAddressType(other))),
    }
    reader.port()?;
    Some(ClientStep::Done { consumed: reader.consumed() })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?}, {:?} to {:?})", self.phase, self.username, self.target)
    }
}
