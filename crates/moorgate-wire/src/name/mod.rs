//! Domain names in the one form that is matched, resolved and forwarded (RFC 1123 §2.1, RFC 952,
//! with `_` as in RFC 8552): lower case, ASCII, no trailing dot.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// Longest name, in bytes, without a trailing dot (RFC 1035 §2.3.4).
pub const MAX_NAME_BYTES: usize = 253;
/// Longest label, in bytes (RFC 1035 §2.3.4).
pub const MAX_LABEL_BYTES: usize = 63;

/// A domain name: lower-case letters, digits, `-` and `_` in labels of 1 to 63 bytes, 253 bytes in
/// all, no trailing dot, no label that begins or ends with `-`, and no last label that a resolver
/// could read as a number. Cloning costs a reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Arc<str>);

/// Why a text is not a [`DomainName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// No byte at all.
    #[error("a name is missing")]
    Empty,
    /// More than [`MAX_NAME_BYTES`].
    #[error("a name has at most {MAX_NAME_BYTES} characters, this one has {0}")]
    TooLong(usize),
    /// Ends in a dot.
    #[error("leave the dot at the end out")]
    TrailingDot,
    /// Two dots in a row, or one in front.
    #[error("there is nothing between two dots")]
    EmptyLabel,
    /// A label of more than [`MAX_LABEL_BYTES`].
    #[error("a part between dots has at most {MAX_LABEL_BYTES} characters, one here has {0}")]
    LabelTooLong(usize),
    /// A label begins or ends with `-`; certificates cannot hold such a name (RFC 1123 §2.1).
    #[error("a part between dots cannot begin or end with a hyphen")]
    HyphenAtEdge,
    /// A byte beyond ASCII.
    #[error("write international names in their ASCII form (xn--…)")]
    NotAscii,
    /// A byte that no name has.
    #[error("{0:?} cannot stand in a name: letters, digits, hyphens and dots can")]
    BadCharacter(char),
    /// The last label is a number, so that some resolvers would read an address.
    #[error("the last part reads as a number, so this is neither a name nor an address")]
    EndsInNumber,
}

impl DomainName {
    /// Reads a name in either case.
    ///
    /// # Errors
    /// The first thing about `text` that is wrong.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text)?;
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The name, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, for whoever keeps it.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// What follows the first dot; `None` for a name of one label.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// Whether `*.suffix` means this name: exactly one label stands before `suffix` (RFC 6125 §6.4.3).
    /// `suffix` is lower case and without the `*.`.
    pub fn matches_wildcard(&self, suffix: &str) -> bool {
        self.parent() == Some(suffix)
    }
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if !text.is_ascii() {
        return Err(NameError::NotAscii);
    }
    let odd = |c: &char| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.');
    if let Some(c) = text.chars().find(odd) {
        return Err(NameError::BadCharacter(c));
    }
    if text.len() > 1 && text.ends_with('.') && !text.ends_with("..") {
        return Err(NameError::TrailingDot);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(text.len()));
    }
    for label in text.split('.') {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if label.len() > MAX_LABEL_BYTES {
            return Err(NameError::LabelTooLong(label.len()));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(NameError::HyphenAtEdge);
        }
    }
    if text.rsplit('.').next().is_some_and(reads_as_number) {
        return Err(NameError::EndsInNumber);
    }
    Ok(())
}

/// Whether inet_aton or a URL parser would take the label for a number: all digits, or `0x` in front.
fn reads_as_number(label: &str) -> bool {
    let hex = label.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("0x"));
    hex || label.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DomainName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl AsRef<str> for DomainName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests;
