//! Plain conversations, byte by byte: with the listeners that speak no TLS, and with the API.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::{gateway::Gateway, target::find};

/// Username and password.
pub type Credential = (String, String);

/// One connection and what was read of it.
pub struct Talk {
    pub tcp: TcpStream,
    buffer: Vec<u8>,
}

/// How a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
    /// How the connection ended before the body was whole, if it did.
    pub broke: Option<End>,
}

impl Reply {
    /// A field's value, whatever the case of its name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Talk {
    pub fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub fn over(tcp: TcpStream) -> Self {
        // Only there to end a broken test.
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self { tcp, buffer: Vec::new() }
    }

    /// Opens a tunnel with CONNECT; the refusal if there is one.
    pub fn tunnel(proxy: SocketAddr, credential: &Credential, target: &str) -> Result<Self, Reply> {
        let mut talk = Self::to(proxy);
        talk.send(connect(credential, target));
        let reply = talk.reply_without_body();
        if reply.status == 200 { Ok(talk) } else { Err(talk.with_body(reply)) }
    }

    pub fn local(&self) -> SocketAddr {
        self.tcp.local_addr().unwrap()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The gateway may have refused and closed already: what it said is what a test checks.
        let _ = self.tcp.write_all(bytes.as_ref());
    }

    fn more(&mut self) -> Result<(), End> {
        let mut piece = [0; 16 * 1024];
        match self.tcp.read(&mut piece) {
            Ok(0) => Err(End::Fin),
            Ok(read) => {
                self.buffer.extend_from_slice(&piece[..read]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for 20 s; so far: {:?}", String::from_utf8_lossy(&self.buffer))
            }
            Err(_) => Err(End::Reset),
        }
    }

    /// Exactly so many bytes, or how it ended before.
    pub fn take(&mut self, bytes: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < bytes {
            self.more()?;
        }
        Ok(self.buffer.drain(..bytes).collect())
    }

    /// Everything up to the end, and which end.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.more() {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    fn head(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
            }
            if let Err(end) = self.more() {
                panic!("{end:?} before a whole head: {:?}", String::from_utf8_lossy(&self.buffer));
            }
        }
    }

    /// A response with whatever body its head announces.
    pub fn reply(&mut self) -> Reply {
        let reply = self.reply_without_body();
        if matches!(reply.status, 204 | 304) { reply } else { self.with_body(reply) }
    }

    fn with_body(&mut self, mut reply: Reply) -> Reply {
        let body = if let Some(length) = reply.field("content-length") {
            let length = length.parse().unwrap();
            self.take(length).map_err(|end| (std::mem::take(&mut self.buffer), end))
        } else if reply.field("transfer-encoding").is_some() {
            self.chunks()
        } else {
            match self.rest() {
                (bytes, End::Fin) => Ok(bytes),
                broken => Err(broken),
            }
        };
        let (bytes, broke) = match body {
            Ok(bytes) => (bytes, None),
            Err((bytes, end)) => (bytes, Some(end)),
        };
        reply.body = String::from_utf8_lossy(&bytes).into_owned();
        reply.broke = broke;
        reply
    }

    /// The response to a HEAD or a successful CONNECT.
    pub fn reply_without_body(&mut self) -> Reply {
        let head = self.head();
        let status = head.split(' ').nth(1).unwrap().trim().parse().unwrap();
        Reply { status, head, body: String::new(), broke: None }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, (Vec<u8>, End)> {
        let mut body = Vec::new();
        loop {
            while find(&self.buffer, b"\r\n").is_none() {
                if let Err(end) = self.more() {
                    return Err((body, end));
                }
            }
            let line = find(&self.buffer, b"\r\n").unwrap();
            let line = String::from_utf8(self.take(line + 2).unwrap()).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            match self.take(size + 2) {
                Ok(data) => body.extend_from_slice(&data[..size]),
                Err(end) => {
                    body.append(&mut self.buffer);
                    return Err((body, end));
                }
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

/// The field that names a credential, with its line end.
pub fn authorization((user, password): &Credential) -> String {
    format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

pub fn connect(credential: &Credential, target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", authorization(credential))
}

/// A GET in absolute form; `fields` are whole lines.
pub fn get(credential: &Credential, target: &str, path: &str, fields: &str) -> String {
    format!("GET http://{target}{path} HTTP/1.1\r\nHost: {target}\r\n{}{fields}\r\n", authorization(credential))
}

/// What a SOCKS5 listener said in the end.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// 0xFF: no acceptable method.
    NoMethod,
    /// The failure status of RFC 1929.
    AuthFailed,
    /// The reply to the request.
    Reply(u8),
    /// It closed without a word.
    Closed,
}

pub const CONNECT: u8 = 1;

/// The address field of a SOCKS5 request, with its type.
pub fn socks_host(host: &str) -> Vec<u8> {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => [&[1], &address.octets()[..]].concat(),
        Ok(IpAddr::V6(address)) => [&[4], &address.octets()[..]].concat(),
        Err(_) => socks_name(host.as_bytes()),
    }
}

/// As a domain name, whatever it looks like.
pub fn socks_name(host: &[u8]) -> Vec<u8> {
    [&[3, u8::try_from(host.len()).unwrap()], host].concat()
}

/// One SOCKS5 conversation up to its reply. The connection is a tunnel when that is `Reply(0)`.
pub fn socks(proxy: SocketAddr, credential: &Credential, command: u8, host: &[u8], port: u16) -> (Talk, Said) {
    let mut talk = Talk::to(proxy);
    let said = socks_over(&mut talk, credential, command, host, port);
    (talk, said.unwrap_or(Said::Closed))
}

fn socks_over(
    talk: &mut Talk,
    (user, password): &Credential,
    command: u8,
    host: &[u8],
    port: u16,
) -> Result<Said, End> {
    talk.send([5, 1, 2]);
    if talk.take(2)? == [5, 0xff] {
        return Ok(Said::NoMethod);
    }
    let sized = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    talk.send([&[1], &*sized(user), &*sized(password)].concat());
    if talk.take(2)?[1] != 0 {
        return Ok(Said::AuthFailed);
    }
    talk.send([&[5, command, 0], host, &port.to_be_bytes()[..]].concat());
    let reply = talk.take(4)?;
    let rest = if reply[3] == 4 { 18 } else { 6 };
    talk.take(rest)?;
    Ok(Said::Reply(reply[1]))
}

/// A SOCKS5 tunnel to `host:port`; what was said instead, if there is none.
pub fn socks_tunnel(proxy: SocketAddr, credential: &Credential, target: &str) -> Result<Talk, Said> {
    let (host, port) = target.rsplit_once(':').unwrap();
    match socks(proxy, credential, CONNECT, &socks_host(host), port.parse().unwrap()) {
        (talk, Said::Reply(0)) => Ok(talk),
        (_, said) => Err(said),
    }
}

/// One request to the API with the operator's token: status and body.
pub fn api(gateway: &Gateway, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
    api_as(gateway, &gateway.operator_token(), method, path, body)
}

/// As [`api`], with a token of one's own.
pub fn api_as(gateway: &Gateway, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
    let address: SocketAddr = gateway.api().trim_start_matches("http://").split('/').next().unwrap().parse().unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut talk = Talk::to(address);
    talk.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let reply = talk.reply();
    (reply.status, reply.body)
}

/// A metric's value: `metric(&gateway, "moorgate_flows_total", &["outcome=\"ok\""])`; 0 when it is not there.
pub fn metric(gateway: &Gateway, name: &str, labels: &[&str]) -> u64 {
    let (_, text) = api(gateway, "GET", "/metrics", None);
    let fits = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
    text.lines().filter(fits).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
