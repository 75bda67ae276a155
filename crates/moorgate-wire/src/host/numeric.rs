//! How inet_aton (and the WHATWG URL parser) reads a numeric host: only to say what was meant.

use std::net::Ipv4Addr;

/// The address that `text` means to inet_aton: one to four parts, decimal, octal (`0…`) or hex
/// (`0x…`), the last one filling what is left. `None` where it means nothing.
pub(super) fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut parts = Vec::with_capacity(4);
    for part in text.split('.') {
        if parts.len() == 4 {
            return None;
        }
        parts.push(number(part)?);
    }
    let (&last, front) = parts.split_last()?;
    let mut value: u64 = 0;
    for &part in front {
        value = (value << 8) | u64::from(u8::try_from(part).ok()?);
    }
    let bits = 32 - 8 * u32::try_from(front.len()).ok()?;
    if last >> bits != 0 {
        return None;
    }
    u32::try_from((value << bits) | last).ok().map(Ipv4Addr::from)
}

fn number(part: &str) -> Option<u64> {
    // from_str_radix takes a sign.
    if !part.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (digits, radix) = match part.get(..2) {
        Some("0x" | "0X") => (part.get(2..)?, 16),
        _ if part.len() > 1 && part.starts_with('0') => (part, 8),
        _ => (part, 10),
    };
    if digits.is_empty() {
        return Some(0);
    }
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().filter(|&n| n <= u64::from(u32::MAX))
}
