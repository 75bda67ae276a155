//! Why a head is malformed, in words for the person whose client sent it.

use thiserror::Error;

use crate::{host::PortError, visible::visible};

/// Why a head is refused. None of them quotes a field's value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The first byte begins no HTTP.
    #[error("the connection begins with {}, and HTTP is spoken here", guess(*.0))]
    NotHttp(u8),
    /// An empty line before the request beyond the one that RFC 9112 §2.2 lets pass.
    #[error("there is more than one empty line before the request")]
    BlankLines,
    /// LF without CR (RFC 9112 §2.2).
    #[error("a line ends in LF alone; end lines with CR LF")]
    BareLf,
    /// CR without LF (RFC 9112 §2.2).
    #[error("there is a CR without its LF")]
    BareCr,
    /// NUL or another control byte.
    #[error("there is a control byte (0x{0:02x}) in the head")]
    ControlByte(u8),
    /// A line that begins with a space or a tab (RFC 9112 §5.2).
    #[error("a header field is folded over two lines; write it on one")]
    Folded,
    /// Not `method SP target SP version`.
    #[error("the request line is not \"method target version\" with one space between")]
    RequestLine,
    /// Not a token, or longer than [`MAX_METHOD_BYTES`](super::MAX_METHOD_BYTES).
    #[error("the method is not a token of at most 32 characters")]
    Method,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    #[error("the version is neither HTTP/1.1 nor HTTP/1.0")]
    Version,
    /// A status line that is none.
    #[error("the status line is not \"version status reason\"")]
    StatusLine,
    /// A line without a colon.
    #[error("a header line has no colon")]
    NoColon,
    /// Nothing before the colon.
    #[error("a header field has no name")]
    EmptyName,
    /// White space before the colon (RFC 9112 §5.1).
    #[error("there is a space before the colon of header field {:?}", visible(&**.0).to_string())]
    SpaceBeforeColon(Box<str>),
    /// A name that is no token.
    #[error("{:?} is no header field's name", visible(&**.0).to_string())]
    Name(Box<str>),
    /// httparse refuses what our own checks let pass.
    #[error("the head cannot be read: {0}")]
    Parser(httparse::Error),
    /// Both framings (RFC 9112 §6.1).
    #[error("there are both Transfer-Encoding and Content-Length; send one of them")]
    TransferEncodingAndLength,
    /// More than one Content-Length, even if equal.
    #[error("there is more than one Content-Length; send one")]
    TwoLengths,
    /// Not 1 to 18 digits.
    #[error("Content-Length is not a number of 1 to 18 digits")]
    Length,
    /// Anything but one `chunked`.
    #[error("Transfer-Encoding is not \"chunked\" alone")]
    TransferEncoding,
    /// Transfer-Encoding on HTTP/1.0 (RFC 9112 §6.1).
    #[error("HTTP/1.0 has no Transfer-Encoding; send HTTP/1.1")]
    TransferEncodingOn10,
    /// CONNECT with a body (RFC 9110 §9.3.6).
    #[error("a CONNECT request has no body; leave its framing out")]
    ConnectBody,
    /// HTTP/1.1 without Host (RFC 9112 §3.2).
    #[error("there is no Host; HTTP/1.1 needs one")]
    NoHost,
    /// More than one Host.
    #[error("there is more than one Host; send one")]
    TwoHosts,
    /// Host names another host than the target.
    #[error("the request target and Host name different hosts; send the same in both")]
    HostMismatch,
    /// A Connection field that is no list of tokens (RFC 9110 §7.6.1).
    #[error("Connection is not a list of names")]
    Connection,
    /// A byte beyond visible ASCII in the target, `#` or a backslash.
    #[error("there is {0:?} in the request target, which no URL sends as it is")]
    TargetByte(char),
    /// None of the four forms (RFC 9112 §3.2).
    #[error("the request target is neither a path, nor http://host/…, nor *")]
    Target,
    /// An absolute target of another scheme.
    #[error("only http:// targets can be forwarded; use CONNECT for others")]
    Scheme,
    /// An absolute target without a host.
    #[error("the request target has no host")]
    NoTargetHost,
    /// CONNECT to what is not `host:port`.
    #[error("CONNECT needs host:port")]
    ConnectTarget,
    /// The target's port.
    #[error("the request target is not right: {0}")]
    Port(PortError),
}

impl HeadError {
    /// Whether the target and Host disagree, which the table of failures keeps apart.
    pub fn is_host_mismatch(&self) -> bool {
        matches!(self, Self::HostMismatch)
    }
}

/// What a first byte that begins no method probably is.
fn guess(first: u8) -> String {
    let what = match first {
        22 => " (TLS, which is spoken on the TLS port)",
        5 => " (SOCKS5, which is spoken on the SOCKS port)",
        4 => " (SOCKS4)",
        _ => "",
    };
    format!("0x{first:02x}{what}")
}
