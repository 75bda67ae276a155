//! The sealed copy: all rows once, then what has changed.

use std::{fs, path::Path};

use moorgate_contract::{
    policy::{Effect, Policy, Rule},
    route::Mode,
};
use serde_json::json;

use crate::{
    AccountChange, Control,
    book::Rows,
    error::SealedProblem,
    sealed,
    testing::{House, Made, change, master_keys, until},
};

const ALL: &str = "snapshot.sealed";
const CHANGES: &str = "snapshot.changes";

fn read(dir: &Path) -> Result<Rows, SealedProblem> {
    sealed::read(dir, &master_keys(&[1]))
}

/// Waits until the copy has all that is served.
async fn caught_up(house: &House, control: &Control) -> Rows {
    until(|| read(house.dir.path()).is_ok_and(|rows| rows.version == control.status().snapshot_version)).await;
    read(house.dir.path()).unwrap()
}

/// A change of every kind, each sealed by itself.
async fn change_all(house: &House, control: &Control) {
    let origins = || change(json!({ "origins": [{ "url": "http://192.0.2.7:1" }] }));
    let made = Made::of(&["a.example.com"]);
    let (chain, key) = (made.chain.as_bytes(), made.key.as_bytes());
    control.set_tier("small", Default::default()).await.unwrap();
    control.set_tier("unused", Default::default()).await.unwrap();
    control.remove_tier("unused").await.unwrap();
    control.add_account("acme").await.unwrap();
    control.add_account("gone").await.unwrap();
    control.add_credential("gone", Default::default()).await.unwrap();
    control.add_route(Some("gone"), "gone.example.com", Mode::Terminate, origins()).await.unwrap();
    caught_up(house, control).await;
    control.add_route(Some("acme"), "a.example.com", Mode::Terminate, origins()).await.unwrap();
    control.add_certificate(None, "a.example.com", chain, key).await.unwrap();
    control.add_route(Some("acme"), "b.example.com", Mode::Terminate, origins()).await.unwrap();
    control.remove_route("b.example.com").await.unwrap();
    caught_up(house, control).await;
    let one = control.add_credential("acme", Default::default()).await.unwrap();
    let two = control.add_credential("acme", Default::default()).await.unwrap();
    control.rotate_credential("acme", &one.username, std::time::Duration::from_secs(3600)).await.unwrap();
    control.revoke_credential("acme", &two.username).await.unwrap();
    let token = control.add_token(Some("acme"), crate::Scope::Read).await.unwrap();
    control.add_token(None, crate::Scope::Read).await.unwrap();
    control.revoke_token(&token.id).await.unwrap();
    caught_up(house, control).await;
    let tier = AccountChange { tier: Some(Some("small".to_owned())), ..AccountChange::default() };
    control.set_account("acme", tier).await.unwrap();
    control.remove_account("gone").await.unwrap();
}

#[tokio::test]
async fn changes_are_sealed_one_by_one_and_make_up_what_is_served() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    caught_up(&house, &control).await;
    let all = fs::read(house.path(ALL)).unwrap();
    change_all(&house, &control).await;
    let copy = caught_up(&house, &control).await;
    assert_eq!(copy, control.inner.book().rows());
    assert!(fs::read(house.path(ALL)).unwrap() == all, "only changes were written");
    control.close().await;
    assert_eq!(read(house.dir.path()).unwrap(), copy);
}

#[tokio::test]
async fn changes_that_outgrow_the_copy_are_written_into_it() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    caught_up(&house, &control).await;
    let all = fs::read(house.path(ALL)).unwrap();
    let rule = |n: usize| Rule { effect: Effect::Deny, matcher: format!("{n}.example").parse().unwrap() };
    let mut most = 0;
    for turn in 0..200 {
        let policy = Policy::new((0..1_000).map(|n| rule(turn * 1_000 + n)).collect());
        control.set_policy("default", policy, false).await.unwrap();
        caught_up(&house, &control).await;
        most = most.max(fs::metadata(house.path(CHANGES)).unwrap().len());
        if fs::read(house.path(ALL)).unwrap() != all {
            break;
        }
    }
    assert!(fs::read(house.path(ALL)).unwrap() != all && most > 1 << 20, "{most}");
    until(|| fs::metadata(house.path(CHANGES)).unwrap().len() < 100).await;
    assert_eq!(read(house.dir.path()).unwrap(), control.inner.book().rows());
}

#[tokio::test]
async fn a_change_that_was_cut_short_is_left_out_and_one_that_was_damaged_is_not_passed_over() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    caught_up(&house, &control).await;
    let mut versions = vec![control.status().snapshot_version];
    for name in ["a", "b", "c"] {
        control.add_account(name).await.unwrap();
        versions.push(caught_up(&house, &control).await.version);
    }
    let image = house.image();
    let changes = fs::read(image.path().join(CHANGES)).unwrap();
    let with = |bytes: &[u8]| {
        fs::write(image.path().join(CHANGES), bytes).unwrap();
        read(image.path())
    };
    for cut in 1..200 {
        assert_eq!(with(&changes[..changes.len() - cut]).unwrap().version, versions[2], "{cut}");
    }
    let mut last = changes.clone();
    *last.last_mut().unwrap() ^= 1;
    assert_eq!(with(&last).unwrap().version, versions[2]);
    let mut first = changes.clone();
    first[100] ^= 1;
    assert!(matches!(with(&first), Err(SealedProblem::Seal(_))));
    // The changes of another copy are none of this one's.
    let mut other = changes;
    other[0] ^= 1;
    assert_eq!(with(&other).unwrap().version, versions[0]);
    fs::remove_file(image.path().join(CHANGES)).unwrap();
    assert_eq!(read(image.path()).unwrap().version, versions[0]);
}

#[tokio::test]
async fn a_copy_that_was_taken_away_is_made_anew_with_the_next_change() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    for file in [ALL, CHANGES] {
        caught_up(&house, &control).await;
        fs::remove_file(house.path(file)).unwrap();
        control.add_account(&format!("without-{}", file.len())).await.unwrap();
        assert_eq!(caught_up(&house, &control).await, control.inner.book().rows());
    }
}

#[tokio::test]
async fn changes_under_a_key_before_are_no_trouble() {
    let mut house = House::new();
    let (control, _) = house.open().await.unwrap();
    caught_up(&house, &control).await;
    control.add_account("acme").await.unwrap();
    caught_up(&house, &control).await;
    let before = fs::read(house.path(CHANGES)).unwrap();
    control.close().await;
    drop(control);
    house.keys = vec![2, 1];
    let (control, _) = house.open().await.unwrap();
    control.rewrap_secrets().await.unwrap();
    control.close().await;
    // As a kill between the two files would leave it.
    fs::write(house.path(CHANGES), before).unwrap();
    let rows = sealed::read(house.dir.path(), &master_keys(&[2])).unwrap();
    assert_eq!(rows, control.inner.book().rows());
}
