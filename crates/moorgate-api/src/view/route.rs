//! Routes and certificates as the API writes them. What is set and what is shown of a route have the same names.

use std::net::{IpAddr, SocketAddr};

use moorgate_contract::route::{
    Check, ClientRules, HeaderEdits, HostFor, Maintenance, Mode, OnHttp, OriginSpec, OriginUrl, PathOrigins,
    PathRedirect, ProxyVersion,
};
use moorgate_control::{
    self as control, CertificateSource, DnsRecord, DnsState, Finding, HeaderChange, HeaderNames, Level, NewBasicUser,
    RouteChange, RouteCheck, RouteState, RouteView, StandingView,
};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use utoipa::ToSchema;

use super::{ExplainedStep, Refusal, Time, given};

/// A route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// Its public name: a domain, or `*.` and a domain.
    pub domain: String,
    /// Whose it is.
    pub account: String,
    /// `terminate` (TLS ends at the gateway) or `passthrough` (the origin keeps its key).
    #[schema(value_type = String)]
    pub mode: Mode,
    /// `active`; `pending` until its DNS is here; `released` when that was not here for too long; or `failed` for what
    /// `problem` says.
    #[schema(value_type = String)]
    pub state: RouteState,
    /// Why it can't be served.
    pub problem: Option<String>,
    /// The name that the domain's DNS is to point at; none where no zone is configured.
    pub cname: Option<String>,
    /// What is known of the domain's DNS: `unchecked` (the route is older than the zone), `pending` (not here yet), `seen`,
    /// `missing` (not here any more, and served until it is released) or `released`; none where no zone is configured.
    #[schema(value_type = Option<String>)]
    pub dns: Option<DnsState>,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub dns_since: Option<Time>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// Where it goes.
    pub origins: Vec<RouteOrigin>,
    /// Path prefixes that go elsewhere; the longest that fits wins.
    pub paths: Vec<RoutePath>,
    /// `v1` or `v2` of the PROXY protocol toward origins; none: it is not spoken.
    #[schema(value_type = Option<String>)]
    pub proxy_protocol: Option<ProxyVersion>,
    /// How many CA certificates are trusted for `https://` origins; none: the system's are.
    pub origin_ca: Option<usize>,
    /// Whether origins get the `client`'s Host or the `origin`'s own.
    #[schema(value_type = String)]
    pub origin_host: HostFor,
    /// Where a CA's challenges on port 80 go (passthrough): an `http://` URL; none: to port 80 of the origins.
    #[schema(value_type = Option<String>)]
    pub acme_origin: Option<OriginUrl>,
    /// Whether the CA is to issue a certificate with an RSA key too, for clients that know no ECDSA (terminate).
    pub rsa: bool,
    /// Health checks: `every` so many seconds, of a `path` or (without one) by a TCP connection.
    #[schema(value_type = Object)]
    pub check: Check,
    /// Which client addresses may come: `allow` and `deny`, lists of CIDRs; deny wins.
    #[schema(value_type = Object)]
    pub clients: ClientRules,
    /// What plain HTTP gets: `redirect` to https, or `forward`.
    #[schema(value_type = String)]
    pub on_http: OnHttp,
    /// The `page` in place of the app, with what Retry-After says (`retry_after`, in seconds).
    #[schema(value_type = Option<Object>)]
    pub maintenance: Option<Maintenance>,
    /// Paths that have moved: `from`, `to`, `status`.
    #[schema(value_type = Vec<Object>)]
    pub redirects: Vec<PathRedirect>,
    /// The usernames that may come, by HTTP Basic; none: nobody is asked.
    pub basic_auth: Vec<String>,
    /// The most bytes of a request's body.
    pub max_body: Option<u64>,
    /// Names of the request's header fields that are taken away (`remove`) and put (`set`). Values may be secrets, so
    /// they are not shown.
    #[schema(value_type = Object)]
    pub request_headers: HeaderNames,
    /// The response's header fields that are taken away (`remove`) and put (`set`: `name`, `value`).
    #[schema(value_type = Object)]
    pub response_headers: HeaderEdits,
    /// What clients are shown; none for passthrough, where that is the origin's own.
    pub certificate: Option<RouteCertificate>,
}

/// A server behind a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteOrigin {
    /// The forwarding URL.
    pub url: String,
    /// Its share beside the others'.
    pub weight: u16,
    /// `up`; `ejected`: left alone for a while, having failed several times in a row; or `down`: its checks fail.
    #[schema(value_type = String)]
    pub standing: StandingView,
    /// Connections and exchanges that are open there.
    pub open: usize,
}

/// A part of a route's paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoutePath {
    /// Whole segments: `/api` is also what is below it, not `/apix`.
    pub prefix: String,
    /// Where these go.
    pub origins: Vec<RouteOrigin>,
}

/// The certificate that clients of a route are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteCertificate {
    /// Who signed it; `local CA` where none was added.
    pub issuer: String,
    /// When it ends; none for the local CA's, which is renewed by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_after: Option<Time>,
}

/// Who signed the certificate of a route that has none of its own.
pub const LOCAL_CA: &str = "local CA";

impl From<RouteView> for Route {
    fn from(route: RouteView) -> Self {
        let actions = route.actions;
        Self {
            domain: route.domain,
            account: route.account,
            mode: route.mode,
            state: route.state,
            problem: route.problem,
            cname: route.cname,
            dns: route.dns,
            dns_since: route.dns_since.map(Time),
            created: Time(route.created),
            origins: origins(route.origins),
            paths: route
                .paths
                .into_iter()
                .map(|path| RoutePath { prefix: path.prefix, origins: origins(path.origins) })
                .collect(),
            proxy_protocol: route.proxy_protocol,
            origin_ca: route.origin_ca,
            origin_host: route.origin_host,
            acme_origin: route.acme_origin,
            rsa: route.rsa,
            check: route.check,
            clients: actions.clients,
            on_http: actions.on_http,
            maintenance: actions.maintenance,
            redirects: actions.redirects,
            basic_auth: actions.basic_auth,
            max_body: actions.max_body,
            request_headers: actions.request_headers,
            response_headers: actions.response_headers,
            certificate: route
                .certificate
                .map(|shown| RouteCertificate { issuer: shown.issuer, not_after: shown.not_after.map(Time) }),
        }
    }
}

fn origins(origins: Vec<control::OriginView>) -> Vec<RouteOrigin> {
    let view = |origin: control::OriginView| RouteOrigin {
        url: origin.url,
        weight: origin.weight,
        standing: origin.standing,
        open: origin.open,
    };
    origins.into_iter().map(view).collect()
}

/// What changes about a route. What is left out stays as it is (a new route's at its default); what is given is replaced
/// as a whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeRoute {
    /// Where it goes: `url` and `weight` (1 to 1,000; 1 unless said). At least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub origins: Option<Vec<OriginSpec>>,
    /// Path prefixes that go elsewhere: `prefix` and `origins`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub paths: Option<Vec<PathOrigins>>,
    /// `v1` or `v2` of the PROXY protocol toward origins; null: none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub proxy_protocol: Option<Option<ProxyVersion>>,
    /// CA certificates (PEM) that alone are trusted for `https://` origins; null: the system's.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub origin_ca: Option<Option<String>>,
    /// The Host that origins get: the `client`'s or the `origin`'s own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub origin_host: Option<HostFor>,
    /// Where a CA's challenges on port 80 go (passthrough): an `http://` URL; `null`: to port 80 of the origins.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub acme_origin: Option<Option<OriginUrl>>,
    /// Whether the CA is to issue a certificate with an RSA key too, for clients that know no ECDSA (terminate).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsa: Option<bool>,
    /// Health checks: `every` so many seconds, of a `path` or (without one) by a TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub check: Option<Check>,
    /// Which client addresses may come: `allow` and `deny`, lists of CIDRs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub clients: Option<ClientRules>,
    /// What plain HTTP gets: `redirect` to https, or `forward`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub on_http: Option<OnHttp>,
    /// A `page` in place of the app, and `retry_after` in seconds; null: the app.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    pub maintenance: Option<Option<Maintenance>>,
    /// Paths that have moved: `from`, `to`, `status` (308 unless said).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub redirects: Option<Vec<PathRedirect>>,
    /// Who may come, by HTTP Basic: `username` and `password`, which is never shown again; left
    /// out, it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub basic_auth: Option<Vec<NewBasicUser>>,
    /// The most bytes of a request's body; null: no bound.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<u64>)]
    pub max_body: Option<Option<u64>>,
    /// The request's header fields: names to `remove`, then those to `set` (`name`, `value`; a value that is left out
    /// stays). Either list may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub request_headers: Option<HeaderChange>,
    /// The response's header fields: names to `remove`, then those to `set` (`name`, `value`; a value that is left out
    /// stays). Either list may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub response_headers: Option<HeaderChange>,
}

/// Tells `null` from a field that is not there.
impl From<ChangeRoute> for RouteChange {
    fn from(change: ChangeRoute) -> Self {
        Self {
            origins: change.origins,
            paths: change.paths,
            proxy_protocol: change.proxy_protocol,
            origin_ca: change.origin_ca,
            acme_origin: change.acme_origin,
            rsa: change.rsa,
            origin_host: change.origin_host,
            check: change.check,
            clients: change.clients,
            on_http: change.on_http,
            maintenance: change.maintenance,
            redirects: change.redirects,
            basic_auth: change.basic_auth,
            max_body: change.max_body,
            request_headers: change.request_headers,
            response_headers: change.response_headers,
        }
    }
}

/// A new route.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AddRoute {
    /// A domain, or `*.` and a domain: exactly one label before it.
    pub domain: String,
    /// `terminate` or `passthrough`.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// Whose it will be. May be left out where there is one account only; an account's token makes its own account's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Its settings, beside the rest.
    #[serde(flatten)]
    pub settings: ChangeRoute,
}

// By hand, since serde's `flatten` lets unknown fields pass.
impl<'de> Deserialize<'de> for AddRoute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Split {
            domain: String,
            mode: Mode,
            account: Option<String>,
            #[serde(flatten)]
            settings: serde_json::Map<String, serde_json::Value>,
        }
        let Split { domain, mode, account, settings } = Split::deserialize(deserializer)?;
        let settings = ChangeRoute::deserialize(serde_json::Value::Object(settings)).map_err(D::Error::custom)?;
        Ok(Self { domain, mode, account, settings })
    }
}

/// A domain's certificate: added, issued by the CA, or ordered there. Its key is never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    /// Which domain's route shows it.
    pub domain: String,
    /// Whose it is; empty: the gateways' own.
    pub account: String,
    /// `added` by somebody; `issued` by the CA, and renewed by itself; or `ordered` there, and the local CA's is shown.
    #[schema(value_type = String)]
    pub source: CertificateSource,
    /// Who signed it.
    pub issuer: String,
    /// What it is for.
    pub names: Vec<String>,
    /// From when on it holds; none: there is none yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<Time>,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_after: Option<Time>,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// The kind of its key.
    pub key: String,
    /// SHA-256 of the one with an RSA key that is shown to clients without ECDSA, hexadecimal; none: there is none.
    pub rsa_fingerprint: Option<String>,
    /// When it is renewed, or ordered again; none: now, or never where it was added.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub renew_at: Option<Time>,
    /// Why it can't be shown, or why the last order failed.
    pub last_error: Option<String>,
}

impl From<control::CertificateView> for Certificate {
    fn from(certificate: control::CertificateView) -> Self {
        Self {
            domain: certificate.domain,
            account: certificate.account,
            source: certificate.source,
            issuer: certificate.issuer,
            names: certificate.names,
            not_before: certificate.not_before.map(Time),
            not_after: certificate.not_after.map(Time),
            fingerprint: certificate.fingerprint,
            key: certificate.key,
            rsa_fingerprint: certificate.rsa_fingerprint,
            renew_at: certificate.renew_at.map(Time),
            last_error: certificate.last_error,
        }
    }
}

/// A certificate to add.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCertificate {
    /// The certificate and those that signed it (PEM), as it was issued.
    pub chain: String,
    /// Its private key (PEM). It is sealed, and never shown again.
    pub key: String,
    /// Whose it will be. May be left out where the domain has a route; an account's token adds its own account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

impl std::fmt::Debug for AddCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddCertificate").field("account", &self.account).finish_non_exhaustive()
    }
}

/// What a client of a domain would meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedRoute {
    /// As asked.
    pub domain: String,
    /// Whether it would be let in.
    pub allowed: bool,
    /// The route that serves it.
    pub route: Option<String>,
    /// Whose it is.
    pub account: Option<String>,
    /// How it is served.
    #[schema(value_type = Option<String>)]
    pub mode: Option<Mode>,
    /// Every check, in order.
    pub steps: Vec<ExplainedStep>,
    /// Where it could go, in no order.
    pub origins: Vec<ExplainedOrigin>,
    /// What the gateway itself would answer, instead of an origin.
    pub answer: Option<String>,
    /// Why not.
    pub refusal: Option<Refusal>,
}

/// What a connection to an origin would meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedOrigin {
    /// The forwarding URL.
    pub url: String,
    /// The path prefix that it serves; none: everything else.
    pub prefix: Option<String>,
    /// `up`, `ejected` or `down`.
    #[schema(value_type = String)]
    pub standing: StandingView,
    /// The addresses that may be dialled.
    #[schema(value_type = Vec<String>)]
    pub admitted: Vec<SocketAddr>,
    /// The addresses it would be reached from; none: the kernel chooses.
    #[schema(value_type = Vec<String>)]
    pub egress: Vec<IpAddr>,
    /// Why it can't be reached.
    pub refusal: Option<Refusal>,
}

impl From<control::RouteExplanation> for ExplainedRoute {
    fn from(explanation: control::RouteExplanation) -> Self {
        let refusal = |refusal: control::RefusalView| Refusal { code: refusal.code, said: refusal.said };
        let steps = explanation.steps.into_iter();
        let origins = explanation.origins.into_iter().map(|origin| ExplainedOrigin {
            url: origin.url,
            prefix: origin.prefix,
            standing: origin.standing,
            admitted: origin.admitted,
            egress: origin.egress,
            refusal: origin.refusal.map(refusal),
        });
        Self {
            domain: explanation.domain,
            allowed: explanation.refusal.is_none(),
            route: explanation.route,
            account: explanation.account,
            mode: explanation.mode,
            steps: steps.map(|step| ExplainedStep { check: step.check, found: step.found }).collect(),
            origins: origins.collect(),
            answer: explanation.answer,
            refusal: explanation.refusal.map(refusal),
        }
    }
}

/// What a client of a route's domain finds in DNS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckedRoute {
    /// The route's domain.
    pub domain: String,
    /// Whether it is served, after what was seen: `active`, `pending`, `released` or `failed`.
    #[schema(value_type = String)]
    pub state: RouteState,
    /// The name that the domain is to point at.
    pub cname: String,
    /// What is known of the domain's DNS: `unchecked`, `pending`, `seen`, `missing` or `released`.
    #[schema(value_type = String)]
    pub dns: DnsState,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub dns_since: Time,
    /// The most important first.
    pub findings: Vec<RouteFinding>,
    /// What each server said.
    pub seen: Vec<DnsSeen>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteFinding {
    /// `ok`, `wait` (it comes right by itself), `note` or `problem` (something is to be done).
    #[schema(value_type = String)]
    pub level: Level,
    /// One sentence.
    pub said: String,
    /// What to set.
    pub records: Vec<Record>,
    /// Until when it lasts at most, where that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
}

/// A DNS record. Names are without the dot at their end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// Of which name.
    pub name: String,
    /// Its type, such as `CNAME`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How long others keep it, in seconds; none: as the provider likes.
    pub ttl: Option<u32>,
    /// What it says.
    pub value: String,
}

/// What one server said of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsSeen {
    /// A resolver by its address, or a server of the domain's zone by its name.
    pub by: String,
    /// In a few words.
    pub says: String,
}

impl From<RouteCheck> for CheckedRoute {
    fn from(check: RouteCheck) -> Self {
        let finding = |Finding { level, said, records, until }: Finding| RouteFinding {
            level,
            said,
            records: records.into_iter().map(Record::from).collect(),
            until: until.map(Time),
        };
        Self {
            domain: check.domain,
            state: check.state,
            cname: check.target,
            dns: check.dns,
            dns_since: Time(check.dns_since),
            findings: check.findings.into_iter().map(finding).collect(),
            seen: check.seen.into_iter().map(|seen| DnsSeen { by: seen.by, says: seen.says }).collect(),
        }
    }
}

impl From<DnsRecord> for Record {
    fn from(DnsRecord { name, kind, ttl, value }: DnsRecord) -> Self {
        Self { name, kind, ttl, value }
    }
}

impl From<Record> for DnsRecord {
    fn from(Record { name, kind, ttl, value }: Record) -> Self {
        Self { name, kind, ttl, value }
    }
}
