//! What traffic would meet: the same two decisions, on the snapshot that is served, with every step written down.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use moorgate_contract::{
    account::{Account, Credential},
    admit::admit,
    decide::{Ask, Destination, Plan, Step, Transport, Witness as _, decide},
    egress::Presence,
    failure::Failure,
    guard::Guard,
    snapshot::Snapshot,
};
use moorgate_wire::host::Asked;

use crate::{
    Control,
    error::{ControlError, Result, What},
    views::{ExplainStep, Explanation, RefusalView},
};

mod routes;

impl Control {
    /// Decides as for a connection of `account` to `host`:`port`, without connecting. With `dns` the name is resolved
    /// as traffic does; without, the decision stops where it would need addresses.
    ///
    /// # Errors
    /// [`ControlError::NotFound`]; [`ControlError::NotServed`] for an account that gets no traffic at all. A refusal is
    /// no error: it is part of the answer.
    pub async fn explain(&self, account: &str, host: &str, port: u16, dns: bool) -> Result<Explanation> {
        self.explain_by(account, None, &Asked::new(host, port), dns).await
    }

    /// The same by one of its credentials, whose own policy is asked as well.
    ///
    /// # Errors
    /// As [`Control::explain`]; [`ControlError::NotFound`] for a username that is none of the account's.
    pub async fn explain_by(
        &self,
        account: &str,
        username: Option<&str>,
        asked: &Asked,
        dns: bool,
    ) -> Result<Explanation> {
        let row = self.inner.account_row(account)?;
        let snapshot = self.snapshot();
        let account = snapshot.account(account).ok_or(ControlError::NotServed { account: row.name })?;
        let credential = match username {
            Some(username) => Some(credential_of(&snapshot, account, username)?),
            None => None,
        };
        let ask = Ask { account, credential, asked, transport: Transport::Stream };
        let mut steps = Vec::new();
        let found = self.walk(&ask, &snapshot.site.guard, dns, &mut steps).await;
        let (found, refusal) = match found {
            Ok(found) => (found, None),
            Err(failure) => (Found::default(), Some(failure)),
        };
        Ok(Explanation {
            account: account.name.to_string(),
            target: asked.text().to_owned(),
            steps: steps_view(steps),
            admitted: found.admitted,
            unjudged: found.unjudged,
            egress: found.egress,
            refusal: refusal.map(refusal_view),
        })
    }

    async fn walk(&self, ask: &Ask<'_>, guard: &Guard, dns: bool, steps: &mut Vec<Step>) -> Result<Found, Failure> {
        let plan = decide(ask, steps)?;
        let presence = self.inner.plane.presence();
        let addresses = match &plan.destination {
            Destination::Echo => return Ok(Found::default()),
            Destination::Address(address) => vec![*address],
            Destination::Name(name) if dns => {
                let resolved = self.inner.plane.resolve(name.clone()).await;
                let addresses = resolved.inspect_err(|failure| steps.saw("refused", format_args!("{failure}")))?;
                steps.saw("resolve", format_args!("{name} is {}", list(&addresses)));
                addresses
            }
            Destination::Name(name) => {
                steps.saw(
                    "resolve",
                    format_args!("{name} was not resolved, as asked; its addresses are still to be judged"),
                );
                let egress = leave(&plan, &presence, [V4, V6].into_iter(), steps)?;
                return Ok(Found { unjudged: true, egress, ..Found::default() });
            }
        };
        let admitted = admit(guard, &presence, &plan, &addresses, steps)?;
        let egress = leave(&plan, &presence, admitted.iter().map(SocketAddr::ip), steps)?;
        Ok(Found { admitted, egress, unjudged: false })
    }
}

fn credential_of<'a>(snapshot: &'a Snapshot, account: &Account, username: &str) -> Result<&'a Arc<Credential>> {
    let credential = snapshot.credential(username).filter(|credential| credential.account == account.id);
    credential.ok_or_else(|| ControlError::not_found(What::Credential, username))
}

#[derive(Default)]
struct Found {
    admitted: Vec<SocketAddr>,
    unjudged: bool,
    egress: Vec<IpAddr>,
}

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

/// The addresses that `plan` leaves from toward `destinations`, in the order in which they are tried.
fn leave(
    plan: &Plan,
    presence: &Presence,
    destinations: impl Iterator<Item = IpAddr>,
    steps: &mut Vec<Step>,
) -> Result<Vec<IpAddr>, Failure> {
    if plan.egress().is_kernels_choice() {
        steps.saw("egress", format_args!("no address is configured; the kernel chooses"));
        return Ok(Vec::new());
    }
    let (account, host) = (plan.account.id.0, plan.host());
    let mut order: Vec<IpAddr> = Vec::new();
    for address in destinations.flat_map(|destination| plan.egress().order(account, &host, destination)) {
        if !order.contains(&address) {
            order.push(address);
        }
    }
    for absent in order.extract_if(.., |address| !presence.has(*address)) {
        steps.saw("egress", format_args!("{absent} is not present on this gateway now"));
    }
    if order.is_empty() {
        let failure = Failure::no_egress_left(&plan.account.name);
        steps.saw("refused", format_args!("{failure}"));
        return Err(failure);
    }
    steps.saw("egress", format_args!("leaves from {}", list(&order)));
    Ok(order)
}

fn steps_view(steps: Vec<Step>) -> Vec<ExplainStep> {
    let view = |step: Step| ExplainStep { check: step.check.to_owned(), found: step.found };
    steps.into_iter().map(view).collect()
}

fn refusal_view(failure: Failure) -> RefusalView {
    RefusalView { code: failure.code, said: failure.said.into() }
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
