//! The decision on a request, and the request as the origin gets it: written anew, hop-by-hop fields gone first, what we say of the client put in last.

use std::sync::Arc;

use moorgate_contract::{
    balance::Pool,
    certificate::{ChallengeKind, acme_token},
    failure::{Code, Failure},
    flow::OpenFlow,
    inbound::{Routed, let_in},
    route::{Mode, Route},
};
use moorgate_wire::{
    http1::{Framing, Headers},
    name::DomainName,
    path::CanonicalPath,
};

use super::{
    actions::{Own, Request, before, edit},
    authority::{Asker, Authority, LastAuthority},
    served::Served,
    terminate::Secured,
};
use crate::{
    exchange::{Outgoing, check_loop, push_via},
    gateway::Visit,
    refuse::Refusal,
};

/// What a request is about, over whichever version of HTTP.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    /// Host or `:authority`; empty when there was none.
    pub(super) authority: &'a str,
    /// Path and query as they came.
    pub(super) path: &'a str,
    pub(super) headers: &'a Headers,
    /// The body's length, where the client said it.
    pub(super) length: Option<u64>,
}

/// A request that may go on to an origin.
pub(super) struct Decided {
    pub(super) routed: Routed,
    pub(super) authority: Arc<Authority>,
    pub(super) path: CanonicalPath,
    pub(super) served: Arc<Served>,
    /// A CA's challenge for an origin that keeps its own key: it goes where that origin answers such, in the clear.
    pub(super) challenge: bool,
}

impl Decided {
    /// The origins that may have it.
    pub(super) fn pool(&self) -> &Pool {
        let route = &self.routed.route;
        let own = route.acme_pool.as_ref().filter(|_| self.challenge);
        own.unwrap_or_else(|| route.pool_for(|prefix| self.path.has_prefix(prefix)))
    }
}

/// Which route serves a request, and what the route's actions make of it. `last` is its connection's.
///
/// # Errors
/// The answer, when it goes no further.
pub(super) fn decide(
    visit: &Visit,
    asked: &Asked<'_>,
    secured: Option<&Secured>,
    last: &LastAuthority,
    flow: &mut OpenFlow,
) -> Result<Decided, Own> {
    let asker = Asker { ip: visit.client.ip(), secure: secured.is_some() };
    let authority = last.read(asked.authority, asker, &mut flow.record.target)?;
    let name = &authority.name;
    if let Some(secured) = secured
        && secured.name != *name
    {
        let said = format_args!("the connection was opened for {}, and the request asks for {name}", secured.name);
        return Err(Failure::new(Code::NameMismatch, said).into());
    }
    if secured.is_none() {
        answer_ca(visit, asked, name, flow)?;
    }
    let routed = visit.route(Some(name), flow)?;
    let_in(&routed, visit.client.ip(), &mut ())?;
    let path = CanonicalPath::parse(asked.path).map_err(|why| Failure::new(Code::Malformed, why))?;
    let gateway = &visit.gateway;
    let snapshot = gateway.snapshot();
    if routed.route.mode == Mode::Passthrough && secured.is_some() {
        let said = format_args!("{name} is passed through now; connect again");
        return Err(Failure::new(Code::NameMismatch, said).into());
    }
    check_loop(asked.headers, &snapshot.site.gateway, name.as_str())?;
    let challenge = routed.route.mode == Mode::Passthrough && asked.token().is_some();
    if !challenge {
        before(&Request {
            route: &routed.route,
            snapshot: &snapshot,
            authority: &authority.forwarded,
            secure: secured.is_some(),
            path: &path,
            headers: asked.headers,
            length: asked.length,
        })?;
    }
    let served = Served::of(gateway, &snapshot, &routed.route);
    Ok(Decided { routed, authority, path, served, challenge })
}

impl Asked<'_> {
    /// The token of a CA's challenge, if it is GET or HEAD of one and nothing else.
    fn token(&self) -> Option<&str> {
        acme_token(self.path).filter(|_| ["GET", "HEAD"].contains(&self.method) && self.length == Some(0))
    }
}

/// Answers a CA that looks for an order of ours which is open for this very name; whatever else is asked goes its usual way.
fn answer_ca(visit: &Visit, asked: &Asked<'_>, name: &DomainName, flow: &mut OpenFlow) -> Result<(), Own> {
    let Some(token) = asked.token() else { return Ok(()) };
    let snapshot = visit.gateway.snapshot();
    let Some(challenge) = snapshot.challenge(name, ChallengeKind::Http).filter(|open| open.token == token) else {
        return Ok(());
    };
    // A name of the gateways' own has no route.
    let _ = visit.route(Some(name), flow);
    Err(Own::Answer(Refusal::answer(200, "application/octet-stream", challenge.answer.clone())))
}

/// What a client might say of itself so that an origin believes it: the origin hears it from us or not at all.
const OURS: [&str; 8] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-original-forwarded-for",
];

/// A request on its way to an origin.
pub(super) struct Onward<'a> {
    pub(super) route: &'a Route,
    pub(super) method: &'a str,
    pub(super) authority: &'a Authority,
    pub(super) path: &'a CanonicalPath,
    pub(super) gateway: &'a str,
    /// It asks for a WebSocket (RFC 6455 §4.1), the one upgrade that is passed on.
    pub(super) websocket: bool,
    /// It is gRPC, which wants its trailers.
    pub(super) grpc: bool,
}

impl<'a> Onward<'a> {
    /// The request, but for what depends on which origin gets it.
    ///
    /// # Errors
    /// As [`Outgoing::new`].
    pub(super) fn build(&self, mut headers: Headers, framing: Framing) -> Result<Outgoing<'a>, Failure> {
        headers.strip_hop_by_hop();
        strip_claims(&mut headers);
        edit(&mut headers, &self.route.settings.actions.request_headers);
        headers.append(&self.authority.of_client);
        push_via(&mut headers, self.gateway);
        if self.websocket {
            headers.push("connection", "upgrade");
            headers.push("upgrade", "websocket");
        }
        if self.grpc {
            headers.push("te", "trailers");
        }
        Outgoing::new(self.method, self.path.as_str(), &*self.authority.forwarded, headers, framing)
    }
}

/// `x_forwarded_for` reaches a CGI as the same variable as `x-forwarded-for`, so twins go too.
fn strip_claims(headers: &mut Headers) {
    headers.retain(|name| {
        let same = |own: &str, name: &str| {
            own.len() == name.len()
                && own.bytes().zip(name.bytes()).all(|(own, byte)| own == if byte == b'_' { b'-' } else { byte })
        };
        let begins = name.get(..FORWARDED.len()).is_some_and(|begin| same(FORWARDED, begin));
        !begins && !OURS.iter().any(|own| same(own, name))
    });
}

const FORWARDED: &str = "x-forwarded-";
