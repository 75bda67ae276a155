//! h2 toward a terminate route, frame by frame, and what comes of it.

use super::support::{Client, Secure, ask, get, route};
use crate::{
    doors::frames::{
        DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, NO_ERROR, RST_STREAM, block, frame,
    },
    gateway::{Gateway, Setup},
    target::{Conn, Target, ok},
};

pub const NAME: &str = "app.test";
/// What the origin never answers.
pub const HELD: &str = "/held";
/// What the origin answers with [`BIG`] bytes.
pub const BIG_PATH: &str = "/big";
pub const BIG: usize = 8 << 20;
const BYSTANDER: &str = "/bystander";

/// A terminate route, its origin, and a client that does no harm and must notice nothing.
pub struct Scene {
    pub gateway: Gateway,
    pub origin: Target,
    bystander: Secure,
}

impl Scene {
    pub fn start() -> Self {
        Self::with(Setup::default(), &[])
    }

    pub fn with(setup: Setup, flags: &[&str]) -> Self {
        let origin = Target::new("127.0.0.1:0", serve);
        let gateway = setup.start();
        route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], flags);
        let bystander = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
        let mut scene = Self { gateway, origin, bystander };
        scene.others_go_on();
        scene
    }

    /// An h2 connection of whoever is up to something.
    pub async fn open(&self) -> Frames {
        self.open_with(&[]).await
    }

    pub async fn open_with(&self, settings: &[(u16, u32)]) -> Frames {
        let client = Client::of(&self.gateway).alpn(&["h2"]);
        Frames::over(client.wire(self.gateway.address("inbound_tls"), NAME).await, settings).await
    }

    /// A connection that is open already, and a new one, are served.
    pub fn others_go_on(&mut self) {
        assert_eq!(ask(&mut self.bystander, get(NAME, BYSTANDER, "")).status, 200, "the connection that was open");
        self.newcomers_are_served();
    }

    pub fn newcomers_are_served(&self) {
        let mut new = Client::of(&self.gateway).connect(self.gateway.address("inbound_tls"), NAME);
        assert_eq!(ask(&mut new, get(NAME, BYSTANDER, "")).status, 200, "a new connection");
        assert!(!self.gateway.stderr().contains("panicked"), "{}", self.gateway.stderr());
    }

    /// The whole requests that reached the origin, without the bystanders'.
    pub fn reached(&self) -> Vec<String> {
        let harmless = format!("GET {BYSTANDER} ");
        self.origin.seen().requests.into_iter().filter(|request| !request.starts_with(&harmless)).collect()
    }

    /// What the gateway holds in memory, in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

fn serve(mut conn: Conn) {
    while let Some(request) = conn.request() {
        match request.split(' ').nth(1).unwrap() {
            // Until it is left.
            HELD => drop(conn.head()),
            BIG_PATH => conn.send(ok(&"b".repeat(BIG))),
            "/half" => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
            "/fields" => conn.send("HTTP/1.1 200 OK\r\n".to_owned() + &"X-A: b\r\n".repeat(101) + "\r\n"),
            "/field" => conn.send(format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "b".repeat(410 * 1024))),
            "/endless" => conn.endless(),
            _ => conn.send(ok("hi")),
        }
    }
}

/// The fields of a request: those that every request has, then `more`.
pub fn asks<'a>(method: &'a str, path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a [u8], &'a [u8])> {
    let own = [(":method", method), (":scheme", "https"), (":path", path), (":authority", NAME)];
    own.iter().chain(more).map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

/// A request without a body.
pub fn request(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(asks("GET", path, &[])))
}

/// A request whose body is still to come.
pub fn post(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(asks("POST", path, more)))
}

/// What came of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    Answer {
        status: u16,
        body: String,
    },
    Reset(u32),
    /// The whole connection was given up, with this code.
    Goaway(u32),
    /// It ended without a word.
    Closed,
}

impl Came {
    pub fn status(&self) -> Option<u16> {
        if let Self::Answer { status, .. } = self { Some(*status) } else { None }
    }
}

/// Waits for the end of a stream. Only the first answer of a connection can be read: later ones refer to it.
pub async fn came(frames: &mut Frames, stream: u32) -> Came {
    let (mut status, mut body) = (0, Vec::new());
    loop {
        let Some(frame) = frames.next().await else { return Came::Closed };
        match frame.kind {
            GOAWAY if frame.code() != NO_ERROR => return Came::Goaway(frame.code()),
            RST_STREAM if frame.stream == stream => return Came::Reset(frame.code()),
            HEADERS if frame.stream == stream => status = status_of(&frame),
            DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
            _ => continue,
        }
        if frame.stream == stream && frame.flags & END_STREAM != 0 {
            return Came::Answer { status, body: String::from_utf8_lossy(&body).into_owned() };
        }
    }
}

/// `:status`, which comes first: by its index in the table of RFC 7541 (appendix A), or as three digits in Huffman's code.
fn status_of(frame: &Frame) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match &*frame.payload {
        [indexed @ 0x88..=0x8e, ..] => KNOWN[usize::from(indexed - 0x88)],
        [0x48, length, text @ ..] => digits(&text[..usize::from(length & 0x7f)]),
        other => panic!("no status that a first answer begins with: {other:?}"),
    }
}

/// Appendix B: 0 to 2 are five bits long, the other digits six.
fn digits(text: &[u8]) -> u16 {
    let bits: Vec<u16> = text.iter().flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1))).collect();
    let number = |bits: &[u16]| bits.iter().fold(0, |all, bit| all * 2 + bit);
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let short = number(&bits[at..at + 5]);
        let digit = if short <= 2 { short } else { number(&bits[at..at + 6]) - 0b01_1001 + 3 };
        at += if short <= 2 { 5 } else { 6 };
        status = status * 10 + digit;
    }
    status
}
