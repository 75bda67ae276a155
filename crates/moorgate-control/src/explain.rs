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
    failure::{Code, Failure},
    flow::Flow,
    guard::Guard,
    policy::Policy,
    snapshot::Snapshot,
};
use moorgate_wire::{host::Asked, name::DomainName, visible::visible};

use crate::{
    Control, compile,
    control::{Inner, now},
    error::{ControlError, Result, What},
    shown::second,
    views::{ExplainStep, Explanation, RefusalView},
};

mod routes;

impl Control {
    /// Decides as for a connection of `account` to what is asked for, without connecting. With `dns` the name is resolved
    /// as traffic does; without, the decision stops where it would need addresses.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], also for a credential that is none of the account's; [`ControlError::NotServed`] for an
    /// account that gets no traffic at all. A refusal is no error: it is part of the answer.
    pub async fn explain(&self, account: &str, by: By<'_>, asked: &Asked, dns: bool) -> Result<Explanation> {
        let row = self.inner.account_row(account)?;
        let snapshot = self.snapshot();
        let served = snapshot.account(account).ok_or(ControlError::NotServed { account: row.name })?;
        let tried = by.policy.map(|policy| Arc::new(Account { policy: policy.clone(), ..Account::clone(served) }));
        let account = tried.as_ref().unwrap_or(served);
        let credential = by.credential.map(|username| credential_of(&snapshot, account, username)).transpose();
        let credential = credential.map_err(|missing| self.inner.unserved(account, by).unwrap_or(missing))?;
        let ask = Ask { account, credential, asked, transport: Transport::Stream };
        let mut steps = Vec::new();
        let found = self.walk(&ask, by.client, &snapshot.site.guard, dns, &mut steps).await;
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

    /// What an outbound flow would meet now. `None`: nothing was asked for on anybody's behalf, or its account is gone.
    pub async fn explain_flow(&self, flow: &Flow, dns: bool) -> Option<Explanation> {
        let (account, target) = (flow.account.as_deref()?, flow.target.as_deref()?);
        let (host, port) = target.rsplit_once(':')?;
        let asked = Asked::new(host, port.parse().ok()?);
        let by = By { credential: flow.username.as_deref(), client: Some(flow.client.ip()), policy: None };
        match self.explain(account, by, &asked, dns).await {
            Ok(explained) => Some(explained),
            Err(ControlError::NotFound { what: What::Credential, name }) => {
                let said =
                    format_args!("the credential \"{}\" was revoked; use another of the account's", visible(&name));
                Some(without_credential(account, target, &said))
            }
            Err(error @ ControlError::CredentialNotServed { .. }) => Some(without_credential(account, target, &error)),
            Err(_) => None,
        }
    }

    /// The addresses of a name, as traffic finds them.
    ///
    /// # Errors
    /// What a client would be told.
    pub async fn resolve(&self, name: DomainName) -> Result<Vec<IpAddr>, RefusalView> {
        self.inner.plane.resolve(name).await.map_err(refusal_view)
    }

    async fn walk(
        &self,
        ask: &Ask<'_>,
        client: Option<IpAddr>,
        guard: &Guard,
        dns: bool,
        steps: &mut Vec<Step>,
    ) -> Result<Found, Failure> {
        if let Some(credential) = ask.credential {
            let judged = judge_credential(credential, client, steps);
            judged.inspect_err(|failure| steps.saw("refused", format_args!("{failure}")))?;
        }
        let plan = decide(ask, steps)?;
        self.look_for_room(ask.account, steps)?;
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

    /// Whether the account's quotas, and this gateway, leave room for one more.
    fn look_for_room(&self, account: &Account, steps: &mut Vec<Step>) -> Result<(), Failure> {
        let room = account.has_room(self.inner.plane.places(), now(), steps);
        room.inspect_err(|failure| steps.saw("refused", format_args!("{failure}")))
    }
}

/// What traffic would meet that comes with a credential which is not served.
fn without_credential(account: &str, target: &str, said: &dyn std::fmt::Display) -> Explanation {
    Explanation {
        account: account.to_owned(),
        target: target.to_owned(),
        steps: Vec::new(),
        admitted: Vec::new(),
        unjudged: false,
        egress: Vec::new(),
        refusal: Some(refusal_view(Failure::new(Code::CredentialsWrong, said))),
    }
}

impl Inner {
    /// The credential is there, and can't be served.
    fn unserved(&self, account: &Account, by: By<'_>) -> Option<ControlError> {
        let book = self.book();
        let row = book.credential(account.id, by.credential?)?;
        let problem = compile::credential_problem(row)?;
        Some(ControlError::CredentialNotServed { username: row.username.clone(), problem })
    }
}

/// By which of an account's credentials somebody comes, and from where. What is not said is not judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct By<'a> {
    /// A username.
    pub credential: Option<&'a str>,
    /// An address.
    pub client: Option<IpAddr>,
    /// Rules that are tried in the place of the account's.
    pub policy: Option<&'a Policy>,
}

/// As traffic judges it, its password aside.
fn judge_credential(credential: &Credential, client: Option<IpAddr>, steps: &mut Vec<Step>) -> Result<(), Failure> {
    credential.still_valid(now())?;
    let username = &credential.username;
    match credential.expires {
        Some(expires) => steps.saw("credential", format_args!("{username} is valid until {}", second(expires))),
        None => steps.saw("credential", format_args!("{username} never expires")),
    }
    match client {
        Some(client) => {
            credential.let_in(client)?;
            steps.saw("client", format_args!("{client} may use it"));
        }
        None if credential.clients.is_empty() => {}
        None => {
            let nets: Vec<String> = credential.clients.iter().map(ToString::to_string).collect();
            steps.saw("client", format_args!("may use it from {} only", nets.join(", ")));
        }
    }
    Ok(())
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
