//! What callers are shown. These are the API's JSON; times are microseconds since the Unix epoch.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use moorgate_contract::{failure::Code, policy::Policy, quota::Quotas, time::Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    control::hex,
    limits::TEST_NAME,
    secret::{Password, Token},
    store::Head,
};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// The addresses that its connections leave from; empty: the kernel chooses.
    pub egress: Vec<IpAddr>,
    /// Whether it has egress addresses of its own rather than the gateway's first two.
    pub own_egress: bool,
    /// How many credentials it has.
    pub credentials: usize,
    /// Whether traffic is served for it: not so when its row can't be compiled.
    pub served: bool,
    /// Its tier; `None`: no quotas.
    pub tier: Option<String>,
    /// What its tier allows, and what it has spent of that this month.
    pub quota: Option<QuotaView>,
}

/// Quotas, and what an account has spent of them this month on all gateways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaView {
    /// What the tier allows.
    pub quotas: Quotas,
    /// Tunnels and exchanges this month.
    pub requests: u64,
    /// Bytes this month, both ways together.
    pub bytes: u64,
    /// When the month ends.
    pub until: Timestamp,
}

/// A tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierView {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// What it allows.
    pub quotas: Quotas,
    /// How many accounts have it.
    pub accounts: usize,
}

/// What to change of an account; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountChange {
    /// Its own one or two egress addresses; an empty list goes back to the gateway's first two.
    #[serde(default)]
    pub egress: Option<Vec<IpAddr>>,
    /// Another tier; `null`: none, and so no quotas.
    #[serde(default, deserialize_with = "given")]
    pub tier: Option<Option<String>>,
}

/// Tells `null` from a field that is not there.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What to set of a credential; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialChange {
    /// What it is called, 1 to [`MAX_CREDENTIAL_NAME`](crate::MAX_CREDENTIAL_NAME) characters; empty: nothing.
    pub name: Option<String>,
    /// From when on it is refused; `null`: never.
    #[serde(deserialize_with = "given")]
    pub expires: Option<Option<Timestamp>>,
    /// From where it may be used; empty: from anywhere.
    pub clients: Option<Vec<IpNet>>,
    /// Its own policy, narrower than the account's; `null`: none.
    #[serde(deserialize_with = "given")]
    pub policy: Option<Option<Policy>>,
    /// Whether open tunnels that a new policy refuses are cut.
    pub cut: bool,
}

/// A credential that was just made or rotated. Its password is never shown again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewCredential {
    /// The proxy username.
    pub username: String,
    /// The proxy password.
    pub password: Password,
}

/// A credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialView {
    /// The proxy username.
    pub username: String,
    /// What it is called; empty: nothing.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// How many passwords are valid: 2 while a rotation overlaps.
    pub passwords: usize,
    /// When the old password of a rotation ends.
    pub overlap_until: Option<Timestamp>,
    /// From when on it is refused; `None`: never.
    pub expires: Option<Timestamp>,
    /// From where it may be used; empty: from anywhere.
    pub clients: Vec<IpNet>,
    /// Its own policy beside the account's; `None`: the account's alone.
    pub policy: Option<Policy>,
    /// When it was used last, on whichever gateway; `None`: never.
    pub last_used: Option<Timestamp>,
    /// From which address.
    pub last_client: Option<IpAddr>,
    /// What that says of it.
    pub standing: CredentialStanding,
    /// Why nobody is let in by it: what is stored of it can't be read. `None`: all is well.
    pub problem: Option<String>,
}

impl CredentialView {
    /// What people know it by: its name, if it has one, and its username.
    #[must_use]
    pub fn called(&self) -> String {
        if self.name.is_empty() { self.username.clone() } else { format!("{} ({})", self.name, self.username) }
    }

    /// Whether the console's tests come with it, and no app does.
    #[must_use]
    pub fn is_for_tests(&self) -> bool {
        self.name == TEST_NAME
    }
}

/// Whether a credential is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialStanding {
    /// It was used in the last day.
    InUse,
    /// It was never used: whoever was to use it may still connect directly.
    NeverUsed,
    /// It was used, but not in the last day.
    Stopped,
    /// It has expired: whoever comes with it is refused.
    Expired,
    /// The store can't be asked, and since this gateway wrote to it last nobody has come with it here.
    Unknown,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Look and change.
    Write,
}

impl Scope {
    /// `read` or `write`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::Write].into_iter().find(|scope| scope.name() == name)
    }
}

/// A token that was just made. Its text is never shown again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewToken {
    /// The name by which it is listed and revoked.
    pub id: String,
    /// The bearer token.
    pub token: Token,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// The name by which it is revoked.
    pub id: String,
    /// Whose it is; `None`: an operator's.
    pub account: Option<String>,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created: Timestamp,
}

/// Who calls the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account that the token belongs to; `None`: an operator.
    pub account: Option<String>,
    /// What the token may do.
    pub scope: Scope,
    /// Which token it is.
    pub token_id: String,
}

/// An egress address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressView {
    /// The address.
    pub address: IpAddr,
    /// Whether the kernel lets us bind it.
    pub present: bool,
    /// Whose connections leave from it, by name.
    pub accounts: Vec<String>,
    /// Its source ports toward the destination that takes most of them; `None`: nothing is open from it.
    pub ports: Option<PortsView>,
}

/// Source ports of an address toward one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsView {
    /// Where to.
    pub destination: SocketAddr,
    /// How many are taken.
    pub taken: usize,
    /// How many there are.
    pub all: usize,
}

impl PortsView {
    /// How many are left.
    pub fn free(&self) -> usize {
        self.all.saturating_sub(self.taken)
    }

    /// Whether less than a fifth is left.
    pub fn is_scarce(&self) -> bool {
        self.free() < self.all / 5
    }
}

/// What traffic would meet, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The account it was asked for.
    pub account: String,
    /// The target as asked, `host:port`. A caller's bytes: shown through `visible`.
    pub target: String,
    /// Each check in order.
    pub steps: Vec<ExplainStep>,
    /// The addresses that may be dialled, in order; empty for a refusal, for the echo and where the name was not
    /// resolved.
    pub admitted: Vec<SocketAddr>,
    /// Whether the name was left unresolved, so that address rules and the guard have yet to judge where it leads.
    pub unjudged: bool,
    /// The addresses it would leave from, in the order in which they are tried; empty: the kernel chooses.
    pub egress: Vec<IpAddr>,
    /// The refusal, if it is refused.
    pub refusal: Option<RefusalView>,
}

/// One check on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainStep {
    /// Which check.
    pub check: String,
    /// What it found.
    pub found: String,
}

/// A refusal as a client would be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalView {
    /// Its one code.
    pub code: Code,
    /// The line.
    pub said: String,
}

/// How the control plane is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the snapshot that is served.
    pub snapshot_version: u64,
    /// Whether the store can be used.
    pub store_ok: bool,
    /// Why not.
    pub store_problem: Option<String>,
    /// How many accounts there are.
    pub accounts: usize,
    /// How many routes there are.
    pub routes: usize,
    /// How many credentials there are.
    pub credentials: usize,
    /// Flows that could not be kept since the start.
    pub flows_lost: u64,
}

/// A gateway on this store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayView {
    /// Its name.
    pub name: String,
    /// Whether it is the one that answers.
    pub is_this: bool,
    /// Its version.
    pub release: String,
    /// Where its listeners are bound, by their names.
    pub addresses: BTreeMap<String, Vec<SocketAddr>>,
    /// The addresses at which those are reached: of its machine, where they are bound to all of them.
    pub reached_at: Vec<IpAddr>,
    /// Whether another that lives has the same name. Known of the one that answers.
    pub has_twin: bool,
    /// When it started, by its clock.
    pub started: Timestamp,
    /// Its last sign of life, by the store's clock.
    pub seen: Timestamp,
    /// How it is.
    pub health: GatewayHealth,
    /// The version of the snapshot that it serves.
    pub applied: u64,
}

/// How a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayHealth {
    /// It lives.
    Up,
    /// It has ended in good order.
    Stopped,
    /// It has given no sign of life for a while.
    Lost,
    /// The store can't be asked: nobody knows.
    Unknown,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Which gateway was asked.
    pub gateway: String,
    /// Who asked.
    pub who: Who,
    /// The address it was asked from.
    pub client: Option<IpAddr>,
    /// What was done, in a word.
    pub action: String,
    /// To what kind of thing.
    pub kind: String,
    /// To which.
    pub name: String,
    /// Whose it is.
    pub account: Option<String>,
    /// How it was, without secrets; `None`: it was not there.
    pub before: Option<Value>,
    /// How it is.
    pub after: Option<Value>,
    /// The entry's hash, hexadecimal: it covers this entry and all before it.
    pub hash: String,
}

/// Who had something changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Who {
    /// The gateway, by itself.
    Gateway,
    /// An operator.
    Operator {
        /// The token's id.
        token: String,
    },
    /// An account.
    Account {
        /// Its name.
        account: String,
        /// The token's id.
        token: String,
    },
    /// Somebody, by the console.
    Person {
        /// Their address.
        email: String,
        /// In which account; `None`: as an operator, or in what is their own.
        account: Option<String>,
    },
}

impl Who {
    pub(crate) fn of(token: Option<String>, account: Option<String>) -> Self {
        match (token, account) {
            (None, _) => Self::Gateway,
            // No token's id has one.
            (Some(email), account) if email.contains('@') => Self::Person { email, account },
            (Some(token), None) => Self::Operator { token },
            (Some(token), Some(account)) => Self::Account { account, token },
        }
    }
}

/// Whether the audit log is untouched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerdict {
    /// How many entries are what was written, from the first on.
    pub entries: u64,
    /// The hash of the last of them, hexadecimal. Noted elsewhere, it proves later that nothing up to there was changed.
    pub head: String,
    /// What is wrong, in words; `None`: nothing.
    pub problem: Option<String>,
}

impl AuditVerdict {
    pub(crate) fn new(head: &Head, problem: Option<String>) -> Self {
        Self { entries: head.seq, head: hex(&head.hash), problem }
    }
}
