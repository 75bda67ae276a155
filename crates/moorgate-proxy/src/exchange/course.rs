//! The course of an exchange, whichever version of HTTP its client speaks: connect, request up, response down, both at
//! once.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::poll;
use moorgate_contract::{
    exposure::Exposure,
    failure::{Code, Failure},
    flow::OpenFlow,
};
use moorgate_net::runtime::{now, sleep_until};
use moorgate_wire::http1::{Framing, ResponseHead};

use super::{
    Stop, Toward,
    grpc::Body,
    is_stream,
    link::Link,
    outgoing::Outgoing,
    receiving::{Broke, Receiving},
    sending::{Sending, Unwanted},
    target::{Begun, Kept},
};
use crate::gateway::{Entered, Visit};

/// Where a request's body comes from.
pub(super) trait Source: Send {
    /// Before the target hears of the request: resolves when its body has begun as it should.
    fn begin(&mut self) -> impl Future<Output = Result<(), Stop>> + Send;

    /// The next piece, never empty; `None` at its end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Stop>> + Send;

    /// Behind the body's end: resolves when the client breaks off; by an orderly end only where that `is_leaving`.
    fn left(&mut self, is_leaving: &AtomicBool) -> impl Future<Output = Stop> + Send;

    /// Why the client is known to have broken off.
    fn reason(&mut self) -> impl Future<Output = Stop> + Send;
}

/// Where the response goes.
pub(super) trait Sink: Send {
    /// Tells a client that waits for it to go on with its body.
    fn go_ahead(&mut self) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Ready when the client broke off, where that is not seen by its [`Source`].
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Passes the response on, whole. `true`: the client's connection can go on.
    fn answer(
        &mut self,
        answer: ResponseHead,
        body: &mut Receiving,
        toward: Toward<'_>,
    ) -> impl Future<Output = Result<bool, Stop>> + Send;

    /// Passes a 101 on, and what came behind it (RFC 9110 §15.2.2).
    fn switch(
        &mut self,
        answer: ResponseHead,
        protocol: &'static str,
        behind: Bytes,
        toward: Toward<'_>,
    ) -> impl Future<Output = Result<(), Stop>> + Send;
}

/// How far the request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Up {
    /// On its way.
    Sending,
    /// With the target, whole.
    Done,
    /// The target does not want the rest.
    Unwanted,
}

/// Told by whoever sends the body.
pub(super) struct Progress {
    up: AtomicU8,
    end_is_leaving: AtomicBool,
}

impl Progress {
    pub(super) fn new(framing: Framing) -> Self {
        let up = if framing == Framing::None { Up::Done } else { Up::Sending };
        Self { up: AtomicU8::new(up as u8), end_is_leaving: AtomicBool::new(false) }
    }

    pub(super) fn up(&self) -> Up {
        match self.up.load(Relaxed) {
            up if up == Up::Done as u8 => Up::Done,
            up if up == Up::Unwanted as u8 => Up::Unwanted,
            _ => Up::Sending,
        }
    }

    fn reached(&self, up: Up) {
        self.up.store(up as u8, Relaxed);
    }
}

/// What a finished exchange leaves.
pub(super) enum Done {
    Answered {
        /// Whether the client can find the end of the response without a close.
        keep: bool,
        kept: Option<Kept>,
    },
    /// Both sides speak something else from here on.
    Switched(Link),
}

/// An exchange that has been decided.
pub(super) struct Course<'a> {
    pub(super) visit: &'a Visit,
    pub(super) entered: &'a Entered,
    pub(super) toward: Toward<'a>,
    /// What it exposes as soon as it goes on.
    pub(super) exposure: Exposure,
    pub(super) progress: &'a Progress,
}

/// Why one connection did not carry it to its end.
enum Trouble {
    Stop(Stop),
    /// The client broke off; its source knows why.
    Left,
    /// No head of a response came.
    Broke(Broke),
    /// Over another connection it may go well. With what hyper had taken of a body and gave back.
    Again(Option<(Sending, Body)>),
}

impl<S: Into<Stop>> From<S> for Trouble {
    fn from(stop: S) -> Self {
        Self::Stop(stop.into())
    }
}

impl Course<'_> {
    /// Carries it to its end.
    pub(super) async fn carry<S: Source, K: Sink>(
        &self,
        flow: &mut OpenFlow,
        kept: Option<Kept>,
        outgoing: &mut Outgoing<'_>,
        source: &mut S,
        sink: &mut K,
    ) -> Result<Done, Stop> {
        let Self { visit, entered, toward, .. } = *self;
        let open = &entered.open;
        let connected = tokio::select! {
            biased;
            () = poll_fn(|cx| sink.poll_left(cx)) => None,
            kept = toward.ready(visit, entered, flow, kept) => Some(kept?),
            ending = poll_fn(|cx| open.poll_cut(cx)) => return Err(Stop::Cut(ending)),
        };
        let Some(kept) = connected else { return Err(source.reason().await) };
        flow.record.exposure = self.exposure;
        sink.go_ahead().await?;
        if self.progress.up() == Up::Sending {
            open.idles_after(Some(visit.gateway.limits.body));
        }
        if outgoing.framing == Framing::Chunked {
            tokio::select! {
                biased;
                ending = poll_fn(|cx| open.poll_cut(cx)) => return Err(Stop::Cut(ending)),
                begun = source.begin() => begun?,
            }
        }
        let ended = match self.over(flow, kept, outgoing, None, source, sink).await {
            Err(Trouble::Again(body)) => {
                let kept = Box::pin(toward.open(visit, entered, flow)).await?;
                Box::pin(self.over(flow, kept, outgoing, body, source, sink)).await
            }
            first => first,
        };
        match ended {
            Ok(done) => Ok(done),
            Err(Trouble::Stop(stop)) => Err(stop),
            Err(Trouble::Left) => Err(source.reason().await),
            Err(Trouble::Broke(broke)) => Err(toward.broke(&broke).into()),
            Err(Trouble::Again(_)) => Err(toward.broke(&Broke::Closed).into()),
        }
    }

    /// Over this connection.
    async fn over<S: Source, K: Sink>(
        &self,
        flow: &mut OpenFlow,
        kept: Kept,
        outgoing: &mut Outgoing<'_>,
        body: Option<(Sending, Body)>,
        source: &mut S,
        sink: &mut K,
    ) -> Result<Done, Trouble> {
        let toward = self.toward;
        toward.aim(outgoing, kept.url());
        let is_used = kept.is_used();
        let Begun { made, mut sending, mut receiving } = kept.begin(outgoing, flow.meter(), body)?;
        let told = {
            let head = outgoing.encode();
            let mut up = pin!(pump(source, &mut sending, head, self.progress));
            match self.head(outgoing, &mut receiving, sink, up.as_mut()).await {
                Ok(answer) => {
                    flow.record.status = Some(answer.status);
                    flow.answered();
                    match answer.status {
                        101 => Ok(Told::Switched(answer)),
                        _ => Ok(Told::Answered(self.down(answer, &mut receiving, sink, up.as_mut()).await?)),
                    }
                }
                Err(trouble) => Err(trouble),
            }
        };
        match told {
            Ok(Told::Answered(keep)) => {
                toward.praise();
                // One that is still to take a body can take no other request.
                let carries = self.progress.up() == Up::Done || receiving.is_shared();
                let kept = Kept::again(made, sending, receiving).filter(|_| carries);
                Ok(Done::Answered { keep, kept: kept.and_then(|kept| toward.keep(kept)) })
            }
            // Its state is large, and seldom of use.
            Ok(Told::Switched(answer)) => Box::pin(self.switched(answer, sending, receiving, sink)).await,
            Err(Trouble::Broke(Broke::Untaken(body))) => Err(Trouble::Again(Some((sending, body)))),
            Err(Trouble::Broke(Broke::Closed)) if is_used && outgoing.may_be_sent_again() => Err(Trouble::Again(None)),
            Err(trouble) => Err(trouble),
        }
    }

    /// Up to the response's head.
    async fn head<K: Sink>(
        &self,
        outgoing: &Outgoing<'_>,
        receiving: &mut Receiving,
        sink: &mut K,
        mut up: Pin<&mut impl Future<Output = Stop>>,
    ) -> Result<ResponseHead, Trouble> {
        let Self { visit, entered, toward, progress, .. } = *self;
        let (open, limits) = (&entered.open, &visit.gateway.limits);
        let mut answer = pin!(receiving.head(&outgoing.method));
        let mut deadline = pin!(None);
        let mut sending = true;
        poll_fn(|cx| {
            if let Poll::Ready(ending) = open.poll_cut(cx) {
                return Poll::Ready(Err(Stop::Cut(ending).into()));
            }
            // First what goes up: with it the request is on its way, and what is wrong with it is known.
            if let Poll::Ready(stop) = up.as_mut().poll(cx) {
                return Poll::Ready(Err(stop.into()));
            }
            if sink.poll_left(cx).is_ready() {
                return Poll::Ready(Err(Trouble::Left));
            }
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(Trouble::Broke));
            }
            if sending && progress.up() != Up::Sending {
                // From here on it is the target's turn, and its own limit counts.
                sending = false;
                open.idles_after(None);
                deadline.set(Some(sleep_until(now() + limits.response)));
            }
            if let Some(deadline) = deadline.as_mut().as_pin_mut()
                && deadline.poll(cx).is_ready()
            {
                let said = format_args!(
                    "the target took the request and did not answer within {} s",
                    limits.response.as_secs_f32()
                );
                let slow = toward.blamed(Failure::new(Code::ResponseTimeout, said));
                return Poll::Ready(Err(Stop::from(slow).into()));
            }
            Poll::Pending
        })
        .await
    }

    /// The response, while the rest of the request may still be on its way. `true`: the client's connection can go on.
    async fn down<K: Sink>(
        &self,
        answer: ResponseHead,
        receiving: &mut Receiving,
        sink: &mut K,
        mut up: Pin<&mut impl Future<Output = Stop>>,
    ) -> Result<bool, Stop> {
        let Self { visit, entered, toward, progress, .. } = *self;
        let (open, limits) = (&entered.open, &visit.gateway.limits);
        let streams = is_stream(&answer.headers);
        if streams {
            // One that may go on for days is not waited for.
            toward.praise();
        }
        progress.end_is_leaving.store(streams, Relaxed);
        open.idles_after(Some(if streams { limits.idle_tunnel } else { limits.body }));
        let mut down = pin!(sink.answer(answer, receiving, toward));
        poll_fn(|cx| {
            if let Poll::Ready(ending) = open.poll_cut(cx) {
                return Poll::Ready(Err(Stop::Cut(ending)));
            }
            if let Poll::Ready(keep) = down.as_mut().poll(cx) {
                return Poll::Ready(keep);
            }
            up.as_mut().poll(cx).map(Err)
        })
        .await
    }

    async fn switched<K: Sink>(
        &self,
        answer: ResponseHead,
        sending: Sending,
        receiving: Receiving,
        sink: &mut K,
    ) -> Result<Done, Trouble> {
        let toward = self.toward;
        let (Some(protocol), Sending::Http1 { writer, .. }, Receiving::Http1(reading)) =
            (toward.upgrade(), sending, receiving)
        else {
            let said = "the target switched to a protocol that nobody had asked for";
            return Err(Failure::new(Code::ResponseMalformed, said).into());
        };
        toward.praise();
        sink.switch(answer, protocol, reading.buffer.freeze(), toward).await?;
        Ok(Done::Switched(reading.reader.unsplit(writer)))
    }
}

/// What the target said.
enum Told {
    /// A whole response; whether the client's connection can go on.
    Answered(bool),
    Switched(ResponseHead),
}

/// Sends the request, and watches the client from then on. Resolves when that must end the exchange.
async fn pump<S: Source>(source: &mut S, sending: &mut Sending, head: Vec<u8>, progress: &Progress) -> Stop {
    if progress.up() == Up::Done {
        sending.head(head);
        // Whether it was taken, the answer tells.
        let _ = sending.flush().await;
    } else {
        match send(source, sending, head).await {
            Ok(()) => progress.reached(Up::Done),
            Err(Halt::Stop(stop)) => return stop,
            Err(Halt::Unwanted) => {
                progress.reached(Up::Unwanted);
                // Nothing more is read: the answer tells, and the client's connection ends with it.
                return std::future::pending().await;
            }
        }
    }
    source.left(&progress.end_is_leaving).await
}

/// Why the request does not go up any further.
enum Halt {
    Unwanted,
    Stop(Stop),
}

impl From<Unwanted> for Halt {
    fn from(_: Unwanted) -> Self {
        Self::Unwanted
    }
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

async fn send<S: Source>(source: &mut S, sending: &mut Sending, head: Vec<u8>) -> Result<(), Halt> {
    sending.head(head);
    let mut piece = {
        let mut first = pin!(source.next());
        match poll!(first.as_mut()) {
            Poll::Ready(first) => first?,
            Poll::Pending => {
                sending.flush().await?;
                first.await?
            }
        }
    };
    while let Some(data) = piece {
        sending.piece(data).await?;
        sending.ready().await?;
        piece = source.next().await?;
    }
    Ok(sending.end().await?)
}
