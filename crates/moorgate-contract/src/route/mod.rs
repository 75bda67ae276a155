//! Inbound routes: a public name, how it is served, and where it goes.

mod actions;
mod domain;
mod origin;

use std::sync::Arc;

use moorgate_wire::host::HostPort;
use serde::{Deserialize, Serialize};

pub use actions::{
    Actions, BasicUser, ClientRules, HeaderEdits, HeaderField, MAX_ACTION_ITEMS, MAX_PAGE_BYTES, Maintenance, OnHttp,
    PathRedirect,
};
pub use domain::{Domain, DomainError};
pub use origin::{Origin, OriginScheme, OriginSpec, OriginUrl, OriginUrlError};

use crate::{
    account::AccountId,
    attached::Attached,
    balance::Pool,
    failure::{Code, Failure},
};

/// A route, for as long as it exists; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RouteId(pub u64);

/// The name in the gateways' zone that one route's domain points at, as DNS tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CnameTarget {
    /// Whether its clients are to come by HTTPS alone, and with HTTP/2 (RFC 9460 §9).
    pub https: bool,
    /// What a CA finds below it, while an order of ours is open that is validated by DNS.
    pub challenge: Option<Arc<str>>,
}

/// How a route is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// TLS ends here, and each HTTP request is acted upon (the Static product).
    Terminate,
    /// TLS goes by unread; the origin keeps its key (the Shield product).
    Passthrough,
}

impl Mode {
    /// `terminate` or `passthrough`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terminate => "terminate",
            Self::Passthrough => "passthrough",
        }
    }
}

/// Which version of the PROXY protocol an origin asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyVersion {
    /// The line of text.
    V1,
    /// The binary header, with the server name in it.
    V2,
}

/// What stands in Host and `:authority` toward the origin of a terminate route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostFor {
    /// The domain that the client asked for.
    #[default]
    Client,
    /// The forwarding URL's own host: for platforms that route by it.
    Origin,
}

/// How an origin's health is looked at, beside what traffic itself finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// Seconds between two checks; `None`: traffic alone decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
    /// A path to GET, answered with 200 to 399 by a healthy origin of a terminate route; `None`: a TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Another set of origins for a part of a terminate route's paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathOrigins {
    /// Whole segments: `/api` means `/api` and what is below it, not `/apix`.
    pub prefix: String,
    /// Where these go.
    pub origins: Vec<OriginSpec>,
}

/// What an account says of a route: stored, shown and applied as this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSettings {
    /// Where it goes, unless `paths` says otherwise. At least one.
    pub origins: Vec<OriginSpec>,
    /// Path prefixes that go elsewhere (terminate); the longest that fits wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathOrigins>,
    /// Whether the origin is told the client's address by the PROXY protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyVersion>,
    /// CA certificates (PEM) that alone are trusted for `https://` origins; `None`: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_ca: Option<String>,
    /// The Host that the origin gets.
    pub origin_host: HostFor,
    /// Health checks.
    pub check: Check,
    /// Where a CA's challenges on port 80 go (passthrough); `None`: to port 80 of the origins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme_origin: Option<OriginUrl>,
    /// Whether the CA is to issue a certificate with an RSA key too, for clients that know no ECDSA (terminate).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rsa: bool,
    /// What is done to requests and responses (terminate), and which clients may come (both modes).
    pub actions: Actions,
}

impl RouteSettings {
    /// Where a CA's challenges on port 80 go: where an origin's own ACME client answers them.
    fn acme_origins(&self) -> Vec<OriginSpec> {
        if let Some(url) = &self.acme_origin {
            return vec![OriginSpec { url: url.clone(), weight: 1 }];
        }
        let beside = |spec: &OriginSpec| {
            let target = HostPort { host: spec.url.target.host.clone(), port: OriginScheme::Http.default_port() };
            OriginSpec { url: OriginUrl { scheme: OriginScheme::Http, target }, weight: spec.weight }
        };
        self.origins.iter().map(beside).collect()
    }
}

/// A route as traffic is served by it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its identity.
    pub id: RouteId,
    /// Whose it is.
    pub account: AccountId,
    /// Its public name.
    pub domain: Domain,
    /// The same, as flows say it.
    pub text: Arc<str>,
    /// How it is served.
    pub mode: Mode,
    /// As the account set it.
    pub settings: Arc<RouteSettings>,
    /// The origins of `settings.origins`.
    pub pool: Pool,
    /// The origins of `settings.paths`, in that order.
    pub path_pools: Vec<Pool>,
    /// Where a CA's challenges on port 80 go (passthrough). Its health is its own: nobody waits for it but a CA.
    pub acme_pool: Option<Pool>,
    /// What the data plane built from it.
    pub attached: Attached,
}

impl Route {
    /// A route with fresh pools. See [`Route::take_over`] for one that replaces another.
    pub fn new(id: RouteId, account: AccountId, domain: Domain, mode: Mode, settings: RouteSettings) -> Self {
        let pool = Pool::new(&settings.origins);
        let path_pools = settings.paths.iter().map(|path| Pool::new(&path.origins)).collect();
        let acme_pool = (mode == Mode::Passthrough).then(|| Pool::new(&settings.acme_origins()));
        Self {
            id,
            account,
            text: domain.to_string().into(),
            domain,
            mode,
            settings: Arc::new(settings),
            pool,
            path_pools,
            acme_pool,
            attached: Attached::default(),
        }
    }

    /// Goes on with what `old` learned of origins that both have, so that an edit does not forget who is down. What checks
    /// found goes with them: nobody would look again.
    pub fn take_over(&mut self, old: &Self) {
        self.pool.take_over(&old.pool);
        for pool in &mut self.path_pools {
            old.path_pools.iter().for_each(|old| pool.take_over(old));
        }
        if self.settings.check.every.is_none() {
            self.pools().flat_map(Pool::origins).for_each(|origin| origin.health.unchecked());
        }
    }

    /// The origins for a canonical path: those of the longest prefix that fits, else the route's own.
    pub fn pool_for(&self, fits: impl Fn(&str) -> bool) -> &Pool {
        let fitting = self.settings.paths.iter().zip(&self.path_pools).filter(|(path, _)| fits(&path.prefix));
        fitting.max_by_key(|(path, _)| path.prefix.trim_end_matches('/').len()).map_or(&self.pool, |(_, pool)| pool)
    }

    /// Whether a request goes no further than a 308 to https. Where TLS is passed through nothing is forwarded in the clear.
    pub fn sends_to_https(&self, secure: bool) -> bool {
        !secure && (self.mode == Mode::Passthrough || self.settings.actions.on_http == OnHttp::Redirect)
    }

    /// What requests meet while the maintenance page is shown.
    pub fn under_maintenance(&self) -> Failure {
        let domain = &self.domain;
        let said = format_args!(
            "the route {domain} shows its maintenance page; the app is back with: moorgate route set {domain} --no-maintenance"
        );
        Failure::new(Code::Maintenance, said)
    }

    /// Every pool of the route.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.pool).chain(&self.path_pools)
    }
}

#[cfg(test)]
mod tests;
