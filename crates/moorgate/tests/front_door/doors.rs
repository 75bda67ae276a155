//! The five doors to an outbound tunnel, and both of its sides, under the test's full control.
//!
//! A [`Side`] is the client's end of a tunnel through any door, or the target's. Whoever reads sees how the other side
//! ended: [`End`].

pub mod frames;
mod open;
mod side;

use std::{fmt::Display, io, net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use http::{Method, Request, Response};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use socket2::Socket;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

pub use open::{Destination, Open, flow, flow_to};
pub use side::{End, Reader, Side, Wire, Writer, write_h2};

use crate::gateway::Gateway;

/// Ends a test that is stuck. No limit of the product.
pub const STUCK: Duration = Duration::from_secs(60);

/// A listener and what is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Http,
    Socks,
    HttpsH1,
    HttpsH2,
    SocksTls,
}

impl Door {
    pub const ALL: [Self; 5] = [Self::Http, Self::Socks, Self::HttpsH1, Self::HttpsH2, Self::SocksTls];

    /// The listener's name in `gateway.json` and in flows.
    pub fn listener(self) -> &'static str {
        match self {
            Self::Http => "outbound_http",
            Self::Socks => "outbound_socks",
            Self::HttpsH1 | Self::HttpsH2 => "outbound_https",
            Self::SocksTls => "outbound_socks_tls",
        }
    }

    pub fn is_tls(self) -> bool {
        !matches!(self, Self::Http | Self::Socks)
    }

    pub fn is_socks(self) -> bool {
        matches!(self, Self::Socks | Self::SocksTls)
    }

    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::HttpsH1 => vec![b"http/1.1".to_vec()],
            Self::HttpsH2 => vec![b"h2".to_vec()],
            _ => vec![],
        }
    }
}

/// Why a door stayed shut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// An HTTP status with the failure's code.
    Http(u16, String),
    /// A SOCKS reply.
    Socks(u8),
    /// Closed, or never opened, without a word.
    Closed,
}

/// Bytes that a client sends before it has its answer.
#[derive(Clone, Copy, Default)]
pub struct Early<'a> {
    /// In the same segment as the request (SOCKS: as greeting, password and request).
    pub together: &'a [u8],
    /// Right behind the request.
    pub behind: &'a [u8],
}

/// How to reach a gateway's doors, with the credential of the account `default`.
#[derive(Clone)]
pub struct Doors {
    addresses: Vec<(&'static str, SocketAddr)>,
    roots: Arc<RootCertStore>,
    username: String,
    password: String,
}

impl Doors {
    pub fn of(gateway: &Gateway) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(gateway.ca()).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let (username, password) = gateway.credential();
        let addresses = Door::ALL.map(|door| (door.listener(), gateway.address(door.listener()))).to_vec();
        Self { addresses, roots: Arc::new(roots), username, password }
    }

    /// The same doors for another username and password.
    pub fn with_credential(&self, (username, password): &(String, String)) -> Self {
        Self { username: username.clone(), password: password.clone(), ..self.clone() }
    }

    pub fn address(&self, door: Door) -> SocketAddr {
        self.addresses.iter().find(|(listener, _)| *listener == door.listener()).unwrap().1
    }

    /// The field that says who asks.
    pub fn authorization(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }

    /// A connection without TLS, whichever door it is.
    pub async fn tcp(&self, door: Door) -> io::Result<Wire> {
        Ok(Wire::bare(TcpStream::connect(self.address(door)).await?))
    }

    /// A connection, with TLS open where the door has it.
    pub async fn wire(&self, door: Door) -> io::Result<Wire> {
        let Wire { stream, socket } = self.tcp(door).await?;
        if !door.is_tls() {
            return Ok(Wire { stream, socket });
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = versions.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = door.alpn();
        let name = ServerName::from(self.address(door).ip());
        let tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Wire { stream: Box::new(tls), socket })
    }

    /// An h2 connection to the HTTPS proxy; runs by itself until nobody uses it.
    pub async fn h2(&self) -> io::Result<H2> {
        let Wire { stream, socket } = self.wire(Door::HttpsH2).await?;
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .handshake(stream)
            .await
            .map_err(io::Error::other)?;
        let task = tokio::spawn(async move {
            // How it ended is seen on its streams.
            let _ = connection.await;
        });
        Ok(H2 { requests, socket, task: task.abort_handle(), authorization: self.authorization() })
    }

    /// Opens a tunnel to `target`.
    pub async fn open(&self, door: Door, target: impl Display) -> Result<Side, Refused> {
        self.open_early(door, target, Early::default()).await
    }

    /// Opens a tunnel and sends `early` before there is an answer.
    pub async fn open_early(&self, door: Door, target: impl Display, early: Early<'_>) -> Result<Side, Refused> {
        let target = target.to_string();
        let opened = async {
            match door {
                Door::HttpsH2 => self.h2().await.map_err(|_| Refused::Closed)?.open(&target, early).await,
                Door::Http | Door::HttpsH1 => {
                    let wire = self.wire(door).await.map_err(|_| Refused::Closed)?;
                    self.connect(wire, &target, early).await
                }
                Door::Socks | Door::SocksTls => {
                    let wire = self.wire(door).await.map_err(|_| Refused::Closed)?;
                    self.socks(wire, &target, early).await
                }
            }
        };
        timeout(STUCK, opened).await.expect("an answer")
    }

    /// The head of a CONNECT over HTTP/1.
    pub fn connect_head(&self, target: &str) -> String {
        let authorization = self.authorization();
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {authorization}\r\n\r\n")
    }

    /// A CONNECT over a connection that is open already.
    pub async fn connect(&self, mut wire: Wire, target: &str, early: Early<'_>) -> Result<Side, Refused> {
        let request = [self.connect_head(target).as_bytes(), early.together].concat();
        send(&mut wire, &request).await?;
        send(&mut wire, early.behind).await?;
        let (status, head, rest) = response(&mut wire.stream).await.ok_or(Refused::Closed)?;
        if status == 200 {
            return Ok(Side::over(wire, rest));
        }
        let mut body = rest;
        let _ = wire.stream.read_to_end(&mut body).await;
        assert!(head.to_lowercase().contains("proxy-status: "), "{head}");
        Err(Refused::Http(status, code_of(&body)))
    }

    /// The three messages of a SOCKS5 client.
    pub fn socks_messages(&self, target: &str) -> [Vec<u8>; 3] {
        let field = |text: &str| [&[text.len() as u8][..], text.as_bytes()].concat();
        let password = [vec![1], field(&self.username), field(&self.password)].concat();
        let (host, port) = target.rsplit_once(':').unwrap();
        let host = match host.parse() {
            Ok(std::net::IpAddr::V4(v4)) => [&[1][..], &v4.octets()].concat(),
            Ok(std::net::IpAddr::V6(v6)) => [&[4][..], &v6.octets()].concat(),
            Err(_) => [vec![3], field(host)].concat(),
        };
        let port = port.parse::<u16>().unwrap().to_be_bytes();
        [vec![5, 1, 2], password, [&[5, 1, 0], &host[..], &port].concat()]
    }

    /// A SOCKS5 conversation over a connection that is open already.
    pub async fn socks(&self, mut wire: Wire, target: &str, early: Early<'_>) -> Result<Side, Refused> {
        let [greeting, password, request] = self.socks_messages(target);
        if early.together.is_empty() {
            send(&mut wire, &greeting).await?;
            assert_eq!(answer::<2>(&mut wire).await?, [5, 2]);
            send(&mut wire, &password).await?;
            assert_eq!(answer::<2>(&mut wire).await?, [1, 0]);
            send(&mut wire, &request).await?;
        } else {
            send(&mut wire, &[&greeting, &password, &request, early.together].concat()).await?;
            assert_eq!(answer::<4>(&mut wire).await?, [5, 2, 1, 0]);
        }
        send(&mut wire, early.behind).await?;
        let [version, reply, _, kind] = answer::<4>(&mut wire).await?;
        assert_eq!(version, 5);
        match kind {
            1 => drop(answer::<6>(&mut wire).await?),
            4 => drop(answer::<18>(&mut wire).await?),
            other => panic!("a bound address of type {other}"),
        }
        if reply == 0 { Ok(Side::over(wire, vec![])) } else { Err(Refused::Socks(reply)) }
    }
}

async fn send(wire: &mut Wire, bytes: &[u8]) -> Result<(), Refused> {
    if bytes.is_empty() {
        return Ok(());
    }
    let sent = async {
        wire.stream.write_all(bytes).await?;
        wire.stream.flush().await
    };
    sent.await.map_err(|_: io::Error| Refused::Closed)
}

async fn answer<const N: usize>(wire: &mut Wire) -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    wire.stream.read_exact(&mut bytes).await.map_err(|_| Refused::Closed)?;
    Ok(bytes)
}

/// Status, head and what came behind it. `None`: it ended before.
pub async fn response(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u16, String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            let head = String::from_utf8(bytes).unwrap();
            let status = head.split(' ').nth(1)?.parse().ok()?;
            return Some((status, head, rest));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The failure's code in a refusal's body line: `moorgate: code: …`.
pub fn code_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.split(": ").nth(1).unwrap_or_default().to_owned()
}

/// An h2 connection to the HTTPS proxy.
pub struct H2 {
    pub requests: SendRequest<Bytes>,
    socket: Socket,
    task: AbortHandle,
    authorization: String,
}

impl H2 {
    /// Whether the gateway has closed it.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().unwrap()
    }

    /// A request with the credential. CONNECT takes `host:port`, others take a URL.
    pub fn request(&self, method: Method, uri: &str) -> http::request::Builder {
        Request::builder().method(method).uri(uri).header("proxy-authorization", &self.authorization)
    }

    /// Opens one more tunnel on this connection.
    pub async fn open(&self, target: &str, early: Early<'_>) -> Result<Side, Refused> {
        let request = self.request(Method::CONNECT, target).body(()).unwrap();
        let mut requests = self.requests.clone().ready().await.map_err(|_| Refused::Closed)?;
        let (response, mut send) = requests.send_request(request, false).map_err(|_| Refused::Closed)?;
        write_h2(&mut send, early.together).await.map_err(|_| Refused::Closed)?;
        write_h2(&mut send, early.behind).await.map_err(|_| Refused::Closed)?;
        let receive = said(response.await).await?;
        let socket = self.socket.try_clone().unwrap();
        let reader = Reader::H2 { receive, rest: Bytes::new() };
        Ok(Side { reader, writer: Writer::H2(send), socket, h2: Some(self.task.clone()) })
    }
}

/// What an h2 response says: its body if it is 200, else the refusal.
pub async fn said(response: Result<Response<RecvStream>, h2::Error>) -> Result<RecvStream, Refused> {
    let response = response.map_err(|_| Refused::Closed)?;
    let status = response.status().as_u16();
    let mut receive = response.into_body();
    if status == 200 {
        return Ok(receive);
    }
    let mut body = Vec::new();
    while let Some(Ok(data)) = receive.data().await {
        body.extend_from_slice(&data);
    }
    Err(Refused::Http(status, code_of(&body)))
}
