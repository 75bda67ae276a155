use std::time::Duration;

use moorgate_contract::policy::Effect;

use super::*;
use crate::{
    client::ClientError,
    view::{AddCredential, ChangeAccount, FlowLine, PolicyRule, PolicyRules, Scope},
};

fn rules(rules: &[(Effect, &str)]) -> PolicyRules {
    let rule = |(effect, matcher): &(Effect, &str)| PolicyRule { effect: *effect, matcher: matcher.parse().unwrap() };
    PolicyRules { rules: rules.iter().map(rule).collect() }
}

#[tokio::test]
async fn an_operator_does_everything_through_the_client() {
    let house = House::new().await;
    let client = house.client();
    let made = client.add_account("fresh").await.unwrap();
    assert_eq!(made.egress, [ip("203.0.113.10"), ip("203.0.113.11")]);
    let names: Vec<_> = client.accounts().await.unwrap().into_iter().map(|account| account.name).collect();
    assert_eq!(names, ["acme", "default", "fresh", "other"]);
    let set = client
        .change_account("fresh", &ChangeAccount { egress: Some(vec![ip("203.0.113.11")]), tier: None })
        .await
        .unwrap();
    assert!(set.egress_is_own && set.egress == [ip("203.0.113.11")]);
    let egress = client.egress().await.unwrap();
    let seen: Vec<_> =
        egress.iter().map(|egress| (egress.present, egress.accounts.contains(&"fresh".to_owned()))).collect();
    assert_eq!(seen, [(true, false), (false, true)]);

    let new = client.add_credential("fresh", &AddCredential::default()).await.unwrap();
    assert!(new.username.starts_with("mg_") && new.password.len() >= 24);
    let rotated = client.rotate_credential("fresh", &new.username, Duration::from_secs(3600)).await.unwrap();
    assert_eq!(rotated.username, new.username);
    assert_ne!(rotated.password, new.password);
    let listed = client.credentials("fresh").await.unwrap();
    assert_eq!((listed.len(), listed[0].passwords), (1, 2));
    assert!(listed[0].overlap_until.unwrap() > listed[0].created);
    client.revoke_credential("fresh", &new.username).await.unwrap();
    assert!(client.credentials("fresh").await.unwrap().is_empty());

    let token = client.add_token(Some("fresh"), Scope::Read).await.unwrap();
    assert!(client.tokens().await.unwrap().iter().any(|have| have.id == token.id && have.scope == Scope::Read));
    let theirs = house.client_with(&token.token);
    assert_eq!(theirs.accounts().await.unwrap().len(), 1);
    client.revoke_token(&token.id).await.unwrap();
    assert_eq!(theirs.accounts().await.unwrap_err().code(), Some("token_unknown"));

    client.remove_account("fresh").await.unwrap();
    let error = client.account("fresh").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no account \"fresh\"; `moorgate account list` lists them");
    let status = client.status().await.unwrap();
    assert!(status.ready && status.store_ok && status.accounts == 3 && status.version == "0.0.0-test");
}

#[tokio::test]
async fn an_edit_of_a_policy_is_tried_on_what_went_by_before_it_is_made() {
    let house = House::new().await;
    let client = house.client();
    for (number, target) in [(1, "a.example:443"), (2, "a.example:443"), (3, "b.example:443")] {
        house.record(number, Some("acme"), target, Outcome::Ok).await;
    }
    let new = rules(&[(Effect::Deny, "a.example"), (Effect::Allow, "*.example"), (Effect::Deny, "10.0.0.0/8:80")]);
    let edit = client.set_policy("acme", &new, true, false).await.unwrap();
    assert!(!edit.applied && edit.before.rules.is_empty() && edit.after == new);
    let refused: Vec<_> = edit.refuses.iter().map(|refused| (&*refused.target, refused.flows)).collect();
    assert_eq!(refused, [("a.example:443", 2)]);
    assert!(edit.refuses[0].said.contains("rule 1"), "{}", edit.refuses[0].said);
    assert!(client.policy("acme").await.unwrap().rules.is_empty());
    assert!(client.set_policy("acme", &new, false, true).await.unwrap().applied);
    assert_eq!(client.policy("acme").await.unwrap(), new);

    let denied = client.explain("acme", "a.example", 443, false).await.unwrap();
    assert!(!denied.allowed && denied.refusal.unwrap().said.contains("rule 1"));
    let allowed = client.explain("acme", "four.example", 443, true).await.unwrap();
    assert_eq!((allowed.allowed, allowed.admitted), (true, vec!["8.8.8.8:443".parse().unwrap()]));
    let numeric = client.explain("acme", "0x7f.1", 80, true).await.unwrap();
    assert_eq!(numeric.refusal.unwrap().code, Code::HostNotCanonical);
}

#[tokio::test]
async fn a_policy_is_tried_on_what_was_asked_for_and_says_what_it_can_not_tell() {
    let house = House::new().await;
    let client = house.client();
    let denied = Outcome::Failed(Code::PolicyDenied);
    house.record(1, Some("acme"), "8.8.8.8:443", denied).await;
    house.record(2, Some("acme"), "a.example:443", denied).await;
    house.record(3, Some("acme"), "four.example:443", Outcome::Ok).await;
    house.record(4, Some("acme"), "9.9.9.9:443", Outcome::Failed(Code::ConnectionRefused)).await;
    let tried = async |asked: &[(Effect, &str)]| {
        let edit = client.set_policy("acme", &rules(asked), true, false).await.unwrap();
        let named = |targets: Vec<crate::view::RefusedTarget>| -> Vec<String> {
            targets.into_iter().map(|target| target.target).collect()
        };
        assert!(edit.replayed == 4 && !edit.is_partial && !edit.applied);
        (named(edit.refuses), named(edit.allows), edit.unjudged)
    };
    let none = Vec::<String>::new;
    // Refused by its address then, and now by the same rule or a wider one.
    for still in ["8.8.8.8", "8.8.0.0/16"] {
        assert_eq!(tried(&[(Effect::Deny, still)]).await, (none(), none(), 1), "a name, whose address nobody knows");
    }
    let opened = ["8.8.8.8:443".to_owned(), "a.example:443".to_owned()].to_vec();
    assert_eq!(tried(&[]).await, (none(), opened, 0));
    assert_eq!(tried(&[(Effect::Deny, "a.example")]).await, (none(), vec!["8.8.8.8:443".to_owned()], 0));
    // That nobody was there says nothing of the policy, which had let it through.
    let shut = vec!["9.9.9.9:443".to_owned(), "four.example:443".to_owned()];
    assert_eq!(tried(&[(Effect::Allow, "*.other.example")]).await, (shut, none(), 0));
}

#[tokio::test]
async fn flows_are_listed_explained_and_followed_without_a_gap() {
    let house = House::new().await;
    let client = house.client();
    house.record(1, Some("acme"), "four.example:443", Outcome::Ok).await;
    let refused = house.record(2, Some("acme"), "127.1:80", Outcome::Failed(Code::HostNotCanonical)).await;
    house.record(3, None, "x.example:443", Outcome::Failed(Code::CredentialsWrong)).await;
    let targets =
        |flows: Vec<crate::view::FlowView>| flows.into_iter().filter_map(|flow| flow.target).collect::<Vec<_>>();
    assert_eq!(targets(client.flows(None, 1000).await.unwrap()).len(), 3);
    assert_eq!(targets(client.flows(Some("acme"), 1).await.unwrap()), ["127.1:80".into()]);
    let why = client.flow(refused).await.unwrap();
    assert!(why.ended.starts_with("host_not_canonical") && why.advice.is_some());
    assert!(!why.now.unwrap().allowed);
    assert_eq!(client.flows(Some("nobody"), 10).await.unwrap_err().code(), Some("not_found"));

    let mut all = client.follow(None, 2).await.unwrap();
    let token = client.add_token(Some("acme"), Scope::Read).await.unwrap();
    let mut acme = house.client_with(&token.token).follow(None, 0).await.unwrap();
    house.record(4, Some("other"), "o.example:1", Outcome::Ok).await;
    house.record(5, Some("acme"), "a.example:2", Outcome::Ok).await;
    let mut next = async || match all.next().await.unwrap() {
        Some(FlowLine::Flow(flow)) => flow.target.unwrap().into_string(),
        other => panic!("{other:?}"),
    };
    let seen = [next().await, next().await, next().await, next().await];
    assert_eq!(seen, ["127.1:80", "x.example:443", "o.example:1", "a.example:2"]);
    let Some(FlowLine::Flow(own)) = acme.next().await.unwrap() else { panic!() };
    assert_eq!(own.target.as_deref(), Some("a.example:2"));

    // A revoked token reads nothing more.
    client.revoke_token(&token.id).await.unwrap();
    house.record(6, Some("acme"), "late.example:1", Outcome::Ok).await;
    assert_eq!(acme.next().await.unwrap(), None);
    drop(acme);
    let Some(FlowLine::Flow(_)) = all.next().await.unwrap() else { panic!() };
}

#[tokio::test]
async fn a_wrong_request_is_told_what_is_wrong() {
    let house = House::new().await;
    let long = format!(r#"{{"name":"{}"}}"#, "a".repeat(70_000));
    for (method, path, body, status, code, said) in [
        ("POST", "accounts", r#"{"name":"a","tier":"x"}"#, 400, "bad_body", "unknown field `tier`"),
        ("POST", "accounts", "{}", 400, "bad_body", "missing field `name`"),
        ("POST", "accounts", r#"{"name":"Not A Name"}"#, 422, "invalid", "is no name for an account"),
        ("POST", "accounts", r#"{"name":"acme"}"#, 409, "conflict", "already"),
        ("POST", "accounts", &long, 413, "body_too_long", "65536"),
        (
            "PUT",
            "accounts/acme/policy",
            r#"{"rules":[{"effect":"allow","match":"127.1"}]}"#,
            400,
            "bad_body",
            "write 127.0.0.1",
        ),
        ("PUT", "accounts/acme/policy?dry=1", r#"{"rules":[]}"#, 400, "bad_query", "unknown field `dry`"),
        ("GET", "flows?limit=1001", "", 400, "bad_query", "limit is 1 to 1000"),
        ("GET", "flows/nonsense", "", 404, "not_found", "no flow's id"),
        ("GET", "explain?account=acme", "", 400, "bad_query", "missing field `host`"),
        ("PATCH", "accounts/acme", r#"{"egress":["198.51.100.1"]}"#, 422, "invalid", "none of the gateway's egress"),
        ("PATCH", "accounts/acme", r#"{"tier":"none-such"}"#, 404, "not_found", "moorgate tier list"),
        ("PUT", "tiers/Gold", "{}", 422, "invalid", "no name for a tier"),
        ("PUT", "tiers/gold", r#"{"request_per_month":1}"#, 400, "bad_body", "unknown field `request_per_month`"),
        ("PUT", "tiers/gold", r#"{"tunnels":-1}"#, 400, "bad_body", "the body can't be read"),
        ("POST", "accounts/acme/credentials", r#"{"clients":["127.1"]}"#, 400, "bad_body", "the body can't be read"),
        ("POST", "accounts/acme/credentials", r#"{"expires":"soon"}"#, 400, "bad_body", "the body can't be read"),
        ("PATCH", "accounts/acme/credentials/mg_a", "{}", 404, "not_found", "moorgate credential list"),
        ("GET", "usage?by=hours", "", 400, "bad_query", "by"),
        ("GET", "usage?since=yesterday", "", 400, "bad_query", "since"),
        ("GET", "usage?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "", 422, "invalid", "later than until"),
        ("GET", "audit?cursor=u3z", "", 400, "bad_query", "this cursor"),
        ("GET", "gateways/none", "", 404, "not_found", "moorgate gateway list"),
        ("PATCH", "tokens", "", 405, "method_not_allowed", "GET, POST"),
        ("GET", "nonsense", "", 404, "not_found", "openapi.json"),
    ] {
        let (got, answer) = house.ask_as(&house.operator, method, &format!("/api/v1/{path}"), body).await;
        assert_eq!(got, status, "{method} {path}: {answer}");
        assert!(answer.to_lowercase().contains("content-type: application/problem+json"), "{answer}");
        let problem: crate::problem::Problem = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((problem.status, &*problem.code), (status, code), "{problem:?}");
        assert!(problem.detail.contains(said), "{problem:?}");
    }
    let headers = format!("Authorization: Bearer {}\r\nContent-Type: text/plain\r\n", house.operator);
    assert_eq!(house.ask("POST", "/api/v1/accounts", &headers, r#"{"name":"a"}"#).await.0, 415);
}

#[tokio::test]
async fn health_and_metrics_need_no_token_here() {
    let house = House::new().await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(house.ask("GET", path, "", "").await.0, 200, "{path}");
    }
    assert!(house.ask("GET", "/metrics", "", "").await.1.contains("moorgate_open_tunnels 2"));
    house.ready.store(false, Relaxed);
    let (status, answer) = house.ask("GET", "/readyz", "", "").await;
    assert!(status == 503 && answer.contains("draining"), "{answer}");
    assert_eq!(house.ask("GET", "/healthz", "", "").await.0, 200);
}

#[tokio::test]
async fn nobody_there_is_said_as_such() {
    let client = Client::new("http://127.0.0.1:1", "mgt_a").unwrap();
    let error = client.accounts().await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("moorgate up"), "{error}");
    assert!(matches!(Client::new("http://127.0.0.1:1", "two words"), Err(ClientError::BadToken)));
}
