//! A deployment as a text, and what is sealed: the JSON of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A text to apply.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyText {
    /// TOML: tiers, accounts, routes.
    pub text: String,
}

/// What an application of a text changed, or (dry run) would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AppliedText {
    /// Each change, in the order in which it is made. Empty: all is as the text says.
    pub changes: Vec<AppliedChange>,
    /// How much is there and not in the text; removed only with `prune`.
    pub unnamed: usize,
    /// Whether it was done.
    pub applied: bool,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AppliedChange {
    /// `tier`, `account` or `route`.
    pub kind: String,
    /// Its name or domain.
    pub name: String,
    /// `add`, `set` or `remove`.
    pub action: String,
    /// How it was, without secrets.
    pub before: Option<Value>,
    /// How it is then.
    pub after: Option<Value>,
}

/// What the store's key is sealed under now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rewrapped {
    /// The id of the master key.
    pub master_key: String,
}
