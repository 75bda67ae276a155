//! An exchange toward a client that speaks h2: one stream.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use moorgate_contract::{
    decide::Destination,
    exposure::{Content, Exposure},
    failure::{Code, Failure},
    flow::{Kind, Meter, OpenFlow},
    outcome::{Ending, Outcome},
};
use moorgate_wire::{host::Asked, http1::Headers};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    Body, Stop, Toward,
    body::{End, StreamBody, Watch},
    check_loop, has_body, is_stream, length, request,
    target::Kept,
};
use crate::{
    echo,
    gateway::{Decided, Entered, Visit},
    head::{ask, fields, host_and_length},
    inbound::too_large,
    refuse::{StreamEnd, say_no_on_stream, say_no_to_request},
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
    let outgoing = match outgoing(visit, &parts, &decided, stream) {
        Ok(outgoing) => outgoing,
        Err(failure) => return say_no_on_stream(respond, flow, &failure, !is_head),
    };
    let going = Going {
        method: &parts.method,
        toward: Toward::Destination(&decided),
        exposure: Exposure::outbound(visit.listener, Content::Http),
    };
    going.carry_out(visit, respond, flow, entered, outgoing).await
}

/// A request that has been decided and written, about to go.
pub(crate) struct Going<'a> {
    pub(crate) method: &'a Method,
    pub(crate) toward: Toward<'a>,
    /// What it exposes as soon as it goes on.
    pub(crate) exposure: Exposure,
}

impl Going<'_> {
    /// Connect, exchange, record.
    pub(crate) async fn carry_out(
        &self,
        visit: &Visit,
        mut respond: SendResponse<Bytes>,
        mut flow: OpenFlow,
        entered: Entered,
        (request, mut watch): Outgoing,
    ) -> StreamEnd {
        let with_body = self.method != Method::HEAD;
        let mut request = Some(request);
        // The watch lives until an answer is given: it may hold what still comes of the body.
        match self.answer(visit, &entered, &mut flow, (&mut request, &mut watch), &mut respond).await {
            Ok((response, kept)) => {
                flow.record.status = Some(response.status().as_u16());
                let result = self.downlink(visit, &entered, &flow, (response, kept), &mut watch, &mut respond).await;
                drop(entered);
                match result {
                    Ok(()) => {
                        flow.end(Outcome::Ok);
                        watch.let_out().await;
                        StreamEnd::Served
                    }
                    Err(stop) => give_up(flow, stop),
                }
            }
            // The library has reset the stream: nobody can be told.
            Err(stop @ Stop::Failed(_)) if watch.was_malformed() => give_up(flow, stop),
            Err(Stop::Failed(failure)) => {
                drop((entered, request));
                let end = say_no_on_stream(respond, flow, &failure, with_body);
                watch.let_out().await;
                end
            }
            Err(Stop::Cut(Ending::Idle)) => say_no_on_stream(respond, flow, &body_too_slow(), with_body),
            Err(stop) => {
                respond.send_reset(Reason::CANCEL);
                give_up(flow, stop)
            }
        }
    }

    /// Up to the response's head. The request is left where it was when nothing of it went anywhere. The body goes up meanwhile, as hyper takes it.
    async fn answer(
        &self,
        visit: &Visit,
        entered: &Entered,
        flow: &mut OpenFlow,
        (outgoing, watch): (&mut Option<Request<Body>>, &mut Watch),
        respond: &mut SendResponse<Bytes>,
    ) -> Result<(Response<Incoming>, Kept), Stop> {
        let (open, toward) = (&entered.open, self.toward);
        let limits = &visit.gateway.limits;
        let kept = tokio::select! {
            biased;
            _ = poll_fn(|cx| respond.poll_reset(cx)) => {
                // Nobody reads the body yet.
                if let Some(body) = outgoing.take().map(Request::into_body) {
                    let _ = timeout(REASON, body.read_out()).await;
                }
                return Err(reset(watch).await);
            }
            kept = toward.ready(visit, entered, flow, None) => kept?,
            ending = poll_fn(|cx| open.poll_cut(cx)) => return Err(Stop::Cut(ending)),
        };
        let Some(outgoing) = outgoing.take() else {
            return Err(Failure::new(Code::Internal, "a request that went twice").into());
        };
        flow.record.exposure = self.exposure;
        open.idles_after(Some(limits.body));
        let mut sent = pin!(toward.send(visit, entered, flow, kept, outgoing));
        let mut deadline = None;
        loop {
            tokio::select! {
                biased;
                ending = poll_fn(|cx| open.poll_cut(cx)) => return Err(Stop::Cut(ending)),
                _ = poll_fn(|cx| respond.poll_reset(cx)) => return Err(reset(watch).await),
                end = watch.ended(), if deadline.is_none() => {
                    match end {
                        Some(End::TooLarge) => return Err(too_large().into()),
                        Some(End::Malformed) => return Err(malformed().into()),
                        Some(End::Whole | End::Unwanted) | None => {}
                    }
                    // From here on it is the target's turn, and its own limit counts.
                    open.idles_after(None);
                    deadline = Some(Instant::now() + limits.response);
                }
                sent = &mut sent => {
                    let (response, kept) = sent?;
                    if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
                        let said = "the target switched to a protocol that nobody had asked for";
                        return Err(Failure::new(Code::ResponseMalformed, said).into());
                    }
                    return Ok((response, kept));
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    let said = format_args!(
                        "the target took the request and did not answer within {} s",
                        limits.response.as_secs_f32()
                    );
                    return Err(toward.blamed(Failure::new(Code::ResponseTimeout, said)).into());
                }
            }
        }
    }

    async fn downlink(
        &self,
        visit: &Visit,
        entered: &Entered,
        flow: &OpenFlow,
        (response, kept): (Response<Incoming>, Kept),
        watch: &mut Watch,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<(), Stop> {
        let (limits, toward) = (&visit.gateway.limits, self.toward);
        entered.open.idles_after(Some(if is_stream(response.headers()) { limits.idle_tunnel } else { limits.body }));
        let (parts, body) = response.into_parts();
        let mut head = Response::new(());
        *head.status_mut() = parts.status;
        let mut fields = toward.response_fields(&parts.headers, visit);
        length(&mut fields, self.method.as_str(), parts.status.as_u16(), body.size_hint().exact());
        for (name, value) in fields.iter() {
            if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), http::HeaderValue::from_bytes(value)) {
                head.headers_mut().append(name, value);
            }
        }
        let has_body = has_body(self.method.as_str(), parts.status.as_u16()) && !body.is_end_stream();
        let mut stream = respond.send_response(head, !has_body).map_err(|_| Stop::Client)?;
        // One that is still to take a body can take no other request.
        let mut keep = |kept: Kept| {
            if kept.is_shared() || !watch.is_open() {
                toward.keep(kept);
            }
        };
        if !has_body {
            keep(kept);
            return Ok(());
        }
        let counted = kept.is_shared().then(|| flow.meter().clone());
        let sent = tokio::select! {
            biased;
            ending = poll_fn(|cx| entered.open.poll_cut(cx)) => Err(Stop::Cut(ending)),
            sent = self.send_body(&mut stream, body, counted) => sent,
        };
        match &sent {
            Ok(()) => keep(kept),
            // Never a clean end for a body that is not whole.
            Err(_) => stream.send_reset(Reason::INTERNAL_ERROR),
        }
        sent
    }

    async fn send_body(
        &self,
        stream: &mut SendStream<Bytes>,
        mut body: Incoming,
        counted: Option<Arc<Meter>>,
    ) -> Result<(), Stop> {
        loop {
            // A client that breaks off is seen while the target says nothing, too.
            let frame = poll_fn(|cx| match stream.poll_reset(cx) {
                Poll::Ready(_) => Poll::Ready(Err(Stop::Client)),
                Poll::Pending => Pin::new(&mut body).poll_frame(cx).map(Ok),
            });
            let Some(frame) = frame.await? else { break };
            let mut data = match frame.map_err(|error| self.toward.broke_off(&error))?.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    let trailers =
                        frame.into_trailers().map(|fields| self.toward.trailers(&fields)).unwrap_or_default();
                    if trailers.is_empty() {
                        continue;
                    }
                    return stream.send_trailers(trailers).map_err(|_| Stop::Client);
                }
            };
            if let Some(meter) = &counted {
                meter.add_down(data.len() as u64);
            }
            // With the last byte goes the end: a client that counts closes at once, and has not broken off then.
            let last = body.is_end_stream();
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
        stream.send_data(Bytes::new(), true).map_err(|_| Stop::Client)
    }
}

/// Whose doing it is that a stream was reset: the client's, or the library's for what the client sent.
async fn reset(watch: &mut Watch) -> Stop {
    // Whoever reads the body hears of it at the same time as we.
    match timeout(REASON, watch.ended()).await {
        Ok(Some(End::Malformed)) => malformed().into(),
        _ => Stop::Client,
    }
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

fn body_too_slow() -> Failure {
    Failure::new(Code::BodyTooSlow, "no byte of the body moved within [limits] body")
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

/// A request, and what is known of its body from then on.
pub(crate) type Outgoing = (Request<Body>, Watch);

fn outgoing(
    visit: &Visit,
    parts: &http::request::Parts,
    decided: &Decided,
    stream: RecvStream,
) -> Result<Outgoing, Failure> {
    let headers = joined(fields(&parts.headers));
    let (body, watch) = body(&headers, stream, None, None);
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let gateway = visit.gateway.snapshot().site.gateway.clone();
    Ok((request(parts.method.as_str(), path, &decided.plan.asked, headers, &gateway, body)?, watch))
}

/// Cookie may come in crumbs over h2, and is one field over HTTP/1 (RFC 9113 §8.2.3).
pub(crate) fn joined(mut headers: Headers) -> Headers {
    let crumbs: Vec<Vec<u8>> = headers.get_all("cookie").map(<[u8]>::to_vec).collect();
    if crumbs.len() > 1 {
        headers.set("cookie", crumbs.join(&b"; "[..]));
    }
    headers
}

/// The body of a request on a stream: at most `most` bytes, counted by `meter` if there is one.
pub(crate) fn body(
    headers: &Headers,
    stream: RecvStream,
    most: Option<u64>,
    meter: Option<Arc<Meter>>,
) -> (Body, Watch) {
    if stream.is_end_stream() {
        return (Body::Empty, Watch::default());
    }
    let length = headers.get("content-length").and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    let (body, watch) = StreamBody::new(stream, length, most, meter);
    (Body::Stream(body), watch)
}
