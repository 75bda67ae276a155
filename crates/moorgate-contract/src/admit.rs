//! The second pure step, after resolution: which of these addresses may be dialled?
//!
//! What is refused is dropped; the name is refused when nothing is left. The addresses that come out of here are the
//! ones that are dialled: nobody resolves again.

use std::net::{IpAddr, SocketAddr};

use moorgate_wire::visible::visible;

use crate::{
    decide::{Narrower, Plan, Witness},
    egress::Presence,
    failure::{Code, Failure},
    guard::{Guard, Sight},
    rules::Rules,
};

/// Admits addresses of a plan's destination, in their order.
///
/// # Errors
/// The refusal of the first address, when none is left.
pub fn admit(
    guard: &Guard,
    presence: &Presence,
    plan: &Plan,
    addresses: &[IpAddr],
    witness: &mut impl Witness,
) -> Result<Vec<SocketAddr>, Failure> {
    let mut first_refusal = None;
    let mut admitted = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let address = SocketAddr::new(address, plan.port);
        match admit_one(guard, presence, plan, address, witness) {
            Ok(()) => admitted.push(address),
            Err(refusal) => {
                witness.saw("refused", format_args!("{}: {refusal}", address.ip()));
                first_refusal.get_or_insert(refusal);
            }
        }
    }
    if admitted.is_empty() {
        let unresolved =
            || Failure::new(Code::NameNotResolved, format_args!("{} has no address", visible(plan.asked.text())));
        return Err(first_refusal.unwrap_or_else(unresolved));
    }
    Ok(admitted)
}

/// Admits one address of a plan's destination.
///
/// # Errors
/// Why not.
pub fn admit_one(
    guard: &Guard,
    presence: &Presence,
    plan: &Plan,
    address: SocketAddr,
    witness: &mut impl Witness,
) -> Result<(), Failure> {
    let (ip, account, asked) = (address.ip(), &plan.account, &plan.asked);
    match guard.judge(address, presence) {
        Sight::Open => witness.saw("guard", format_args!("{ip} may be reached")),
        Sight::Special(class) => return Err(Failure::guarded(asked, ip, class)),
        Sight::OwnListener => return Err(Failure::own_listener(asked)),
        Sight::Kept(class) => return Err(Failure::kept(asked, address, class)),
    }
    Rules::of_account(account).judge_address(address, plan.judged, asked, witness)?;
    if let Some(Narrower { credential, judged }) = &plan.narrower
        && let Some(rules) = Rules::of_credential(account, credential)
    {
        rules.judge_address(address, *judged, asked, witness)?;
    }
    if !plan.egress().has_family_of(ip) {
        let (have, want) = if ip.is_ipv4() { ("IPv6 only", "IPv4") } else { ("IPv4 only", "IPv6") };
        return Err(Failure::no_family(asked, have, want));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
