use super::super::*;

type Outcome = Result<(Vec<u8>, Option<usize>), BodyError>;

/// The body's bytes and where it ended, for bytes that arrive `cut` at a time.
fn decode(framing: Framing, bytes: &[u8], cut: usize) -> Outcome {
    let (mut decoder, mut data, mut at) = (BodyDecoder::new(framing), Vec::new(), 0);
    loop {
        let fed = &bytes[at..bytes.len().min(at + cut)];
        let step = decoder.decode(fed)?;
        data.extend_from_slice(&fed[step.data]);
        at += step.consumed;
        if step.done {
            return Ok((data, Some(at)));
        }
        if fed.is_empty() {
            assert!(!decoder.is_done());
            return Ok((data, None));
        }
    }
}

fn check(framing: Framing, bytes: &[u8], expected: Outcome) {
    for cut in 1..=bytes.len().max(1) {
        assert_eq!(decode(framing, bytes, cut), expected, "{} in pieces of {cut}", bytes.escape_ascii());
    }
}

#[test]
fn a_body_ends_where_its_framing_says() {
    let ok = |data: &[u8], end| Ok((data.to_vec(), end));
    check(Framing::None, b"GET /", ok(b"", Some(0)));
    check(Framing::Length(0), b"x", ok(b"", Some(0)));
    check(Framing::Length(3), b"abcdef", ok(b"abc", Some(3)));
    check(Framing::Length(9), b"abc", ok(b"abc", None));
    let chunked = |bytes, expected| check(Framing::Chunked, bytes, expected);
    chunked(b"3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\nGET", ok(b"abc0123456789", Some(29)));
    chunked(b"0\r\n\r\n", ok(b"", Some(5)));
    chunked(b"000000000000000\r\n\r\n", ok(b"", Some(19)));
    chunked(b"1;a=\"b;\"\r\nx\r\n0;e\r\n\r\n", ok(b"x", Some(20)));
    chunked(b"0\r\nA: b\r\nC:\r\n\r\nrest", ok(b"", Some(15)));
    chunked(b"fffffffffffffff\r\nabc", ok(b"abc", None));
    chunked(b"3\r\nabc\r\n", ok(b"abc", None));
}

#[test]
fn odd_chunks_are_refused() {
    use BodyError::*;
    let cases: [(&[u8], BodyError); 22] = [
        (b"0x3\r\nabc\r\n", SizeByte(b'x')),
        (b"+3\r\nabc\r\n", SizeByte(b'+')),
        (b"-1\r\n", SizeByte(b'-')),
        (b"1_0\r\n", SizeByte(b'_')),
        (b" 3\r\nabc", SizeByte(b' ')),
        (b"3 \r\nabc", SizeByte(b' ')),
        (b"3\nabc", SizeByte(b'\n')),
        (b"g\r\n", SizeByte(b'g')),
        (b"\r\n", NoSize),
        (b";a\r\n", NoSize),
        (b"ffffffffffffffff\r\n", SizeTooLong),
        (b"0000000000000000\r\n", SizeTooLong),
        (b"3\rabc", LineEnd(b'a')),
        (b"3;a\nabc", ExtensionByte(b'\n')),
        (b"3;a\0", ExtensionByte(0)),
        (b"3\r\nabcd", LineEnd(b'd')),
        (b"3\r\nabc\n", LineEnd(b'\n')),
        (b"3\r\nabc\r0", LineEnd(b'0')),
        (b"0\r\n a: b\r\n\r\n", TrailerByte(b' ')),
        (b"0\r\na\r\n\r\n", TrailerByte(b'\r')),
        (b"0\r\na: b\n\r\n", TrailerByte(b'\n')),
        (b"0\r\n\rX", TrailerByte(b'X')),
    ];
    for (bytes, why) in cases {
        check(Framing::Chunked, bytes, Err(why));
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let extension = |len: usize| [b"1;", &vec![b'x'; len - 1][..], b"\r\na\r\n0\r\n\r\n"].concat();
    let limit = MAX_CHUNK_EXTENSION_BYTES;
    assert!(decode(Framing::Chunked, &extension(limit), 9_999).is_ok());
    assert_eq!(decode(Framing::Chunked, &extension(limit + 1), 1), Err(BodyError::ExtensionTooLong));
    let trailer = |len: usize| [b"0\r\nA:", &vec![b'x'; len - 6][..], b"\r\n\r\n"].concat();
    assert!(decode(Framing::Chunked, &trailer(MAX_TRAILER_BYTES), 7).is_ok());
    assert_eq!(decode(Framing::Chunked, &trailer(MAX_TRAILER_BYTES + 1), 7), Err(BodyError::TrailersTooLong));
}

#[test]
fn chunks_we_write_we_read() {
    for (len, expected) in [(1, "1\r\n"), (10, "a\r\n"), (4096, "1000\r\n"), (usize::MAX, "ffffffffffffffff\r\n")] {
        assert_eq!(&*encode_chunk_head(len), expected.as_bytes());
    }
    assert!(encode_chunk_head(0).is_empty(), "an empty chunk would end the body");
    let mut bytes = Vec::new();
    for part in [&[b'x'; 300][..], b"y"] {
        bytes.extend([&*encode_chunk_head(part.len()), part, CHUNK_END].concat());
    }
    bytes.extend(LAST_CHUNK);
    let data = [&[b'x'; 300][..], b"y"].concat();
    assert_eq!(decode(Framing::Chunked, &bytes, 64), Ok((data, Some(bytes.len()))));
}
