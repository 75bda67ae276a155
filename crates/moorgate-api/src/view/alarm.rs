//! Alarms: who is told, of what, and what became of it.

use std::fmt;

use moorgate_control::{AlarmTry, AlarmView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// What a receiver can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// A credential was not used in its first week.
    NeverUsed,
    /// The traffic of a credential stopped a day ago.
    Stopped,
}

impl AlarmKind {
    /// `quota`, `certificate`, `dns`, `origin`, `never_used` or `stopped`.
    pub fn name(self) -> &'static str {
        moorgate_control::AlarmKind::from(self).name()
    }
}

impl From<AlarmKind> for moorgate_control::AlarmKind {
    fn from(kind: AlarmKind) -> Self {
        match kind {
            AlarmKind::Quota => Self::Quota,
            AlarmKind::Certificate => Self::Certificate,
            AlarmKind::Dns => Self::Dns,
            AlarmKind::Origin => Self::Origin,
            AlarmKind::NeverUsed => Self::NeverUsed,
            AlarmKind::Stopped => Self::Stopped,
        }
    }
}

impl From<moorgate_control::AlarmKind> for AlarmKind {
    fn from(kind: moorgate_control::AlarmKind) -> Self {
        use moorgate_control::AlarmKind as Kind;
        match kind {
            Kind::Quota => Self::Quota,
            Kind::Certificate => Self::Certificate,
            Kind::Dns => Self::Dns,
            Kind::Origin => Self::Origin,
            Kind::NeverUsed => Self::NeverUsed,
            Kind::Stopped => Self::Stopped,
        }
    }
}

/// A receiver of an account's alarms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alarm {
    /// Its id.
    pub id: String,
    /// A URL that is posted to, or an email address.
    pub receiver: String,
    /// What it is told of.
    pub kinds: Vec<AlarmKind>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// Why nothing is sent to it any more; none: it is on.
    pub off: Option<String>,
    /// What became of the last try at telling it; none: there was none.
    pub last: Option<AlarmResult>,
    /// How much has yet to reach it.
    pub waiting: u64,
}

impl From<AlarmView> for Alarm {
    fn from(alarm: AlarmView) -> Self {
        let AlarmView { id, receiver, kinds, created, off, last, waiting } = alarm;
        let (kinds, last) = (kinds.into_iter().map(AlarmKind::from).collect(), last.map(AlarmResult::from));
        Self { id, receiver, kinds, created: Time(created), off, last, waiting }
    }
}

/// What became of a try at telling a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmResult {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Whether the receiver has it.
    pub delivered: bool,
    /// What the receiver said, or what went wrong.
    pub said: String,
}

impl From<AlarmTry> for AlarmResult {
    fn from(result: AlarmTry) -> Self {
        let AlarmTry { at, delivered, said } = result;
        Self { at: Time(at), delivered, said }
    }
}

/// A receiver to make.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddAlarm {
    /// An `https://` URL that is posted to (`http://` on a loopback address alone), or an email address.
    pub receiver: String,
    /// What it is to be told of. Left out: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<AlarmKind>>,
}

/// A receiver that was just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewAlarm {
    /// Its id.
    pub id: String,
    /// What its webhooks are signed with (`whsec_…`), shown this once; none: it is an email address.
    pub secret: Option<String>,
}

impl fmt::Debug for NewAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAlarm").field("id", &self.id).finish_non_exhaustive()
    }
}

impl From<moorgate_control::NewAlarm> for NewAlarm {
    fn from(new: moorgate_control::NewAlarm) -> Self {
        Self { id: new.id, secret: new.secret.map(|secret| secret.reveal().to_owned()) }
    }
}
