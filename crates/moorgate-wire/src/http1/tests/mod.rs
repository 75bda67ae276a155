mod body;
mod captures;
mod property;
mod response;
mod strict;
mod trailers;

use super::{HeadError, HeadStep, Headers, RequestHead, parse_request};

/// Lines into a head with its empty line.
fn lines(lines: &[&str]) -> Vec<u8> {
    let mut out = lines.join("\r\n").into_bytes();
    out.extend(b"\r\n\r\n");
    out
}

/// The verdict, which must be the same however the bytes arrive.
fn verdict(bytes: &[u8]) -> HeadStep {
    let whole = parse_request(bytes);
    let used = if let HeadStep::Head { consumed, .. } = &whole { *consumed } else { bytes.len() };
    for cut in 0..used {
        let early = parse_request(&bytes[..cut]);
        assert!(early == HeadStep::NeedMore || early == whole, "{} cut at {cut}: {early:?}", bytes.escape_ascii());
    }
    whole
}

fn good(bytes: &[u8]) -> RequestHead {
    match verdict(bytes) {
        HeadStep::Head { head, .. } => head,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn bad(bytes: &[u8]) -> HeadError {
    match verdict(bytes) {
        HeadStep::Malformed(why) => why,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

#[test]
fn fields_of_two_heads_are_found_in_one() {
    let mut all = Headers::from_iter([("Accept", "*/*"), ("via", "1.1 a")]);
    all.append(&Headers::from_iter([("via", "1.1 b"), ("x-forwarded-for", "192.0.2.1")]));
    assert_eq!(
        all,
        Headers::from_iter([("accept", "*/*"), ("via", "1.1 a"), ("via", "1.1 b"), ("x-forwarded-for", "192.0.2.1")])
    );
    assert_eq!(all.get("x-forwarded-for"), Some(&b"192.0.2.1"[..]));
    assert_eq!(all.get_all("via").count(), 2);
    assert!(all.remove("via") && all.get("accept").is_some() && all.len() == 2);
}
