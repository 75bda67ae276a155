//! Quotas of a moment that hold for several gateways together: what each of them takes, by what it knows of the others.

use serde::{Deserialize, Serialize};

/// In this many parts is a request counted.
pub const THOUSAND: u64 = 1_000;

/// What a gateway has and wants of an account's quotas of a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Demand {
    /// Tunnels and exchanges open.
    pub open: u64,
    /// Thousandths of tunnels and exchanges asked for in a second, those that came too fast included.
    pub requests: u64,
    /// Bytes moved in a second; the whole quota while any of them has to wait.
    pub bytes: u64,
}

impl Demand {
    /// Whether there is nothing that others need to know.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What one gateway may take in a second of `limit`: everything that others don't want, and never less than an even part.
/// Max-min fair, its own want taken as boundless: gateways that each know what the others want take together no more than
/// `limit`, once as much is wanted.
pub(super) fn share(limit: u64, wanted: impl Iterator<Item = u64>) -> u64 {
    let mut wanted: Vec<u64> = wanted.collect();
    wanted.sort_unstable();
    let mut left = limit;
    for (sharers, wants) in (1..=wanted.len() as u64).rev().zip(wanted) {
        let even = left / (sharers + 1);
        if wants >= even {
            return even;
        }
        left -= wants;
    }
    left
}

/// What is left of `limit` beside what others have.
pub(super) fn rest(limit: u64, taken: impl Iterator<Item = u64>) -> u64 {
    taken.fold(limit, u64::saturating_sub)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_alone_has_everything() {
        assert_eq!(share(100, [].into_iter()), 100);
        assert_eq!(share(100, [0, 0].into_iter()), 100);
        assert_eq!(rest(100, [].into_iter()), 100);
    }

    #[test]
    fn what_others_want_little_of_is_left_to_who_wants_much() {
        assert_eq!(share(100, [10].into_iter()), 90);
        assert_eq!(share(100, [1_000, 10].into_iter()), 45);
        assert_eq!(share(100, [5, 10].into_iter()), 85);
    }

    #[test]
    fn an_even_part_is_left_however_much_others_want() {
        assert_eq!(share(100, [u64::MAX].into_iter()), 50);
        assert_eq!(share(100, [u64::MAX, 100].into_iter()), 33);
        assert_eq!(share(100, [60, 40, 100].into_iter()), 25);
    }

    #[test]
    fn those_that_want_more_than_there_is_take_no_more_than_there_is() {
        for limit in [0, 1, 7, 100, 1_000_003] {
            for wants in [[1, 2, 3], [0, 50, 1_000], [33, 33, 34], [7, 7, 7], [1, 1_000_000, 1_000_000]] {
                let all: u64 = wants.iter().sum();
                let takes = (0..3).map(|own| {
                    let others = (0..3).filter(|other| *other != own).map(|other| wants[other]);
                    share(limit, others).min(wants[own])
                });
                let taken: u64 = takes.sum();
                assert!(taken <= limit, "{taken} of {limit} by {wants:?}");
                // But for what an even part leaves over.
                assert!(taken + 3 >= limit.min(all), "{taken} of {limit} by {wants:?}");
            }
        }
    }

    #[test]
    fn a_place_that_others_have_is_nobody_elses() {
        assert_eq!(rest(100, [30, 50].into_iter()), 20);
        assert_eq!(rest(100, [80, 50].into_iter()), 0);
    }
}
