//! How a flow ended.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::failure::Code;

/// How a flow ended: well, cut short, or with a failure of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Both sides finished.
    Ok,
    /// It ran and was cut short.
    Cut(Ending),
    /// It never ran, or broke with a failure that the client was told.
    Failed(Code),
}

/// Ways in which a running tunnel or exchange is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The client reset its side.
    ResetByClient,
    /// The target reset its side.
    ResetByTarget,
    /// The client's TLS ended without close_notify.
    TruncatedByClient,
    /// The target's TLS ended without close_notify.
    TruncatedByTarget,
    /// The client went away before anything was decided.
    ClientLeft,
    /// Credential, account or route was revoked, or a policy edited with `--cut`.
    Revoked,
    /// The month's bytes of its account were spent, and the grace with them.
    QuotaSpent,
    /// No byte moved for the idle limit.
    Idle,
    /// The drain limit ran out while the gateway went down.
    Drained,
    /// The task that owned the flow died; counted, and always a defect.
    Lost,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 10] = [
        Self::ResetByClient,
        Self::ResetByTarget,
        Self::TruncatedByClient,
        Self::TruncatedByTarget,
        Self::ClientLeft,
        Self::Revoked,
        Self::QuotaSpent,
        Self::Idle,
        Self::Drained,
        Self::Lost,
    ];

    /// Whether it is how a flow may well end: nothing broke, we ended it.
    pub fn is_orderly(self) -> bool {
        match self {
            Self::Revoked | Self::QuotaSpent | Self::Idle | Self::Drained => true,
            Self::ResetByClient
            | Self::ResetByTarget
            | Self::TruncatedByClient
            | Self::TruncatedByTarget
            | Self::ClientLeft
            | Self::Lost => false,
        }
    }

    /// The code in flows and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::ResetByClient => "reset_by_client",
            Self::ResetByTarget => "reset_by_target",
            Self::TruncatedByClient => "truncated_by_client",
            Self::TruncatedByTarget => "truncated_by_target",
            Self::ClientLeft => "client_left",
            Self::Revoked => "revoked",
            Self::QuotaSpent => "over_quota",
            Self::Idle => "idle",
            Self::Drained => "drained",
            Self::Lost => "lost",
        }
    }
}

impl Outcome {
    /// Every outcome there is, for metrics and documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Ok)
            .chain(Ending::ALL.into_iter().map(Self::Cut))
            .chain(Code::ALL.iter().copied().map(Self::Failed))
    }

    /// The code in flows, metrics and logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cut(ending) => ending.code(),
            Self::Failed(code) => code.row().code,
        }
    }

    /// The outcome with this code, if there is one.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::all().find(|outcome| outcome.code() == code)
    }

    /// Whether we said no. What failed on its way was let through.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Failed(code) if code.is_decision())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_code(&code).ok_or_else(|| serde::de::Error::custom(format_args!("no outcome has the code {code:?}")))
    }
}
