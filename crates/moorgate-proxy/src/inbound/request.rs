//! The decision on a request, and the request as the origin gets it: written anew, hop-by-hop fields gone first, what we say of the client put in last.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request as HttpRequest, Uri, header};
use moorgate_contract::{
    failure::{Code, Failure},
    flow::OpenFlow,
    inbound::{Routed, let_in},
    route::{Mode, Route},
};
use moorgate_wire::{
    host::{Asked as WireAsked, Host},
    http1::Headers,
    name::DomainName,
    path::CanonicalPath,
};

use super::{
    actions::{Own, Request, before, edit},
    served::Served,
    terminate::Secured,
};
use crate::{
    exchange::{Body, check_loop, via},
    gateway::Visit,
};

/// What a request is about, over whichever version of HTTP.
pub(super) struct Asked<'a> {
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
    pub(super) name: DomainName,
    /// As the client wrote it, checked.
    pub(super) authority: String,
    pub(super) path: CanonicalPath,
    pub(super) served: Arc<Served>,
}

/// Which route serves a request, and what the route's actions make of it.
///
/// # Errors
/// The answer, when it goes no further.
pub(super) fn decide(
    visit: &Visit,
    asked: &Asked<'_>,
    secured: Option<&Secured>,
    flow: &mut OpenFlow,
) -> Result<Decided, Own> {
    flow.record.target = shown(asked.authority);
    let (name, authority) = name(asked.authority)?;
    if let Some(secured) = secured
        && secured.name != name
    {
        let said = format_args!("the connection was opened for {}, and the request asks for {name}", secured.name);
        return Err(Failure::new(Code::NameMismatch, said).into());
    }
    let routed = visit.route(Some(&name), flow)?;
    let_in(&routed, visit.client.ip(), &mut ())?;
    let path = CanonicalPath::parse(asked.path).map_err(|why| Failure::new(Code::Malformed, why))?;
    let gateway = &visit.gateway;
    let snapshot = gateway.snapshot();
    if routed.route.mode == Mode::Passthrough && secured.is_some() {
        let said = format_args!("{name} is passed through now; connect again");
        return Err(Failure::new(Code::NameMismatch, said).into());
    }
    check_loop(asked.headers, &snapshot.site.gateway, name.as_str())?;
    before(&Request {
        route: &routed.route,
        snapshot: &snapshot,
        authority: &authority,
        secure: secured.is_some(),
        path: &path,
        headers: asked.headers,
        length: asked.length,
    })?;
    let served = Served::of(gateway, &snapshot, &routed.route);
    Ok(Decided { routed, name, authority, path, served })
}

/// The authority for a record: short, and without a user's name; `None` for what is none.
fn shown(authority: &str) -> Option<Box<str>> {
    let read = WireAsked::from_authority(authority, Some(NO_PORT)).ok()?;
    let text = read.text();
    let bare = text.strip_suffix(&format!(":{NO_PORT}")).filter(|_| !authority.contains(':'));
    Some(bare.unwrap_or(text).into())
}

/// The name in Host or `:authority`, and that as it is forwarded: canonical, with the port that was written.
pub(super) fn name(authority: &str) -> Result<(DomainName, String), Failure> {
    if authority.is_empty() {
        return Err(Failure::new(Code::DomainUnknown, "the request names no app; send its name in Host"));
    }
    let read = WireAsked::from_authority(authority, Some(NO_PORT)).map_err(|why| Failure::new(Code::Malformed, why))?;
    let host = read.host.map_err(|why| Failure::new(Code::HostNotCanonical, why))?;
    let Host::Name(name) = host else {
        return Err(Failure::new(
            Code::DomainUnknown,
            format_args!("no route has an address for its domain; ask by name, not by {host}"),
        ));
    };
    let written = if authority.contains(':') { format!("{name}:{}", read.port) } else { name.to_string() };
    Ok((name, written))
}

/// Stands in where an authority has no port, which says nothing here.
const NO_PORT: u16 = 443;

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
    /// The authority that the client asked for, as it wrote its port.
    pub(super) authority: &'a str,
    pub(super) path: &'a CanonicalPath,
    pub(super) client: SocketAddr,
    pub(super) secure: bool,
    pub(super) gateway: &'a str,
    /// It asks for a WebSocket (RFC 6455 §4.1), the one upgrade that is passed on.
    pub(super) websocket: bool,
    /// It is gRPC, which wants its trailers.
    pub(super) grpc: bool,
}

impl Onward<'_> {
    /// The request, but for what depends on which origin gets it.
    ///
    /// # Errors
    /// [`Code::Malformed`] for what can't be written, which [`Headers`] already keeps out.
    pub(super) fn build(&self, mut headers: Headers, body: Body) -> Result<HttpRequest<Body>, Failure> {
        headers.strip_hop_by_hop();
        for framing in ["host", "content-length", "transfer-encoding"] {
            headers.remove(framing);
        }
        strip_claims(&mut headers);
        edit(&mut headers, &self.route.settings.actions.request_headers);
        let malformed =
            |what: &str| Failure::new(Code::Malformed, format_args!("{what} of the request can't be forwarded"));
        let mut map = HeaderMap::with_capacity(headers.len() + 8);
        let value = |text: String, what| HeaderValue::try_from(text).map_err(|_| malformed(what));
        map.insert(header::HOST, value(self.authority.to_owned(), "the host")?);
        for (name, value) in headers.iter() {
            let name = HeaderName::try_from(name).map_err(|_| malformed("a field name"))?;
            map.append(name, HeaderValue::from_bytes(value).map_err(|_| malformed("a field value"))?);
        }
        self.say_who(&mut map, value)?;
        map.append(header::VIA, value(via(self.gateway), "Via")?);
        if !self.grpc {
            body.frame(&mut map);
        }
        if self.websocket {
            map.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            map.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        if self.grpc {
            map.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        let mut request = HttpRequest::new(body);
        *request.method_mut() = self.method.parse().map_err(|_| malformed("the method"))?;
        *request.uri_mut() = self.path.as_str().parse::<Uri>().map_err(|_| malformed("the path"))?;
        *request.headers_mut() = map;
        Ok(request)
    }

    /// RFC 7239, and the older fields that most frameworks still read.
    fn say_who(
        &self,
        map: &mut HeaderMap,
        value: impl Fn(String, &'static str) -> Result<HeaderValue, Failure>,
    ) -> Result<(), Failure> {
        let proto = if self.secure { "https" } else { "http" };
        let ip = self.client.ip().to_canonical();
        let quoted = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        let forwarded = format!("for={quoted};host=\"{}\";proto={proto}", self.authority);
        map.insert(header::FORWARDED, value(forwarded, "Forwarded")?);
        map.insert(HeaderName::from_static("x-forwarded-for"), value(ip.to_string(), "X-Forwarded-For")?);
        map.insert(HeaderName::from_static("x-forwarded-host"), value(self.authority.to_owned(), "X-Forwarded-Host")?);
        map.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(proto));
        Ok(())
    }
}

/// `x_forwarded_for` reaches a CGI as the same variable as `x-forwarded-for`, so twins go too.
fn strip_claims(headers: &mut Headers) {
    let claims: Vec<String> = headers
        .iter()
        .map(|(name, _)| name)
        .filter(|name| {
            let plain = name.replace('_', "-");
            plain.starts_with("x-forwarded-") || OURS.contains(&plain.as_str())
        })
        .map(str::to_owned)
        .collect();
    for name in &claims {
        headers.remove(name);
    }
}
