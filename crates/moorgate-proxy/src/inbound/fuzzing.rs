//! What fuzzing holds the way from h2 to HTTP/1.1 to: whatever goes on, a strict reader finds the one request in it that
//! was meant, and nothing behind it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    uri::{self, PathAndQuery, Scheme},
};
use moorgate_contract::{
    account::AccountId,
    route::{Mode, Route, RouteId, RouteSettings},
};
use moorgate_wire::{
    http1::{
        BodyDecoder, CHUNK_END, Framing, HeadStep, Headers, LAST_CHUNK, RequestHead, Target, encode_chunk_head,
        parse_request,
    },
    path::CanonicalPath,
};

use super::{
    authority::{Asker, Authority},
    http2::asked,
    request::Onward,
};
use crate::{exchange::http2::joined, h2_server::too_long, head::fields};

const GATEWAY: &str = "moorgate-fuzzing";
/// The fields that we add, at most: beyond the rest of a head's hundred our own reader refuses it.
const OURS: usize = 8;

/// Lines: method, `:authority`, `:path`, body (empty: none), and then fields as `name: value`.
pub fn h2_request(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (method, authority, path, body) = (next(), next(), next(), next());
    let Some(request) = taken(method, authority, path, lines) else { return };
    let (parts, ()) = request.into_parts();
    let headers = joined(fields(&parts.headers));
    if too_long(&parts).is_some() || headers.len() + OURS > moorgate_wire::http1::MAX_HEADERS {
        return;
    }
    let Ok(asked) = asked(&parts, &headers) else { return };
    let asker = Asker { ip: [192, 0, 2, 1].into(), secure: true };
    let (Ok(authority), Ok(path)) =
        (Authority::read(asked.authority, asker, &mut None), CanonicalPath::parse(asked.path))
    else {
        return;
    };
    let length = asked.length;
    // h2 itself holds a body to its length.
    let body = length.map_or(body, |length| body.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(body));
    if length.is_some_and(|length| length != body.len() as u64) {
        return;
    }
    let sent = Sent { method: parts.method.as_str(), authority: &authority, path: &path, headers: &headers, body };
    let Ok(domain) = authority.name.as_str().parse() else { return };
    let route = Route::new(RouteId(1), AccountId(1), domain, Mode::Terminate, RouteSettings::default());
    if let Some(wire) = sent.written(&route, length) {
        sent.arrives(&wire, length);
    }
}

/// What h2 hands over, if it does: its own checks are the `http` crate's (and more).
fn taken<'a>(
    method: &[u8],
    authority: &[u8],
    path: &[u8],
    lines: impl Iterator<Item = &'a [u8]>,
) -> Option<Request<()>> {
    let mut uri = uri::Parts::default();
    uri.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    if !authority.is_empty() {
        uri.authority = Some(uri::Authority::try_from(authority).ok()?);
        uri.scheme = Some(Scheme::HTTPS);
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    let mut map = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":")?;
        map.append(HeaderName::from_lowercase(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    *request.headers_mut() = map;
    Some(request)
}

/// What was meant.
struct Sent<'a> {
    method: &'a str,
    authority: &'a Authority,
    path: &'a CanonicalPath,
    headers: &'a Headers,
    body: &'a [u8],
}

impl Sent<'_> {
    /// The bytes that an origin gets; `None` where the request is refused.
    fn written(&self, route: &Route, length: Option<u64>) -> Option<Vec<u8>> {
        let onward = Onward {
            route,
            method: self.method,
            authority: self.authority,
            path: self.path,
            gateway: GATEWAY,
            websocket: false,
            grpc: false,
        };
        let framing = match length {
            Some(length) => Framing::Length(length),
            None if self.body.is_empty() => Framing::None,
            None => Framing::Chunked,
        };
        let mut wire = onward.build(self.headers.clone(), framing).ok()?.encode();
        let pieces = self.body.chunks(self.body.len().div_ceil(2).max(1));
        if framing == Framing::Chunked {
            for piece in pieces {
                wire.extend_from_slice(&encode_chunk_head(piece.len()));
                wire.extend_from_slice(piece);
                wire.extend_from_slice(CHUNK_END);
            }
            wire.extend_from_slice(LAST_CHUNK);
        } else {
            wire.extend_from_slice(self.body);
        }
        Some(wire)
    }

    /// A strict reader finds this, and nothing behind it.
    fn arrives(&self, wire: &[u8], length: Option<u64>) {
        let shown = String::from_utf8_lossy(wire);
        let HeadStep::Head { consumed, head } = parse_request(wire) else {
            unreachable!("no head: {shown}");
        };
        assert_eq!(head.method.as_str(), self.method);
        assert!(matches!(&head.target, Target::Origin(path) if **path == *self.path.as_str()), "{shown}");
        assert!(head.headers.get_all("host").eq([self.authority.forwarded.as_bytes()]), "{shown}");
        let framing = match length {
            Some(length) => Framing::Length(length),
            None if self.body.is_empty() => Framing::None,
            None => Framing::Chunked,
        };
        let is_nothing = matches!(head.framing, Framing::None | Framing::Length(0));
        assert!(head.framing == framing || (self.body.is_empty() && is_nothing), "{shown}");
        self.body_arrives(&head, wire.get(consumed..).unwrap_or_default());
        self.fields_arrive(&head);
    }

    fn body_arrives(&self, head: &RequestHead, mut rest: &[u8]) {
        let (mut decoder, mut body) = (BodyDecoder::new(head.framing), Vec::new());
        while !decoder.is_done() {
            let Ok(decoded) = decoder.decode(rest) else { unreachable!("a body that can't be read") };
            assert!(decoded.done || decoded.consumed > 0, "a body that is not whole");
            body.extend_from_slice(rest.get(decoded.data).unwrap_or_default());
            rest = rest.get(decoded.consumed..).unwrap_or_default();
        }
        assert_eq!(body, self.body);
        assert!(rest.is_empty(), "something behind the request: {}", String::from_utf8_lossy(rest));
    }

    /// What the client says of itself or of this hop stays here; the rest arrives as it was, in its order.
    fn fields_arrive(&self, head: &RequestHead) {
        let fields = &head.headers;
        assert!(fields.get_all("x-forwarded-for").eq([b"192.0.2.1"]));
        assert!(fields.get_all("x-forwarded-proto").eq([b"https"]));
        assert_eq!(fields.get_all("forwarded").count(), 1);
        assert!(fields.get_all("via").last().is_some_and(|via| via.ends_with(GATEWAY.as_bytes())));
        for hop in ["connection", "keep-alive", "te", "upgrade", "trailer", "expect", "proxy-authorization"] {
            assert!(!fields.contains(hop), "{hop} goes on");
        }
        let mut stripped = self.headers.clone();
        stripped.strip_hop_by_hop();
        for (name, _) in stripped.iter().filter(|(name, _)| name.starts_with("x-app")) {
            assert!(fields.get_all(name).eq(stripped.get_all(name)), "{name} is not what was sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use moorgate_wire::fuzzing::corpus::replay;

    #[test]
    fn h2_request_corpus_holds() {
        replay("h2_request", super::h2_request);
    }
}
