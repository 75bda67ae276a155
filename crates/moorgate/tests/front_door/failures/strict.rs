//! HTTP/1 as strictly as it can be read: what two readers could read differently is refused, on the first and on a later
//! request of a connection, and not a byte of it reaches the target.

use std::{thread, time::Duration};

use super::{Expected, HTTP, check_refusal};
use crate::{
    gateway::Gateway,
    talk::{Talk, authorization, get},
    target::{Target, ok},
};

/// Behind the request line of `METHOD http://TARGET/`: fields, the empty line, a body. `HOST` and `AUTH` are whole lines.
const CASES: &[(&str, &str, &str)] = &[
    (
        "Transfer-Encoding, then Content-Length",
        "POST",
        "HOST AUTH Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "Content-Length, then Transfer-Encoding",
        "POST",
        "HOST AUTH Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("two equal Content-Lengths", "POST", "HOST AUTH Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("a Content-Length in a list", "POST", "HOST AUTH Content-Length: 5, 5\r\n\r\nhello"),
    ("an empty Content-Length", "POST", "HOST AUTH Content-Length:\r\n\r\n"),
    ("a signed Content-Length", "POST", "HOST AUTH Content-Length: +5\r\n\r\nhello"),
    ("a Content-Length in hex", "POST", "HOST AUTH Content-Length: 0x5\r\n\r\nhello"),
    ("lines that end in LF alone", "GET", "HOST AUTH X: y\n\r\n"),
    ("an end of the head in LF alone", "GET", "HOST AUTH X: y\n\n"),
    ("a folded line", "GET", "HOST AUTH X: y\r\n z\r\n\r\n"),
    ("a NUL in a value", "GET", "HOST AUTH X: a\0b\r\n\r\n"),
    ("a CR in a value", "GET", "HOST AUTH X: a\rb\r\n\r\n"),
    ("two Hosts", "GET", "HOST HOST AUTH \r\n"),
    ("no Host", "GET", "AUTH \r\n"),
    ("a space before the colon", "GET", "HOST AUTH X : y\r\n\r\n"),
    ("a field without a name", "GET", "HOST AUTH : y\r\n\r\n"),
    ("a line without a colon", "GET", "HOST AUTH nonsense\r\n\r\n"),
    ("another coding than chunked", "POST", "HOST AUTH Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice", "POST", "HOST AUTH Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunked with a vertical tab", "POST", "HOST AUTH Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("a chunk size of 0x5", "POST", "HOST AUTH Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size of +5", "POST", "HOST AUTH Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a space", "POST", "HOST AUTH Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"),
    (
        "a chunk size of 16 digits",
        "POST",
        "HOST AUTH Transfer-Encoding: chunked\r\n\r\n0000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "a chunk size with an underscore",
        "POST",
        "HOST AUTH Transfer-Encoding: chunked\r\n\r\n1_0\r\nhello\r\n0\r\n\r\n",
    ),
    ("no chunk size", "POST", "HOST AUTH Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"),
    (
        "a chunk's line that ends in LF alone",
        "POST",
        "HOST AUTH Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    ),
    ("a chunk's data without its CR LF", "POST", "HOST AUTH Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n"),
    (
        "a chunk's data that ends in LF alone",
        "POST",
        "HOST AUTH Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n",
    ),
    ("a broken second chunk", "POST", "HOST AUTH Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\n\r\n"),
    ("a trailer with a NUL", "POST", "HOST AUTH Transfer-Encoding: chunked\r\n\r\n0\r\nX: \0\r\n\r\n"),
];

/// Whole heads, with `TARGET` for the target's authority.
const HEADS: &[(&str, &str, &str)] = &[
    (
        "another Host than the target's",
        "GET http://TARGET/ HTTP/1.1\r\nHost: other.example\r\nAUTH \r\n",
        "host_mismatch",
    ),
    ("another port in Host", "GET http://TARGET/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAUTH \r\n", "host_mismatch"),
    ("CONNECT with another Host", "CONNECT TARGET HTTP/1.1\r\nHost: other.example\r\nAUTH \r\n", "host_mismatch"),
    ("CONNECT with a body", "CONNECT TARGET HTTP/1.1\r\nHOST AUTH Content-Length: 5\r\n\r\nhello", "malformed"),
    ("CONNECT without a port", "CONNECT 127.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAUTH \r\n", "malformed"),
    ("a version of the future", "GET http://TARGET/ HTTP/1.2\r\nHOST AUTH \r\n", "malformed"),
    ("HTTP/0.9", "GET http://TARGET/\r\n\r\n", "malformed"),
    ("two spaces in the request line", "GET  http://TARGET/ HTTP/1.1\r\nHOST AUTH \r\n", "malformed"),
    ("a tab in the request line", "GET\thttp://TARGET/ HTTP/1.1\r\nHOST AUTH \r\n", "malformed"),
    ("a fragment", "GET http://TARGET/#x HTTP/1.1\r\nHOST AUTH \r\n", "malformed"),
    ("a backslash in the target", "GET http://TARGET\\x HTTP/1.1\r\nHOST AUTH \r\n", "malformed"),
    ("another scheme", "GET ftp://TARGET/ HTTP/1.1\r\nHOST AUTH \r\n", "malformed"),
    ("a space before the first line", " GET http://TARGET/ HTTP/1.1\r\nHOST AUTH \r\n", "malformed"),
    ("a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\u{1}\r\n\r\n", "malformed"),
];

#[test]
fn what_two_readers_could_read_differently_reaches_no_target() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::http(|_| ok("fine"));
    let address = target.address.to_string();
    let fill = |text: &str| {
        text.replace("TARGET", &address)
            .replace("HOST ", &format!("Host: {address}\r\n"))
            .replace("AUTH ", &authorization(&credential))
    };
    let framed = CASES
        .iter()
        .map(|(name, method, rest)| (*name, fill(&format!("{method} http://TARGET/ HTTP/1.1\r\n{rest}")), "malformed"));
    let heads = HEADS.iter().map(|(name, head, code)| (*name, fill(head), *code));
    let good = get(&credential, &address, "/", "");

    let mut expected = Expected::of(&gateway);
    for (name, request, code) in framed.chain(heads) {
        for later in [false, true] {
            println!("{name}{}", if later { ", later" } else { "" });
            let mut talk = Talk::to(gateway.address(HTTP));
            if later {
                talk.send(&good);
                assert_eq!(talk.reply().body, "fine");
                expected.note(talk.local(), HTTP, "ok");
            }
            let before = target.seen();
            talk.send(&request);
            check_refusal(&talk.reply(), 400, code);
            assert!(talk.rest().0.is_empty(), "{name}: the connection is closed");
            expected.note(talk.local(), HTTP, code);
            assert_eq!(target.seen().bytes, before.bytes, "{name}: bytes at the target");
        }
    }
    expected.check();
}

/// How the cases of chunked bodies begin.
const CHUNKED: &str = "HOST AUTH Transfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_chunked_body_that_begins_wrong_reaches_no_target_however_late_it_comes() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::http(|_| ok("fine"));
    let address = target.address.to_string();
    let head = format!(
        "POST http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{}Transfer-Encoding: chunked\r\n\r\n",
        authorization(&credential)
    );
    let bodies: Vec<_> =
        CASES.iter().filter_map(|(name, _, rest)| Some((*name, rest.strip_prefix(CHUNKED)?))).collect();
    assert_eq!(bodies.iter().filter(|(name, _)| name.contains("chunk size")).count(), 6);
    let good = get(&credential, &address, "/", "");

    let mut expected = Expected::of(&gateway);
    for (name, body) in bodies {
        // Byte by byte only what is wrong before there is any data to forward.
        let is_first = !body.starts_with("5\r\n");
        for (later, dripped) in [(false, false), (true, false), (false, true), (true, true)] {
            if dripped && !is_first {
                continue;
            }
            println!("{name}, later: {later}, dripped: {dripped}");
            let mut talk = Talk::to(gateway.address(HTTP));
            if later {
                talk.send(&good);
                assert_eq!(talk.reply().body, "fine");
                expected.note(talk.local(), HTTP, "ok");
            }
            let before = target.seen().bytes;
            talk.send(&head);
            thread::sleep(Duration::from_millis(50));
            assert_eq!(target.seen().bytes, before, "{name}: the head waits for the first chunk");
            for piece in body.as_bytes().chunks(if dripped { 1 } else { body.len() }) {
                talk.send(piece);
                thread::sleep(Duration::from_millis(if dripped { 2 } else { 0 }));
            }
            check_refusal(&talk.reply(), 400, "malformed");
            assert_eq!(talk.rest().0, b"", "{name}: the connection is closed");
            expected.note(talk.local(), HTTP, "malformed");
            assert_eq!(target.seen().bytes, before, "{name}: bytes at the target");
        }
    }
    expected.check();
}

#[test]
fn chunk_extensions_of_a_kibibyte_and_trailers_of_eight_go_no_further_and_longer_ones_are_refused() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::http(|_| ok("fine"));
    let address = target.address.to_string();
    let head = get(&credential, &address, "/", "Transfer-Encoding: chunked\r\n").replacen("GET", "POST", 1);
    // With the semicolon; and with every byte up to the empty line's LF.
    let extension = |bytes: usize| format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(bytes - 1));
    let trailers = |bytes: usize| format!("5\r\nhello\r\n0\r\nX: {}\r\n\r\n", "x".repeat(bytes - 7));
    let mut expected = Expected::of(&gateway);
    for (body, fits) in
        [(extension(1024), true), (extension(1025), false), (trailers(8 * 1024), true), (trailers(8 * 1024 + 1), false)]
    {
        for late in [false, true] {
            let mut talk = Talk::to(gateway.address(HTTP));
            let before = target.seen();
            talk.send(&head);
            if late {
                thread::sleep(Duration::from_millis(50));
            }
            talk.send(&body);
            let reply = talk.reply();
            if fits {
                assert_eq!((reply.status, &*reply.body), (200, "fine"));
                assert!(target.seen().requests[before.requests.len()].ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
            } else {
                check_refusal(&reply, 400, "malformed");
                assert_eq!(target.seen().requests.len(), before.requests.len());
            }
            expected.note(talk.local(), HTTP, if fits { "ok" } else { "malformed" });
        }
    }
    expected.check();
}

#[test]
fn a_refused_request_says_nothing_about_the_next_ones_of_others() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::http(|_| ok("fine"));
    let good = get(&credential, &target.address.to_string(), "/", "");
    let mut patient = Talk::to(gateway.address(HTTP));
    for _ in 0..3 {
        let mut broken = Talk::to(gateway.address(HTTP));
        broken.send("GET / HTTP/1.1\n\n");
        assert_eq!(broken.reply().status, 400);
        patient.send(&good);
        assert_eq!(patient.reply().body, "fine");
    }
}
