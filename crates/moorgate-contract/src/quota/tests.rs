use std::thread;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn at(millis: u64) -> Timestamp {
    NOW.after(Duration::from_millis(millis))
}

fn month() -> Timestamp {
    NOW.after(OWN_MONTH)
}

fn new(quotas: Quotas) -> Quota {
    Quota::new(quotas, month())
}

fn refusal(quota: &Quota, now: Timestamp) -> (u32, String) {
    let failure = quota.take_request("acme", now).unwrap_err();
    assert_eq!(failure.code, Code::QuotaSpent);
    (failure.retry_after.unwrap(), failure.said.into())
}

#[test]
fn without_quotas_nothing_is_limited() {
    let quota = new(Quotas::default());
    assert!(quota.quotas().is_unlimited() && Quotas { grace_percent: 9, ..Quotas::default() }.is_unlimited());
    assert!(!Quotas { tunnels: Some(1), ..Quotas::default() }.is_unlimited());
    for _ in 0..10_000 {
        quota.take_request("acme", NOW).unwrap();
    }
    quota.spend_bytes(u64::MAX / 2);
    assert!(!quota.is_beyond_grace(NOW));
    assert_eq!(quota.spent(), Spent { requests: 10_000, bytes: u64::MAX / 2 });
}

#[test]
fn quotas_read_as_they_are_written_and_unknown_ones_are_refused() {
    let text = r#"{"requests_per_second":5,"bytes_per_month":7,"grace_percent":10}"#;
    let quotas: Quotas = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&quotas).unwrap(), text);
    assert_eq!(serde_json::to_string(&Quotas::default()).unwrap(), "{}");
    assert!(serde_json::from_str::<Quotas>(r#"{"requests":5}"#).is_err());
}

#[test]
fn a_rate_lets_one_seconds_worth_through_at_once_and_then_one_after_the_other() {
    let quota = new(Quotas { requests_per_second: Some(5), ..Quotas::default() });
    let let_through = |now| (0..20).filter(|_| quota.take_request("acme", now).is_ok()).count();
    assert_eq!(let_through(NOW), 5);
    assert_eq!(let_through(at(199)), 0);
    assert_eq!(let_through(at(200)), 1);
    assert_eq!(let_through(at(600)), 2);
    assert_eq!(let_through(at(60_000)), 5);
    let (after, said) = refusal(&quota, at(60_000));
    assert_eq!(after, 1);
    assert!(said.contains("account acme has spent its quota of 5 requests per second; free again in 1 s"), "{said}");
    assert!(said.contains("ask your operator for a larger tier"), "{said}");
    assert_eq!(quota.spent().requests, 13, "what is refused does not count");
}

#[test]
fn however_requests_come_as_many_are_let_through_as_the_rate_says() {
    for rate in [1, 3, 7, 100, 999] {
        let quota = new(Quotas { requests_per_second: Some(rate), ..Quotas::default() });
        let mut through = 0_u64;
        for millis in 0..10_000 {
            through += (0..3).filter(|_| quota.take_request("acme", at(millis)).is_ok()).count() as u64;
        }
        let expected = u64::from(rate) * 10;
        assert!(through >= expected && through <= expected + u64::from(rate) + 1, "{through} at {rate}");
    }
}

#[test]
fn a_rate_of_nothing_lets_nothing_through_and_a_clock_that_was_set_back_locks_nobody_out() {
    let none = new(Quotas { requests_per_second: Some(0), ..Quotas::default() });
    assert!(none.take_request("acme", NOW).is_err());
    let quota = new(Quotas { requests_per_second: Some(1), ..Quotas::default() });
    quota.take_request("acme", at(3_600_000)).unwrap();
    quota.take_request("acme", NOW).unwrap();
    assert!(quota.take_request("acme", NOW).is_err());
}

#[test]
fn a_month_counts_from_zero_until_somebody_grants_and_tolerates_its_grace() {
    let quota = new(Quotas { requests_per_month: Some(10), grace_percent: 20, ..Quotas::default() });
    for _ in 0..12 {
        quota.take_request("acme", NOW).unwrap();
    }
    let (after, said) = refusal(&quota, NOW);
    assert_eq!(u64::from(after), OWN_MONTH.as_secs());
    assert!(said.contains("10 requests per month; free again in 31 days"), "{said}");

    // Two beyond the quota, and within its grace; then ten more.
    quota.grant(Grant { at: quota.spent(), requests: Some(-2), bytes: None, until: at(1_500) });
    assert!(quota.take_request("acme", NOW).is_err());
    quota.grant(Grant { at: quota.spent(), requests: Some(8), bytes: None, until: at(1_500) });
    for _ in 12..22 {
        quota.take_request("acme", NOW).unwrap();
    }
    assert_eq!(refusal(&quota, NOW).0, 2, "whole seconds, and none too early");
    assert_eq!(refusal(&quota, at(1_499)).0, 1);
}

#[test]
fn a_month_that_control_does_not_renew_begins_by_itself() {
    let quotas = Quotas { requests_per_month: Some(2), bytes_per_month: Some(100), ..Quotas::default() };
    let quota = new(quotas);
    let two = |now| (0..5).filter(|_| quota.take_request("acme", now).is_ok()).count();
    assert_eq!(two(NOW), 2);
    assert_eq!(two(month()), 2);
    // Several months at once are one month's worth.
    let later = month().after(OWN_MONTH * 5);
    quota.spend_bytes(100);
    assert!(quota.is_beyond_grace(month()));
    assert!(!quota.is_beyond_grace(later));
    assert_eq!(two(later), 2);
    let live = &quota.live;
    assert_eq!((live.most_requests.load(Relaxed), live.most_bytes.load(Relaxed)), (6, 200));
    assert_eq!(live.until.load(Relaxed), later.after(OWN_MONTH).0);
}

#[test]
fn bytes_are_refused_and_open_tunnels_cut_beyond_the_grace() {
    let quota = new(Quotas { bytes_per_month: Some(1_000), grace_percent: 10, ..Quotas::default() });
    quota.spend_bytes(1_099);
    assert!(!quota.is_beyond_grace(NOW) && quota.take_request("acme", NOW).is_ok());
    quota.spend_bytes(1);
    assert!(quota.is_beyond_grace(NOW));
    assert!(refusal(&quota, NOW).1.contains("1 kB per month"));
    quota.grant(Grant { at: quota.spent(), requests: None, bytes: None, until: month() });
    assert!(!quota.is_beyond_grace(NOW) && quota.take_request("acme", NOW).is_ok());
}

#[test]
fn edited_quotas_keep_what_was_spent() {
    let old = new(Quotas { requests_per_month: Some(2), ..Quotas::default() });
    old.grant(Grant { at: old.spent(), requests: Some(2), bytes: None, until: month() });
    (0..2).for_each(|_| old.take_request("acme", NOW).unwrap());
    assert!(old.take_request("acme", NOW).is_err());

    let more = new(Quotas { requests_per_month: Some(3), ..Quotas::default() }).replacing(&old);
    assert_ne!(more, old);
    more.take_request("acme", NOW).unwrap();
    assert!(more.take_request("acme", NOW).is_err());
    assert_eq!(old.spent(), more.spent());

    // The same again changes nothing.
    let same = new(*more.quotas()).replacing(&more);
    assert!(same == more && same.take_request("acme", NOW).is_err());
    let free = new(Quotas::default()).replacing(&same);
    free.take_request("acme", NOW).unwrap();
    let bound = new(Quotas { requests_per_month: Some(1), ..Quotas::default() }).replacing(&free);
    bound.take_request("acme", NOW).unwrap();
    assert!(bound.take_request("acme", NOW).is_err());
}

#[test]
fn many_at_once_are_let_through_exactly_as_often_as_was_granted() {
    let quotas = Quotas { requests_per_month: Some(1_000), requests_per_second: Some(5_000), ..Quotas::default() };
    let quota = new(quotas);
    let through: usize = thread::scope(|scope| {
        let take = || (0..1_000).filter(|_| quota.take_request("acme", NOW).is_ok()).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((through, quota.spent().requests), (1_000, 1_000));
}

#[test]
fn what_a_run_before_spent_beyond_the_quota_is_taken_from_the_grace() {
    let quota = new(Quotas { bytes_per_month: Some(1_000), grace_percent: 10, ..Quotas::default() });
    // Fifty of the hundred are spent already, and none by this run.
    quota.grant(Grant { at: Spent::default(), requests: None, bytes: Some(-50), until: month() });
    quota.spend_bytes(49);
    assert!(!quota.is_beyond_grace(NOW));
    quota.spend_bytes(1);
    assert!(quota.is_beyond_grace(NOW));
    quota.grant(Grant { at: Spent::default(), requests: None, bytes: Some(-500), until: month() });
    assert!(new(*quota.quotas()).replacing(&quota).is_beyond_grace(NOW));
}

#[test]
fn what_other_gateways_have_is_left_to_them() {
    let quotas =
        Quotas { requests_per_second: Some(10), bytes_per_second: Some(1_000), tunnels: Some(5), ..Quotas::default() };
    let quota = new(quotas);
    let through = |quota: &Quota, now| (0..20).filter(|_| quota.take_request("acme", now).is_ok()).count();
    assert_eq!((quota.places(), through(&quota, NOW)), (Some((5, false)), 10));
    let other = Demand { open: 2, requests: 7_500, bytes: 10 };
    quota.leave_to(&[other]);
    assert_eq!((quota.places(), through(&quota, at(2_000))), (Some((3, true)), 5));
    // The same quotas in a new snapshot are the same; others are all ours, until it is said anew.
    let same = new(quotas).replacing(&quota);
    assert_eq!((same.places(), through(&same, at(4_000))), (Some((3, true)), 5));
    let larger = new(Quotas { tunnels: Some(7), ..quotas }).replacing(&same);
    assert_eq!((larger.places(), through(&larger, at(6_000))), (Some((7, false)), 10));
    larger.leave_to(&[other, Demand { open: 9, ..Demand::default() }]);
    assert_eq!(larger.places(), Some((0, true)));
    assert_eq!(larger.asked(), 80, "also what came too fast");
}

#[test]
fn a_rate_of_less_than_one_in_a_second_lets_one_through_now_and_then() {
    let quota = new(Quotas { requests_per_second: Some(1), ..Quotas::default() });
    quota.leave_to(&[Demand { requests: 5_000, ..Demand::default() }]);
    let through = (0..100).filter(|n| quota.take_request("acme", at(n * 100)).is_ok()).count();
    assert_eq!(through, 5, "half of ten seconds");
}

#[test]
fn what_is_left_of_a_month_is_shared_out_among_those_that_spend_it() {
    let quotas = Quotas { requests_per_month: Some(100), grace_percent: 10, ..Quotas::default() };
    let part = |left, sharers| quotas.part(left, 100, sharers);
    assert_eq!((part(100, 1), part(-3, 1)), (100, -3));
    // 110 with the grace: 37 for each of three, and so beyond what each may run to.
    assert_eq!(part(100, 3) + 10, 37);
    assert_eq!(part(-9, 3) + 10, 1, "the last one is anybody's");
    assert_eq!((part(-10, 3), part(-50, 3)), (-10, -50), "and then there is nothing");
}
