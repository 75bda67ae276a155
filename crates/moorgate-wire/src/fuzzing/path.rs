//! Paths: one spelling, and no step upwards for any reader.

use crate::path::CanonicalPath;

/// Decoded at most so often, which is more often than any chain of readers does.
const DECODINGS: usize = 8;

/// A canonical path reads the same again, and no reader finds a dot segment or another prefix in it.
pub fn path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(path) = CanonicalPath::parse(&text) else { return };
    assert!(path.as_str().len() <= text.len(), "grows");
    assert_eq!(CanonicalPath::parse(path.as_str()).as_ref(), Ok(&path), "reads the same again");
    let (alone, query) = (path.path(), path.query());
    assert_eq!(query, text.split_once('?').map(|(_, query)| query), "the query is kept");
    let whole = query.map_or(alone.to_owned(), |query| format!("{alone}?{query}"));
    assert_eq!(whole, path.as_str());
    assert!(alone.starts_with('/') && !alone.contains("//"));
    assert!(path.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\'));
    let mut reading = alone.as_bytes().to_vec();
    for _ in 0..DECODINGS {
        no_dot_segment(&reading);
        reading = decode(&reading);
    }
    assert!(path.has_prefix(alone) && path.has_prefix("/"));
    for (at, _) in alone.match_indices('/').skip(1) {
        assert!(path.has_prefix(alone.get(..at).unwrap_or_default()), "up to {at}");
    }
}

/// Splits where some reader does, and cuts parameters off as some do.
fn no_dot_segment(reading: &[u8]) {
    for segment in reading.split(|b| matches!(b, b'/' | b'\\')) {
        for part in [segment, segment.split(|&b| b == b';').next().unwrap_or_default()] {
            assert!(!matches!(part, b"." | b".."), "{} holds a step upwards", reading.escape_ascii());
        }
    }
}

/// Every escape decoded once; what is no escape stays.
fn decode(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|digits| byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let value = escaped.and_then(|digits| str::from_utf8(digits).ok()).map(|text| u8::from_str_radix(text, 16));
        match value {
            Some(Ok(value)) => {
                out.push(value);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    out
}
