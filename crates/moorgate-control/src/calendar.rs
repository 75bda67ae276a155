//! Hours and months of the civil calendar, UTC.

use jiff::{Timestamp as Instant, civil::date, tz::TimeZone};
use moorgate_contract::time::Timestamp;

const MICROS_PER_HOUR: u64 = 3_600_000_000;

/// Hours since the epoch.
pub(crate) fn hour(at: Timestamp) -> u64 {
    at.0 / MICROS_PER_HOUR
}

/// When an hour begins.
pub(crate) fn begin_of_hour(hour: u64) -> Timestamp {
    Timestamp(hour.saturating_mul(MICROS_PER_HOUR))
}

/// Months since the year 0: twelve for each year.
pub(crate) fn month(at: Timestamp) -> u64 {
    let micros = i64::try_from(at.0).unwrap_or(i64::MAX);
    let Ok(instant) = Instant::from_microsecond(micros) else { return u64::MAX };
    let date = TimeZone::UTC.to_datetime(instant).date();
    let (year, month) = (i64::from(date.year()), i64::from(date.month()));
    u64::try_from(year * 12 + month - 1).unwrap_or_default()
}

/// The month of an hour.
pub(crate) fn month_of_hour(hour: u64) -> u64 {
    month(begin_of_hour(hour))
}

/// When a month ends. Far off for one beyond the calendar.
pub(crate) fn end_of_month(month: u64) -> Timestamp {
    let next = month.saturating_add(1);
    let year = i16::try_from(next / 12).ok();
    let first = i8::try_from(next % 12 + 1).ok();
    let begins = year.zip(first).and_then(|(year, month)| {
        let midnight = (-9999..=9999).contains(&year).then(|| date(year, month, 1))?;
        TimeZone::UTC.to_timestamp(midnight.at(0, 0, 0, 0)).ok()
    });
    let micros = begins.map(Instant::as_microsecond);
    Timestamp(micros.and_then(|micros| u64::try_from(micros).ok()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_end_where_the_next_begin() {
        // 2026-11-28 12:00:00 UTC
        let at = Timestamp(1_795_867_200_000_000);
        assert_eq!(month(at), 2026 * 12 + 10);
        // 2026-12-01 00:00:00 UTC
        let end = end_of_month(month(at));
        assert_eq!(end, Timestamp(1_796_083_200_000_000));
        assert_eq!((month(end), month(Timestamp(end.0 - 1))), (month(at) + 1, month(at)));
        // December is followed by January.
        assert_eq!(month(end_of_month(month(end))), 2027 * 12);
        assert_eq!(end_of_month(u64::MAX), Timestamp(u64::MAX));
    }
}
