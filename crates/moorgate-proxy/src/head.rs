//! Reading heads of requests, and what CONNECT and exchanges, over HTTP/1 and h2, all do with one: who asks, whether
//! they may, and whether the connection can carry another.

use moorgate_contract::{
    account::Principal,
    decide::Transport,
    exposure::Exposure,
    failure::{Code, Failure},
    flow::{Kind, OpenFlow},
    limits::{HEAD_BYTES, HEAD_FIELDS},
};
use moorgate_net::{farewell::answer_and_close, runtime::timeout};
use moorgate_wire::{
    basic,
    host::Asked,
    http1::{Framing, HeadError, HeadStep, Headers, RequestHead, parse_request},
};

use crate::{
    client::{Client, ClientStream},
    gateway::{Decided, Visit},
};

/// Who asks, and whether they may: the same for CONNECT and exchanges.
pub(crate) fn ask(visit: &Visit, headers: &Headers, asked: &Asked, flow: &mut OpenFlow) -> Result<Decided, Failure> {
    flow.record.target = Some(asked.shared_text());
    let field = headers.get("proxy-authorization");
    let message = flow.record.kind == Kind::Exchange;
    flow.record.exposure = Exposure::asked(visit.listener, true, field.is_some(), message);
    let principal = authenticate(visit, field, flow)?;
    visit.decide(principal, asked, Transport::Stream, flow)
}

/// The principal of a `Proxy-Authorization: Basic …` (RFC 7617).
pub(crate) fn authenticate(visit: &Visit, field: Option<&[u8]>, flow: &mut OpenFlow) -> Result<Principal, Failure> {
    let Some(field) = field else { return visit.authenticate(None, flow) };
    let said = "Proxy-Authorization is not \"Basic\" with a username and password in base64";
    let basic = basic::parse(field).ok_or_else(|| Failure::new(Code::CredentialsWrong, said))?;
    visit.authenticate(Some((&basic.username, basic.password.as_bytes())), flow)
}

/// Whether a refused request leaves its connection in a state in which the next one can be read.
pub(crate) fn can_go_on(head: &RequestHead, visit: &Visit) -> bool {
    head.keep_alive && head.framing == Framing::None && !visit.gateway.drain.is_cancelled()
}

/// The header fields as the rest of the proxy knows them. h2 has checked names and values (RFC 9113 §8.2).
pub(crate) fn fields(map: &http::HeaderMap) -> Headers {
    let (mut names, mut values) = (0, 0);
    for (name, value) in map {
        names += name.as_str().len();
        values += value.len();
    }
    let mut headers = Headers::with_capacity(map.len(), names, values);
    for (name, value) in map {
        headers.push(name.as_str(), value.as_bytes());
    }
    headers
}

/// Host and Content-Length of an h2 request: one of each or none, as over HTTP/1.
///
/// # Errors
/// [`Code::Malformed`].
pub(crate) fn host_and_length(headers: &Headers) -> Result<(Option<&str>, Option<u64>), Failure> {
    let host = only(headers, "host")?;
    let Some(length) = only(headers, "content-length")? else { return Ok((host, None)) };
    let digits = Some(length).filter(|length| length.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    let length = length.ok_or_else(|| Failure::new(Code::Malformed, "Content-Length is no number"))?;
    Ok((host, Some(length)))
}

/// The value of a field that may stand once.
fn only<'a>(headers: &'a Headers, name: &'a str) -> Result<Option<&'a str>, Failure> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    let text = std::str::from_utf8(value).ok().filter(|_| values.next().is_none());
    text.map(Some)
        .ok_or_else(|| Failure::new(Code::Malformed, format_args!("the field {name} stands twice, or is no text")))
}

/// Reads one head. `None` inside the error: the client left.
pub(crate) async fn peek_request<S: ClientStream>(client: &mut Client<S>) -> Result<RequestHead, Option<Failure>> {
    loop {
        match parse_request(&client.buffer) {
            HeadStep::NeedMore => match client.read_more().await {
                Ok(0) | Err(_) => return Err(None),
                Ok(_) => {}
            },
            HeadStep::Head { consumed, head } => {
                client.consume(consumed);
                return Ok(head);
            }
            HeadStep::Malformed(why) => return Err(Some(Failure::new(malformed(&why), why))),
            HeadStep::TooLong => return Err(Some(too_long())),
        }
    }
}

/// The refusal of a head beyond its limits, over whichever version of HTTP.
pub(crate) fn too_long() -> Failure {
    let said = format_args!(
        "the request's head is longer than {} KiB or has more than {HEAD_FIELDS} fields",
        HEAD_BYTES / 1024
    );
    Failure::new(Code::HeadTooLong, said)
}

/// The row of a head that can't be read.
fn malformed(why: &HeadError) -> Code {
    if why.is_host_mismatch() { Code::HostMismatch } else { Code::Malformed }
}

/// Waits for the next request's first byte. `false`: there will be none, and our end is said. `draining` resolves when the
/// gateway goes down.
pub(crate) async fn next_request<S: ClientStream>(
    visit: &Visit,
    client: &mut Client<S>,
    draining: impl Future<Output = ()>,
) -> bool {
    let gateway = &visit.gateway;
    let more = tokio::select! {
        biased;
        () = draining => false,
        more = timeout(gateway.limits.idle_request, client.wait_for_more()) => matches!(more, Ok(Ok(read)) if read > 0),
    };
    if !more {
        // Inside TLS an end without close_notify would be a truncation.
        answer_and_close(&mut client.stream, &[]).await;
    }
    more
}
