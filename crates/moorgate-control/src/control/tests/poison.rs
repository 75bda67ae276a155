//! Rows that nothing of ours would write: each takes out one thing, says so, and is mended or removed as it says.

use moorgate_contract::{
    policy::Policy,
    route::{Domain, Mode},
};
use moorgate_wire::host::Asked;
use serde_json::json;

use super::trouble::sql;
use crate::{
    By, RouteState,
    testing::{House, Made, change},
};

/// What is done to the rows of `bad.example.com`, and what its problem names.
fn poisons(house: &House) -> Vec<(String, &'static str)> {
    let route = |set: &str| format!("UPDATE route SET {set} WHERE domain = 'bad.example.com'");
    let certificate = |set: &str| format!("UPDATE certificate SET {set} WHERE domain = 'bad.example.com'");
    let bytes = |hex: &str| if house.is_file() { format!("x'{hex}'") } else { format!(r"'\x{hex}'") };
    let with = |more: &str| route(&format!(r#"settings = '{{"origins":[{{"url":"http://192.0.2.7:1"}}],{more}}}'"#));
    let twice = r#""paths":[{"prefix":"/a","origins":[{"url":"http://192.0.2.7:1"}]},{"prefix":"/a/","origins":[{"url":"http://192.0.2.7:2"}]}]"#;
    let cycle = r#""actions":{"redirects":[{"from":"/a","to":"/b"},{"from":"/b","to":"/a"}]}"#;
    let split = r#""actions":{"response_headers":{"set":[{"name":"x-a","value":"b\r\nset-cookie: c"}]}}"#;
    let long = format!(r#"{{"origins":[],"origin_ca":"{}"}}"#, "x".repeat(2 << 20));
    vec![
        (route("settings = 'no JSON'"), "settings"),
        (route(r#"settings = '{"origins":[],"regex":"(a+"}'"#), "settings"),
        (route(r#"settings = '{"origins":[{"url":"gopher://x"}]}'"#), "settings"),
        (route(&format!("settings = '{long}'")), "bytes"),
        (route(r#"settings = '{"origins":[]}'"#), "at least one origin"),
        (with(twice), "named twice"),
        (with(cycle), "in a circle"),
        (with(split), "control byte"),
        (route("mode = 'sideways'"), "mode"),
        (certificate("chain = 'nothing'"), "no certificate"),
        (certificate(&format!("key = {}", bytes("00"))), "format 0"),
        (certificate(&format!("key = {}", bytes(""))), "damaged"),
        (certificate("key = (SELECT key FROM certificate WHERE domain = 'good.example.com')"), "does not belong"),
        ("UPDATE account SET policy = '[{\"effect\":\"maybe\"}]' WHERE name = 'acme'".to_owned(), "account"),
        ("UPDATE account SET egress = 'nowhere' WHERE name = 'acme'".to_owned(), "account"),
    ]
}

async fn house() -> House {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.add_account("acme").await.unwrap();
    let to = || change(json!({ "origins": [{ "url": "http://192.0.2.7:1" }] }));
    for (account, domain) in [("acme", "bad.example.com"), ("default", "good.example.com")] {
        let made = Made::of(&[domain]);
        control.add_route(Some(account), domain, Mode::Terminate, to()).await.unwrap();
        control.add_certificate(None, domain, made.chain.as_bytes(), made.key.as_bytes()).await.unwrap();
    }
    control.close().await;
    house
}

fn served(house: &House) -> Vec<String> {
    let snapshot = house.plane.served();
    let served = snapshot.routes().filter(|route| snapshot.account_of(route).is_some());
    let mut served: Vec<String> = served.map(|route| route.domain.to_string()).collect();
    served.sort();
    served
}

#[tokio::test]
async fn a_poisoned_row_takes_out_one_route_loudly_and_nothing_else() {
    let count = poisons(&House::new()).len();
    assert!(count >= 10);
    for at in 0..count {
        let house = house().await;
        let (statement, expected) = poisons(&house).swap_remove(at);
        sql(&house, &statement).await;
        let (control, start) = house.open().await.unwrap();
        assert_eq!(start.degraded, None, "{statement:.80}");
        assert_eq!(served(&house), ["good.example.com"], "{statement:.80}");
        let view = control.route("bad.example.com").await.unwrap();
        let problem = view.problem.unwrap_or_default();
        assert!(view.state == RouteState::Failed && problem.contains(expected), "{statement:.80}: {problem}");
        // Whatever it is, it can be removed.
        control.remove_certificate("bad.example.com").await.unwrap();
        control.remove_route("bad.example.com").await.unwrap();
        control.close().await;
    }
}

#[tokio::test]
async fn a_poisoned_account_is_mended_by_what_its_problem_names() {
    let house = house().await;
    sql(&house, "UPDATE account SET policy = 'allow' WHERE name = 'acme'").await;
    let (control, _) = house.open().await.unwrap();
    assert_eq!(served(&house), ["good.example.com"]);
    control.set_policy("acme", Policy::default(), false).await.unwrap();
    assert_eq!(served(&house), ["bad.example.com", "good.example.com"]);
}

#[tokio::test]
async fn a_poisoned_credential_says_so_wherever_it_is_shown() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let username = start.created_account.unwrap().1.username;
    control.close().await;
    sql(&house, &format!("UPDATE credential SET policy = '[garbage' WHERE username = '{username}'")).await;
    let (control, start) = house.open().await.unwrap();
    assert_eq!(start.degraded, None);
    let problem = control.list_credentials("default").await.unwrap()[0].problem.clone().unwrap();
    assert!(
        problem.contains("its policy can't be read") && problem.ends_with("revoke it and add another"),
        "{problem}"
    );
    let by = By { credential: Some(&username), client: None, policy: None };
    let explained = control.explain("default", by, &Asked::new("a.example", 443), false).await.unwrap_err();
    assert!(explained.to_string().contains("is not served: its policy can't be read"), "{explained}");
}

#[tokio::test]
async fn what_can_not_be_read_is_not_exported_and_stops_no_apply() {
    let house = house().await;
    sql(&house, "UPDATE route SET mode = 'sideways' WHERE domain = 'bad.example.com'").await;
    let (control, _) = house.open().await.unwrap();
    let text = control.export().await;
    assert!(!text.contains("sideways") && text.contains("can't be read and is left out"), "{text}");
    let again = control.apply(&text, true, false).await.unwrap();
    assert_eq!((again.changes.len(), again.unnamed), (0, 1));
}

#[tokio::test]
async fn another_spelling_of_a_domain_takes_no_ones_place() {
    let house = house().await;
    let double = "INSERT INTO route (account, domain, mode, settings, created) \
                  SELECT account, 'GOOD.example.com', mode, settings, created FROM route WHERE domain = 'bad.example.com'";
    sql(&house, double).await;
    let (control, start) = house.open().await.unwrap();
    assert_eq!((start.degraded, start.routes), (None, 3));
    let good: Domain = "good.example.com".parse().unwrap();
    let owner = |house: &House| {
        let snapshot = house.plane.served();
        let route = snapshot.route_of(&good).cloned().unwrap();
        snapshot.account_of(&route).unwrap().name.to_string()
    };
    assert_eq!(owner(&house), "default");
    // Neither does its removal.
    control.remove_account("acme").await.unwrap();
    assert_eq!(owner(&house), "default");
}

#[tokio::test]
async fn what_has_no_account_or_one_that_nobody_could_name_is_not_served_and_is_told() {
    let house = house().await;
    if house.is_file() {
        // PostgreSQL lets nobody take away what a row refers to.
        let orphan = "PRAGMA foreign_keys = OFF; UPDATE route SET account = 777 WHERE domain = 'bad.example.com'; \
                      UPDATE credential SET account = 777";
        sql(&house, orphan).await;
    }
    sql(&house, "UPDATE account SET name = 'Bad Name' WHERE name = 'acme'").await;
    let (control, start) = house.open().await.unwrap();
    assert_eq!(start.degraded, None);
    assert_eq!(served(&house), ["good.example.com"]);
    let view = control.route("bad.example.com").await.unwrap();
    let problem = view.problem.unwrap();
    assert!(view.state == RouteState::Failed && problem.contains("its account is not"), "{problem}");
    let told = control.doctor().await;
    let told = |check: &str| told.iter().find(|told| told.check == check).map(|told| told.said.clone());
    assert!(told("accounts").unwrap().starts_with("1 of 2 can't be served"), "{:?}", told("accounts"));
    if house.is_file() {
        assert!(problem.contains("its account is not there"), "{problem}");
        assert!(told("credentials").unwrap().starts_with("1 of 1 can't be served"));
    }
    // What has no account can be removed.
    control.remove_route("bad.example.com").await.unwrap();
}
