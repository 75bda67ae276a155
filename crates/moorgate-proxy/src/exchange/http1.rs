//! An exchange toward a client that speaks HTTP/1.

use std::{
    io::Cursor,
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures_util::FutureExt as _;
use moorgate_contract::{
    decide::Destination,
    exposure::{Content, Exposure},
    failure::{Code, Failure},
    flow::{Kind, OpenFlow},
    outcome::{Ending, Outcome},
};
use moorgate_net::{farewell::answer_and_close, leg::TcpLeg, runtime::timeout};
use moorgate_tls::TlsLeg;
use moorgate_wire::http1::{Headers, RequestHead, ResponseHead, Scheme, Target, Version, encode_last_chunk};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{
    Outgoing, Stop, Toward, body_too_slow, check_loop,
    course::{Course, Done, Progress, Sink, Up},
    framed::write_piece,
    has_body,
    link::Link,
    receiving::Receiving,
    request,
    target::Kept,
    uplink::Uplink,
};
use crate::{
    client::{Client, ClientStream},
    echo,
    gateway::{Decided, Entered, Visit},
    head::{ask, can_go_on},
    refuse::{Refusal, say_no},
    tunnel::{self, Side},
};

/// What is left when the connection can carry another request.
pub(crate) type After<S> = Option<(Client<S>, Option<Kept>)>;

/// One absolute-form request: decide, connect, exchange, record.
pub(crate) async fn run<S: ClientStream>(
    visit: &Arc<Visit>,
    client: Client<S>,
    kept: Option<Kept>,
    mut flow: OpenFlow,
    mut head: RequestHead,
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
    let headers = mem::take(&mut head.headers);
    let outgoing = match outgoing(visit, &head, headers, &decided) {
        Ok(outgoing) => outgoing,
        Err(failure) => return refuse(visit, client, kept, flow, &head, &Refusal::of(&failure), Some(&failure)).await,
    };
    let going = Going {
        head: &head,
        toward: Toward::Destination(&decided),
        exposure: Exposure::outbound(visit.listener, Content::Http),
        most: None,
    };
    going.carry_out(visit, client, kept, flow, entered, outgoing).await
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
    pub(crate) async fn carry_out<S: ClientStream>(
        &self,
        visit: &Arc<Visit>,
        client: Client<S>,
        kept: Option<Kept>,
        mut flow: OpenFlow,
        entered: Entered,
        mut outgoing: Outgoing<'_>,
    ) -> After<S> {
        let head = self.head;
        let Client { stream, buffer } = client;
        let (reader, mut writer) = tokio::io::split(stream);
        let waits = head.expect_continue && buffer.is_empty() && head.version == Version::Http11;
        let mut uplink = Uplink::new(reader, buffer, head.framing, self.most);
        let mut downlink = Downlink { writer: &mut writer, head, visit, waits, has_begun: false };
        let progress = Progress::new(head.framing);
        let course =
            Course { visit, entered: &entered, toward: self.toward, exposure: self.exposure, progress: &progress };
        let result = course.carry(&mut flow, kept, &mut outgoing, &mut uplink, &mut downlink).await;
        let (whole, began) = (progress.up() == Up::Done, downlink.has_begun);
        let mut client = Client { stream: uplink.reader.unsplit(writer), buffer: uplink.buffer };
        match result {
            Ok(Done::Switched(link)) => {
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
            Err(Stop::Failed(failure)) if whole && !began => {
                drop(entered);
                let refusal = Refusal::on(&flow.record, &failure);
                refuse(visit, client, None, flow, head, &refusal, Some(&failure)).await
            }
            Err(stop) => {
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

fn outgoing<'a>(
    visit: &Visit,
    head: &'a RequestHead,
    headers: Headers,
    decided: &Decided,
) -> Result<Outgoing<'a>, Failure> {
    let path = match &head.target {
        Target::Absolute { path, .. } => path,
        _ => "/",
    };
    let gateway = visit.gateway.snapshot().site.gateway.clone();
    request(head.method.as_str(), path, &decided.plan.asked, headers, &gateway, head.framing)
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
        Stop::Cut(Ending::Idle) => body_too_slow(),
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

/// The response's way to its client.
struct Downlink<'a, W> {
    writer: &'a mut W,
    head: &'a RequestHead,
    visit: &'a Visit,
    /// Whether the client holds its body back until it hears of us.
    waits: bool,
    has_begun: bool,
}

impl<W: AsyncWrite + Unpin + Send> Sink for Downlink<'_, W> {
    async fn go_ahead(&mut self) -> Result<(), Stop> {
        if self.waits {
            let go_on = &b"HTTP/1.1 100 Continue\r\n\r\n"[..];
            within(self.visit.gateway.limits.body, write_out(self.writer, go_on)).await?;
        }
        Ok(())
    }

    fn poll_left(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // Whoever reads the client's body sees it.
        Poll::Pending
    }

    async fn answer(&mut self, answer: ResponseHead, body: &mut Receiving, toward: Toward<'_>) -> Result<bool, Stop> {
        let head = self.head;
        let ResponseHead { status, headers } = answer;
        let mut fields = toward.response_fields(headers, self.visit);
        let has_body = has_body(head.method.as_str(), status);
        let length = body.length();
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
        let start = ResponseHead { status, headers: fields };
        self.has_begun = true;
        let writer = &mut *self.writer;
        // The head goes out with the body's first piece where that is here: one write, one record of TLS, one segment.
        let mut ahead = Cursor::new(start.encode(Version::Http11));
        let mut next = if has_body { body.next().now_or_never() } else { Some(Ok(None)) };
        if next.is_none() {
            write(writer, mem::take(&mut ahead)).await?;
        }
        loop {
            let piece = match next.take() {
                Some(piece) => piece,
                None => body.next().await,
            };
            let Some(data) = piece.map_err(|broke| toward.broke_off(&broke))? else { break };
            write_piece(writer, mem::take(&mut ahead), data, chunked).await.map_err(|_| Stop::Client)?;
            if !body.is_over() {
                // Whoever is slow has one piece waiting, and not another one behind it.
                writer.flush().await.map_err(|_| Stop::Client)?;
            }
        }
        if chunked {
            let trailers = toward.trailers(body.trailers());
            write(writer, ahead.chain(&*encode_last_chunk(&trailers))).await?;
        } else if ahead.has_remaining() {
            write(writer, ahead).await?;
        }
        writer.flush().await.map_err(|_| Stop::Client)?;
        if !goes_on {
            writer.shutdown().await.map_err(|_| Stop::Client)?;
        }
        Ok(goes_on)
    }

    async fn switch(
        &mut self,
        mut answer: ResponseHead,
        protocol: &'static str,
        behind: Bytes,
        toward: Toward<'_>,
    ) -> Result<(), Stop> {
        answer.headers = toward.response_fields(answer.headers, self.visit);
        answer.headers.push("connection", "upgrade");
        answer.headers.push("upgrade", protocol);
        self.has_begun = true;
        let first = Bytes::from(answer.encode(Version::Http11)).chain(behind);
        within(self.visit.gateway.limits.body, write_out(self.writer, first)).await
    }
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
