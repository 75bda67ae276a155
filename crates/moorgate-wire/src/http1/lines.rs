//! The raw bytes of a head, before any parser reads them: where it ends, and what httparse would
//! let pass but another reader might read differently.

use super::{HeadError, MAX_HEAD_BYTES, is_token};

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
            (_, byte) if byte.is_ascii_control() => return Err(HeadError::ControlByte(byte)),
            _ => line_start = false,
        }
        before = byte;
    }
    Ok(if head.len() == bounds.bytes { Scan::TooLong } else { Scan::NeedMore })
}

/// Checks each field line of a whole head for a name right before its colon.
pub(super) fn check_fields(head: &[u8]) -> Result<(), HeadError> {
    for line in head.split(|&b| b == b'\n').skip(1) {
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
