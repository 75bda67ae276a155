use super::super::*;
use crate::host::HostPort;

#[test]
fn a_response_has_no_way_to_end_a_line_early() {
    let mut head = ResponseHead::new(407);
    head.headers.push("Proxy-Authenticate", "Basic realm=\"moorgate\"");
    head.headers.push("X", "a\r\nSet-Cookie: b\0");
    head.headers.push("bad name", "x");
    head.headers.push("bad:\r\nname", "x");
    head.headers.set("CONTENT-LENGTH", "0");
    let text = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"moorgate\"\r\n\
        x: a  Set-Cookie: b \r\ncontent-length: 0\r\n\r\n";
    assert_eq!(String::from_utf8(head.encode(Version::Http11)).unwrap(), text);
    assert!(ResponseHead::new(7).encode(Version::Http10).starts_with(b"HTTP/1.0 100 "));
}

#[test]
fn the_agent_reads_the_proxys_answer() {
    let bytes = b"HTTP/1.1 200 OK\r\nProxy-Status: moorgate\r\n\r\nbanner";
    for cut in 0..bytes.len() - 6 {
        assert_eq!(parse_response(&bytes[..cut]), ResponseStep::NeedMore);
    }
    let headers = [("proxy-status", "moorgate")].into_iter().collect();
    assert_eq!(
        parse_response(bytes),
        ResponseStep::Head { consumed: bytes.len() - 6, version: Version::Http11, status: 200, headers }
    );
    assert!(matches!(parse_response(b"HTTP/1.0 200\r\n\r\n"), ResponseStep::Head { status: 200, .. }));
    let malformed: [&[u8]; 6] = [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 x\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\n\n",
        b"\x05\xff",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    ];
    for bytes in malformed {
        assert!(matches!(parse_response(bytes), ResponseStep::Malformed(_)), "{}", bytes.escape_ascii());
    }
    let mut long = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
    long.resize(MAX_HEAD_BYTES, b'a');
    assert_eq!(parse_response(&long), ResponseStep::TooLong);
}

#[test]
fn what_is_no_http_is_not_waited_for() {
    let others: [&[u8]; 5] = [b"hi", b"SSH-2.0-x", b"\r\nhi", b"HTTX", b"\n"];
    for other in others {
        assert!(matches!(parse_response(other), ResponseStep::Malformed(_)), "{}", other.escape_ascii());
        assert!(matches!(parse_target_response(other, 64), ResponseStep::Malformed(_)), "{}", other.escape_ascii());
    }
    assert_eq!(parse_response(b"\r"), ResponseStep::NeedMore);
}

#[test]
fn a_targets_lines_may_end_in_lf_alone() {
    for head in ["HTTP/1.0 200 OK\nA: b\n\n", "HTTP/1.0 200 OK\nA: b\r\n\n", "HTTP/1.0 200 OK\r\nA: b\n\r\n"] {
        let bytes = [head, "x"].concat().into_bytes();
        let ResponseStep::Head { consumed, version, status, headers } = parse_target_response(&bytes, 64) else {
            panic!("{head:?}");
        };
        assert_eq!((consumed, version, status), (head.len(), Version::Http10, 200), "{head:?}");
        assert_eq!(headers, [("a", "b")].into_iter().collect(), "{head:?}");
        assert!(matches!(parse_response(&bytes), ResponseStep::Malformed(_)), "{head:?}");
        for cut in 1..head.len() {
            assert_eq!(parse_target_response(&bytes[..cut], 64), ResponseStep::NeedMore, "{head:?} {cut}");
            // However it is cut, its end is noticed.
            assert!(may_end_head(&bytes, cut), "{head:?} {cut}");
        }
    }
    assert_eq!(
        parse_target_response(&[b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'a'; 64]].concat(), 64),
        ResponseStep::TooLong
    );
}

#[test]
fn a_connect_of_ours_is_read_by_ours() {
    let target = HostPort::parse("[2001:db8::1]:443").unwrap();
    let bytes = encode_connect(&target, Some(("user", "pass")));
    let HeadStep::Head { consumed, head } = parse_request(&bytes) else { panic!() };
    assert_eq!(consumed, bytes.len());
    assert_eq!(head.target.asked().and_then(|asked| asked.canonical()), Some(target.clone()));
    let basic = crate::basic::parse(head.headers.get("proxy-authorization").unwrap()).unwrap();
    assert_eq!((basic.username.as_str(), basic.password.as_str()), ("user", "pass"));
    assert!(!String::from_utf8(encode_connect(&target, None)).unwrap().contains("authorization"));
}

#[test]
fn a_response_body_ends_where_rfc_9112_says() {
    use ResponseFraming::*;
    let get = Method::parse("GET").unwrap();
    let framing = |status, method: &str, fields: &[(&str, &str)]| {
        response_framing(status, &Method::parse(method).unwrap(), &fields.iter().copied().collect())
    };
    assert_eq!(framing(200, "GET", &[]), Ok(UntilClose));
    assert_eq!(framing(200, "GET", &[("content-length", "5")]), Ok(Framed(Framing::Length(5))));
    assert_eq!(framing(200, "GET", &[("content-length", "0")]), Ok(Framed(Framing::None)));
    assert_eq!(framing(200, "GET", &[("transfer-encoding", "chunked")]), Ok(Framed(Framing::Chunked)));
    assert_eq!(framing(200, "HEAD", &[("content-length", "5")]), Ok(Framed(Framing::None)));
    assert_eq!(framing(304, "GET", &[("content-length", "5")]), Ok(Framed(Framing::None)));
    assert_eq!(framing(200, "CONNECT", &[("content-length", "5")]), Ok(Framed(Framing::None)));
    assert_eq!(framing(407, "CONNECT", &[("content-length", "5")]), Ok(Framed(Framing::Length(5))));
    assert_eq!(
        framing(200, "GET", &[("content-length", "5"), ("content-length", "5, 5")]),
        Ok(Framed(Framing::Length(5)))
    );
    for two in [&[("content-length", "5"), ("content-length", "6")][..], &[("content-length", "5, 6")]] {
        assert_eq!(framing(200, "GET", two), Err(HeadError::TwoLengths));
    }
    for none in ["", ",", "+5", "5 5", "0x5", "1234567890123456789"] {
        assert_eq!(framing(200, "GET", &[("content-length", none)]), Err(HeadError::Length), "{none:?}");
    }
    let both = Headers::from_iter([("content-length", "5"), ("transfer-encoding", "chunked")]);
    assert_eq!(response_framing(200, &get, &both), Ok(Framed(Framing::Chunked)));
    assert!(!response_keeps_alive(Version::Http11, &both));
}
