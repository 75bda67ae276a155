use moorgate_contract::{failure::Code, listener::Listener, route::Mode};
use serde_json::json;

use crate::{
    Control, RouteExplanation, StandingView,
    testing::{House, change, ip},
};

async fn add(control: &Control, domain: &str, origins: &[&str]) {
    let origins: Vec<_> = origins.iter().map(|url| json!({ "url": url })).collect();
    let settings = json!({ "origins": origins, "clients": { "deny": ["198.51.100.0/24"] } });
    control.add_route(None, domain, Mode::Terminate, change(settings)).await.unwrap();
}

fn checks(explained: &RouteExplanation) -> Vec<&str> {
    explained.steps.iter().map(|step| step.check.as_str()).collect()
}

#[tokio::test]
async fn it_says_which_route_serves_a_client_and_how_each_origin_is_reached() {
    let house = House { egress: vec![ip("203.0.113.10"), ip("203.0.113.11")], ..House::new() };
    let (control, _) = house.open().await.unwrap();
    add(
        &control,
        "app.example.com",
        &["http://four.example:80", "http://8.8.4.4:81", "http://inner.example", "http://nowhere.example"],
    )
    .await;
    let paths = json!({ "paths": [{ "prefix": "/api", "origins": [{ "url": "https://both.example" }] }] });
    control.set_route("app.example.com", change(paths)).await.unwrap();
    let explained =
        control.explain_route("APP.example.com", Some(ip("192.0.2.1")), Listener::InboundTls).await.unwrap();
    assert_eq!(explained.refusal, None);
    assert_eq!((explained.route.as_deref(), explained.mode), (Some("app.example.com"), Some(Mode::Terminate)));
    assert_eq!((&explained.domain[..], explained.account.as_deref()), ("APP.example.com", Some("default")));
    assert_eq!(checks(&explained)[..6], ["domain", "route", "client", "plain HTTP", "certificate", "origin"]);
    let found: Vec<_> = explained
        .origins
        .iter()
        .map(|origin| {
            let admitted: Vec<String> = origin.admitted.iter().map(ToString::to_string).collect();
            (
                origin.prefix.as_deref(),
                admitted,
                origin.egress.len(),
                origin.refusal.as_ref().map(|refusal| refusal.code),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (None, vec!["8.8.8.8:80".to_owned()], 2, None),
            (None, vec!["8.8.4.4:81".to_owned()], 2, None),
            (None, vec![], 0, Some(Code::GuardDenied)),
            (None, vec![], 0, Some(Code::NameNotResolved)),
            (Some("/api"), vec!["8.8.8.8:443".to_owned()], 2, None),
        ]
    );
    assert!(explained.origins.iter().all(|origin| origin.standing == StandingView::Up));
}

#[tokio::test]
async fn it_says_why_a_client_is_refused() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    add(&control, "app.example.com", &["http://8.8.8.8:80"]).await;
    let denied =
        control.explain_route("app.example.com", Some(ip("198.51.100.9")), Listener::InboundTls).await.unwrap();
    assert_eq!(denied.refusal.as_ref().unwrap().code, Code::ClientDenied);
    assert!(denied.route.is_some() && denied.origins.is_empty());
    assert_eq!(checks(&denied).last(), Some(&"refused"));
    let unknown = control.explain_route("other.example.com", None, Listener::InboundTls).await.unwrap();
    assert_eq!(unknown.refusal.as_ref().unwrap().code, Code::DomainUnknown);
    assert_eq!((unknown.route.as_ref(), checks(&unknown).last()), (None, Some(&"refused")));
    assert!(
        control
            .explain_route("127.0.0.1", None, Listener::InboundTls)
            .await
            .unwrap_err()
            .to_string()
            .contains("is an address")
    );
}

#[tokio::test]
async fn it_says_what_the_route_does_in_its_order_and_no_value_that_may_be_a_secret() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    add(&control, "app.example.com", &["http://8.8.8.8:80"]).await;
    let settings = json!({
        "on_http": "forward",
        "redirects": [{ "from": "/old", "to": "/new" }],
        "basic_auth": [{ "username": "ada", "password": "correct horse" }],
        "max_body": 1000,
        "request_headers": { "remove": ["x-a"], "set": [{ "name": "x-key", "value": "hidden" }] },
    });
    control.set_route("app.example.com", change(settings)).await.unwrap();
    let explained = control.explain_route("app.example.com", None, Listener::InboundTls).await.unwrap();
    let said: Vec<_> = explained.steps.iter().map(|step| (step.check.as_str(), step.found.as_str())).collect();
    assert_eq!(
        said[2..9],
        [
            ("client", "198.51.100.0/24 may not come, everybody else may"),
            ("plain HTTP", "goes on as https does"),
            ("redirect", "/old is sent to /new (308)"),
            ("basic auth", "asks for the password of ada"),
            ("body", "of at most 1000 bytes"),
            ("request", "x-a taken away"),
            ("request", "x-key set"),
        ]
    );
    control.set_route("app.example.com", change(json!({ "maintenance": { "page": "soon" } }))).await.unwrap();
    let explained = control.explain_route("app.example.com", None, Listener::InboundTls).await.unwrap();
    assert_eq!(explained.refusal.as_ref().unwrap().code, Code::Maintenance);
    assert_eq!(checks(&explained).last(), Some(&"refused"));
    assert!(explained.origins.is_empty(), "no request gets there");
}

#[tokio::test]
async fn a_wildcard_is_explained_by_one_of_its_names() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    add(&control, "*.example.com", &["http://8.8.8.8:80"]).await;
    for domain in ["*.example.com", "app.example.com"] {
        let explained = control.explain_route(domain, None, Listener::InboundTls).await.unwrap();
        assert_eq!((explained.route.as_deref(), &explained.domain[..]), (Some("*.example.com"), domain));
        assert!(explained.origins[0].egress.is_empty() && explained.origins[0].refusal.is_none());
    }
}

#[tokio::test]
async fn plain_http_is_answered_by_the_gateway_itself_unless_the_route_forwards_it() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    add(&control, "app.example.com", &["http://8.8.8.8:80"]).await;
    let explain = async || control.explain_route("app.example.com", None, Listener::InboundHttp).await.unwrap();
    let sent = explain().await;
    assert_eq!((sent.answer.as_deref(), sent.origins.len()), (Some("308 to https"), 0));
    // As traffic meets it: the page is for those who come by https.
    let maintenance = json!({ "maintenance": { "page": "back soon" } });
    control.set_route("app.example.com", change(maintenance)).await.unwrap();
    assert_eq!(explain().await, sent);
    let forward = json!({ "on_http": "forward", "maintenance": null });
    control.set_route("app.example.com", change(forward)).await.unwrap();
    let forwarded = explain().await;
    assert_eq!((forwarded.answer, forwarded.origins.len()), (None, 1));
}
