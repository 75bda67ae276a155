//! h2 in front, HTTP/1.1 behind: what could be another request there is refused, and no byte of it reaches an origin.

use super::h2::{Came, NAME, Scene, asks, came, post, request};
use crate::{
    doors::frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, NO_ERROR, PROTOCOL_ERROR, RST_STREAM, block, frame,
    },
    gateway::eventually,
};

/// What a head that is refused comes to.
#[derive(Clone, Copy)]
enum Refused {
    /// An answer, and a flow of the same code.
    Said(u16, &'static str),
    /// A reset of the stream: the connection goes on.
    Reset,
    /// The connection is given up, and that is a flow.
    Goaway,
}

use Refused::{Goaway, Reset, Said};

type Fields<'a> = Vec<(&'a str, &'a str)>;

const OWN: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":path", "/refused"), (":authority", NAME)];

/// A request with these fields more.
fn with<'a>(more: &[(&'a str, &'a str)]) -> Fields<'a> {
    OWN.iter().chain(more).copied().collect()
}

/// A request that says this instead.
fn saying<'a>(name: &'a str, value: &'a str) -> Fields<'a> {
    OWN.iter().map(|own| if own.0 == name { (name, value) } else { *own }).collect()
}

fn without(name: &str) -> Fields<'static> {
    OWN.iter().filter(|own| own.0 != name).copied().collect()
}

type Case = (&'static str, Fields<'static>, Refused);

fn framing() -> Vec<Case> {
    vec![
        // What frames a message over HTTP/1, or speaks of its connection (RFC 9113 §8.2.2).
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), Reset),
        ("connection", with(&[("connection", "close")]), Reset),
        ("connection that names a field of ours", with(&[("connection", "x-forwarded-for")]), Reset),
        ("keep-alive", with(&[("keep-alive", "timeout=5")]), Reset),
        ("proxy-connection", with(&[("proxy-connection", "keep-alive")]), Reset),
        ("upgrade", with(&[("upgrade", "h2c")]), Reset),
        ("te of more than trailers", with(&[("te", "gzip")]), Reset),
        // Lengths.
        ("a length without a body", with(&[("content-length", "5")]), Reset),
        ("two lengths", with(&[("content-length", "0"), ("content-length", "5")]), Reset),
        ("the same length twice", with(&[("content-length", "0"), ("content-length", "0")]), Said(400, "malformed")),
        ("a list of lengths", with(&[("content-length", "0, 0")]), Reset),
        ("a length with a sign", with(&[("content-length", "+0")]), Reset),
        ("a length in hex", with(&[("content-length", "0x0")]), Reset),
        ("a length below nothing", with(&[("content-length", "-1")]), Reset),
        ("no digit of a length", with(&[("content-length", "")]), Said(400, "malformed")),
        ("a length beyond every number", with(&[("content-length", "18446744073709551616")]), Reset),
    ]
}

/// Bytes that end a line or a name over HTTP/1.
fn bytes() -> Vec<Case> {
    vec![
        ("a line break in a value", with(&[("x-a", "a\r\nx-smuggled: b")]), Goaway),
        ("LF in a value", with(&[("x-a", "a\nb")]), Goaway),
        ("CR in a value", with(&[("x-a", "a\rb")]), Goaway),
        ("NUL in a value", with(&[("x-a", "a\0b")]), Goaway),
        ("a line break in a name", with(&[("x-a: b\r\nx-smuggled", "b")]), Goaway),
        ("NUL in a name", with(&[("x-a\0", "b")]), Goaway),
        ("a colon in a name", with(&[("x-a:", "b")]), Goaway),
        ("a space in a name", with(&[("transfer-encoding ", "chunked")]), Goaway),
        ("no name", with(&[("", "b")]), Goaway),
        ("an upper-case name", with(&[("X-A", "b")]), Goaway),
        ("an upper-case framing", with(&[("Transfer-Encoding", "chunked")]), Goaway),
        ("a line break in :path", saying(":path", "/ HTTP/1.1\r\nx-smuggled: b"), Reset),
        ("a space in :path", saying(":path", "/a b"), Reset),
        ("NUL in :path", saying(":path", "/a\0b"), Reset),
        ("a line break in :authority", saying(":authority", "app.test\r\nx-smuggled: b"), Reset),
        ("a space in :authority", saying(":authority", "app.test "), Reset),
        ("a line break in :method", saying(":method", "GET / HTTP/1.1\r\nx-smuggled: b\r\n\r\nGET"), Goaway),
        ("a space in :method", saying(":method", "GET /"), Goaway),
        ("no letter of a :method", saying(":method", ""), Goaway),
        ("a line break in :scheme", saying(":scheme", "https\r\nx-smuggled: b"), Reset),
    ]
}

/// What is asked of whom (RFC 9113 §8.3).
fn pseudo_headers() -> Vec<Case> {
    vec![
        ("two :method", with(&[(":method", "POST")]), Reset),
        ("two :path", with(&[(":path", "/other")]), Reset),
        ("two :authority", with(&[(":authority", "other.test")]), Reset),
        ("two :scheme", with(&[(":scheme", "http")]), Reset),
        ("a pseudo-header behind the fields", [vec![("x-a", "b")], with(&[])].concat(), Reset),
        ("an unknown pseudo-header", with(&[(":x", "b")]), Goaway),
        (":status", with(&[(":status", "200")]), Reset),
        ("no :method", without(":method"), Reset),
        ("no :scheme", without(":scheme"), Reset),
        ("no :path", without(":path"), Reset),
        ("an empty :path", saying(":path", ""), Reset),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "app.test:443")], Said(400, "not_supported")),
        ("CONNECT to a protocol", [saying(":method", "CONNECT"), vec![(":protocol", "websocket")]].concat(), Reset),
        // Paths that are read in two ways.
        (":path without a slash", saying(":path", "refused"), Reset),
        (":path of a whole URL", saying(":path", "http://other.test/"), Reset),
        ("an asterisk", saying(":path", "*"), Said(400, "malformed")),
        ("dot segments", saying(":path", "/a/../b"), Said(400, "malformed")),
        ("escaped dot segments", saying(":path", "/a/%2e%2e/b"), Said(400, "malformed")),
        ("a backslash", saying(":path", "/a\\b"), Said(400, "malformed")),
        // Whom it is for.
        ("another :authority", saying(":authority", "other.test"), Said(421, "name_mismatch")),
        ("another Host", with(&[("host", "other.test")]), Said(400, "host_mismatch")),
        ("two Hosts", with(&[("host", NAME), ("host", "other.test")]), Said(400, "malformed")),
        ("the same Host twice", with(&[("host", NAME), ("host", NAME)]), Said(400, "malformed")),
        (
            "another Host alone",
            [without(":authority"), vec![("host", "other.test")]].concat(),
            Said(421, "name_mismatch"),
        ),
        ("nobody", without(":authority"), Said(421, "domain_unknown")),
        ("an :authority with userinfo", saying(":authority", "user@app.test"), Said(400, "host_not_canonical")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_http1_would_read_otherwise_is_refused_and_reaches_no_origin() {
    let mut scene = Scene::start();
    for (what, fields, want) in [framing(), bytes(), pseudo_headers()].concat() {
        let before = scene.origin.seen();
        let mut client = scene.open().await;
        let from = client.wire.local().to_string();
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))).await;
        let came = came(&mut client, 1).await;
        let outcome = match want {
            Said(status, code) => {
                assert_eq!(came.status(), Some(status), "{what}: {came:?}");
                Some(code)
            }
            Reset => {
                assert_eq!(came, Came::Reset(PROTOCOL_ERROR), "{what}");
                None
            }
            Goaway => {
                assert_eq!(came, Came::Goaway(PROTOCOL_ERROR), "{what}");
                Some("malformed")
            }
        };
        if let Some(outcome) = outcome {
            scene.gateway.wait_flow(|flow| flow["client"] == from && flow["outcome"] == outcome);
        }
        let after = scene.origin.seen();
        assert_eq!((after.bytes, after.peers.len()), (before.bytes, before.peers.len()), "{what}: reached the origin");
        if outcome != Some("malformed") || matches!(came, Came::Answer { .. }) {
            client.send(&request(3, "/next")).await;
            assert_eq!(client.next_of(HEADERS).await.expect("the next answer").stream, 3, "{what}");
        }
    }
    assert!(scene.reached().iter().all(|request| request.starts_with("GET /next HTTP/1.1\r\n")));
    scene.others_go_on();
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_is_not_as_long_as_was_said_is_no_whole_request() {
    let mut scene = Scene::start();
    let five = [("content-length", "5")];
    let data = |flags, text: &str| frame(DATA, flags, 1, text.as_bytes());
    let cases = [
        ("more at once", data(END_STREAM, &format!("hello{SMUGGLED}"))),
        ("less", data(END_STREAM, "hell")),
        ("nothing", data(END_STREAM, "")),
        ("less, and trailers", [data(0, "hell"), frame(HEADERS, END_HEADERS | END_STREAM, 1, &[])].concat()),
    ];
    for (what, body) in cases {
        let mut client = scene.open().await;
        client.send(&[post(1, "/length", &five), body].concat()).await;
        assert_eq!(came(&mut client, 1).await, Came::Reset(PROTOCOL_ERROR), "{what}");
        client.send(&request(3, "/next")).await;
        assert_eq!(client.next_of(HEADERS).await.expect("the next answer").stream, 3, "{what}");
    }
    // What was whole when it went on stays what it was; what comes behind it goes nowhere.
    let mut client = scene.open().await;
    client.send(&[post(1, "/length", &five), data(0, "hello")].concat()).await;
    eventually("the first five", || scene.reached().iter().find(|request| request.ends_with("hello")).map(drop));
    client.send(&data(END_STREAM, SMUGGLED)).await;
    // The origin has answered by now, and what still comes is not wanted (RFC 9113 §8.1), or it is wrong.
    let reset = client.next_of(RST_STREAM).await.expect("a reset");
    assert!(matches!(reset.code(), NO_ERROR | PROTOCOL_ERROR), "{reset:?}");
    for request in scene.reached() {
        let whole = request.starts_with("GET /next ") || request.ends_with("\r\n\r\nhello");
        assert!(whole, "{request}");
    }
    scene.others_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_of_a_request_change_nothing_at_the_origin() {
    let mut scene = Scene::start();
    // The library lets a pseudo-header by here; like the rest it goes nowhere.
    let trailers = [
        (":path", "/other"),
        ("content-length", "100"),
        ("host", "other.test"),
        ("x-forwarded-for", "6.6.6.6"),
        ("authorization", "Basic eDp5"),
        ("cookie", "a=b"),
        ("x-late", "late"),
    ];
    let fields = |fields: &[(&str, &str)]| {
        block(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect::<Vec<_>>())
    };
    let mut client = scene.open().await;
    let (body, end) = (frame(DATA, 0, 1, b"hello"), END_HEADERS | END_STREAM);
    client.send(&[post(1, "/trailers", &[]), body.clone(), frame(HEADERS, end, 1, &fields(&trailers))].concat()).await;
    assert_eq!(came(&mut client, 1).await.status(), Some(200));
    let request = scene.reached().pop().unwrap().to_ascii_lowercase();
    assert!(request.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{request}");
    for gone in ["/other", "100", "other.test", "6.6.6.6", "authorization", "cookie", "late"] {
        assert!(!request.contains(gone), "{gone}: {request}");
    }
    // What breaks the rules in them breaks the request.
    let broken = [
        ("a framing", frame(HEADERS, end, 1, &fields(&[("transfer-encoding", "chunked")]))),
        ("no end", frame(HEADERS, END_HEADERS, 1, &fields(&[("x-late", "late")]))),
        ("a line break", frame(HEADERS, end, 1, &fields(&[("x-late", "a\r\nb: c")]))),
        (
            "an end that comes later",
            [
                frame(HEADERS, END_STREAM, 1, &fields(&[("x-late", "late")])),
                frame(CONTINUATION, END_HEADERS, 1, &fields(&[("upgrade", "h2c")])),
            ]
            .concat(),
        ),
    ];
    for (what, trailers) in broken {
        let mut client = scene.open().await;
        client.send(&[post(1, "/broken", &[]), body.clone(), trailers].concat()).await;
        let came = came(&mut client, 1).await;
        assert!(matches!(came, Came::Reset(PROTOCOL_ERROR) | Came::Goaway(PROTOCOL_ERROR)), "{what}: {came:?}");
    }
    assert_eq!(scene.reached().len(), 1, "a request that broke off is no whole one");
    scene.others_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_clear_arrives_over_http1_as_it_was_meant() {
    let mut scene = Scene::start();
    let long = "c".repeat(20_000);
    type Sent<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let cases: [(Sent<'_>, &[&str], &str); 9] = [
        (("GET", "/plain?a=%20", &[("x-a", " b\t")], None), &["GET /plain?a=%20 ", "x-a: b"], ""),
        // The library takes a fragment off before we see it: what is matched is what goes on.
        (("GET", "/a#b", &[], None), &["GET /a "], ""),
        (("GET", "/", &[("cookie", "a=1"), ("cookie", "b=2")], None), &["cookie: a=1; b=2"], ""),
        (("GET", "/", &[("host", "APP.test")], None), &["host: app.test"], ""),
        (("GET", "/", &[("te", "trailers"), ("x-a", &long)], None), &["x-a: cc"], ""),
        (("POST", "/", &[("content-length", "5")], Some("hello")), &["content-length: 5"], "hello"),
        (("POST", "/", &[], Some("hello")), &["transfer-encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"),
        // Whatever the method: a body is never left out.
        (("GET", "/", &[], Some("hello")), &["transfer-encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"),
        (("PURGE", "/", &[("content-length", "5")], Some("hello")), &["PURGE / ", "content-length: 5"], "hello"),
    ];
    for ((method, path, more, body), lines, arrived) in cases {
        let mut client = scene.open().await;
        let head = block(asks(method, path, more));
        let flags = if body.is_none() { END_STREAM } else { 0 };
        let (first, rest) = head.split_at(head.len().min(16 * 1024));
        client.send(&frame(HEADERS, flags, 1, first)).await;
        client.send(&frame(CONTINUATION, END_HEADERS, 1, rest)).await;
        if let Some(body) = body {
            client.send(&frame(DATA, END_STREAM, 1, body.as_bytes())).await;
        }
        assert_eq!(came(&mut client, 1).await.status(), Some(200), "{method} {path} {more:?}");
        let request = scene.reached().pop().unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        for line in lines {
            assert!(head.contains(line), "{line}: {head}");
        }
        assert_eq!(body, arrived, "{head}");
        assert_eq!(head.to_ascii_lowercase().matches("\nhost: ").count(), 1, "{head}");
        assert!(!head.contains("te: trailers"), "{head}");
    }
    scene.others_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_another_length_is_the_clients_mistake_and_said_so() {
    let scene = Scene::start();
    for (length, sent) in [("10", 3), ("1", 6)] {
        let mut client = scene.open().await;
        let body = frame(DATA, END_STREAM, 1, &vec![b'x'; sent]);
        client.send(&[post(1, "/refused", &[("content-length", length)]), body].concat()).await;
        assert_eq!(came(&mut client, 1).await, Came::Reset(PROTOCOL_ERROR), "{length}");
        let flow = scene.gateway.wait_flow(|flow| flow["outcome"] == "malformed" && flow["bytes_up"].is_number());
        assert!(flow["said"].as_str().unwrap().contains("not as long as its head says"), "{flow}");
        assert_eq!((flow["status"].as_u64(), flow["route"].as_str()), (None, Some(NAME)), "{flow}");
    }
    eventually("both", || {
        let flows = scene.gateway.flows();
        (flows.iter().filter(|flow| flow["outcome"] == "malformed").count() == 2).then_some(())
    });
    assert_eq!(scene.reached(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_given_up_is_found_by_whoever_runs_the_app() {
    let scene = Scene::start();
    let mut client = scene.open().await;
    // Data on a stream that was never opened (RFC 9113 §5.1).
    client.send(&frame(DATA, END_STREAM, 7, b"x")).await;
    came(&mut client, 7).await;
    let flow = scene.gateway.wait_flow(|flow| flow["outcome"] == "malformed");
    assert_eq!((flow["account"].as_str(), flow["route"].as_str()), (Some("default"), Some(NAME)), "{flow}");
    assert_eq!((flow["target"].as_str(), flow["alpn"].as_str()), (Some(NAME), Some("h2")), "{flow}");
    assert_eq!(flow["exposure"]["wire_to_gateway"]["name"], true, "its server name was in the clear: {flow}");
}
