//! `Proxy-Authorization: Basic …` (RFC 7617), read and written.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_PAD_INDIFFERENT},
};
use zeroize::{Zeroize as _, Zeroizing};

/// Longest field value that is looked at, in bytes: far beyond any credential of ours.
pub const MAX_VALUE_BYTES: usize = 2_048;

/// A username and password, as a client gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// Without a colon; may be empty.
    pub username: String,
    /// May hold colons; may be empty.
    pub password: Secret,
}

/// A text that is never shown and is overwritten when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text in.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, to be compared or hashed and never shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As [`Secret::as_str`], in bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Reads a field value: `Basic` in any case, spaces, base64 with or without its padding, and in
/// it UTF-8 without control characters that the first colon splits (RFC 7617 §2). `None` for all else.
pub fn parse(value: &[u8]) -> Option<Basic> {
    if value.len() > MAX_VALUE_BYTES {
        return None;
    }
    let (scheme, rest) = value.split_at_checked(5)?;
    let encoded = rest.trim_ascii_start();
    if !scheme.eq_ignore_ascii_case(b"basic") || encoded.len() == rest.len() {
        return None;
    }
    let decoded = STANDARD_PAD_INDIFFERENT.decode(encoded).ok()?;
    let text = match String::from_utf8(decoded) {
        Ok(text) => Zeroizing::new(text),
        Err(e) => {
            e.into_bytes().zeroize();
            return None;
        }
    };
    if text.chars().any(char::is_control) {
        return None;
    }
    let (username, password) = text.split_once(':')?;
    Some(Basic { username: username.to_owned(), password: Secret::new(password.to_owned()) })
}

/// Writes a field value. The username must hold no colon: [`parse`] would split it there.
pub fn encode(username: &str, password: &str) -> String {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    format!("Basic {}", STANDARD.encode(pair.as_bytes()))
}

#[cfg(test)]
mod tests;
