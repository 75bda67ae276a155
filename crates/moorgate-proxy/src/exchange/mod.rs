//! The second tail: one HTTP request and its response. Toward the target it is HTTP/1.1 (HTTP/2 by hyper's client for gRPC);
//! toward the client it is HTTP/1 ([`http1`]) or one stream of h2 ([`http2`]). [`course`] is what both have in common.

mod course;
mod framed;
mod grpc;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod link;
mod on_worker;
mod outgoing;
pub(crate) mod receiving;
mod sending;
pub(crate) mod target;
mod uplink;

use moorgate_contract::{
    failure::{Code, Failure},
    outcome::Ending,
};
use moorgate_wire::{
    host::Asked,
    http1::{Framing, Headers, may_trail},
    text::push_number,
};

pub(crate) use outgoing::Outgoing;
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

/// The failure of a body that stands still.
fn body_too_slow() -> Failure {
    Failure::new(Code::BodyTooSlow, "no byte of the body moved within [limits] body")
}

/// Adds this gateway's entry to Via (RFC 9110 §7.6.3), which it knows its own requests by.
pub(crate) fn push_via(headers: &mut Headers, gateway: &str) {
    headers.push_parts("via", &[b"1.1 ", gateway.as_bytes()]);
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

/// An outbound request as the target gets it: everything written anew from parsed values.
pub(crate) fn request<'a>(
    method: &str,
    path: &'a str,
    asked: &Asked,
    mut headers: Headers,
    gateway: &str,
    framing: Framing,
) -> Result<Outgoing<'a>, Failure> {
    headers.strip_hop_by_hop();
    push_via(&mut headers, gateway);
    let host = authority(asked).unwrap_or_default();
    Outgoing::new(method, path, host, headers, framing)
}

/// The Host field: without the port where it is HTTP's own.
fn authority(asked: &Asked) -> Option<String> {
    let target = asked.canonical()?;
    let text = target.to_string();
    Some(if target.port == 80 { text.trim_end_matches(":80").to_owned() } else { text })
}

/// The response's fields as the client gets them, without framing: that is ours to write.
/// `gateway` is named in Via where the client knows that it speaks to a proxy.
pub(crate) fn response_fields(mut fields: Headers, gateway: Option<&str>) -> Headers {
    fields.strip_hop_by_hop();
    if let Some(gateway) = gateway {
        push_via(&mut fields, gateway);
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
pub(crate) fn allowed_trailers(mut fields: Headers, grpc: bool) -> Headers {
    fields.retain(|name| if grpc { may_trail(name) } else { TRAILERS.contains(&name) });
    fields
}

/// Whether a response may rightly be silent for long: server-sent events and gRPC streams wait for something to say.
pub(crate) fn is_stream(headers: &Headers) -> bool {
    let kind = headers.get("content-type").unwrap_or_default();
    kind.starts_with(b"text/event-stream") || kind.starts_with(b"application/grpc")
}

/// Says the length that a response's body has, and no other: none for one that can't have a body (RFC 9110 §8.6), and what
/// the target said of the body that a HEAD or a 304 stands for.
pub(crate) fn length(fields: &mut Headers, method: &str, status: u16, exact: Option<u64>) {
    if method == "HEAD" || status == 304 {
        return;
    }
    fields.remove("content-length");
    if let Some(exact) = exact.filter(|_| has_body(method, status)) {
        fields.push_with("content-length", |value| push_number(value, exact));
    }
}

/// Whether a response to this request has a body at all (RFC 9112 §6.3).
pub(crate) fn has_body(method: &str, status: u16) -> bool {
    method != "HEAD" && status >= 200 && status != 204 && status != 304
}
