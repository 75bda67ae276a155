//! Who is told of what is wrong, and that it is told once.

use std::{collections::HashMap, fs, time::Duration};

use moorgate_contract::{account::AccountId, guard::Guard, quota::Quotas};

use super::tenants::moved;
use crate::{
    AccountChange, AlarmKind, AlarmView, AuditFilter, Control, ControlError, Invalid, Restoration, What,
    control::now,
    limits::MAX_ALARMS,
    restore,
    store::{Delivery, Told},
    testing::{House, master_keys, until_async},
};

const HOOK: &str = "https://hooks.example.com/team-secret?x=1";

fn invalid<T: std::fmt::Debug>(result: Result<T, ControlError>) -> Invalid {
    match result.unwrap_err() {
        ControlError::Invalid(invalid) => invalid,
        other => panic!("{other:?}"),
    }
}

async fn tier(control: &Control, bytes: u64) {
    control.set_tier("small", Quotas { bytes_per_month: Some(bytes), ..Quotas::default() }).await.unwrap();
    let change = AccountChange { tier: Some(Some("small".to_owned())), ..AccountChange::default() };
    control.set_account("default", change).await.unwrap();
}

async fn waiting(control: &Control) -> u64 {
    control.list_alarms("default").await.unwrap().iter().map(|alarm| alarm.waiting).sum()
}

/// What the store has for receivers, by the type of its events.
async fn told(control: &Control) -> Vec<String> {
    let claimed = claim(control, "another/run").await;
    let kind = |delivery: &Delivery| {
        let body: serde_json::Value = serde_json::from_str(&delivery.body).unwrap();
        body["type"].as_str().unwrap().to_owned()
    };
    claimed.iter().map(kind).collect()
}

async fn claim(control: &Control, run: &'static str) -> Vec<Delivery> {
    let claim = control.aside(async move |mut store| {
        let hold = Duration::from_secs(60);
        let claimed = store.claim_deliveries(run, hold, (100, 100), &HashMap::new()).await?;
        Ok((store, claimed))
    });
    claim.await.unwrap()
}

#[tokio::test]
async fn receivers_are_checked_kept_sealed_and_listed_without_their_secret() {
    let mut house = House::new();
    house.site.guard = Guard { own: vec!["127.0.0.1:7070".parse().unwrap()], ..Guard::default() };
    house.site.guard.allowed = Guard::loopback_profile();
    let (control, _) = house.open().await.unwrap();
    let made = control.add_alarm("default", HOOK, &[AlarmKind::Dns, AlarmKind::Quota]).await.unwrap();
    let secret = made.secret.unwrap();
    assert!(secret.reveal().starts_with("whsec_") && !format!("{secret:?}").contains(secret.reveal()));
    let listed = control.list_alarms("default").await.unwrap();
    let expected = AlarmView {
        id: made.id.clone(),
        receiver: HOOK.to_owned(),
        kinds: vec![AlarmKind::Quota, AlarmKind::Dns],
        created: listed[0].created,
        off: None,
        last: None,
        waiting: 0,
    };
    assert_eq!(listed, [expected]);
    let add = async |receiver: &str| control.add_alarm("default", receiver, &AlarmKind::ALL).await;
    for bad in ["ops@example.com\r\nBcc: x@example.com", "http://hooks.example.com", "https://a.example/\n", "nobody"] {
        assert!(matches!(invalid(add(bad).await), Invalid::Receiver { .. }), "{bad:?}");
    }
    assert_eq!(invalid(add("ops@example.com").await), Invalid::NoMail);
    assert!(matches!(invalid(add(HOOK).await), Invalid::ReceiverTwice { .. }));
    let metadata = invalid(add("https://169.254.169.254/latest").await).to_string();
    assert!(metadata.contains("cloud metadata"), "{metadata}");
    assert!(matches!(invalid(add("https://10.0.0.1/").await), Invalid::ReceiverGuarded { .. }));
    let own = invalid(add("http://127.0.0.1:7070/api/v1/accounts").await).to_string();
    assert!(own.contains("a listener of this gateway"), "{own}");
    assert_eq!(invalid(control.add_alarm("default", "https://b.example/", &[]).await), Invalid::NoAlarmKinds);
    // Of another account it is not there.
    control.add_account("other").await.unwrap();
    for missing in [
        control.remove_alarm("other", &made.id).await.unwrap_err(),
        control.test_alarm("other", &made.id).await.unwrap_err(),
        control.alarm("other", &made.id).await.unwrap_err(),
    ] {
        assert!(matches!(missing, ControlError::NotFound { what: What::Alarm, .. }), "{missing}");
    }
    for n in 1..MAX_ALARMS {
        add(&format!("https://hooks.example.com/{n}")).await.unwrap();
    }
    assert!(matches!(invalid(add("https://hooks.example.com/more").await), Invalid::TooMany { .. }));
    // What the log shows has neither the secret nor what may be one.
    let log = control.audit(AuditFilter { limit: 100, ..AuditFilter::default() }).await.unwrap();
    let log = format!("{log:?}");
    assert!(log.contains("https://hooks.example.com/…") && !log.contains("team-secret"), "{log}");
    control.remove_alarm("default", &made.id).await.unwrap();
    assert_eq!(control.list_alarms("default").await.unwrap().len(), MAX_ALARMS - 1);
    control.close().await;
    if house.is_file() {
        for file in fs::read_dir(house.dir.path()).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let secret = secret.reveal().as_bytes();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
}

#[tokio::test]
async fn what_begins_and_what_is_over_is_told_once_also_after_a_restart() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    tier(&control, 1_000).await;
    control.add_alarm("default", HOOK, &AlarmKind::ALL).await.unwrap();
    control.add_alarm("default", "https://b.example/", &[AlarmKind::Dns]).await.unwrap();
    moved(&house, 1, 1, "a.example", (850, 0));
    until_async(async || waiting(&control).await == 1).await;
    moved(&house, 1, 1, "a.example", (200, 0));
    until_async(async || waiting(&control).await == 2).await;

    let again = house.after_kill();
    drop(control);
    let (control, _) = again.open().await.unwrap();
    // It ends after the restart: were something repeated, it would stand before that.
    tier(&control, 1_000_000).await;
    until_async(async || waiting(&control).await == 3).await;
    let mut told = told(&control).await;
    told.sort();
    assert_eq!(told, ["quota.begun", "quota.over", "quota.worse"]);
    let log = control.audit(AuditFilter { limit: 100, ..AuditFilter::default() }).await.unwrap();
    let of_trouble: Vec<&str> = log.iter().filter(|one| one.kind == "trouble").map(|one| &*one.action).collect();
    assert_eq!(of_trouble, ["end", "worsen", "begin"]);
    assert_eq!(control.verify_audit().await.unwrap().problem, None);
}

#[tokio::test]
async fn one_run_of_one_gateway_at_a_time_is_at_a_delivery() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    tier(&control, 1_000).await;
    let made = control.add_alarm("default", HOOK, &AlarmKind::ALL).await.unwrap();
    moved(&house, 1, 1, "a.example", (1_200, 0));
    until_async(async || waiting(&control).await == 1).await;
    let first = claim(&control, "one/a").await;
    assert_eq!((first.len(), first[0].tries, &first[0].alarm), (1, 0, &made.id));
    assert!(claim(&control, "one/a").await.is_empty() && claim(&control, "two/b").await.is_empty());
    // A run that was killed is at nothing any more: its successor takes it up.
    let again = claim(&control, "one/c").await;
    assert_eq!(again, first);
    let conclude = async |again: Option<Duration>, delivered: bool| {
        let (id, alarm) = (first[0].id.clone(), made.id.clone());
        let told = Told { at: now(), delivered, said: "it answered 500".to_owned() };
        let note = control.aside(async move |mut store| {
            store.conclude_delivery(&id, &alarm, &told, again).await?;
            Ok((store, ()))
        });
        note.await.unwrap();
    };
    conclude(Some(Duration::from_secs(3_600)), false).await;
    assert!(claim(&control, "two/b").await.is_empty(), "not before its time");
    let view = control.alarm("default", &made.id).await.unwrap();
    assert_eq!(
        (view.waiting, view.last.map(|last| (last.delivered, last.said))),
        (1, Some((false, "it answered 500".into())))
    );
    conclude(Some(Duration::ZERO), false).await;
    let due = claim(&control, "two/b").await;
    assert_eq!((due.len(), due[0].tries, &due[0].id, &due[0].body), (1, 2, &first[0].id, &first[0].body));
    conclude(None, true).await;
    assert_eq!(waiting(&control).await, 0);
    // What waits for a receiver goes with it.
    control.remove_alarm("default", &made.id).await.unwrap();
    control.remove_account("default").await.unwrap();
}

#[tokio::test]
async fn a_kind_that_nobody_wants_is_forgotten_and_told_anew_when_somebody_does() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    tier(&control, 1_000).await;
    let made = control.add_alarm("default", HOOK, &[AlarmKind::Quota]).await.unwrap();
    moved(&house, 1, 1, "a.example", (1_200, 0));
    until_async(async || waiting(&control).await == 1).await;
    control.remove_alarm("default", &made.id).await.unwrap();
    let troubles = || control.inner.book().alarms().troubles_of(AccountId(1)).count();
    until_async(async || troubles() == 0).await;
    control.add_alarm("default", "https://b.example/", &[AlarmKind::Quota]).await.unwrap();
    until_async(async || waiting(&control).await == 1).await;
}

#[tokio::test]
async fn a_backup_has_the_receivers_and_what_they_were_told_and_sends_nothing_again() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    tier(&control, 1_000).await;
    control.add_alarm("default", HOOK, &AlarmKind::ALL).await.unwrap();
    moved(&house, 1, 1, "a.example", (1_200, 0));
    until_async(async || waiting(&control).await == 1).await;
    let path = house.path("backup");
    fs::write(&path, &control.backup().await.unwrap().bytes).unwrap();
    let elsewhere = House::new();
    let restoration = Restoration {
        backup: path,
        data_dir: elsewhere.dir.path().to_owned(),
        store_url: elsewhere.store_url.clone(),
        master_keys: master_keys(&[1]),
        gateway: "gateway".to_owned(),
    };
    restore(restoration).await.unwrap();
    let (restored, _) = elsewhere.open().await.unwrap();
    let (before, after) =
        (control.list_alarms("default").await.unwrap(), restored.list_alarms("default").await.unwrap());
    assert_eq!(after, [AlarmView { waiting: 0, ..before[0].clone() }]);
    let of = |control: &Control| control.inner.book().alarms().troubles().cloned().collect::<Vec<_>>();
    assert_eq!((of(&restored), of(&restored).len()), (of(&control), 1));
}
