//! Credentials as the API writes them.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use moorgate_contract::policy::Policy;
use moorgate_control::{CredentialChange, CredentialStanding, CredentialView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PolicyRules, Time, given};

/// A credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Credential {
    /// The proxy username.
    pub username: String,
    /// What it is called; empty: nothing.
    #[serde(default)]
    pub name: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// How many passwords are valid: two while a rotation overlaps.
    pub passwords: usize,
    /// Until when the old password of a rotation works.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub overlap_until: Option<Time>,
    /// From when on it is refused; none: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Time>,
    /// The networks it may be used from; empty: from anywhere.
    #[schema(value_type = Vec<String>)]
    pub clients: Vec<IpNet>,
    /// Its own policy, which narrows the account's; none: the account's alone.
    pub policy: Option<PolicyRules>,
    /// When it was used last, on whichever gateway; none: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Time>,
    /// From which address.
    #[schema(value_type = Option<String>)]
    pub last_client: Option<IpAddr>,
    /// `in_use` (in the last day), `never_used` (whoever was to use it may still connect directly), `stopped`, `expired`,
    /// or `unknown` (the store can't be asked).
    #[schema(value_type = String)]
    pub standing: CredentialStanding,
    /// Why nobody is let in by it, where what is stored of it can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl From<CredentialView> for Credential {
    fn from(credential: CredentialView) -> Self {
        Self {
            username: credential.username,
            name: credential.name,
            created: Time(credential.created),
            passwords: credential.passwords,
            overlap_until: credential.overlap_until.map(Time),
            expires: credential.expires.map(Time),
            clients: credential.clients,
            policy: credential.policy.as_ref().map(PolicyRules::from),
            last_used: credential.last_used.map(Time),
            last_client: credential.last_client,
            standing: credential.standing,
            problem: credential.problem,
        }
    }
}

/// A new credential.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AddCredential {
    /// What it is called, such as the app that comes with it: up to 64 characters in one line. Left out: nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 64)]
    pub name: String,
    /// From when on it is refused. Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Time>,
    /// The networks it may be used from (CIDRs). Left out: from anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub clients: Vec<IpNet>,
    /// Its own policy, which narrows the account's. Left out: the account's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRules>,
}

impl From<AddCredential> for CredentialChange {
    fn from(add: AddCredential) -> Self {
        Self {
            name: Some(add.name),
            expires: Some(add.expires.map(|time| time.0)),
            clients: Some(add.clients),
            policy: Some(add.policy.map(Policy::from)),
            cut: false,
        }
    }
}

/// What changes about a credential. What is left out stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCredential {
    /// What it is called; empty: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub name: Option<String>,
    /// From when on it is refused; null: never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Option<Time>>,
    /// The networks it may be used from (CIDRs); empty: from anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub clients: Option<Vec<IpNet>>,
    /// Its own policy, which narrows the account's; null: the account's alone.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<PolicyRules>)]
    pub policy: Option<Option<PolicyRules>>,
}

impl ChangeCredential {
    /// For control; `cut`: open flows that a new policy refuses are cut.
    pub(crate) fn change(self, cut: bool) -> CredentialChange {
        CredentialChange {
            name: self.name,
            expires: self.expires.map(|expires| expires.map(|time| time.0)),
            clients: self.clients,
            policy: self.policy.map(|policy| policy.map(Policy::from)),
            cut,
        }
    }
}

/// A credential with its password, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewCredential {
    /// The proxy username.
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for NewCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCredential").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How a credential is rotated.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// How long the old password still works, in seconds. Left out: not at all.
    #[serde(default)]
    pub overlap_seconds: u64,
}
