use moorgate_control::{NewBasicUser, RouteState, Scope, StandingView};
use serde_json::{Value, json};

use super::*;
use crate::view::{AddRoute, ChangeRoute, LOCAL_CA};

/// A new route of an account, with one origin.
fn new(account: Option<&str>, domain: &str, mode: Mode, url: &str) -> AddRoute {
    let origins = Some(vec![OriginSpec { url: url.parse().unwrap(), weight: 1 }]);
    let settings = ChangeRoute { origins, ..ChangeRoute::default() };
    AddRoute { domain: domain.into(), mode, account: account.map(Into::into), settings }
}

impl House {
    /// Status and JSON of an answer to the operator.
    async fn json(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.ask_as(&self.operator, method, &format!("/api/v1/{path}"), &body).await;
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or_default())
    }
}

#[tokio::test]
async fn a_route_is_made_changed_and_removed_through_the_client() {
    let house = House::new().await;
    let client = house.client();
    let made = client
        .add_route(&new(Some("acme"), "App.Example.com", Mode::Terminate, "http://four.example:3000"))
        .await
        .unwrap();
    assert_eq!((&*made.domain, &*made.account, made.state), ("app.example.com", "acme", RouteState::Active));
    assert_eq!((&*made.origins[0].url, made.origins[0].standing), ("http://four.example:3000", StandingView::Up));
    assert_eq!(made.certificate.as_ref().map(|shown| &*shown.issuer), Some(LOCAL_CA));
    assert_eq!(client.route("app.example.com").await.unwrap(), made);

    // What is not named stays; what is null goes.
    let change = ChangeRoute { max_body: Some(Some(1000)), ..ChangeRoute::default() };
    let changed = client.change_route("app.example.com", &change).await.unwrap();
    assert_eq!((changed.max_body, changed.origins), (Some(1000), made.origins));
    let change = ChangeRoute { on_http: Some(moorgate_contract::route::OnHttp::Forward), ..ChangeRoute::default() };
    assert_eq!(client.change_route("app.example.com", &change).await.unwrap().max_body, Some(1000));
    let (status, shown) = house.json("PATCH", "routes/app.example.com", &json!({"max_body": 1000.0})).await;
    assert_eq!((status, &shown["max_body"]), (200, &json!(1000)), "{shown}");
    let change = ChangeRoute { max_body: Some(None), ..ChangeRoute::default() };
    assert_eq!(client.change_route("app.example.com", &change).await.unwrap().max_body, None);

    client.add_route(&new(Some("other"), "*.example.org", Mode::Passthrough, "tls://four.example:443")).await.unwrap();
    let domains = |routes: Vec<crate::view::Route>| routes.into_iter().map(|route| route.domain).collect::<Vec<_>>();
    assert_eq!(domains(client.routes(None).await.unwrap()), ["*.example.org", "app.example.com"]);
    assert_eq!(domains(client.routes(Some("acme")).await.unwrap()), ["app.example.com"]);
    assert_eq!(client.routes(Some("nobody")).await.unwrap_err().code(), Some("not_found"));
    assert_eq!(client.route("*.example.org").await.unwrap().certificate, None);

    client.remove_route("app.example.com").await.unwrap();
    let error = client.route("app.example.com").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no route \"app.example.com\"; `moorgate route list` lists them");
}

#[tokio::test]
async fn the_json_of_a_route_has_what_scripts_rely_on() {
    let house = House::new().await;
    let add = json!({"domain": "app.test", "mode": "terminate", "account": "acme", "origins": [{"url": "http://four.example"}]});
    let (status, route) = house.json("POST", "routes", &add).await;
    assert_eq!(status, 201, "{route}");
    assert_eq!(
        (&route["domain"], &route["mode"], &route["state"]),
        (&json!("app.test"), &json!("terminate"), &json!("active"))
    );
    assert!(route.as_object().unwrap().contains_key("cname") && route["cname"].is_null());
    assert_eq!(route["origins"][0]["url"], "http://four.example:80");
    assert!(route["created"].as_str().unwrap().ends_with('Z'), "{route}");
}

#[tokio::test]
async fn an_account_has_its_own_routes_and_certificates_and_no_others() {
    let house = House::new().await;
    house.add_route("other", "other.test").await;
    house
        .control
        .add_route(Some("other"), "*.shared.test", Mode::Terminate, {
            let AddRoute { settings, .. } = new(None, "", Mode::Terminate, "http://four.example");
            settings.into()
        })
        .await
        .unwrap();
    let token = house.control.add_token(Some("acme"), Scope::Write).await.unwrap();
    let acme = house.client_with(token.token.reveal());
    let route = |account, domain| new(account, domain, Mode::Terminate, "http://four.example:80");

    // Whatever it says, what it makes is its own.
    let made = acme.add_route(&route(None, "acme.test")).await.unwrap();
    assert_eq!(made.account, "acme");
    let code = |error: crate::client::ClientError| error.code().map(str::to_owned).unwrap_or_default();
    assert_eq!(code(acme.add_route(&route(Some("other"), "b.test")).await.unwrap_err()), "not_found");
    assert_eq!(code(acme.add_route(&route(None, "other.test")).await.unwrap_err()), "conflict");
    assert_eq!(acme.routes(None).await.unwrap().len(), 1);
    let certificate = acme.add_certificate("acme.test", &certificate_for("acme.test")).await.unwrap();
    assert_eq!((&*certificate.account, &certificate.names), ("acme", &vec!["acme.test".to_owned()]));
    assert_eq!(acme.certificates(None).await.unwrap(), [certificate]);

    let change = ChangeRoute::default();
    for error in [
        acme.route("other.test").await.unwrap_err(),
        acme.route("OTHER.test").await.unwrap_err(),
        acme.change_route("other.test", &change).await.unwrap_err(),
        acme.remove_route("other.test").await.unwrap_err(),
        acme.explain_route("other.test", None).await.unwrap_err(),
        acme.explain_route("a.shared.test", None).await.unwrap_err(),
        acme.certificate("other.test").await.unwrap_err(),
        acme.add_certificate("other.test", &certificate_for("other.test")).await.unwrap_err(),
        acme.add_certificate("*.shared.test", &certificate_for("*.shared.test")).await.unwrap_err(),
        acme.remove_certificate("other.test").await.unwrap_err(),
    ] {
        assert_eq!(code(error), "not_found");
    }
    assert_eq!(house.client().routes(Some("other")).await.unwrap().len(), 2);
    assert_eq!(house.client().certificates(Some("other")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_secret_of_a_route_is_never_answered() {
    let house = House::new().await;
    let client = house.client();
    let mut add = new(Some("acme"), "app.test", Mode::Terminate, "http://four.example");
    let user: NewBasicUser = serde_json::from_value(json!({"username": "ann", "password": "hunter2"})).unwrap();
    add.settings.basic_auth = Some(vec![user]);
    let edits = json!({"set": [{"name": "Authorization", "value": "Bearer s3cret"}]});
    add.settings.request_headers = Some(serde_json::from_value(edits).unwrap());
    client.add_route(&add).await.unwrap();
    let certificate = certificate_for("app.test");
    let key = certificate.key.lines().nth(1).unwrap();
    let body = serde_json::to_value(&certificate).unwrap();
    for (method, path, body) in [
        ("PUT", "certificates/app.test", body),
        ("GET", "certificates/app.test", Value::Null),
        ("GET", "certificates", Value::Null),
        ("GET", "routes/app.test", Value::Null),
        ("PATCH", "routes/app.test", json!({"max_body": 5})),
        ("GET", "routes", Value::Null),
        ("GET", "routes/app.test/explain", Value::Null),
    ] {
        let (status, answer) = house.json(method, path, &body).await;
        let answer = answer.to_string();
        assert_eq!(status, 200, "{method} {path}: {answer}");
        for secret in ["hunter2", "s3cret", key, "PRIVATE KEY"] {
            assert!(!answer.contains(secret), "{method} {path}: {answer}");
        }
    }
    let shown = client.route("app.test").await.unwrap();
    assert_eq!(
        (&*shown.basic_auth, &*shown.request_headers.set),
        (&["ann".to_owned()][..], &["authorization".to_owned()][..])
    );
    assert!(!format!("{:?} {certificate:?}", add).contains("hunter2"));
    assert!(!format!("{certificate:?}").contains(key));
}

#[tokio::test]
async fn a_certificate_is_added_shown_and_removed() {
    let house = House::new().await;
    let client = house.client();
    client.add_route(&new(Some("acme"), "app.test", Mode::Terminate, "http://four.example")).await.unwrap();
    let added = client.add_certificate("app.test", &certificate_for("app.test")).await.unwrap();
    assert_eq!((&*added.account, added.fingerprint.len()), ("acme", 64));
    assert!(added.not_before < added.not_after && added.renew_at.is_none() && added.last_error.is_none());
    let (_, shown) = house.json("GET", "certificates/app.test", &Value::Null).await;
    for field in ["domain", "issuer", "names", "not_after", "renew_at", "last_error"] {
        assert!(shown.as_object().unwrap().contains_key(field), "{field}: {shown}");
    }
    assert!(shown["not_after"].as_str().unwrap().ends_with('Z'), "{shown}");
    // The domain's route shows it from now on.
    assert_eq!(client.route("app.test").await.unwrap().certificate.unwrap().not_after, added.not_after);
    client.remove_certificate("app.test").await.unwrap();
    assert_eq!(client.certificate("app.test").await.unwrap_err().code(), Some("not_found"));
    assert_eq!(client.route("app.test").await.unwrap().certificate.unwrap().issuer, LOCAL_CA);
}

#[tokio::test]
async fn what_a_client_of_a_domain_would_meet_is_explained() {
    let house = House::new().await;
    let client = house.client();
    let mut add = new(Some("acme"), "*.app.test", Mode::Terminate, "http://four.example:3000");
    add.settings.clients = Some(serde_json::from_value(json!({"deny": ["192.0.2.0/24"]})).unwrap());
    client.add_route(&add).await.unwrap();
    let let_in = client.explain_route("a.app.test", None).await.unwrap();
    assert!(let_in.allowed && let_in.refusal.is_none());
    assert_eq!((let_in.route.as_deref(), let_in.account.as_deref()), (Some("*.app.test"), Some("acme")));
    assert_eq!(let_in.origins[0].admitted, ["8.8.8.8:3000".parse().unwrap()]);
    let kept_out = client.explain_route("a.app.test", Some(ip("192.0.2.1"))).await.unwrap();
    assert_eq!((kept_out.allowed, kept_out.refusal.map(|refusal| refusal.code)), (false, Some(Code::ClientDenied)));
    let unknown = client.explain_route("b.test", None).await.unwrap();
    assert_eq!((unknown.route, unknown.refusal.map(|refusal| refusal.code)), (None, Some(Code::DomainUnknown)));
    let (status, _) = house.json("GET", "routes/a.app.test/explain?client=nobody", &Value::Null).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn why_an_inbound_flow_ended_is_said_by_its_route() {
    let house = House::new().await;
    house.add_route("acme", "app.test").await;
    let mut flow = flow(1, Some("acme"), "app.test", Outcome::Failed(Code::ConnectionRefused));
    (flow.listener, flow.route, flow.mode) = (Listener::InboundTls, Some("app.test".into()), Some(Mode::Terminate));
    let id = flow.id;
    house.control.record_flows(vec![flow]).await;
    let why = house.client().flow(id).await.unwrap();
    assert!(why.advice.unwrap().contains("moorgate route show app.test"));
    assert_eq!(why.now, None);
    assert_eq!(why.inbound_now.unwrap().route.as_deref(), Some("app.test"));
}

#[tokio::test]
async fn a_wrong_route_is_told_what_is_wrong() {
    let house = House::new().await;
    house.add_route("acme", "app.test").await;
    let route = |more: Value| {
        let mut route = json!({"domain": "new.test", "mode": "terminate", "account": "acme", "origins": [{"url": "http://four.example"}]});
        route.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        route
    };
    let page = "a".repeat(70_000);
    let chain = json!({"chain": "a".repeat(60_000), "key": "b"});
    for (method, path, body, status, said) in [
        ("POST", "routes", json!({}), 400, "missing field `domain`"),
        ("POST", "routes", route(json!({"mode": "terminated"})), 400, "unknown variant `terminated`"),
        ("POST", "routes", route(json!({"max_bodi": 1})), 400, "unknown field `max_bodi`"),
        ("POST", "routes", route(json!({"origins": [{"url": "four.example:80"}]})), 400, "write http://HOST:PORT"),
        ("POST", "routes", route(json!({"domain": "127.0.0.1"})), 422, "is an address"),
        ("POST", "routes", route(json!({"domain": "app.test"})), 409, "already a route"),
        ("POST", "routes", route(json!({"maintenance": {"page": page}})), 422, "maintenance page"),
        ("PATCH", "routes/app.test", json!({"origins": []}), 422, "at least one origin"),
        ("PATCH", "routes/none.test", json!({}), 404, "moorgate route list"),
        ("PUT", "certificates/app.test", chain, 422, "certificate"),
        ("GET", "routes?whose=acme", Value::Null, 400, "unknown field `whose`"),
    ] {
        let (got, answer) = house.json(method, path, &body).await;
        assert_eq!(got, status, "{method} {path}: {answer}");
        assert!(answer["detail"].as_str().unwrap_or_default().contains(said), "{method} {path}: {answer}");
    }
}
