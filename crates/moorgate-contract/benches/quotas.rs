//! What there being quotas costs an account that has none: next to nothing is the promise. Each place where traffic asks
//! for them is measured for an account without and for one that has them all, far from being spent; and, where the question
//! can be left out, without it.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::{Duration, Instant, SystemTime},
};

use criterion::Criterion;
use moorgate_contract::{
    account::{Account, AccountId, Place},
    egress::Pair,
    failure::Failure,
    flow::Meter,
    pace::Turn,
    policy::Policy,
    quota::{Quota, Quotas},
    time::Timestamp,
};

/// The gateway's own limit of what an account has open.
const PLACES: usize = 10_000;
/// Bytes that are moved at once.
const BATCH: u64 = 16 * 1024;
/// Bytes in a second: 100 Mbit/s.
const PACE: u64 = 12_500_000;
/// A batch takes a little longer than the pace asks for, so that nothing waits.
const BATCH_TIME: Duration = Duration::from_micros(1_320);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    beginning(&mut criterion);
    batch(&mut criterion);
    sweep(&mut criterion);
    criterion.final_summary();
}

/// A tunnel or exchange begins, as `Visit::enter` does it: a place and a request are taken, and its meter learns what its
/// bytes are spent of.
fn beginning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("beginning");
    let (unlimited, limited) = (account(None), account(Some(quota())));
    group.bench_function("not asked", |bencher| {
        bencher.iter(|| Some((black_box(&unlimited).load.take(PLACES)?, black_box(Meter::default()))));
    });
    for (name, account) in [("no quotas", &unlimited), ("all quotas", &limited)] {
        assert!((0..10_000).all(|_| begin(account).is_ok()), "{name}: not what is to be measured");
        group.bench_function(name, |bencher| bencher.iter(|| begin(black_box(account))));
    }
}

fn begin(account: &Account) -> Result<(Place, Meter), Failure> {
    let place = account.take_place(PLACES)?;
    account.take_request(now)?;
    let meter = black_box(Meter::default());
    if let Some(quota) = &account.quota {
        meter.spend_of(quota);
    }
    Ok((place, meter))
}

/// Bytes come from the target, as `Relay` does it: is it their turn, and how many were they.
fn batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    let counter = Arc::new(AtomicU64::new(0));
    group.bench_function("not asked", |bencher| {
        bencher.iter(|| {
            black_box(&*counter).fetch_add(BATCH, Relaxed);
            u64::MAX
        });
    });
    for (name, meter) in meters() {
        let mut at = Instant::now();
        let mut turn = || {
            at += BATCH_TIME;
            move_batch(black_box(&*meter), at)
        };
        assert!((0..10_000).all(|_| turn() > 0), "{name}: not what is to be measured");
        group.bench_function(name, |bencher| bencher.iter(&mut turn));
    }
}

/// The bytes that may be moved; 0: it would have to wait.
fn move_batch(meter: &Meter, at: Instant) -> u64 {
    let most = match meter.share() {
        None => u64::MAX,
        Some(share) => {
            // The clock is read for the time that this takes: in its own time, no pace could be kept.
            black_box(Instant::now());
            match share.turn(at, Waker::noop()) {
                Turn::Now(bytes) => bytes,
                Turn::Wait { .. } => 0,
            }
        }
    };
    meter.add_down(BATCH);
    most
}

/// A flow is looked at four times a second, as `Registry::sweep` does it.
fn sweep(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sweep");
    let at = now();
    for (name, meter) in meters() {
        let look = || {
            let meter = black_box(&*meter);
            let waits = meter.share().is_some_and(|share| share.waits());
            let moved = meter.take_unreported();
            (waits, moved, meter.quota().is_some_and(|quota| quota.is_beyond_grace(at)))
        };
        group.bench_function(name, |bencher| bencher.iter(look));
    }
}

fn meters() -> [(&'static str, Arc<Meter>); 2] {
    let (unlimited, limited) = (Arc::<Meter>::default(), Arc::<Meter>::default());
    limited.spend_of(&quota());
    [("no quotas", unlimited), ("all quotas", limited)]
}

fn quota() -> Arc<Quota> {
    let quotas = Quotas {
        requests_per_second: Some(1_000_000_000),
        requests_per_month: Some(u64::MAX / 2),
        bytes_per_second: Some(PACE),
        bytes_per_month: Some(u64::MAX / 2),
        tunnels: Some(1_000),
        grace_percent: 10,
    };
    Arc::new(Quota::new(quotas, Timestamp(u64::MAX)))
}

fn account(quota: Option<Arc<Quota>>) -> Account {
    Account {
        id: AccountId(1),
        name: "acme".into(),
        policy: Policy::default(),
        policy_cuts: 0,
        egress: Pair::default(),
        load: Default::default(),
        quota,
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
