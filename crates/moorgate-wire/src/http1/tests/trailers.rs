use super::super::*;

/// The data and the trailers, for bytes that arrive `cut` at a time.
fn decode(bytes: &[u8], cut: usize) -> Result<(Vec<u8>, Headers, usize), BodyError> {
    let (mut decoder, mut data, mut at) = (BodyDecoder::new(Framing::Chunked).keeping_trailers(), Vec::new(), 0);
    while !decoder.is_done() {
        assert!(decoder.take_trailers().is_empty(), "trailers before the end");
        let fed = &bytes[at..bytes.len().min(at + cut)];
        let step = decoder.decode(fed)?;
        data.extend_from_slice(&fed[step.data]);
        at += step.consumed;
    }
    Ok((data, decoder.take_trailers(), at))
}

/// `expected` is the fields as they are encoded.
fn check(trailers: &str, expected: &str) {
    let bytes = format!("3\r\nabc\r\n0;x\r\n{trailers}\r\nGET");
    for cut in 1..bytes.len() {
        let (data, fields, end) = decode(bytes.as_bytes(), cut).unwrap();
        assert_eq!((&data[..], end), (&b"abc"[..], bytes.len() - 3), "{trailers:?}");
        let mut encoded = Vec::new();
        fields.encode_into(&mut encoded);
        assert_eq!(String::from_utf8_lossy(&encoded), expected, "{trailers:?} in pieces of {cut}");
        // What is sent on is read the same.
        let again = encode_last_chunk(&fields);
        assert_eq!(decode(&again, cut), Ok((Vec::new(), fields, again.len())));
    }
}

#[test]
fn trailers_are_handed_out_at_the_end() {
    check("", "");
    check("Grpc-Status: 0\r\ngrpc-message:\r\n", "grpc-status: 0\r\ngrpc-message: \r\n");
    check("A:b\r\na: \t c d\t\r\n", "a: b\r\na: c d\r\n");
    check("Content-Digest: sha-256=:x:\r\n", "content-digest: sha-256=:x:\r\n");
    check("X: a:b\r\n", "x: a:b\r\n");
}

#[test]
fn a_field_that_a_head_is_checked_for_is_never_taken_from_a_trailer() {
    for name in [
        "Transfer-Encoding",
        "Content-Length",
        "Host",
        "Trailer",
        "TE",
        "Connection",
        "Upgrade",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "Content-Encoding",
        "Content-Type",
        "Content-Range",
        "Cache-Control",
        "Expect",
        "Max-Forwards",
        "Range",
        "If-Match",
        "Forwarded",
        "X-Forwarded-For",
        "Location",
        "Vary",
    ] {
        check(&format!("{name}: 1\r\nok: 2\r\n{}: 3\r\n", name.to_ascii_uppercase()), "ok: 2\r\n");
        assert_eq!(encode_last_chunk(&[(name, "1")].into_iter().collect()), LAST_CHUNK, "{name} is not sent either");
    }
}

#[test]
fn trailers_are_as_strict_and_as_bounded_as_without_being_kept() {
    let refused = |trailers: &[u8]| {
        let bytes = [b"0\r\n", trailers].concat();
        let why = decode(&bytes, 5).unwrap_err();
        if why != BodyError::TooManyTrailers {
            assert_eq!(BodyDecoder::new(Framing::Chunked).decode(&bytes), Err(why));
        }
        why
    };
    assert_eq!(refused(b"a b: c\r\n\r\n"), BodyError::TrailerByte(b' '));
    assert_eq!(refused(b"a : c\r\n\r\n"), BodyError::TrailerByte(b' '));
    assert_eq!(refused(b": c\r\n\r\n"), BodyError::TrailerByte(b':'));
    assert_eq!(refused(b"a: b\r\n c\r\n\r\n"), BodyError::TrailerByte(b' '));
    assert_eq!(refused(b"a: b\0"), BodyError::TrailerByte(0));
    assert_eq!(refused(&vec![b'x'; MAX_TRAILER_BYTES + 1]), BodyError::TrailersTooLong);
    assert_eq!(refused("a:\r\n".repeat(MAX_HEADERS + 1).as_bytes()), BodyError::TooManyTrailers);
    assert!(decode(format!("0\r\n{}\r\n", "a:\r\n".repeat(MAX_HEADERS)).as_bytes(), 99).is_ok());
}

#[test]
fn who_does_not_ask_for_trailers_gets_none() {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    assert!(decoder.decode(b"0\r\na: b\r\n\r\n").unwrap().done);
    assert!(decoder.take_trailers().is_empty());
    assert_eq!(encode_last_chunk(&Headers::new()), LAST_CHUNK);
}

#[test]
fn a_request_and_its_response_carry_trailers_behind_their_bodies() {
    let request =
        b"POST /svc HTTP/1.1\r\nHost: a.test\r\nTE: gzip;q=0.5, Trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
        1\r\nx\r\n0\r\nContent-Digest: sha-256=:x:\r\nHost: evil.test\r\n\r\n";
    let HeadStep::Head { consumed, head } = parse_request(request) else { panic!() };
    assert!(accepts_trailers(&head.headers));
    let (data, trailers, end) = decode(&request[consumed..], 4).unwrap();
    assert_eq!((&data[..], consumed + end), (&b"x"[..], request.len()));
    assert_eq!(trailers, [("content-digest", "sha-256=:x:")].into_iter().collect());

    let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
        1\r\ny\r\n0\r\ngrpc-status: 5\r\nSet-Cookie: a=b\r\n\r\n";
    let ResponseStep::Head { consumed, headers, .. } = parse_response(response) else { panic!() };
    assert!(!accepts_trailers(&headers));
    let (data, trailers, end) = decode(&response[consumed..], 3).unwrap();
    assert_eq!((&data[..], consumed + end), (&b"y"[..], response.len()));
    assert_eq!(encode_last_chunk(&trailers), b"0\r\ngrpc-status: 5\r\n\r\n");
}

#[test]
fn a_secret_in_a_trailer_is_not_shown() {
    let mut decoder = BodyDecoder::new(Framing::Chunked).keeping_trailers();
    decoder.decode(b"0\r\nx-key: secret-so-far").unwrap();
    assert!(!format!("{decoder:?}").contains("secret"));
}
