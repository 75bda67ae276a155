//! The first pure step: may this principal ask for this target? Before resolution; traffic and `explain` call the same.

use std::{fmt, net::IpAddr, sync::Arc};

use moorgate_wire::{
    host::{Asked, Host},
    name::DomainName,
    visible::visible,
};

use crate::{
    account::{Account, Credential},
    egress::Pair,
    failure::{Code, Failure},
    rules::Rules,
};

/// The name that the gateway itself answers, through any outbound listener.
pub const ECHO: &str = "echo.moorgate.internal";

/// Whether a stream or datagrams are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Stream,
    /// UDP: refused today.
    Datagram,
}

/// What a head wants.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// On whose behalf.
    pub account: &'a Arc<Account>,
    /// By which of its credentials; `None`: whichever, as far as the account alone decides.
    pub credential: Option<&'a Arc<Credential>>,
    /// Where to.
    pub asked: &'a Asked,
    /// How.
    pub transport: Transport,
}

/// Where a plan leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The gateway's own echo.
    Echo,
    /// A name, yet to be resolved.
    Name(DomainName),
    /// An address.
    Address(IpAddr),
}

/// Our yes, as far as it can be said before resolution.
#[derive(Clone, Debug)]
pub struct Plan {
    /// On whose behalf.
    pub account: Arc<Account>,
    /// As asked.
    pub asked: Asked,
    /// Where to.
    pub destination: Destination,
    /// The port there.
    pub port: u16,
    /// Whether the account's policy has a say in the addresses.
    pub judged: Judged,
    /// The credential's own policy, where it has one: that must let it pass, too.
    pub narrower: Option<Narrower>,
}

/// A credential with a policy of its own.
#[derive(Clone, Debug)]
pub struct Narrower {
    /// The credential.
    pub credential: Arc<Credential>,
    /// Whether its policy has a say in the addresses.
    pub judged: Judged,
}

/// What a policy still has to say once a name is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The name was allowed: an address may only be denied.
    ByName,
    /// Each address must find an allow rule.
    ByAddress,
    /// Nothing: the target is an origin, which the account's own route names. The guard judges it all the same.
    AsOrigin,
}

impl Plan {
    /// The destination host in canonical form: what egress addresses are sticky for.
    pub fn host(&self) -> String {
        self.asked.host.as_ref().map_or_else(|_| self.asked.text().to_owned(), ToString::to_string)
    }

    /// The addresses it may leave from.
    pub fn egress(&self) -> &Pair {
        &self.account.egress
    }
}

/// One thing that was looked at on the way to a decision, in words; for `explain` and `why`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which check.
    pub check: &'static str,
    /// What it found.
    pub found: String,
}

/// Who looks on while a decision is made. Traffic lets nobody look (`()`), so it formats nothing.
pub trait Witness {
    /// Takes note of one check.
    fn saw(&mut self, check: &'static str, found: fmt::Arguments<'_>);
}

impl Witness for () {
    fn saw(&mut self, _: &'static str, _: fmt::Arguments<'_>) {}
}

impl Witness for Vec<Step> {
    fn saw(&mut self, check: &'static str, found: fmt::Arguments<'_>) {
        self.push(Step { check, found: found.to_string() });
    }
}

/// Decides what can be decided before resolution.
///
/// # Errors
/// The refusal, with its code and its rule.
pub fn decide(ask: &Ask<'_>, witness: &mut impl Witness) -> Result<Plan, Failure> {
    let result = look(ask, witness);
    if let Err(refusal) = &result {
        witness.saw("refused", format_args!("{refusal}"));
    }
    result
}

fn look(ask: &Ask<'_>, witness: &mut impl Witness) -> Result<Plan, Failure> {
    let Ask { account, credential, asked, transport } = *ask;
    if transport == Transport::Datagram {
        return Err(Failure::new(Code::NotSupported, "datagrams are not carried yet; use a TCP connection"));
    }
    let host = asked.host.as_ref().map_err(Failure::not_canonical)?;
    let port = asked.port;
    witness.saw("host", format_args!("{} is canonical", visible(asked.text())));
    let plan = |destination, judged| {
        let own = credential.filter(|credential| credential.policy.is_some());
        let narrower = own.map(|credential| Narrower { credential: credential.clone(), judged });
        Plan { account: account.clone(), asked: asked.clone(), destination, port, judged, narrower }
    };
    let name = match host {
        Host::Name(name) if name.as_str() == ECHO => {
            witness.saw("echo", format_args!("answered by the gateway itself"));
            return Ok(plan(Destination::Echo, Judged::ByName));
        }
        Host::Name(name) => name,
        Host::V4(address) => return Ok(plan(Destination::Address(IpAddr::V4(*address)), Judged::ByAddress)),
        Host::V6(address) => return Ok(plan(Destination::Address(IpAddr::V6(*address)), Judged::ByAddress)),
    };
    let judged = Rules::of_account(account).judge_name(name, asked, witness)?;
    let rules = credential.and_then(|credential| Some((credential, Rules::of_credential(account, credential)?)));
    let narrower = match rules {
        Some((credential, rules)) => {
            Some(Narrower { credential: credential.clone(), judged: rules.judge_name(name, asked, witness)? })
        }
        None => None,
    };
    Ok(Plan { narrower, ..plan(Destination::Name(name.clone()), judged) })
}
