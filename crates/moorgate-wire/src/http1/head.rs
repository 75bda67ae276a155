//! From the bytes of a request's head to [`RequestHead`], or the reason why not.

use std::mem::MaybeUninit;

use super::{
    Framing, HeadError, Headers, MAX_HEADERS, Method, RequestHead, Version,
    headers::token,
    lines::{Bounds, Scan, check_fields, scan},
    target::{check_host, parse_target},
};

/// What the bytes that are there make.
#[derive(Debug, PartialEq, Eq)]
pub enum HeadStep {
    /// Not all of a head yet; call again with more behind the same bytes.
    NeedMore,
    /// A head; the body begins after `consumed` bytes.
    Head {
        /// How many bytes the head took, an empty line before it included.
        consumed: usize,
        /// What it says.
        head: RequestHead,
    },
    /// 400, and close.
    Malformed(HeadError),
    /// More than [`MAX_HEAD_BYTES`](super::MAX_HEAD_BYTES) or [`MAX_HEADERS`]: 431, and close.
    TooLong,
}

/// Reads the head of a request at the front of `buf` (RFC 9112 §2 to §7). To be called again with
/// the grown buffer: the limit on a head's bytes bounds what that costs.
pub fn parse_request(buf: &[u8]) -> HeadStep {
    let (start, end) = match scan(buf, Bounds::STRICT) {
        Ok(Scan::NeedMore) => return HeadStep::NeedMore,
        Ok(Scan::TooLong) => return HeadStep::TooLong,
        Ok(Scan::Found { start, end }) => (start, end),
        Err(why) => return HeadStep::Malformed(why),
    };
    match read(buf.get(start..end).unwrap_or_default()) {
        Ok(Some(head)) => HeadStep::Head { consumed: end, head },
        Ok(None) => HeadStep::TooLong,
        Err(why) => HeadStep::Malformed(why),
    }
}

/// `None` is "too many fields".
fn read(bytes: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    check_request_line(bytes)?;
    check_fields(bytes)?;
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(HeadError::RequestLine),
        Err(httparse::Error::TooManyHeaders) => return Ok(None),
        Err(why) => return Err(HeadError::Parser(why)),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(HeadError::RequestLine);
    };
    let method = Method::parse(method).ok_or(HeadError::Method)?;
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let headers = Headers::from_parsed(parsed.headers);
    let target = parse_target(&method, target)?;
    check_host(&target, version, &headers)?;
    let framing = framing(&method, version, &headers)?;
    let keep_alive = keep_alive(version, &headers)?;
    let expect_continue =
        version == Version::Http11 && headers.list("expect").any(|member| member.eq_ignore_ascii_case(b"100-continue"));
    Ok(Some(RequestHead { method, target, version, headers, framing, keep_alive, expect_continue }))
}

/// `method SP target SP HTTP/1.x`, with a reason for each part (RFC 9112 §3).
fn check_request_line(bytes: &[u8]) -> Result<(), HeadError> {
    let line = bytes.split(|&b| b == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::RequestLine);
    };
    if target.is_empty() {
        return Err(HeadError::RequestLine);
    }
    if token(method).and_then(Method::parse).is_none() {
        return Err(HeadError::Method);
    }
    if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(HeadError::Version);
    }
    super::target::check_bytes(target)
}

/// How the body is framed (RFC 9112 §6.3), or why that cannot be told.
fn framing(method: &Method, version: Version, headers: &Headers) -> Result<Framing, HeadError> {
    let encoded = headers.contains("transfer-encoding");
    let framing = match (encoded, content_length(headers)?) {
        (true, Some(_)) => return Err(HeadError::TransferEncodingAndLength),
        (true, None) if version == Version::Http10 => return Err(HeadError::TransferEncodingOn10),
        (true, None) => chunked(headers)?,
        (false, Some(0)) if method.is_connect() => Framing::None,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::None,
    };
    if method.is_connect() && framing != Framing::None {
        return Err(HeadError::ConnectBody);
    }
    Ok(framing)
}

/// Exactly one `chunked`, in any case.
pub(super) fn chunked(headers: &Headers) -> Result<Framing, HeadError> {
    let mut values = headers.get_all("transfer-encoding");
    match (values.next(), values.next()) {
        (Some(value), None) if value.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        _ => Err(HeadError::TransferEncoding),
    }
}

/// One Content-Length of 1 to 18 digits, or none.
fn content_length(headers: &Headers) -> Result<Option<u64>, HeadError> {
    let mut values = headers.get_all("content-length");
    let Some(value) = values.next() else { return Ok(None) };
    if headers.contains("transfer-encoding") {
        return Err(HeadError::TransferEncodingAndLength);
    }
    if values.next().is_some() || value.contains(&b',') {
        return Err(HeadError::TwoLengths);
    }
    length(value).map(Some)
}

/// A length of 1 to 18 digits.
pub(super) fn length(value: &[u8]) -> Result<u64, HeadError> {
    let digits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.filter(|_| digits).ok_or(HeadError::Length)
}

/// Whether the sender is ready for another message on this connection (RFC 9112 §9.3).
pub(super) fn keep_alive(version: Version, headers: &Headers) -> Result<bool, HeadError> {
    let (mut close, mut keep) = (false, false);
    for member in headers.list("connection") {
        let option = token(member).ok_or(HeadError::Connection)?;
        close |= option.eq_ignore_ascii_case("close");
        keep |= option.eq_ignore_ascii_case("keep-alive");
    }
    Ok(!close && (version == Version::Http11 || keep))
}
