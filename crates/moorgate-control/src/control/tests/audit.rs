use std::time::Duration;

use moorgate_contract::{
    policy::{Effect, Policy, Rule},
    route::Mode,
    time::Timestamp,
};
use serde_json::json;

use super::trouble::sql;
use crate::{
    AuditFilter, Call, Caller, Control, CredentialChange, Scope, Who,
    store::Store,
    testing::{House, change},
};

async fn entries(control: &Control, account: Option<&str>) -> Vec<crate::AuditEntry> {
    let account = account.map(str::to_owned);
    control.audit(AuditFilter { account, before: None, limit: 1_000 }).await.unwrap()
}

#[tokio::test]
async fn every_change_says_who_what_and_from_where_and_no_secret() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let first = entries(&control, None).await;
    assert!(first.iter().all(|entry| entry.who == Who::Gateway && entry.gateway == "gateway"), "{first:?}");
    let by = Caller { account: None, scope: Scope::Write, token_id: start.operator_token.unwrap().id };
    let token = by.token_id.clone();
    let operator =
        control.on_behalf(Call { by: Some(by), from: Some("192.0.2.1".parse().unwrap()), ..Call::default() });

    operator.add_account("acme").await.unwrap();
    let credential = operator.add_credential("acme", Default::default()).await.unwrap();
    let rotated = operator.rotate_credential("acme", &credential.username, Duration::from_secs(60)).await.unwrap();
    let rule = Rule { effect: Effect::Deny, matcher: "evil.example".parse().unwrap() };
    operator.set_policy("acme", Policy::new(vec![rule]), false).await.unwrap();
    let secrets = json!({ "origins": [{ "url": "http://192.0.2.7:1" }],
        "basic_auth": [{ "username": "alice", "password": "open-sesame" }],
        "request_headers": { "set": [{ "name": "authorization", "value": "Bearer s3cret" }] } });
    operator.add_route(Some("acme"), "a.example.com", Mode::Terminate, change(secrets)).await.unwrap();
    let token_of_acme = operator.add_token(Some("acme"), Scope::Read).await.unwrap();
    operator.revoke_credential("acme", &credential.username).await.unwrap();
    operator.remove_route("a.example.com").await.unwrap();

    let of_acme = entries(&control, Some("acme")).await;
    let done: Vec<_> = of_acme.iter().rev().map(|entry| (&entry.kind[..], &entry.action[..])).collect();
    assert_eq!(
        done,
        [
            ("account", "add"),
            ("credential", "add"),
            ("credential", "rotate"),
            ("account", "set"),
            ("route", "add"),
            ("token", "add"),
            ("credential", "revoke"),
            ("route", "remove"),
        ]
    );
    assert!(of_acme.iter().all(|entry| entry.who == Who::Operator { token: token.clone() }));
    assert!(of_acme.iter().all(|entry| entry.client == Some("192.0.2.1".parse().unwrap())));
    let policy = of_acme.iter().find(|entry| entry.action == "set").unwrap();
    assert_eq!(policy.before.as_ref().unwrap()["policy"], json!([]));
    assert_eq!(policy.after.as_ref().unwrap()["policy"], json!(["deny evil.example"]));
    let said = format!("{of_acme:?}");
    assert!(said.contains("alice") && said.contains("authorization"));
    let hidden =
        [credential.password.reveal(), rotated.password.reveal(), token_of_acme.token.reveal(), "sesame", "s3cret"];
    for secret in hidden {
        assert!(!said.contains(secret), "{secret}");
    }
    // Pages join without a gap.
    let page = control.audit(AuditFilter { account: None, before: Some(of_acme[2].seq), limit: 2 }).await.unwrap();
    assert_eq!(page.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [of_acme[2].seq - 1, of_acme[2].seq - 2]);
    // Its name given to another, what it did is not theirs to see.
    let last = operator.add_credential("acme", Default::default()).await.unwrap();
    operator.remove_account("acme").await.unwrap();
    // What ended with it is named, too.
    let log = entries(&control, None).await;
    let ended: Vec<_> = log[..3].iter().map(|entry| (&entry.kind[..], &entry.action[..], &entry.name[..])).collect();
    let token = &token_of_acme.id[..];
    assert_eq!(
        ended,
        [("account", "remove", "acme"), ("token", "revoke", token), ("credential", "revoke", &last.username[..])]
    );
    operator.add_account("acme").await.unwrap();
    assert_eq!(entries(&control, Some("acme")).await.len(), 1);
}

#[tokio::test]
async fn an_edited_or_removed_entry_is_found() {
    let statements = [
        ("UPDATE audit SET name = 'mallory' WHERE seq = 4", "entry 4 is not what was written"),
        ("UPDATE audit SET after = NULL WHERE seq = 5", "entry 5 is not what was written"),
        ("UPDATE audit SET client = '192.0.2.9' WHERE seq = 5", "entry 5 is not what was written"),
        ("DELETE FROM audit WHERE seq = 4", "entry 4 is missing"),
        ("DELETE FROM audit WHERE seq IN (4, 5)", "entries 4 to 5 are missing"),
        ("DELETE FROM audit WHERE seq > 5", "the entries after 5 are missing, up to 8"),
        (
            "DELETE FROM audit WHERE seq > 5; UPDATE store SET audit_seq = 5, \
             audit_hash = (SELECT hash FROM audit WHERE seq = 5)",
            "the entries after 5 are missing, up to 8",
        ),
    ];
    for (statement, expected) in statements {
        let house = House::new();
        let (control, _) = house.open().await.unwrap();
        for name in ["a", "b", "c"] {
            control.add_account(name).await.unwrap();
        }
        let whole = control.verify_audit().await.unwrap();
        assert_eq!((whole.entries, whole.problem, whole.head.len()), (8, None, 64));
        sql(&house, statement).await;
        let verdict = control.verify_audit().await.unwrap();
        assert_eq!(verdict.problem.as_deref(), Some(expected), "{statement}");
        // So it is by whoever has not seen what was there, and whatever comes after it.
        control.close().await;
        let _ = std::fs::remove_file(house.path("snapshot.sealed"));
        let (control, _) = house.open().await.unwrap();
        for written_since in [false, true] {
            let verdict = control.verify_audit().await.unwrap();
            assert!(verdict.problem.is_some(), "{statement}: {written_since}");
            control.add_account("later").await.ok();
        }
    }
}

#[tokio::test]
async fn an_end_that_was_moved_by_hand_is_found_by_a_gateway_that_never_saw_another() {
    for (seq, mark) in [(5, "audit_mark"), (5, "x''"), (0, "x''")] {
        let house = House::new();
        let (control, _) = house.open().await.unwrap();
        for name in ["a", "b", "c"] {
            control.add_account(name).await.unwrap();
        }
        control.close().await;
        let _ = std::fs::remove_file(house.path("snapshot.sealed"));
        let empty = if house.is_file() { "x''" } else { "''" };
        let mark = mark.replace("x''", empty);
        let moved = format!(
            "DELETE FROM audit WHERE seq > {seq}; UPDATE store SET audit_seq = {seq}, audit_mark = {mark}, \
             audit_hash = coalesce((SELECT hash FROM audit WHERE seq = {seq}), {empty})"
        );
        sql(&house, &moved).await;
        let (control, _) = house.open().await.unwrap();
        for name in ["d", "e"] {
            let verdict = control.verify_audit().await.unwrap();
            assert!(verdict.problem.unwrap().contains("entries after it were removed"), "{moved}");
            control.add_account(name).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_from_before_ends_were_marked_is_whole_and_marked_from_then_on() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.add_account("a").await.unwrap();
    control.close().await;
    // As the version before wrote it.
    let (chain, mut before) = (control.inner.chain.clone(), Vec::new());
    let entries = {
        let mut store = Store::beside(&control.inner.store_url).await.unwrap();
        store.audit_after(0, 100).await.unwrap()
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let bytes = |text: String| if house.is_file() { format!("x'{text}'") } else { format!(r"'\x{text}'") };
    for entry in &entries {
        before = entry.unmarked_hash(&chain, &before);
        let hash = bytes(hex(&before));
        sql(&house, &format!("UPDATE audit SET hash = {hash} WHERE seq = {}", entry.seq)).await;
    }
    let (hash, none) = (bytes(hex(&before)), bytes(String::new()));
    sql(&house, &format!("UPDATE store SET audit_hash = {hash}, audit_mark = {none}")).await;
    drop(control);
    let (control, _) = house.open().await.unwrap();
    assert_eq!(control.verify_audit().await.unwrap().problem, None);
    control.add_account("b").await.unwrap();
    assert_eq!(control.verify_audit().await.unwrap().problem, None);
    sql(&house, &format!("UPDATE store SET audit_mark = {none}")).await;
    assert!(control.verify_audit().await.unwrap().problem.is_some());
}

#[tokio::test]
async fn an_entry_says_times_as_people_read_them() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let expires = Some(Some(Timestamp(4_102_444_800_000_000)));
    control.add_credential("default", CredentialChange { expires, ..CredentialChange::default() }).await.unwrap();
    let log = control.audit(AuditFilter { account: None, before: None, limit: 1 }).await.unwrap();
    assert_eq!(log[0].after.as_ref().unwrap()["expires"], "2100-01-01T00:00:00Z");
}
