//! The JSON of the API: what goes over it, both ways. Times are RFC 3339 in UTC.

mod alarm;
mod audit;
mod credential;
mod deployment;
mod evidence;
mod flow;
mod gateway;
mod route;
mod tier;
mod usage;

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use moorgate_contract::{
    failure::Code,
    policy::{Effect, Matcher, Policy, Rule},
    time::Timestamp,
};
use moorgate_control::Level;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

pub use alarm::{AddAlarm, Alarm, AlarmKind, AlarmResult, NewAlarm};
pub use audit::{AuditEntry, AuditVerdict, Who};
pub use credential::{AddCredential, ChangeCredential, Credential, NewCredential, Rotate};
pub use deployment::{AppliedChange, AppliedText, ApplyText, Rewrapped};
pub use evidence::{
    ChangeLog, Evidence, EvidenceCredential, EvidenceRoute, ExposureCount, ExposureEvidence, TlsPolicy,
};
pub use flow::{FlowLine, FlowView};
pub use gateway::GatewayState;
pub use route::{
    AddCertificate, AddRoute, Certificate, ChangeRoute, CheckedRoute, DnsSeen, ExplainedOrigin, ExplainedRoute,
    LOCAL_CA, Record, Route, RouteCertificate, RouteFinding, RouteOrigin, RoutePath,
};
pub use tier::{Quota, Quotas, Spent, Tier};
pub use usage::{UsageQuery, UsageRow};

/// A time as the API writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX).fmt(f)
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp = short(text).parse()?;
        Ok(Self(Timestamp(u64::try_from(time.as_microsecond()).unwrap_or_default())))
    }
}

/// RFC 3339 sets no end to a second's fraction; we read nine digits of it.
fn short(text: &str) -> Cow<'_, str> {
    const DIGITS: usize = 9;
    let Some((before, rest)) = text.split_once('.') else { return text.into() };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    match (rest.get(..DIGITS), rest.get(end..)) {
        (Some(digits), Some(offset)) if end > DIGITS => format!("{before}.{digits}{offset}").into(),
        _ => text.into(),
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            serde::de::Error::custom(format_args!("{text:?} is no time; write one such as 2027-01-31T00:00:00Z"))
        })
    }
}

/// Tells `null` from a field that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What a token may do. `write` includes `read`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Look and change.
    #[default]
    Write,
}

impl Scope {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// The addresses its connections leave from; none: the kernel chooses.
    #[schema(value_type = Vec<String>)]
    pub egress: Vec<IpAddr>,
    /// Whether these addresses were set for this account; else they are the gateway's first two.
    pub egress_is_own: bool,
    /// How many credentials it has.
    pub credentials: usize,
    /// How many rules its policy has.
    pub rules: usize,
    /// How many tunnels and exchanges it has open now.
    pub open: usize,
    /// Whether traffic is served for it: not so when what is stored of it can't be used; the gateway's log says why.
    pub served: bool,
    /// Its tier; none: no quotas.
    pub tier: Option<String>,
    /// What its tier allows, and what it has spent of that this month.
    pub quota: Option<Quota>,
}

/// A new account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddAccount {
    /// Its name: lower-case letters, digits and `-`, at most 63, not beginning with `-`.
    pub name: String,
}

/// What changes about an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeAccount {
    /// One or two of the gateway's egress addresses; empty: the gateway's first two. Left out: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub egress: Option<Vec<IpAddr>>,
    /// Another tier; null: none, and so no quotas. Left out: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub tier: Option<Option<String>>,
}

/// A token of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id; no secret.
    pub id: String,
    /// Whose it is; none: an operator's.
    pub account: Option<String>,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
}

/// A token with its secret, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// Its id; no secret.
    pub id: String,
    /// The bearer token.
    pub token: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A token to make.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddToken {
    /// Whose it will be; none: an operator's.
    #[serde(default)]
    pub account: Option<String>,
    /// What it may do. Left out: `write`.
    #[serde(default)]
    pub scope: Scope,
}

/// One rule of a policy. Its number is its place, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// `allow` or `deny`; deny wins.
    #[schema(value_type = String)]
    pub effect: Effect,
    /// `HOST` or `HOST:PORT`, where HOST is a name, a `*.` wildcard, an address or a CIDR. Without a port: every port but 25.
    #[serde(rename = "match")]
    #[schema(value_type = String)]
    pub matcher: Matcher,
}

/// An account's policy: with any allow rule, what no rule matches is refused, else allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRules {
    /// The rules in order.
    pub rules: Vec<PolicyRule>,
}

impl From<&Policy> for PolicyRules {
    fn from(policy: &Policy) -> Self {
        let rules = policy.rules().iter();
        Self { rules: rules.map(|rule| PolicyRule { effect: rule.effect, matcher: rule.matcher.clone() }).collect() }
    }
}

impl From<PolicyRules> for Policy {
    fn from(policy: PolicyRules) -> Self {
        let rules = policy.rules.into_iter();
        Self::new(rules.map(|rule| Rule { effect: rule.effect, matcher: rule.matcher }).collect())
    }
}

impl PolicyRule {
    /// As text: `deny *.example.com:443`.
    pub fn text(&self) -> String {
        Rule { effect: self.effect, matcher: self.matcher.clone() }.to_string()
    }
}

/// What an edit of a policy did, or (dry run) would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyEdit {
    /// Whether it was done.
    pub applied: bool,
    /// The rules before.
    pub before: PolicyRules,
    /// The rules after.
    pub after: PolicyRules,
    /// In a dry run: how many flows of the last week the new rules were tried on; as far back as they are kept.
    pub replayed: usize,
    /// How many of them were refused then, and depend on rules about addresses that were never looked up.
    pub unjudged: usize,
    /// Whether they are those of the asked gateway alone: the store can't be asked now.
    pub is_partial: bool,
    /// When the oldest of them began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,
    /// Targets of these that were carried, and that the new rules refuse.
    pub refuses: Vec<RefusedTarget>,
    /// Targets of these that the policy refused, and that the new rules let pass; `said` is what was said then.
    pub allows: Vec<RefusedTarget>,
}

/// A target that would be decided on otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedTarget {
    /// As it was asked for, `host:port`.
    pub target: String,
    /// How many flows went there.
    pub flows: usize,
    /// What the client would be told, or was.
    pub said: String,
}

/// An egress address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressAddress {
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Whether the kernel lets us leave from it now.
    pub present: bool,
    /// The accounts that leave from it, of those the token may see.
    pub accounts: Vec<String>,
    /// Source ports that are left toward the destination that takes most of them; none: nothing is open from here.
    pub ports_free: Option<usize>,
    /// How many there are toward one destination.
    pub ports: Option<usize>,
    /// That destination; operators see it.
    #[schema(value_type = Option<String>)]
    pub busiest: Option<SocketAddr>,
}

/// One check on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedStep {
    /// Which check.
    pub check: String,
    /// What it found.
    pub found: String,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// Its code, as in flows, metrics and Proxy-Status.
    #[schema(value_type = String)]
    pub code: Code,
    /// What the client is told.
    pub said: String,
}

/// What traffic would meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// On whose behalf.
    pub account: String,
    /// Where to, `host:port`.
    pub target: String,
    /// Whether it would be carried, as far as it was judged (see `unjudged`).
    pub allowed: bool,
    /// Every check, in order.
    pub steps: Vec<ExplainedStep>,
    /// The addresses that would be dialled, in order. Empty when nothing was resolved.
    #[schema(value_type = Vec<String>)]
    pub admitted: Vec<SocketAddr>,
    /// Whether the name was left unresolved (`dns=false`), so that address rules and the guard have yet to judge where
    /// it leads.
    #[serde(default)]
    pub unjudged: bool,
    /// The addresses it would leave from, in the order tried; none: the kernel chooses.
    #[schema(value_type = Vec<String>)]
    pub egress: Vec<IpAddr>,
    /// Why not.
    pub refusal: Option<Refusal>,
}

/// One flow, what its outcome means, and what would be decided now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyFlow {
    /// The flow.
    pub flow: FlowView,
    /// How it ended, in words.
    pub ended: String,
    /// What to do about it; none when it ended well.
    pub advice: Option<String>,
    /// Outbound: the decision as it would be made now; none when its account is gone or was never known, or it named no
    /// target.
    pub now: Option<Explained>,
    /// Inbound: what its client would meet now; none when it named no domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_now: Option<ExplainedRoute>,
}

/// The state of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of the binary.
    pub version: String,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Why it does not.
    pub not_ready: Option<String>,
    /// The version of the snapshot that is served.
    pub snapshot_version: u64,
    /// Whether the store can be reached. When not, the last snapshot is served on and changes are refused.
    pub store_ok: bool,
    /// Why it can't be.
    pub store_problem: Option<String>,
    /// Flows that could not be kept since the start.
    pub flows_lost: u64,
    /// How many accounts there are.
    pub accounts: usize,
    /// How many credentials there are.
    pub credentials: usize,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// Which: `store`, `clock`, `gateways`, `egress`, `dns`, `routes`, `certificates` or `ca`.
    pub check: String,
    /// `ok`, `note` or `problem`.
    #[schema(value_type = String)]
    pub level: Level,
    /// What was found, in one sentence.
    pub said: String,
}

impl From<moorgate_control::Diagnosis> for Diagnosis {
    fn from(found: moorgate_control::Diagnosis) -> Self {
        Self { check: found.check, level: found.level, said: found.said }
    }
}

#[cfg(test)]
mod tests;

mod people;

pub use people::{AddInvitation, NewInvitation, Person, Role};
