use super::*;

fn micros(times: impl IntoIterator<Item = u64>) -> Vec<Duration> {
    times.into_iter().map(Duration::from_micros).collect()
}

#[test]
fn percentiles_are_of_the_nearest_rank() {
    let hundred = micros(1..=100);
    assert_eq!((percentile(&hundred, 50).round(), percentile(&hundred, 99).round()), (50.0, 99.0));
    assert_eq!(percentile(&micros([7]), 99).round(), 7.0);
    assert_eq!(percentile(&[], 50), 0.0);
}

#[test]
fn a_report_adds_up_its_workers_and_forgives_each_its_first_handshake() {
    let one = Tally { done: 3, bytes: 10, times: micros([1, 2, 3]), resumed: 2, full: 1, ..Tally::default() };
    let two = Tally { done: 1, errors: 1, last_error: Some("gone".into()), full: 2, ..Tally::default() };
    let report = Report::of(vec![one, two], Duration::from_secs(2), true);
    assert_eq!((report.done, report.bytes, report.errors), (4, 10, 1));
    assert_eq!((report.resumed, report.not_resumed), (2, 1));
    assert_eq!(report.last_error.as_deref(), Some("gone"));
    assert!((report.per_s - 2.0).abs() < 1e-9);
}
