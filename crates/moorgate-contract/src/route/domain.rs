//! The public name of a route.

use std::{fmt, str::FromStr};

use moorgate_wire::{
    name::{DomainName, NameError},
    visible::visible,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name, or `*.` and a name: exactly one label before it, as in certificates (RFC 6125 §6.4.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// Exactly this name.
    Exact(DomainName),
    /// Every name of one more label. Holds what follows the `*.`.
    Wildcard(DomainName),
}

/// Why a text is no domain of a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// An address: the certificates and server names that routes live by have names.
    #[error("{0} is an address; a route's domain is a name, such as app.example.com")]
    Address(Box<str>),
    /// A URL, or a name with a port or a path behind it.
    #[error("{0:?} is more than a domain; write the name alone, such as app.example.com")]
    More(Box<str>),
    /// Not a name.
    #[error("{0:?} is no domain: {1}")]
    Name(Box<str>, #[source] NameError),
    /// One label: nobody can own that.
    #[error("{0:?} has one label only; a domain has at least two, such as app.example.com")]
    OneLabel(Box<str>),
}

impl Domain {
    /// Whether `name` is one of this domain's.
    pub fn covers(&self, name: &DomainName) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::Wildcard(suffix) => name.matches_wildcard(suffix.as_str()),
        }
    }

    /// The name that is looked up: without `*.`.
    pub fn key(&self) -> &DomainName {
        let (Self::Exact(name) | Self::Wildcard(name)) = self;
        name
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let shown = || visible(text.chars().take(80).collect::<String>().as_bytes()).to_string().into_boxed_str();
        if text.parse::<std::net::IpAddr>().is_ok() {
            return Err(DomainError::Address(shown()));
        }
        if text.contains(['/', ':', '@']) {
            return Err(DomainError::More(shown()));
        }
        let (bare, wildcard) = text.strip_prefix("*.").map_or((text, false), |suffix| (suffix, true));
        let name = DomainName::parse(bare).map_err(|error| DomainError::Name(shown(), error))?;
        if name.parent().is_none() {
            return Err(DomainError::OneLabel(shown()));
        }
        Ok(if wildcard { Self::Wildcard(name) } else { Self::Exact(name) })
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
