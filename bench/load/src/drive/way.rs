//! The way through a proxy: connect, TLS if it is spoken, and what the proxy wants to hear before it goes on.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::HandshakeKind;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use super::{AttemptError, Tally, tls};
use crate::{
    cli::{Drive, Via},
    error::LoadError,
    hello::client_hello,
    origin::SHORT,
};

/// The longest answer to CONNECT that is read.
const ANSWER_BYTES: usize = 8 * 1024;
/// SOCKS5's answer that all is well, in its second byte.
const WELL: u8 = 0;

/// A connection that leads to the origin.
pub(super) type Stream = Either<Box<TlsStream<TcpStream>>, TcpStream>;

/// How to get to the origin; all bytes that are the same each time are made once.
pub(super) struct Way {
    proxy: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    ask: Ask,
    request: Vec<u8>,
}

/// What the proxy wants to hear.
enum Ask {
    Nothing,
    /// A ClientHello, which goes on to the origin.
    Hello(Vec<u8>),
    /// A CONNECT.
    Connect(Vec<u8>),
    /// SOCKS5.
    Socks {
        greeting: [u8; 3],
        login: Option<Vec<u8>>,
        request: Vec<u8>,
    },
}

impl Way {
    /// From the arguments.
    ///
    /// # Errors
    /// Arguments that are missing or wrong, and TLS that can't be set up.
    pub(super) fn new(drive: &Drive) -> Result<Self, LoadError> {
        let name = || ServerName::try_from(drive.name.clone());
        let tls = match drive.tls {
            true => {
                let name = name().map_err(|_| LoadError::Name { name: drive.name.clone() })?;
                Some((TlsConnector::from(Arc::new(tls::config(drive)?)), name))
            }
            false => None,
        };
        let ask = match drive.via {
            Via::Terminate | Via::Direct => Ask::Nothing,
            Via::Sni => Ask::Hello(client_hello(&drive.name)),
            Via::Connect => Ask::Connect(connect(target(drive)?, drive.auth.as_deref())),
            Via::Socks => socks(target(drive)?, drive.auth.as_deref())?,
        };
        let request =
            format!("GET /{SHORT} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", drive.name).into_bytes();
        Ok(Self { proxy: drive.proxy, tls, ask, request })
    }

    /// One request for [`SHORT`] bytes, the only one of its connection.
    pub(super) fn request(&self) -> &[u8] {
        &self.request
    }

    /// Opens a connection to the origin.
    ///
    /// # Errors
    /// The proxy is not there, says no, or breaks off.
    pub(super) async fn open(&self, tally: &mut Tally) -> Result<Stream, AttemptError> {
        let tcp = TcpStream::connect(self.proxy).await.map_err(AttemptError::Connect)?;
        tcp.set_nodelay(true).map_err(AttemptError::Connect)?;
        let mut stream = match &self.tls {
            None => Either::Right(tcp),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), tcp).await.map_err(AttemptError::Handshake)?;
                let session = stream.get_ref().1;
                match session.handshake_kind() {
                    Some(HandshakeKind::Resumed) => tally.resumed += 1,
                    _ => tally.full += 1,
                }
                if tally.key_exchange.is_none() {
                    tally.key_exchange =
                        session.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
                }
                Either::Left(Box::new(stream))
            }
        };
        match &self.ask {
            Ask::Nothing => {}
            Ask::Hello(hello) => stream.write_all(hello).await.map_err(AttemptError::Opening)?,
            Ask::Connect(head) => {
                stream.write_all(head).await.map_err(AttemptError::Opening)?;
                connected(&mut stream).await?;
            }
            Ask::Socks { greeting, login, request } => {
                say(&mut stream, greeting).await?;
                let method = if login.is_some() { 2 } else { 0 };
                heard(&mut stream, "greeting", method).await?;
                if let Some(login) = login {
                    say(&mut stream, login).await?;
                    heard(&mut stream, "password", WELL).await?;
                }
                say(&mut stream, request).await?;
                heard(&mut stream, "request", WELL).await?;
                bound(&mut stream).await.map_err(AttemptError::Opening)?;
            }
        }
        Ok(stream)
    }
}

fn target(drive: &Drive) -> Result<SocketAddr, LoadError> {
    drive.target.ok_or(LoadError::NoTarget)
}

fn connect(target: SocketAddr, auth: Option<&str>) -> Vec<u8> {
    let auth =
        auth.map(|auth| format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(auth))).unwrap_or_default();
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n").into_bytes()
}

/// RFC 1928, and RFC 1929 for the password.
fn socks(target: SocketAddr, auth: Option<&str>) -> Result<Ask, LoadError> {
    let sized = |part: &str| {
        let length = u8::try_from(part.len()).ok().filter(|&length| length > 0)?;
        Some([&[length][..], part.as_bytes()].concat())
    };
    let login = match auth {
        None => None,
        Some(auth) => {
            let parts = auth.split_once(':').and_then(|(user, password)| Some((sized(user)?, sized(password)?)));
            let (user, password) = parts.ok_or(LoadError::Auth)?;
            Some([&[1][..], &user, &password].concat())
        }
    };
    let address = match target.ip() {
        IpAddr::V4(ip) => [&[1][..], &ip.octets()].concat(),
        IpAddr::V6(ip) => [&[4][..], &ip.octets()].concat(),
    };
    let request = [&[5, 1, 0][..], &address, &target.port().to_be_bytes()].concat();
    Ok(Ask::Socks { greeting: [5, 1, if login.is_some() { 2 } else { 0 }], login, request })
}

/// Reads the answer to CONNECT. The origin speaks only when it is spoken to, so nothing comes behind it.
async fn connected(stream: &mut Stream) -> Result<(), AttemptError> {
    let mut answer = Vec::with_capacity(512);
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= ANSWER_BYTES || stream.read_buf(&mut answer).await.map_err(AttemptError::Opening)? == 0 {
            return Err(AttemptError::Connected { line: first_line(&answer) });
        }
    }
    let is_well = [&b"HTTP/1.1 200"[..], b"HTTP/1.0 200"].iter().any(|begin| answer.starts_with(begin));
    if is_well { Ok(()) } else { Err(AttemptError::Connected { line: first_line(&answer) }) }
}

/// The first line of an answer, for people.
pub(super) fn first_line(answer: &[u8]) -> String {
    let line = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

async fn say(stream: &mut Stream, bytes: &[u8]) -> Result<(), AttemptError> {
    stream.write_all(bytes).await.map_err(AttemptError::Opening)
}

/// Reads two bytes of an answer, the second of which must be this one.
async fn heard(stream: &mut Stream, step: &'static str, wanted: u8) -> Result<(), AttemptError> {
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.map_err(AttemptError::Opening)?;
    let [_, word] = answer;
    if word == wanted { Ok(()) } else { Err(AttemptError::Socks { step, answer: answer.to_vec() }) }
}

/// Reads the address that a SOCKS5 answer ends with.
async fn bound(stream: &mut Stream) -> io::Result<()> {
    let mut kind = [0; 2];
    stream.read_exact(&mut kind).await?;
    let [_, kind] = kind;
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await?),
        _ => return Err(ErrorKind::InvalidData.into()),
    };
    let mut rest = vec![0; length + size_of::<u16>()];
    stream.read_exact(&mut rest).await.map(drop)
}
