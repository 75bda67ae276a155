//! Whose policy is asked: an account's, or a credential's own, which is narrower. Both must let a destination pass.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use moorgate_wire::{host::Asked, name::DomainName};

use crate::{
    account::{Account, Credential},
    decide::{Judged, Witness},
    failure::Failure,
    policy::{Finding, Policy, SMTP},
};

/// A policy, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    policy: &'a Policy,
    account: &'a str,
    /// The username, where the policy is a credential's own.
    username: Option<&'a str>,
}

/// As refusals name it.
impl fmt::Display for Rules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.username {
            Some(username) => write!(f, "credential {username}"),
            None => write!(f, "account {}", self.account),
        }
    }
}

/// How whoever may see rules sees them.
pub(crate) struct Shown<'a>(&'a Rules<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.username {
            Some(username) => write!(f, "moorgate credential show {} {username}", self.0.account),
            None => write!(f, "moorgate policy show {}", self.0.account),
        }
    }
}

impl<'a> Rules<'a> {
    /// The account's.
    pub(crate) fn of_account(account: &'a Account) -> Self {
        Self { policy: &account.policy, account: &account.name, username: None }
    }

    /// The credential's own, if it has any.
    pub(crate) fn of_credential(account: &'a Account, credential: &'a Credential) -> Option<Self> {
        let policy = credential.policy.as_deref()?;
        Some(Self { policy, account: &account.name, username: Some(&credential.username) })
    }

    /// The command that shows them.
    pub(crate) fn shown(&self) -> Shown<'_> {
        Shown(self)
    }

    /// Judges a name, and says what is left to be said of its addresses.
    pub(crate) fn judge_name(
        &self,
        name: &DomainName,
        asked: &Asked,
        witness: &mut impl Witness,
    ) -> Result<Judged, Failure> {
        let check = self.check("policy, by name", "policy of the credential, by name");
        match self.policy.judge_name(name, asked.port) {
            Finding::Denied(number, rule) => Err(Failure::denied_by_rule(number, self, rule)),
            Finding::Allowed(number, rule) => {
                witness.saw(check, format_args!("rule {number} ({rule})"));
                Ok(Judged::ByName)
            }
            Finding::Default => {
                witness.saw(check, format_args!("no rule matches; allowed by default"));
                Ok(Judged::ByName)
            }
            // Without a rule that speaks of addresses there is nothing to wait for, and no name to leak to a resolver.
            Finding::Unmatched | Finding::ClosedPort if !self.policy.has_address_allow(asked.port) => {
                Err(self.unmatched(asked))
            }
            Finding::Unmatched | Finding::ClosedPort => {
                witness.saw(check, format_args!("no rule allows the name; an address rule may"));
                Ok(Judged::ByAddress)
            }
        }
    }

    /// Judges an address, given what was said of its name.
    pub(crate) fn judge_address(
        &self,
        address: SocketAddr,
        judged: Judged,
        asked: &Asked,
        witness: &mut impl Witness,
    ) -> Result<(), Failure> {
        let check = self.check("policy, by address", "policy of the credential, by address");
        let ip: IpAddr = address.ip();
        match self.policy.judge_address(ip, address.port()) {
            _ if judged == Judged::AsOrigin => {}
            Finding::Denied(number, rule) => return Err(Failure::denied_by_rule(number, self, rule)),
            Finding::Allowed(number, rule) => witness.saw(check, format_args!("{ip}: rule {number} ({rule})")),
            Finding::Unmatched | Finding::ClosedPort if judged == Judged::ByAddress => {
                return Err(self.unmatched(asked));
            }
            Finding::Unmatched | Finding::ClosedPort | Finding::Default => {
                witness.saw(check, format_args!("{ip}: no rule refuses it"));
            }
        }
        Ok(())
    }

    fn check(&self, of_account: &'static str, of_credential: &'static str) -> &'static str {
        if self.username.is_some() { of_credential } else { of_account }
    }

    fn unmatched(&self, asked: &Asked) -> Failure {
        if asked.port == SMTP {
            Failure::port_needs_rule(self, asked.port)
        } else {
            Failure::no_rule_allows(self, asked)
        }
    }
}
