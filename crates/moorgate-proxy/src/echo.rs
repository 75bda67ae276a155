//! `echo.moorgate.internal`: what a destination would have seen, and what the way here exposed. Answered by the gateway
//! itself, through any outbound listener, so it needs no internet.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::server::SendResponse;
use moorgate_contract::{
    exposure::{Content, Exposure},
    failure::Failure,
    flow::{Meter, OpenFlow},
    listener::Product,
    outcome::Outcome,
};
use moorgate_net::{
    farewell::answer_and_close,
    leg::{Cut, Leg},
    runtime::timeout,
};
use moorgate_wire::http1::{Framing, HeadStep, RequestHead, ResponseHead, Version, parse_request};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::{
    client::{Client, ClientStream},
    gateway::{Decided, Entered, Visit},
    head::can_go_on,
    refuse::{StreamEnd, say_no, say_no_on_stream},
};

/// The answer as JSON.
#[derive(Serialize)]
struct Seen {
    address: std::net::IpAddr,
    product: Option<&'static str>,
    listener: &'static str,
    account: Arc<str>,
    encrypted_to_gateway: bool,
    exposure: Exposure,
}

fn look(visit: &Visit, decided: &Decided, content: Content) -> Result<Seen, Failure> {
    let product = visit.listener.product();
    Ok(Seen {
        address: visit.would_leave_from(&decided.plan)?,
        product: product.map(Product::name),
        listener: visit.listener.name(),
        account: decided.principal.account.name.clone(),
        encrypted_to_gateway: product == Some(Product::Shield),
        exposure: Exposure::outbound(visit.listener, content),
    })
}

impl Seen {
    fn text(&self, words: &str) -> String {
        let path = if self.encrypted_to_gateway {
            "encrypted. Nobody on the way there reads your password or where you go."
        } else {
            "NOT encrypted. Try the Shield line to see the difference."
        };
        format!(
            "You came from {} through moorgate ({}, {}, account {}).\nPath to the gateway: {path}\n\
             Readable on the wire to the gateway: {}.\nReadable on the wire from it: {}.\n",
            self.address,
            self.product.unwrap_or_default(),
            words.trim_start_matches("outbound "),
            self.account,
            self.exposure.wire_to_gateway,
            self.exposure.wire_to_target,
        )
    }

    /// Type and body, as `accept` asks.
    fn render(&self, accept: Option<&[u8]>, words: &str) -> (&'static str, String) {
        let wants_json = accept.is_some_and(|accept| String::from_utf8_lossy(accept).contains("application/json"));
        if wants_json && let Ok(json) = serde_json::to_string(self) {
            return ("application/json", json + "\n");
        }
        ("text/plain; charset=utf-8", self.text(words))
    }
}

fn encode(head: &RequestHead, seen: &Seen, words: &str, keep: bool) -> Vec<u8> {
    let (kind, body) = seen.render(head.headers.get("accept"), words);
    let mut response = ResponseHead::new(200);
    response.headers.push("content-type", kind);
    response.headers.push("content-length", body.len().to_string());
    response.headers.push("cache-control", "no-store");
    if !keep {
        response.headers.push("connection", "close");
    } else if head.version == Version::Http10 {
        response.headers.push("connection", "keep-alive");
    }
    let mut bytes = response.encode(Version::Http11);
    if !head.method.is_head() {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

/// Answers an absolute-form request. The client when its connection can go on.
pub(crate) async fn answer_exchange<S: ClientStream>(
    visit: &Visit,
    mut client: Client<S>,
    mut flow: OpenFlow,
    head: &RequestHead,
    decided: &Decided,
) -> Option<Client<S>> {
    let seen = match look(visit, decided, Content::Http) {
        Ok(seen) => seen,
        Err(failure) => {
            say_no(client, flow, &failure, head.method.is_head()).await;
            return None;
        }
    };
    let keep = can_go_on(head, visit);
    let answer = encode(head, &seen, visit.listener.words(), keep);
    flow.record.status = Some(200);
    flow.record.exposure = seen.exposure;
    flow.record.egress = Some(seen.address);
    flow.meter().add_down(answer.len() as u64);
    flow.end(Outcome::Ok);
    if !keep {
        answer_and_close(&mut client.stream, &answer).await;
        return None;
    }
    client.stream.write_all(&answer).await.ok()?;
    client.stream.flush().await.ok()?;
    Some(client)
}

/// Answers a request on a stream of h2.
pub(crate) async fn answer_stream(
    visit: &Visit,
    mut respond: SendResponse<Bytes>,
    mut flow: OpenFlow,
    parts: &http::request::Parts,
    decided: &Decided,
) -> StreamEnd {
    let is_head = parts.method == http::Method::HEAD;
    let seen = match look(visit, decided, Content::Http) {
        Ok(seen) => seen,
        Err(failure) => return say_no_on_stream(respond, flow, &failure, !is_head),
    };
    let accept = parts.headers.get(http::header::ACCEPT).map(http::HeaderValue::as_bytes);
    let (kind, body) = seen.render(accept, visit.listener.words());
    let mut response = http::Response::new(());
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    flow.record.status = Some(200);
    flow.record.exposure = seen.exposure;
    flow.record.egress = Some(seen.address);
    flow.meter().add_down(body.len() as u64);
    flow.end(Outcome::Ok);
    let Ok(mut stream) = respond.send_response(response, is_head) else { return StreamEnd::BrokenOff };
    if !is_head {
        let _ = stream.send_data(Bytes::from(body), true);
    }
    StreamEnd::Served
}

/// Serves the echo inside a tunnel, over HTTP or (as soon as the client begins a handshake) HTTPS.
pub(crate) async fn serve_tunnel<L: Leg>(
    visit: Arc<Visit>,
    mut flow: OpenFlow,
    entered: Entered,
    decided: Decided,
    leg: L,
    early: Bytes,
) {
    entered.open.idles_after(Some(visit.gateway.limits.idle_tunnel));
    flow.record.egress = visit.would_leave_from(&decided.plan).ok();
    let mut client = Client::new(LegStream { leg, early, from: 0, meter: flow.meter().clone() });
    let served = tokio::select! {
        biased;
        ending = poll_fn(|cx| entered.open.poll_cut(cx)) => Err(ending),
        content = serve(&visit, &decided, &mut client) => Ok(content),
    };
    drop(entered);
    match served {
        Ok(content) => {
            flow.record.exposure = Exposure::outbound(visit.listener, content);
            flow.end(Outcome::Ok);
        }
        Err(ending) => {
            client.stream.leg.abort();
            flow.end(Outcome::Cut(ending));
        }
    }
}

async fn serve<L: Leg>(visit: &Visit, decided: &Decided, client: &mut Client<LegStream<L>>) -> Content {
    let limit = visit.gateway.limits.head;
    let first = timeout(limit, client.wait_for_more()).await;
    if !matches!(first, Ok(Ok(read)) if read > 0) {
        // An orderly end, even for a client that never asked.
        let _ = client.stream.shutdown().await;
        return Content::None;
    }
    if client.buffer.first() != Some(&0x16) {
        converse(visit, decided, client, Content::NotTls).await;
        return Content::NotTls;
    }
    let first = client.take_early();
    client.stream.unread(first);
    let handshake = visit.gateway.terminators.echo.accept_within(&mut client.stream);
    if let Ok(Ok(stream)) = timeout(visit.gateway.limits.handshake, handshake).await {
        converse(visit, decided, &mut Client::new(stream), Content::Tls).await;
    }
    Content::Tls
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    visit: &Visit,
    decided: &Decided,
    client: &mut Client<S>,
    content: Content,
) {
    let limit = visit.gateway.limits.head;
    let Ok(seen) = look(visit, decided, content) else { return };
    while let Ok(Some(head)) = timeout(limit, next_head(client)).await {
        let keep = head.keep_alive && head.framing == Framing::None;
        let answer = encode(&head, &seen, visit.listener.words(), keep);
        if client.stream.write_all(&answer).await.is_err() || client.stream.flush().await.is_err() || !keep {
            break;
        }
    }
    // The client may be gone; there is nobody left to tell.
    let _ = client.stream.shutdown().await;
}

async fn next_head<S: AsyncRead + Unpin>(client: &mut Client<S>) -> Option<RequestHead> {
    loop {
        match parse_request(&client.buffer) {
            HeadStep::NeedMore => match client.read_more().await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            },
            HeadStep::Head { consumed, head } => {
                client.consume(consumed);
                return Some(head);
            }
            HeadStep::Malformed(_) | HeadStep::TooLong => return None,
        }
    }
}

/// A leg as a stream, for a target that lives in this process.
struct LegStream<L> {
    leg: L,
    early: Bytes,
    from: usize,
    meter: Arc<Meter>,
}

impl<L> LegStream<L> {
    /// Puts bytes back to be read again.
    fn unread(&mut self, bytes: Bytes) {
        let rest = self.early.get(self.from..).unwrap_or_default();
        self.early = [&bytes, rest].concat().into();
        self.from = 0;
    }
}

fn broke(cut: Cut) -> io::Error {
    match cut {
        Cut::Reset => io::ErrorKind::ConnectionReset.into(),
        Cut::Truncated => io::ErrorKind::UnexpectedEof.into(),
    }
}

impl<L: Leg> AsyncRead for LegStream<L> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.early.get(this.from..).unwrap_or_default();
        let filled = if rest.is_empty() {
            match this.leg.poll_read(cx, buf.initialize_unfilled()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(cut)) => return Poll::Ready(Err(broke(cut))),
                Poll::Ready(Ok(read)) => {
                    buf.advance(read);
                    read
                }
            }
        } else {
            let piece = rest.get(..rest.len().min(buf.remaining())).unwrap_or_default();
            buf.put_slice(piece);
            this.from += piece.len();
            piece.len()
        };
        this.meter.add_up(filled as u64);
        Poll::Ready(Ok(()))
    }
}

impl<L: Leg> AsyncWrite for LegStream<L> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let written = self.leg.poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = written {
            self.meter.add_down(bytes as u64);
        }
        written.map_err(broke)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.leg.poll_flush(cx).map_err(broke)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.leg.poll_finish(cx).map_err(broke)
    }
}
