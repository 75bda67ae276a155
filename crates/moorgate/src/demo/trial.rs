//! One trial: one product asked one way, with a recording relay on each leg, and all that was recorded of it.

use std::time::Duration;

use moorgate_api::view::{AddRoute, ChangeRoute, FlowView};
use moorgate_contract::{
    listener::{Listener, Product},
    route::{Mode, OriginSpec},
};
use moorgate_tls::Originator;
use moorgate_wire::host::HostPort;
use tokio::time::{Instant, sleep};

use super::{
    DemoError,
    client::{self, Door, Inner, TalkError},
    destination::{Destination, Identity},
    gateway::Gateway,
    promise::Way,
    relay::{Onward, Relay},
    secrets::Planted,
    tape::Tape,
};
use crate::output;

/// Requests of each trial; outbound each to a host of its own, as an account's hosts spread over its egress addresses,
/// and by HTTP proxy and SOCKS5 in turn.
const REQUESTS: usize = 6;
/// How long flows may take to be recorded after their ends.
const FLOWS: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// Flows that are asked for: more than the demo makes.
const LATEST: usize = 1_000;
/// What the gateway's TLS listeners are called here.
const GATEWAY_NAME: &str = "127.0.0.1";

/// What all trials share.
pub(super) struct Stage<'a> {
    /// The gateway.
    pub(super) gateway: &'a Gateway,
    /// What is sent.
    pub(super) planted: &'a Planted,
    /// Trusts the gateway's CA and the demo's: which of them a client meets is for the certificate to say.
    pub(super) trusting: &'a Originator,
    /// Of the destinations.
    pub(super) destinations: &'a Identity,
    /// Of the origins.
    pub(super) origins: &'a Identity,
    /// Who signed that, in PEM.
    pub(super) ca: &'a str,
    /// Where Shield's apps go: its HTTP proxy and its SOCKS5. Elsewhere only to see the table come out wrong.
    pub(super) shield: [Listener; 2],
}

/// What was recorded.
pub(super) struct Trial {
    /// Which way.
    pub(super) way: Way,
    /// Which product.
    pub(super) product: Product,
    /// Client to gateway.
    pub(super) to_gateway: Tape,
    /// What went into the client's TLS on that leg; `None` where the client opened none there.
    pub(super) session: Option<Tape>,
    /// What went into the client's TLS with the destination, inside a tunnel.
    pub(super) inner: Vec<Inner>,
    /// Gateway to target.
    pub(super) to_target: Tape,
    /// What the target received, in plaintext.
    pub(super) arrived: Tape,
    /// The certificate that is the target's own, in DER.
    pub(super) own: Vec<u8>,
    /// What the gateway recorded.
    pub(super) flows: Vec<FlowView>,
    /// What went wrong first.
    pub(super) trouble: Option<String>,
}

/// The recording relays of a trial, and the target behind the last.
struct Legs {
    /// Toward each listener that is used.
    to_gateway: Vec<Relay>,
    /// The client's TLS there.
    sessions: Vec<Relay>,
    to_target: Relay,
    target: Destination,
}

impl Stage<'_> {
    /// Asks several hosts through the proxy.
    ///
    /// # Errors
    /// When there are no ports, or the gateway can't be asked what it recorded. A request that fails is a trouble.
    pub(super) async fn outbound(&self, way: Way, product: Product) -> Result<Trial, DemoError> {
        let tls = way == Way::OutboundHttps;
        let target = Destination::start(tls.then_some(self.destinations)).await?;
        let to_target = Relay::start(Onward::Tcp(target.address), Tape::default()).await?;
        let listeners = match product {
            Product::Static => [Listener::OutboundHttp, Listener::OutboundSocks],
            Product::Shield => self.shield,
        };
        let (mut to_gateway, mut sessions, mut doors) = (Vec::new(), Vec::new(), Vec::new());
        let (wire, inside) = (Tape::default(), Tape::default());
        for listener in listeners {
            let relay = Relay::start(Onward::Tcp(self.gateway.listener(listener)?), wire.clone()).await?;
            let mut door = relay.address;
            if listener.product() == Some(Product::Shield) {
                let session = self.session(&relay, GATEWAY_NAME.to_owned(), inside.clone()).await?;
                door = session.address;
                sessions.push(session);
            }
            doors.push(if listener.protocol() == "socks" { Door::Socks(door) } else { Door::Http(door) });
            to_gateway.push(relay);
        }
        let (port, mut asked) = (to_target.address.port(), Asked::default());
        for (request, door) in (1..=REQUESTS).zip(doors.iter().cycle()) {
            let target = format!("{}:{port}", self.planted.host(&label(way, product, request)));
            let Ok(target) = HostPort::parse(&target) else { continue };
            asked.answered(client::through(*door, &target, tls.then_some(self.trusting), self.planted).await);
        }
        let ours = |flow: &FlowView| flow.target.as_ref().is_some_and(|target| target.ends_with(&format!(":{port}")));
        asked.flows = self.flows(ours).await?;
        let legs = Legs { to_gateway, sessions, to_target, target };
        Ok(legs.end((way, product), &self.destinations.certificate, asked).await)
    }

    /// Makes a route, and asks for its domain.
    ///
    /// # Errors
    /// As for [`Stage::outbound`], or when the route can't be made.
    pub(super) async fn inbound(&self, product: Product) -> Result<Trial, DemoError> {
        let target = Destination::start(Some(self.origins)).await?;
        let to_target = Relay::start(Onward::Tcp(target.address), Tape::default()).await?;
        let (mode, scheme, trust) = match product {
            Product::Static => (Mode::Terminate, "https", Some(Some(self.ca.to_owned()))),
            Product::Shield => (Mode::Passthrough, "tls", None),
        };
        let domain = self.planted.host(&label(Way::Inbound, product, 1));
        let url = format!("{scheme}://{}:{}", self.planted.host(ORIGIN), to_target.address.port());
        let url = url.parse().map_err(|_| DemoError::Route { url })?;
        let origins = Some(vec![OriginSpec { url, weight: 1 }]);
        let settings = ChangeRoute { origins, origin_ca: trust, ..ChangeRoute::default() };
        self.gateway.client.add_route(&AddRoute { domain: domain.clone(), mode, account: None, settings }).await?;
        let listener = self.gateway.listener(Listener::InboundTls)?;
        let to_gateway = Relay::start(Onward::Tcp(listener), Tape::default()).await?;
        let session = self.session(&to_gateway, domain.clone(), Tape::default()).await?;
        let mut asked = Asked::default();
        for _ in 1..=REQUESTS {
            asked.answered(client::directly(session.address, &domain, self.planted).await.map(|()| None));
        }
        asked.flows = self.flows(|flow| flow.route.as_deref() == Some(&domain)).await?;
        let legs = Legs { to_gateway: vec![to_gateway], sessions: vec![session], to_target, target };
        Ok(legs.end((Way::Inbound, product), &self.origins.certificate, asked).await)
    }

    /// The client's TLS with the server called `name`, through the relay to the gateway.
    async fn session(&self, to_gateway: &Relay, name: String, tape: Tape) -> Result<Relay, DemoError> {
        Relay::start(Onward::Tls(to_gateway.address, self.trusting.clone(), name), tape).await
    }

    /// Those of the gateway's flows that are `ours`, once there is one for each request or the time is over.
    async fn flows(&self, ours: impl Fn(&FlowView) -> bool) -> Result<Vec<FlowView>, DemoError> {
        let began = Instant::now();
        loop {
            let mut flows = self.gateway.client.flows(None, LATEST).await?;
            flows.retain(&ours);
            if flows.len() >= REQUESTS || began.elapsed() > FLOWS {
                return Ok(flows);
            }
            sleep(POLL).await;
        }
    }
}

/// The host that the routes' origins have.
const ORIGIN: &str = "origin";

/// Tells the hosts of a run apart.
fn label(way: Way, product: Product, request: usize) -> String {
    match way {
        Way::OutboundHttps => format!("{}-s{request}", product.name()).to_ascii_lowercase(),
        Way::OutboundHttp => format!("{}-{request}", product.name()).to_ascii_lowercase(),
        Way::Inbound => product.name().to_ascii_lowercase(),
    }
}

/// The names that the destinations' certificate is for.
pub(super) fn destination_names(planted: &Planted) -> Vec<String> {
    let labels = [Product::Static, Product::Shield]
        .into_iter()
        .flat_map(|product| (1..=REQUESTS).map(move |request| label(Way::OutboundHttps, product, request)));
    labels.map(|label| planted.host(&label)).collect()
}

/// The names that the origins' certificate is for: Shield's domain, and what the gateway calls the origin.
pub(super) fn origin_names(planted: &Planted) -> Vec<String> {
    vec![planted.host(&label(Way::Inbound, Product::Shield, 1)), planted.host(ORIGIN)]
}

/// What came of the requests.
#[derive(Default)]
struct Asked {
    inner: Vec<Inner>,
    flows: Vec<FlowView>,
    trouble: Option<String>,
}

impl Asked {
    fn answered(&mut self, answer: Result<Option<Inner>, TalkError>) {
        match answer {
            Ok(inner) => self.inner.extend(inner),
            Err(error) => drop(self.trouble.get_or_insert_with(|| output::chain(&error))),
        }
    }
}

impl Legs {
    /// Waits until all that goes over them is recorded.
    async fn end(self, (way, product): (Way, Product), own: &[u8], asked: Asked) -> Trial {
        // Whoever stands nearest to the target knows best what went wrong.
        let mut trouble = self.target.tape.trouble();
        for relay in std::iter::once(&self.to_target).chain(&self.to_gateway).chain(&self.sessions) {
            relay.settle().await;
            trouble = trouble.or_else(|| relay.tape.trouble());
        }
        Trial {
            way,
            product,
            to_gateway: self.to_gateway.first().map(|relay| relay.tape.clone()).unwrap_or_default(),
            session: self.sessions.first().map(|relay| relay.tape.clone()),
            inner: asked.inner,
            to_target: self.to_target.tape.clone(),
            arrived: self.target.tape.clone(),
            own: own.to_vec(),
            flows: asked.flows,
            trouble: trouble.or(asked.trouble),
        }
    }
}
