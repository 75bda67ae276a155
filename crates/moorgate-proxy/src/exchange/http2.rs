//! An exchange toward a client that speaks h2: one stream.

use std::{
    future::poll_fn,
    sync::atomic::AtomicBool,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use moorgate_contract::{
    decide::Destination,
    exposure::{Content, Exposure},
    failure::{Code, Failure},
    flow::{Kind, OpenFlow},
    outcome::{Ending, Outcome},
};
use moorgate_net::runtime::timeout;
use moorgate_wire::{
    host::Asked,
    http1::{Framing, Headers, ResponseHead},
};

use super::{
    Outgoing, Stop, Toward, body_too_slow, check_loop,
    course::{Course, Done, Progress, Sink, Source},
    has_body, length,
    receiving::Receiving,
    request,
};
use crate::{
    echo,
    gateway::{Decided, Entered, Visit},
    head::{ask, fields, host_and_length},
    inbound::too_large,
    refuse::{StreamEnd, let_out, say_no_on_stream, say_no_to_request},
};

/// How long the reason of a reset is waited for.
const REASON: Duration = Duration::from_millis(100);

/// One request of an outbound client: decide, connect, exchange, record.
pub(crate) async fn run(
    visit: &Visit,
    incoming: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    mut flow: OpenFlow,
) -> StreamEnd {
    flow.record.kind = Kind::Exchange;
    let is_head = incoming.method() == Method::HEAD;
    let (parts, stream) = incoming.into_parts();
    let prepared = decide(visit, &parts, &mut flow);
    let (decided, entered) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return say_no_to_request(respond, flow, &failure, !is_head, stream).await,
    };
    if decided.plan.destination == Destination::Echo {
        return echo::answer_stream(visit, respond, flow, &parts, &decided).await;
    }
    let outgoing = match outgoing(visit, &parts, &decided, &stream) {
        Ok(outgoing) => outgoing,
        Err(failure) => return say_no_on_stream(respond, flow, &failure, !is_head),
    };
    let going = Going {
        method: &parts.method,
        toward: Toward::Destination(&decided),
        exposure: Exposure::outbound(visit.listener, Content::Http),
        most: None,
    };
    going.carry_out(visit, stream, respond, flow, entered, outgoing).await
}

/// A request that has been decided and written, about to go.
pub(crate) struct Going<'a> {
    pub(crate) method: &'a Method,
    pub(crate) toward: Toward<'a>,
    /// What it exposes as soon as it goes on.
    pub(crate) exposure: Exposure,
    /// The most bytes of its body.
    pub(crate) most: Option<u64>,
}

impl Going<'_> {
    /// Connect, exchange, record.
    pub(crate) async fn carry_out(
        &self,
        visit: &Visit,
        stream: RecvStream,
        respond: SendResponse<Bytes>,
        mut flow: OpenFlow,
        entered: Entered,
        mut outgoing: Outgoing<'_>,
    ) -> StreamEnd {
        let with_body = self.method != Method::HEAD;
        // It lives until an answer is given: a stream that has not ended is reset as soon as it is dropped, and an answer that
        // was not given whole before is thrown away by the client (RFC 9113 §8.1).
        let mut uplink = Uplink { stream, left: self.most, is_over: false, is_malformed: false };
        let mut downlink = Downlink { visit, method: self.method, respond, stream: None };
        let progress = Progress::new(outgoing.framing);
        let course =
            Course { visit, entered: &entered, toward: self.toward, exposure: self.exposure, progress: &progress };
        let result = course.carry(&mut flow, None, &mut outgoing, &mut uplink, &mut downlink).await;
        drop(entered);
        let Downlink { mut respond, stream: began, .. } = downlink;
        match (result, began) {
            (Ok(Done::Answered { .. } | Done::Switched(_)), _) => {
                flow.end(Outcome::Ok);
                uplink.let_out().await;
                StreamEnd::Served
            }
            (Err(stop), Some(mut began)) => {
                // What was said goes out first: a reset throws away what waits.
                tokio::task::yield_now().await;
                // Never a clean end for a body that is not whole.
                began.send_reset(Reason::INTERNAL_ERROR);
                give_up(flow, stop)
            }
            // The library has reset the stream: nobody can be told.
            (Err(stop @ Stop::Failed(_)), None) if uplink.is_malformed => give_up(flow, stop),
            (Err(Stop::Failed(failure)), None) => {
                let end = say_no_on_stream(respond, flow, &failure, with_body);
                uplink.let_out().await;
                end
            }
            (Err(Stop::Cut(Ending::Idle)), None) => say_no_on_stream(respond, flow, &body_too_slow(), with_body),
            (Err(stop), None) => {
                respond.send_reset(Reason::CANCEL);
                give_up(flow, stop)
            }
        }
    }
}

/// The request's body on its way from the client.
struct Uplink {
    stream: RecvStream,
    /// Bytes that may still come.
    left: Option<u64>,
    is_over: bool,
    /// It is not as its head or HTTP/2 says; the library has reset the stream.
    is_malformed: bool,
}

impl Uplink {
    /// After the answer: lets go of what still comes, gently.
    async fn let_out(self) {
        if !self.is_over && !self.stream.is_end_stream() {
            let_out(self.stream).await;
        }
    }
}

impl Source for Uplink {
    async fn begin(&mut self) -> Result<(), Stop> {
        // The library has looked at every frame.
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Stop> {
        loop {
            let data = match self.stream.data().await {
                None => {
                    self.is_over = true;
                    return Ok(None);
                }
                Some(Err(error)) => {
                    self.is_over = true;
                    self.is_malformed = error.is_library();
                    return Err(if self.is_malformed { malformed().into() } else { Stop::Client });
                }
                Some(Ok(data)) => data,
            };
            if let Some(left) = &mut self.left {
                *left = left.checked_sub(data.len() as u64).ok_or_else(too_large)?;
            }
            // One piece is held at a time, so the window can be given back as soon as it is taken.
            let _ = self.stream.flow_control().release_capacity(data.len());
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    async fn left(&mut self, _: &AtomicBool) -> Stop {
        // The response's side sees it.
        std::future::pending().await
    }

    /// Whose doing it is that a stream was reset: the client's, or the library's for what the client sent.
    async fn reason(&mut self) -> Stop {
        let told = async {
            loop {
                match self.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Stop::Client,
                    Err(stop) => return stop,
                }
            }
        };
        timeout(REASON, told).await.unwrap_or(Stop::Client)
    }
}

/// The response's way to its client.
struct Downlink<'a> {
    visit: &'a Visit,
    method: &'a Method,
    respond: SendResponse<Bytes>,
    /// Once the head is sent.
    stream: Option<SendStream<Bytes>>,
}

impl Sink for Downlink<'_> {
    async fn go_ahead(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.respond.poll_reset(cx).map(drop)
    }

    async fn answer(&mut self, answer: ResponseHead, body: &mut Receiving, toward: Toward<'_>) -> Result<bool, Stop> {
        let ResponseHead { status, headers } = answer;
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut fields = toward.response_fields(headers, self.visit);
        length(&mut fields, self.method.as_str(), status, body.length());
        *head.headers_mut() = map(&fields);
        let has_body = has_body(self.method.as_str(), status) && !body.is_over();
        let stream = self.respond.send_response(head, !has_body).map_err(|_| Stop::Client)?;
        let stream = self.stream.insert(stream);
        if has_body {
            send_body(stream, body, toward).await?;
        }
        Ok(true)
    }

    async fn switch(&mut self, _: ResponseHead, _: &'static str, _: Bytes, _: Toward<'_>) -> Result<(), Stop> {
        Err(Failure::new(Code::Internal, "a switch of protocols over h2").into())
    }
}

async fn send_body(stream: &mut SendStream<Bytes>, body: &mut Receiving, toward: Toward<'_>) -> Result<(), Stop> {
    loop {
        // A client that breaks off is seen while the target says nothing, too.
        let piece = {
            let mut next = std::pin::pin!(body.next());
            poll_fn(|cx| match stream.poll_reset(cx) {
                Poll::Ready(_) => Poll::Ready(Err(Stop::Client)),
                Poll::Pending => next.as_mut().poll(cx).map(Ok),
            })
            .await?
        };
        let Some(mut data) = piece.map_err(|broke| toward.broke_off(&broke))? else { break };
        // With the last byte goes the end: a client that counts closes at once, and has not broken off then.
        let last = body.is_over() && !body.has_trailers();
        while !data.is_empty() {
            stream.reserve_capacity(data.len());
            let room = match stream.capacity() {
                0 => match poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(Ok(room)) => room,
                    Some(Err(_)) | None => return Err(Stop::Client),
                },
                room => room,
            };
            let piece = data.split_to(room.min(data.len()));
            let end = last && data.is_empty();
            stream.send_data(piece, end).map_err(|_| Stop::Client)?;
            if end {
                return Ok(());
            }
        }
    }
    let trailers = toward.trailers(body.trailers());
    if trailers.is_empty() {
        stream.send_data(Bytes::new(), true).map_err(|_| Stop::Client)
    } else {
        stream.send_trailers(map(&trailers)).map_err(|_| Stop::Client)
    }
}

/// The fields as the library takes them.
fn map(fields: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

fn malformed() -> Failure {
    let said = "the request's body is not as long as its head says, or breaks a rule of HTTP/2";
    Failure::new(Code::Malformed, said)
}

/// Ends a flow whose stream has been reset already.
fn give_up(flow: OpenFlow, stop: Stop) -> StreamEnd {
    match stop {
        Stop::Client => {
            flow.end(Outcome::Cut(Ending::ResetByClient));
            return StreamEnd::BrokenOff;
        }
        Stop::Cut(Ending::Idle) => flow.fail(&body_too_slow()),
        Stop::Cut(ending) => flow.end(Outcome::Cut(ending)),
        Stop::Failed(failure) => flow.fail(&failure),
    }
    StreamEnd::Served
}

fn decide(visit: &Visit, parts: &http::request::Parts, flow: &mut OpenFlow) -> Result<(Decided, Entered), Failure> {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let asked = Asked::from_authority(authority, Some(80)).map_err(|why| Failure::new(Code::Malformed, why))?;
    let headers = fields(&parts.headers);
    let (host, _) = host_and_length(&headers)?;
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
        return Err(Failure::new(Code::HostMismatch, ":authority and Host name different hosts"));
    }
    let decided = ask(visit, &headers, &asked, flow)?;
    if parts.uri.scheme_str() != Some("http") {
        return Err(Failure::new(
            Code::NotSupported,
            "https:// goes through a proxy by CONNECT; ask for CONNECT host:443",
        ));
    }
    check_loop(&headers, &visit.gateway.snapshot().site.gateway, asked.text())?;
    let entered = visit.enter(&decided, flow)?;
    Ok((decided, entered))
}

fn outgoing<'a>(
    visit: &Visit,
    parts: &'a http::request::Parts,
    decided: &Decided,
    stream: &RecvStream,
) -> Result<Outgoing<'a>, Failure> {
    let headers = joined(fields(&parts.headers));
    let framing = framing(&headers, stream);
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let gateway = visit.gateway.snapshot().site.gateway.clone();
    request(parts.method.as_str(), path, &decided.plan.asked, headers, &gateway, framing)
}

/// Cookie may come in crumbs over h2, and is one field over HTTP/1 (RFC 9113 §8.2.3).
pub(crate) fn joined(mut headers: Headers) -> Headers {
    let crumbs: Vec<Vec<u8>> = headers.get_all("cookie").map(<[u8]>::to_vec).collect();
    if crumbs.len() > 1 {
        headers.set("cookie", crumbs.join(&b"; "[..]));
    }
    headers
}

/// How the body of a request on a stream is framed over HTTP/1.
pub(crate) fn framing(headers: &Headers, stream: &RecvStream) -> Framing {
    let length = headers.get("content-length").and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    match length {
        _ if stream.is_end_stream() => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}
