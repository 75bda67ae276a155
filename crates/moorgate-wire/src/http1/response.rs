//! Responses: written for clients, and read from targets and, by the agent, from the gateway. Requests as targets get them.

use std::mem::MaybeUninit;

use httparse::ParserConfig;
use memchr::memchr_iter;

use super::{
    Framing, HeadError, Headers, MAX_HEADERS, Method, Version,
    head::{chunked, keep_alive, length},
    lines::{Bounds, Scan, check_fields, scan},
};
use crate::{basic, host::HostPort};

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Three digits.
    pub status: u16,
    /// As they are to be sent, the framing ones included.
    pub headers: Headers,
}

impl ResponseHead {
    /// Without fields.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Headers::new() }
    }

    /// The status in words.
    pub fn reason(&self) -> &'static str {
        reason(self.status)
    }

    /// The head's bytes, with the empty line at the end. No value can end a line early: [`Headers`] holds no CR, LF or NUL.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        /// The line, and the empty one at the end.
        const LINES: usize = 64;
        let mut out = Vec::with_capacity(LINES + self.headers.encoded_len());
        let digits =
            [100, 10, 1].map(|place| b'0' + u8::try_from(self.status.clamp(100, 999) / place % 10).unwrap_or_default());
        for part in [version.as_str().as_bytes(), b" ", &digits, b" ", self.reason().as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
        self.headers.encode_into(&mut out);
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// A status in words (RFC 9110 §15); empty for one that has none.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// What the bytes that are there make.
#[derive(Debug, PartialEq, Eq)]
pub enum ResponseStep {
    /// Not all of a head yet; call again with more behind the same bytes.
    NeedMore,
    /// A head; what follows it begins after `consumed` bytes.
    Head {
        /// How many bytes the head took.
        consumed: usize,
        /// The server's version.
        version: Version,
        /// 100 to 999.
        status: u16,
        /// All fields.
        headers: Headers,
    },
    /// No HTTP/1 response that can be trusted.
    Malformed(HeadError),
    /// More than [`MAX_HEAD_BYTES`](super::MAX_HEAD_BYTES) or [`MAX_HEADERS`].
    TooLong,
}

/// Reads the head of a response, as strictly as a request's. To be called again with the grown buffer.
pub fn parse_response(buf: &[u8]) -> ResponseStep {
    parse(buf, Bounds::STRICT)
}

/// The same of anybody's server: a head of at most `most` bytes, in which a line may end in LF alone (RFC 9112 §2.2).
/// Whoever calls it again with each byte reads a long head over and over: ask [`may_end_head`] first.
pub fn parse_target_response(buf: &[u8], most: usize) -> ResponseStep {
    parse(buf, Bounds { bytes: most, bare_lf: true })
}

/// Whether a head can end in `buf` behind its first `seen` bytes: cheap, and `true` too often rather than too rarely.
pub fn may_end_head(buf: &[u8], seen: usize) -> bool {
    let fresh = buf.get(seen.saturating_sub(2)..).unwrap_or_default();
    // An empty line: LF LF, or LF CR LF.
    memchr_iter(b'\n', fresh).any(|lf| matches!(fresh.get(lf + 1), Some(b'\n' | b'\r')))
}

fn parse(buf: &[u8], bounds: Bounds) -> ResponseStep {
    let found = match scan(buf, bounds) {
        Ok(found) => found,
        Err(why) => return ResponseStep::Malformed(why),
    };
    if !may_be_http(buf) {
        return ResponseStep::Malformed(HeadError::StatusLine);
    }
    let (start, end) = match found {
        Scan::NeedMore => return ResponseStep::NeedMore,
        Scan::TooLong => return ResponseStep::TooLong,
        Scan::Found { start, end } => (start, end),
    };
    match read(buf.get(start..end).unwrap_or_default()) {
        Ok(Some((version, status, headers))) => ResponseStep::Head { consumed: end, version, status, headers },
        Ok(None) => ResponseStep::TooLong,
        Err(why) => ResponseStep::Malformed(why),
    }
}

/// Whether a status line can begin like this, so that what speaks something else is not waited for.
fn may_be_http(buf: &[u8]) -> bool {
    let line = buf.strip_prefix(b"\r\n").unwrap_or(buf);
    line == b"\r" || line.iter().zip(b"HTTP/").all(|(byte, own)| byte == own)
}

/// `None` is "too many fields".
fn read(bytes: &[u8]) -> Result<Option<(Version, u16, Headers)>, HeadError> {
    check_fields(bytes)?;
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    match ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(HeadError::StatusLine),
        Err(httparse::Error::TooManyHeaders) => return Ok(None),
        Err(httparse::Error::Version) => return Err(HeadError::Version),
        Err(httparse::Error::Status) => return Err(HeadError::StatusLine),
        Err(why) => return Err(HeadError::Parser(why)),
    }
    let status = parsed.code.filter(|code| (100..=999).contains(code)).ok_or(HeadError::StatusLine)?;
    let version = if parsed.version == Some(0) { Version::Http10 } else { Version::Http11 };
    Ok(Some((version, status, Headers::from_parsed(parsed.headers))))
}

/// Whether a server takes another request behind this response (RFC 9112 §9.3). One that says so in words that can't be
/// read does not, nor one that frames its body twice.
pub fn response_keeps_alive(version: Version, headers: &Headers) -> bool {
    let twice = headers.contains("transfer-encoding") && headers.contains("content-length");
    keep_alive(version, headers).unwrap_or(false) && !twice
}

/// How a response's body is framed (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// As a request's.
    Framed(Framing),
    /// Until the connection ends.
    UntilClose,
}

/// How the body of a response to `method` is framed. A 2xx to CONNECT has none: the tunnel begins.
///
/// Of both framings it is the chunks that count; the connection must not carry another message then.
///
/// # Errors
/// Two lengths that differ, one that is no number, any coding but `chunked`.
pub fn response_framing(status: u16, method: &Method, headers: &Headers) -> Result<ResponseFraming, HeadError> {
    let bodiless = method.is_head() || matches!(status, 100..=199 | 204 | 304);
    if bodiless || (method.is_connect() && (200..=299).contains(&status)) {
        return Ok(ResponseFraming::Framed(Framing::None));
    }
    if headers.contains("transfer-encoding") {
        return chunked(headers).map(ResponseFraming::Framed);
    }
    Ok(match said_length(headers)? {
        Some(0) => ResponseFraming::Framed(Framing::None),
        Some(length) => ResponseFraming::Framed(Framing::Length(length)),
        None => ResponseFraming::UntilClose,
    })
}

/// The one length that is said, however often (RFC 9112 §6.3): it goes on once.
fn said_length(headers: &Headers) -> Result<Option<u64>, HeadError> {
    let mut all = headers.list("content-length");
    let Some(first) = all.next() else {
        return if headers.contains("content-length") { Err(HeadError::Length) } else { Ok(None) };
    };
    if all.any(|other| other != first) {
        return Err(HeadError::TwoLengths);
    }
    length(first).map(Some)
}

/// A request's head for a target: `path` with its query, Host first, `headers` as they are, framing included.
pub fn encode_request(method: &Method, path: &str, host: &str, headers: &Headers) -> Vec<u8> {
    /// What stands between, and the empty line.
    const LINES: usize = 32;
    let own = method.as_str().len() + path.len() + host.len();
    let mut out = Vec::with_capacity(LINES + own + headers.encoded_len());
    for part in [method.as_str(), " ", path, " HTTP/1.1\r\nhost: ", host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    headers.encode_into(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// A CONNECT to `target`, with the username and password of a proxy that wants them.
pub fn encode_connect(target: &HostPort, basic: Option<(&str, &str)>) -> Vec<u8> {
    let mut headers = Headers::new();
    headers.push("host", target.to_string());
    if let Some((username, password)) = basic {
        headers.push("proxy-authorization", basic::encode(username, password));
    }
    let mut out = format!("CONNECT {target} HTTP/1.1\r\n").into_bytes();
    headers.encode_into(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}
