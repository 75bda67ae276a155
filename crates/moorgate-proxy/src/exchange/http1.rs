//! An exchange toward a client that speaks HTTP/1.

use std::{future::poll_fn, mem, pin::pin, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use futures_util::FutureExt as _;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use moorgate_contract::{
    decide::Destination,
    exposure::{Content, Exposure},
    failure::{Code, Failure},
    flow::{Kind, OpenFlow},
    outcome::{Ending, Outcome},
};
use moorgate_net::{farewell::answer_and_close, leg::TcpLeg};
use moorgate_tls::TlsLeg;
use moorgate_wire::http1::{
    CHUNK_END, Framing, Headers, RequestHead, ResponseHead, Scheme, Target, Version, encode_chunk_head,
    encode_last_chunk,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{Body, Stop, Toward, check_loop, has_body, is_stream, link::Link, request, target::Kept, uplink::Uplink};
use crate::{
    client::{Client, ClientStream},
    echo,
    gateway::{Decided, Entered, Visit},
    head::{ask, can_go_on, fields as fields_of},
    refuse::{Refusal, say_no},
    tunnel::{self, Side},
};

/// Pieces of a body between client and target: one in hand, one on its way.
const PIECES: usize = 1;

/// What is left when the connection can carry another request.
pub(crate) type After<S> = Option<(Client<S>, Option<Kept>)>;

/// One absolute-form request: decide, connect, exchange, record.
pub(crate) async fn run<S: ClientStream>(
    visit: &Arc<Visit>,
    client: Client<S>,
    kept: Option<Kept>,
    mut flow: OpenFlow,
    head: RequestHead,
) -> After<S> {
    flow.record.kind = Kind::Exchange;
    let (decided, entered) = match decide(visit, &head, &mut flow) {
        Ok(decided) => decided,
        Err(failure) => return refuse(visit, client, kept, flow, &head, &Refusal::of(&failure), Some(&failure)).await,
    };
    if decided.plan.destination == Destination::Echo {
        let client = echo::answer_exchange(visit, client, flow, &head, &decided).await?;
        return Some((client, kept));
    }
    let (body, pieces) = body(&head);
    let request = match outgoing(visit, &head, &decided, body) {
        Ok(request) => request,
        Err(failure) => return refuse(visit, client, kept, flow, &head, &Refusal::of(&failure), Some(&failure)).await,
    };
    let going = Going {
        head: &head,
        toward: Toward::Destination(&decided),
        exposure: Exposure::outbound(visit.listener, Content::Http),
        most: None,
    };
    going.carry_out(visit, client, kept, flow, entered, request, pieces).await
}

/// A request that has been decided and written, about to go.
pub(crate) struct Going<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) toward: Toward<'a>,
    /// What it exposes as soon as it goes on.
    pub(crate) exposure: Exposure,
    /// The most bytes of its body.
    pub(crate) most: Option<u64>,
}

impl Going<'_> {
    /// Connect, exchange, record.
    #[expect(clippy::too_many_arguments, reason = "each is taken over, and none belongs to another")]
    pub(crate) async fn carry_out<S: ClientStream>(
        &self,
        visit: &Arc<Visit>,
        client: Client<S>,
        kept: Option<Kept>,
        mut flow: OpenFlow,
        entered: Entered,
        request: http::Request<Body>,
        pieces: Option<Pieces>,
    ) -> After<S> {
        let head = self.head;
        let exchange = Exchange { visit, entered: &entered, going: self };
        let Client { stream, buffer } = client;
        let (reader, mut writer) = tokio::io::split(stream);
        let mut uplink = Uplink::new(reader, buffer, pieces, head.framing, self.most);
        let result = exchange.carry(&mut flow, kept, request, &mut uplink, &mut writer).await;
        let whole = uplink.is_done();
        // What the target did not want is not sent to it any longer.
        uplink.pieces = None;
        let mut client = Client { stream: uplink.reader.unsplit(writer), buffer: uplink.buffer };
        match result {
            Ok(Done::Upgraded(link)) => {
                upgraded(visit, client, flow, entered, link);
                None
            }
            Ok(Done::Answered { keep, kept }) => {
                drop(entered);
                flow.end(Outcome::Ok);
                if !whole {
                    // A body that the target did not want is still on its way here: no next head could be found behind it.
                    answer_and_close(&mut client.stream, &[]).await;
                    return None;
                }
                (keep && !visit.gateway.drain.is_cancelled()).then_some((client, kept))
            }
            // Nothing of an answer was sent, nothing of the request is left: the next one may be asked for.
            Err((Stop::Failed(failure), false)) if whole => {
                drop(entered);
                let refusal = Refusal::on(&flow.record, &failure);
                refuse(visit, client, None, flow, head, &refusal, Some(&failure)).await
            }
            Err((stop, began)) => {
                drop(entered);
                give_up(client, flow, head, stop, began).await;
                None
            }
        }
    }
}

/// Goes on as a tunnel of whatever the two have agreed on. What came from the target behind its 101 has been passed on.
fn upgraded<S: ClientStream>(visit: &Arc<Visit>, mut client: Client<S>, flow: OpenFlow, entered: Entered, link: Link) {
    let (visit, early) = (visit.clone(), client.take_early());
    let client = client.stream.into_leg();
    match link {
        Link::Bare(socket) => {
            // Nothing was peeked of a socket toward a target.
            let target = TcpLeg::new(socket.into_parts().0);
            tunnel::run(visit, flow, entered, client, target, early, Side::Inbound);
        }
        Link::Tls(stream) => tunnel::run(visit, flow, entered, client, TlsLeg::new(stream), early, Side::Inbound),
    }
}

fn decide(visit: &Visit, head: &RequestHead, flow: &mut OpenFlow) -> Result<(Decided, Entered), Failure> {
    let Target::Absolute { scheme, asked, .. } = &head.target else {
        return Err(Failure::new(Code::Internal, "an exchange without an absolute target"));
    };
    let decided = ask(visit, &head.headers, asked, flow)?;
    if *scheme != Scheme::Http {
        return Err(Failure::new(
            Code::NotSupported,
            "https:// goes through a proxy by CONNECT; ask for CONNECT host:443",
        ));
    }
    check_loop(&head.headers, &visit.gateway.snapshot().site.gateway, asked.text())?;
    let entered = visit.enter(&decided, flow)?;
    Ok((decided, entered))
}

fn outgoing(visit: &Visit, head: &RequestHead, decided: &Decided, body: Body) -> Result<http::Request<Body>, Failure> {
    let path = match &head.target {
        Target::Absolute { path, .. } => path,
        _ => "/",
    };
    let gateway = visit.gateway.snapshot().site.gateway.clone();
    request(head.method.as_str(), path, &decided.plan.asked, head.headers.clone(), &gateway, body)
}

/// Gives an answer of our own, and goes on with the connection if the next request can be found behind this one.
pub(crate) async fn refuse<S: ClientStream>(
    visit: &Visit,
    mut client: Client<S>,
    kept: Option<Kept>,
    mut flow: OpenFlow,
    head: &RequestHead,
    answer: &Refusal,
    failure: Option<&Failure>,
) -> After<S> {
    flow.record.status = Some(answer.status);
    match failure {
        Some(failure) => flow.fail(failure),
        None => flow.end(Outcome::Ok),
    }
    let keep = can_go_on(head, visit);
    let answer = answer.encode(keep, !head.method.is_head());
    if !keep {
        answer_and_close(&mut client.stream, &answer).await;
        return None;
    }
    // Whoever does not read it holds a place that others want.
    within(visit.gateway.limits.body, write_out(&mut client.stream, &*answer)).await.ok()?;
    Some((client, kept))
}

/// Ends an exchange that did not come to its end: with an answer if none was begun, else so that nobody takes what was
/// sent for whole.
async fn give_up<S: ClientStream>(client: Client<S>, flow: OpenFlow, head: &RequestHead, stop: Stop, began: bool) {
    let failure = match stop {
        Stop::Client => {
            client.stream.abort();
            return flow.end(Outcome::Cut(Ending::ResetByClient));
        }
        Stop::Cut(Ending::Idle) => Failure::new(Code::BodyTooSlow, "no byte of the body moved within [limits] body"),
        Stop::Cut(ending) => {
            client.stream.abort();
            return flow.end(Outcome::Cut(ending));
        }
        Stop::Failed(failure) => failure,
    };
    if began {
        client.stream.abort();
        flow.fail(&failure);
    } else {
        say_no(client, flow, &failure, head.method.is_head()).await;
    }
}

/// What a finished exchange leaves.
enum Done {
    Answered {
        /// Whether the client can find the end of the response without a close.
        keep: bool,
        kept: Option<Kept>,
    },
    /// Both sides speak something else from here on.
    Upgraded(Link),
}

struct Exchange<'a> {
    visit: &'a Visit,
    entered: &'a Entered,
    going: &'a Going<'a>,
}

impl Exchange<'_> {
    /// Request up, response down, both at once. `true` beside the error: some of a response was sent.
    async fn carry<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        flow: &mut OpenFlow,
        kept: Option<Kept>,
        request: http::Request<Body>,
        uplink: &mut Uplink<R>,
        writer: &mut W,
    ) -> Result<Done, (Stop, bool)> {
        let (response, kept) = self.up(flow, kept, request, uplink, writer).await.map_err(|stop| (stop, false))?;
        flow.record.status = Some(response.status().as_u16());
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(response, &kept, writer).await.map(Done::Upgraded);
        }
        let keep = self.down(response, uplink, writer).await.map_err(|stop| (stop, true))?;
        // One that is still to take a body can take no other request.
        let kept = if uplink.is_done() { self.going.toward.keep(kept) } else { None };
        Ok(Done::Answered { keep, kept })
    }

    /// Passes a 101 on, and what the target sent behind it (RFC 9110 §15.2.2).
    async fn switch<W: AsyncWrite + Unpin>(
        &self,
        mut response: Response<Incoming>,
        kept: &Kept,
        writer: &mut W,
    ) -> Result<Link, (Stop, bool)> {
        let toward = self.going.toward;
        let unasked = || {
            let said = "the target switched to a protocol that nobody had asked for";
            (Stop::from(Failure::new(Code::ResponseMalformed, said)), false)
        };
        let Some(protocol) = toward.upgrade() else { return Err(unasked()) };
        let upgrade = hyper::upgrade::on(&mut response);
        let mut start = ResponseHead::new(101);
        start.headers = toward.response_fields(response.headers(), self.visit);
        start.headers.push("connection", "upgrade");
        start.headers.push("upgrade", protocol);
        let switched = upgrade.await.map_err(|error| (Stop::from(toward.broke(&error)), false))?;
        let parts = switched.downcast::<TokioIo<Link>>().map_err(|_| unasked())?;
        kept.stop_counting();
        let first = Buf::chain(Bytes::from(start.encode(Version::Http11)), parts.read_buf);
        within(self.visit.gateway.limits.body, write_out(writer, first)).await.map_err(|stop| (stop, true))?;
        Ok(parts.io.into_inner())
    }

    /// Up to the response's head.
    async fn up<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        flow: &mut OpenFlow,
        kept: Option<Kept>,
        request: http::Request<Body>,
        uplink: &mut Uplink<R>,
        writer: &mut W,
    ) -> Result<(Response<Incoming>, Kept), Stop> {
        let (open, head, toward) = (&self.entered.open, self.going.head, self.going.toward);
        let limits = &self.visit.gateway.limits;
        let kept = tokio::select! {
            biased;
            kept = toward.ready(self.visit, self.entered, flow, kept) => kept?,
            ending = poll_fn(|cx| open.poll_cut(cx)) => return Err(Stop::Cut(ending)),
        };
        flow.record.exposure = self.going.exposure;
        if head.expect_continue && uplink.buffer.is_empty() && head.version == Version::Http11 {
            within(limits.body, write_out(writer, &b"HTTP/1.1 100 Continue\r\n\r\n"[..])).await?;
        }
        if !uplink.is_done() {
            open.idles_after(Some(limits.body));
        }
        if head.framing == Framing::Chunked {
            tokio::select! {
                biased;
                ending = poll_fn(|cx| open.poll_cut(cx)) => return Err(Stop::Cut(ending)),
                begun = uplink.begin() => begun?,
            }
        }
        let mut deadline = uplink.is_done().then(|| Instant::now() + limits.response);
        let mut answer = pin!(toward.send(self.visit, self.entered, flow, kept, request));
        loop {
            tokio::select! {
                biased;
                ending = poll_fn(|cx| open.poll_cut(cx)) => return Err(Stop::Cut(ending)),
                answer = &mut answer => return answer.map_err(Stop::Failed),
                step = uplink.step() => {
                    step?;
                    // From here on it is the target's turn, and its own limit counts.
                    open.idles_after(None);
                    deadline = Some(Instant::now() + limits.response);
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    let said = format_args!("the target took the request and did not answer within {} s", limits.response.as_secs_f32());
                    return Err(toward.blamed(Failure::new(Code::ResponseTimeout, said)).into());
                }
            }
        }
    }

    /// The response, while the rest of the request may still be on its way. `true`: the connection can go on.
    async fn down<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        response: Response<Incoming>,
        uplink: &mut Uplink<R>,
        writer: &mut W,
    ) -> Result<bool, Stop> {
        let open = &self.entered.open;
        let limits = &self.visit.gateway.limits;
        uplink.end_is_leaving = is_stream(response.headers());
        open.idles_after(Some(if uplink.end_is_leaving { limits.idle_tunnel } else { limits.body }));
        let mut downlink = pin!(downlink(writer, response, self.visit, self.going));
        loop {
            tokio::select! {
                biased;
                ending = poll_fn(|cx| open.poll_cut(cx)) => return Err(Stop::Cut(ending)),
                keep = &mut downlink => return keep,
                step = uplink.step() => step?,
            }
        }
    }
}

/// Where the pieces of a body are put in.
pub(crate) type Pieces = mpsc::Sender<Option<Bytes>>;

/// The request's body as hyper takes it, and where its pieces are put in.
pub(crate) fn body(head: &RequestHead) -> (Body, Option<Pieces>) {
    let length = match head.framing {
        Framing::None => return (Body::Empty, None),
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    let (sender, pieces) = mpsc::channel(PIECES);
    (Body::Pieces { pieces, length }, Some(sender))
}

/// Writes the response as it comes. `true`: the client can find its end, so the connection can go on.
async fn downlink<W: AsyncWrite + Unpin>(
    writer: &mut W,
    response: Response<Incoming>,
    visit: &Visit,
    going: &Going<'_>,
) -> Result<bool, Stop> {
    let Going { head, toward, .. } = going;
    let (parts, mut body) = response.into_parts();
    let status = parts.status.as_u16();
    let mut fields = toward.response_fields(&parts.headers, visit);
    let has_body = has_body(head.method.as_str(), status);
    let length = body.size_hint().exact();
    super::length(&mut fields, head.method.as_str(), status, length);
    let chunked = match (has_body, length, head.version) {
        (false, ..) | (true, Some(_), _) => false,
        (true, None, Version::Http11) => {
            fields.push("transfer-encoding", "chunked");
            true
        }
        (true, None, Version::Http10) => false,
    };
    let keep = !has_body || length.is_some() || chunked;
    let goes_on = keep && head.keep_alive;
    if !goes_on {
        fields.push("connection", "close");
    } else if head.version == Version::Http10 {
        fields.push("connection", "keep-alive");
    }
    let mut start = ResponseHead::new(status);
    start.headers = fields;
    // The head goes out with the body's first piece where that is here: one write, one record of TLS, one segment.
    let mut ahead = Bytes::from(start.encode(Version::Http11));
    let mut next = if has_body { body.frame().now_or_never() } else { Some(None) };
    if next.is_none() {
        write(writer, mem::take(&mut ahead)).await?;
    }
    let mut trailers = Headers::new();
    loop {
        let frame = match next.take() {
            Some(frame) => frame,
            None => body.frame().await,
        };
        let Some(frame) = frame else { break };
        let data = match frame.map_err(|error| toward.broke_off(&error))?.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().map(|fields| fields_of(&toward.trailers(&fields))).unwrap_or_default();
                continue;
            }
        };
        if data.is_empty() {
            continue;
        }
        if chunked {
            let head = encode_chunk_head(data.len());
            write(writer, mem::take(&mut ahead).chain(Buf::chain(&*head, data)).chain(CHUNK_END)).await?;
        } else {
            write(writer, mem::take(&mut ahead).chain(data)).await?;
        }
    }
    if chunked {
        write(writer, ahead.chain(&*encode_last_chunk(&trailers))).await?;
    } else if !ahead.is_empty() {
        write(writer, ahead).await?;
    }
    writer.flush().await.map_err(|_| Stop::Client)?;
    if !goes_on {
        writer.shutdown().await.map_err(|_| Stop::Client)?;
    }
    Ok(goes_on)
}

/// What is written outside an exchange's own limits, for as long as `limit`.
async fn within(limit: Duration, writing: impl Future<Output = Result<(), Stop>>) -> Result<(), Stop> {
    timeout(limit, writing).await.unwrap_or(Err(Stop::Client))
}

async fn write_out<W: AsyncWrite + Unpin>(writer: &mut W, bytes: impl Buf) -> Result<(), Stop> {
    write(writer, bytes).await?;
    writer.flush().await.map_err(|_| Stop::Client)
}

async fn write<W: AsyncWrite + Unpin>(writer: &mut W, mut bytes: impl Buf) -> Result<(), Stop> {
    writer.write_all_buf(&mut bytes).await.map_err(|_| Stop::Client)
}
