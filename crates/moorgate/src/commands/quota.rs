//! Quotas in words: what a tier allows, and what an account has left of it.

use std::fmt::Write;

use moorgate_api::view::{Quota, Quotas};

use crate::output::{bytes, count, size, when};

/// From how many hundredths of a quota on its owner is warned.
const WARN: u64 = 80;

/// What a tier allows, in one line.
pub(super) fn allows(quotas: &Quotas) -> String {
    let limits = [
        quotas.requests_per_second.map(|limit| format!("{} requests a second", count(limit.into()))),
        quotas.requests_per_month.map(|limit| format!("{} requests a month", count(limit))),
        quotas.bytes_per_second.map(|limit| format!("{} a second", size(limit))),
        quotas.bytes_per_month.map(|limit| format!("{} a month", size(limit))),
        quotas.tunnels.map(|limit| format!("{} open at once", count(limit.into()))),
    ];
    let all = limits.iter().all(Option::is_some);
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    if limits.is_empty() {
        return "nothing is limited".into();
    }
    let rest = if all { "" } else { "; all else is unlimited" };
    let grace = match quotas.grace_percent {
        0 => String::new(),
        percent => format!("; a month's quotas may be passed by {percent} %"),
    };
    format!("{}{rest}{grace}", limits.join(", "))
}

/// What an account has used this month, with a warning where it nears its end.
pub(super) fn month(tier: &str, quota: &Quota) -> String {
    let Quota { quotas, spent } = quota;
    let mut text = format!("tier         {tier}: {}\n", allows(quotas));
    let ends = when(spent.until);
    let months = [
        ("requests", spent.requests, count(spent.requests), quotas.requests_per_month, count as fn(u64) -> String),
        ("bytes", spent.bytes, bytes_beside(spent.bytes, quotas.bytes_per_month), quotas.bytes_per_month, size),
    ];
    for (what, used, shown, limit, say) in months {
        let Some(limit) = limit else {
            let _ = writeln!(text, "{what:11}  {shown} this month, of any number");
            continue;
        };
        let percent = percent(used, limit);
        let _ = writeln!(text, "{what:11}  {shown} of {} this month ({percent} %)", say(limit));
        if let Some(warning) = warning(what, percent, quotas.grace_percent.into(), &ends) {
            let _ = writeln!(text, "             {warning}");
        }
    }
    let _ = writeln!(text, "month ends   {ends}");
    text
}

/// A count of bytes beside a limit, in units of the same kind.
fn bytes_beside(used: u64, limit: Option<u64>) -> String {
    match limit {
        Some(limit) if limit > 0 && limit.is_multiple_of(1_000) => decimal(used),
        _ => bytes(used),
    }
}

fn decimal(used: u64) -> String {
    let units = [(1_000_000_000_000_u64, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let unit = units.into_iter().find(|(unit, _)| used >= 10_000 && used >= *unit);
    unit.map_or_else(|| bytes(used), |(unit, name)| format!("{:.1} {name}", used as f64 / unit as f64))
}

fn percent(used: u64, limit: u64) -> u64 {
    let percent = (u128::from(used) * 100).checked_div(u128::from(limit)).unwrap_or(100);
    u64::try_from(percent).unwrap_or(u64::MAX)
}

fn warning(what: &str, percent: u64, grace: u64, ends: &str) -> Option<String> {
    Some(match percent {
        0..WARN => return None,
        WARN..100 => format!("WARNING: nearly spent; when all {what} are, more are refused until {ends}"),
        _ if percent < 100 + grace => {
            format!("WARNING: spent; {grace} % more are tolerated, then {what} are refused until {ends}")
        }
        _ => format!("SPENT: more {what} are refused until {ends}, or until the account has a larger tier"),
    })
}

#[cfg(test)]
mod tests {
    use moorgate_api::view::Spent;

    use super::*;

    fn said(requests: u64, grace_percent: u8) -> String {
        let quotas = Quotas { requests_per_month: Some(1_000), grace_percent, ..Quotas::default() };
        let until = "2026-12-01T00:00:00Z".parse().unwrap();
        month("gold", &Quota { quotas, spent: Spent { requests, bytes: 20_480, until } })
    }

    #[test]
    fn whoever_nears_a_quota_is_warned() {
        for (requests, grace, word) in
            [(799, 0, ""), (800, 0, "nearly spent"), (999, 0, "nearly"), (1_000, 0, "SPENT"), (1_000, 10, "tolerated")]
        {
            let text = said(requests, grace);
            assert!(text.contains(word) && text.contains("month ends   2026-1"), "{text}");
            assert_eq!(text.contains("WARNING") || text.contains("SPENT"), !word.is_empty(), "{text}");
        }
        assert!(said(1_100, 10).contains("SPENT"));
        assert!(said(1, 0).contains("1 of 1,000 this month (0 %)\nbytes        20.0 KiB this month, of any number\n"));
    }

    #[test]
    fn bytes_stand_in_the_units_of_their_limit() {
        assert_eq!(bytes_beside(12_900_000, Some(12_000_000)), "12.9 MB");
        assert_eq!(bytes_beside(1_230_000_000, Some(5_000)), "1.2 GB");
        assert_eq!(bytes_beside(900, Some(12_000_000)), "900 B");
        assert_eq!(bytes_beside(12_900_000, Some(12 << 20)), "12.3 MiB");
        assert_eq!(bytes_beside(12_900_000, None), "12.3 MiB");
    }

    #[test]
    fn a_tier_says_what_it_limits_and_what_not() {
        assert_eq!(allows(&Quotas::default()), "nothing is limited");
        let some = Quotas { requests_per_second: Some(10), bytes_per_month: Some(20 << 30), ..Quotas::default() };
        assert_eq!(allows(&some), "10 requests a second, 20 GiB a month; all else is unlimited");
        let all = Quotas {
            requests_per_month: Some(1_000_000),
            bytes_per_second: Some(10_240),
            tunnels: Some(5),
            grace_percent: 10,
            ..some
        };
        assert!(allows(&all).ends_with("5 open at once; a month's quotas may be passed by 10 %"), "{}", allows(&all));
    }

    #[test]
    fn a_quota_of_nothing_is_spent() {
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(u64::MAX, 1), u64::MAX);
    }
}
