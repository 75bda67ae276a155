//! A path's characters: their one spelling, and what they can be read as.

use std::{fmt::Write as _, iter};

use super::PathError;

/// Escapes of unreserved characters are decoded (RFC 3986 §6.2.2.2), other escapes have upper-case
/// digits, runs of slashes are one. `%` itself stays escaped, so that a second pass changes nothing.
pub(super) fn canonical(path: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = rest.next().zip(rest.next());
                let byte = digits.and_then(|(high, low)| hex(high, low)).ok_or(PathError::Escape)?;
                match byte {
                    0 => return Err(PathError::Nul),
                    byte if is_unreserved(byte) => out.push(char::from(byte)),
                    // Writing to a String cannot fail.
                    byte => drop(write!(out, "%{byte:02X}")),
                }
            }
            b'/' if out.ends_with('/') => {}
            byte => out.push(char::from(byte)),
        }
    }
    Ok(out)
}

/// Whether some reader finds a segment that is one dot or two.
pub(super) fn has_dot_segment(path: &[u8]) -> bool {
    // How many dots the segment has; `None` once there is anything else.
    let mut dots = Some(0);
    let is_dots = |dots| matches!(dots, Some(1 | 2));
    for byte in decoded(path) {
        dots = match (byte, dots) {
            (b'/' | b'\\' | b';', _) if is_dots(dots) => return true,
            (b'/' | b'\\', _) => Some(0),
            (b'.', Some(dots @ 0..=2)) => Some(dots + 1),
            // What follows a `;` is the segment's parameters.
            _ => None,
        };
    }
    is_dots(dots)
}

pub(super) fn is_plain(path: &[u8]) -> bool {
    let slashes = path.iter().filter(|&&byte| byte == b'/').count();
    let seen = decoded(path).filter(|byte| matches!(byte, b'/' | b'\\' | b';')).count();
    slashes == seen
}

/// The bytes that `path` means to whoever decodes it over and over: `%2e`, `%252e`, `%25252e` are all a dot.
fn decoded(mut path: &[u8]) -> impl Iterator<Item = u8> {
    iter::from_fn(move || {
        let (&byte, mut rest) = path.split_first()?;
        if byte != b'%' {
            path = rest;
            return Some(byte);
        }
        while let Some(behind) = rest.strip_prefix(b"25") {
            rest = behind;
        }
        let escaped = match rest {
            [high, low, behind @ ..] => hex(*high, *low).map(|byte| (byte, behind)),
            _ => None,
        };
        let (byte, behind) = escaped.unwrap_or((b'%', rest));
        path = behind;
        Some(byte)
    })
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from((digit(high)? << 4) | digit(low)?).ok()
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
