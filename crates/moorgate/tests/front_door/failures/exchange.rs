//! HTTP exchanges that do not go as planned: a body that breaks off is never a clean end, and no request is answered with
//! what belongs to another.

use std::{
    io::Read,
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::channel,
    },
    thread,
    time::Duration,
};

use super::{Expected, HTTP, check_refusal};
use crate::{
    gateway::{Gateway, eventually},
    talk::{End, Talk, get},
    target::{Conn, Target, ok},
};

/// Heads of responses whose bodies never become whole, with the part of the body that is sent.
const BROKEN: [(&str, &str); 3] = [
    ("a Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
    ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n"),
    ("a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this"),
];

#[test]
fn a_target_that_dies_within_a_body_is_never_a_clean_end() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let mut expected = Expected::of(&gateway);
    for (framing, response) in BROKEN {
        for reset in [false, true] {
            let target = Target::new("127.0.0.1:0", move |mut conn: Conn| {
                conn.head();
                conn.send(response);
                if reset {
                    // What was sent should arrive before the RST overtakes it.
                    thread::sleep(Duration::from_millis(200));
                    conn.reset();
                }
            });
            for version in ["HTTP/1.1", "HTTP/1.0"] {
                let mut talk = Talk::to(gateway.address(HTTP));
                talk.send(get(&credential, &target.address.to_string(), "/", "").replace("HTTP/1.1", version));
                let (bytes, end) = talk.rest();
                let text = String::from_utf8_lossy(&bytes);
                assert_eq!(end, End::Reset, "{framing}, reset: {reset}, {version}: {text}");
                assert!(!text.ends_with("0\r\n\r\n"), "{text}");
                expected.note(talk.local(), HTTP, "response_incomplete");
            }
        }
    }
    expected.check();
}

#[test]
fn a_body_that_ends_with_the_connection_is_whole_when_it_ends_in_good_order() {
    let gateway = Gateway::start();
    let target = Target::new("127.0.0.1:0", |mut conn| {
        conn.head();
        conn.send("HTTP/1.0 200 OK\r\n\r\nall of it");
    });
    let mut talk = Talk::to(gateway.address(HTTP));
    for _ in 0..2 {
        talk.send(get(&gateway.credential(), &target.address.to_string(), "/", ""));
        let reply = talk.reply();
        assert_eq!((&*reply.body, reply.broke), ("all of it", None));
        assert_eq!(reply.field("transfer-encoding"), Some("chunked"), "so that the connection can go on");
    }
}

#[test]
fn a_client_that_dies_within_its_body_is_no_whole_request_at_the_target() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    for framing in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        let target = Target::http(|_| ok("never"));
        let mut talk = Talk::to(gateway.address(HTTP));
        talk.send(
            get(&credential, &target.address.to_string(), "/", framing).replacen("GET", "POST", 1) + "5\r\nhello\r\n",
        );
        let client = talk.local();
        eventually("the body's begin at the target", || (target.seen().bytes > 100).then_some(()));
        drop(talk);
        gateway.wait_flow(|flow| flow["client"] == client.to_string() && flow["outcome"] == "reset_by_client");
        assert_eq!(target.seen().requests.len(), 0, "{framing}");
    }
}

#[test]
fn a_chunk_that_breaks_when_the_request_is_on_its_way_is_400_and_no_whole_request() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let mut expected = Expected::of(&gateway);
    for broken in ["0x5\r\nhello\r\n0\r\n\r\n", "-1\r\n", "5\r\nhelloXX\r\n0\r\n\r\n", "0\r\nX\0: y\r\n\r\n"] {
        let target = Target::http(|_| ok("never"));
        let mut talk = Talk::to(gateway.address(HTTP));
        let framing = "Transfer-Encoding: chunked\r\n";
        talk.send(
            get(&credential, &target.address.to_string(), "/", framing).replacen("GET", "POST", 1) + "2\r\nok\r\n",
        );
        eventually("the body's begin at the target", || (target.seen().bytes > 100).then_some(()));
        talk.send(broken);
        check_refusal(&talk.reply(), 400, "malformed");
        assert!(talk.rest().0.is_empty());
        expected.note(talk.local(), HTTP, "malformed");
        assert_eq!(target.seen().requests.len(), 0, "{broken:?}");
    }
    expected.check();
}

#[test]
fn a_client_that_leaves_before_its_first_chunk_leaves_nothing_at_the_target() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::http(|_| ok("never"));
    for begun in ["", "5", "5\r\n"] {
        let mut talk = Talk::to(gateway.address(HTTP));
        let framing = "Transfer-Encoding: chunked\r\n";
        let request = get(&credential, &target.address.to_string(), "/", framing).replacen("GET", "POST", 1);
        let before = target.seen().peers.len();
        talk.send(request + begun);
        let client = talk.local().to_string();
        eventually("the connection to the target", || (target.seen().peers.len() > before).then_some(()));
        drop(talk);
        gateway.wait_flow(|flow| flow["client"] == *client && flow["outcome"] == "reset_by_client");
    }
    assert_eq!(target.seen().bytes, 0);
}

#[test]
fn a_response_head_beyond_its_limits_is_refused_and_the_longest_that_is_not_arrives() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let mut expected = Expected::of(&gateway);
    // Fields, bytes of each. The limits are 100 fields, Content-Length among them, and 400 KiB.
    for (count, len, fits) in [(99, 1, true), (100, 1, false), (3, 130 * 1024, true), (3, 137 * 1024, false)] {
        let fields: String = (0..count).map(|n| format!("X-{n}: {}\r\n", "v".repeat(len))).collect();
        let response = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
        let target = Target::http(move |_| response.clone());
        let mut talk = Talk::to(gateway.address(HTTP));
        talk.send(get(&credential, &target.address.to_string(), "/", ""));
        let reply = talk.reply();
        if fits {
            assert_eq!((reply.status, &*reply.body), (200, "ok"));
            assert_eq!(reply.head.lines().filter(|line| line.starts_with("x-")).count(), count);
        } else {
            // Apart, because the other one would be shown whole.
            assert_eq!(reply.status, 502, "{count} fields of {len} bytes");
            check_refusal(&reply, 502, "response_malformed");
        }
        expected.note(talk.local(), HTTP, if fits { "ok" } else { "response_malformed" });
    }
    expected.check();
}

#[test]
fn an_early_response_is_delivered_and_the_rest_of_the_request_is_no_next_one() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::new("127.0.0.1:0", |mut conn| {
        conn.head();
        conn.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop");
        // It reads no further; and closes only when the client does.
        thread::sleep(Duration::from_secs(3));
    });
    let smuggled = Target::http(|_| ok("smuggled"));
    let inner = get(&credential, &smuggled.address.to_string(), "/", "");
    for upload in [16 * 1024, 4 * 1024 * 1024] {
        let mut talk = Talk::to(gateway.address(HTTP));
        let framing = format!("Content-Length: {}\r\n", upload + inner.len());
        talk.send(get(&credential, &target.address.to_string(), "/", &framing).replacen("GET", "POST", 1));
        let mut writer = talk.tcp.try_clone().unwrap();
        let rest = inner.repeat(upload / inner.len()).into_bytes();
        let sending = thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            let _ = std::io::Write::write_all(&mut writer, &rest);
        });
        let reply = talk.reply();
        assert_eq!((reply.status, &*reply.body, reply.broke), (401, "stop", None), "upload of {upload}");
        assert!(talk.rest().0.is_empty(), "the connection is not used again");
        sending.join().unwrap();
    }
    assert_eq!(smuggled.seen().peers.len(), 0);
}

#[test]
fn a_target_that_ends_a_connection_between_two_requests_sees_it_ended_at_once() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let (told, ended) = channel();
    let target = Target::new("127.0.0.1:0", move |mut conn| {
        conn.request();
        conn.send(ok("once"));
        conn.stream.shutdown(Shutdown::Write).unwrap();
        let _ = told.send(matches!(conn.stream.read(&mut [0]), Ok(0)));
    });
    let mut talk = Talk::to(gateway.address(HTTP));
    for _ in 0..2 {
        talk.send(get(&credential, &target.address.to_string(), "/", ""));
        let reply = talk.reply();
        assert_eq!((reply.status, &*reply.body), (200, "once"));
        assert!(ended.recv_timeout(Duration::from_secs(10)).unwrap(), "while the client asks for nothing");
    }
}

#[test]
fn what_speaks_no_http_is_told_by_its_first_bytes() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    for pieces in [&["SSH-2.0-x\r\n"][..], &["H", "i"]] {
        let target = Target::new("127.0.0.1:0", move |mut conn| {
            conn.request();
            for piece in pieces {
                conn.send(piece);
                thread::sleep(Duration::from_millis(20));
            }
            // It waits for what its own clients would say.
            conn.request();
        });
        let mut talk = Talk::to(gateway.address(HTTP));
        talk.send(get(&credential, &target.address.to_string(), "/", ""));
        check_refusal(&talk.reply(), 502, "response_malformed");
    }
}

#[test]
fn pipelined_requests_are_answered_one_after_the_other_over_one_connection() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::http(|request| {
        thread::sleep(Duration::from_millis(50));
        ok(request.split(' ').nth(1).unwrap())
    });
    let address = target.address.to_string();
    let mut talk = Talk::to(gateway.address(HTTP));
    let post = get(&credential, &address, "/post", "Content-Length: 5\r\n").replacen("GET", "POST", 1) + "hello";
    let all: String = ["/1", "/2", "/3"].iter().map(|path| get(&credential, &address, path, "")).collect();
    talk.send(all + &post + &get(&credential, &address, "/last", ""));
    for path in ["/1", "/2", "/3", "/post", "/last"] {
        assert_eq!(talk.reply().body, path);
    }
    let seen = target.seen();
    assert_eq!((seen.peers.len(), seen.requests.len()), (1, 5), "the target's connection is reused");
    assert!(seen.requests[3].ends_with("\r\n\r\nhello"));
}

#[test]
fn responses_without_a_body_leave_the_connection_ready_for_the_next_request() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::http(|request| {
        match request.split(' ').nth(1).unwrap() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            "/100" => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        }
        .to_owned()
    });
    let address = target.address.to_string();
    let mut talk = Talk::to(gateway.address(HTTP));
    for round in 0..2 {
        talk.send(get(&credential, &address, "/head", "").replacen("GET", "HEAD", 1));
        let reply = talk.reply_without_body();
        assert_eq!((reply.status, reply.field("content-length")), (200, Some("1000")), "round {round}");
        for (path, status) in [("/204", 204), ("/304", 304), ("/empty", 200)] {
            talk.send(get(&credential, &address, path, ""));
            let reply = talk.reply();
            assert_eq!((reply.status, &*reply.body), (status, ""), "{path}");
        }
        talk.send(get(&credential, &address, "/100", ""));
        assert_eq!(talk.reply().body, "ok", "interim responses that nobody asked for are not forwarded as the answer");
    }
    assert_eq!(target.seen().peers.len(), 1);
    // A refused HEAD has no body either.
    talk.send(get(&credential, "169.254.169.254:80", "/", "").replacen("GET", "HEAD", 1));
    assert_eq!(talk.reply_without_body().status, 403);
    talk.send(get(&credential, &address, "/empty", ""));
    assert_eq!(talk.reply().status, 200);
}

#[test]
fn what_is_meant_for_one_hop_goes_no_further() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::http(|_| {
        "HTTP/1.1 200 OK\r\nConnection: X-Down, keep-alive\r\nX-Down: 1\r\nKeep-Alive: timeout=9\r\nX-Kept: 1\r\n\
         Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
            .to_owned()
    });
    let address = target.address.to_string();
    let fields = "Connection: X-Up, Host, Content-Length, keep-alive\r\nX-Up: secret\r\nx-kept: 1\r\nTE: trailers\r\n\
                  Upgrade: h2c\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 5\r\n";
    let mut talk = Talk::to(gateway.address(HTTP));
    talk.send(get(&credential, &address, "/path?query", fields));
    let reply = talk.reply();
    assert_eq!(reply.status, 200);
    let (up, down) = (target.seen().requests.remove(0).to_ascii_lowercase(), reply.head.to_ascii_lowercase());
    assert!(up.starts_with("get /path?query http/1.1\r\n"), "{up}");
    assert!(up.contains(&format!("\r\nhost: {address}\r\n")) && up.contains("\r\nx-kept: 1\r\n"), "{up}");
    for gone in ["x-up", "te:", "upgrade", "proxy-connection", "keep-alive", "proxy-authorization", "x-up"] {
        assert!(!up.contains(&format!("\r\n{gone}")), "{gone}: {up}");
    }
    assert!(down.contains("x-kept: 1"), "{down}");
    for gone in ["x-down", "keep-alive", "proxy-authenticate"] {
        assert!(!down.contains(&format!("\r\n{gone}")), "{gone}: {down}");
    }
}

#[test]
fn a_connection_to_a_target_is_kept_for_that_target_only_and_replaced_when_it_went() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let served = Arc::new(AtomicUsize::new(0));
    let counter = served.clone();
    // Closes after every second request, without saying so.
    let fickle = Target::new("127.0.0.1:0", move |mut conn| {
        for _ in 0..2 {
            if conn.request().is_none() {
                return;
            }
            let count = counter.fetch_add(1, Relaxed);
            conn.send(ok(&count.to_string()));
        }
    });
    let other = Target::http(|_| ok("other"));
    let mut talk = Talk::to(gateway.address(HTTP));
    for round in 0..6 {
        talk.send(get(&credential, &fickle.address.to_string(), "/", ""));
        assert_eq!(talk.reply().body, round.to_string());
        // The gateway should have noticed the close by the next request; a request that met it would be sent anew.
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(fickle.seen().peers.len(), 3);
    talk.send(get(&credential, &other.address.to_string(), "/", ""));
    assert_eq!(talk.reply().body, "other");
    talk.send(get(&credential, &other.address.to_string(), "/", ""));
    assert_eq!(talk.reply().body, "other");
    assert_eq!(other.seen().peers.len(), 1);
    // Another user on the same connection gets a connection of their own.
    gateway.cli(&["account", "add", "second"]);
    let added = gateway.cli_json(&["credential", "add", "second"]);
    let second = (added["username"].as_str().unwrap().to_owned(), added["password"].as_str().unwrap().to_owned());
    talk.send(get(&second, &other.address.to_string(), "/", ""));
    assert_eq!(talk.reply().body, "other");
    assert_eq!(other.seen().peers.len(), 2);
}

#[test]
fn a_refusal_between_two_requests_leaves_the_connection_usable() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::http(|_| ok("fine"));
    let address = target.address.to_string();
    let mut expected = Expected::of(&gateway);
    let mut talk = Talk::to(gateway.address(HTTP));
    for (target, code, status) in [
        (&*address, "ok", 200),
        ("169.254.169.254:80", "guard_denied", 403),
        (&*address, "ok", 200),
        ("127.1:80", "host_not_canonical", 400),
        (&*address, "ok", 200),
    ] {
        talk.send(get(&credential, target, "/", ""));
        let reply = talk.reply();
        assert_eq!(reply.status, status);
        if code != "ok" {
            check_refusal(&reply, status, code);
        }
        expected.note(talk.local(), HTTP, code);
    }
    expected.check();
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_and_nothing_of_it_reaches_the_target() {
    let gateway = Gateway::start();
    let target = Target::http(|_| ok("thanks"));
    let mut talk = Talk::to(gateway.address(HTTP));
    let fields = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    talk.send(get(&gateway.credential(), &target.address.to_string(), "/", fields).replacen("GET", "PUT", 1));
    assert_eq!(talk.reply_without_body().status, 100);
    talk.send("hello");
    assert_eq!(talk.reply().body, "thanks");
    let seen = target.seen().requests.remove(0);
    assert!(!seen.to_ascii_lowercase().contains("expect:") && seen.ends_with("hello"), "{seen}");
    // Refused, it is told so at once and sends nothing.
    let mut talk = Talk::to(gateway.address(HTTP));
    talk.send(get(&gateway.credential(), "169.254.169.254:80", "/", fields).replacen("GET", "PUT", 1));
    check_refusal(&talk.reply(), 403, "guard_denied");
    let mut rest = Vec::new();
    let _ = talk.tcp.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn a_body_in_chunks_goes_on_whatever_the_method() {
    let target = Target::http(|request| ok(request.split_once("\r\n\r\n").unwrap().1));
    let gateway = Gateway::start();
    let credential = gateway.credential();
    for method in ["GET", "DELETE", "POST", "PROPFIND"] {
        let mut talk = Talk::to(gateway.address(HTTP));
        let head = get(&credential, &target.address.to_string(), "/", "Transfer-Encoding: chunked\r\n");
        talk.send(head.replacen("GET", method, 1) + "5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(talk.reply().body, "5\r\nhello\r\n0\r\n\r\n", "{method}");
    }
}
