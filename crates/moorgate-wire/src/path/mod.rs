//! Request paths in the one form that is matched and forwarded (RFC 3986 §3.3, §6.2.2).
//!
//! A rule for `/admin` is none if `/%61dmin`, `//admin` or `/x/..%2fadmin` passes by it and the
//! origin reads `/admin`. So there is one spelling of each path; what some reader takes for a step
//! upwards is refused, and nothing is resolved; and the origin gets what was matched.

use std::fmt;

use thiserror::Error;

mod segments;

/// A path and its query: begins with `/`, visible ASCII without `#` and backslash, escapes only
/// where they are needed and in upper case, no two slashes in a row, no dot segment in any reading.
/// Never longer than what it was read from.
///
/// ```
/// use moorgate_wire::path::CanonicalPath;
///
/// let path = CanonicalPath::parse("//%61pi/a%2fb?x=%61").unwrap();
/// assert_eq!(path.as_str(), "/api/a%2Fb?x=%61");
/// assert!(path.has_prefix("/api") && !path.has_prefix("/ap"));
/// assert!(CanonicalPath::parse("/api/..%2fadmin").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    text: Box<str>,
    /// Where the path ends.
    path_len: usize,
}

/// Why a path is refused. None of them quotes it: a path may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// Another first character, or none.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A character beyond visible ASCII, `#` or a backslash: no URL sends one, and readers differ on them.
    #[error("there is {0:?} in the path, which no URL sends as it is; write it as %xx")]
    Byte(char),
    /// `%` without two hex digits (RFC 3986 §2.1).
    #[error("there is a % in the path that two hex digits do not follow; write %25")]
    Escape,
    /// `%00`, at which some readers end a path.
    #[error("there is a %00 in the path")]
    Nul,
    /// A segment that is `.` or `..`, as it stands or however often it is decoded; an escaped slash or
    /// backslash ends a segment here, and so does a `;`.
    #[error("there is a . or .. segment in the path; write the path that is meant")]
    DotSegment,
}

impl CanonicalPath {
    /// Reads path and query as they stand in a request's target. The query's bytes are checked, and kept as they are.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(path_and_query: &str) -> Result<Self, PathError> {
        if !path_and_query.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if let Some(c) = path_and_query.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '#' | '\\')) {
            return Err(PathError::Byte(c));
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let mut text = segments::canonical(path)?;
        if segments::has_dot_segment(text.as_bytes()) {
            return Err(PathError::DotSegment);
        }
        let path_len = text.len();
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        Ok(Self { text: text.into(), path_len })
    }

    /// The path alone; at least `/`.
    pub fn path(&self) -> &str {
        self.text.get(..self.path_len).unwrap_or_default()
    }

    /// What follows the first `?`; may be empty.
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path_len + 1..)
    }

    /// Path and query, as they are forwarded.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path begins with all segments of `prefix`: `/api` is a prefix of `/api`, `/api/` and `/api/x`,
    /// not of `/apix`; a slash at its end changes nothing. Compared as text, so that `prefix` must be the
    /// [`path`](Self::path) of a canonical path; any other is a prefix of nothing. An escaped slash and a `;`
    /// are characters of their segment: see [`Self::is_plain`].
    pub fn has_prefix(&self, prefix: &str) -> bool {
        let path = self.path();
        let stem = prefix.strip_suffix('/').unwrap_or(prefix);
        let rest = path.strip_prefix(stem);
        prefix.starts_with('/') && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether every reader splits the path into the same segments: there is no escaped slash or backslash, however
    /// often escaped, and no `;` in it. A rule that keeps clients *out* of a prefix holds for plain paths only.
    pub fn is_plain(&self) -> bool {
        segments::is_plain(self.path().as_bytes())
    }
}

/// Queries hold keys and tokens, so they are not shown.
impl fmt::Debug for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.query().is_some() { "?…" } else { "" };
        write!(f, "{}{query}", self.path())
    }
}

#[cfg(test)]
mod tests;
