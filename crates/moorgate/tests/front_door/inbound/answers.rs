//! What comes back: an origin's answer changes nothing of the connection that it is given over, and is not looked into.

use std::io::Write;

use super::support::{Client, answer, ask, get, rest, route};
use crate::{
    gateway::{Gateway, eventually},
    target::{Conn, Target, ok},
    tools::{run, run_with, tool},
};

const NAME: &str = "app.test";

fn with_origin(handle: impl Fn(Conn) + Send + Sync + 'static) -> (Gateway, Target) {
    let origin = Target::new("127.0.0.1:0", handle);
    let gateway = Gateway::start();
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &[]);
    (gateway, origin)
}

/// Answers the request for `/N` with the answer of that number.
fn numbered<A: AsRef<[u8]> + Sync>(answers: &'static [A]) -> impl Fn(Conn) + Send + Sync {
    move |mut conn| {
        while let Some(request) = conn.request() {
            let number: usize = request.split(' ').nth(1).unwrap()[1..].parse().unwrap();
            conn.send(&answers[number]);
        }
    }
}

const BROKEN: [&str; 9] = [
    "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: b=c\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 20\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
    "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi",
    "hi",
];

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_502_and_nothing_of_it_arrives() {
    let (gateway, _origin) = with_origin(numbered(&BROKEN));
    for (number, broken) in BROKEN.iter().enumerate() {
        let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
        let refused = ask(&mut client, get(NAME, &format!("/{number}"), ""));
        assert_eq!(refused.status, 502, "{broken:?}: {refused:?}");
        assert!(refused.body.starts_with("moorgate: response_malformed: "), "{broken:?}: {}", refused.body);
        assert!(refused.field("set-cookie").is_none() && refused.field("x-a").is_none(), "{broken:?}: {refused:?}");
    }
}

const TRAILERS: [&str; 1] =
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Server-Timing, Set-Cookie\r\n\r\n\
      2\r\nhi\r\n0\r\nServer-Timing: db\r\nSet-Cookie: a=b\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\
      Host: other.test\r\nLocation: https://other.test/\r\nX-Late: late\r\n\r\n"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_answers_trailers_only_those_that_frame_and_decide_nothing_arrive() {
    let (gateway, _origin) = with_origin(numbered(&TRAILERS));
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    client.write_all(get(NAME, "/0", "Connection: close\r\n").as_bytes()).unwrap();
    let said = String::from_utf8(rest(&mut client)).unwrap();
    assert!(said.ends_with("2\r\nhi\r\n0\r\nserver-timing: db\r\n\r\n"), "{said}");
    let client = Client::of(&gateway).alpn(&["h2"]);
    let wire = client.wire(gateway.address("inbound_tls"), NAME).await;
    let (mut requests, connection) = h2::client::handshake(wire.stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("https://{NAME}/0")).body(()).unwrap();
    let mut body = requests.send_request(request, true).unwrap().0.await.unwrap().into_body();
    assert_eq!(&body.data().await.unwrap().unwrap()[..], b"hi");
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.len(), 1, "{trailers:?}");
    assert_eq!(trailers["server-timing"], "db");
}

const CODED: [&[u8]; 1] = [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nno gzip\xff\0"];

#[test]
fn a_coded_body_goes_by_as_it_is() {
    let (gateway, origin) = with_origin(numbered(&CODED));
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    let post =
        format!("POST /0 HTTP/1.1\r\nHost: {NAME}\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip");
    let answer = ask(&mut client, post + &get(NAME, "/0", "Connection: close\r\n"));
    assert_eq!((answer.status, answer.field("content-encoding")), (200, Some("gzip")));
    assert_eq!(answer.body, String::from_utf8_lossy(b"no gzip\xff\0"));
    assert!(rest(&mut client).ends_with(b"\r\n\r\nno gzip\xff\0"));
    assert!(origin.seen().requests[0].ends_with("\r\n\r\nno gzip"));
}

#[test]
fn what_comes_behind_an_upgrade_that_the_origin_declines_is_the_next_request_and_judged_as_one() {
    let (gateway, origin) = with_origin(|mut conn| {
        while conn.request().is_some() {
            conn.send(ok("no socket here"));
        }
    });
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    let upgrade =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n";
    let declined = ask(&mut client, get(NAME, "/ws", upgrade) + &get("other.test", "/smuggled", ""));
    assert_eq!((declined.status, &*declined.body), (200, "no socket here"));
    assert_eq!(answer(&mut client).status, 421);
    assert!(origin.seen().requests.iter().all(|request| request.starts_with("GET /ws ")));
    assert_eq!(origin.seen().requests.len(), 1);
}

#[test]
fn data_before_the_handshake_is_over_is_not_taken() {
    let (gateway, origin) = with_origin(|mut conn| {
        while conn.request().is_some() {
            conn.send(ok("hi"));
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let (ticket, early) = (directory.path().join("ticket"), directory.path().join("early"));
    std::fs::write(&early, get(NAME, "/early", "")).unwrap();
    let s_client = |flag: &str, more: &[&str]| {
        let mut openssl = tool("openssl");
        let address = gateway.address("inbound_tls").to_string();
        openssl.args(["s_client", "-tls1_3", "-connect", &address, "-servername", NAME, "-CAfile"]).arg(gateway.ca());
        // OpenSSL has its ticket only when it has read something behind the handshake.
        openssl.args(["-ign_eof", flag]).arg(&ticket).args(more);
        let get = get(NAME, "/", "Connection: close\r\n");
        run_with(&mut openssl, &get)
    };
    let first = s_client("-sess_out", &[]);
    assert!(first.contains("Max Early Data: 0"), "{first}");
    let second = s_client("-sess_in", &["-early_data", early.to_str().unwrap()]);
    assert!(second.contains("Reused, TLSv1.3") && second.contains("Early data was not sent"), "{second}");
    assert!(origin.seen().requests.iter().all(|request| request.starts_with("GET / ")));
}

/// What h2 says of each: status and body, as a client that counts bytes takes it.
const FRAMED: [(&str, u16, &str); 5] = [
    (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        502,
        "moorgate: response_malformed",
    ),
    ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, ""),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, "hi"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, ""),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"),
];

#[test]
fn an_answer_is_framed_anew_for_h2_as_for_http_1() {
    const ANSWERS: [&str; FRAMED.len()] = [FRAMED[0].0, FRAMED[1].0, FRAMED[2].0, FRAMED[3].0, FRAMED[4].0];
    let (gateway, _origin) = with_origin(numbered(&ANSWERS));
    let to = format!("{NAME}:443:{}", gateway.address("inbound_tls"));
    for (number, (answer, status, body)) in FRAMED.iter().enumerate() {
        for version in ["--http1.1", "--http2"] {
            let mut curl = tool("curl");
            curl.args(["-sS", version, "-w", "\n%{http_code}", "--connect-to", &to, "--cacert"]).arg(gateway.ca());
            let said = run(curl.arg(format!("https://{NAME}/{number}")));
            assert!(said.starts_with(body) && said.ends_with(&format!("\n{status}")), "{version} {answer:?}: {said}");
            assert!(!body.is_empty() || said.starts_with('\n'), "{version} {answer:?}: {said}");
        }
    }
    eventually("every flow", || (gateway.flows().len() == 2 * FRAMED.len()).then_some(()));
    for flow in gateway.flows() {
        let outcome = if flow["status"] == 502 { "response_malformed" } else { "ok" };
        assert_eq!(flow["outcome"], outcome, "{flow}");
    }
}

#[test]
fn a_client_that_leaves_as_soon_as_it_has_all_was_served() {
    // The body comes a moment after the head, so that the client has counted it before anything else is looked at.
    let (gateway, _origin) = with_origin(|mut conn: Conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
            std::thread::sleep(std::time::Duration::from_millis(5));
            conn.send("hi");
        }
    });
    let to = format!("{NAME}:443:{}", gateway.address("inbound_tls"));
    const ASKED: usize = 40;
    for _ in 0..ASKED {
        let mut curl = tool("curl");
        curl.args(["-sS", "--http2", "--connect-to", &to, "--cacert"]).arg(gateway.ca());
        assert_eq!(run(curl.arg(format!("https://{NAME}/"))), "hi");
    }
    eventually("every flow", || (gateway.flows().len() == ASKED).then_some(()));
    let outcomes: Vec<_> = gateway.flows().iter().map(|flow| flow["outcome"].clone()).collect();
    assert!(outcomes.iter().all(|outcome| outcome == "ok"), "{outcomes:?}");
}

/// What servers of all ages write.
const ODD: [&str; 6] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
    "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nX-Ends: with the connection\r\n\r\nhi",
];

#[test]
fn an_answer_of_old_ways_is_understood_however_it_comes() {
    let (gateway, _origin) = with_origin(|mut conn: Conn| {
        while let Some(request) = conn.request() {
            let path = request.split(' ').nth(1).unwrap();
            let (number, pieces) = path[1..].split_once('/').unwrap();
            let answer = ODD[number.parse::<usize>().unwrap()];
            for piece in answer.as_bytes().chunks(pieces.parse().unwrap()) {
                conn.send(piece);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            if answer.starts_with("HTTP/1.0") {
                return;
            }
        }
    });
    let to = format!("{NAME}:443:{}", gateway.address("inbound_tls"));
    for (number, answer) in ODD.iter().enumerate() {
        for (version, pieces) in [("--http1.1", 1000), ("--http1.1", 1), ("--http2", 1000), ("--http2", 7)] {
            let mut curl = tool("curl");
            curl.args(["-sS", version, "-w", "\n%{http_code}", "--connect-to", &to, "--cacert"]).arg(gateway.ca());
            let said = run(curl.arg(format!("https://{NAME}/{number}/{pieces}")));
            assert_eq!(said, "hi\n200", "{version} {answer:?} in pieces of {pieces}");
        }
    }
}

#[test]
fn what_an_origin_says_behind_its_answer_answers_nobody() {
    let (gateway, origin) = with_origin(|mut conn: Conn| {
        while conn.request().is_some() {
            conn.send([ok("asked for"), ok("not asked for")].concat());
        }
    });
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    for _ in 0..3 {
        let answer = ask(&mut client, get(NAME, "/", ""));
        assert_eq!((answer.status, &*answer.body), (200, "asked for"));
    }
    assert_eq!(origin.seen().peers.len(), 3, "a connection each");
}
