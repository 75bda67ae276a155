//! What these tests share: TLS clients and origins of their own, and a gateway with a route.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use moorgate_keys::LocalCa;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use crate::{doors::Wire, gateway::Gateway, site::tls};

/// A TLS client's connection.
pub type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A TLS client that trusts one CA and verifies as any client does.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    pub fn trusting(pem: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        CertificateDer::pem_slice_iter(pem).for_each(|certificate| roots.add(certificate.unwrap()).unwrap());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Self { config: Arc::new(config.with_root_certificates(roots).with_no_client_auth()) }
    }

    /// One that trusts the gateway's local CA.
    pub fn of(gateway: &Gateway) -> Self {
        Self::trusting(&fs::read(gateway.ca()).unwrap())
    }

    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::make_mut(&mut self.config).alpn_protocols = protocols;
        self
    }

    /// Connects to `address` and asks for `name`; the handshake must succeed.
    pub fn connect(&self, address: SocketAddr, name: &str) -> Secure {
        self.over(tcp(address), name)
    }

    /// Does the handshake over a connection of the test's own.
    pub fn over(&self, stream: TcpStream, name: &str) -> Secure {
        let mut stream = StreamOwned::new(self.begin(name), stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream
    }

    /// As [`Client::connect`], for a test that speaks byte by byte without blocking.
    pub async fn wire(&self, address: SocketAddr, name: &str) -> Wire {
        let Wire { stream, socket } = Wire::bare(tokio::net::TcpStream::connect(address).await.unwrap());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = TlsConnector::from(self.config.clone()).connect(name, stream).await.unwrap();
        Wire { stream: Box::new(tls), socket }
    }

    fn begin(&self, name: &str) -> ClientConnection {
        ClientConnection::new(self.config.clone(), ServerName::try_from(name.to_owned()).unwrap()).unwrap()
    }

    /// The bytes of a ClientHello that asks for `name`.
    pub fn hello(&self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.begin(name).write_tls(&mut bytes).unwrap();
        bytes
    }
}

/// A connection that ends a broken test.
pub fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The server's certificate, as the client saw it.
pub fn certificate(stream: &Secure) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// A TLS server with a key of its own, behind a route.
pub struct TlsOrigin {
    pub address: SocketAddr,
    pub ca: LocalCa,
    pub certificate: Vec<u8>,
    accepted: Arc<Mutex<usize>>,
}

impl TlsOrigin {
    /// Serves each connection by `serve`, inside TLS for `names`.
    pub fn start(
        names: &[&str],
        serve: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
    ) -> Self {
        let ca = LocalCa::create("the origin's own CA").unwrap();
        let config = tls(&ca, names);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted: Arc<Mutex<usize>> = Arc::default();
        let (counted, serve, served) = (accepted.clone(), Arc::new(serve), config.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                *counted.lock().unwrap() += 1;
                let connection = ServerConnection::new(served.clone()).unwrap();
                let serve = serve.clone();
                thread::spawn(move || serve(StreamOwned::new(connection, stream)));
            }
        });
        let certificate = Client::trusting(ca.cert_pem().as_bytes()).connect(address, &names[0].replace("*.", "any."));
        *accepted.lock().unwrap() = 0;
        let certificate = self::certificate(&certificate);
        Self { address, ca, certificate, accepted }
    }

    /// Sends back what it gets.
    pub fn echo(names: &[&str]) -> Self {
        Self::start(names, |mut stream| {
            let mut piece = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = stream.read(&mut piece) {
                if stream.write_all(&piece[..read]).and_then(|()| stream.flush()).is_err() {
                    break;
                }
            }
            stream.conn.send_close_notify();
            let _ = stream.flush();
        })
    }

    pub fn client(&self) -> Client {
        Client::trusting(self.ca.cert_pem().as_bytes())
    }

    /// How often somebody has connected.
    pub fn accepted(&self) -> usize {
        *self.accepted.lock().unwrap()
    }
}

/// A certificate of a CA of its own, as files that `moorgate cert add` takes.
pub struct Uploaded {
    pub ca: LocalCa,
    directory: TempDir,
}

impl Uploaded {
    pub fn for_names(names: &[&str]) -> Self {
        let ca = LocalCa::create("a public CA").unwrap();
        let directory = TempDir::new().unwrap();
        let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        let issued = ca.issue(&names).unwrap();
        let pem = |label: &str, der: &[u8]| {
            use base64::Engine as _;
            let text = base64::prelude::BASE64_STANDARD.encode(der);
            let lines: String =
                text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
            format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
        };
        let chain: String = issued.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect();
        fs::write(directory.path().join("chain.pem"), chain).unwrap();
        fs::write(directory.path().join("key.pem"), pem("PRIVATE KEY", issued.key.secret_der())).unwrap();
        Self { ca, directory }
    }

    pub fn add_to(&self, gateway: &Gateway, domain: &str) -> String {
        gateway.cli(&["cert", "add", domain, "--chain", path(&self.chain()), "--key", path(&self.key())])
    }

    pub fn chain(&self) -> std::path::PathBuf {
        self.directory.path().join("chain.pem")
    }

    pub fn key(&self) -> std::path::PathBuf {
        self.directory.path().join("key.pem")
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Adds a route.
pub fn route(gateway: &Gateway, domain: &str, mode: &str, urls: &[&str], flags: &[&str]) {
    gateway.cli(&[&["route", "add", domain], urls, &["--mode", mode], flags].concat());
}

/// Everything up to the end.
pub fn rest(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    // How it ends is not what is asked here.
    let _ = stream.read_to_end(&mut all);
    all
}

/// An answer over whatever stream.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a request and reads its answer.
pub fn ask(stream: &mut (impl Read + Write), request: impl AsRef<[u8]>) -> Answer {
    stream.write_all(request.as_ref()).unwrap();
    stream.flush().unwrap();
    answer(stream)
}

/// Reads an answer.
pub fn answer(stream: &mut impl Read) -> Answer {
    let head = head(stream);
    let status = head.split(' ').nth(1).expect("an answer").parse().unwrap();
    let mut answer = Answer { status, head, body: String::new(), whole: true };
    if status == 101 || status == 204 || status == 304 {
        return answer;
    }
    let mut body = Vec::new();
    if let Some(length) = answer.field("content-length") {
        let length: usize = length.parse().unwrap();
        body.resize(length, 0);
        answer.whole = stream.read_exact(&mut body).is_ok();
    } else if answer.field("transfer-encoding").is_some() {
        answer.whole = chunks(stream, &mut body);
    } else {
        answer.whole = stream.read_to_end(&mut body).is_ok();
    }
    answer.body = String::from_utf8_lossy(&body).into_owned();
    answer
}

/// A head, up to its empty line.
pub fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            end => panic!("{end:?} before a whole head: {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).unwrap()
}

/// One chunk's data; `None` for the last, with its trailers read.
pub fn chunk(stream: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    while !line.ends_with("\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(char::from(byte[0]));
    }
    let size = usize::from_str_radix(line.trim(), 16).unwrap();
    let mut data = vec![0; size + 2];
    if size == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut data)?;
    data.truncate(size);
    Ok(Some(data))
}

fn chunks(stream: &mut impl Read, body: &mut Vec<u8>) -> bool {
    loop {
        match chunk(stream) {
            Ok(Some(data)) => body.extend_from_slice(&data),
            Ok(None) => {
                let mut end = [0; 2];
                return stream.read_exact(&mut end).is_ok();
            }
            Err(_) => return false,
        }
    }
}

/// A GET; `fields` are whole lines.
pub fn get(host: &str, path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}
