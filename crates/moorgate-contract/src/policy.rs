//! An account's policy: which destinations it may reach.
//!
//! Deny wins; with any allow rule, what no rule matches is refused, else allowed; a host without a port means every
//! port but 25. Names are judged before resolution, addresses and CIDRs after it.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use moorgate_wire::{
    host::{Host, NotCanonical},
    name::{DomainName, NameError},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Mail's submission between servers: closed unless a rule names it, since one abuser gets an egress address blocked for all.
pub const SMTP: u16 = 25;

/// Which hosts a rule means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this name.
    Name(DomainName),
    /// `*.suffix`: exactly one label before it.
    Wildcard(DomainName),
    /// Every address in here (a single address is a CIDR of full length).
    Net(IpNet),
}

/// What a rule matches: `HOST` or `HOST:PORT`. Serialises as that text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// The hosts.
    pub pattern: Pattern,
    /// `None`: every port but 25.
    pub port: Option<u16>,
}

/// Why a rule's text can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MatcherError {
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} has no port from 1 to 65535 behind the last colon")]
    Port(Box<str>),
    /// Neither a CIDR, an address nor a name.
    #[error("{0:?} is neither a name, a \"*.\" wildcard, an address nor a CIDR: {1}")]
    Host(Box<str>, #[source] NotCanonical),
    /// The rest of a wildcard is no name.
    #[error("{0:?}: a wildcard is \"*.\" and a name, and stands for exactly one label: {1}")]
    Wildcard(Box<str>, #[source] NameError),
    /// A CIDR with bits beyond its prefix.
    #[error("{0:?} has bits set beyond its prefix; write {1}")]
    LooseCidr(Box<str>, IpNet),
}

impl FromStr for Matcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = split_port(text)?;
        if let Ok(net) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpNet>() {
            if net != net.trunc() {
                return Err(MatcherError::LooseCidr(text.into(), net.trunc()));
            }
            return Ok(Self { pattern: Pattern::Net(net), port });
        }
        if let Some(suffix) = host.strip_prefix("*.") {
            let suffix = DomainName::parse(suffix).map_err(|error| MatcherError::Wildcard(text.into(), error))?;
            return Ok(Self { pattern: Pattern::Wildcard(suffix), port });
        }
        let pattern = match Host::parse(host).map_err(|error| MatcherError::Host(text.into(), error))? {
            Host::Name(name) => Pattern::Name(name),
            Host::V4(address) => Pattern::Net(IpAddr::V4(address).into()),
            Host::V6(address) => Pattern::Net(IpAddr::V6(address).into()),
        };
        Ok(Self { pattern, port })
    }
}

/// A bare IPv6 address or CIDR has colons of its own, so there a port needs brackets.
fn split_port(text: &str) -> Result<(&str, Option<u16>), MatcherError> {
    let bracket = text.rfind(']').map_or(0, |at| at + 1);
    let (Some(colon), count) = (text.rfind(':'), text.matches(':').count()) else { return Ok((text, None)) };
    if colon < bracket || (bracket == 0 && count > 1) {
        return Ok((text, None));
    }
    let (host, port) = text.split_at(colon);
    match port.trim_start_matches(':').parse::<u16>() {
        Ok(port) if port > 0 => Ok((host, Some(port))),
        _ => Err(MatcherError::Port(text.into())),
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.pattern, self.port) {
            (Pattern::Name(name), _) => write!(f, "{name}")?,
            (Pattern::Wildcard(suffix), _) => write!(f, "*.{suffix}")?,
            (Pattern::Net(net), port) => {
                let full = net.prefix_len() == net.max_prefix_len();
                match (net.addr(), port) {
                    (IpAddr::V6(address), Some(_)) if full => write!(f, "[{address}]")?,
                    (IpAddr::V6(_), Some(_)) => write!(f, "[{net}]")?,
                    (address, _) if full => write!(f, "{address}")?,
                    _ => write!(f, "{net}")?,
                }
            }
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Matcher {
    /// Whether it speaks of addresses, so that a name says nothing about it.
    pub fn is_of_addresses(&self) -> bool {
        matches!(self.pattern, Pattern::Net(_))
    }

    fn names(&self, name: &DomainName, port: u16) -> bool {
        let host = match &self.pattern {
            Pattern::Name(own) => own == name,
            Pattern::Wildcard(suffix) => name.matches_wildcard(suffix.as_str()),
            Pattern::Net(_) => false,
        };
        host && self.is_port(port)
    }

    fn contains(&self, address: IpAddr, port: u16) -> bool {
        let Pattern::Net(net) = &self.pattern else { return false };
        net.contains(&address.to_canonical()) && self.is_port(port)
    }

    fn is_port(&self, port: u16) -> bool {
        self.port.map_or(port != SMTP, |own| own == port)
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Let it pass.
    Allow,
    /// Refuse it; wins over allow.
    Deny,
}

/// One rule. Its number is its place in the policy, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it does.
    pub effect: Effect,
    /// On what.
    #[serde(rename = "match")]
    pub matcher: Matcher,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        };
        write!(f, "{effect} {}", self.matcher)
    }
}

/// An account's rules, replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// The most rules of one account: they are walked one by one.
pub const MAX_RULES: usize = 1_000;

/// What a policy says of a name (before resolution) or an address (after it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding<'a> {
    /// This rule denies it.
    Denied(u32, &'a Rule),
    /// This rule allows it.
    Allowed(u32, &'a Rule),
    /// No rule matches, and there are allow rules.
    Unmatched,
    /// No rule matches, and there are no allow rules: allowed by default (port 25 is not).
    Default,
    /// No rule matches and the port is 25.
    ClosedPort,
}

impl Policy {
    /// A policy of these rules, in this order.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// The rules in order; rule `n` of a refusal is the `n`-th, from 1.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Judges a name before it is resolved.
    pub fn judge_name(&self, name: &DomainName, port: u16) -> Finding<'_> {
        self.judge(port, |matcher| matcher.names(name, port))
    }

    /// Judges an address.
    pub fn judge_address(&self, address: IpAddr, port: u16) -> Finding<'_> {
        self.judge(port, |matcher| matcher.contains(address, port))
    }

    /// Whether an address could be allowed on `port` although its name is not.
    pub(crate) fn has_address_allow(&self, port: u16) -> bool {
        self.rules.iter().any(|rule| {
            rule.effect == Effect::Allow
                && matches!(rule.matcher.pattern, Pattern::Net(_))
                && rule.matcher.is_port(port)
        })
    }

    fn judge(&self, port: u16, hits: impl Fn(&Matcher) -> bool) -> Finding<'_> {
        let find = |effect| (1..).zip(&self.rules).find(|(_, rule)| rule.effect == effect && hits(&rule.matcher));
        if let Some((number, rule)) = find(Effect::Deny) {
            return Finding::Denied(number, rule);
        }
        if let Some((number, rule)) = find(Effect::Allow) {
            return Finding::Allowed(number, rule);
        }
        if port == SMTP {
            return Finding::ClosedPort;
        }
        if self.rules.iter().any(|rule| rule.effect == Effect::Allow) { Finding::Unmatched } else { Finding::Default }
    }
}
