//! Numbers, times and names as people read them.

use jiff::{Timestamp as Time, tz::TimeZone};
use moorgate_contract::time::Timestamp;

/// `2026-11-29 02:41 UTC`.
pub(crate) fn time(at: Timestamp) -> String {
    strftime(at, "%Y-%m-%d %H:%M UTC")
}

/// `2026-11-29`.
pub(crate) fn day(at: Timestamp) -> String {
    strftime(at, "%Y-%m-%d")
}

/// `02:41:07`.
pub(crate) fn clock(at: Timestamp) -> String {
    strftime(at, "%H:%M:%S")
}

fn strftime(at: Timestamp, form: &str) -> String {
    let seconds = i64::try_from(at.seconds()).unwrap_or(i64::MAX);
    let time = Time::from_second(seconds).unwrap_or(Time::UNIX_EPOCH).to_zoned_datetime(TimeZone::UTC);
    time.strftime(form).to_string()
}

/// `3 minutes ago`, `2 days ago`, `just now`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(at).as_secs();
    let (count, unit) = match seconds {
        0..=59 => return "just now".to_owned(),
        60..=3_599 => (seconds / 60, "minute"),
        3_600..=86_399 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// `1.2 GB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let unit_name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 {
        format!("{count} B")
    } else if value < 9.95 {
        format!("{value:.1} {unit_name}")
    } else {
        format!("{value:.0} {unit_name}")
    }
}

/// `1,234,567`.
pub(crate) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12 ms`, `1.4 s`.
pub(crate) fn span(us: u64) -> String {
    match us {
        0..=999 => format!("{us} µs"),
        1_000..=999_999 => format!("{} ms", us / 1_000),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// `1 route`, `3 routes`.
pub(crate) fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_say_their_unit() {
        let all = [0, 999, 1_000, 1_499, 99_940, 999_499, 999_500, 1_500_000_000].map(bytes);
        assert_eq!(all, ["0 B", "999 B", "1.0 kB", "1.5 kB", "100 kB", "999 kB", "1.0 MB", "1.5 GB"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([12, 1_200, 1_400_000].map(span), ["12 µs", "1 ms", "1.4 s"]);
        let at = |seconds: u64| Timestamp(seconds * 1_000_000);
        assert_eq!(
            [10, 100, 7_300, 200_000].map(|s| ago(at(0), at(s))),
            ["just now", "1 minute ago", "2 hours ago", "2 days ago"]
        );
        assert_eq!(time(at(1_795_920_073)), "2026-11-29 02:41 UTC");
    }
}
