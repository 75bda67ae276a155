//! Saying no over HTTP so that the client can read it: status, Proxy-Status, and one line with what to do.

use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use moorgate_contract::{
    failure::{Code, Failure},
    flow::OpenFlow,
    limits::{REFUSAL_BYTES, REFUSAL_LINGER},
};
use moorgate_wire::{
    http1::{ResponseHead, Version},
    proxy_status::ProxyStatus,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::client::{Client, ClientStream};

/// What a client should wait before it tries again, in seconds.
const RETRY_AFTER: &str = "1";

/// The header fields and the body of a refusal, the same for HTTP/1 and h2.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Refusal {
    pub(crate) fn of(failure: &Failure) -> Self {
        let row = failure.code.row();
        let proxy_status = ProxyStatus {
            error: Some(row.proxy_status),
            details: Some(&failure.said),
            extra: &[("code", row.code)],
            ..ProxyStatus::default()
        };
        let body = format!("moorgate: {failure}\n");
        let mut fields = vec![
            ("content-type", "text/plain; charset=utf-8".to_owned()),
            ("content-length", body.len().to_string()),
            ("proxy-status", proxy_status.encode()),
        ];
        match row.http {
            407 => fields.push(("proxy-authenticate", "Basic realm=\"moorgate\", charset=\"UTF-8\"".to_owned())),
            429 | 503 => fields.push(("retry-after", RETRY_AFTER.to_owned())),
            _ => {}
        }
        Self { status: row.http, fields, body }
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

/// Sends a last answer and closes so that the client can read it: what it still sends is read and thrown away for a
/// moment, because closing on unread bytes would turn into an RST that overtakes the answer.
pub(crate) async fn send_and_close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) {
    // A client that does not take its refusal is beyond help: the outcome is recorded already.
    let _ = timeout(REFUSAL_LINGER, async {
        stream.write_all(answer).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        let mut sink = [0; 4096];
        let mut budget = REFUSAL_BYTES;
        while budget > 0 {
            match stream.read(&mut sink).await? {
                0 => break,
                read => budget = budget.saturating_sub(read),
            }
        }
        std::io::Result::Ok(())
    })
    .await;
}

/// Records the refusal, says it, and closes.
pub(crate) async fn say_no<S: ClientStream>(
    mut client: Client<S>,
    mut flow: OpenFlow,
    failure: &Failure,
    is_head: bool,
) {
    let refusal = Refusal::of(failure);
    flow.record.status = Some(refusal.status);
    flow.fail(failure);
    send_and_close(&mut client.stream, &refusal.encode(false, !is_head)).await;
}

/// Records the refusal and says it on this stream alone.
pub(crate) fn say_no_on_stream(
    mut respond: SendResponse<Bytes>,
    mut flow: OpenFlow,
    failure: &Failure,
    with_body: bool,
) {
    let refusal = Refusal::of(failure);
    flow.record.status = Some(refusal.status);
    flow.fail(failure);
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(refusal.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    for (name, value) in &refusal.fields {
        if let Ok(value) = http::HeaderValue::try_from(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    // The stream may be gone by now; its flow is recorded.
    if let Ok(mut stream) = respond.send_response(response, !with_body)
        && with_body
    {
        let _ = stream.send_data(Bytes::from(refusal.body), true);
    }
}

/// The failure of a phase that took too long.
pub(crate) fn too_slow(what: &str, limit: Duration) -> Failure {
    Failure::new(
        Code::HeadTooSlow,
        format_args!("{what} was not whole within {} s; send it faster, or raise the limit", limit.as_secs_f32()),
    )
}
