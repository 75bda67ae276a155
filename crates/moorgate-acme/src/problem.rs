//! What went wrong between us and a CA.

use std::{fmt, time::SystemTime};

use instant_acme::Error;
use moorgate_contract::time::Timestamp;

/// The longest of a CA's own words that is passed on, in characters.
const MOST_WORDS: usize = 500;
/// What types of problems begin with (RFC 8555 §6.7).
const TYPE: &str = "urn:ietf:params:acme:error:";

/// Whose turn it is after a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The CA can't be reached, or is in trouble itself.
    Unreachable,
    /// The CA takes no more from us for a while.
    TooMany,
    /// The CA does not know our account (any more).
    NoAccount,
    /// The CA has looked and not found what it wants, or may not issue.
    Refused,
}

/// Why there is no certificate. Without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct Problem {
    /// Whose turn it is.
    pub kind: Kind,
    /// One sentence.
    pub said: String,
    /// Before when the CA wants to hear nothing.
    pub retry_after: Option<Timestamp>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, said: impl fmt::Display) -> Self {
        let said: String =
            said.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_WORDS).collect();
        Self { kind, said, retry_after: None }
    }

    /// What the library says. `retry_after`: what the CA's last refusal has said of that.
    pub(crate) fn of(error: &Error, retry_after: Option<SystemTime>) -> Self {
        let problem = match error {
            Error::Api(problem) => Self::new(kind(problem), words(problem)),
            Error::Timeout(_) => Self::new(Kind::Refused, "the CA did not finish its validation in time"),
            Error::Other(cause) => Self::new(Kind::Unreachable, format_args!("the CA can't be reached: {cause}")),
            Error::Json(_) => Self::new(Kind::Unreachable, "the CA answered with something that is not ACME"),
            error => Self::new(Kind::Unreachable, error),
        };
        Self { retry_after: retry_after.map(Timestamp::from), ..problem }
    }
}

fn kind(problem: &instant_acme::Problem) -> Kind {
    match (problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(TYPE)), problem.status) {
        (Some("rateLimited"), _) | (_, Some(429)) => Kind::TooMany,
        (Some("accountDoesNotExist"), _) => Kind::NoAccount,
        (Some("serverInternal" | "badNonce"), _) | (_, Some(500..)) => Kind::Unreachable,
        _ => Kind::Refused,
    }
}

/// The CA's words, with those about a single name where there are such.
pub(crate) fn words(problem: &instant_acme::Problem) -> String {
    let kind = problem.r#type.as_deref().map(|kind| kind.strip_prefix(TYPE).unwrap_or(kind)).unwrap_or("problem");
    let detail = problem.detail.as_deref().unwrap_or("without a word");
    let more: Vec<&str> = problem.subproblems.iter().filter_map(|one| one.detail.as_deref()).collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
    format!("the CA says {kind}: {detail}{more}")
}

/// Whether it is worth trying at once again: the CA wants another nonce than it had given (RFC 8555 §6.5).
pub(crate) fn is_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:badNonce"))
}
