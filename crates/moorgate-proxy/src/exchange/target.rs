//! The target's side of an exchange: where the request goes, and a connection that may serve the next one too.

use std::{
    io::Cursor,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt as _;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use moorgate_contract::{
    account::AccountId,
    failure::{Code, Failure},
    flow::{Meter, OpenFlow},
    route::OriginUrl,
};
use moorgate_net::{
    connect::Connected,
    registry::Dialled,
    runtime::spawn,
    socket::{MeterSlot, Socket},
};
use moorgate_wire::{
    host::HostPort,
    http1::{Framing, Headers},
    visible::visible,
};
use tokio::{
    io::{ReadHalf, WriteHalf},
    sync::mpsc,
};

use super::{
    allowed_trailers,
    grpc::Body,
    link::Link,
    on_worker::OnWorker,
    outgoing::Outgoing,
    receiving::{Broke, Reading, Receiving, Stream},
    response_fields,
    sending::Sending,
};
use crate::{
    gateway::{Decided, Entered, Visit},
    inbound::{actions::edit, origin::ForExchange},
};

/// Where an exchange goes.
#[derive(Clone, Copy)]
pub(crate) enum Toward<'a> {
    /// An outbound client's destination. One connection is kept for its client's next request.
    Destination(&'a Decided),
    /// An origin of a route. Connections are kept with the route.
    Origin(&'a ForExchange<'a>),
}

/// Whom a connection was made for, and where it leads.
pub(crate) struct Made {
    pub(crate) account: AccountId,
    pub(crate) target: HostPort,
    /// Which forwarding URL it is a connection to; `None` for destinations.
    pub(crate) url: Option<OriginUrl>,
    pub(crate) address: SocketAddr,
    pub(crate) egress: IpAddr,
    /// Counts for whichever flow uses it.
    pub(crate) meter: MeterSlot,
}

/// A connection to a target that may serve another request of the same account to the same target.
pub(crate) struct Kept {
    made: Arc<Made>,
    speaks: Speaks,
    /// Whether it has carried a request before: only then may the target have closed it in the meantime.
    used: bool,
}

enum Speaks {
    /// One request at a time.
    Http1 { reader: ReadHalf<Link>, writer: WriteHalf<Link> },
    /// Any number side by side.
    Http2(http2::SendRequest<Body>),
}

/// A connection that carries a request.
pub(super) struct Begun {
    pub(super) made: Arc<Made>,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
}

/// How often a shared connection is asked whether it is still there, and how long it may take to say so.
const ALIVE_EVERY: Duration = Duration::from_secs(20);
const ALIVE_WITHIN: Duration = Duration::from_secs(10);
/// Pieces of a body between us and hyper: one in hand, one on its way.
const PIECES: usize = 1;

impl Kept {
    /// Speaks HTTP/1.1 over a new connection.
    pub(crate) fn http1(made: Made, link: Link) -> Self {
        let (reader, writer) = tokio::io::split(link);
        Self { made: Arc::new(made), speaks: Speaks::Http1 { reader, writer }, used: false }
    }

    /// Speaks HTTP/2 over a new connection.
    pub(crate) async fn http2(made: Made, link: Link) -> Result<Self, hyper::Error> {
        let (sender, connection) = http2::Builder::new(OnWorker)
            .timer(OnWorker)
            .keep_alive_interval(Some(ALIVE_EVERY))
            .keep_alive_timeout(ALIVE_WITHIN)
            .handshake(TokioIo::new(link))
            .await?;
        // Ends when the sender is dropped or the target closes; what went wrong comes out of the request as well.
        spawn(connection.map(drop));
        Ok(Self { made: Arc::new(made), speaks: Speaks::Http2(sender), used: false })
    }

    /// Which forwarding URL it is a connection to.
    pub(crate) fn url(&self) -> Option<&OriginUrl> {
        self.made.url.as_ref()
    }

    /// Whether it has carried a request before.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Whether it carries requests side by side.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.speaks, Speaks::Http2(_))
    }

    /// Another handle on a shared connection.
    pub(crate) fn share(&self) -> Option<Self> {
        let Speaks::Http2(sender) = &self.speaks else { return None };
        Some(Self { made: self.made.clone(), speaks: Speaks::Http2(sender.clone()), used: true })
    }

    /// Whether the target has closed it, or said something that nobody asked for.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.poll_closed(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Ready when that is so. Of a shared connection nobody is woken.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.speaks {
            Speaks::Http1 { reader, .. } => Reading::poll_closed(reader, cx),
            Speaks::Http2(sender) if sender.is_closed() => Poll::Ready(()),
            Speaks::Http2(_) => Poll::Pending,
        }
    }

    /// Takes it for a flow, if it is alive and `visit` may still use where it leads and leaves from.
    pub(crate) async fn take_up(
        mut self,
        visit: &Visit,
        plan: &moorgate_contract::decide::Plan,
        entered: &Entered,
        flow: &mut OpenFlow,
    ) -> Option<Self> {
        let made = &self.made;
        let fits = made.account == plan.account.id && Some(&made.target) == plan.asked.canonical().as_ref();
        // An egress address that went, or is no longer the account's, is left here too: nothing would come back to it.
        let leaves = visit.may_leave_from(plan, made.egress);
        let admitted = leaves && visit.admit_again(plan, made.address.ip()).is_ok();
        let ready = match &mut self.speaks {
            Speaks::Http1 { .. } => !self.is_closed(),
            Speaks::Http2(sender) => sender.ready().await.is_ok(),
        };
        if !fits || !admitted || !ready {
            return None;
        }
        self.used = true;
        if !self.is_shared() {
            self.made.meter.set(flow.meter().clone());
        }
        flow.record.address = Some(self.made.address);
        flow.record.egress = Some(self.made.egress);
        // What moves by it is counted while it is under way, too.
        entered.open.dialled(Dialled { address: self.made.address.ip(), egress: self.made.egress });
        Some(self)
    }

    /// Begins to carry `outgoing`, whose body's bytes are counted by `meter` where the connection can't tell whose they are.
    /// `again`: what another connection gave back of it.
    pub(super) fn begin(
        self,
        outgoing: &Outgoing<'_>,
        meter: &Arc<Meter>,
        again: Option<(Sending, Body)>,
    ) -> Result<Begun, Failure> {
        let Self { made, speaks, .. } = self;
        let (sending, receiving) = match speaks {
            Speaks::Http1 { reader, writer } => {
                let chunked = outgoing.framing == Framing::Chunked;
                let sending = Sending::Http1 { writer, ahead: Cursor::default(), chunked };
                (sending, Receiving::Http1(Reading::new(reader)))
            }
            Speaks::Http2(sender) => {
                let url = made.url.as_ref().ok_or_else(|| Failure::new(Code::Internal, "HTTP/2 without an origin"))?;
                let (sending, body) = again.unwrap_or_else(|| {
                    let (pieces, taken) = mpsc::channel(PIECES);
                    let body = Body { pieces: (outgoing.framing != Framing::None).then_some(taken) };
                    (Sending::Http2 { pieces, meter: meter.clone() }, body)
                });
                let stream = Stream::new(sender, outgoing.http2(url, body)?, meter.clone());
                (sending, Receiving::Http2(stream))
            }
        };
        Ok(Begun { made, sending, receiving })
    }

    /// What is left when the response was whole: a connection for another request, or nothing.
    pub(super) fn again(made: Arc<Made>, sending: Sending, receiving: Receiving) -> Option<Self> {
        let speaks = match (sending, receiving) {
            (Sending::Http1 { writer, .. }, Receiving::Http1(reading)) if reading.can_go_on() => {
                Speaks::Http1 { reader: reading.reader, writer }
            }
            (Sending::Http2 { .. }, Receiving::Http2(stream)) => Speaks::Http2(stream.sender),
            _ => return None,
        };
        Some(Self { made, speaks, used: true })
    }
}

impl Toward<'_> {
    /// A connection for this request: the kept one if it serves, else a new one.
    pub(crate) async fn ready(
        self,
        visit: &Visit,
        entered: &Entered,
        flow: &mut OpenFlow,
        kept: Option<Kept>,
    ) -> Result<Kept, Failure> {
        match self {
            Self::Destination(decided) => {
                if let Some(kept) = kept
                    && let Some(kept) = kept.take_up(visit, &decided.plan, entered, flow).await
                {
                    return Ok(kept);
                }
                // Boxed: its state is large, and often of no use.
                Box::pin(self.open(visit, entered, flow)).await
            }
            Self::Origin(ask) => ask.ready(entered, flow).await,
        }
    }

    /// A new connection.
    pub(super) async fn open(self, visit: &Visit, entered: &Entered, flow: &mut OpenFlow) -> Result<Kept, Failure> {
        let decided = match self {
            Self::Destination(decided) => decided,
            Self::Origin(ask) => return ask.open(entered, flow).await,
        };
        let limit = visit.gateway.limits.connect;
        let Connected { stream, address, egress, .. } = visit.connect(&decided.plan, entered, flow, limit).await?;
        let target =
            decided.plan.asked.canonical().ok_or_else(|| Failure::new(Code::Internal, "a plan without a host"))?;
        let meter = MeterSlot::new(flow.meter().clone());
        let link = Link::Bare(Socket::metered(stream, meter.clone()));
        Ok(Kept::http1(Made { account: decided.plan.account.id, target, url: None, address, egress, meter }, link))
    }

    /// Takes note that the target did what it should.
    pub(super) fn praise(self) {
        if let Self::Origin(ask) = self {
            ask.ask.praise();
        }
    }

    /// A failure of the target, held against it where there are others.
    pub(super) fn blamed(self, failure: Failure) -> Failure {
        match self {
            Self::Origin(ask) => ask.blamed(failure),
            Self::Destination(_) => failure,
        }
    }

    /// Writes into the request what depends on which origin gets it.
    pub(super) fn aim(self, outgoing: &mut Outgoing<'_>, url: Option<&OriginUrl>) {
        if let (Self::Origin(ask), Some(url)) = (self, url) {
            ask.aim(outgoing, url);
        }
    }

    /// Puts a connection whose response is whole by for the next request. What comes back is the client's to keep.
    pub(crate) fn keep(self, kept: Kept) -> Option<Kept> {
        match self {
            Self::Destination(_) => Some(kept),
            Self::Origin(ask) => {
                ask.keep(kept);
                None
            }
        }
    }

    /// The response's fields as the client gets them; framing is ours to write.
    pub(crate) fn response_fields(self, headers: Headers, visit: &Visit) -> Headers {
        match self {
            Self::Destination(_) => response_fields(headers, Some(&visit.gateway.snapshot().site.gateway)),
            Self::Origin(ask) => {
                let mut fields = response_fields(headers, None);
                edit(&mut fields, &ask.ask.routed.route.settings.actions.response_headers);
                fields
            }
        }
    }

    /// The trailers that go on to the client. A proxy's client did not ask for any.
    pub(crate) fn trailers(self, fields: Headers) -> Headers {
        match self {
            Self::Destination(_) => Headers::new(),
            Self::Origin(ask) => allowed_trailers(fields, ask.grpc),
        }
    }

    /// The protocol that the client asked to switch to, if it may.
    pub(crate) fn upgrade(self) -> Option<&'static str> {
        match self {
            Self::Origin(ask) if ask.websocket => Some("websocket"),
            _ => None,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Destination(decided) => visible(decided.plan.asked.text()).to_string(),
            Self::Origin(ask) => format!("an origin of {}", ask.ask.routed.route.domain),
        }
    }

    /// What that says of the target.
    pub(super) fn broke(self, broke: &Broke) -> Failure {
        self.blamed(self.broke_off(broke))
    }

    /// The same once its response has begun. Not held against the target: a client may know a request that does this, and
    /// must not take origins out by it.
    pub(crate) fn broke_off(self, broke: &Broke) -> Failure {
        broke.failure(&self.name())
    }
}
