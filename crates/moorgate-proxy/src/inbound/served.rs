//! What is built once for a terminate route: its TLS toward clients and origins.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moorgate_contract::{
    certificate::{Certificate, KeyedChain},
    failure::{Code, Failure},
    route::Route,
    snapshot::Snapshot,
};
use moorgate_tls::{CertSource, Der, LocalIssuer, Originator, SetupError, Terminator, TrustRoots};

use super::waiting::WaitingRoom;
use crate::gateway::Gateway;

/// A local certificate lives for 90 days; a fresh one every ten keeps far from its end.
const FRESH: Duration = Duration::from_secs(10 * 24 * 3600);

/// Lives as long as this version of its route, so nothing of it can serve another account.
pub(crate) struct Served {
    toward_clients: Result<Terminator, Failure>,
    local: Option<Local>,
    toward_origins: Result<TowardOrigins, Failure>,
    /// Connections to its origins that wait for a request.
    pub(super) waiting: Arc<WaitingRoom>,
}

/// One for each protocol, so that an origin is offered what will be spoken.
struct TowardOrigins {
    http1: Originator,
    http2: Originator,
}

/// A certificate of the local CA, and when it was issued.
struct Local {
    source: CertSource,
    name: String,
    issued: Mutex<Instant>,
}

impl Served {
    /// What was built for `route`; built now, if this is the first time.
    pub(super) fn of(gateway: &Gateway, snapshot: &Snapshot, route: &Route) -> Arc<Self> {
        route.attached.get_or_make(|| Self::build(gateway, snapshot, route))
    }

    fn build(gateway: &Gateway, snapshot: &Snapshot, route: &Route) -> Self {
        let (toward_clients, local) = match toward_clients(&gateway.terminators.local, snapshot, route) {
            Ok((terminator, local)) => (Ok(terminator), local),
            Err(error) => {
                tracing::error!(route = %route.domain, %error, "a route's certificate can't be served; add it anew with moorgate cert add");
                (Err(Failure::new(Code::Internal, "the certificate of this route can't be served")), None)
            }
        };
        let roots = route.settings.origin_ca.as_ref().map(|pem| TrustRoots::Given(pem.as_str().into()));
        let toward_origins = gateway.originator(roots).map(TowardOrigins::new).map_err(|error| {
            Failure::new(Code::Internal, format_args!("no TLS toward the origins of {}: {error}", route.domain))
        });
        Self { toward_clients, local, toward_origins, waiting: gateway.waiting.open() }
    }

    /// TLS toward clients, with the route's certificate.
    pub(super) fn terminator(&self, issuer: &LocalIssuer) -> Result<&Terminator, Failure> {
        if let Some(local) = &self.local {
            local.keep_fresh(issuer);
        }
        self.toward_clients.as_ref().map_err(Clone::clone)
    }

    /// TLS toward origins, verified.
    ///
    /// # Errors
    /// When the CA that the route names can't be used.
    pub(super) fn originator(&self, http2: bool) -> Result<&Originator, Failure> {
        let toward = self.toward_origins.as_ref().map_err(Clone::clone)?;
        Ok(if http2 { &toward.http2 } else { &toward.http1 })
    }
}

impl TowardOrigins {
    /// Sessions are the route's own: what one account's origin gave out is not taken up for another's.
    fn new(originator: Originator) -> Self {
        let http1 = originator.with_own_sessions();
        Self { http2: http1.clone().with_alpn(&[b"h2"]), http1: http1.with_alpn(&[b"http/1.1"]) }
    }
}

fn toward_clients(
    issuer: &LocalIssuer,
    snapshot: &Snapshot,
    route: &Route,
) -> Result<(Terminator, Option<Local>), SetupError> {
    let (source, local) = match snapshot.certificate(&route.domain) {
        Some(certificate) => (source_of(certificate)?, None),
        None => {
            let name = route.domain.to_string();
            let source = issuer.issue(&name)?;
            (source.clone(), Some(Local { source, name, issued: Mutex::new(Instant::now()) }))
        }
    };
    Ok((Terminator::new(source, &[b"h2", b"http/1.1", b"http/1.0"])?, local))
}

/// What shows a domain's certificate.
///
/// # Errors
/// When a chain and its key don't belong together.
pub fn source_of(certificate: &Certificate) -> Result<CertSource, SetupError> {
    fn der(of: &KeyedChain) -> Der<'_> {
        Der { chain: &of.chain, key: &of.key }
    }
    CertSource::from_der(der(&certificate.first), certificate.rsa.as_ref().map(der))
}

impl Local {
    fn keep_fresh(&self, issuer: &LocalIssuer) {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if issued.elapsed() < FRESH {
            return;
        }
        *issued = Instant::now();
        match issuer.issue(&self.name) {
            Ok(fresh) => self.source.replace_with(&fresh),
            Err(error) => {
                tracing::error!(name = self.name, %error, "a local certificate can't be renewed; the old one goes on")
            }
        }
    }
}
