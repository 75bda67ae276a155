//! An exchange toward a client that speaks HTTP/1.

use std::{future::poll_fn, pin::pin, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use moorgate_contract::{
    decide::Destination,
    exposure::{Content, Exposure},
    failure::{Code, Failure},
    flow::{Kind, OpenFlow},
    limits::HEAD_BYTES,
    outcome::{Ending, Outcome},
};
use moorgate_wire::http1::{
    BodyDecoder, CHUNK_END, Framing, LAST_CHUNK, RequestHead, ResponseHead, Scheme, Target, Version, encode_chunk_head,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Body, Stop, check_loop, has_body, request, response_fields, target};
use crate::{
    client::{Client, ClientStream, broken},
    echo,
    gateway::{Decided, Entered, Visit},
    head::{ask, can_go_on},
    refuse::{Refusal, say_no, send_and_close},
};

/// Pieces of a body between client and target: one in hand, one on its way.
const PIECES: usize = 1;
/// The most bytes of one piece.
const PIECE: usize = 64 * 1024;

/// What is left when the connection can carry another request.
pub(crate) type After<S> = Option<(Client<S>, Option<target::Kept>)>;

/// Decide, connect, exchange, record: one absolute-form request.
pub(crate) async fn run<S: ClientStream>(
    visit: &Arc<Visit>,
    client: Client<S>,
    kept: Option<target::Kept>,
    mut flow: OpenFlow,
    head: RequestHead,
) -> After<S> {
    flow.record.kind = Kind::Exchange;
    let (decided, entered) = match decide(visit, &head, &mut flow) {
        Ok(decided) => decided,
        Err(failure) => return refuse(visit, client, kept, flow, &head, &failure).await,
    };
    if decided.plan.destination == Destination::Echo {
        let client = echo::answer_exchange(visit, client, flow, &head, &decided).await?;
        return Some((client, kept));
    }
    let (body, pieces) = body(&head);
    let request = match outgoing(visit, &head, &decided, body) {
        Ok(request) => request,
        Err(failure) => return refuse(visit, client, kept, flow, &head, &failure).await,
    };
    let exchange = Exchange { visit, decided: &decided, entered: &entered, head: &head };
    let Client { stream, buffer } = client;
    let (reader, mut writer) = tokio::io::split(stream);
    let mut uplink = Uplink::new(reader, buffer, pieces, head.framing);
    let result = exchange.carry(&mut flow, kept, request, &mut uplink, &mut writer).await;
    let whole = uplink.is_done();
    let mut client = Client { stream: uplink.reader.unsplit(writer), buffer: uplink.buffer };
    drop(entered);
    match result {
        Ok(done) => {
            flow.end(Outcome::Ok);
            if !whole {
                // A body that the target did not want is still on its way here: no next head could be found behind it.
                send_and_close(&mut client.stream, &[]).await;
                return None;
            }
            (done.keep && !visit.gateway.drain.is_cancelled()).then_some((client, done.kept))
        }
        // Nothing of an answer was sent, nothing of the request is left: the next one may be asked for.
        Err((Stop::Failed(failure), false)) if whole => refuse(visit, client, None, flow, &head, &failure).await,
        Err((stop, began)) => {
            give_up(client, flow, &head, stop, began).await;
            None
        }
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
    check_loop(&head.headers, &visit.gateway.snapshot().site.gateway, asked)?;
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

async fn refuse<S: ClientStream>(
    visit: &Visit,
    mut client: Client<S>,
    kept: Option<target::Kept>,
    mut flow: OpenFlow,
    head: &RequestHead,
    failure: &Failure,
) -> After<S> {
    if !can_go_on(head, visit) {
        say_no(client, flow, failure, head.method.is_head()).await;
        return None;
    }
    let refusal = Refusal::of(failure);
    flow.record.status = Some(refusal.status);
    flow.fail(failure);
    client.stream.write_all(&refusal.encode(true, !head.method.is_head())).await.ok()?;
    client.stream.flush().await.ok()?;
    Some((client, kept))
}

/// Ends an exchange that did not come to its end: with an answer if none was begun, else so that nobody takes what was
/// sent for whole.
async fn give_up<S: ClientStream>(client: Client<S>, mut flow: OpenFlow, head: &RequestHead, stop: Stop, began: bool) {
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
        flow.record.status = Some(failure.code.row().http);
        say_no(client, flow, &failure, head.method.is_head()).await;
    }
}

/// What a finished exchange leaves.
struct Done {
    /// Whether the client can find the end of the response without a close.
    keep: bool,
    kept: Option<target::Kept>,
}

struct Exchange<'a> {
    visit: &'a Visit,
    decided: &'a Decided,
    entered: &'a Entered,
    head: &'a RequestHead,
}

impl Exchange<'_> {
    /// Request up, response down, both at once. `true` beside the error: some of a response was sent.
    async fn carry<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        flow: &mut OpenFlow,
        kept: Option<target::Kept>,
        request: http::Request<Body>,
        uplink: &mut Uplink<R>,
        writer: &mut W,
    ) -> Result<Done, (Stop, bool)> {
        let (response, kept) = self.up(flow, kept, request, uplink, writer).await.map_err(|stop| (stop, false))?;
        flow.record.status = Some(response.status().as_u16());
        let keep = self.down(response, uplink, writer).await.map_err(|stop| (stop, true))?;
        Ok(Done { keep, kept: Some(kept) })
    }

    /// Up to the response's head.
    async fn up<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        flow: &mut OpenFlow,
        kept: Option<target::Kept>,
        request: http::Request<Body>,
        uplink: &mut Uplink<R>,
        writer: &mut W,
    ) -> Result<(Response<Incoming>, target::Kept), Stop> {
        let open = &self.entered.open;
        let limits = &self.visit.gateway.limits;
        let kept = target::ready(self.visit, self.decided, self.entered, flow, kept).await?;
        flow.record.exposure = Exposure::outbound(self.visit.listener, Content::Http);
        if self.head.expect_continue && uplink.buffer.is_empty() && self.head.version == Version::Http11 {
            write(writer, &b"HTTP/1.1 100 Continue\r\n\r\n"[..]).await?;
            writer.flush().await.map_err(|_| Stop::Client)?;
        }
        if !uplink.is_done() {
            open.idles_after(Some(limits.body));
        }
        let mut deadline = uplink.is_done().then(|| Instant::now() + limits.response);
        let mut answer = pin!(target::send(self.visit, self.decided, self.entered, flow, kept, request));
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
                    return Err(Failure::new(Code::ResponseTimeout, said).into());
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
        open.idles_after(Some(self.visit.gateway.limits.body));
        let gateway = self.visit.gateway.snapshot().site.gateway.clone();
        let mut downlink = pin!(downlink(writer, response, self.head, &gateway, self.decided));
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
type Pieces = mpsc::Sender<Option<Bytes>>;

/// The request's body as hyper takes it, and where its pieces are put in.
fn body(head: &RequestHead) -> (Body, Option<Pieces>) {
    let length = match head.framing {
        Framing::None => return (Body::Empty, None),
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    let (sender, pieces) = mpsc::channel(PIECES);
    (Body::Pieces { pieces, length }, Some(sender))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Sending,
    /// The body is with the target; the client is only watched.
    Done,
    /// The target does not want the rest.
    Abandoned,
}

/// The client's side of the body. Every wait in it may be dropped and taken up again.
struct Uplink<R> {
    reader: R,
    buffer: BytesMut,
    decoder: BodyDecoder,
    pieces: Option<Pieces>,
    state: Up,
}

impl<R: AsyncRead + Unpin> Uplink<R> {
    fn new(reader: R, buffer: BytesMut, pieces: Option<Pieces>, framing: Framing) -> Self {
        let state = if pieces.is_some() { Up::Sending } else { Up::Done };
        Self { reader, buffer, decoder: BodyDecoder::new(framing), pieces, state }
    }

    fn is_done(&self) -> bool {
        self.state == Up::Done
    }

    /// Resolves once, when the body has ended or is no longer wanted; afterwards only when the client breaks off.
    async fn step(&mut self) -> Result<(), Stop> {
        while self.state == Up::Sending {
            let Some(pieces) = &self.pieces else { break };
            let most = self.buffer.len().min(PIECE);
            let window = self.buffer.get(..most).unwrap_or_default();
            // A copy of the decoder: the wait for room may be dropped, and the bytes are decoded again then.
            let mut decoder = self.decoder.clone();
            let decoded = decoder
                .decode(window)
                .map_err(|why| Failure::new(Code::Malformed, format_args!("the request's body: {why}")))?;
            if decoded.data.is_empty() && decoded.consumed == 0 && !decoded.done {
                self.buffer.reserve(4096);
                match self.reader.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return Err(Stop::Client),
                    Ok(_) => continue,
                }
            }
            let Ok(room) = pieces.reserve().await else {
                // Hyper takes no further piece of a body whose length it knows: then this is the end that nobody waits for.
                self.state = if self.decoder.is_done() { Up::Done } else { Up::Abandoned };
                return Ok(());
            };
            self.decoder = decoder;
            let mut piece = self.buffer.split_to(decoded.consumed);
            piece.truncate(decoded.data.end);
            piece.advance(decoded.data.start.min(piece.len()));
            let done = decoded.done;
            if !piece.is_empty() {
                // The end needs a place of its own; the decoder stays done until it has one.
                room.send(Some(piece.freeze()));
            } else if done {
                room.send(None);
                self.pieces = None;
                self.state = Up::Done;
                return Ok(());
            }
        }
        if self.state == Up::Abandoned {
            return std::future::pending().await;
        }
        let _ = broken(&mut self.reader, &mut self.buffer, HEAD_BYTES).await;
        Err(Stop::Client)
    }
}

/// Writes the response as it comes. `true`: the client can find its end, so the connection can go on.
async fn downlink<W: AsyncWrite + Unpin>(
    writer: &mut W,
    response: Response<Incoming>,
    head: &RequestHead,
    gateway: &str,
    decided: &Decided,
) -> Result<bool, Stop> {
    let (parts, mut body) = response.into_parts();
    let status = parts.status.as_u16();
    let mut fields = response_fields(&parts.headers, gateway);
    let has_body = has_body(head.method.as_str(), status);
    let length = body.size_hint().exact();
    if has_body {
        fields.remove("content-length");
    }
    let chunked = match (has_body, length, head.version) {
        (false, ..) => false,
        (true, Some(length), _) => {
            fields.push("content-length", length.to_string());
            false
        }
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
    write(writer, Bytes::from(start.encode(Version::Http11))).await?;
    while has_body && let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| target::broke(decided, &error))?;
        // Trailers are dropped: nobody asked for them through a proxy's client, and some carry framing.
        let Ok(data) = frame.into_data() else { continue };
        if data.is_empty() {
            continue;
        }
        if chunked {
            let head = encode_chunk_head(data.len());
            write(writer, Buf::chain(Buf::chain(&*head, data), CHUNK_END)).await?;
        } else {
            write(writer, data).await?;
        }
    }
    if chunked {
        write(writer, LAST_CHUNK).await?;
    }
    writer.flush().await.map_err(|_| Stop::Client)?;
    if !goes_on {
        writer.shutdown().await.map_err(|_| Stop::Client)?;
    }
    Ok(goes_on)
}

async fn write<W: AsyncWrite + Unpin>(writer: &mut W, mut bytes: impl Buf) -> Result<(), Stop> {
    writer.write_all_buf(&mut bytes).await.map_err(|_| Stop::Client)
}
