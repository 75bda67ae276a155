//! The raw bytes of a head, before any parser reads them: where it ends, and what httparse would
//! let pass but another reader might read differently.

use memchr::{memchr, memchr_iter};

use super::{HeadError, MAX_HEAD_BYTES, is_token, is_token_byte};

/// Where a head is in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    NeedMore,
    TooLong,
    /// Its bytes, with the empty line; what lies before it is one empty line at most.
    Found {
        start: usize,
        end: usize,
    },
}

/// What a head may be.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Its bytes at most.
    pub(super) bytes: usize,
    /// Whether a line may end in LF alone (RFC 9112 §2.2). Never a request's: there it smuggles.
    pub(super) bare_lf: bool,
}

impl Bounds {
    /// What we hold clients to.
    pub(super) const STRICT: Self = Self { bytes: MAX_HEAD_BYTES, bare_lf: false };
}

/// Finds the head's end and checks every byte up to there. Its verdict on a buffer is the same for
/// every longer one, so that it does not matter how the bytes came.
pub(super) fn scan(buf: &[u8], bounds: Bounds) -> Result<Scan, HeadError> {
    let start = match buf {
        [] | [b'\r'] => return Ok(Scan::NeedMore),
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    };
    let head = buf.get(start..).unwrap_or_default();
    match head {
        [b'\r', b'\n', ..] if start > 0 => return Err(HeadError::BlankLines),
        [first, ..] if !matches!(first, b'\r' | b'\n') && !is_token(&[*first]) => {
            return Err(HeadError::NotHttp(*first));
        }
        _ => {}
    }
    match end_of_plain(head, bounds) {
        Some(end) => Ok(Scan::Found { start, end: start + end }),
        None => scan_bytes(head, start, bounds),
    }
}

/// Looks at one byte after the other of a head that begins at `start`.
fn scan_bytes(head: &[u8], start: usize, bounds: Bounds) -> Result<Scan, HeadError> {
    let mut before = 0_u8;
    let mut line_start = true;
    for (at, &byte) in head.iter().enumerate() {
        if at == bounds.bytes {
            return Ok(Scan::TooLong);
        }
        match (before, byte) {
            (_, b'\n') if before == b'\r' || bounds.bare_lf => {
                if line_start {
                    return Ok(Scan::Found { start, end: start + at + 1 });
                }
                line_start = true;
            }
            (b'\r', _) => return Err(HeadError::BareCr),
            (_, b'\n') => return Err(HeadError::BareLf),
            (_, b'\r') => {}
            (_, b' ' | b'\t') if line_start && at > 0 => return Err(HeadError::Folded),
            (_, b'\t') => line_start = false,
            (_, byte) if is_control(byte) => return Err(HeadError::ControlByte(byte)),
            _ => line_start = false,
        }
        before = byte;
    }
    Ok(if head.len() == bounds.bytes { Scan::TooLong } else { Scan::NeedMore })
}

/// Where a whole head ends that has nothing odd about it, as most have: found line by line instead of byte by byte.
fn end_of_plain(head: &[u8], bounds: Bounds) -> Option<usize> {
    let head = head.get(..bounds.bytes).unwrap_or(head);
    let (mut from, mut lines) = (0, 0);
    for lf in memchr_iter(b'\n', head) {
        lines += 1;
        match head.get(from..lf)? {
            [b'\r'] => {
                // Each line's CR and LF, and no other.
                let whole = head.get(..=lf)?;
                return (controls(whole) == 2 * lines).then_some(whole.len());
            }
            [b' ' | b'\t', ..] if from > 0 => return None,
            [.., b'\r'] => from = lf + 1,
            _ => return None,
        }
    }
    None
}

/// How many control bytes there are, tabs not counted. It looks at each byte, and counts in one, so that many are looked at
/// at once.
pub(super) fn controls(bytes: &[u8]) -> usize {
    let count = |some: &[u8]| some.iter().fold(0_u8, |count, &byte| count + u8::from(is_control(byte)));
    bytes.chunks(usize::from(u8::MAX)).map(|some| usize::from(count(some))).sum()
}

/// A control byte other than a tab, which alone may stand in a line.
pub(super) fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() & (byte != b'\t')
}

/// Checks each field line of a whole head for a name right before its colon.
pub(super) fn check_fields(head: &[u8]) -> Result<(), HeadError> {
    let mut rest = memchr(b'\n', head).and_then(|lf| head.get(lf + 1..)).unwrap_or_default();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(memchr(b'\n', rest).map_or(rest.len(), |lf| lf + 1));
        rest = after;
        let end = line.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(line.len());
        if end > 0 && line.get(end) == Some(&b':') {
            continue;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let colon = line.iter().position(|&b| b == b':').ok_or(HeadError::NoColon)?;
        let name = line.get(..colon).unwrap_or_default();
        let shown = || String::from_utf8_lossy(name.trim_ascii_end()).chars().take(64).collect();
        match name {
            [] => return Err(HeadError::EmptyName),
            [.., b' ' | b'\t'] => return Err(HeadError::SpaceBeforeColon(shown())),
            name if !is_token(name) => return Err(HeadError::Name(shown())),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    const PIECES: &[&[u8]] =
        &[b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b"a", b"a: b", b":", b"\0", b"\x7f", b"\xff"];

    #[test]
    fn an_ordinary_head_is_found_line_by_line() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\nx:\tb\r\n\r\n";
        assert_eq!(end_of_plain(head, Bounds::STRICT), Some(head.len()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_found_line_by_line_is_what_each_byte_says(
            pieces in vec(select(PIECES), 0..12),
            bytes in 1..40_usize,
            bare_lf: bool,
        ) {
            let (head, bounds) = (pieces.concat(), Bounds { bytes, bare_lf });
            if let Some(end) = end_of_plain(&head, bounds) {
                prop_assert_eq!(scan_bytes(&head, 0, bounds), Ok(Scan::Found { start: 0, end }));
            }
        }
    }
}
