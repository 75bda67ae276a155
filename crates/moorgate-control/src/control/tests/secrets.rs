//! Secrets at rest: the master key changed, backups made and restored.

use std::{fs, time::Duration};

use moorgate_contract::route::Mode;
use moorgate_keys::{Facts, LocalCa};
use serde_json::json;

use super::trouble::sql;
use crate::{
    AuditFilter, Control, ControlError, GroupBy, Restoration, UsageFilter,
    control::now,
    restore,
    testing::{House, Made, change, master_keys},
};

const NOW: Duration = Duration::ZERO;

/// Some of everything.
async fn fill(control: &Control) -> Made {
    control.add_account("acme").await.unwrap();
    let made = Made::of(&["a.example.com"]);
    let origins = json!({ "origins": [{ "url": "http://192.0.2.7:1" }] });
    control.add_route(Some("acme"), "a.example.com", Mode::Terminate, change(origins)).await.unwrap();
    control.add_certificate(None, "a.example.com", made.chain.as_bytes(), made.key.as_bytes()).await.unwrap();
    made
}

fn shown(house: &House) -> Option<Vec<u8>> {
    let domain = "a.example.com".parse().unwrap();
    house.plane.served().certificate(&domain).map(|certificate| certificate.first.key.to_vec())
}

#[tokio::test]
async fn another_master_key_takes_over_without_anything_being_made_anew() {
    let mut house = House::new();
    let (control, start) = house.open().await.unwrap();
    let (credential, token) = (start.created_account.unwrap().1, start.operator_token.unwrap());
    let made = fill(&control).await;
    control.close().await;
    drop(control);
    // First both, then one of them.
    house.keys = vec![2, 1];
    let (control, _) = house.open().await.unwrap();
    let id = control.rewrap_secrets().await.unwrap();
    assert_eq!(id, master_keys(&[2]).current.key_id());
    control.close().await;
    drop(control);
    house.keys = vec![1];
    assert!(matches!(house.open().await, Err(ControlError::WrongMasterKey { .. })));
    house.keys = vec![2];
    let (control, again) = house.open().await.unwrap();
    assert_eq!(again.degraded, None);
    assert!(
        house.plane.knows(&credential, NOW).is_some() && control.authenticate(token.token.reveal()).await.is_some()
    );
    assert_eq!(shown(&house), Some(made.key_der));
    assert_eq!(control.verify_audit().await.unwrap().problem, None);
    let log = control.audit(AuditFilter { account: None, before: None, limit: 1 }).await.unwrap();
    assert_eq!(
        (&log[0].action[..], log[0].after.as_ref().unwrap()["master_key"].as_str()),
        ("seal key", Some(&id.to_string()[..]))
    );
    // Once more it is as it was, and nothing is written down.
    assert_eq!(control.rewrap_secrets().await.unwrap(), id);
    let after = control.audit(AuditFilter { account: None, before: None, limit: 1 }).await.unwrap();
    assert_eq!(after[0].seq, log[0].seq);
}

#[tokio::test]
async fn values_of_header_fields_are_sealed_in_the_store_and_open_in_what_is_served() {
    const SECRET: &str = "Bearer sk_live_777";
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let edit = json!({
        "origins": [{ "url": "http://192.0.2.7:1" }],
        "request_headers": { "set": [{ "name": "authorization", "value": SECRET }] }
    });
    control.add_route(None, "a.example.com", Mode::Terminate, change(edit)).await.unwrap();
    let served = || {
        let route = house.plane.served().route_of(&"a.example.com".parse().unwrap()).cloned().unwrap();
        route.settings.actions.request_headers.set[0].value.clone()
    };
    let stored = || control.inner.book().route("a.example.com").unwrap().settings.clone();
    assert!(served() == SECRET && !stored().contains(SECRET), "{}", stored());
    // Something else edited, its row is as it was but for that; what is exported changes nothing.
    let sealed = stored();
    control.set_route("a.example.com", change(json!({ "max_body": 7 }))).await.unwrap();
    let value = |settings: &str| {
        let settings: serde_json::Value = serde_json::from_str(settings).unwrap();
        settings["actions"]["request_headers"]["set"][0]["value"].clone()
    };
    assert!(served() == SECRET && value(&stored()) == value(&sealed) && stored() != sealed);
    let text = control.export().await;
    assert!(control.apply(&text, false, false).await.unwrap().changes.is_empty());
    // What a version before left open is served, and sealed with the next rewrap.
    control.close().await;
    let open = format!(
        r#"{{"origins":[{{"url":"http://192.0.2.7:1"}}],"actions":{{"request_headers":{{"set":[{{"name":"authorization","value":"{SECRET}"}}]}}}}}}"#
    );
    sql(&house, &format!("UPDATE route SET settings = '{open}'")).await;
    let (control, _) = house.open().await.unwrap();
    let stored = || control.inner.book().route("a.example.com").unwrap().settings.clone();
    assert!(served() == SECRET && stored().contains(SECRET));
    control.rewrap_secrets().await.unwrap();
    assert!(served() == SECRET && !stored().contains(SECRET));
    // One that nobody can open takes out its route alone.
    control.close().await;
    sql(&house, &format!("UPDATE route SET settings = '{}'", open.replace(SECRET, r"\u0001AAAA"))).await;
    let (control, _) = house.open().await.unwrap();
    let problem = control.route("a.example.com").await.unwrap().problem.unwrap();
    assert!(problem.contains("header field authorization") && problem.ends_with("set that anew"), "{problem}");
    // An edit of something else does not leave it out unseen, and a rewrap goes on; set anew it is served.
    let refused = control.set_route("a.example.com", change(json!({ "max_body": 8 }))).await.unwrap_err();
    assert!(refused.to_string().contains("authorization can't be opened"), "{refused}");
    control.rewrap_secrets().await.unwrap();
    let anew = json!({ "request_headers": { "set": [{ "name": "authorization", "value": SECRET }] } });
    control.set_route("a.example.com", change(anew)).await.unwrap();
    assert_eq!(served(), SECRET);
}

/// The fingerprint of the CA that the store was given first.
async fn local_ca(control: &Control) -> String {
    let log = control.audit(AuditFilter { account: None, before: None, limit: 1_000 }).await.unwrap();
    let set = log.iter().filter(|entry| entry.action == "set local CA").collect::<Vec<_>>();
    assert_eq!(set.len(), 1);
    set[0].after.as_ref().unwrap()["fingerprint"].as_str().unwrap().to_owned()
}

fn fingerprint(ca: &LocalCa) -> String {
    Facts::of_pem(ca.cert_pem().as_bytes()).unwrap().fingerprint
}

#[tokio::test]
async fn every_data_directory_on_a_store_is_given_the_same_local_ca() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    assert!(start.local_ca.is_none(), "the first one's own");
    control.close().await;
    for _ in 0..2 {
        // Each has made another.
        let (control, start) = house.open().await.unwrap();
        let ca = start.local_ca.unwrap();
        assert_eq!(fingerprint(&ca), local_ca(&control).await);
        ca.issue(&["a.example.com".parse().unwrap()]).unwrap();
        control.close().await;
        if house.is_file() {
            let (store, key) = (fs::read(house.path("moorgate.sqlite")).unwrap(), ca.key_der());
            assert!(!store.windows(32).any(|window| window == &key[36..68]), "it is sealed");
        }
    }
}

#[tokio::test]
async fn a_backup_is_restored_into_an_empty_store_and_into_nothing_else() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let credential = start.created_account.unwrap().1;
    let made = fill(&control).await;
    super::tenants::moved(&house, 1, 1, "a.example", (7, 8));
    let backup = control.backup().await.unwrap();
    let path = house.path("backup");
    fs::write(&path, &backup.bytes).unwrap();
    for secret in [&made.key_der[36..60], credential.username.as_bytes(), b"a.example.com"] {
        assert!(!backup.bytes.windows(secret.len()).any(|window| window == secret), "it is sealed");
    }
    control.add_account("later").await.unwrap();

    let elsewhere = House::new();
    let restoration = |house: &House, keys: &[u8]| Restoration {
        backup: path.clone(),
        data_dir: house.dir.path().to_owned(),
        store_url: house.store_url.clone(),
        master_keys: master_keys(keys),
        gateway: "gateway".to_owned(),
    };
    let wrong = restore(restoration(&elsewhere, &[3])).await.unwrap_err();
    let needs = master_keys(&[1]).current.key_id().to_string();
    assert!(matches!(wrong, ControlError::WrongMasterKey { .. }) && wrong.to_string().contains(&needs), "{wrong}");
    let full = restore(restoration(&house, &[1])).await.unwrap_err();
    assert!(matches!(full, ControlError::InUse { .. }), "{full}");
    control.close().await;
    drop(control);
    let full = restore(restoration(&house, &[1])).await.unwrap_err();
    assert!(matches!(full, ControlError::NotEmpty { .. }), "{full}");

    let restored = restore(restoration(&elsewhere, &[1])).await.unwrap();
    assert_eq!((restored.accounts, restored.routes), (2, 1));
    let (control, again) = elsewhere.open().await.unwrap();
    assert_eq!((again.first, &again.degraded, again.accounts), (false, &None, 2));
    let (first, restored) = (local_ca(&control).await, again.local_ca.unwrap());
    assert_eq!(fingerprint(&restored), first, "what clients were given holds");
    assert!(elsewhere.plane.knows(&credential, NOW).is_some());
    assert_eq!(shown(&elsewhere), Some(made.key_der));
    assert_eq!(control.verify_audit().await.unwrap().problem, None);
    let filter =
        UsageFilter { account: None, since: now(), until: now(), by: GroupBy::Account, ..UsageFilter::default() };
    assert_eq!(control.usage(filter).await.unwrap()[0].bytes_up, 7);
    // Identities go on where they were.
    let known = elsewhere.plane.served().account("acme").unwrap().id;
    control.add_account("newer").await.unwrap();
    assert!(elsewhere.plane.served().account("newer").unwrap().id > known);

    fs::write(&path, b"no backup at all").unwrap();
    let other = House::new();
    let none = restore(restoration(&other, &[1])).await.unwrap_err();
    assert!(matches!(none, ControlError::Backup { .. }) && none.to_string().contains("backup"), "{none}");
}
