//! Routes and certificates as callers give them and are shown them. These are the API's JSON.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use moorgate_contract::{
    balance::Standing,
    route::{
        Check, ClientRules, HeaderEdits, HostFor, Maintenance, Mode, OnHttp, OriginSpec, OriginUrl, PathOrigins,
        PathRedirect, ProxyVersion,
    },
    time::Timestamp,
};
use moorgate_dns::check::Finding;
use serde::{Deserialize, Serialize};

use crate::{
    secret::Password,
    views::{ExplainStep, RefusalView, given},
};

/// What to set of a route; `None` leaves a thing as it is (a new route's at its default), and each thing is replaced as
/// a whole. A doubly optional one is taken away by `null`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteChange {
    /// Where it goes.
    pub origins: Option<Vec<OriginSpec>>,
    /// Path prefixes that go elsewhere.
    pub paths: Option<Vec<PathOrigins>>,
    /// The PROXY protocol toward origins.
    #[serde(deserialize_with = "given")]
    pub proxy_protocol: Option<Option<ProxyVersion>>,
    /// CA certificates (PEM) that alone are trusted for `https://` origins.
    #[serde(deserialize_with = "given")]
    pub origin_ca: Option<Option<String>>,
    /// The Host that origins get.
    pub origin_host: Option<HostFor>,
    /// Where a CA's challenges on port 80 go (passthrough); `null`: to port 80 of the origins.
    #[serde(deserialize_with = "given")]
    pub acme_origin: Option<Option<OriginUrl>>,
    /// Whether the CA is to issue a certificate with an RSA key too (terminate).
    pub rsa: Option<bool>,
    /// Health checks.
    pub check: Option<Check>,
    /// Which client addresses may come.
    pub clients: Option<ClientRules>,
    /// What plain HTTP gets.
    pub on_http: Option<OnHttp>,
    /// A page in place of the app.
    #[serde(deserialize_with = "given")]
    pub maintenance: Option<Option<Maintenance>>,
    /// Paths that have moved.
    pub redirects: Option<Vec<PathRedirect>>,
    /// Who may come, by HTTP Basic.
    pub basic_auth: Option<Vec<NewBasicUser>>,
    /// The most bytes of a request's body.
    #[serde(deserialize_with = "given")]
    pub max_body: Option<Option<u64>>,
    /// Edits of the request's header fields.
    pub request_headers: Option<HeaderChange>,
    /// Edits of the response's header fields.
    pub response_headers: Option<HeaderChange>,
}

impl RouteChange {
    /// What a new route is set to where nothing is said.
    pub(crate) fn of_new() -> Self {
        let edits = || Some(HeaderChange { remove: Some(Vec::new()), set: None });
        Self {
            paths: Some(Vec::new()),
            origin_host: Some(HostFor::default()),
            check: Some(Check::default()),
            clients: Some(ClientRules::default()),
            on_http: Some(OnHttp::default()),
            redirects: Some(Vec::new()),
            request_headers: edits(),
            response_headers: Some(HeaderChange { remove: Some(Vec::new()), set: Some(Vec::new()) }),
            ..Self::default()
        }
    }
}

/// A change of header edits: each list that is given replaces the one there was. What is set may be a secret that nobody
/// is shown again, so it must not go with a change of the other list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderChange {
    /// Names of fields to take away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<Vec<String>>,
    /// Fields to put in the place of all of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<Vec<NewHeaderField>>,
}

/// A header field that is to be set. Its value may be a secret of the app's, so it is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewHeaderField {
    /// Its name.
    pub name: String,
    /// Its value; left out: the one that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl fmt::Debug for NewHeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

/// Somebody who is to be let in by HTTP Basic. The password is kept as a keyed hash and never shown again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBasicUser {
    /// Without a colon.
    pub username: String,
    /// Not empty; left out: the one that they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// Whether a route is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteState {
    /// It is.
    Active,
    /// Not yet: its DNS is not here.
    Pending,
    /// Not any more: its DNS was not here for too long.
    Released,
    /// It can't be; `problem` says why.
    Failed,
}

/// What is known of a domain's DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsState {
    /// Nobody asked: the route was made where no zone was configured. It is served.
    #[default]
    Unchecked,
    /// It is not here yet, and the route is not served.
    Pending,
    /// It is here, and proves whose the domain is.
    Seen,
    /// It proved that once and is not here (any more). The route is served until it is released.
    Missing,
    /// It was not here for too long: the route is not served, and others may claim the domain.
    Released,
}

impl DnsState {
    /// `unchecked`, `pending`, `seen`, `missing` or `released`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Pending => "pending",
            Self::Seen => "seen",
            Self::Missing => "missing",
            Self::Released => "released",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Unchecked, Self::Pending, Self::Seen, Self::Missing, Self::Released]
            .into_iter()
            .find(|it| it.name() == name)
    }

    /// Whether a route is served in it.
    pub(crate) fn serves(self) -> bool {
        !matches!(self, Self::Pending | Self::Released)
    }
}

/// A route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    /// Its public name.
    pub domain: String,
    /// Whose it is.
    pub account: String,
    /// How it is served.
    pub mode: Mode,
    /// Whether it is served.
    pub state: RouteState,
    /// Why not.
    pub problem: Option<String>,
    /// The name that the domain's DNS is to point at; `None` where no zone is configured.
    pub cname: Option<String>,
    /// What is known of the domain's DNS; `None` where no zone is configured.
    pub dns: Option<DnsState>,
    /// Since when.
    pub dns_since: Option<Timestamp>,
    /// When it was made.
    pub created: Timestamp,
    /// Where it goes.
    pub origins: Vec<OriginView>,
    /// Path prefixes that go elsewhere.
    pub paths: Vec<PathView>,
    /// The PROXY protocol toward origins.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How many CA certificates are named for origins; `None`: the system's are trusted.
    pub origin_ca: Option<usize>,
    /// The Host that origins get.
    pub origin_host: HostFor,
    /// Where a CA's challenges on port 80 go (passthrough); `None`: to port 80 of the origins.
    pub acme_origin: Option<OriginUrl>,
    /// Whether the CA is to issue a certificate with an RSA key too (terminate).
    pub rsa: bool,
    /// Health checks.
    pub check: Check,
    /// What is done to requests and responses.
    pub actions: ActionsView,
    /// What clients are shown (terminate).
    pub certificate: Option<ShownCertificate>,
}

/// What was found in the DNS of a route's domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteCheck {
    /// The route's domain.
    pub domain: String,
    /// Whether it is served, after what was seen.
    pub state: RouteState,
    /// The name that the domain is to point at.
    pub target: String,
    /// What is known of the domain's DNS.
    pub dns: DnsState,
    /// Since when.
    pub dns_since: Timestamp,
    /// The most important first.
    pub findings: Vec<Finding>,
    /// What each server said.
    pub seen: Vec<SeenBy>,
}

/// What one server said of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenBy {
    /// A resolver by its address, or a server of the domain's zone by its name.
    pub by: String,
    /// In a few words.
    pub says: String,
}

/// An origin of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginView {
    /// Where to.
    pub url: String,
    /// Its share beside the others'.
    pub weight: u16,
    /// `up`, `ejected` (failed several times in a row) or `down` (its checks fail).
    pub standing: StandingView,
    /// Connections and exchanges that are open.
    pub open: usize,
}

/// How an origin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StandingView {
    /// Gets traffic.
    Up,
    /// Is left alone for a while.
    Ejected,
    /// Its checks fail.
    Down,
}

impl StandingView {
    /// `up`, `ejected` or `down`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ejected => "ejected",
            Self::Down => "down",
        }
    }
}

impl From<Standing> for StandingView {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Up => Self::Up,
            Standing::Ejected => Self::Ejected,
            Standing::Down => Self::Down,
        }
    }
}

/// A part of a route's paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathView {
    /// Whole segments.
    pub prefix: String,
    /// Where these go.
    pub origins: Vec<OriginView>,
}

/// A route's actions, without what is secret in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionsView {
    /// Which client addresses may come.
    pub clients: ClientRules,
    /// What plain HTTP gets.
    pub on_http: OnHttp,
    /// A page in place of the app.
    pub maintenance: Option<Maintenance>,
    /// Paths that have moved.
    pub redirects: Vec<PathRedirect>,
    /// Who may come, by name.
    pub basic_auth: Vec<String>,
    /// The most bytes of a request's body.
    pub max_body: Option<u64>,
    /// Request fields that are removed, and those that are set, by name: their values may be secrets.
    pub request_headers: HeaderNames,
    /// Edits of the response's header fields.
    pub response_headers: HeaderEdits,
}

/// Header edits without values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderNames {
    /// Removed.
    pub remove: Vec<String>,
    /// Set.
    pub set: Vec<String>,
}

/// The certificate that a route's clients are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCertificate {
    /// Who signed it; `local CA` where none was added.
    pub issuer: String,
    /// When it ends; `None` for the local CA's, which is renewed by itself.
    pub not_after: Option<Timestamp>,
}

/// Where a certificate is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateSource {
    /// Somebody has added it.
    Added,
    /// The CA has issued it, and it is renewed by itself.
    Issued,
    /// The CA is asked, and there is none yet: the local CA's is shown.
    Ordered,
}

/// A domain's certificate, added or issued, or on its way. Its key is never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// Which domain's route shows it.
    pub domain: String,
    /// Whose it is.
    pub account: String,
    /// Where it is from.
    pub source: CertificateSource,
    /// Who signed it.
    pub issuer: String,
    /// What it is for.
    pub names: Vec<String>,
    /// From when on it holds; `None`: there is none yet.
    pub not_before: Option<Timestamp>,
    /// When it ends.
    pub not_after: Option<Timestamp>,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// The kind of its key, such as `ECDSA P-256`.
    pub key: String,
    /// SHA-256 of the one with an RSA key that is shown to clients without ECDSA, hexadecimal; `None`: there is none.
    pub rsa_fingerprint: Option<String>,
    /// When it is renewed, or ordered again; `None`: now, or never where it was added.
    pub renew_at: Option<Timestamp>,
    /// Why it can't be shown, or why the last order failed.
    pub last_error: Option<String>,
}

/// What a client of a domain would meet, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteExplanation {
    /// As asked.
    pub domain: String,
    /// The route that serves it.
    pub route: Option<String>,
    /// Whose it is.
    pub account: Option<String>,
    /// How it is served.
    pub mode: Option<Mode>,
    /// Each check in order.
    pub steps: Vec<ExplainStep>,
    /// Where it could go, in no order.
    pub origins: Vec<OriginExplanation>,
    /// What the gateway itself would answer, instead of an origin.
    pub answer: Option<String>,
    /// The refusal, if it is refused.
    pub refusal: Option<RefusalView>,
}

/// What a connection to an origin would meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginExplanation {
    /// Where to.
    pub url: String,
    /// The path prefix that it serves; `None`: everything else.
    pub prefix: Option<String>,
    /// How it is.
    pub standing: StandingView,
    /// The addresses that may be dialled.
    pub admitted: Vec<SocketAddr>,
    /// The addresses it would be reached from; empty: the kernel chooses.
    pub egress: Vec<IpAddr>,
    /// Why it can't be reached.
    pub refusal: Option<RefusalView>,
}
