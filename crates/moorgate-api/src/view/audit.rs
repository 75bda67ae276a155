//! The audit log as the API writes it.

use std::net::IpAddr;

use moorgate_control as control;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Time;

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Which gateway was asked.
    pub gateway: String,
    /// Who asked.
    pub who: Who,
    /// The address it was asked from. Not shown to an account for what an operator did.
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    /// What was done, in a word.
    pub action: String,
    /// To what kind of thing.
    pub kind: String,
    /// To which.
    pub name: String,
    /// Whose it is.
    pub account: Option<String>,
    /// How it was, without secrets; none: it was not there.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// How it is; none: it is gone.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
    /// The entry's hash, hexadecimal: it covers this entry and all before it.
    pub hash: String,
}

/// Who had something changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Who {
    /// The gateway, by itself.
    Gateway,
    /// An operator.
    Operator {
        /// The token's id. Not shown to an account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
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
        /// In which account; none: as an operator, or in what is their own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
    },
}

impl From<control::AuditEntry> for AuditEntry {
    fn from(entry: control::AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            at: Time(entry.at),
            gateway: entry.gateway,
            who: match entry.who {
                control::Who::Gateway => Who::Gateway,
                control::Who::Operator { token } => Who::Operator { token: Some(token) },
                control::Who::Account { account, token } => Who::Account { account, token },
                control::Who::Person { email, account } => Who::Person { email, account },
            },
            client: entry.client,
            action: entry.action,
            kind: entry.kind,
            name: entry.name,
            account: entry.account,
            before: entry.before,
            after: entry.after,
            hash: entry.hash,
        }
    }
}

impl AuditEntry {
    /// As an account may see it: which token an operator used, and from where, is the operator's business.
    #[must_use]
    pub(crate) fn for_account(mut self) -> Self {
        if matches!(self.who, Who::Operator { .. } | Who::Person { account: None, .. }) {
            (self.who, self.client) = (Who::Operator { token: None }, None);
        }
        self
    }
}

/// Whether the audit log is untouched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerdict {
    /// How many entries are what was written, from the first on.
    pub entries: u64,
    /// The hash of the last of them, hexadecimal. Noted elsewhere, it proves later that nothing up to there was changed.
    pub head: String,
    /// What is wrong, in words; none: nothing.
    pub problem: Option<String>,
}

impl From<control::AuditVerdict> for AuditVerdict {
    fn from(verdict: control::AuditVerdict) -> Self {
        Self { entries: verdict.entries, head: verdict.head, problem: verdict.problem }
    }
}
