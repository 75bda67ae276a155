//! Quotas that hold for several gateways on one store together.

use std::{sync::Arc, time::Duration};

use moorgate_contract::{
    account::{Account, Place},
    quota::Quotas,
};
use test_postgres::Postgres;
use tokio::time::sleep;

use super::postgres::two;
use crate::{
    AccountChange, Control,
    control::now,
    testing::{House, until},
};

fn account(house: &House) -> Arc<Account> {
    house.plane.served().account("default").unwrap().clone()
}

async fn limit(control: &Control, houses: [&House; 2], quotas: Quotas) {
    control.set_tier("small", quotas).await.unwrap();
    let change = AccountChange { tier: Some(Some("small".to_owned())), ..AccountChange::default() };
    control.set_account("default", change).await.unwrap();
    until(|| houses.iter().all(|house| account(house).quota.as_ref().is_some_and(|q| *q.quotas() == quotas))).await;
}

/// As many places as are to be had.
fn places(house: &House) -> Vec<Place> {
    std::iter::from_fn(|| account(house).take_place(usize::MAX).ok()).collect()
}

/// Waits until a gateway would give so many places, neither more nor fewer.
async fn leaves(house: &House, count: usize) {
    until(|| places(house).len() == count).await;
}

#[tokio::test]
async fn what_is_open_at_one_gateway_is_open_for_all() {
    let server = Postgres::start();
    let (first, second) = two(&server);
    let (one, _) = first.open().await.unwrap();
    let (two, _) = second.open().await.unwrap();
    limit(&one, [&first, &second], Quotas { tunnels: Some(5), ..Quotas::default() }).await;
    let mut open = places(&first);
    assert_eq!(open.len(), 5);
    leaves(&second, 0).await;
    let refused = account(&second).take_place(usize::MAX).unwrap_err();
    assert!(refused.said.contains("has 5 tunnels and requests open on its gateways"), "{}", refused.said);
    assert_eq!(two.open_of(&account(&second)), 5);

    open.truncate(2);
    leaves(&second, 3).await;
    let more = places(&second);
    leaves(&first, 0).await;
    drop(more);
    leaves(&first, 3).await;
    // One that is killed gives back what it had.
    drop((one, first));
    leaves(&second, 5).await;
}

#[tokio::test]
async fn a_rate_is_shared_out_by_what_is_wanted() {
    let server = Postgres::start();
    let (first, second) = two(&server);
    let (one, _) = first.open().await.unwrap();
    let (two, _) = second.open().await.unwrap();
    let quotas = Quotas { requests_per_second: Some(10), bytes_per_second: Some(1_000_000), ..Quotas::default() };
    limit(&one, [&first, &second], quotas).await;
    let mut clock = now();
    // What is let through in the ten seconds after those in which everybody tries.
    let mut through = async |tries: [usize; 2]| {
        let try_both = |clock| {
            [(&first, tries[0]), (&second, tries[1])].map(|(house, tries)| {
                let quota = account(house).quota.clone().unwrap();
                (0..tries).filter(|_| quota.take_request("default", clock).is_ok()).count()
            })
        };
        for _ in 0..3 {
            try_both(clock);
            sleep(Duration::from_millis(700)).await;
            one.settle().await.unwrap();
            two.settle().await.unwrap();
            one.settle().await.unwrap();
        }
        let mut sum = [0, 0];
        for _ in 0..100 {
            clock = clock.after(Duration::from_millis(100));
            let [a, b] = try_both(clock);
            sum = [sum[0] + a, sum[1] + b];
        }
        sum
    };
    // Who is alone has all of it.
    assert!(through([20, 0]).await[0] >= 100);
    // Two that want more share it evenly.
    let [a, b] = through([20, 20]).await;
    assert!((50..60).contains(&a) && (50..60).contains(&b), "{a} {b}");
}
