//! A deployment as a text.

use std::time::Instant;

use moorgate_contract::route::Mode;
use serde_json::json;

use crate::{
    Applied, Control, ControlError, RouteState,
    testing::{House, change},
};

const TEXT: &str = r#"
[tiers.small]
requests_per_month = 1000

[accounts.acme]
tier = "small"
policy = ["deny evil.example", "allow *.example.com:443"]

[accounts.default]

[routes."app.example.com"]
account = "acme"
mode = "terminate"
origins = [{ url = "http://192.0.2.7:3000" }, { url = "http://192.0.2.8:3000", weight = 3 }]
max_body = 1048576
check = { every = 10, path = "/up" }
clients = { deny = ["198.51.100.0/24"] }

[routes."bank.example.com"]
account = "default"
mode = "passthrough"
origins = [{ url = "tls://192.0.2.9:443" }]
"#;

fn done(applied: &Applied) -> Vec<(&str, &str, &str)> {
    applied.changes.iter().map(|change| (&change.action[..], &change.kind[..], &change.name[..])).collect()
}

async fn wrong(control: &Control, text: &str) -> String {
    match control.apply(text, false, false).await {
        Err(ControlError::Text(wrong)) => wrong.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_text_is_applied_once_and_says_what_it_changes() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let version = control.status().snapshot_version;
    let dry = control.apply(TEXT, true, false).await.unwrap();
    let expected = [
        ("add", "tier", "small"),
        ("add", "account", "acme"),
        ("add", "route", "app.example.com"),
        ("add", "route", "bank.example.com"),
    ];
    assert_eq!((done(&dry), dry.applied), (expected.to_vec(), false));
    assert_eq!(control.status().snapshot_version, version, "a dry run changes nothing");
    let applied = control.apply(TEXT, false, false).await.unwrap();
    assert_eq!((done(&applied), applied.applied), (expected.to_vec(), true));
    assert_eq!(control.status().snapshot_version, version + 1, "in one go");
    let route = control.route("app.example.com").await.unwrap();
    assert_eq!((route.state, &route.account[..], route.origins.len()), (RouteState::Active, "acme", 2));
    assert!(house.plane.served().account("acme").unwrap().quota.is_some());
    let again = control.apply(TEXT, false, false).await.unwrap();
    assert!(again.changes.is_empty() && control.status().snapshot_version == version + 1);

    let other = TEXT.replace("1000\n", "2000\n").replace("max_body = 1048576\n", "");
    let applied = control.apply(&other, false, false).await.unwrap();
    assert_eq!(done(&applied), [("set", "tier", "small"), ("set", "route", "app.example.com")]);
    assert_eq!(applied.changes[0].before.as_ref().unwrap()["requests_per_month"], 1000);
    assert_eq!(control.route("app.example.com").await.unwrap().actions.max_body, None, "left out: as for a new one");
}

#[tokio::test]
async fn what_is_exported_changes_nothing_when_it_is_applied() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.apply(TEXT, false, false).await.unwrap();
    let secrets = json!({ "basic_auth": [{ "username": "alice", "password": "open-sesame" }],
        "request_headers": { "remove": ["x-debug"], "set": [{ "name": "authorization", "value": "Bearer s3cret" }] },
        "response_headers": { "set": [{ "name": "x-frame-options", "value": "DENY" }] },
        "maintenance": { "page": "back soon" }, "redirects": [{ "from": "/a", "to": "/b", "status": 301 }],
        "paths": [{ "prefix": "/api", "origins": [{ "url": "http://192.0.2.9:1" }] }], "on_http": "forward" });
    control.set_route("app.example.com", change(secrets)).await.unwrap();
    let text = control.export().await;
    assert!(text.contains("app.example.com") && text.contains("evil.example"), "{text}");
    for secret in ["sesame", "s3cret"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(text.contains("alice") && text.contains("authorization"), "whose they are is in it: {text}");
    let again = control.apply(&text, false, true).await.unwrap();
    assert!(again.changes.is_empty(), "{again:?}\n{text}");
    let kept = control.route("app.example.com").await.unwrap().actions;
    assert_eq!(
        (kept.basic_auth, kept.request_headers.set),
        (vec!["alice".to_owned()], vec!["authorization".to_owned()])
    );

    // Elsewhere a route that had a password is not made without one. With it, all is the same.
    let elsewhere = House { default: false, ..House::new() };
    let (control, _) = elsewhere.open().await.unwrap();
    let missing = wrong(&control, &text).await;
    assert!(missing.contains("\"alice\" has no password here yet; write one"), "{missing}");
    let with_password = text.replace("username = \"alice\"", "username = \"alice\"\npassword = \"open-sesame\"");
    let missing = wrong(&control, &with_password).await;
    assert!(missing.contains("the header field authorization has no value here yet"), "{missing}");
    let with_both =
        with_password.replace("name = \"authorization\"", "name = \"authorization\"\nvalue = \"Bearer s3cret\"");
    control.apply(&with_both, false, false).await.unwrap();
    assert_eq!(control.export().await, text);
}

#[tokio::test]
async fn another_secret_is_seen_to_be_another_and_is_not_shown() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let text = |password: &str, key: &str, frame: &str| {
        format!(
            "[accounts.default]\n[routes.\"a.example.com\"]\nmode = \"terminate\"\n\
             origins = [{{ url = \"http://192.0.2.7:1\" }}]\n\
             basic_auth = [{{ username = \"alice\", password = \"{password}\" }}]\n\
             request_headers.set = [{{ name = \"x-key\", value = \"{key}\" }}]\n\
             response_headers.set = [{{ name = \"x-frame\", value = \"{frame}\" }}]\n"
        )
    };
    control.apply(&text("one-password", "one-key", "DENY"), false, false).await.unwrap();
    let same = control.apply(&text("one-password", "one-key", "DENY"), true, false).await.unwrap();
    assert!(same.changes.is_empty(), "{same:?}");
    for (password, key, frame, at) in [
        ("two-password", "one-key", "DENY", "/settings/basic_auth/alice"),
        ("one-password", "two-key", "DENY", "/settings/actions/request_headers/set/0/value"),
        ("one-password", "one-key", "SAME", "/settings/actions/response_headers/set/0/value"),
    ] {
        let dry = control.apply(&text(password, key, frame), true, false).await.unwrap();
        let (before, after) = (dry.changes[0].before.clone().unwrap(), dry.changes[0].after.clone().unwrap());
        assert!(before.pointer(at).is_some() && before.pointer(at) != after.pointer(at), "{at}: {before} {after}");
        let said = format!("{before}{after}");
        assert!(!["-password", "one-key", "two-key"].iter().any(|secret| said.contains(secret)), "{said}");
    }
    // A name alone keeps what it has.
    let names = json!({ "basic_auth": [{ "username": "alice" }], "request_headers": { "set": [{ "name": "X-Key" }] } });
    let version = control.status().snapshot_version;
    let before = control.inner.book().route("a.example.com").unwrap().settings.clone();
    control.set_route("a.example.com", change(names)).await.unwrap();
    assert_eq!(control.inner.book().route("a.example.com").unwrap().settings, before);
    assert!(control.status().snapshot_version >= version);
}

#[tokio::test]
async fn only_what_is_asked_for_is_removed() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.apply(TEXT, false, false).await.unwrap();
    let less = "[accounts.default]\n[routes.\"bank.example.com\"]\nmode = \"passthrough\"\naccount = \"default\"\norigins = [{ url = \"tls://192.0.2.9:443\" }]\n";
    let kept = control.apply(less, false, false).await.unwrap();
    assert_eq!((kept.changes.len(), kept.unnamed), (0, 3));
    // Nothing goes that something in the text needs.
    let needs = "[accounts.default]\n\n[accounts.acme]\ntier = \"small\"\n";
    let needed = control.apply(needs, true, true).await.unwrap_err().to_string();
    assert!(needed.starts_with("line 4: account acme: tier small is not in the text"), "{needed}");
    assert!(needed.ends_with("write [tiers.small] too"), "{needed}");
    control.add_credential("acme", Default::default()).await.unwrap();
    let pruned = control.apply(less, false, true).await.unwrap();
    let gone = pruned.changes.iter().find(|change| change.kind == "account").unwrap();
    assert_eq!(gone.before.as_ref().unwrap()["credentials"], 1, "what goes with it is said");
    assert_eq!(
        done(&pruned),
        [("remove", "route", "app.example.com"), ("remove", "account", "acme"), ("remove", "tier", "small")]
    );
    assert_eq!((control.list_accounts().await.len(), control.list_routes(None).await.len()), (1, 1));
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_line_and_nothing_is_applied() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.add_account("other").await.unwrap();
    control
        .add_route(
            Some("other"),
            "*.example.org",
            Mode::Terminate,
            change(json!({ "origins": [{ "url": "http://192.0.2.7:1" }] })),
        )
        .await
        .unwrap();
    let version = control.status().snapshot_version;
    let route = |rest: &str| {
        format!("[accounts.acme]\n\n[routes.\"a.example.org\"]\naccount = \"acme\"\nmode = \"terminate\"\n{rest}")
    };
    for (text, expected) in [
        ("[tiers.a]\nrequests = 1", "line 2: unknown field `requests`"),
        ("[tiers.\"A B\"]", "line 1: \"A B\" is no name for a tier"),
        ("a = 1", "line 1: there is no section \"a\""),
        ("[accounts.acme]\ntier = \"none\"", "line 2: account acme: there is no tier \"none\""),
        ("[accounts.acme]\npolicy = [\n  \"deny a\",\n  \"permit b\"]", "line 2: \"permit b\" is no rule"),
        ("[accounts.acme]\negress = [\"203.0.113.99\"]", "line 2: account acme: no egress addresses"),
        ("[accounts.acme\n", "line 1: "),
        (&route("origins = [{ url = \"ftp://a\" }]"), "line 6: \"ftp://a\" is no forwarding URL"),
        (&route("orgins = []"), "line 6: unknown field `orgins`"),
        ("[routes.\"b.example.com\"]\norigins = []\nmode = \"sideways\"", "line 3: unknown variant `sideways`"),
        (
            "[routes.\"b.example.com\"]\nmode = \"terminate\"\naccount = \"nobody\"\norigins = []",
            "line 3: route b.example.com: there is no account \"nobody\"",
        ),
        (&route(""), "line 3: route a.example.org: *.example.org is another account's"),
        ("[routes.\"b.example.com\"]\norigins = []", "line 1: a route needs its mode"),
        ("[routes.\"b.example.com\"]\nmode = \"terminate\"\n", "line 1: route b.example.com: name its account"),
    ] {
        let said = wrong(&control, text).await;
        assert!(said.starts_with(expected), "{text}\n{said}");
    }
    // The first from the top, and nothing of the rest.
    let two = "[accounts.fine]\n[accounts.acme]\ntier = \"none\"\n[tiers.a]\nrequests = 1\n";
    assert!(wrong(&control, two).await.starts_with("line 5"), "what can't be read comes first");
    // The others' lines with it.
    let tiers = |wrong: usize| (0..=wrong).map(|n| format!("[accounts.a{n}]\ntier = \"none\"\n")).collect::<String>();
    for (others, end) in [
        (0, "too"),
        (1, "; line 4 is wrong too"),
        (2, "; lines 4, 6 are wrong too"),
        (7, "; lines 4, 6, 8, 10, 12 and more are wrong too"),
    ] {
        let said = wrong(&control, &tiers(others)).await;
        assert!(said.starts_with("line 2: account a0: there is no tier") && said.ends_with(end), "{said}");
    }
    assert_eq!(control.status().snapshot_version, version);
    assert_eq!(control.list_accounts().await.len(), 2);
}

#[tokio::test]
async fn ten_thousand_routes_are_applied_in_seconds() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let mut text = String::from("[accounts.default]\n");
    for n in 0..10_000 {
        let route = "mode = \"terminate\"\norigins = [{ url = \"http://192.0.2.7:3000\" }]\n";
        text.push_str(&format!("[routes.\"h{n}.example.com\"]\n{route}"));
    }
    let begun = Instant::now();
    let applied = control.apply(&text, false, false).await.unwrap();
    assert_eq!(applied.changes.len(), 10_000);
    assert_eq!(house.plane.served().routes().count(), 10_000);
    // A machine that is busy otherwise takes several.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    assert!(control.apply(&text, false, true).await.unwrap().changes.is_empty());
}
