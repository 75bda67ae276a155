//! The `Proxy-Status` field (RFC 9209), written with the strings and tokens of RFC 8941 §3.3.

use std::fmt::Write as _;

/// The field's name, lower case.
pub const NAME: &str = "proxy-status";
/// Longest `details`, in characters before escaping.
pub const MAX_DETAILS_CHARS: usize = 300;

/// One member of the list: what this gateway has to say about a response.
#[derive(Clone, Copy, Debug)]
pub struct ProxyStatus<'a> {
    /// Who says it: `moorgate`.
    pub name: &'a str,
    /// The registered type of error (RFC 9209 §2.3), such as `connection_refused`.
    pub error: Option<&'a str>,
    /// A person's words (RFC 9209 §2.1.5); any text: what cannot stand in the field becomes `?`.
    pub details: Option<&'a str>,
    /// The status that the next hop answered with (RFC 9209 §2.1.4).
    pub received_status: Option<u16>,
    /// More parameters, each value written as a string. One whose key is no key of RFC 8941 is left out.
    pub extra: &'a [(&'a str, &'a str)],
}

impl Default for ProxyStatus<'_> {
    fn default() -> Self {
        Self { name: "moorgate", error: None, details: None, received_status: None, extra: &[] }
    }
}

impl ProxyStatus<'_> {
    /// The field's value: printable ASCII, whatever the parts hold.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        token_or_string(&mut out, self.name);
        if let Some(error) = self.error {
            out.push_str("; error=");
            token_or_string(&mut out, error);
        }
        if let Some(status) = self.received_status {
            // Writing to a String cannot fail.
            let _ = write!(out, "; received-status={status}");
        }
        if let Some(details) = self.details {
            out.push_str("; details=");
            string(&mut out, details);
        }
        for (key, value) in self.extra.iter().filter(|(key, _)| is_key(key)) {
            let _ = write!(out, "; {key}=");
            string(&mut out, value);
        }
        out
    }
}

fn token_or_string(out: &mut String, text: &str) {
    if is_token(text) { out.push_str(text) } else { string(out, text) }
}

/// An sf-string (RFC 8941 §3.3.3): printable ASCII, with `"` and `\` escaped.
fn string(out: &mut String, text: &str) {
    out.push('"');
    // Our own words come with a peer's bytes escaped already: escaping once more would only blur them.
    for c in text.chars().take(MAX_DETAILS_CHARS) {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            '…' => out.push_str("..."),
            _ => out.push('?'),
        }
    }
    out.push('"');
}

/// An sf-token (RFC 8941 §3.3.4).
fn is_token(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*')
        && text.bytes().all(|b| crate::http1::is_token_byte(b) || matches!(b, b':' | b'/'))
}

/// A parameter's key (RFC 8941 §3.1.2).
fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase() || c == '*')
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*'))
}

#[cfg(test)]
mod tests;
