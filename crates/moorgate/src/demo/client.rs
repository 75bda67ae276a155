//! The demo's clients: an application that asks through the proxy, and somebody who asks a domain behind the gateway.

use std::{io, net::SocketAddr, time::Duration};

use moorgate_tls::{OriginateError, Originator};
use moorgate_wire::{
    basic,
    host::HostPort,
    http1::{ResponseStep, encode_connect, parse_response},
    socks5::{Client, ClientStep},
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::secrets::Planted;

/// How long one request may take, with its answer. Generous: the machine may be busy.
const TIME: Duration = Duration::from_secs(20);
/// The longest answer that is read, in bytes.
const ANSWER: usize = 64 * 1024;

/// Why a request came to nothing.
#[derive(Debug, Error)]
pub(super) enum TalkError {
    /// The connection.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// TLS with the target.
    #[error(transparent)]
    Tls(#[from] OriginateError),
    /// Not 200.
    #[error("the answer was {0}")]
    Status(u16),
    /// Not HTTP.
    #[error("the answer was no HTTP")]
    NotHttp,
    /// Not what SOCKS5 says to a client that is let through.
    #[error("the gateway's SOCKS5 listener opened no tunnel")]
    Socks,
    /// Nothing.
    #[error("no answer within {} s", TIME.as_secs())]
    TooSlow,
}

/// The client's TLS with the target: what it put in, and the certificate that it saw.
pub(super) struct Inner {
    /// In DER.
    pub(super) certificate: Vec<u8>,
    /// In plaintext.
    pub(super) sent: Vec<u8>,
}

/// Where an app speaks to its proxy.
#[derive(Clone, Copy)]
pub(super) enum Door {
    /// HTTP: CONNECT, or the whole URL where there is no TLS with the target.
    Http(SocketAddr),
    /// SOCKS5 (RFC 1928).
    Socks(SocketAddr),
}

/// Asks `target` through the proxy at `door`, over TLS with the target if there is `tls`.
pub(super) async fn through(
    door: Door,
    target: &HostPort,
    tls: Option<&Originator>,
    planted: &Planted,
) -> Result<Option<Inner>, TalkError> {
    within(async {
        let (Door::Http(address) | Door::Socks(address)) = door;
        let mut proxy = TcpStream::connect(address).await?;
        match (door, tls) {
            (Door::Http(_), None) => {
                let (username, password) = planted.credential();
                let basic = format!("Proxy-Authorization: {}\r\n", basic::encode(username, password));
                let url = format!("http://{target}{}", planted.path());
                ask(proxy, &request(&url, &target.to_string(), &basic, planted)).await?;
                return Ok(None);
            }
            (Door::Http(_), Some(_)) => {
                proxy.write_all(&encode_connect(target, Some(planted.credential()))).await?;
                answered(&mut proxy, &mut Vec::new()).await?;
            }
            (Door::Socks(_), _) => socks(&mut proxy, target, planted).await?,
        }
        let sent = request(&planted.path(), &target.to_string(), "", planted);
        let Some(tls) = tls else {
            ask(proxy, &sent).await?;
            return Ok(None);
        };
        let server = tls.connect(proxy, &target.host.to_string()).await?;
        let certificate = server.peer_certificate().unwrap_or_default().to_vec();
        ask(server, &sent).await?;
        Ok(Some(Inner { certificate, sent }))
    })
    .await
}

/// Opens a tunnel by SOCKS5.
async fn socks(proxy: &mut TcpStream, target: &HostPort, planted: &Planted) -> Result<(), TalkError> {
    let (username, password) = planted.credential();
    let (mut client, mut answer) = (Client::new(username, password, target), Vec::new());
    loop {
        match client.feed(&answer) {
            ClientStep::Send(bytes) => {
                answer.clear();
                proxy.write_all(&bytes).await?;
            }
            ClientStep::NeedMore => {
                if proxy.read_buf(&mut answer).await? == 0 {
                    return Err(TalkError::Socks);
                }
            }
            // The targets of the demo say nothing before they are asked.
            ClientStep::Done { .. } => return Ok(()),
            ClientStep::Refused { .. } | ClientStep::AuthFailed | ClientStep::Malformed(_) => {
                return Err(TalkError::Socks);
            }
        }
    }
}

/// Asks `host` at `door`, where TLS is somebody else's.
pub(super) async fn directly(door: SocketAddr, host: &str, planted: &Planted) -> Result<(), TalkError> {
    within(async {
        let server = TcpStream::connect(door).await?;
        ask(server, &request(&planted.path(), host, "", planted)).await
    })
    .await
}

async fn within<T>(talk: impl Future<Output = Result<T, TalkError>>) -> Result<T, TalkError> {
    timeout(TIME, talk).await.map_err(|_| TalkError::TooSlow)?
}

/// `more`: whole lines of the head.
fn request(target: &str, host: &str, more: &str, planted: &Planted) -> Vec<u8> {
    let (field, body) = (planted.field(), planted.body());
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: {host}\r\n{more}{field}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn ask(mut server: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Result<(), TalkError> {
    server.write_all(request).await?;
    server.flush().await?;
    let mut answer = Vec::new();
    answered(&mut server, &mut answer).await?;
    // To its end, so that no recording is cut short; the status is known already.
    while answer.len() < ANSWER && matches!(server.read_buf(&mut answer).await, Ok(1..)) {}
    let _ = server.shutdown().await;
    Ok(())
}

/// Reads a head that says 200.
async fn answered(server: &mut (impl AsyncRead + Unpin), answer: &mut Vec<u8>) -> Result<(), TalkError> {
    loop {
        match parse_response(answer) {
            ResponseStep::NeedMore if answer.len() < ANSWER => match server.read_buf(answer).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                _ => continue,
            },
            ResponseStep::Head { status: 200, .. } => return Ok(()),
            ResponseStep::Head { status, .. } => return Err(TalkError::Status(status)),
            ResponseStep::NeedMore | ResponseStep::Malformed(_) | ResponseStep::TooLong => {
                return Err(TalkError::NotHttp);
            }
        }
    }
}
