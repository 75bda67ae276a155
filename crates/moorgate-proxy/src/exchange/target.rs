//! The target's side of an exchange: where the request goes, and a connection that may serve the next one too.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Method, Request, Response, StatusCode};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use moorgate_contract::{
    account::AccountId,
    failure::{Code, Failure},
    flow::{Meter, OpenFlow},
    limits::{HEAD_FIELDS, RESPONSE_HEAD_BYTES},
    route::OriginUrl,
};
use moorgate_net::{
    connect::Connected,
    socket::{MeterSlot, Socket},
};
use moorgate_wire::{host::HostPort, http1::Headers, visible::visible};
use tokio::time::timeout;

use super::{Body, allowed_trailers, is_stream, link::Link, response_fields};
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

/// A connection to a target that may serve another request of the same account to the same target.
pub(crate) struct Kept {
    account: AccountId,
    target: HostPort,
    /// Which forwarding URL it is a connection to; `None` for destinations.
    pub(crate) url: Option<OriginUrl>,
    address: SocketAddr,
    egress: IpAddr,
    sender: Sender,
    meter: MeterSlot,
    /// Whether it has carried a request before: only then may the target have closed it in the meantime.
    used: bool,
}

enum Sender {
    /// One request at a time.
    Http1(http1::SendRequest<Body>),
    /// Any number side by side.
    Http2(http2::SendRequest<Body>),
}

/// Whom a connection was made for, and where it leads.
pub(crate) struct Made {
    pub(crate) account: AccountId,
    pub(crate) target: HostPort,
    pub(crate) url: Option<OriginUrl>,
    pub(crate) address: SocketAddr,
    pub(crate) egress: IpAddr,
}

/// A kept connection that takes no request after this long is still busy with the last one.
const READY: Duration = Duration::from_millis(100);
/// How often a shared connection is asked whether it is still there, and how long it may take to say so.
const ALIVE_EVERY: Duration = Duration::from_secs(20);
const ALIVE_WITHIN: Duration = Duration::from_secs(10);

/// Methods that may be sent again when nobody knows whether they were acted upon (RFC 9110 §9.2.2).
const IDEMPOTENT: [Method; 6] =
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];

/// What became of a request that was handed to a connection.
pub(crate) enum Sent {
    /// The head of a response.
    Answered(Box<(Response<Incoming>, Kept)>),
    /// The connection was closed before it was taken, or before an answer to something that may be asked again.
    Again(Box<Request<Body>>),
    /// Neither.
    Broke(hyper::Error),
}

impl Kept {
    /// Speaks HTTP/1.1 over a new connection.
    pub(crate) async fn http1(made: Made, link: Link, meter: MeterSlot) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEAD_FIELDS)
            .max_buf_size(RESPONSE_HEAD_BYTES)
            .handshake(TokioIo::new(link))
            .await?;
        // Ends when the sender is dropped or the target closes; what went wrong comes out of the request as well.
        tokio::spawn(connection.with_upgrades());
        Ok(Self::new(made, Sender::Http1(sender), meter))
    }

    /// Speaks HTTP/2 over a new connection.
    pub(crate) async fn http2(made: Made, link: Link, meter: MeterSlot) -> Result<Self, hyper::Error> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(ALIVE_EVERY))
            .keep_alive_timeout(ALIVE_WITHIN)
            .handshake(TokioIo::new(link))
            .await?;
        tokio::spawn(connection);
        Ok(Self::new(made, Sender::Http2(sender), meter))
    }

    fn new(made: Made, sender: Sender, meter: MeterSlot) -> Self {
        let Made { account, target, url, address, egress } = made;
        Self { account, target, url, address, egress, sender, meter, used: false }
    }

    /// Whether it carries requests side by side.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Another handle on a shared connection.
    pub(crate) fn share(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else { return None };
        Some(Self {
            account: self.account,
            target: self.target.clone(),
            url: self.url.clone(),
            address: self.address,
            egress: self.egress,
            sender: Sender::Http2(sender.clone()),
            meter: self.meter.clone(),
            used: true,
        })
    }

    /// Whether the target has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// What of it is no longer counted as this flow's: it goes on as something else.
    pub(crate) fn stop_counting(&self) {
        self.meter.store(Arc::default());
    }

    /// Takes it for a flow, if it is alive and `visit` may still use where it leads and leaves from.
    pub(crate) async fn take_up(
        mut self,
        visit: &Visit,
        plan: &moorgate_contract::decide::Plan,
        flow: &mut OpenFlow,
    ) -> Option<Self> {
        let fits = self.account == plan.account.id && Some(&self.target) == plan.asked.canonical().as_ref();
        // An egress address that went, or is no longer the account's, is left here too: nothing would come back to it.
        let leaves = visit.may_leave_from(plan, self.egress);
        let admitted = leaves && visit.admit_again(plan, self.address.ip()).is_ok();
        let ready = match &mut self.sender {
            Sender::Http1(sender) => timeout(READY, sender.ready()).await.is_ok_and(|ready| ready.is_ok()),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        };
        if !fits || !admitted || !ready {
            return None;
        }
        self.used = true;
        if !self.is_shared() {
            self.meter.store(flow.meter().clone());
        }
        flow.record.address = Some(self.address);
        flow.record.egress = Some(self.egress);
        Some(self)
    }

    /// Hands it a request and waits for the head of the response.
    pub(crate) async fn send(mut self, request: Request<Body>) -> Sent {
        let again = (self.used && may_be_sent_again(&request)).then(|| copy(&request));
        let sent = match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        match sent {
            Ok(response) => Sent::Answered(Box::new((response, self))),
            Err(mut error) => match (error.take_message(), again) {
                (Some(request), _) => Sent::Again(Box::new(request)),
                (None, Some(request)) if !error.error().is_parse() => Sent::Again(Box::new(request)),
                (None, _) => Sent::Broke(error.into_error()),
            },
        }
    }
}

/// A slot for the bytes of the flow that uses a connection first.
pub(crate) fn slot(meter: &Arc<Meter>) -> MeterSlot {
    Arc::new(ArcSwap::new(meter.clone()))
}

fn may_be_sent_again(request: &Request<Body>) -> bool {
    request.body().is_end_stream() && IDEMPOTENT.contains(request.method())
}

/// The same request once more; it has no body.
fn copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
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
                    && let Some(kept) = kept.take_up(visit, &decided.plan, flow).await
                {
                    return Ok(kept);
                }
                self.open(visit, entered, flow).await
            }
            Self::Origin(ask) => ask.ready(entered, flow).await,
        }
    }

    async fn open(self, visit: &Visit, entered: &Entered, flow: &mut OpenFlow) -> Result<Kept, Failure> {
        let decided = match self {
            Self::Destination(decided) => decided,
            Self::Origin(ask) => return ask.open(entered, flow).await,
        };
        let limit = visit.gateway.limits.connect;
        let Connected { stream, address, egress, .. } = visit.connect(&decided.plan, entered, flow, limit).await?;
        let target =
            decided.plan.asked.canonical().ok_or_else(|| Failure::new(Code::Internal, "a plan without a host"))?;
        let made = Made { account: decided.plan.account.id, target, url: None, address, egress };
        let meter = slot(flow.meter());
        let link = Link::Bare(Socket::metered(stream, meter.clone()));
        Kept::http1(made, link, meter).await.map_err(|error| self.broke(&error))
    }

    /// Sends `request`; over a new connection when this one closed before it could matter.
    pub(crate) async fn send(
        self,
        visit: &Visit,
        entered: &Entered,
        flow: &mut OpenFlow,
        kept: Kept,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Kept), Failure> {
        self.aim(&mut request, &kept)?;
        let mut request = match kept.send(request).await {
            Sent::Answered(answered) => return self.bounded(*answered),
            Sent::Broke(error) => return Err(self.broke(&error)),
            Sent::Again(request) => *request,
        };
        let kept = self.open(visit, entered, flow).await?;
        self.aim(&mut request, &kept)?;
        match kept.send(request).await {
            Sent::Answered(answered) => self.bounded(*answered),
            Sent::Broke(error) => Err(self.broke(&error)),
            Sent::Again(_) => Err(self.blamed(self.closed())),
        }
    }

    /// A response whose head is within its limit. Hyper looks at its own only when a head is not whole after a read, and
    /// its last read may go far beyond.
    fn bounded(self, answered: (Response<Incoming>, Kept)) -> Result<(Response<Incoming>, Kept), Failure> {
        // ": " and CR LF.
        let size = |(name, value): (&http::HeaderName, &http::HeaderValue)| name.as_str().len() + value.len() + 4;
        let head = &answered.0;
        if head.headers().iter().map(size).sum::<usize>() <= RESPONSE_HEAD_BYTES {
            // One that may go on for days is not waited for.
            if let Self::Origin(ask) = self
                && (head.status() == StatusCode::SWITCHING_PROTOCOLS || is_stream(head.headers()))
            {
                ask.ask.praise();
            }
            return Ok(answered);
        }
        let target = self.name();
        let said = format_args!("{target} answered with a head of more than {} KiB", RESPONSE_HEAD_BYTES / 1024);
        Err(self.blamed(Failure::new(Code::ResponseMalformed, said)))
    }

    /// A failure of the target, held against it where there are others.
    pub(super) fn blamed(self, failure: Failure) -> Failure {
        match self {
            Self::Origin(ask) => ask.blamed(failure),
            Self::Destination(_) => failure,
        }
    }

    /// Writes into the request what depends on which origin gets it.
    fn aim(self, request: &mut Request<Body>, kept: &Kept) -> Result<(), Failure> {
        match (self, &kept.url) {
            (Self::Origin(ask), Some(url)) => ask.aim(request, url),
            _ => Ok(()),
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
    pub(crate) fn response_fields(self, headers: &http::HeaderMap, visit: &Visit) -> Headers {
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
    pub(crate) fn trailers(self, fields: &http::HeaderMap) -> http::HeaderMap {
        match self {
            Self::Destination(_) => http::HeaderMap::new(),
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

    fn closed(&self) -> Failure {
        let target = self.name();
        Failure::new(
            Code::ResponseIncomplete,
            format_args!("{target} closed the connection before its response was whole"),
        )
    }

    /// What hyper's error says of the target.
    pub(crate) fn broke(self, error: &hyper::Error) -> Failure {
        if error.is_user() {
            // The request's body broke off on its way here: no fault of the target's.
            return self.closed();
        }
        self.blamed(self.broke_off(error))
    }

    /// The same once its response has begun. Not held against the target: a client may know a request that does this, and
    /// must not take origins out by it.
    pub(crate) fn broke_off(self, error: &hyper::Error) -> Failure {
        if error.is_parse() {
            let target = self.name();
            Failure::new(
                Code::ResponseMalformed,
                format_args!("{target} answered with something that is not HTTP/1: {error}"),
            )
        } else {
            self.closed()
        }
    }
}
