//! How often somebody may try to sign in: whoever guesses waits, and nobody learns whom there is to guess.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Tries before the next one has to wait: for one address from one client, for one client, and for one address from wherever,
/// so that nobody keeps somebody else out by a few guesses.
const FREE: u32 = 5;
const FREE_OF_CLIENT: u32 = 20;
const FREE_OF_EMAIL: u32 = 100;
/// How long a try counts.
const SPAN: Duration = Duration::from_mins(15);
/// The most that are remembered; beyond it the oldest are forgotten.
const REMEMBERED: usize = 20_000;

/// Who tried, and how often lately.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<HashMap<Who, Tried>>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Who {
    /// An address, whether anybody has it or not.
    Email(String),
    /// An address, as one client tries it.
    Pair(String, IpAddr),
    /// A client: of IPv6 its network, as one client has many addresses.
    Client(IpAddr),
}

#[derive(Clone, Copy)]
struct Tried {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// Takes note of a try, before anything is looked at: many at once are many. `Some`: it has to wait so long instead.
    pub(crate) fn begin(&self, email: &str, client: IpAddr, now: Instant) -> Option<Duration> {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = network_of(client);
        let all = [
            (Who::Pair(email.to_owned(), client), FREE),
            (Who::Client(client), FREE_OF_CLIENT),
            (Who::Email(email.to_owned()), FREE_OF_EMAIL),
        ];
        let left = |(who, free): &(Who, u32)| {
            let tried = tried.get(who).filter(|tried| tried.count >= *free)?;
            SPAN.checked_sub(now.saturating_duration_since(tried.last)).filter(|left| !left.is_zero())
        };
        if let Some(wait) = all.iter().filter_map(left).max() {
            return Some(wait);
        }
        make_room(&mut tried, now);
        for (who, _) in all {
            let entry = tried.entry(who).or_insert(Tried { count: 0, last: now });
            let lapsed = now.saturating_duration_since(entry.last) >= SPAN;
            *entry = Tried { count: if lapsed { 1 } else { entry.count + 1 }, last: now };
        }
        None
    }

    /// Takes note of a try that was right: it was no guess.
    pub(crate) fn succeed(&self, email: &str, client: IpAddr) {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = network_of(client);
        tried.remove(&Who::Pair(email.to_owned(), client));
        for who in [Who::Client(client), Who::Email(email.to_owned())] {
            if let Some(entry) = tried.get_mut(&who) {
                entry.count = entry.count.saturating_sub(1);
            }
        }
    }
}

/// Forgets what has lapsed, and then a quarter of the rest, the oldest, so that it is seldom done.
fn make_room(tried: &mut HashMap<Who, Tried>, now: Instant) {
    if tried.len() < REMEMBERED {
        return;
    }
    tried.retain(|_, tried| now.saturating_duration_since(tried.last) < SPAN);
    if tried.len() >= REMEMBERED {
        let mut all: Vec<(Instant, Who)> = tried.iter().map(|(who, tried)| (tried.last, who.clone())).collect();
        all.sort_unstable_by_key(|(last, _)| *last);
        for (_, who) in all.iter().take(REMEMBERED / 4) {
            tried.remove(who);
        }
    }
}

fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn whoever_guesses_waits_and_whoever_does_not_is_let_be() {
        let (throttle, at) = (Throttle::default(), Instant::now());
        for round in 0..FREE {
            assert_eq!(throttle.begin("ann@example.com", client(1), at), None, "{round}");
        }
        assert_eq!(throttle.begin("ann@example.com", client(1), at), Some(SPAN));
        assert_eq!(throttle.begin("ann@example.com", client(2), at), None, "she herself, from elsewhere");
        assert_eq!(throttle.begin("bob@example.com", client(1), at), None);
        assert_eq!(throttle.begin("ann@example.com", client(1), at + SPAN), None);
        throttle.succeed("ann@example.com", client(1));
        for _ in 0..FREE {
            assert_eq!(throttle.begin("ann@example.com", client(1), at + SPAN), None);
        }
    }

    #[test]
    fn one_client_with_many_addresses_and_one_address_from_many_clients_wait_too() {
        let (throttle, at) = (Throttle::default(), Instant::now());
        for one in 0..FREE_OF_CLIENT {
            assert_eq!(throttle.begin(&format!("{one}@example.com"), client(3), at), None);
        }
        assert_eq!(throttle.begin("new@example.com", client(3), at), Some(SPAN));
        for one in 0..FREE_OF_EMAIL {
            let from = IpAddr::from([10, 0, (one / 200) as u8, (one % 200) as u8]);
            assert_eq!(throttle.begin("ann@example.com", from, at), None, "{one}");
        }
        assert_eq!(throttle.begin("ann@example.com", client(9), at), Some(SPAN));
        let network = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        for one in 0..FREE {
            assert_eq!(throttle.begin("cat@example.com", network(u16::try_from(one).unwrap()), at), None);
        }
        assert_eq!(throttle.begin("cat@example.com", network(77), at), Some(SPAN), "one network is one client");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (throttle, at) = (Throttle::default(), Instant::now());
        for one in 0..u32::try_from(REMEMBERED).unwrap() + 10 {
            throttle.begin(&one.to_string(), IpAddr::from(one.to_be_bytes()), at);
        }
        assert!(throttle.0.lock().unwrap().len() <= REMEMBERED + 3);
    }
}
