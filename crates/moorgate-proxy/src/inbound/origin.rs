//! Which origin, and a connection to it: the less loaded of two, and the next one when it can't be had.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use moorgate_contract::{
    balance::Pool,
    decide::Plan,
    failure::{Code, Failure},
    flow::OpenFlow,
    inbound::Routed,
    route::{HostFor, Origin, OriginScheme, OriginUrl, ProxyVersion},
};
use moorgate_net::{
    connect::Connected,
    runtime::{now, timeout},
    socket::{MeterSlot, Socket},
};
use moorgate_tls::OriginateError;
use moorgate_wire::{
    name::DomainName,
    proxy_protocol::{self, Fields},
};
use tokio::io::AsyncWriteExt as _;

use super::served::Served;
use crate::{
    exchange::{
        Outgoing,
        link::Link,
        target::{Kept, Made},
    },
    gateway::{Entered, Visit},
};

/// While other origins are left to try, one of them gets this part of `[limits] connect`.
const SHARE_OF_LIMIT: u32 = 3;

/// What an origin is wanted for.
pub(crate) struct Ask<'a> {
    pub(crate) visit: &'a Visit,
    pub(crate) routed: &'a Routed,
    pub(crate) pool: &'a Pool,
    /// The name that the client asked for.
    pub(crate) name: Option<&'a DomainName>,
    /// Where the client connected to, for origins that want to be told.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) chosen: Chosen,
}

/// A terminate route's ask, with what its exchanges need beside it.
pub(crate) struct ForExchange<'a> {
    pub(crate) ask: Ask<'a>,
    pub(crate) served: Arc<Served>,
    /// HTTP/2 is wanted: it carries gRPC, which HTTP/1.1 can't.
    pub(crate) grpc: bool,
    /// The connection will be something else after this request.
    pub(crate) websocket: bool,
}

/// The place in the pool of the origin that was chosen last.
pub(crate) struct Chosen(AtomicUsize);

impl Default for Chosen {
    fn default() -> Self {
        // No pool has so many.
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl<'a> Ask<'a> {
    /// Connects to an origin of the pool. Nothing was sent yet, so whichever answers will do.
    ///
    /// # Errors
    /// The last origin's failure, when none could be reached.
    pub(super) async fn reach(&self, entered: &Entered, flow: &mut OpenFlow) -> Result<Connected, Failure> {
        let mut tries = Tries::new();
        loop {
            let origin = self.next(&mut tries, entered, flow)?;
            let limit = self.limit(&tries);
            match self.visit.connect(&self.routed.plan(origin), entered, flow, limit).await {
                Ok(connected) => {
                    self.praise();
                    return Ok(connected);
                }
                Err(failure) => {
                    self.blame(&failure);
                    self.went_wrong(&mut tries, entered, failure)?;
                }
            }
        }
    }

    /// The origin to try next; the last failure, when none is left.
    fn next(&self, tries: &mut Tries, entered: &Entered, flow: &mut OpenFlow) -> Result<&'a Origin, Failure> {
        // Ids of flows differ; mixed, their bits do as well as drawn ones.
        let random = mixed(flow.record.id.0.wrapping_add(tries.made.len() as u64));
        let Some((at, origin)) = self.pool.pick(&tries.made, random, self.visit.gateway.clock()) else {
            let none = || Failure::new(Code::Internal, "a route without an origin");
            return Err(tries.last.take().unwrap_or_else(none));
        };
        tries.last_at = Some(at);
        self.choose(at, origin, entered, flow);
        Ok(origin)
    }

    fn choose(&self, at: usize, origin: &Origin, entered: &Entered, flow: &mut OpenFlow) {
        flow.record.origin = Some(origin.text.clone());
        entered.uses(origin.health.take());
        self.chosen.0.store(at, Relaxed);
    }

    fn chosen(&self) -> Option<&'a Origin> {
        self.pool.origins().get(self.chosen.0.load(Relaxed))
    }

    fn limit(&self, tries: &Tries) -> Duration {
        let whole = self.visit.gateway.limits.connect;
        if self.pool.origins().len() == tries.made.len() + 1 { whole } else { whole / SHARE_OF_LIMIT }
    }

    /// Takes note of a failure; it is the end when the flow was cut.
    fn went_wrong(&self, tries: &mut Tries, entered: &Entered, failure: Failure) -> Result<(), Failure> {
        if entered.open.is_cut().is_some() {
            return Err(failure);
        }
        // However many origins there are: the client waits for no more than one of them may take.
        if tries.since.elapsed() >= self.visit.gateway.limits.connect {
            return Err(failure);
        }
        tries.made.extend(tries.last_at.take());
        // The last one stands in the flow beside its origin.
        tries.last = Some(failure);
        Ok(())
    }

    /// Takes note that the chosen origin did what it should.
    pub(crate) fn praise(&self) {
        if let Some(origin) = self.chosen()
            && origin.health.succeeded(self.visit.gateway.clock())
        {
            tracing::info!(route = %self.routed.route.domain, origin = %origin.url, "an origin is back");
        }
    }

    /// Takes note of a failure, if it is the chosen origin's own.
    pub(crate) fn blame(&self, failure: &Failure) {
        if let Some(origin) = self.chosen()
            && is_the_origins(failure.code)
            && origin.health.failed(self.visit.gateway.clock())
        {
            tracing::warn!(
                route = %self.routed.route.domain,
                origin = %origin.url,
                %failure,
                "an origin failed several times in a row and is left alone for a while"
            );
        }
    }

    /// The PROXY protocol's header, where the route's origins want one; else nothing.
    pub(super) fn header(&self) -> Vec<u8> {
        let client = self.visit.client;
        let fields = Fields { authority: self.name, alpn: None };
        let told = self.routed.route.settings.proxy_protocol.zip(self.local);
        told.map_or_else(Vec::new, |(version, local)| introduction(version, client, local, fields))
    }
}

/// The PROXY protocol's header for a client that connected to `local`; version 1 has no fields.
pub(super) fn introduction(
    version: ProxyVersion,
    client: SocketAddr,
    local: SocketAddr,
    fields: Fields<'_>,
) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => proxy_protocol::encode_v1(client, local),
        ProxyVersion::V2 => proxy_protocol::encode_v2(client, local, fields),
    }
}

struct Tries {
    /// Places in the pool of those that went wrong.
    made: Vec<usize>,
    last_at: Option<usize>,
    last: Option<Failure>,
    since: Instant,
}

impl Tries {
    fn new() -> Self {
        Self { made: Vec::new(), last_at: None, last: None, since: now() }
    }
}

impl ForExchange<'_> {
    /// A connection to an origin: a kept one of whichever is chosen, else a new one.
    ///
    /// # Errors
    /// As [`Ask::reach`], and what TLS with the origin can fail with.
    pub(crate) async fn ready(&self, entered: &Entered, flow: &mut OpenFlow) -> Result<Kept, Failure> {
        self.connect(entered, flow, true).await
    }

    /// A new connection to an origin.
    ///
    /// # Errors
    /// As [`ForExchange::ready`].
    pub(crate) async fn open(&self, entered: &Entered, flow: &mut OpenFlow) -> Result<Kept, Failure> {
        self.connect(entered, flow, false).await
    }

    async fn connect(&self, entered: &Entered, flow: &mut OpenFlow, may_reuse: bool) -> Result<Kept, Failure> {
        let Ask { visit, routed, .. } = self.ask;
        let mut tries = Tries::new();
        loop {
            let origin = self.ask.next(&mut tries, entered, flow)?;
            let plan = routed.plan(origin);
            // A connection that began by naming one client is no other client's.
            if may_reuse
                && !self.websocket
                && routed.route.settings.proxy_protocol.is_none()
                && let Some(kept) = self.served.waiting.take(&origin.url, self.grpc)
                && let Some(kept) = kept.take_up(visit, &plan, entered, flow).await
            {
                return Ok(kept);
            }
            let limit = self.ask.limit(&tries);
            // Boxed: its state is most of an exchange's, and most exchanges go over a connection that is there.
            match Box::pin(self.fresh(origin, &plan, entered, flow, limit)).await {
                Ok(kept) => return Ok(kept),
                Err(failure) => self.ask.went_wrong(&mut tries, entered, failure)?,
            }
        }
    }

    /// A new connection to this origin.
    async fn fresh(
        &self,
        origin: &Origin,
        plan: &Plan,
        entered: &Entered,
        flow: &mut OpenFlow,
        limit: Duration,
    ) -> Result<Kept, Failure> {
        match self.ask.visit.connect(plan, entered, flow, limit).await {
            Ok(connected) => self.speak(origin, connected, flow).await.map_err(|failure| self.blamed(failure)),
            Err(failure) => {
                self.ask.blame(&failure);
                Err(failure)
            }
        }
    }

    /// A failure of what is spoken with an origin, held against it. Not for gRPC: anyone may call a request that, and an
    /// origin that speaks no HTTP/2 is not broken.
    pub(crate) fn blamed(&self, failure: Failure) -> Failure {
        if !self.grpc || failure.code == Code::ResponseTimeout {
            self.ask.blame(&failure);
        }
        failure
    }

    /// The PROXY header, TLS and HTTP over a new connection.
    async fn speak(&self, origin: &Origin, connected: Connected, flow: &OpenFlow) -> Result<Kept, Failure> {
        let Connected { mut stream, address, egress, .. } = connected;
        let Ask { visit, routed, .. } = self.ask;
        let header = self.ask.header();
        if !header.is_empty() {
            // It fits any socket's buffer.
            stream.write_all(&header).await.map_err(|_| self.closed(origin))?;
            flow.meter().add_up(header.len() as u64);
        }
        // A shared connection's bytes are no one flow's: each counts its own bodies.
        let meter = if self.grpc { MeterSlot::default() } else { MeterSlot::new(flow.meter().clone()) };
        let socket = Socket::metered(stream, meter.clone());
        let link = link(&self.served, origin, socket, self.grpc, visit.gateway.limits.handshake).await?;
        let made = Made {
            account: routed.account.id,
            target: origin.url.target.clone(),
            url: Some(origin.url.clone()),
            address,
            egress,
            meter,
        };
        if self.grpc {
            Kept::http2(made, link).await.map_err(|_| self.closed(origin))
        } else {
            Ok(Kept::http1(made, link))
        }
    }

    fn closed(&self, origin: &Origin) -> Failure {
        Failure::new(Code::ResponseIncomplete, format_args!("{} closed the connection at its beginning", origin.url))
    }

    /// Writes into the request what depends on which origin gets it.
    pub(crate) fn aim(&self, outgoing: &mut Outgoing<'_>, url: &OriginUrl) {
        if self.ask.routed.route.settings.origin_host == HostFor::Origin {
            outgoing.aim(url.authority());
        }
    }

    /// Puts a connection by, whose response is whole.
    pub(crate) fn keep(&self, kept: Kept) {
        if self.ask.routed.route.settings.proxy_protocol.is_some() {
            return;
        }
        if let Some(url) = kept.url().cloned() {
            self.served.waiting.keep(&url, kept);
        }
    }
}

/// What is spoken over toward `origin`: verified TLS where its URL says so. One that is not trusted sees no byte of HTTP.
pub(super) async fn link(
    served: &Served,
    origin: &Origin,
    socket: Socket,
    http2: bool,
    limit: Duration,
) -> Result<Link, Failure> {
    if origin.url.scheme == OriginScheme::Http {
        return Ok(Link::Bare(socket));
    }
    let originator = served.originator(http2)?;
    let host = origin.url.target.host.to_string();
    match timeout(limit, originator.connect(socket, &host)).await {
        Ok(Ok(stream)) => Ok(Link::Tls(stream)),
        Ok(Err(error)) => Err(untrusted(origin, &error)),
        Err(_) => {
            let url = &origin.url;
            let said = format_args!("{url} did not finish the TLS handshake within {} s", limit.as_secs_f32());
            Err(Failure::new(Code::ConnectTimeout, said))
        }
    }
}

fn untrusted(origin: &Origin, error: &OriginateError) -> Failure {
    let code = if error.is_untrusted() { Code::OriginUntrusted } else { Code::OriginHandshakeFailed };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure::new(code, format_args!("{}: {error}{cause}", origin.url))
}

/// Whether it tells something of the origin, rather than of the route's settings or of ourselves.
fn is_the_origins(code: Code) -> bool {
    matches!(
        code,
        Code::ConnectionRefused
            | Code::NetworkUnreachable
            | Code::HostUnreachable
            | Code::ConnectTimeout
            | Code::ResponseIncomplete
            | Code::ResponseMalformed
            | Code::ResponseTimeout
            | Code::OriginUntrusted
            | Code::OriginHandshakeFailed
    )
}

/// SplitMix64's finalizer.
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
