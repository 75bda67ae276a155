//! A request's head as a value.

use std::borrow::Cow;

use super::{Headers, MAX_METHOD_BYTES, Target, headers::token};

/// A request's head, checked: what it says can be said in one way only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// As sent: methods are case-sensitive.
    pub method: Method,
    /// Where it goes.
    pub target: Target,
    /// The client's version.
    pub version: Version,
    /// All fields, the framing ones included.
    pub headers: Headers,
    /// How the body is framed; [`Framing::None`] for CONNECT.
    pub framing: Framing,
    /// Whether the client will send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for 100 before it sends the body.
    pub expect_continue: bool,
}

impl RequestHead {
    /// Takes away what is meant for this hop only; see [`Headers::strip_hop_by_hop`]. Fields of ours are added afterwards.
    pub fn strip_hop_by_hop(&mut self) {
        self.headers.strip_hop_by_hop();
    }

    /// Writes the head anew, in the version and with the target's form it has, with the empty line at the end.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        self.target.encode_into(&mut out);
        out.push(b' ');
        out.extend_from_slice(self.version.as_str().as_bytes());
        out.extend_from_slice(b"\r\n");
        self.headers.encode_into(&mut out);
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// A method: a token of at most [`MAX_METHOD_BYTES`] (RFC 9110 §9.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Method(Cow<'static, str>);

/// Those that are seen most, which need no text of their own.
const COMMON: [&str; 8] = ["GET", "POST", "CONNECT", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"];

impl Method {
    /// GET.
    pub const GET: Self = Self(Cow::Borrowed("GET"));

    /// `None` for what is no token or too long.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(common) = COMMON.iter().find(|common| **common == text) {
            return Some(Self(Cow::Borrowed(common)));
        }
        token(text.as_bytes()).filter(|t| t.len() <= MAX_METHOD_BYTES).map(|t| Self(Cow::Owned(t.into())))
    }

    /// As sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// CONNECT.
    pub fn is_connect(&self) -> bool {
        &*self.0 == "CONNECT"
    }

    /// HEAD, whose response has no body.
    pub fn is_head(&self) -> bool {
        &*self.0 == "HEAD"
    }

    /// OPTIONS.
    pub fn is_options(&self) -> bool {
        &*self.0 == "OPTIONS"
    }

    /// Whether sending it twice means the same as once (RFC 9110 §9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(&*self.0, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// A version of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// As it stands in a request or status line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// How a request's body is framed (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes; at most 18 digits.
    Length(u64),
    /// In chunks.
    Chunked,
}
