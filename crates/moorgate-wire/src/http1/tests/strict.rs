use super::{super::*, bad, good, lines, verdict};
use crate::host::{NotCanonical, PortError};

/// What a request with these lines after `POST / HTTP/1.1` and Host is refused for.
fn refused(fields: &[&str]) -> HeadError {
    bad(&lines(&[&["POST / HTTP/1.1", "Host: a.test"], fields].concat()))
}

fn framed(fields: &[&str]) -> Framing {
    good(&lines(&[&["POST / HTTP/1.1", "Host: a.test"], fields].concat())).framing
}

#[test]
fn a_body_has_one_framing() {
    use HeadError::*;
    assert_eq!(refused(&["Content-Length: 3", "Transfer-Encoding: chunked"]), TransferEncodingAndLength);
    assert_eq!(refused(&["Transfer-Encoding: chunked", "Content-Length: 3"]), TransferEncodingAndLength);
    assert_eq!(refused(&["transfer-encoding: identity", "content-length: x"]), TransferEncodingAndLength);
    assert_eq!(refused(&["Content-Length: 3", "Content-Length: 3"]), TwoLengths);
    assert_eq!(refused(&["Content-Length: 3", "Content-Length: 4"]), TwoLengths);
    assert_eq!(refused(&["Content-Length: 3, 3"]), TwoLengths);
    for value in ["", " ", "+3", "-3", "0x3", "3 3", "3.0", "1234567890123456789", "³"] {
        assert_eq!(refused(&[&format!("Content-Length: {value}")]), Length, "{value:?}");
    }
    for value in ["", "gzip", "gzip, chunked", "chunked, chunked", "chunked;q=1", "\"chunked\"", "xchunked", "chunked,"]
    {
        assert_eq!(refused(&[&format!("Transfer-Encoding: {value}")]), TransferEncoding, "{value:?}");
    }
    assert_eq!(refused(&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]), TransferEncoding);
    assert_eq!(bad(&lines(&["POST / HTTP/1.0", "Transfer-Encoding: chunked"])), TransferEncodingOn10);
    let connect = |field| lines(&["CONNECT a.test:443 HTTP/1.1", "Host: a.test:443", field]);
    assert_eq!(bad(&connect("Content-Length: 5")), ConnectBody);
    assert_eq!(bad(&connect("Transfer-Encoding: chunked")), ConnectBody);
    assert_eq!(good(&connect("Content-Length: 0")).framing, Framing::None);
    assert_eq!(framed(&["Content-Length: 0999999999999999"]), Framing::Length(999_999_999_999_999));
    assert_eq!(framed(&["Content-Length: \t7 "]), Framing::Length(7));
    assert_eq!(framed(&["Transfer-Encoding: Chunked"]), Framing::Chunked);
    assert_eq!(framed(&[]), Framing::None);
}

#[test]
fn lines_and_bytes_have_one_reading() {
    use HeadError::*;
    let cases: [(&[u8], HeadError); 24] = [
        (b"GET / HTTP/1.1\nHost: a\n\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", BareLf),
        (b"\nGET / HTTP/1.1\r\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", BareCr),
        (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", BareCr),
        (b"\rGET / HTTP/1.1\r\n\r\n", BareCr),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BlankLines),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", Folded),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\tc: d\r\n\r\n", Folded),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Folded),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", ControlByte(0)),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", ControlByte(0x1b)),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", ControlByte(0x7f)),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", SpaceBeforeColon("Host".into())),
        (b"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", SpaceBeforeColon("Host".into())),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", EmptyName),
        (b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", NoColon),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n", Name("X(y)".into())),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        (b"GET /\r\nHost: a\r\n\r\n", RequestLine),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", RequestLine),
        (b"\x16\x03\x01\x02\x00", NotHttp(0x16)),
        (b"\x05\x01\x02", NotHttp(5)),
        (b" GET / HTTP/1.1\r\n\r\n", NotHttp(b' ')),
    ];
    for (bytes, expected) in cases {
        assert_eq!(bad(bytes), expected, "{}", bytes.escape_ascii());
    }
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/1", "HTTP/1.10", "HTTX/1.1"] {
        assert_eq!(bad(&lines(&[&format!("GET / {version}"), "Host: a"])), Version, "{version}");
    }
    assert_eq!(bad(&lines(&[&format!("{} / HTTP/1.1", "M".repeat(33)), "Host: a"])), Method);
    assert_eq!(bad(&lines(&["G@T / HTTP/1.1", "Host: a"])), Method);
    let blank = [b"\r\n", &lines(&["m-search / HTTP/1.1", "Host: a"])[..]].concat();
    assert_eq!(good(&blank).method.as_str(), "m-search");
}

#[test]
fn a_head_is_bounded_in_bytes_and_fields() {
    let padded = |fill: usize| lines(&["GET / HTTP/1.1", "Host: a", &format!("X: {}", "x".repeat(fill))]);
    let fits = MAX_HEAD_BYTES - padded(0).len();
    assert!(matches!(parse_request(&padded(fits)), HeadStep::Head { consumed: MAX_HEAD_BYTES, .. }));
    assert_eq!(parse_request(&padded(fits + 1)), HeadStep::TooLong);
    assert_eq!(parse_request(&padded(100_000)), HeadStep::TooLong);
    assert_eq!(parse_request(&vec![b'x'; MAX_HEAD_BYTES - 1]), HeadStep::NeedMore);
    assert_eq!(parse_request(&vec![b'x'; MAX_HEAD_BYTES]), HeadStep::TooLong);
    let many = |n: usize| lines(&[&["GET / HTTP/1.1", "Host: a"], vec!["X: y"; n - 1].as_slice()].concat());
    assert_eq!(good(&many(MAX_HEADERS)).headers.len(), MAX_HEADERS);
    assert_eq!(verdict(&many(MAX_HEADERS + 1)), HeadStep::TooLong);
}

#[test]
fn host_is_there_once_and_agrees_with_the_target() {
    use HeadError::*;
    assert_eq!(bad(&lines(&["GET / HTTP/1.1"])), NoHost);
    assert_eq!(bad(&lines(&["GET / HTTP/1.1", "Host: a", "Host: a"])), TwoHosts);
    assert_eq!(bad(&lines(&["GET / HTTP/1.0", "Host: a", "Host: b"])), TwoHosts);
    good(&lines(&["GET / HTTP/1.0"]));
    let cases = [
        ("GET http://a.test/", "A.TEST", true),
        ("GET http://a.test/", "a.test:80", true),
        ("GET http://a.test:80/", "a.test", true),
        ("GET https://a.test/", "a.test:443", true),
        ("GET http://[::1]/", "[0:0:0:0:0:0:0:1]", true),
        ("GET http://a.test/", "b.test", false),
        ("GET http://a.test/", "a.test:81", false),
        ("GET http://a.test:81/", "a.test", false),
        ("GET http://a.test/", "", false),
        ("GET http://a.test/", "a.test.", false),
        ("GET http://a.test/", "a.test, b.test", false),
        ("GET http://a.test/", "x@a.test", false),
        ("GET http://127.0.0.1/", "127.1", false),
        ("GET http://127.1/", "127.1", true),
        ("CONNECT a.test:443", "a.test:443", true),
        ("CONNECT a.test:8443", "a.test", true),
        ("CONNECT a.test:443", "a.test:8443", false),
        ("CONNECT a.test:443", "b.test:443", false),
        ("CONNECT a.test:443", "", false),
    ];
    for (target, host, agrees) in cases {
        let bytes = lines(&[&format!("{target} HTTP/1.1"), &format!("Host: {host}")]);
        let mismatch = matches!(verdict(&bytes), HeadStep::Malformed(HostMismatch));
        assert_eq!(mismatch, !agrees, "{target} with {host:?}: {:?}", verdict(&bytes));
    }
    assert!(HostMismatch.is_host_mismatch());
}

#[test]
fn targets_have_one_form_each() {
    use HeadError::*;
    let target = |text: &str| good(&lines(&[&format!("{text} HTTP/1.0")])).target;
    let paths = [
        ("GET http://a.test", "/"),
        ("GET HTTP://a.test/", "/"),
        ("GET http://a.test?q=/x", "/?q=/x"),
        ("GET http://a.test/a%2fb/../c?d", "/a%2fb/../c?d"),
        ("OPTIONS http://a.test", "*"),
        ("OPTIONS http://a.test/", "/"),
    ];
    for (text, expected) in paths {
        assert!(matches!(target(text), super::super::Target::Absolute { path, .. } if &*path == expected), "{text}");
    }
    assert_eq!(target("GET /x?y"), super::super::Target::Origin("/x?y".into()));
    assert_eq!(target("OPTIONS *"), super::super::Target::Asterisk);
    let refused = [
        ("GET *", Target),
        ("GET a.test", Target),
        ("GET a.test:443", Target),
        ("GET http:/a.test", Target),
        ("GET ftp://a.test/", Scheme),
        ("GET http:///x", NoTargetHost),
        ("GET http://:80/", NoTargetHost),
        ("GET http://a.test:/", Port(PortError::Invalid)),
        ("GET http://a.test:99999/", Port(PortError::Invalid)),
        ("GET http://a.test/#x", TargetByte('#')),
        ("GET /a\\b", TargetByte('\\')),
        ("GET http://a.test\\@b.test/", TargetByte('\\')),
        ("GET /\u{e4}", TargetByte('\u{c3}')),
        ("CONNECT a.test", Port(PortError::Missing)),
        ("CONNECT a.test:", Port(PortError::Invalid)),
        ("CONNECT :443", NoTargetHost),
        ("CONNECT /", ConnectTarget),
        ("CONNECT http://a.test:443", ConnectTarget),
        ("CONNECT a.test:443/", ConnectTarget),
    ];
    for (text, expected) in refused {
        assert_eq!(bad(&lines(&[&format!("{text} HTTP/1.0")])), expected, "{text}");
    }
}

#[test]
fn a_host_that_is_not_canonical_is_read_and_marked() {
    let cases = [
        ("GET http://user:secret@a.test/", "…@a.test:80"),
        ("CONNECT 0x7f.1:443", "0x7f.1:443"),
        ("CONNECT ::1:443", "::1:443"),
        ("CONNECT a.test:0", "a.test:0"),
        ("GET http://127%2e1/", "127%2e1:80"),
    ];
    for (target, text) in cases {
        let head = good(&lines(&[&format!("{target} HTTP/1.1"), "Host: a.test"]));
        let asked = head.target.asked().unwrap();
        assert!(asked.host.is_err(), "{target}");
        assert_eq!(asked.text(), text);
        assert!(!format!("{head:?}").contains("secret"));
    }
    let v6 = good(&lines(&["CONNECT ::1:443 HTTP/1.0"]));
    assert!(matches!(v6.target.asked().unwrap().host, Err(NotCanonical::BracketsNeeded { .. })));
}

#[test]
fn a_connection_is_kept_as_its_version_and_connection_say() {
    let kept = |version: &str, fields: &[&str]| {
        let first = format!("GET / {version}");
        good(&lines(&[&[&*first, "Host: a"], fields].concat())).keep_alive
    };
    assert!(kept("HTTP/1.1", &[]));
    assert!(kept("HTTP/1.1", &["Connection: upgrade", "Upgrade: h2c"]));
    assert!(!kept("HTTP/1.1", &["Connection: keep-alive, Close"]));
    assert!(!kept("HTTP/1.1", &["Connection: keep-alive", "Connection: ,close,"]));
    assert!(!kept("HTTP/1.0", &[]));
    assert!(!kept("HTTP/1.0", &["Proxy-Connection: keep-alive"]));
    assert!(kept("HTTP/1.0", &["Connection: Keep-Alive"]));
    assert_eq!(refused(&["Connection: a b"]), HeadError::Connection);
}

#[test]
fn what_is_for_this_hop_goes_and_nothing_else() {
    let mut head = good(&lines(&[
        "POST http://a.test/ HTTP/1.1",
        "Host: a.test",
        "Connection: X-Mine, Host, Content-Length, Via, close",
        "X-Mine: 1",
        "X-Other: 2",
        "Content-Length: 3",
        "Via: 1.1 loop",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic dXNlcjpwYXNz",
        "TE: trailers",
        "Trailer: X",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "Authorization: Bearer a",
    ]));
    assert!(!format!("{head:?}").contains("dXNlcjpwYXNz") && !format!("{head:?}").contains("Bearer"));
    head.strip_hop_by_hop();
    let left: Vec<&str> = head.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["host", "x-other", "content-length", "via", "authorization"]);
}
