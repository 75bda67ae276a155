use super::*;

fn pool(specs: &[(&str, u16)]) -> Pool {
    let specs: Vec<_> =
        specs.iter().map(|(url, weight)| OriginSpec { url: url.parse().unwrap(), weight: *weight }).collect();
    Pool::new(&specs)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Draws that are the same in every run.
fn draws() -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ (state >> 29)
    })
}

/// How often each origin is picked in 10,000 draws, with nothing open.
fn shares(pool: &Pool, now: Duration) -> Vec<usize> {
    let mut shares = vec![0; pool.origins().len()];
    draws().take(10_000).for_each(|random| shares[pool.pick(&[], random, now).unwrap().0] += 1);
    shares
}

#[test]
fn origins_share_and_weights_count() {
    let even = shares(&pool(&[("http://10.0.0.1:80", 1), ("http://10.0.0.2:80", 1)]), seconds(1));
    assert!(even.iter().all(|share| (4_000..6_000).contains(share)), "{even:?}");
    let pool = pool(&[("http://10.0.0.1:80", 3), ("http://10.0.0.2:80", 1)]);
    let mut kept = Vec::new();
    let mut picked = [0; 2];
    for random in draws().take(400) {
        let (at, origin) = pool.pick(&[], random, seconds(1)).unwrap();
        picked[at] += 1;
        kept.push(origin.health.take());
    }
    assert!((280..=320).contains(&picked[0]), "three quarters of what stays open: {picked:?}");
    drop(kept);
    let idle = shares(&pool, seconds(1));
    assert!((7_000..8_000).contains(&idle[0]), "and of what comes one at a time: {idle:?}");
}

#[test]
fn of_two_the_less_loaded_one_is_taken() {
    let pool = pool(&[("http://10.0.0.1:80", 1), ("http://10.0.0.2:80", 1)]);
    let _busy: Vec<_> = (0..5).map(|_| pool.origins()[0].health.take()).collect();
    assert_eq!(shares(&pool, seconds(1)), [0, 10_000]);
}

#[test]
fn what_was_tried_is_not_tried_again_and_then_nothing_is_left() {
    let pool = pool(&[("http://10.0.0.1:80", 1), ("http://10.0.0.2:80", 1)]);
    let (first, _) = pool.pick(&[], 5, seconds(1)).unwrap();
    let (second, _) = pool.pick(&[first], 5, seconds(1)).unwrap();
    assert_ne!(first, second);
    assert!(pool.pick(&[first, second], 5, seconds(1)).is_none());
}

#[test]
fn failures_in_a_row_eject_for_longer_each_time_and_a_success_ends_that() {
    let pool = pool(&[("http://10.0.0.1:80", 1), ("http://10.0.0.2:80", 1)]);
    let health = &pool.origins()[0].health;
    let fail = |at| (0..EJECT_AFTER).fold(false, |_, _| health.failed(seconds(at)));
    assert!(!health.failed(seconds(100)));
    health.succeeded(seconds(100));
    assert!(fail(100), "the third in a row");
    assert_eq!((health.standing(seconds(104)), health.standing(seconds(105))), (Standing::Ejected, Standing::Up));
    assert_eq!(shares(&pool, seconds(104)), [0, 10_000]);
    fail(106);
    assert_eq!((health.standing(seconds(115)), health.standing(seconds(116))), (Standing::Ejected, Standing::Up));
    (2..20).for_each(|time| assert!(fail(1_000 * time)));
    assert!(!fail(19_001), "what was under way then says nothing new");
    assert_eq!(health.standing(seconds(19_000) + EJECT_MOST), Standing::Up);
    assert!(health.succeeded(seconds(20_000)), "it is back");
    fail(30_000);
    assert_eq!(health.standing(seconds(30_005)), Standing::Up, "counted from the beginning again");
}

#[test]
fn one_that_came_back_starts_slowly() {
    let pool = pool(&[("http://10.0.0.1:80", 1), ("http://10.0.0.2:80", 1)]);
    let health = &pool.origins()[0].health;
    assert!((0..CHECKS_TO_DOWN).any(|_| health.checked(false, seconds(10))));
    assert_eq!(shares(&pool, seconds(11)), [0, 10_000], "down");
    assert!(health.checked(true, seconds(20)));
    let [early, ..] = *shares(&pool, seconds(21)) else { panic!() };
    let [late, ..] = *shares(&pool, seconds(20) + SLOW_START) else { panic!() };
    assert!(early < 2_000 && late > 4_000, "{early}, then {late}");
}

#[test]
fn when_all_are_down_they_are_tried_all_the_same() {
    let pool = pool(&[("http://10.0.0.1:80", 1)]);
    assert!((0..CHECKS_TO_DOWN).any(|_| pool.origins()[0].health.checked(false, seconds(1))));
    assert!(pool.pick(&[], 0, seconds(2)).is_some());
}

#[test]
fn an_edited_route_remembers_its_origins() {
    let old = pool(&[("http://10.0.0.1:80", 1), ("http://10.0.0.2:80", 1)]);
    let open = old.origins()[1].health.take();
    let mut new = pool(&[("http://10.0.0.2:80", 5), ("http://10.0.0.3:80", 1)]);
    new.take_over(&old);
    assert_eq!(new.origins()[0].health.open(), 1);
    drop(open);
    assert_eq!((new.origins()[0].health.open(), new.origins()[0].weight), (0, 5));
}
