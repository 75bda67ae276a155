//! Whoever stops halfway, in each phase on the way in: dropped at that phase's limit, told so where that can be said, and
//! recorded. Others go on.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use super::{
    h2::{Came, HELD, NAME, Scene, came, post, request},
    support::{Client, TlsOrigin, answer, ask, get, rest, route, tcp},
};
use crate::{
    doors::frames::{DATA, HEADERS, frame},
    gateway::{Gateway, Setup, eventually},
    limits::stall::{self, never_answers},
    target::{Conn, Target, ok},
};

const HEAD: Duration = Duration::from_secs(2);
const BODY: Duration = Duration::from_secs(2);
const RESPONSE: Duration = Duration::from_secs(4);
const TUNNEL: Duration = Duration::from_secs(3);
/// What a busy machine may add to a limit.
const LATE: Duration = Duration::from_secs(4);

fn setup() -> Setup {
    let limits = [
        ("HEAD", "2s"),
        ("HANDSHAKE", "2s"),
        ("CONNECT", "2s"),
        ("IDLE_REQUEST", "2s"),
        ("BODY", "2s"),
        ("RESPONSE", "4s"),
        ("IDLE_TUNNEL", "3s"),
    ];
    limits.iter().fold(Setup::default(), |setup, (key, value)| setup.env(&format!("MOORGATE_LIMITS_{key}"), *value))
}

fn assert_at(limit: Duration, began: Instant, case: &str) {
    let after = began.elapsed();
    // The kernel and the gateway count from moments that are not quite the test's.
    assert!(after + Duration::from_millis(500) >= limit && after <= limit + LATE, "{case}: {after:?}, not {limit:?}");
}

/// How far a client goes before it sends what a case sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// It connects.
    Tcp(&'static str),
    /// TLS is open, with this protocol.
    Tls(&'static str),
}

/// Over what, and whether its end may be taken for the end of what was said.
#[derive(Clone, Copy)]
struct Way {
    over: Over,
    clean: bool,
}

type Stall = stall::Stall<Way>;

fn stall(name: &'static str, over: Over, sends: impl Into<Vec<u8>>) -> Stall {
    let gets = if over == Over::Tcp("inbound_tls") { "" } else { "HTTP/1.1 408 " };
    let (way, sends) = (Way { over, clean: true }, sends.into());
    Stall { way, name, sends, drips: false, gets, limit: HEAD, outcome: "head_too_slow" }
}

impl Stall {
    fn broken_off(self) -> Self {
        Self { way: Way { clean: false, ..self.way }, ..self }
    }

    fn check(self, gateway: &Gateway) {
        let Way { over, clean: may_be_clean } = self.way;
        let case = format!("{over:?}: {}", self.name);
        let mut began = Instant::now();
        let (listener, tcp) = match over {
            Over::Tcp(listener) => (listener, tcp(gateway.address(listener))),
            Over::Tls(_) => ("inbound_tls", tcp(gateway.address("inbound_tls"))),
        };
        let client = tcp.local_addr().unwrap().to_string();
        let patience = tcp.try_clone().unwrap();
        let mut stream: Box<dyn Talks> = match over {
            Over::Tcp(_) => Box::new(tcp),
            Over::Tls(alpn) => Box::new(Client::of(gateway).alpn(&[alpn]).over(tcp, NAME)),
        };
        if !self.drips {
            stream.write_all(&self.sends).and_then(|()| stream.flush()).unwrap();
            began = Instant::now();
        }
        patience.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut drops = self.sends.iter().take(if self.drips { usize::MAX } else { 0 });
        let (mut got, mut piece) = (Vec::new(), [0; 4096]);
        let clean = loop {
            if let Some(drop) = drops.next() {
                // Whether it is still taken is seen by what comes back.
                let _ = stream.write_all(&[*drop]).and_then(|()| stream.flush());
            }
            match stream.read(&mut piece) {
                Ok(0) => break true,
                Ok(read) => got.extend_from_slice(&piece[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break false,
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{case}: not dropped");
        };
        assert_at(self.limit, began, &case);
        self.assert_got(&case, &got);
        // A drop that meets a connection closed without a word resets it: the client's doing.
        let either = self.gets.is_empty() && (self.drips || !may_be_clean);
        assert!(either || clean == may_be_clean, "{case}: clean {clean}, got {:?}", String::from_utf8_lossy(&got));
        gateway.wait_flow(|flow| {
            flow["client"] == client && flow["outcome"] == self.outcome && flow["listener"] == listener
        });
    }
}

trait Talks: Read + Write + Send {}
impl<T: Read + Write + Send> Talks for T {}

fn before_a_head(gateway: &Gateway) -> Vec<Stall> {
    let (tls, hello) = (Over::Tcp("inbound_tls"), Client::of(gateway).hello(NAME));
    let half = hello[..hello.len() / 2].to_vec();
    let mut stalls = vec![
        stall("no byte", tls, ""),
        stall("the first byte of a ClientHello", tls, [22]),
        stall("half a ClientHello", tls, half),
        stall("a ClientHello byte by byte", tls, hello.clone()).dripping(),
        // The gateway's flight is here, and the client does not go on.
        stall("a handshake that stops", tls, hello).gets("\u{16}\u{3}\u{3}"),
        stall("no preface of h2", Over::Tls("h2"), "").gets("\0\0").broken_off(),
        stall("half a preface of h2", Over::Tls("h2"), "PRI * HTTP/2.0\r\n").gets("\0\0").broken_off(),
    ];
    for over in [Over::Tcp("inbound_http"), Over::Tls("http/1.1")] {
        stalls.extend([
            stall("no byte of a head", over, ""),
            stall("half a head", over, "GET / HTTP/1.1\r\nHost: app.t"),
            stall("a head byte by byte", over, get(NAME, "/", "X-A: long enough to take its time\r\n")).dripping(),
        ]);
    }
    stalls
}

fn behind_a_head() -> Vec<Stall> {
    let post = |framing: &str, body: &str| format!("POST /up HTTP/1.1\r\nHost: {NAME}\r\n{framing}\r\n\r\n{body}");
    let chunked = "Transfer-Encoding: chunked";
    let mut stalls = Vec::new();
    for over in [Over::Tcp("inbound_http"), Over::Tls("http/1.1")] {
        let up = |name, request: String| stall(name, over, request).ends(BODY, "body_too_slow");
        stalls.extend([
            up("half a body", post("Content-Length: 10", "hello")),
            up("half of a body in chunks", post(chunked, "5\r\nhello\r\n")),
            up("no chunk", post(chunked, "")),
            up("half of a chunk's size", post(chunked, "5")),
            // The connection waits for the next request then.
            stall("an origin that does not answer", over, get(NAME, HELD, ""))
                .gets("HTTP/1.1 504 ")
                .ends(RESPONSE + HEAD, "response_timeout"),
            stall("an origin that stops within its body", over, get(NAME, "/half", ""))
                .gets("HTTP/1.1 200 ")
                .ends(BODY, "body_too_slow")
                .broken_off(),
            stall("an origin that stops between chunks", over, get(NAME, "/chunk", ""))
                .gets("HTTP/1.1 200 ")
                .ends(BODY, "body_too_slow")
                .broken_off(),
            stall("nothing after an answer", over, get(NAME, "/", "")).gets("HTTP/1.1 200 ").ends(HEAD, "ok"),
            stall("half a head after an answer", over, get(NAME, "/", "") + "GET /").gets("HTTP/1.1 200 "),
        ]);
    }
    stalls
}

/// Says half of what it should, or nothing, and then waits until it is left.
fn halting(mut conn: Conn) {
    while let Some(request) = conn.request() {
        let path = request.split(' ').nth(1).unwrap().to_owned();
        match &*path {
            HELD => {}
            "/half" => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
            "/chunk" => conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            _ => conn.send(ok("hi")),
        }
    }
}

#[test]
fn whoever_stalls_on_the_way_in_is_dropped_at_the_limit_of_its_phase() {
    let origin = Target::new("127.0.0.1:0", halting);
    let gateway = setup().start();
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &["--http", "forward"]);
    let gateway = &gateway;
    let bystander = || {
        let mut client = Client::of(gateway).connect(gateway.address("inbound_tls"), NAME);
        for _ in 0..60 {
            assert_eq!(ask(&mut client, get(NAME, "/", "")).status, 200, "a bystander");
            thread::sleep(Duration::from_millis(100));
        }
    };
    thread::scope(|scope| {
        scope.spawn(bystander);
        for stall in before_a_head(gateway).into_iter().chain(behind_a_head()) {
            scope.spawn(|| stall.check(gateway));
        }
    });
    assert!(!gateway.stderr().contains("panicked"), "{}", gateway.stderr());
}

#[test]
fn a_load_balancers_header_that_never_ends_is_dropped() {
    let gateway = setup().env("MOORGATE_INBOUND_TRUST_PROXY_PROTOCOL_FROM", "127.0.0.1/32").start();
    let gateway = &gateway;
    let silent = |name, over, sends: &[u8]| stall(name, over, sends).gets("");
    thread::scope(|scope| {
        for over in [Over::Tcp("inbound_tls"), Over::Tcp("inbound_http")] {
            for stall in [
                silent("no byte", over, b""),
                silent("half of version 1", over, b"PROXY TCP4 198.51.100.7 192.0.2.1"),
                silent("version 1 byte by byte", over, b"PROXY TCP4 198.51.100.7 192.0.2.1 1234 443\r\n").dripping(),
                silent("half of version 2", over, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33"),
            ] {
                scope.spawn(|| stall.check(gateway));
            }
        }
    });
    // Longer than it may be is not waited for.
    for bytes in [&[&b"PROXY TCP4 "[..], &[b'1'; 120]].concat(), &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x20\0".to_vec()] {
        let mut client = tcp(gateway.address("inbound_tls"));
        let from = client.local_addr().unwrap().to_string();
        client.write_all(bytes).unwrap();
        assert_eq!(rest(&mut client), b"");
        gateway.wait_flow(|flow| flow["client"] == from && flow["outcome"] == "malformed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stalls_over_h2_ends_its_stream_alone() {
    let scene = Scene::with(setup(), &[]);
    let short = [("content-length", "10")];
    let timeout = |status, code: &'static str| (Some(status), code);
    let cases = [
        (
            "half a body",
            [post(1, "/up", &short), frame(DATA, 0, 1, b"hello")].concat(),
            BODY,
            timeout(408, "body_too_slow"),
        ),
        ("no byte of a body", post(1, "/up", &[]), BODY, timeout(408, "body_too_slow")),
        ("no answer", request(1, HELD), RESPONSE, timeout(504, "response_timeout")),
        ("half an answer", request(1, "/half"), BODY, (None, "body_too_slow")),
    ];
    for (what, bytes, limit, (status, code)) in cases {
        let mut client = scene.open().await;
        let from = client.wire.local().to_string();
        client.send(&bytes).await;
        let began = Instant::now();
        let came = came(&mut client, 1).await;
        assert_at(limit, began, what);
        match (&came, status) {
            (Came::Answer { body, .. }, Some(_)) => {
                assert_eq!(came.status(), status, "{what}");
                assert!(body.starts_with(&format!("moorgate: {code}: ")), "{what}: {body}");
            }
            (Came::Reset(_), None) => {}
            other => panic!("{what}: {other:?}"),
        }
        scene.gateway.wait_flow(|flow| flow["client"] == from && flow["outcome"] == code);
        client.send(&request(3, "/next")).await;
        assert_eq!(client.next_of(HEADERS).await.expect("the next answer").stream, 3, "{what}");
    }
    scene.newcomers_are_served();
}

/// Asks for more than any buffer holds, and reads nothing of it.
fn reads_nothing(scene: &Scene) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&scene.gateway.address("inbound_tls").into()).unwrap();
    let stream = TcpStream::from(socket);
    let mut client = Client::of(&scene.gateway).alpn(&["http/1.1"]).over(stream.try_clone().unwrap(), NAME);
    client.write_all(get(NAME, "/endless", "").as_bytes()).unwrap();
    client.flush().unwrap();
    stream
}

#[test]
fn a_client_that_does_not_read_is_cut_and_its_origin_let_go() {
    let scene = Scene::with(setup(), &[]);
    let client = reads_nothing(&scene);
    let from = client.local_addr().unwrap().to_string();
    let began = Instant::now();
    let flow = scene.gateway.wait_flow(|flow| flow["client"] == from && flow["outcome"] == "body_too_slow");
    assert!(began.elapsed() + Duration::from_millis(500) >= BODY);
    assert_eq!(flow["status"], 200);
    eventually("the origin is let go", || scene.origin.seen().requests.iter().any(|seen| seen == "left").then_some(()));
    scene.newcomers_are_served();
}

#[test]
fn a_client_that_does_not_read_has_one_piece_waiting() {
    const CLIENTS: u64 = 100;
    let scene = Scene::start();
    let stalled = |count| {
        let clients: Vec<_> = (0..count).map(|_| reads_nothing(&scene)).collect();
        thread::sleep(Duration::from_secs(1));
        (clients, scene.memory())
    };
    let (_first, before) = stalled(20);
    let (_more, after) = stalled(CLIENTS);
    let each = after.saturating_sub(before) / CLIENTS;
    assert!(each <= 128, "{each} KiB for each client that reads nothing");
}

#[test]
fn a_head_that_is_too_long_is_431_and_the_longest_that_is_not_gets_through() {
    let scene = Scene::with(Setup::default(), &["--http", "forward"]);
    // Host is a field too.
    for (count, len, fits) in [(99, 1, true), (100, 1, false), (31, 1_000, true), (33, 1_000, false)] {
        let fields: String = (0..count).map(|n| format!("x-{n}: {}\r\n", "v".repeat(len))).collect();
        let case = format!("{count} fields of {len} bytes");
        let before = scene.reached().len();
        let mut plain = tcp(scene.gateway.address("inbound_http"));
        let mut secure = Client::of(&scene.gateway).connect(scene.gateway.address("inbound_tls"), NAME);
        let answers = [ask(&mut plain, get(NAME, "/", &fields)), ask(&mut secure, get(NAME, "/", &fields))];
        for answer in answers {
            assert_eq!(answer.status, if fits { 200 } else { 431 }, "{case}: {answer:?}");
            assert!(fits || answer.body.starts_with("moorgate: head_too_long: "), "{case}: {answer:?}");
        }
        assert_eq!(scene.reached().len(), before + if fits { 2 } else { 0 }, "{case}");
    }
    scene.gateway.wait_flow(|flow| flow["outcome"] == "head_too_long" && flow["listener"] == "inbound_http");
    // Whoever runs the app finds it: the connection was opened for that.
    scene.gateway.wait_flow(|flow| flow["outcome"] == "head_too_long" && flow["route"] == NAME);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origins_head_that_is_too_long_is_502_over_both_versions() {
    let scene = Scene::start();
    for path in ["/fields", "/field"] {
        let mut client = Client::of(&scene.gateway).connect(scene.gateway.address("inbound_tls"), NAME);
        let refused = ask(&mut client, get(NAME, path, ""));
        assert_eq!(refused.status, 502, "{path}");
        assert!(refused.body.starts_with("moorgate: response_malformed: "), "{path}: {}", refused.body);
        let mut client = scene.open().await;
        client.send(&request(1, path)).await;
        assert_eq!(came(&mut client, 1).await.status(), Some(502), "{path} over h2");
    }
    scene.newcomers_are_served();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_can_not_be_had_in_time_is_504() {
    let gateway = setup().start();
    let (full, _waiting, _listener) = never_answers().await;
    let silent = Target::new("127.0.0.1:0", |mut conn| drop(conn.head()));
    for (name, url) in [("full.test", format!("http://{full}")), ("silent.test", format!("https://{}", silent.address))]
    {
        route(&gateway, name, "terminate", &[&url], &[]);
        let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), name);
        let began = Instant::now();
        let refused = ask(&mut client, get(name, "/", ""));
        assert_at(HEAD, began, name);
        assert_eq!(refused.status, 504, "{name}: {}", refused.body);
        gateway.wait_flow(|flow| flow["route"] == name && flow["outcome"] == "connect_timeout");
    }
}

#[test]
fn a_tunnel_without_a_byte_is_cut_and_one_in_use_is_not() {
    let origin = TlsOrigin::echo(&["bank.test"]);
    let socket = Target::new("127.0.0.1:0", |mut conn| {
        conn.head();
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let mut stream = conn.stream;
        let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
    });
    let gateway = setup().start();
    route(&gateway, "bank.test", "passthrough", &[&format!("tls://{}", origin.address)], &[]);
    route(&gateway, NAME, "terminate", &[&format!("http://{}", socket.address)], &[]);
    let address = gateway.address("inbound_tls");
    let open = || {
        let mut websocket = Client::of(&gateway).connect(address, NAME);
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
        websocket.write_all(get(NAME, "/", upgrade).as_bytes()).unwrap();
        assert_eq!(answer(&mut websocket).status, 101);
        [origin.client().connect(address, "bank.test"), websocket]
    };
    let (mut used, mut idle) = (open(), open());
    let began = Instant::now();
    while began.elapsed() < TUNNEL + Duration::from_secs(1) {
        for stream in &mut used {
            stream.write_all(b"in use").unwrap();
            stream.read_exact(&mut [0; 6]).unwrap();
        }
        thread::sleep(Duration::from_millis(200));
    }
    for (stream, name) in idle.iter_mut().zip(["bank.test", NAME]) {
        let ended = stream.read(&mut [0; 1]);
        assert!(ended.is_err(), "{name}: a cut is no clean end: {ended:?}");
        gateway.wait_flow(|flow| flow["route"] == name && flow["outcome"] == "idle");
    }
    for stream in &mut used {
        stream.write_all(b"in use").unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
    }
}
