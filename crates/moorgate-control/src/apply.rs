//! A deployment as a text: tiers, accounts with their policies and egress addresses, routes. What the text says is how it
//! is to be; what an entry leaves out is as for a new one.
//!
//! Passwords and the values of request headers are never written: where a route has them, they stay.

mod plan;
mod text;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use plan::{Plan, Planned};
pub(crate) use text::{Document, write};

/// What an application of a text changed, or (dry run) would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Each change, in the order in which it is made. Empty: all is as the text says.
    pub changes: Vec<AppliedChange>,
    /// What is there and not in the text; removed only when that is asked for.
    pub unnamed: usize,
    /// Whether it was done.
    pub applied: bool,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {said}")]
pub struct Wrong {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub said: String,
}

impl Wrong {
    /// The one that stands first, with the lines of some others; `None`: nothing is wrong.
    fn foremost(mut all: Vec<Self>) -> Option<Self> {
        const NAMED: usize = 5;
        all.sort_by_key(|wrong| wrong.line);
        let mut all = all.into_iter();
        let first = all.next()?;
        let others: Vec<Self> = all.collect();
        let lines: Vec<String> = others.iter().take(NAMED).map(|wrong| wrong.line.to_string()).collect();
        let (is_one, more) = (others.len() == 1, others.len() > NAMED);
        let said = match lines.join(", ") {
            none if none.is_empty() => first.said,
            lines if is_one => format!("{}; line {lines} is wrong too", first.said),
            lines => format!("{}; lines {lines} {}are wrong too", first.said, if more { "and more " } else { "" }),
        };
        Some(Self { said, ..first })
    }
}
