//! How often somebody may try to sign in: whoever guesses waits, and nobody learns whom there is to guess.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Failures in a row before the next try has to wait, for one address and for one client.
const FREE: u32 = 5;
const FREE_OF_CLIENT: u32 = 20;
/// How long a failure counts.
const SPAN: Duration = Duration::from_mins(15);
/// The most that are remembered; beyond it the oldest are forgotten.
const REMEMBERED: usize = 20_000;

/// Who failed, and how often lately.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<HashMap<Who, Failed>>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Who {
    /// An address, whether anybody has it or not.
    Email(String),
    /// A client: of IPv6 its network, as one client has many addresses.
    Client(IpAddr),
}

#[derive(Clone, Copy)]
struct Failed {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// How long the next try for this address from this client has to wait; `None`: it may come now.
    pub(crate) fn wait(&self, email: &str, client: IpAddr, now: Instant) -> Option<Duration> {
        let failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |who: Who, free: u32| {
            let failed = failed.get(&who).filter(|failed| failed.count >= free)?;
            SPAN.checked_sub(now.saturating_duration_since(failed.last)).filter(|left| !left.is_zero())
        };
        let (email, client) = (left(Who::Email(email.to_owned()), FREE), left(of(client), FREE_OF_CLIENT));
        email.max(client)
    }

    /// Takes note of a try that failed.
    pub(crate) fn fail(&self, email: &str, client: IpAddr, now: Instant) {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= REMEMBERED {
            failed.retain(|_, failed| now.saturating_duration_since(failed.last) < SPAN);
        }
        if failed.len() >= REMEMBERED
            && let Some(oldest) = failed.iter().min_by_key(|(_, failed)| failed.last).map(|(who, _)| who.clone())
        {
            failed.remove(&oldest);
        }
        for who in [Who::Email(email.to_owned()), of(client)] {
            let entry = failed.entry(who).or_insert(Failed { count: 0, last: now });
            let lapsed = now.saturating_duration_since(entry.last) >= SPAN;
            *entry = Failed { count: if lapsed { 1 } else { entry.count + 1 }, last: now };
        }
    }

    /// Takes note of one that did not: whose address it is has shown who they are.
    pub(crate) fn succeed(&self, email: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&Who::Email(email.to_owned()));
    }
}

fn of(client: IpAddr) -> Who {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            Who::Client(IpAddr::V6(network.into()))
        }
        v4 => Who::Client(v4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_guesses_waits_and_whoever_does_not_is_let_be() {
        let (throttle, at) = (Throttle::default(), Instant::now());
        let client = |last: u8| IpAddr::from([192, 0, 2, last]);
        for round in 0..FREE {
            assert_eq!(throttle.wait("ann@example.com", client(1), at), None, "{round}");
            throttle.fail("ann@example.com", client(1), at);
        }
        assert_eq!(throttle.wait("ann@example.com", client(1), at), Some(SPAN));
        assert_eq!(throttle.wait("ann@example.com", client(2), at), Some(SPAN), "from wherever");
        assert_eq!(throttle.wait("bob@example.com", client(1), at), None);
        assert_eq!(throttle.wait("ann@example.com", client(1), at + SPAN), None);
        throttle.succeed("ann@example.com");
        assert_eq!(throttle.wait("ann@example.com", client(1), at), None);
        for one in 0..FREE_OF_CLIENT {
            throttle.fail(&format!("{one}@example.com"), client(3), at);
        }
        assert_eq!(throttle.wait("new@example.com", client(3), at), Some(SPAN), "one client, many addresses");
        assert_eq!(throttle.wait("new@example.com", client(4), at), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (throttle, at) = (Throttle::default(), Instant::now());
        for one in 0..REMEMBERED + 10 {
            throttle.fail(&one.to_string(), IpAddr::from([10, 0, 0, 1]), at);
        }
        assert!(throttle.0.lock().unwrap().len() <= REMEMBERED + 1);
    }
}
