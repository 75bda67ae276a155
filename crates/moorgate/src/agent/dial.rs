//! To the gateway: TCP, TLS where the way is encrypted, and CONNECT or SOCKS5 for a tunnel.

use std::{io, time::Duration};

use moorgate_contract::{failure::SocksAnswer, limits::Limits, outcome::Outcome};
use moorgate_net::runtime::TcpStream;
use moorgate_tls::{OriginateError, Originator};
use moorgate_wire::{
    host::HostPort,
    http1::{HeadError, Headers, ResponseStep, encode_connect, parse_response},
    proxy_status,
    socks5::{Client, ClientStep, Reply, SocksError},
    visible::visible,
};
use thiserror::Error;
use tokio::{net::lookup_host, time::timeout};

use super::{error::AgentError, leg::Link, settings::Gateway};

/// How long the gateway may take to open a tunnel: its own limits for resolving and connecting, and some.
const OPEN: Duration = Duration::from_secs(60);
/// Bytes of a refusal's body that are read for its one line.
const REFUSAL_BYTES: usize = 4 * 1024;
/// How long that body may take.
const REFUSAL_TIME: Duration = Duration::from_secs(2);
/// What is read at once during a handshake, in bytes.
const READ: usize = 4 * 1024;

/// Opens connections to one gateway.
pub(crate) struct Dialer {
    gateway: Gateway,
    tls: Option<Originator>,
    limits: Limits,
}

/// An open tunnel.
pub(crate) struct Tunnel {
    /// To the gateway.
    pub(crate) link: Link,
    /// What the destination said already.
    pub(crate) early: Vec<u8>,
}

/// Why there is no connection or no tunnel.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    /// The gateway's own name.
    #[error("cannot find the gateway {gateway}")]
    Resolve { gateway: HostPort, source: io::Error },
    /// TCP.
    #[error("cannot connect to the gateway {gateway}")]
    Connect { gateway: HostPort, source: io::Error },
    /// It has no address.
    #[error("the gateway {gateway} has no address")]
    NoAddress { gateway: HostPort },
    /// A phase took too long.
    #[error("the gateway {gateway} did not {what} within {} s", limit.as_secs())]
    TooSlow { gateway: HostPort, what: &'static str, limit: Duration },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] OriginateError),
    /// It broke off in the middle.
    #[error("the gateway {gateway} closed the connection while it opened a tunnel to {target}")]
    Broken { gateway: HostPort, target: HostPort },
    /// It speaks something else.
    #[error("the gateway {gateway} does not speak HTTP here")]
    NotHttp {
        gateway: HostPort,
        #[source]
        why: HeadError,
    },
    /// A head without end.
    #[error("the gateway {gateway} answered with a head that is too long")]
    TooLong { gateway: HostPort },
    /// It speaks something else.
    #[error("the gateway {gateway} does not speak SOCKS5 here")]
    NotSocks {
        gateway: HostPort,
        #[source]
        why: SocksError,
    },
    /// The credential is wrong.
    #[error("the gateway {gateway} refused the username and password; check the proxy URL")]
    Credential { gateway: HostPort },
    /// An HTTP refusal.
    #[error("the gateway refused {target} with {status}: {}", visible(&**said))]
    Status { target: HostPort, status: u16, said: Box<str>, reply: Reply },
    /// A SOCKS refusal.
    #[error("the gateway refused {target}: {}", words(*reply))]
    Reply { target: HostPort, reply: Reply },
}

impl DialError {
    /// As an HTTP status toward a local client.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Status { status, .. } => *status,
            Self::Reply { reply: Reply::NotAllowed, .. } => 403,
            Self::Reply { reply: Reply::TtlExpired, .. } | Self::TooSlow { .. } => 504,
            _ => 502,
        }
    }

    /// As a SOCKS reply toward a local client.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::Status { reply, .. } | Self::Reply { reply, .. } => *reply,
            Self::Credential { .. } => Reply::NotAllowed,
            _ => Reply::GeneralFailure,
        }
    }
}

fn words(reply: Reply) -> &'static str {
    match reply {
        Reply::Succeeded => "succeeded",
        Reply::GeneralFailure => "general failure; `moorgate log` on the gateway says which",
        Reply::NotAllowed => "not allowed, by a rule or its guard; `moorgate log` on the gateway says which",
        Reply::NetworkUnreachable => "network unreachable",
        Reply::HostUnreachable => "no such name, or the host is unreachable",
        Reply::ConnectionRefused => "connection refused by the destination",
        Reply::TtlExpired => "the destination did not answer in time",
        Reply::CommandNotSupported => "command not supported",
        Reply::AddressTypeNotSupported => "address type not supported",
    }
}

fn originator(gateway: &Gateway) -> Result<Originator, AgentError> {
    const ADVICE: &str = ": if it is the gateway's own, set MOORGATE_CA to that gateway's ca.pem";
    Ok(Originator::new(gateway.roots.clone())?.advising(ADVICE))
}

impl Dialer {
    /// Reads the CA where there is TLS.
    pub(crate) fn new(gateway: Gateway) -> Result<Self, AgentError> {
        let tls = match (gateway.via.is_tls(), gateway.via.is_socks()) {
            (false, _) => None,
            (true, true) => Some(originator(&gateway)?),
            // HTTP/1.1 alone: its refusals are passed on as they are.
            (true, false) => Some(originator(&gateway)?.with_alpn(&[b"http/1.1"])),
        };
        Ok(Self { gateway, tls, limits: Limits::default() })
    }

    /// Where it dials.
    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// A connection to the gateway on which nothing has been said yet.
    pub(crate) async fn open(&self) -> Result<Link, DialError> {
        let gateway = &self.gateway.address;
        let limit = self.limits.connect;
        let slow = |what, limit| DialError::TooSlow { gateway: gateway.clone(), what, limit };
        let stream = timeout(limit, self.connect()).await.map_err(|_| slow("answer", limit))??;
        let Some(tls) = &self.tls else { return Ok(Link::Tcp(stream)) };
        let limit = self.limits.handshake;
        let name = gateway.host.to_string();
        let stream =
            timeout(limit, tls.connect(stream, &name)).await.map_err(|_| slow("finish the TLS handshake", limit))??;
        Ok(Link::Tls(stream))
    }

    async fn connect(&self) -> Result<TcpStream, DialError> {
        let gateway = || self.gateway.address.clone();
        let host = self.gateway.address.host.to_string();
        let addresses = lookup_host((host, self.gateway.address.port)).await;
        let addresses = addresses.map_err(|source| DialError::Resolve { gateway: gateway(), source })?;
        let mut failed = DialError::NoAddress { gateway: gateway() };
        for address in addresses {
            match tokio::net::TcpStream::connect(address).await {
                Ok(stream) => {
                    // Without it small messages only wait longer.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream.into());
                }
                Err(source) => failed = DialError::Connect { gateway: gateway(), source },
            }
        }
        Err(failed)
    }

    /// A tunnel to `target` through the gateway.
    pub(crate) async fn tunnel(&self, target: &HostPort) -> Result<Tunnel, DialError> {
        let mut link = self.open().await?;
        let asked = async {
            if self.gateway.via.is_socks() {
                self.ask_socks(&mut link, target).await
            } else {
                self.ask_http(&mut link, target).await
            }
        };
        let slow =
            |_| DialError::TooSlow { gateway: self.gateway.address.clone(), what: "open the tunnel", limit: OPEN };
        let early = timeout(OPEN, asked).await.map_err(slow)??;
        Ok(Tunnel { link, early })
    }

    async fn ask_http(&self, link: &mut Link, target: &HostPort) -> Result<Vec<u8>, DialError> {
        let gateway = || self.gateway.address.clone();
        let broken = |_| DialError::Broken { gateway: gateway(), target: target.clone() };
        let request = encode_connect(target, Some((&self.gateway.username, self.gateway.password.as_str())));
        link.write_all(&request).await.map_err(broken)?;
        let mut buf = Vec::new();
        loop {
            match parse_response(&buf) {
                ResponseStep::NeedMore => link.read_more(&mut buf, READ).await.map_err(broken)?,
                ResponseStep::Malformed(why) => return Err(DialError::NotHttp { gateway: gateway(), why }),
                ResponseStep::TooLong => return Err(DialError::TooLong { gateway: gateway() }),
                ResponseStep::Head { consumed, status: 100..=199, .. } => drop(buf.drain(..consumed)),
                ResponseStep::Head { consumed, status: 200..=299, .. } => return Ok(buf.split_off(consumed)),
                ResponseStep::Head { consumed, status, headers, .. } => {
                    let body = buf.split_off(consumed);
                    let said = refusal_line(link, body, &headers).await;
                    return Err(DialError::Status {
                        target: target.clone(),
                        status,
                        said,
                        reply: reply_of(status, &headers),
                    });
                }
            }
        }
    }

    async fn ask_socks(&self, link: &mut Link, target: &HostPort) -> Result<Vec<u8>, DialError> {
        let gateway = || self.gateway.address.clone();
        let broken = |_| DialError::Broken { gateway: gateway(), target: target.clone() };
        let mut client = Client::new(&self.gateway.username, self.gateway.password.as_str(), target);
        let mut buf = Vec::new();
        loop {
            match client.feed(&buf) {
                ClientStep::Send(bytes) => {
                    buf.clear();
                    link.write_all(&bytes).await.map_err(broken)?;
                }
                ClientStep::NeedMore => link.read_more(&mut buf, READ).await.map_err(broken)?,
                ClientStep::Done { consumed } => return Ok(buf.split_off(consumed)),
                ClientStep::Refused { reply } => {
                    let reply = Reply::from_code(reply).unwrap_or(Reply::GeneralFailure);
                    return Err(DialError::Reply { target: target.clone(), reply });
                }
                ClientStep::AuthFailed => return Err(DialError::Credential { gateway: gateway() }),
                ClientStep::Malformed(why) => return Err(DialError::NotSocks { gateway: gateway(), why }),
            }
        }
    }
}

/// The body's one line, or the status in words when there is none.
async fn refusal_line(link: &mut Link, mut body: Vec<u8>, headers: &Headers) -> Box<str> {
    let length = headers.get("content-length").and_then(|value| str::from_utf8(value).ok()?.parse::<usize>().ok());
    let wanted = length.unwrap_or_default().min(REFUSAL_BYTES);
    // What has come when the time is over is what there is to say.
    let _ =
        timeout(REFUSAL_TIME, async { while body.len() < wanted && link.read_more(&mut body, READ).await.is_ok() {} })
            .await;
    line_of(&body)
}

/// The first line of a refusal's body, without the gateway's name before it.
pub(super) fn line_of(body: &[u8]) -> Box<str> {
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let line = line.trim();
    let line = line.strip_prefix("moorgate: ").unwrap_or(line);
    if line.is_empty() { "no reason was given".into() } else { line.into() }
}

/// What a gateway's HTTP refusal is over SOCKS5: by its code where it says one, else by its status.
fn reply_of(status: u16, headers: &Headers) -> Reply {
    let code = headers.get(proxy_status::NAME).and_then(|value| {
        let (_, rest) = str::from_utf8(value).ok()?.rsplit_once("; code=\"")?;
        rest.split('"').next()
    });
    match code.and_then(Outcome::from_code) {
        Some(Outcome::Failed(code)) => match code.row().socks {
            SocksAnswer::Reply(reply) => reply,
            SocksAnswer::AuthFailure => Reply::NotAllowed,
            SocksAnswer::Close => Reply::GeneralFailure,
        },
        _ => match status {
            403 | 407 | 429 | 508 => Reply::NotAllowed,
            502 => Reply::HostUnreachable,
            504 => Reply::TtlExpired,
            _ => Reply::GeneralFailure,
        },
    }
}
