//! The failure table: every way we say no or fail, with its one code and how that is said on each wire.
//!
//! A new failure is one row here; without it nothing compiles.

pub mod table;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use moorgate_wire::{
    host::{Asked, NotCanonical},
    socks5::Reply,
    visible::visible,
};
use serde::{Deserialize, Serialize};

use crate::rules::Rules;

/// How a failure is said over SOCKS5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocksAnswer {
    /// A reply to the request (RFC 1928 §6).
    Reply(Reply),
    /// No acceptable method, or the failure status of RFC 1929.
    AuthFailure,
    /// The connection is closed without an answer.
    Close,
}

/// How a failure is said to an inbound client. `None` in a row: it can't happen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboundAnswer {
    /// An HTTP status where we speak HTTP with the client; elsewhere close.
    Http(u16),
    /// A TLS alert description (RFC 8446 §6), or this HTTP status where no TLS is spoken.
    Alert(u8, u16),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The one code: in Proxy-Status, body line, flow, metric and log.
    pub code: &'static str,
    /// Status toward clients of the HTTP proxies.
    pub http: u16,
    /// Answer toward SOCKS5 clients.
    pub socks: SocksAnswer,
    /// Answer toward inbound clients.
    pub inbound: Option<InboundAnswer>,
    /// The registered error type of RFC 9209 §2.3 that comes nearest.
    pub proxy_status: &'static str,
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $http:literal, $socks:expr, $inbound:expr, $proxy_status:literal;)*) => {
        /// Every failure there is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// How this failure is said on each wire.
            pub fn row(self) -> Row {
                match self {
                    $(Self::$name => Row { code: $code, http: $http, socks: $socks, inbound: $inbound, proxy_status: $proxy_status },)*
                }
            }
        }
    };
}

use InboundAnswer::{Alert, Http};
use SocksAnswer::{AuthFailure, Close, Reply as Say};

/// TLS alert `unrecognized_name` (RFC 6066 §3).
pub const UNRECOGNIZED_NAME: u8 = 112;
/// TLS alert `decode_error` (RFC 8446 §6.2).
pub const DECODE_ERROR: u8 = 50;

table! {
    /// No credentials were given.
    CredentialsMissing = "credentials_missing", 407, AuthFailure, None, "http_request_denied";
    /// No such credential, or a wrong password, or one that has been revoked or has expired.
    CredentialsWrong = "credentials_wrong", 407, AuthFailure, None, "http_request_denied";
    /// The account's policy says no.
    PolicyDenied = "policy_denied", 403, Say(Reply::NotAllowed), None, "http_request_denied";
    /// Every address of the destination is one that nobody may reach through us.
    GuardDenied = "guard_denied", 403, Say(Reply::NotAllowed), Some(Http(502)), "destination_ip_prohibited";
    /// The host is not written in canonical form.
    HostNotCanonical = "host_not_canonical", 400, Say(Reply::GeneralFailure), Some(Http(400)), "http_request_error";
    /// The name does not resolve.
    NameNotResolved = "name_not_resolved", 502, Say(Reply::HostUnreachable), Some(Http(502)), "dns_error";
    /// The name has no address of a family that the account's egress pair has.
    NoAddressOfFamily = "no_address_of_family", 502, Say(Reply::HostUnreachable), Some(Http(502)), "destination_ip_unroutable";
    /// The target answered with RST.
    ConnectionRefused = "connection_refused", 502, Say(Reply::ConnectionRefused), Some(Http(502)), "connection_refused";
    /// No route to the target's network.
    NetworkUnreachable = "network_unreachable", 502, Say(Reply::NetworkUnreachable), Some(Http(502)), "destination_ip_unroutable";
    /// No route to the target itself.
    HostUnreachable = "host_unreachable", 502, Say(Reply::HostUnreachable), Some(Http(502)), "destination_unavailable";
    /// The target did not answer in time.
    ConnectTimeout = "connect_timeout", 504, Say(Reply::TtlExpired), Some(Http(504)), "connection_timeout";
    /// The target closed or broke the exchange before its response was whole.
    ResponseIncomplete = "response_incomplete", 502, Say(Reply::GeneralFailure), Some(Http(502)), "http_response_incomplete";
    /// The target's response is not HTTP.
    ResponseMalformed = "response_malformed", 502, Say(Reply::GeneralFailure), Some(Http(502)), "http_protocol_error";
    /// The target took the request and did not begin to answer in time.
    ResponseTimeout = "response_timeout", 504, Say(Reply::TtlExpired), Some(Http(504)), "http_response_timeout";
    /// No egress address of the pair is present.
    NoEgressLeft = "no_egress_left", 503, Say(Reply::GeneralFailure), Some(Http(503)), "proxy_internal_error";
    /// Every source port toward that destination is in use.
    PortsExhausted = "ports_exhausted", 503, Say(Reply::GeneralFailure), Some(Http(503)), "connection_limit_reached";
    /// A quota or rate limit is used up.
    QuotaSpent = "quota_spent", 429, Say(Reply::NotAllowed), Some(Http(429)), "http_request_denied";
    /// No route has this domain, or no domain was named.
    DomainUnknown = "domain_unknown", 421, Close, Some(Alert(UNRECOGNIZED_NAME, 421)), "http_request_denied";
    /// Server name and Host or `:authority` disagree.
    NameMismatch = "name_mismatch", 421, Close, Some(Http(421)), "http_request_denied";
    /// Request target and Host name different hosts.
    HostMismatch = "host_mismatch", 400, Close, Some(Http(400)), "http_request_error";
    /// The route lets this client address not in, or the credential is not for it.
    ClientDenied = "client_denied", 403, AuthFailure, Some(Http(403)), "http_request_denied";
    /// The route wants a username and password (HTTP Basic).
    Unauthorized = "unauthorized", 401, Close, Some(Http(401)), "http_request_denied";
    /// The request's body is longer than the route takes.
    BodyTooLarge = "body_too_large", 413, Close, Some(Http(413)), "http_request_denied";
    /// The route shows its maintenance page.
    Maintenance = "maintenance", 503, Close, Some(Http(503)), "http_request_denied";
    /// The head, or the framing of a body, is malformed.
    Malformed = "malformed", 400, Close, Some(Alert(DECODE_ERROR, 400)), "http_request_error";
    /// The request is well-formed and nothing that a proxy does.
    NotSupported = "not_supported", 400, Say(Reply::CommandNotSupported), Some(Http(400)), "http_request_error";
    /// SOCKS5: an address type that RFC 1928 does not know.
    AddressTypeNotSupported = "address_type_not_supported", 400, Say(Reply::AddressTypeNotSupported), None, "http_request_error";
    /// The TLS handshake failed.
    HandshakeFailed = "handshake_failed", 400, Close, Some(Alert(DECODE_ERROR, 400)), "tls_protocol_error";
    /// The head (or the handshake before it) did not arrive in time.
    HeadTooSlow = "head_too_slow", 408, Close, Some(Http(408)), "connection_read_timeout";
    /// The head is longer than we read.
    HeadTooLong = "head_too_long", 431, Close, Some(Http(431)), "http_request_error";
    /// The body made no progress.
    BodyTooSlow = "body_too_slow", 408, Close, Some(Http(408)), "connection_read_timeout";
    /// The gateway has as many connections as it may have.
    Full = "full", 503, Say(Reply::GeneralFailure), Some(Http(503)), "connection_limit_reached";
    /// The gateway is going down.
    Draining = "draining", 503, Say(Reply::GeneralFailure), Some(Http(503)), "connection_limit_reached";
    /// The origin's certificate can't be trusted.
    OriginUntrusted = "origin_untrusted", 502, Close, Some(Http(502)), "tls_certificate_error";
    /// The TLS handshake with the origin failed.
    OriginHandshakeFailed = "origin_handshake_failed", 502, Close, Some(Http(502)), "tls_protocol_error";
    /// The way leads back to a listener of ours.
    Loop = "loop", 508, Say(Reply::NotAllowed), Some(Http(508)), "proxy_loop_detected";
    /// Something of ours failed.
    Internal = "internal", 500, Say(Reply::GeneralFailure), Some(Http(500)), "proxy_internal_error";
}

impl Code {
    /// Whether we said no, by a rule or a limit or because of how it was asked; else something broke or did not come.
    pub fn is_decision(self) -> bool {
        match self {
            Self::CredentialsMissing
            | Self::CredentialsWrong
            | Self::PolicyDenied
            | Self::GuardDenied
            | Self::HostNotCanonical
            | Self::QuotaSpent
            | Self::DomainUnknown
            | Self::NameMismatch
            | Self::HostMismatch
            | Self::ClientDenied
            | Self::Unauthorized
            | Self::BodyTooLarge
            | Self::Maintenance
            | Self::Malformed
            | Self::NotSupported
            | Self::AddressTypeNotSupported
            | Self::HeadTooLong
            | Self::Full
            | Self::Draining
            | Self::Loop => true,
            Self::NameNotResolved
            | Self::NoAddressOfFamily
            | Self::ConnectionRefused
            | Self::NetworkUnreachable
            | Self::HostUnreachable
            | Self::ConnectTimeout
            | Self::ResponseIncomplete
            | Self::ResponseMalformed
            | Self::ResponseTimeout
            | Self::NoEgressLeft
            | Self::PortsExhausted
            | Self::HandshakeFailed
            | Self::HeadTooSlow
            | Self::BodyTooSlow
            | Self::OriginUntrusted
            | Self::OriginHandshakeFailed
            | Self::Internal => false,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().code)
    }
}

/// One failure: its code, and one line for a person that says what failed, on what, and what to do.
///
/// The line holds nothing secret and no control byte of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which row of the table.
    pub code: Code,
    /// The line.
    pub said: Box<str>,
    /// Whole seconds after which it is worth another try, at least 1; `None`: nobody knows.
    pub retry_after: Option<u32>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.said)
    }
}

impl std::error::Error for Failure {}

/// Refusals that need words of their own. The others are said by [`Failure::new`].
impl Failure {
    /// A failure with its line.
    pub fn new(code: Code, said: impl fmt::Display) -> Self {
        Self { code, said: said.to_string().into(), retry_after: None }
    }

    /// The same, worth another try after `wait`: rounded up to whole seconds, so that nobody comes too early.
    #[must_use]
    pub fn to_be_tried_after(self, wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
        Self { retry_after: Some(seconds.max(1)), ..self }
    }

    pub(crate) fn credentials_missing() -> Self {
        Self::new(Code::CredentialsMissing, "this proxy wants a username and password; put both into the proxy URL")
    }

    pub(crate) fn credentials_wrong(username: &str) -> Self {
        Self::new(
            Code::CredentialsWrong,
            format_args!("no credential \"{}\" with that password; check the proxy URL", visible(username)),
        )
    }

    pub(crate) fn credential_expired(username: &str) -> Self {
        Self::new(
            Code::CredentialsWrong,
            format_args!(
                "the credential \"{}\" has expired; ask whoever gave it to you for a new one",
                visible(username)
            ),
        )
    }

    pub(crate) fn not_for_client(username: &str, client: IpAddr) -> Self {
        Self::new(
            Code::ClientDenied,
            format_args!(
                "the credential \"{}\" is not for {client}; use it from an address that it is for, or have this one added",
                visible(username)
            ),
        )
    }

    pub(crate) fn not_canonical(why: &NotCanonical) -> Self {
        Self::new(Code::HostNotCanonical, why)
    }

    pub(crate) fn denied_by_rule(number: u32, rules: &Rules<'_>, rule: impl fmt::Display) -> Self {
        Self::new(
            Code::PolicyDenied,
            format_args!("denied by policy rule {number} of {rules} ({rule}); its rules: {}", rules.shown()),
        )
    }

    pub(crate) fn no_rule_allows(rules: &Rules<'_>, asked: &Asked) -> Self {
        Self::new(
            Code::PolicyDenied,
            format_args!("no allow rule of {rules} matches {}; its rules: {}", visible(asked.text()), rules.shown()),
        )
    }

    pub(crate) fn port_needs_rule(rules: &Rules<'_>, port: u16) -> Self {
        Self::new(
            Code::PolicyDenied,
            format_args!(
                "port {port} is closed unless an allow rule of {rules} names it, as HOST:{port} ({})",
                rules.shown()
            ),
        )
    }

    /// No address of an account's pair is present.
    pub fn no_egress_left(account: &str) -> Self {
        Self::new(
            Code::NoEgressLeft,
            format_args!(
                "no egress address of account {account} is present on this gateway; its operator must bring one back"
            ),
        )
    }

    pub(crate) fn guarded(asked: &Asked, address: IpAddr, class: &str) -> Self {
        let led = led(asked, address, address);
        Self::new(
            Code::GuardDenied,
            format_args!(
                "{led} {class}, which nobody may reach through this gateway; \
                 an operator can allow it with [egress] allow_private_destinations"
            ),
        )
    }

    /// What no setting opens.
    pub(crate) fn kept(asked: &Asked, address: SocketAddr, class: &str) -> Self {
        let led = led(asked, address.ip(), address);
        Self::new(
            Code::GuardDenied,
            format_args!("{led} {class}, which nobody may reach through a gateway; no setting opens it"),
        )
    }

    pub(crate) fn own_listener(asked: &Asked) -> Self {
        Self::new(Code::Loop, format_args!("{} leads back to this gateway itself", visible(asked.text())))
    }

    pub(crate) fn no_family(asked: &Asked, have: &str, want: &str) -> Self {
        Self::new(
            Code::NoAddressOfFamily,
            format_args!(
                "{} has only {want} addresses and this account's egress addresses are {have}",
                visible(asked.text())
            ),
        )
    }
}

/// `shown` as what was asked for, or what it came to.
fn led(asked: &Asked, address: IpAddr, shown: impl fmt::Display) -> String {
    match &asked.host {
        Ok(host) if host.ip() == Some(address) => format!("{shown} is"),
        _ => format!("{} leads to {shown},", visible(asked.text())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_said_no_to_and_what_broke_share_no_code() {
        let (decisions, broken): (Vec<_>, Vec<_>) = Code::ALL.iter().partition(|code| code.is_decision());
        assert_eq!((decisions.len(), broken.len()), (20, 17));
        // What a target or the network does is never a decision of ours.
        let of_targets = |code: &&Code| matches!(code.row().http, 502 | 504);
        assert!(!decisions.iter().any(of_targets), "{decisions:?}");
        assert!(
            broken.iter().all(|code| matches!(code.row().http, 408 | 500..=504) || **code == Code::HandshakeFailed)
        );
    }
}
