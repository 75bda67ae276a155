//! Saying no over HTTP so that the client can read it: status, Proxy-Status, and one line with what to do.

use std::time::Duration;

use crate::client::{Client, ClientStream};
use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::Response;
use moorgate_contract::{
    failure::{Code, Failure, InboundAnswer},
    flow::{Flow, OpenFlow},
    limits::{REFUSAL_BYTES, REFUSAL_LINGER},
    listener::Listener,
    outcome::Outcome,
};
use moorgate_net::{farewell::answer_and_close, runtime::timeout};
use moorgate_wire::{
    http1::{ResponseHead, Version},
    proxy_status::ProxyStatus,
};

/// What a client should wait before it tries again, in seconds, unless the failure knows better.
const RETRY_AFTER: u32 = 1;

/// An answer of our own: header fields and body, the same for HTTP/1 and h2.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Refusal {
    /// An answer that is no failure: a redirect, a page.
    pub(crate) fn answer(status: u16, kind: &str, body: String) -> Self {
        let fields = vec![("content-type", kind.to_owned()), ("content-length", body.len().to_string())];
        Self { status, fields, body }
    }

    /// The same with one field more.
    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.fields.push((name, value));
        self
    }

    /// What the client of `flow` is told.
    pub(crate) fn on(flow: &Flow, failure: &Failure) -> Self {
        match flow.listener {
            Listener::InboundHttp | Listener::InboundTls => Self::inbound(flow, failure),
            _ => Self::of(failure),
        }
    }

    /// What a client of a proxy is told: it is the account's own, so it gets the reason whole.
    pub(crate) fn of(failure: &Failure) -> Self {
        let status = failure.code.row().http;
        let refusal = Self::failed(status, failure, Some(&failure.said), format!("moorgate: {failure}\n"));
        match status {
            407 => refusal.with("proxy-authenticate", "Basic realm=\"moorgate\", charset=\"UTF-8\"".to_owned()),
            _ => refusal,
        }
    }

    /// What a client of an app behind us is told: a stranger to the account, so it gets the code, and the flow by which
    /// whoever runs the app finds the reason.
    fn inbound(flow: &Flow, failure: &Failure) -> Self {
        let row = failure.code.row();
        let status = match row.inbound {
            Some(InboundAnswer::Http(status) | InboundAnswer::Alert(_, status)) => status,
            None => row.http,
        };
        let about_the_request = matches!(status, 400 | 408 | 413 | 421 | 431);
        let why = if about_the_request { &*failure.said } else { public(status, failure.code) };
        let body = format!("moorgate: {}: {why} (flow {})\n", failure.code, flow.id);
        let refusal = Self::failed(status, failure, None, body);
        match status {
            401 => {
                let realm = flow.route.as_deref().unwrap_or("moorgate");
                refusal.with("www-authenticate", format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
            }
            _ => refusal,
        }
    }

    /// The answer to a failure in the route's own words.
    pub(crate) fn page(failure: &Failure, kind: &str, page: String) -> Self {
        Self::answer(failure.code.row().http, kind, page).with("proxy-status", proxy_status(failure, None))
    }

    fn failed(status: u16, failure: &Failure, details: Option<&str>, body: String) -> Self {
        let refusal = Self::answer(status, "text/plain; charset=utf-8", body);
        let refusal = refusal.with("proxy-status", proxy_status(failure, details));
        match status {
            429 | 503 => refusal.with("retry-after", failure.retry_after.unwrap_or(RETRY_AFTER).to_string()),
            _ => refusal,
        }
    }

    /// The response as bytes of HTTP/1.1; without its body where the request was a HEAD.
    pub(crate) fn encode(&self, keep_alive: bool, with_body: bool) -> Vec<u8> {
        let mut head = ResponseHead::new(self.status);
        for (name, value) in &self.fields {
            head.headers.push(name, value);
        }
        if !keep_alive {
            head.headers.push("connection", "close");
        }
        let mut bytes = head.encode(Version::Http11);
        if with_body {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        bytes
    }
}

/// The field by which programs read why (RFC 9209).
fn proxy_status(failure: &Failure, details: Option<&str>) -> String {
    let row = failure.code.row();
    let extra = &[("code", row.code)];
    ProxyStatus { error: Some(row.proxy_status), details, extra, ..ProxyStatus::default() }.encode()
}

/// Records the refusal, says it, and closes.
pub(crate) async fn say_no<S: ClientStream>(
    mut client: Client<S>,
    mut flow: OpenFlow,
    failure: &Failure,
    is_head: bool,
) {
    let refusal = Refusal::on(&flow.record, failure);
    flow.record.status = Some(refusal.status);
    flow.fail(failure);
    answer_and_close(&mut client.stream, &refusal.encode(false, !is_head)).await;
}

/// How a stream of h2 ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// With an answer, or by us.
    Served,
    /// The client had broken it off.
    BrokenOff,
}

/// Records the refusal and says it on this stream alone.
pub(crate) fn say_no_on_stream(
    respond: SendResponse<Bytes>,
    flow: OpenFlow,
    failure: &Failure,
    with_body: bool,
) -> StreamEnd {
    let refusal = Refusal::on(&flow.record, failure);
    answer_on_stream(respond, flow, refusal, Some(failure), with_body)
}

/// As [`say_no_on_stream`], to a request whose body may still be coming.
pub(crate) async fn say_no_to_request(
    respond: SendResponse<Bytes>,
    flow: OpenFlow,
    failure: &Failure,
    with_body: bool,
    body: RecvStream,
) -> StreamEnd {
    let end = say_no_on_stream(respond, flow, failure, with_body);
    let_out(body).await;
    end
}

/// Gives an answer of our own on this stream, and records it.
pub(crate) fn answer_on_stream(
    mut respond: SendResponse<Bytes>,
    mut flow: OpenFlow,
    answer: Refusal,
    failure: Option<&Failure>,
    with_body: bool,
) -> StreamEnd {
    flow.record.status = Some(answer.status);
    match failure {
        Some(failure) => flow.fail(failure),
        None => flow.end(Outcome::Ok),
    }
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    for (name, value) in &answer.fields {
        if let Ok(value) = http::HeaderValue::try_from(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    // The stream may be gone by now; its flow is recorded.
    let Ok(mut stream) = respond.send_response(response, !with_body) else { return StreamEnd::BrokenOff };
    if with_body {
        let _ = stream.send_data(Bytes::from(answer.body), true);
    }
    StreamEnd::Served
}

/// Takes in what still comes of a request's body that nobody wants, for a moment: a reset in the middle of it makes some
/// clients (curl among them) throw the answer away. A client that sends more than is taken waits for room meanwhile, and
/// reads.
pub(crate) async fn let_out(mut body: RecvStream) {
    let drained = async {
        let mut left = REFUSAL_BYTES;
        while let Some(Ok(data)) = body.data().await {
            left = left.saturating_sub(data.len());
            if left > 0 && body.flow_control().release_capacity(data.len()).is_err() {
                return;
            }
        }
    };
    // What comes later is reset.
    let _ = timeout(REFUSAL_LINGER, drained).await;
}

/// What a stranger is told of a failure with this status.
fn public(status: u16, code: Code) -> &'static str {
    if matches!(code, Code::ResponseIncomplete | Code::ResponseMalformed) {
        return "the app behind this name gave no whole answer; whoever runs it finds out why by this flow";
    }
    match status {
        401 => "a username and password are needed here",
        403 => "you may not come here from this address",
        429 => "there are too many requests now; try again later",
        503 => "this app can't be served now; try again later",
        504 => "the app behind this name does not answer in time",
        508 => "this name leads back to itself",
        _ => "the app behind this name can't be reached; whoever runs it finds out why by this flow",
    }
}

/// The failure of a phase that took too long.
pub(crate) fn too_slow(what: &str, limit: Duration) -> Failure {
    Failure::new(
        Code::HeadTooSlow,
        format_args!("{what} was not whole within {} s; send it faster, or raise the limit", limit.as_secs_f32()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_spent_a_quota_is_told_when_to_come_again() {
        let spent = Failure::new(Code::QuotaSpent, "spent");
        for (failure, seconds) in [
            (spent.clone(), "1"),
            (spent.clone().to_be_tried_after(Duration::from_millis(1_001)), "2"),
            (spent.to_be_tried_after(Duration::ZERO), "1"),
            (Failure::new(Code::Draining, "going down"), "1"),
        ] {
            let head = String::from_utf8(Refusal::of(&failure).encode(true, false)).unwrap();
            assert!(head.contains(&format!("\r\nretry-after: {seconds}\r\n")), "{head}");
        }
    }
}
