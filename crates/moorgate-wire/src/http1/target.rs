//! Request targets (RFC 9112 §3.2), and whether Host agrees with them.

use std::fmt;

use super::{HeadError, Headers, Method, Version};
use crate::host::{Asked, NotCanonical};

/// Where a request goes.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// `host:port`, of a CONNECT only; the port was written.
    Authority(Asked),
    /// `http://host[:port]/path?query`.
    Absolute {
        /// What stood before `://`.
        scheme: Scheme,
        /// With the scheme's port where none was written.
        asked: Asked,
        /// Path and query: at least `/`, or `*` for OPTIONS of a whole server (RFC 9112 §3.2.4).
        path: Box<str>,
    },
    /// Path and query, beginning with `/`.
    Origin(Box<str>),
    /// `*`, of an OPTIONS only.
    Asterisk,
}

/// The scheme of an absolute target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`, port 80.
    Http,
    /// `https`, port 443. It reads, though a proxy has no way to serve it.
    Https,
}

impl Scheme {
    /// Lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port when none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Target {
    /// What was asked for, where the target itself says it.
    pub fn asked(&self) -> Option<&Asked> {
        match self {
            Self::Authority(asked) | Self::Absolute { asked, .. } => Some(asked),
            Self::Origin(_) | Self::Asterisk => None,
        }
    }

    /// Writes it in the form it has. A host that is not canonical is written as it was asked for: such a
    /// target is refused and goes nowhere.
    pub(super) fn encode_into(&self, out: &mut Vec<u8>) {
        let authority = |asked: &Asked| match asked.canonical() {
            Some(canonical) => canonical.to_string(),
            None => asked.text().to_owned(),
        };
        match self {
            Self::Authority(asked) => out.extend_from_slice(authority(asked).as_bytes()),
            Self::Absolute { scheme, asked, path } => {
                out.extend_from_slice(scheme.as_str().as_bytes());
                out.extend_from_slice(b"://");
                out.extend_from_slice(authority(asked).as_bytes());
                // OPTIONS of a whole server has no path in absolute form.
                if &**path != "*" {
                    out.extend_from_slice(path.as_bytes());
                }
            }
            Self::Origin(path) => out.extend_from_slice(path.as_bytes()),
            Self::Asterisk => out.push(b'*'),
        }
    }
}

/// Queries hold keys and tokens, so they are not shown.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &str| match path.split_once('?') {
            Some((path, _)) => format!("{path}?…"),
            None => path.to_owned(),
        };
        match self {
            Self::Authority(asked) => f.debug_tuple("Authority").field(asked).finish(),
            Self::Absolute { scheme, asked, path } => {
                f.debug_tuple("Absolute").field(scheme).field(asked).field(&shown(path)).finish()
            }
            Self::Origin(path) => f.debug_tuple("Origin").field(&shown(path)).finish(),
            Self::Asterisk => f.write_str("Asterisk"),
        }
    }
}

/// Visible ASCII without `#` and backslash: a fragment is never sent, and some readers take a
/// backslash for a slash.
pub(super) fn check_bytes(target: &[u8]) -> Result<(), HeadError> {
    match target.iter().find(|&&b| !b.is_ascii_graphic() || matches!(b, b'#' | b'\\')) {
        Some(&byte) => Err(HeadError::TargetByte(char::from(byte))),
        None => Ok(()),
    }
}

/// Reads a target whose bytes have been checked.
pub(super) fn parse_target(method: &Method, text: &str) -> Result<Target, HeadError> {
    if method.is_connect() {
        if text.contains(['/', '?']) {
            return Err(HeadError::ConnectTarget);
        }
        return authority(text, None).map(Target::Authority);
    }
    if text == "*" {
        return if method.is_options() { Ok(Target::Asterisk) } else { Err(HeadError::Target) };
    }
    if text.starts_with('/') {
        return Ok(Target::Origin(text.into()));
    }
    absolute(method, text)
}

fn absolute(method: &Method, text: &str) -> Result<Target, HeadError> {
    let (scheme, rest) = text.split_once("://").ok_or(HeadError::Target)?;
    let scheme = match () {
        () if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        () if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        () => return Err(HeadError::Scheme),
    };
    let (host, path) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len())).unwrap_or((rest, ""));
    let asked = authority(host, Some(scheme.default_port()))?;
    let path = match path {
        "" if method.is_options() => "*".into(),
        "" => "/".into(),
        path if path.starts_with('/') => path.into(),
        query => format!("/{query}").into(),
    };
    Ok(Target::Absolute { scheme, asked, path })
}

fn authority(text: &str, default: Option<u16>) -> Result<Asked, HeadError> {
    let asked = Asked::from_authority(text, default).map_err(HeadError::Port)?;
    if asked.host == Err(NotCanonical::Empty) { Err(HeadError::NoTargetHost) } else { Ok(asked) }
}

/// One Host (HTTP/1.0 may lack it), and the same host as the target's (RFC 9112 §3.2, stricter:
/// a proxy might ignore it, and then two readers disagree).
pub(super) fn check_host(target: &Target, version: Version, headers: &Headers) -> Result<(), HeadError> {
    let mut hosts = headers.get_all("host");
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(HeadError::TwoHosts),
        (None, None) if version == Version::Http10 => return Ok(()),
        (None, None) => return Err(HeadError::NoHost),
        (Some(host), None) => host,
    };
    let agrees = match target {
        Target::Origin(_) | Target::Asterisk => true,
        // CONNECT has no scheme: a Host without a port means whatever the target's is.
        Target::Authority(asked) => same(asked, asked.port, host),
        Target::Absolute { scheme, asked, .. } => same(asked, scheme.default_port(), host),
    };
    if agrees { Ok(()) } else { Err(HeadError::HostMismatch) }
}

/// Whether `host` names what was asked for; `default` is its port when none is written. What is
/// not canonical is refused for that, whatever Host says.
fn same(asked: &Asked, default: u16, host: &[u8]) -> bool {
    let Ok(canonical) = asked.host.as_ref() else { return true };
    let Ok(text) = str::from_utf8(host) else { return false };
    Asked::from_authority(text, Some(default))
        .is_ok_and(|said| said.port == asked.port && said.host.as_ref() == Ok(canonical))
}
