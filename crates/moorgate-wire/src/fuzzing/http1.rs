//! HTTP/1: against httparse, against itself, and cut anywhere.

use crate::http1::{
    BodyDecoder, BodyError, Framing, HeadStep, Headers, MAX_HEADERS, MAX_TRAILER_BYTES, RequestHead, ResponseStep,
    encode_last_chunk, may_end_head, parse_request, parse_response, parse_target_response,
};

/// Cuts do not matter; what we accept httparse accepts with the same fields; what we write we read back.
pub fn http1_request(data: &[u8]) {
    response(data);
    let whole = parse_request(data);
    let verdict_at = match &whole {
        HeadStep::Head { consumed, .. } => *consumed,
        _ => data.len(),
    };
    let step = (data.len() / 512).max(1);
    for cut in (0..verdict_at).step_by(step) {
        let early = parse_request(data.get(..cut).unwrap_or_default());
        assert!(early == HeadStep::NeedMore || early == whole, "cut at {cut}: {early:?} instead of {whole:?}");
    }
    if let HeadStep::Head { consumed, head } = whole {
        assert!(consumed <= data.len());
        same_as_httparse(data.get(..consumed).unwrap_or_default(), &head);
        reads_back(&head);
    }
}

/// Cuts do not matter, and what strict reading takes the other takes too; no head ends where none was expected to.
fn response(data: &[u8]) {
    const MOST: usize = 64 * 1024;
    let (strict, whole) = (parse_response(data), parse_target_response(data, MOST));
    if matches!(strict, ResponseStep::Head { .. }) {
        assert_eq!(strict, whole);
    }
    let ResponseStep::Head { consumed, .. } = whole else { return };
    let step = (consumed / 512).max(1);
    for cut in (0..consumed).step_by(step) {
        let early = parse_target_response(data.get(..cut).unwrap_or_default(), MOST);
        assert_eq!(early, ResponseStep::NeedMore, "cut at {cut}");
        assert!(may_end_head(data.get(..consumed).unwrap_or_default(), cut), "cut at {cut}");
    }
}

fn same_as_httparse(bytes: &[u8], head: &RequestHead) {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut other = httparse::Request::new(&mut fields);
    assert_eq!(other.parse(bytes), Ok(httparse::Status::Complete(bytes.len())));
    assert_eq!(other.method, Some(head.method.as_str()));
    assert_eq!(other.headers.len(), head.headers.len());
    for (theirs, (name, value)) in other.headers.iter().zip(head.headers.iter()) {
        assert!(theirs.name.eq_ignore_ascii_case(name));
        assert_eq!(theirs.value.trim_ascii(), value.trim_ascii());
    }
}

fn reads_back(head: &RequestHead) {
    if head.target.asked().is_some_and(|asked| asked.host.is_err()) {
        return;
    }
    let again = |head: &RequestHead| {
        let bytes = head.encode();
        match parse_request(&bytes) {
            HeadStep::Head { consumed, head } if consumed == bytes.len() => Some(head),
            // A long target can grow by its port, and a value by its space, past the limit.
            HeadStep::TooLong => None,
            other => {
                assert_eq!(other, HeadStep::NeedMore, "what we wrote does not read");
                None
            }
        }
    };
    let Some(second) = again(head) else { return };
    assert_eq!(second.method, head.method);
    assert_eq!(second.headers, head.headers);
    assert_eq!((second.framing, second.keep_alive), (head.framing, head.keep_alive));
    let canonical = |head: &RequestHead| head.target.asked().map(|asked| asked.canonical());
    assert_eq!(canonical(&second), canonical(head));
    let Some(third) = again(&second) else { return };
    assert_eq!(third, second, "written anew once, a head stays as it is");
    let mut stripped = second;
    stripped.strip_hop_by_hop();
    assert!(!stripped.headers.contains("connection") && !stripped.headers.contains("proxy-authorization"));
    assert_eq!(stripped.headers.contains("host"), head.headers.contains("host"));
}

/// The first byte chooses the framing; then every cut gives the same body, or the same error.
pub fn http1_body(data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else { return };
    let framing = match choice {
        0 => Framing::None,
        n @ 1..=31 => Framing::Length(u64::from(n)),
        _ => Framing::Chunked,
    };
    let whole = decode(framing, body, body.len().max(1));
    assert_eq!(whole, decode(framing, body, 1), "cut at every byte");
    assert_eq!(whole, decode(framing, body, 5), "cut at every fifth byte");
    let last = encode_last_chunk(&whole.1);
    let again = (Vec::new(), whole.1, Ok(Some(last.len())));
    // A space behind each colon is ours, and may be one too many.
    if last.len() <= MAX_TRAILER_BYTES {
        assert_eq!(decode(Framing::Chunked, &last, last.len()), again, "trailers that we write");
    }
}

type Outcome = (Vec<u8>, Headers, Result<Option<usize>, BodyError>);

/// The body's bytes, its trailers, and where it ended, if it did.
fn decode(framing: Framing, body: &[u8], cut: usize) -> Outcome {
    let mut decoder = BodyDecoder::new(framing).keeping_trailers();
    let mut data = Vec::new();
    let mut at = 0;
    loop {
        let fed = body.get(at..body.len().min(at + cut)).unwrap_or_default();
        let decoded = match decoder.decode(fed) {
            Ok(decoded) => decoded,
            Err(why) => return (data, Headers::new(), Err(why)),
        };
        assert!(decoded.data.end <= decoded.consumed && decoded.consumed <= fed.len());
        assert_eq!(decoded.done, decoder.is_done());
        data.extend_from_slice(fed.get(decoded.data).unwrap_or_default());
        at += decoded.consumed;
        if decoded.done {
            return (data, decoder.take_trailers(), Ok(Some(at)));
        }
        if fed.is_empty() {
            return (data, decoder.take_trailers(), Ok(None));
        }
        assert!(decoded.consumed > 0, "stands still");
    }
}
