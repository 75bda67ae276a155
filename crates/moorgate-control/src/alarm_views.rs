//! What is said of alarms: who is told, of what, and what became of it.

use moorgate_contract::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::secret::SigningSecret;

/// What a receiver can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// Most of a month's quota is spent, or all of it.
    Quota,
    /// A certificate could not be had, is about to end, or has ended.
    Certificate,
    /// A domain's DNS does not lead here any more.
    Dns,
    /// The checks of an origin fail.
    Origin,
    /// A credential was never used.
    NeverUsed,
    /// The traffic of a credential has stopped.
    Stopped,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Quota, Self::Certificate, Self::Dns, Self::Origin, Self::NeverUsed, Self::Stopped];

    /// `quota`, `certificate`, `dns`, `origin`, `never_used` or `stopped`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Certificate => "certificate",
            Self::Dns => "dns",
            Self::Origin => "origin",
            Self::NeverUsed => "never_used",
            Self::Stopped => "stopped",
        }
    }

    /// What it is, in a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Quota => "a quota of the month is nearly spent, or spent",
            Self::Certificate => "a certificate could not be had, is about to end, or has ended",
            Self::Dns => "a domain's DNS has left",
            Self::Origin => "the checks of an origin fail",
            Self::NeverUsed => "a credential was not used in its first week",
            Self::Stopped => "the traffic of a credential stopped a day ago",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A receiver that was just made. Its secret is never shown again.
#[derive(Clone, Debug)]
pub struct NewAlarm {
    /// The name by which it is listed and removed.
    pub id: String,
    /// What its webhooks are signed with; `None`: it is an email address.
    pub secret: Option<SigningSecret>,
}

/// A receiver of alarms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmView {
    /// Its name.
    pub id: String,
    /// A URL, or an email address.
    pub receiver: String,
    /// What it is told of.
    pub kinds: Vec<AlarmKind>,
    /// When it was made.
    pub created: Timestamp,
    /// Why nothing is sent to it any more; `None`: it is on.
    pub off: Option<String>,
    /// What became of the last try; `None`: there was none.
    pub last: Option<AlarmTry>,
    /// How much has yet to reach it.
    pub waiting: u64,
}

/// What became of a try at telling a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmTry {
    /// When.
    pub at: Timestamp,
    /// Whether the receiver has it.
    pub delivered: bool,
    /// What the receiver said, or what went wrong.
    pub said: String,
}
