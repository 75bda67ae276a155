use std::collections::BTreeSet;

use http::Method;
use moorgate_control::{AlarmKind, Password, Scope, Standing};

use super::*;
use crate::server::{
    access::{Need, TABLE},
    handlers,
};

#[tokio::test]
async fn every_route_is_described_and_in_the_table_of_who_may_call_it() {
    let house = House::new().await;
    let (status, answer) = house.ask("GET", "/api/v1/openapi.json", "", "").await;
    assert_eq!(status, 200);
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let document: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut described = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
        }
    }
    let table = TABLE.iter().filter(|(_, path, _)| path.starts_with("/api/v1") && *path != handlers::OPENAPI);
    let table: BTreeSet<_> = table.map(|(method, path, _)| (method.to_string(), (*path).to_owned())).collect();
    assert_eq!(described, table);
}

/// A path of the table with something in its holes, and a body that is right for it.
fn filled(path: &str, account: &str, username: &str, flow: FlowId, token: &str, alarm: &str) -> String {
    let path = path.replace("{account}", account).replace("{username}", username).replace("{domain}", "app.test");
    let path = path.replace("{email}", "ann@example.com");
    let path = path.replace("{tier}", "gold").replace("{gateway}", "gateway");
    let path = match path.as_str() {
        "/api/v1/explain" => format!("{path}?account={account}&host=four.example&port=443"),
        "/api/v1/flows" | "/api/v1/usage" | "/api/v1/audit" => format!("{path}?account={account}"),
        _ if path.contains("/alarms/") => path.replace("{id}", alarm),
        _ if path.contains("flows/") => path.replace("{id}", &flow.to_string()),
        _ => path.replace("{id}", token),
    };
    // A new kind of hole would be walked as a name that nobody has, and prove nothing.
    assert!(!path.contains('{'), "{path}: say what stands there");
    path
}

fn body(method: &Method, path: &str, account: &str) -> String {
    match (method.as_str(), path) {
        ("POST", "/api/v1/accounts") => r#"{"name":"fresh"}"#.into(),
        ("POST", "/api/v1/routes") => format!(
            r#"{{"domain":"new.test","mode":"terminate","account":"{account}","origins":[{{"url":"http://four.example"}}]}}"#
        ),
        ("PUT", path) if path.contains("certificates") => serde_json::to_string(&certificate_for("app.test")).unwrap(),
        ("PUT", path) if path.contains("policy") => r#"{"rules":[]}"#.into(),
        ("POST", "/api/v1/invitations") => r#"{"email":"bob@example.com"}"#.into(),
        ("POST", "/api/v1/apply") => r#"{"text":"[tiers.gold]"}"#.into(),
        ("POST", path) if path.ends_with("/alarms") => r#"{"receiver":"https://hooks.example.com/2"}"#.into(),
        ("POST", "/api/v1/tokens") => format!(r#"{{"account":"{account}"}}"#),
        _ => String::new(),
    }
}

/// Deny by default, walked: each route by nobody, by a token for reading, by another account's token.
#[tokio::test]
async fn no_route_lets_in_whom_it_should_not() {
    let house = House::with_zone().await;
    let control = &house.control;
    let secret = async |account: Option<&str>, scope| control.add_token(account, scope).await.unwrap();
    let (foreign, own_read, operator_read) = (
        secret(Some("other"), Scope::Write).await,
        secret(Some("acme"), Scope::Read).await,
        secret(None, Scope::Read).await,
    );
    let victim = secret(Some("acme"), Scope::Write).await;
    let alarm = control.add_alarm("acme", "https://hooks.example.com/1", &AlarmKind::ALL).await.unwrap();
    let username = control.add_credential("acme", Default::default()).await.unwrap().username;
    control.set_tier("gold", Default::default()).await.unwrap();
    for email in ["ann@example.com", "the-other-operator@example.com"] {
        let invited = control.invite(None, Standing::Operator).await.unwrap();
        let password = Password::given("correct horse battery");
        control.accept_invitation(invited.token.reveal(), email, &password, "").await.unwrap();
    }
    house.add_route("acme", "app.test").await;
    let flow = house.record(1, Some("acme"), "four.example:443", Outcome::Ok).await;
    for (method, path, need) in TABLE {
        let url = filled(path, "acme", &username, flow, &victim.id, &alarm.id);
        let (verb, body) = (method.as_str(), body(method, path, "acme"));
        let call = async |token: &str| house.ask_as(token, verb, &url, &body).await;
        let what = format!("{verb} {url}");
        let open = matches!(need, Need::Nothing | Need::LoopbackOrOperator);
        let nobody = house.ask(verb, &url, "", &body).await;
        assert_eq!(nobody.0 == 200, open, "{what} by nobody: {}", nobody.1);
        if open {
            continue;
        }
        assert_eq!(nobody.0, 401, "{what}: {}", nobody.1);
        assert!(nobody.1.to_lowercase().contains("www-authenticate: bearer"), "{what}: {}", nobody.1);
        for unknown in ["mgt_nonsense", &format!("{}x", house.operator), ""] {
            assert_eq!(call(unknown).await.0, 401, "{what} by token {unknown:?}");
        }
        // Another account's token: what names acme is not there, lists are without it.
        let (status, answer) = call(foreign.token.reveal()).await;
        let lists = ["accounts", "tokens", "egress", "routes", "certificates"];
        if path.strip_prefix("/api/v1/").is_some_and(|path| lists.contains(&path)) && verb == "GET" {
            assert_eq!(status, 200, "{what}: {answer}");
            assert!(!answer.contains("acme") && !answer.contains("app.test"), "{what}: {answer}");
        } else {
            assert_eq!(status, 404, "{what} by another account: {answer}");
        }
        let writes = verb != "GET" || *need == Need::Operator(Scope::Write);
        let (status, answer) = call(own_read.token.reveal()).await;
        match need {
            Need::Operator(_) => assert_eq!(status, 404, "{what} by its own account: {answer}"),
            _ if writes => assert_eq!(status, 403, "{what} by its own account's reader: {answer}"),
            _ => assert_eq!(status, 200, "{what} by its own account's reader: {answer}"),
        }
        let (status, answer) = call(operator_read.token.reveal()).await;
        assert_eq!(status, if writes { 403 } else { 200 }, "{what} by an operator's reader: {answer}");
    }
    // None of all this did anything.
    assert_eq!(control.list_accounts().await.len(), 3);
    assert_eq!(control.list_credentials("acme").await.unwrap().len(), 1);
    assert_eq!((control.list_routes(None).await.len(), control.list_certificates(None).await.len()), (1, 1));
    assert_eq!((control.list_tiers().await.len(), control.list_alarms("acme").await.unwrap().len()), (1, 1));
    // And each of them works for those who may, the account itself being removed last.
    let mut routes: Vec<_> = TABLE.iter().filter(|(_, path, _)| path.starts_with("/api/v1")).collect();
    routes.sort_by_key(|(method, path, _)| (*method == Method::DELETE, path.ends_with("{account}")));
    for (method, path, _) in routes {
        let url = filled(path, "acme", &username, flow, &victim.id, &alarm.id);
        let (status, answer) = house.ask_as(&house.operator, method.as_str(), &url, &body(method, path, "acme")).await;
        // There is no CA to order from.
        let expected = if path.ends_with("/renew") { 422..423 } else { 200..300 };
        assert!(expected.contains(&status), "{method} {url} by an operator: {answer}");
    }
}

#[tokio::test]
async fn what_belongs_to_another_looks_like_what_is_not_there() {
    let house = House::new().await;
    let token = house.control.add_token(Some("other"), Scope::Write).await.unwrap();
    let victim = house.control.add_token(Some("acme"), Scope::Write).await.unwrap().id;
    let flow = house.record(1, Some("acme"), "four.example:443", Outcome::Ok).await;
    let unknown = FlowId(flow.0 + 1);
    house.add_route("acme", "acme.test").await;
    for (theirs, nobodys) in [
        ("accounts/acme".to_owned(), "accounts/acma".to_owned()),
        ("accounts/acme/policy".into(), "accounts/acma/policy".into()),
        ("accounts/acme/alarms".into(), "accounts/acma/alarms".into()),
        ("flows?account=acme".into(), "flows?account=acma".into()),
        ("usage?account=acme".into(), "usage?account=acma".into()),
        ("audit?account=acme".into(), "audit?account=acma".into()),
        ("accounts/acme/credentials/mg_a".into(), "accounts/acma/credentials/mg_a".into()),
        (format!("flows/{flow}"), format!("flows/{unknown}")),
        ("routes?account=acme".into(), "routes?account=acma".into()),
        ("routes/acme.test".into(), "routes/acma.test".into()),
        ("routes/acme.test/explain".into(), "routes/acma.test/explain".into()),
        ("certificates/acme.test".into(), "certificates/acma.test".into()),
    ] {
        let ask = async |path: &str| house.ask_as(token.token.reveal(), "GET", &format!("/api/v1/{path}"), "").await;
        let (theirs, nobodys) = (ask(&theirs).await, ask(&nobodys).await);
        assert_eq!(theirs.0, 404);
        let told = |(_, answer): (u16, String)| {
            let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
            body.replace("acma", "acme").replace(&unknown.to_string(), &flow.to_string())
        };
        assert_eq!(told(theirs), told(nobodys));
    }
    let revoke =
        async |id: &str| house.ask_as(token.token.reveal(), "DELETE", &format!("/api/v1/tokens/{id}"), "").await;
    assert_eq!((revoke(&victim).await.0, revoke("nonsense").await.0), (404, 404));
}

#[tokio::test]
async fn an_account_runs_its_own_affairs_and_not_what_an_operator_decides() {
    let house = House::new().await;
    let token = house.control.add_token(Some("acme"), Scope::Write).await.unwrap();
    let ask = async |method: &str, path: &str, body: &str| {
        let (status, answer) = house.ask_as(token.token.reveal(), method, &format!("/api/v1/{path}"), body).await;
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    };
    assert_eq!(ask("POST", "accounts/acme/credentials", "").await.0, 201);
    assert_eq!(ask("PUT", "accounts/acme/policy", r#"{"rules":[{"effect":"deny","match":"a.example"}]}"#).await.0, 200);
    // A token that it makes without naming an account is its own, not an operator's.
    assert_eq!(ask("POST", "tokens", "{}").await.0, 201);
    assert!(house.control.list_tokens(Some("acme")).await.unwrap().len() == 2);
    for (method, body) in [("PATCH", r#"{"egress":["203.0.113.10"]}"#), ("PATCH", r#"{"tier":null}"#), ("DELETE", "")] {
        let (status, answer) = ask(method, "accounts/acme", body).await;
        assert_eq!(status, 403, "{answer}");
        assert!(answer.contains("\"operator_only\""), "{answer}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_cannot_reach_the_api_by_its_own_name() {
    let house = House::new().await;
    for (host, status) in [("evil.example:7070", 421), ("localhost", 200), ("127.0.0.1:1", 200)] {
        for path in ["/healthz", "/metrics", "/api/v1/openapi.json"] {
            let answer = house.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}{path}: {answer}");
        }
    }
    let two =
        house.raw("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert!(two.starts_with("HTTP/1.1 421 "), "{two}");
    let absolute =
        house.raw("GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(absolute.starts_with("HTTP/1.1 421 "), "{absolute}");
}
