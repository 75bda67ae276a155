use super::*;
use crate::quota::Quotas;
use crate::time::Timestamp;

fn quota(rate: Option<u64>) -> Arc<Quota> {
    Arc::new(Quota::new(Quotas { bytes_per_second: rate, ..Quotas::default() }, Timestamp(u64::MAX)))
}

/// Flows that each take whatever they are given, in pieces of at most their size, for some seconds; what each moved.
fn run(quota: &Arc<Quota>, sizes: &[u64], seconds: u32) -> Vec<u64> {
    let shares: Vec<_> = sizes.iter().map(|size| (Share::new(quota.clone()), *size)).collect();
    let mut moved = vec![0; sizes.len()];
    let began = Instant::now();
    for tick in 0..seconds * 50 {
        let now = began + TICK * tick;
        for (at, (share, size)) in shares.iter().enumerate() {
            while let Turn::Now(most) = share.turn(now, Waker::noop()) {
                let piece = most.min(*size);
                share.moved(piece);
                moved[at] += piece;
            }
        }
        quota.tick(now);
    }
    moved
}

#[test]
fn together_they_move_what_the_pace_says_and_each_the_same() {
    for (rate, flows) in [(1_000_000, 1), (1_000_000, 7), (50_000, 100), (999, 3)] {
        let moved = run(&quota(Some(rate)), &vec![65_536; flows], 20);
        let total: u64 = moved.iter().sum();
        assert!(total <= rate * 21 && total >= rate * 19 - 256, "{total} of {rate}");
        let (least, most) = (moved.iter().min().unwrap(), moved.iter().max().unwrap());
        assert!(most - least <= rate / 5 + 512, "{least} to {most} at {rate}");
    }
}

#[test]
fn a_fat_flow_leaves_a_thin_one_its_part() {
    let moved = run(&quota(Some(1_000_000)), &[1_000_000, 10], 10);
    assert!(moved[1] >= 4_000_000, "{moved:?}");
}

#[test]
fn without_a_pace_nothing_waits_and_a_new_one_holds_for_open_flows() {
    let (free, now) = (quota(None), Instant::now());
    let share = Share::new(free.clone());
    share.moved(u64::MAX);
    assert_eq!(share.turn(now, Waker::noop()), Turn::Now(UNLIMITED));
    let slow = Arc::new(quota(Some(100)).replacing(&free));
    assert!(matches!(share.turn(now, Waker::noop()), Turn::Now(2)));
    share.moved(1_000);
    assert_eq!(share.turn(now, Waker::noop()), Turn::Wait { tick: true });
    assert_eq!(share.turn(now, Waker::noop()), Turn::Wait { tick: false });
    assert!(share.waits() && slow.tick(now));
    let _free = quota(None).replacing(&slow);
    assert!(slow.tick(now) && !share.waits());
    assert!(!slow.tick(now), "nobody had waited any more");
}

#[test]
fn what_is_owed_is_paid_before_anything_moves() {
    let (quota, now) = (quota(Some(1_000)), Instant::now());
    let share = Share::new(quota.clone());
    assert!(matches!(share.turn(now, Waker::noop()), Turn::Now(_)));
    share.moved(2_020);
    assert!(matches!(share.turn(now, Waker::noop()), Turn::Wait { .. }));
    let waited = (1..).find(|tick| !quota.tick(now + TICK * *tick)).unwrap();
    assert!((90..=102).contains(&waited), "{waited} ticks");
}
