//! The inbound decision: which route serves a name, and may this client come? Traffic and `explain` call the same.

use std::{net::IpAddr, sync::Arc};

use moorgate_wire::name::DomainName;

use crate::{
    account::Account,
    decide::{Destination, Judged, Plan, Witness},
    failure::{Code, Failure},
    route::{Origin, Route},
    snapshot::Snapshot,
};

/// Our yes to an inbound connection or request: whose it is, and by which route it goes on.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The route.
    pub route: Arc<Route>,
    /// Whose it is.
    pub account: Arc<Account>,
}

/// Finds the route of `name`, whoever asks. `None`: the client named nothing, and nothing falls to a default.
///
/// # Errors
/// [`Code::DomainUnknown`].
pub fn find(snapshot: &Snapshot, name: Option<&DomainName>, witness: &mut impl Witness) -> Result<Routed, Failure> {
    let Some(name) = name else {
        let said = "the client named no server (no SNI); routes are found by name only";
        return Err(Failure::new(Code::DomainUnknown, said));
    };
    let Some((route, account)) = snapshot.route(name) else {
        let said = format_args!(
            "no route serves {name}; where one was added, moorgate route check {name} says why, and otherwise its owner adds \
             it with: moorgate route add {name} URL --mode terminate|passthrough"
        );
        return Err(Failure::new(Code::DomainUnknown, said));
    };
    witness.saw("route", format_args!("{} ({}) of account {}", route.domain, route.mode.name(), account.name));
    Ok(Routed { route: route.clone(), account: account.clone() })
}

/// Asks whether a route lets `client` in.
///
/// # Errors
/// [`Code::ClientDenied`].
pub fn let_in(routed: &Routed, client: IpAddr, witness: &mut impl Witness) -> Result<(), Failure> {
    let Some(rule) = routed.route.settings.actions.clients.refuse(client) else {
        witness.saw("client", format_args!("{client} may come"));
        return Ok(());
    };
    let domain = &routed.route.domain;
    Err(Failure::new(
        Code::ClientDenied,
        format_args!("the route {domain} does not let {client} in ({rule}); see: moorgate route show {domain}"),
    ))
}

impl Routed {
    /// The plan by which `origin` is reached. Its addresses are judged by the guard, as any target's.
    pub fn plan(&self, origin: &Origin) -> Plan {
        let destination = match &origin.url.target.host {
            moorgate_wire::host::Host::Name(name) => Destination::Name(name.clone()),
            moorgate_wire::host::Host::V4(address) => Destination::Address((*address).into()),
            moorgate_wire::host::Host::V6(address) => Destination::Address((*address).into()),
        };
        Plan {
            account: self.account.clone(),
            asked: origin.asked.clone(),
            destination,
            port: origin.url.target.port,
            judged: Judged::AsOrigin,
            narrower: None,
        }
    }
}

#[cfg(test)]
mod tests;
