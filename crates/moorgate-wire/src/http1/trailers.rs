//! Trailers: the fields behind a body in chunks (RFC 9110 §6.5, RFC 9112 §7.1.2). Whoever merges
//! them into the head acts on what no check of the head has seen, so that a field which says how the
//! message is framed, routed, authenticated or understood is never taken from there, nor put there.

use std::{fmt, mem};

use super::{BodyError, Headers, MAX_HEADERS, body::TrailerPart};

/// What may not stand in a trailer (RFC 9110 §6.5.1). There are names of anybody's making beyond
/// these: who passes trailers on has a list of those that it passes.
const NEVER: [&str; 47] = [
    // Framing, and what is for one hop.
    "transfer-encoding",
    "content-length",
    "trailer",
    "te",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "http2-settings",
    // Routing, and who says where from.
    "host",
    "via",
    "forwarded",
    "x-real-ip",
    "cdn-loop",
    "alt-used",
    "max-forwards",
    // Who one is.
    "authorization",
    "proxy-authorization",
    "www-authenticate",
    "proxy-authenticate",
    "cookie",
    "set-cookie",
    "origin",
    "referer",
    // What is asked for.
    "expect",
    "range",
    "accept",
    "accept-encoding",
    "prefer",
    "early-data",
    "pragma",
    // What the content is.
    "content-encoding",
    "content-type",
    "content-range",
    "content-location",
    "content-disposition",
    "content-security-policy",
    // What is to be done with a response.
    "cache-control",
    "age",
    "date",
    "expires",
    "location",
    "refresh",
    "retry-after",
    "vary",
    "alt-svc",
    "clear-site-data",
];
/// Conditions (RFC 9110 §13.1), and what proxies say of a client: all with one beginning.
const NEVER_BEGINNING: [&str; 4] = ["if-", "x-forwarded-", "access-control-", "sec-"];

/// Whether a field may stand in a trailer at all (RFC 9110 §6.5.1). `name` is lower case.
pub fn may_trail(name: &str) -> bool {
    !NEVER.contains(&name) && !NEVER_BEGINNING.iter().any(|beginning| name.starts_with(beginning))
}

/// Whether the sender of these fields wants to be sent trailers (RFC 9110 §6.5.1, §10.1.4).
pub fn accepts_trailers(headers: &Headers) -> bool {
    headers.list("te").any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

/// What ends a body in chunks, with `trailers`; those that may not stand there are left out. Without
/// any it is [`LAST_CHUNK`](super::LAST_CHUNK).
pub fn encode_last_chunk(trailers: &Headers) -> Vec<u8> {
    let mut out = b"0\r\n".to_vec();
    trailers.iter().filter(|(name, _)| may_trail(name)).collect::<Headers>().encode_into(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// Puts trailer fields together from their bytes.
#[derive(Clone, Default)]
pub(super) struct Trailers {
    name: Vec<u8>,
    value: Vec<u8>,
    fields: Headers,
}

impl Trailers {
    /// Takes a byte that the decoder has checked, and the part that it is of.
    pub(super) fn push(&mut self, part: TrailerPart, byte: u8) -> Result<(), BodyError> {
        match (part, byte) {
            (TrailerPart::LineStart | TrailerPart::Value, b'\r') | (TrailerPart::Name, b':') => {}
            (TrailerPart::LineStart | TrailerPart::Name, byte) => self.name.push(byte.to_ascii_lowercase()),
            (TrailerPart::Value, byte) => self.value.push(byte),
            (TrailerPart::ValueLf, _) => return self.end_field(),
            (TrailerPart::LastLf, _) => {}
        }
        Ok(())
    }

    fn end_field(&mut self) -> Result<(), BodyError> {
        let (name, value) = (mem::take(&mut self.name), mem::take(&mut self.value));
        if let Some(name) = str::from_utf8(&name).ok().filter(|name| may_trail(name)) {
            if self.fields.len() == MAX_HEADERS {
                return Err(BodyError::TooManyTrailers);
            }
            self.fields.push(name, value);
        }
        Ok(())
    }

    pub(super) fn take(&mut self) -> Headers {
        mem::take(&mut self.fields)
    }
}

/// Shows no field that is not whole.
impl fmt::Debug for Trailers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields.fmt(f)
    }
}
