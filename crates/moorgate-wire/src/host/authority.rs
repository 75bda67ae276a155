//! `host[:port]` taken apart (RFC 3986 §3.2), before either part is judged.

use thiserror::Error;

/// What is wrong with the port of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PortError {
    /// There must be one.
    #[error("the port is missing; write host:port")]
    Missing,
    /// Not one to five digits up to 65535 without a leading zero.
    #[error("what follows the host's colon is no port; write a number from 1 to 65535")]
    Invalid,
}

/// An authority's parts, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// In brackets, when it was.
    pub(crate) host: &'a str,
    pub(crate) port: Option<u16>,
    /// More than one colon and no brackets: an address that can't be told from its port.
    pub(crate) unbracketed: bool,
}

/// Splits at the colon that begins the port.
pub(crate) fn split(text: &str) -> Result<Authority<'_>, PortError> {
    // Userinfo may hold colons and brackets of its own.
    let start = text.rfind('@').map_or(0, |at| at + 1);
    let tail = text.get(start..).unwrap_or_default();
    let host_len = if tail.starts_with('[') {
        tail.find(']').map_or(tail.len(), |end| end + 1)
    } else if tail.matches(':').count() > 1 {
        return Ok(Authority { host: text, port: None, unbracketed: true });
    } else {
        tail.find(':').unwrap_or(tail.len())
    };
    let (host, rest) = text.split_at_checked(start + host_len).unwrap_or((text, ""));
    let port = match rest.strip_prefix(':') {
        Some(digits) => Some(port(digits)?),
        None if rest.is_empty() => None,
        None => return Err(PortError::Invalid),
    };
    Ok(Authority { host, port, unbracketed: false })
}

fn port(digits: &str) -> Result<u16, PortError> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain).ok_or(PortError::Invalid)
}
