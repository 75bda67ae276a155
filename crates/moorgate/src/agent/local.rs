//! One local connection: HTTP proxy or SOCKS5 by its first byte, or a mapped port.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use moorgate_contract::{
    account::{AccountId, CredentialId, SecretId},
    flow::Meter,
    limits::Limits,
};
use moorgate_net::{
    farewell::answer_and_close,
    leg::{Leg, TcpLeg},
    registry::Owner,
    relay::relay,
    runtime::TcpStream,
};
use moorgate_wire::{
    host::{Asked, HostPort},
    http1::{HeadStep, ResponseHead, Scheme, Target, Version, parse_request},
    proxy_status::{self, ProxyStatus},
    socks5::{Reply, encode_reply},
    visible::visible,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    Agent, chain, complain,
    dial::{DialError, Tunnel},
    leg::HttpLeg,
    request::{RequestLeg, Rewrite},
    socks::{self, SocksAsked},
};

/// The first byte of SOCKS5 (RFC 1928 §3); no HTTP method begins with it.
const SOCKS5: u8 = 5;
/// How long a local client may take to read the first answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a tunnel may stand still. The gateway's own limit comes first; this is for a gateway that died unheard.
const IDLE: Duration = Duration::from_secs(24 * 3600);
/// What an open tunnel is answered with over HTTP (RFC 9110 §9.3.6).
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
/// What SOCKS5 is told about where the connection leaves from: the gateway does not say.
const UNKNOWN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Serves a connection of the proxy port to its end.
pub(super) async fn serve(mut client: TcpStream, agent: &Agent) {
    let mut buf = Vec::new();
    let limit = Limits::default().head;
    // A client that leaves or stalls before it said where to has nothing to be told.
    let Ok(Ok(())) = timeout(limit, read_more(&mut client, &mut buf)).await else { return };
    if buf.first() == Some(&SOCKS5) {
        match timeout(limit, socks::read(&mut client, &mut buf)).await {
            Ok(Ok(SocksAsked::Connect(asked))) => serve_socks(client, agent, &asked, buf).await,
            Ok(Ok(SocksAsked::Refused(answer))) => answer_and_close(&mut client, &answer).await,
            Ok(Err(_)) | Err(_) => {}
        }
    } else {
        match timeout(limit, read_head(&mut client, &mut buf)).await {
            Ok(Ok(head)) if agent.dialer.gateway().via.is_socks() => http_over_socks(client, agent, head, buf).await,
            Ok(Ok(head)) => http_over_http(client, agent, head, buf).await,
            Ok(Err(_)) => {}
            Err(_) => {
                let why = "the request's head was not whole in time";
                answer_and_close(&mut client, &answer(408, "http_request_error", why)).await;
            }
        }
    }
}

/// Serves a connection of a mapped port to its end.
pub(super) async fn map(client: TcpStream, agent: &Agent, target: &HostPort) {
    match agent.dialer.tunnel(target).await {
        Ok(tunnel) => tunnelled(client, agent, tunnel, &[], Vec::new()).await,
        Err(error) => {
            complain(chain(&error));
            // The only way to say "refused" to a protocol that is not known here.
            TcpLeg::new(client).abort();
        }
    }
}

async fn serve_socks(mut client: TcpStream, agent: &Agent, asked: &Asked, early: Vec<u8>) {
    let target = match canonical(asked) {
        Ok(target) => target,
        Err(why) => {
            complain(why);
            return answer_and_close(&mut client, &encode_reply(Reply::GeneralFailure, UNKNOWN)).await;
        }
    };
    match agent.dialer.tunnel(&target).await {
        Ok(tunnel) => tunnelled(client, agent, tunnel, &encode_reply(Reply::Succeeded, UNKNOWN), early).await,
        Err(error) => {
            complain(chain(&error));
            answer_and_close(&mut client, &encode_reply(error.reply(), UNKNOWN)).await;
        }
    }
}

/// The gateway gets the requests with the credential added, and its answers go back as they are.
async fn http_over_http(mut client: TcpStream, agent: &Agent, head: Head, early: Vec<u8>) {
    let link = match agent.dialer.open().await {
        Ok(link) => link,
        Err(error) => return refuse(&mut client, &error).await,
    };
    let (asked, is_connect) = match &head {
        Head::Connect(asked) => (asked.text(), true),
        Head::Absolute(asked, _) => (asked.text(), false),
        Head::Other => ("a malformed request", false),
    };
    let gateway = HttpLeg::new(link.into_leg(), visible(asked).to_string().into(), is_connect);
    let client = RequestLeg::new(TcpLeg::new(client), Rewrite::for_proxy(agent.dialer.gateway()), early);
    between(client, gateway, agent, Vec::new()).await;
}

/// Each destination gets a tunnel; a plain request goes through it to the origin itself.
async fn http_over_socks(mut client: TcpStream, agent: &Agent, head: Head, mut early: Vec<u8>) {
    let (asked, head_bytes) = match &head {
        Head::Connect(asked) => (asked, head_len(&early)),
        Head::Absolute(asked, Scheme::Http) => (asked, 0),
        Head::Absolute(_, Scheme::Https) => {
            let why = "ask for https:// by CONNECT; a proxy cannot see into it";
            return answer_and_close(&mut client, &answer(400, "http_request_error", why)).await;
        }
        Head::Other => {
            let why = "this is a proxy: send CONNECT host:port or a whole http:// URL";
            return answer_and_close(&mut client, &answer(400, "http_request_error", why)).await;
        }
    };
    let target = match canonical(asked) {
        Ok(target) => target,
        Err(why) => {
            complain(&why);
            return answer_and_close(&mut client, &answer(400, "http_request_error", &why)).await;
        }
    };
    let tunnel = match agent.dialer.tunnel(&target).await {
        Ok(tunnel) => tunnel,
        Err(error) => return refuse(&mut client, &error).await,
    };
    if let Head::Connect(_) = head {
        let early = early.split_off(head_bytes);
        return tunnelled(client, agent, tunnel, ESTABLISHED, early).await;
    }
    if say(&mut client, &tunnel.early).await.is_ok() {
        let client = RequestLeg::new(TcpLeg::new(client), Rewrite::ForOrigin(target), early);
        between(client, tunnel.link.into_leg(), agent, Vec::new()).await;
    }
}

/// Answers the client, passes on what the destination said first, and relays.
async fn tunnelled(mut client: TcpStream, agent: &Agent, tunnel: Tunnel, answer: &[u8], early: Vec<u8>) {
    let first = [answer, &tunnel.early].concat();
    if say(&mut client, &first).await.is_ok() {
        between(TcpLeg::new(client), tunnel.link.into_leg(), agent, early).await;
    }
}

async fn between<C: Leg, T: Leg>(client: C, gateway: T, agent: &Agent, early: Vec<u8>) {
    // The registry is the relay's; whose a local connection is, nobody asks here.
    let owner = Owner::Outbound {
        account: AccountId(0),
        credential: CredentialId(0),
        secret: SecretId(0),
        host: agent.dialer.gateway().address.host.clone(),
        port: agent.dialer.gateway().address.port,
        client: Ipv4Addr::LOCALHOST.into(),
    };
    let open = agent.registry.register(0, owner, Arc::new(Meter::default()));
    open.idles_after(Some(IDLE));
    relay(client, gateway, early.into(), Arc::clone(&open)).await;
}

/// What a first request is.
enum Head {
    Connect(Asked),
    Absolute(Asked, Scheme),
    /// What no proxy is asked, or what can't be read.
    Other,
}

async fn read_head(client: &mut TcpStream, buf: &mut Vec<u8>) -> io::Result<Head> {
    loop {
        match parse_request(buf) {
            HeadStep::NeedMore => read_more(client, buf).await?,
            HeadStep::Malformed(_) | HeadStep::TooLong => return Ok(Head::Other),
            HeadStep::Head { head, .. } => {
                return Ok(match head.target {
                    Target::Authority(asked) => Head::Connect(asked),
                    Target::Absolute { scheme, asked, .. } => Head::Absolute(asked, scheme),
                    Target::Origin(_) | Target::Asterisk => Head::Other,
                });
            }
        }
    }
}

fn head_len(buf: &[u8]) -> usize {
    match parse_request(buf) {
        HeadStep::Head { consumed, .. } => consumed,
        _ => buf.len(),
    }
}

/// The destination, or why it is none, in a line.
fn canonical(asked: &Asked) -> Result<HostPort, String> {
    match &asked.host {
        Ok(host) => Ok(HostPort { host: host.clone(), port: asked.port }),
        Err(why) => Err(why.to_string()),
    }
}

async fn refuse(client: &mut TcpStream, error: &DialError) {
    let why = chain(error);
    complain(&why);
    let kind = if error.status() == 504 { "connection_timeout" } else { "destination_unavailable" };
    answer_and_close(client, &answer(error.status(), kind, &why)).await;
}

/// A refusal of the agent's own, as the gateway words its.
fn answer(status: u16, error: &str, why: &str) -> Vec<u8> {
    let body = format!("moorgate agent: {}\n", visible(why));
    let proxy_status =
        ProxyStatus { name: "moorgate-agent", error: Some(error), details: Some(why), ..ProxyStatus::default() };
    let mut head = ResponseHead::new(status);
    head.headers.push("content-type", "text/plain; charset=utf-8");
    head.headers.push("content-length", body.len().to_string());
    head.headers.push(proxy_status::NAME, proxy_status.encode());
    head.headers.push("connection", "close");
    let mut bytes = head.encode(Version::Http11);
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// Reads some more.
///
/// # Errors
/// An end is an error too: something was still to come.
pub(super) async fn read_more(client: &mut TcpStream, buf: &mut Vec<u8>) -> io::Result<()> {
    match client.read_buf(buf).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

pub(super) async fn say(client: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    timeout(ANSWER, client.write_all(bytes)).await?
}
