//! The second tail: one HTTP request and its response. Toward the target it is HTTP/1.1 by hyper's client (HTTP/2 for
//! gRPC); toward the client it is HTTP/1 ([`http1`]) or one stream of h2 ([`http2`]).

mod body;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod link;
pub(crate) mod target;
mod uplink;

use std::{fmt, io::Write as _, ops::Range};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use moorgate_contract::{
    failure::{Code, Failure},
    outcome::Ending,
};
use moorgate_wire::{
    host::Asked,
    http1::{Headers, may_trail},
};

pub(crate) use body::Body;
pub(crate) use target::Toward;

/// Why an exchange stopped before its response was whole.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The client broke off.
    Client,
    /// Revoked, idle or drained.
    Cut(Ending),
    /// A failure that the client is told, if nothing of a response was sent yet.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The entry that this gateway adds to Via (RFC 9110 §7.6.3), and knows its own requests by.
pub(crate) struct Via<'a>(pub(crate) &'a str);

impl fmt::Display for Via<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.1 {}", self.0)
    }
}

/// A request whose Via names this gateway has been here before.
pub(crate) fn check_loop(headers: &Headers, gateway: &str, asked: &str) -> Result<(), Failure> {
    let ours = |entry: &[u8]| entry.split(|byte| *byte == b' ').any(|part| part == gateway.as_bytes());
    if headers.list("via").any(ours) {
        let text = moorgate_wire::visible::visible(asked);
        return Err(Failure::new(
            Code::Loop,
            format_args!("the request for {text} has been through this gateway before"),
        ));
    }
    Ok(())
}

/// The request as the target gets it: everything written anew from parsed values.
pub(crate) fn request(
    method: &str,
    path: &str,
    asked: &Asked,
    mut headers: Headers,
    gateway: &str,
    body: Body,
) -> Result<Request<Body>, Failure> {
    headers.strip_hop_by_hop();
    for ours in ["host", "content-length", "transfer-encoding"] {
        headers.remove(ours);
    }
    let mut text = Text::of(&headers);
    let [host, via, path] =
        [text.put(authority(asked).ok_or_else(|| unwritable("the host"))?), text.put(Via(gateway)), text.put(path)];
    let text = text.written();
    let mut map = HeaderMap::with_capacity(headers.len() + 3);
    map.insert(http::header::HOST, text.value(host, "the host")?);
    text.fields(&headers, &mut map)?;
    map.append(http::header::VIA, text.value(via, "Via")?);
    body.frame(&mut map);
    text.request(method, path, map, body)
}

fn unwritable(what: &str) -> Failure {
    Failure::new(Code::Malformed, format_args!("{what} of the request can't be forwarded"))
}

/// What a head says, one value behind the other: it is allocated once, and its fields are parts of it.
pub(crate) struct Text(Vec<u8>);

impl Text {
    /// The values of `headers`, with room for what is put behind them.
    pub(crate) fn of(headers: &Headers) -> Self {
        const ROOM: usize = 256;
        let length: usize = headers.iter().map(|(_, value)| value.len()).sum();
        let mut text = Vec::with_capacity(length + ROOM);
        headers.iter().for_each(|(_, value)| text.extend_from_slice(value));
        Self(text)
    }

    /// Puts one more value behind the others; where it stands.
    pub(crate) fn put(&mut self, value: impl fmt::Display) -> Range<usize> {
        let from = self.0.len();
        // Writing to memory does not fail.
        let _ = write!(self.0, "{value}");
        from..self.0.len()
    }

    /// No more is put.
    pub(crate) fn written(self) -> Written {
        Written(self.0.into())
    }
}

/// A whole [`Text`].
pub(crate) struct Written(Bytes);

impl Written {
    fn part(&self, at: Range<usize>) -> Bytes {
        self.0.get(at).map_or_else(Bytes::new, |part| self.0.slice_ref(part))
    }

    /// The value that stands at `at`.
    ///
    /// # Errors
    /// [`Code::Malformed`] for what no field may hold, which [`Headers`] already keeps out; it names `what`.
    pub(crate) fn value(&self, at: Range<usize>, what: &str) -> Result<HeaderValue, Failure> {
        HeaderValue::from_maybe_shared(self.part(at)).map_err(|_| unwritable(what))
    }

    /// The request for the path and query that stand at `path`.
    ///
    /// # Errors
    /// [`Code::Malformed`], as [`Written::value`].
    pub(crate) fn request(
        &self,
        method: &str,
        path: Range<usize>,
        map: HeaderMap,
        body: Body,
    ) -> Result<Request<Body>, Failure> {
        let mut request = Request::new(body);
        *request.method_mut() = method.parse().map_err(|_| unwritable("the method"))?;
        *request.uri_mut() = Uri::from_maybe_shared(self.part(path)).map_err(|_| unwritable("the path"))?;
        *request.headers_mut() = map;
        Ok(request)
    }

    /// Adds the fields of the `headers` that the text was begun with.
    ///
    /// # Errors
    /// As [`Written::value`].
    pub(crate) fn fields(&self, headers: &Headers, map: &mut HeaderMap) -> Result<(), Failure> {
        let mut at = 0;
        for (name, value) in headers.iter() {
            let name = HeaderName::try_from(name).map_err(|_| unwritable("a field name"))?;
            map.append(name, self.value(at..at + value.len(), "a field value")?);
            at += value.len();
        }
        Ok(())
    }
}

/// The Host field: without the port where it is HTTP's own.
fn authority(asked: &Asked) -> Option<String> {
    let target = asked.canonical()?;
    let text = target.to_string();
    Some(if target.port == 80 { text.trim_end_matches(":80").to_owned() } else { text })
}

/// The response's fields as the client gets them, without framing: that is ours to write.
/// `gateway` is named in Via where the client knows that it speaks to a proxy.
pub(crate) fn response_fields(headers: &HeaderMap, gateway: Option<&str>) -> Headers {
    let mut fields = crate::head::fields(headers);
    fields.strip_hop_by_hop();
    fields.remove("transfer-encoding");
    if let Some(gateway) = gateway {
        fields.push("via", Via(gateway).to_string());
    }
    fields
}

/// Trailers that a client is given: what gRPC and digests say at the end. Some clients merge them into the head, and then
/// a name of anybody's making decides something.
const TRAILERS: [&str; 8] = [
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "server-timing",
    "content-digest",
    "repr-digest",
    "digest",
    "x-content-sha256",
];

/// The trailers that may go on to a client. One of gRPC expects the app's own metadata among them, and does not merge.
pub(crate) fn allowed_trailers(fields: &HeaderMap, grpc: bool) -> HeaderMap {
    let may_go = |name: &str| if grpc { may_trail(name) } else { TRAILERS.contains(&name) };
    let allowed = fields.iter().filter(|(name, _)| may_go(name.as_str()));
    allowed.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether a response may rightly be silent for long: server-sent events and gRPC streams wait for something to say.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("text/event-stream") || kind.starts_with("application/grpc")
}

/// Says the length that a response's body has, and no other: none for one that can't have a body (RFC 9110 §8.6), and what
/// the target said of the body that a HEAD or a 304 stands for.
pub(crate) fn length(fields: &mut Headers, method: &str, status: u16, exact: Option<u64>) {
    if method == "HEAD" || status == 304 {
        return;
    }
    fields.remove("content-length");
    if let Some(exact) = exact.filter(|_| has_body(method, status)) {
        fields.push("content-length", exact.to_string());
    }
}

/// Whether a response to this request has a body at all (RFC 9112 §6.3).
pub(crate) fn has_body(method: &str, status: u16) -> bool {
    method != "HEAD" && status >= 200 && status != 204 && status != 304
}
