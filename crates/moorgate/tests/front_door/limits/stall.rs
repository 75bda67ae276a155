//! Clients and targets that stop halfway, in every phase.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::ResponseFuture;
use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{assert_at, start};
use crate::{
    doors::{Destination, Door, Doors, Early, End, Refused, STUCK, flow, flow_to, said, write_h2},
    gateway::Gateway,
};

/// Of a head, a handshake, a connect, and between requests.
const HEAD: Duration = Duration::from_secs(2);
const BODY: Duration = Duration::from_secs(2);
/// Far from [`BODY`], so that one is not taken for the other.
const RESPONSE: Duration = Duration::from_secs(4);
const BYSTANDERS: usize = 100;

/// A target that takes connections and everything that comes, says `word` to each, and then nothing more.
async fn says(word: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buf = [0; 4096];
                let mut has_said = false;
                while stream.read(&mut buf).await.is_ok_and(|read| read > 0) {
                    if !std::mem::replace(&mut has_said, true) {
                        let _ = stream.write_all(word.as_bytes()).await;
                    }
                }
            });
        }
    });
    address
}

/// A target whose queue is full: connecting to it gets no answer. Stays so while the sockets live.
pub async fn never_answers() -> (SocketAddr, Vec<TcpStream>, socket2::Socket) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (address, waiting, listener)
}

/// Tunnels that are in use all the time.
struct Bystanders {
    tasks: JoinSet<usize>,
    enough: Arc<AtomicBool>,
}

impl Bystanders {
    async fn start(doors: &Doors) -> Self {
        let echo = Destination::bind().await.echo();
        let (mut tasks, enough) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for door in Door::ALL.into_iter().cycle().take(BYSTANDERS) {
            let mut side = doors.open(door, echo).await.unwrap();
            let enough = enough.clone();
            tasks.spawn(async move {
                let mut rounds = 0;
                while !enough.load(Relaxed) {
                    side.writer.write_all(b"still there?").await.expect("a bystander's tunnel stays open");
                    let back = side.reader.exactly(12).await.expect("a bystander gets its answer");
                    assert_eq!(back, b"still there?");
                    rounds += 1;
                    sleep(Duration::from_millis(100)).await;
                }
                assert_eq!(side.close().await, b"");
                rounds
            });
        }
        Self { tasks, enough }
    }

    /// Every one of them must have come through well.
    async fn finish(mut self) {
        self.enough.store(true, Relaxed);
        while let Some(rounds) = self.tasks.join_next().await {
            assert!(rounds.unwrap() > 10, "a bystander was held up");
        }
    }
}

/// A client that stops halfway on some way in.
pub struct Stall<W> {
    pub way: W,
    pub name: &'static str,
    pub sends: Vec<u8>,
    /// A byte at a time, for as long as it takes, instead of all at once and then nothing.
    pub drips: bool,
    /// What it gets begins with this; `""`: nothing at all.
    pub gets: &'static str,
    /// When it is dropped, counted from its last byte (or, where it drips, from the first).
    pub limit: Duration,
    pub outcome: &'static str,
}

impl<W> Stall<W> {
    pub fn dripping(self) -> Self {
        Self { drips: true, ..self }
    }

    pub fn gets(self, gets: &'static str) -> Self {
        Self { gets, ..self }
    }

    pub fn ends(self, limit: Duration, outcome: &'static str) -> Self {
        Self { limit, outcome, ..self }
    }

    /// An answer says why, to people and to programs. Whether there was a refusal.
    pub fn assert_got(&self, case: &str, got: &[u8]) -> bool {
        let text = String::from_utf8_lossy(got);
        assert!(text.starts_with(self.gets) && (!self.gets.is_empty() || got.is_empty()), "{case}: got {text:?}");
        let refused = self.gets.starts_with("HTTP/1.1 4") || self.gets.starts_with("HTTP/1.1 5");
        if refused {
            assert!(text.to_lowercase().contains("proxy-status: "), "{case}: {text}");
            assert!(text.contains(&format!("moorgate: {}: ", self.outcome)), "{case}: {text}");
        }
        refused
    }
}

/// By which door, and whether TLS is opened first, where the door has it.
#[derive(Clone, Copy)]
struct Way {
    door: Door,
    tls: bool,
}

impl Stall<Way> {
    fn new(name: &'static str, door: Door, sends: impl Into<Vec<u8>>) -> Self {
        let gets = if door.is_socks() { "" } else { "HTTP/1.1 408 " };
        let (way, sends) = (Way { door, tls: true }, sends.into());
        Self { way, name, sends, drips: false, gets, limit: HEAD, outcome: "head_too_slow" }
    }

    /// Nothing of TLS comes back either.
    fn before_tls(self) -> Self {
        Self { way: Way { tls: false, ..self.way }, gets: "", ..self }
    }

    async fn check(self, gateway: &Gateway, doors: &Doors) {
        let Way { door, tls } = self.way;
        let case = format!("{door:?}: {}", self.name);
        let mut began = Instant::now();
        let wire = if tls { doors.wire(door).await } else { doors.tcp(door).await }.unwrap();
        let client = wire.local().to_string();
        let (mut reader, mut writer) = tokio::io::split(wire.stream);
        if !self.drips {
            writer.write_all(&self.sends).await.unwrap();
            writer.flush().await.unwrap();
            began = Instant::now();
        }
        let drops = if self.drips { self.sends.clone() } else { Vec::new() };
        let drip = tokio::spawn(async move {
            for byte in drops {
                if writer.write_all(&[byte]).await.is_err() || writer.flush().await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
            writer
        });
        let mut got = Vec::new();
        let end = loop {
            match timeout(STUCK, reader.read_buf(&mut got)).await.unwrap_or_else(|_| panic!("{case}: not dropped")) {
                Ok(0) => break End::Fin,
                Ok(_) => {}
                Err(error) => break End::from(error),
            }
        };
        assert_at(self.limit, began, &case);
        drop(drip);
        if self.assert_got(&case, &got) {
            assert_eq!(end, End::Fin, "{case}: the answer could be read");
        }
        if self.outcome == "body_too_slow" && self.gets.starts_with("HTTP/1.1 200") {
            assert_ne!(end, End::Fin, "{case}: half a response must not look whole");
        }
        flow(gateway, &format!("of {case} with {}", self.outcome), |flow| {
            flow["client"] == client && flow["outcome"] == self.outcome && flow["listener"] == door.listener()
        })
        .await;
    }
}

async fn stalls(doors: &Doors) -> Vec<Stall<Way>> {
    let silent = says("").await;
    let half = says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let whole = says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let authorization = doors.authorization();
    let request = |method: &str, target: SocketAddr, rest: &str| {
        format!(
            "{method} http://{target}/ HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {authorization}\r\n{rest}"
        )
    };
    let head = doors.connect_head("127.0.0.1:9");
    let [greeting, password, socks_request] = doors.socks_messages("127.0.0.1:9");
    let mut stalls = Vec::new();
    for door in [Door::Http, Door::HttpsH1] {
        stalls.extend([
            Stall::new("says nothing", door, ""),
            Stall::new("half a head", door, &head[..40]),
            Stall::new("a head byte by byte", door, &*head).dripping(),
            Stall::new("half of a body", door, request("POST", silent, "Content-Length: 10\r\n\r\nhello"))
                .ends(BODY, "body_too_slow"),
            Stall::new(
                "half of a chunked body",
                door,
                request("PUT", silent, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            )
            .ends(BODY, "body_too_slow"),
            Stall::new(
                "no chunk of a chunked body",
                door,
                request("PUT", silent, "Transfer-Encoding: chunked\r\n\r\n"),
            )
            .ends(BODY, "body_too_slow"),
            Stall::new("half of a chunk's size", door, request("PUT", silent, "Transfer-Encoding: chunked\r\n\r\n5"))
                .ends(BODY, "body_too_slow"),
            Stall::new("a target that does not answer", door, request("GET", silent, "Connection: close\r\n\r\n"))
                .gets("HTTP/1.1 504 ")
                .ends(RESPONSE, "response_timeout"),
            Stall::new(
                "a target that takes a body and does not answer",
                door,
                request("POST", silent, "Content-Length: 5\r\n\r\nhello"),
            )
            .gets("HTTP/1.1 504 ")
            .ends(RESPONSE, "response_timeout"),
            Stall::new("a target that stops within its response", door, request("GET", half, "\r\n"))
                .gets("HTTP/1.1 200 ")
                .ends(BODY, "body_too_slow"),
            Stall::new("nothing after an exchange", door, request("GET", whole, "\r\n"))
                .gets("HTTP/1.1 200 ")
                .ends(HEAD, "ok"),
            Stall::new("half a head after an exchange", door, request("GET", whole, "\r\n") + "GET http://")
                .gets("HTTP/1.1 200 ")
                .ends(HEAD, "head_too_slow"),
        ]);
    }
    for door in [Door::Socks, Door::SocksTls] {
        stalls.extend([
            Stall::new("says nothing", door, ""),
            Stall::new("half a greeting", door, &greeting[..2]),
            Stall::new("a greeting", door, &*greeting).gets("\u{5}\u{2}"),
            Stall::new("half a password", door, [&greeting, &password[..9]].concat()).gets("\u{5}\u{2}"),
            Stall::new("no request", door, [&*greeting, &password].concat()).gets("\u{5}\u{2}\u{1}\0"),
            Stall::new("half a request", door, [&*greeting, &password, &socks_request[..6]].concat())
                .gets("\u{5}\u{2}\u{1}\0"),
            Stall::new("a conversation byte by byte", door, [&*greeting, &password, &socks_request].concat())
                .dripping()
                .gets("\u{5}\u{2}"),
        ]);
    }
    for door in [Door::HttpsH1, Door::SocksTls] {
        stalls.extend([
            Stall::new("no ClientHello", door, "").before_tls(),
            Stall::new("the first byte of a ClientHello", door, [22]).before_tls(),
            Stall::new("the first record's head of a ClientHello", door, [22, 3, 1, 1, 0]).before_tls(),
            Stall::new(
                "a ClientHello byte by byte",
                door,
                [&[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3][..], &[7; 64]].concat(),
            )
            .before_tls()
            .dripping(),
        ]);
    }
    // Until the preface is whole, it may still become HTTP/1.
    stalls.push(Stall::new("half a preface of h2", Door::HttpsH2, "PRI * HTTP/2.0\r\n"));
    stalls
}

/// What ends an h2 exchange: its refusal, or what came of the response and how it broke off.
async fn h2_end(response: ResponseFuture) -> Result<(Vec<u8>, End), Refused> {
    let mut receive = timeout(STUCK, said(response.await)).await.expect("an answer")?;
    let mut got = Vec::new();
    loop {
        match timeout(STUCK, receive.data()).await.expect("an end") {
            Some(Ok(data)) => got.extend_from_slice(&data),
            Some(Err(error)) => return Ok((got, error.into())),
            None => return Ok((got, End::Fin)),
        }
    }
}

/// The stalls of an exchange over h2, each on a connection of its own.
async fn check_h2_exchanges(gateway: &Gateway, doors: &Doors) {
    let silent = says("").await;
    let half = says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let refused = |status, code: &str| Err(Refused::Http(status, code.to_owned()));
    // Target, bytes of a body of 10 (None: no body), and what comes of it.
    let cases = [
        (silent, None, RESPONSE, refused(504, "response_timeout"), "response_timeout"),
        (silent, Some(10), RESPONSE, refused(504, "response_timeout"), "response_timeout"),
        (silent, Some(5), BODY, refused(408, "body_too_slow"), "body_too_slow"),
        (half, None, BODY, Ok((b"hello".to_vec(), End::Reset)), "body_too_slow"),
    ];
    let mut checks = JoinSet::new();
    for (target, body, limit, expected, outcome) in cases {
        let h2 = doors.h2().await.unwrap();
        let client = h2.local().to_string();
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = h2.request(method, &format!("http://{target}/"));
        if body.is_some() {
            request = request.header("content-length", 10);
        }
        let mut requests = h2.requests.clone();
        checks.spawn(async move {
            let (response, mut send) = requests.send_request(request.body(()).unwrap(), body.is_none()).unwrap();
            if let Some(bytes) = body {
                write_h2(&mut send, &b"0123456789"[..bytes]).await.unwrap();
                if bytes == 10 {
                    send.send_data(Bytes::new(), true).unwrap();
                }
            }
            let began = Instant::now();
            let end = h2_end(response).await;
            let case = format!("h2, {body:?} bytes of a body, {outcome}");
            assert_at(limit, began, &case);
            assert_eq!(end, expected, "{case}");
            (client, outcome, h2)
        });
    }
    while let Some(checked) = checks.join_next().await {
        let (client, outcome, _h2) = checked.unwrap();
        flow(gateway, outcome, |flow| flow["client"] == client && flow["outcome"] == outcome).await;
    }
}

/// An h2 client that says nothing, not even to our pings.
async fn check_silent_h2(doors: &Doors) {
    // Preface and empty SETTINGS; then the same with half of a HEADERS frame.
    let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    let half = [&begin[..], &[0, 0, 20, 1, 4, 0, 0, 0, 1, 0x82]].concat();
    for sends in [begin, half] {
        let mut wire = doors.wire(Door::HttpsH2).await.unwrap();
        wire.stream.write_all(&sends).await.unwrap();
        let began = Instant::now();
        let mut got = Vec::new();
        // However it ends, it ends.
        let _ = timeout(STUCK, wire.stream.read_to_end(&mut got)).await.expect("a silent h2 client is dropped");
        assert_at(HEAD, began, "a silent h2 client");
    }
}

/// An h2 connection closes when its last tunnel has been over for the limit, and not before.
async fn check_idle_h2(doors: &Doors) {
    let echo = Destination::bind().await.echo();
    let h2 = doors.h2().await.unwrap();
    let mut side = h2.open(&echo.to_string(), Early::default()).await.unwrap();
    sleep(HEAD * 2).await;
    side.writer.write_all(b"quiet, but open").await.unwrap();
    assert_eq!(side.reader.exactly(15).await.unwrap(), b"quiet, but open");
    h2.open(&echo.to_string(), Early::default())
        .await
        .expect("a connection with an open tunnel takes more")
        .close()
        .await;
    side.close().await;
    let began = Instant::now();
    while !h2.is_over() {
        assert!(began.elapsed() < STUCK, "an idle h2 connection is not closed");
        sleep(Duration::from_millis(10)).await;
    }
    assert_at(HEAD, began, "an idle h2 connection");
}

async fn check_connect_timeout(gateway: &Gateway, doors: &Doors) {
    let (target, _waiting, _listener) = never_answers().await;
    for door in Door::ALL {
        let began = Instant::now();
        let refused = doors.open(door, target).await.err().expect("no tunnel");
        assert_at(HEAD, began, &format!("{door:?}: connect"));
        let expected =
            if door.is_socks() { Refused::Socks(6) } else { Refused::Http(504, "connect_timeout".to_owned()) };
        assert_eq!(refused, expected, "{door:?}");
    }
    assert_eq!(flow_to(gateway, &target.to_string()).await["outcome"], "connect_timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalling_client_is_dropped_at_the_limit_of_its_phase_and_a_hundred_others_see_nothing() {
    let (gateway, doors) = start(&[
        ("HEAD", "2s"),
        ("HANDSHAKE", "2s"),
        ("CONNECT", "2s"),
        ("IDLE_REQUEST", "2s"),
        ("BODY", "2s"),
        ("RESPONSE", "4s"),
    ]);
    let bystanders = Bystanders::start(&doors).await;
    let (gateway, mut checks) = (Arc::new(gateway), JoinSet::new());
    for stall in stalls(&doors).await {
        let (gateway, doors) = (gateway.clone(), doors.clone());
        checks.spawn(async move { stall.check(&gateway, &doors).await });
    }
    let (of_gateway, of_doors) = (gateway.clone(), doors.clone());
    checks.spawn(async move { check_h2_exchanges(&of_gateway, &of_doors).await });
    let (of_gateway, of_doors) = (gateway.clone(), doors.clone());
    checks.spawn(async move { check_connect_timeout(&of_gateway, &of_doors).await });
    let of_doors = doors.clone();
    checks.spawn(async move { check_silent_h2(&of_doors).await });
    let of_doors = doors.clone();
    checks.spawn(async move { check_idle_h2(&of_doors).await });
    let mut failed = Vec::new();
    while let Some(checked) = checks.join_next().await {
        failed.extend(checked.err());
    }
    bystanders.finish().await;
    // Each has said what it was.
    assert!(failed.is_empty(), "{} cases failed", failed.len());
}
