//! A web site of a test's own, over HTTP and HTTPS: it answers real clients and remembers what reached it.
//!
//! `GET /hello` greets, `GET /bytes/N` sends so many bytes, `POST /upload` answers with the SHA-256 of what came, and
//! below `/git/` are repositories to clone from and push to.

use std::{
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use moorgate_keys::LocalCa;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{gateway::Gateway, tools::clean};

/// What `/hello` says.
pub const HELLO: &str = "hello from the destination\n";
const PIECE: usize = 64 * 1024;

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Whether it came over TLS.
    pub tls: bool,
    /// Request line and fields, as they came.
    pub head: String,
    /// Bytes of its body.
    pub body: u64,
}

impl Arrived {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Method and path.
    pub fn asked(&self) -> (&str, &str) {
        let mut words = self.head.split(' ');
        (words.next().unwrap(), words.next().unwrap())
    }
}

/// A running site. Its name is `localhost`.
pub struct Site {
    http: SocketAddr,
    https: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    directory: TempDir,
    arrived: Mutex<Vec<Arrived>>,
}

impl Site {
    pub fn start() -> Self {
        let ca = LocalCa::create("a test's own CA").unwrap();
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("ca.pem"), ca.cert_pem()).unwrap();
        let shared = Arc::new(Shared { directory, arrived: Mutex::default() });
        let tls = tls(&ca, &["localhost", "127.0.0.1"]);
        let http = serve(&shared, |stream, shared| {
            let mut stream = stream;
            let _ = converse(&mut stream, false, shared);
            leave(&mut stream);
        });
        let https = serve(&shared, move |stream, shared| {
            let mut stream = StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), stream);
            let _ = converse(&mut stream, true, shared);
            stream.conn.send_close_notify();
            let _ = stream.flush();
            leave(&mut stream.sock);
        });
        Self { http, https, shared }
    }

    /// `http://localhost:PORT`.
    pub fn http(&self) -> String {
        format!("http://{}", self.plain())
    }

    /// `https://localhost:PORT`.
    pub fn https(&self) -> String {
        format!("https://{}", self.secure())
    }

    /// Host and port of the plain one, as a flow has it.
    pub fn plain(&self) -> String {
        format!("localhost:{}", self.http.port())
    }

    /// Host and port of the encrypted one, as a flow has it.
    pub fn secure(&self) -> String {
        format!("localhost:{}", self.https.port())
    }

    /// Who signed its certificate, in PEM.
    pub fn ca(&self) -> PathBuf {
        self.shared.directory.path().join("ca.pem")
    }

    /// One file with its CA and the gateway's, for clients that can be given only one.
    pub fn ca_with(&self, gateway: &Gateway) -> PathBuf {
        let both = fs::read_to_string(self.ca()).unwrap() + &fs::read_to_string(gateway.ca()).unwrap();
        let path = self.shared.directory.path().join("both.pem");
        fs::write(&path, both).unwrap();
        path
    }

    /// A directory for the test's own files. What is in its `git` is served.
    pub fn directory(&self) -> &Path {
        self.shared.directory.path()
    }

    /// What has arrived since the last call.
    pub fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.shared.arrived.lock().unwrap())
    }
}

/// A server's settings for TLS, with a certificate from `ca`.
pub fn tls(ca: &LocalCa, names: &[&str]) -> Arc<ServerConfig> {
    let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    let chain = ca.issue(&names).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain.chain.clone(), chain.key.clone_key()).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Lower-case hex.
pub fn digest(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `/bytes/N` sends, and what a test may send up: bytes that repeat only after 251.
pub fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn serve(shared: &Arc<Shared>, converse: impl Fn(TcpStream, &Shared) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (shared, converse) = (shared.clone(), Arc::new(converse));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_nodelay(true).unwrap();
            let (shared, converse) = (shared.clone(), converse.clone());
            thread::spawn(move || converse(stream, &shared));
        }
    });
    address
}

/// Closes in order: what the client still has to say is no reason to reset the connection.
fn leave(stream: &mut TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = io::copy(stream, &mut io::sink());
}

/// Request after request, until the client has no more.
fn converse(stream: impl Read + Write, tls: bool, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(PIECE, stream);
    while let Some(head) = head(&mut stream)? {
        let mut arrived = Arrived { tls, head, body: 0 };
        if arrived.field("expect").is_some_and(|expect| expect.eq_ignore_ascii_case("100-continue")) {
            stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            stream.get_mut().flush()?;
        }
        let (method, path) = arrived.asked();
        let (method, path) = (method.to_owned(), path.to_owned());
        let is_git = path.starts_with("/git/");
        let (mut kept, mut hash, mut bytes) = (Vec::new(), Sha256::new(), 0);
        body(&mut stream, &arrived, |piece| {
            bytes += piece.len() as u64;
            if is_git { kept.extend_from_slice(piece) } else { hash.update(piece) }
        })?;
        arrived.body = bytes;
        shared.arrived.lock().unwrap().push(arrived.clone());
        let answer = match &*path {
            "/hello" => ok(HELLO.as_bytes()),
            "/upload" => ok(hex(hash.finalize().as_slice()).as_bytes()),
            _ if is_git => git(shared.directory.path(), &arrived, &kept),
            path => match path.strip_prefix("/bytes/").and_then(|count| count.parse().ok()) {
                Some(count) => ok(&noise(count)),
                None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            },
        };
        let length = if method == "HEAD" { head_length(&answer) } else { answer.len() };
        stream.get_mut().write_all(&answer[..length])?;
        stream.get_mut().flush()?;
        if arrived.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            break;
        }
    }
    Ok(())
}

fn head_length(answer: &[u8]) -> usize {
    answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4
}

fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn head(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

fn body(stream: &mut impl BufRead, arrived: &Arrived, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    if arrived.field("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(|_| ErrorKind::InvalidData)?;
            copy(stream, size, &mut take)?;
            copy(stream, 2, &mut |_: &[u8]| {})?;
            if size == 0 {
                return Ok(());
            }
        }
    }
    let length = arrived.field("content-length").map_or(0, |length| length.parse().unwrap());
    copy(stream, length, &mut take)
}

fn copy(stream: &mut impl BufRead, mut left: usize, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
    while left > 0 {
        let piece = stream.fill_buf()?;
        let read = piece.len().min(left);
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        take(&piece[..read]);
        stream.consume(read);
        left -= read;
    }
    Ok(())
}

/// Answers by `git http-backend` (RFC 3875). The client's own authority is not asked: everybody may push.
fn git(root: &Path, arrived: &Arrived, body: &[u8]) -> Vec<u8> {
    let (method, target) = arrived.asked();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let field = |name| arrived.field(name).unwrap_or_default();
    let mut backend = clean("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "test")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("CONTENT_TYPE", field("content-type"))
        .env("HTTP_CONTENT_ENCODING", field("content-encoding"))
        .env("GIT_PROTOCOL", field("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = backend.stdin.take().unwrap();
    let body = body.to_vec();
    let sending = thread::spawn(move || stdin.write_all(&body));
    let output = backend.wait_with_output().unwrap().stdout;
    // It may have read as much as it wanted.
    let _ = sending.join().unwrap();
    let at = head_length(&output);
    let fields = String::from_utf8_lossy(&output[..at]);
    let status = fields.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let fields: String = fields
        .trim_end()
        .lines()
        .filter(|line| !line.starts_with("Status:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let length = output.len() - at;
    [format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n").as_bytes(), &output[at..]].concat()
}
