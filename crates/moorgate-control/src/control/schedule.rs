//! When a certificate is renewed, and when an order that failed is tried again.

use std::time::Duration;

use moorgate_acme::Kind;
use moorgate_contract::time::Timestamp;

/// A minute, an hour, and a day.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3_600);
/// A certificate that lives shorter is renewed at half of its life.
const SHORT_LIFE: Duration = Duration::from_secs(10 * 24 * 3_600);

/// When a certificate is to be renewed, if nobody says otherwise: when a third of its life is left, and those of other names
/// a little earlier or later, so that not all come at once.
pub(super) fn renew_at(not_before: Timestamp, not_after: Timestamp, name: &str) -> Timestamp {
    let life = not_after.since(not_before);
    let left = if life < SHORT_LIFE { life / 2 } else { life / 3 };
    not_after.before(left).before(part_of(life / 20, name))
}

/// When a certificate that was issued just now is ordered anew. By a clock that is ahead of the CA's even that may be due:
/// then it has served a tenth of its life before, or half of what is left of it.
pub(super) fn next_order(not_before: Timestamp, not_after: Timestamp, name: &str, now: Timestamp) -> Timestamp {
    let planned = renew_at(not_before, not_after, name);
    let pause = (not_after.since(not_before) / 10).min(not_after.since(now) / 2).max(MINUTE);
    if planned > now { planned } else { now.after(pause) }
}

/// A part of a time, another for each name.
pub(super) fn part_of(time: Duration, name: &str) -> Duration {
    time * u32::try_from(spread_of(name) % 1_000).unwrap_or_default() / 1_000
}

/// The same for a name everywhere and always (FNV-1a).
pub(super) fn spread_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// How long after so many failures in a row an order is tried again. A CA that looked and did not find what it wants counts
/// that against us, and a handful of such in an hour is the most that it takes.
pub(super) fn back_off(kind: Kind, failures: u64) -> Duration {
    let step = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    let (first, most) = match kind {
        Kind::Unreachable => (MINUTE, HOUR),
        Kind::TooMany => (15 * MINUTE, 12 * HOUR),
        // Another is registered then.
        Kind::NoAccount => (MINUTE / 6, HOUR),
        Kind::Refused => (5 * MINUTE, 12 * HOUR),
    };
    first.saturating_mul(1 << step).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left_or_half_of_a_short_one() {
        let days = |days: u64| Timestamp(days * 86_400 * SECOND);
        for (life, from, to) in [(90, 55, 61), (6, 2, 4), (365, 224, 244)] {
            for name in ["a.example.com", "b.example.com", "c.example.com"] {
                let at = renew_at(days(0), days(life), name);
                assert!(at >= days(from) && at <= days(to), "{life} {name}: {}", at.0 / SECOND / 86_400);
            }
        }
        let (a, b) = (renew_at(days(0), days(90), "a.example.com"), renew_at(days(0), days(90), "b.example.com"));
        assert_ne!(a, b, "not all come at once");
        // Of two minutes.
        let at = renew_at(Timestamp(0), Timestamp(120 * SECOND), "a.example.com").0 / SECOND;
        assert!((54..=60).contains(&at), "{at}");
        assert_eq!(renew_at(days(9), days(1), "turned round"), days(1));
    }

    #[test]
    fn a_clock_that_is_ahead_makes_no_storm_of_orders() {
        let days = |days: u64| Timestamp(days * 86_400 * SECOND);
        let next = |now: Timestamp| next_order(days(0), days(10), "a.example.com", now);
        assert_eq!(next(days(0)), renew_at(days(0), days(10), "a.example.com"));
        assert_eq!(next(days(7)), days(8));
        assert_eq!(next(days(9)).0, days(9).0 + 12 * 3_600 * SECOND);
        assert_eq!(next(days(20)).0, days(20).0 + 60 * SECOND, "it has ended, by that clock");
    }

    #[test]
    fn failures_are_tried_again_ever_more_seldom() {
        let minutes = |kind, failures| back_off(kind, failures).as_secs() / 60;
        assert_eq!([1, 2, 3, 6, 9, u64::MAX].map(|n| minutes(Kind::Refused, n)), [5, 10, 20, 160, 720, 720]);
        assert_eq!([1, 2, 7, 100].map(|n| minutes(Kind::Unreachable, n)), [1, 2, 60, 60]);
        assert_eq!(minutes(Kind::TooMany, 1), 15);
    }
}
