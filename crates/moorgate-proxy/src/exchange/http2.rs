//! An exchange toward a client that speaks h2: one stream.

use std::{future::poll_fn, pin::pin};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use moorgate_contract::{
    decide::Destination,
    exposure::{Content, Exposure},
    failure::{Code, Failure},
    flow::{Kind, OpenFlow},
    outcome::{Ending, Outcome},
};
use moorgate_wire::host::Asked;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::{Body, Stop, check_loop, has_body, request, response_fields, target};
use crate::{
    echo,
    gateway::{Decided, Entered, Visit},
    head::{ask, fields},
    refuse::say_no_on_stream,
};

/// Decide, connect, exchange, record: one request.
pub(crate) async fn run(
    visit: &Visit,
    incoming: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    mut flow: OpenFlow,
) {
    flow.record.kind = Kind::Exchange;
    let is_head = incoming.method() == Method::HEAD;
    let (parts, stream) = incoming.into_parts();
    let prepared = decide(visit, &parts, &mut flow);
    let (decided, entered) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return say_no_on_stream(respond, flow, &failure, !is_head),
    };
    if decided.plan.destination == Destination::Echo {
        return echo::answer_stream(visit, respond, flow, &parts, &decided).await;
    }
    let outgoing = match outgoing(visit, &parts, &decided, stream) {
        Ok(outgoing) => outgoing,
        Err(failure) => return say_no_on_stream(respond, flow, &failure, !is_head),
    };
    match answer(visit, &decided, &entered, &mut flow, outgoing, &mut respond).await {
        Ok(response) => {
            flow.record.status = Some(response.status().as_u16());
            let result = downlink(visit, &entered, response, &mut respond, &parts.method, &decided).await;
            drop(entered);
            match result {
                Ok(()) => flow.end(Outcome::Ok),
                Err(stop) => give_up(flow, stop),
            }
        }
        Err(Stop::Failed(failure)) => say_no_on_stream(respond, flow, &failure, !is_head),
        Err(Stop::Cut(Ending::Idle)) => say_no_on_stream(respond, flow, &body_too_slow(), !is_head),
        Err(stop) => {
            respond.send_reset(Reason::CANCEL);
            give_up(flow, stop);
        }
    }
}

/// Ends a flow whose stream has been reset already.
fn give_up(flow: OpenFlow, stop: Stop) {
    match stop {
        Stop::Client => flow.end(Outcome::Cut(Ending::ResetByClient)),
        Stop::Cut(Ending::Idle) => flow.fail(&body_too_slow()),
        Stop::Cut(ending) => flow.end(Outcome::Cut(ending)),
        Stop::Failed(failure) => flow.fail(&failure),
    }
}

fn body_too_slow() -> Failure {
    Failure::new(Code::BodyTooSlow, "no byte of the body moved within [limits] body")
}

fn decide(visit: &Visit, parts: &http::request::Parts, flow: &mut OpenFlow) -> Result<(Decided, Entered), Failure> {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let asked = Asked::from_authority(authority, Some(80)).map_err(|why| Failure::new(Code::Malformed, why))?;
    let headers = fields(&parts.headers);
    if headers.get("host").is_some_and(|host| !host.eq_ignore_ascii_case(authority.as_bytes())) {
        return Err(Failure::new(Code::HostMismatch, ":authority and Host name different hosts"));
    }
    let decided = ask(visit, &headers, &asked, flow)?;
    if parts.uri.scheme_str() != Some("http") {
        return Err(Failure::new(
            Code::NotSupported,
            "https:// goes through a proxy by CONNECT; ask for CONNECT host:443",
        ));
    }
    check_loop(&headers, &visit.gateway.snapshot().site.gateway, &asked)?;
    let entered = visit.enter(&decided, flow)?;
    Ok((decided, entered))
}

/// A request, and what resolves when all of its body has been read (or nobody wants the rest).
type Outgoing = (Request<Body>, oneshot::Receiver<()>);

fn outgoing(
    visit: &Visit,
    parts: &http::request::Parts,
    decided: &Decided,
    stream: RecvStream,
) -> Result<Outgoing, Failure> {
    let mut headers = fields(&parts.headers);
    // RFC 9113 §8.2.3: crumbs become one field again before HTTP/1.
    let crumbs: Vec<Vec<u8>> = headers.get_all("cookie").map(<[u8]>::to_vec).collect();
    if crumbs.len() > 1 {
        headers.set("cookie", crumbs.join(&b"; "[..]));
    }
    let length = headers.get("content-length").and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    let (whole, is_whole) = oneshot::channel();
    let body = if stream.is_end_stream() { Body::Empty } else { Body::Stream { stream, length, whole: Some(whole) } };
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let gateway = visit.gateway.snapshot().site.gateway.clone();
    Ok((request(parts.method.as_str(), path, &decided.plan.asked, headers, &gateway, body)?, is_whole))
}

/// Up to the response's head. The body goes up meanwhile, as hyper takes it.
async fn answer(
    visit: &Visit,
    decided: &Decided,
    entered: &Entered,
    flow: &mut OpenFlow,
    (outgoing, is_whole): Outgoing,
    respond: &mut SendResponse<Bytes>,
) -> Result<Response<Incoming>, Stop> {
    let open = &entered.open;
    let limits = &visit.gateway.limits;
    let kept = tokio::select! {
        biased;
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return Err(Stop::Client),
        kept = target::ready(visit, decided, entered, flow, None) => kept?,
    };
    flow.record.exposure = Exposure::outbound(visit.listener, Content::Http);
    open.idles_after(Some(limits.body));
    let mut sent = pin!(target::send(visit, decided, entered, flow, kept, outgoing));
    let mut is_whole = pin!(is_whole);
    let mut deadline = None;
    loop {
        tokio::select! {
            biased;
            ending = poll_fn(|cx| open.poll_cut(cx)) => return Err(Stop::Cut(ending)),
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return Err(Stop::Client),
            sent = &mut sent => return sent.map(|(response, _)| response).map_err(Stop::Failed),
            _ = &mut is_whole, if deadline.is_none() => {
                // From here on it is the target's turn, and its own limit counts.
                open.idles_after(None);
                deadline = Some(Instant::now() + limits.response);
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                let said = format_args!(
                    "the target took the request and did not answer within {} s",
                    limits.response.as_secs_f32()
                );
                return Err(Failure::new(Code::ResponseTimeout, said).into());
            }
        }
    }
}

async fn downlink(
    visit: &Visit,
    entered: &Entered,
    response: Response<Incoming>,
    respond: &mut SendResponse<Bytes>,
    method: &Method,
    decided: &Decided,
) -> Result<(), Stop> {
    entered.open.idles_after(Some(visit.gateway.limits.body));
    let (parts, body) = response.into_parts();
    let mut head = Response::new(());
    *head.status_mut() = parts.status;
    let gateway = visit.gateway.snapshot().site.gateway.clone();
    for (name, value) in response_fields(&parts.headers, &gateway).iter() {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), http::HeaderValue::from_bytes(value)) {
            head.headers_mut().append(name, value);
        }
    }
    let has_body = has_body(method.as_str(), parts.status.as_u16()) && body.size_hint().exact() != Some(0);
    let mut stream = respond.send_response(head, !has_body).map_err(|_| Stop::Client)?;
    if !has_body {
        return Ok(());
    }
    let sent = tokio::select! {
        biased;
        ending = poll_fn(|cx| entered.open.poll_cut(cx)) => Err(Stop::Cut(ending)),
        sent = send_body(&mut stream, body, decided) => sent,
    };
    if sent.is_err() {
        // Never a clean end for a body that is not whole.
        stream.send_reset(Reason::INTERNAL_ERROR);
    }
    sent
}

async fn send_body(stream: &mut SendStream<Bytes>, mut body: Incoming, decided: &Decided) -> Result<(), Stop> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| target::broke(decided, &error))?;
        let Ok(mut data) = frame.into_data() else { continue };
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
            stream.send_data(piece, false).map_err(|_| Stop::Client)?;
        }
    }
    stream.send_data(Bytes::new(), true).map_err(|_| Stop::Client)
}
