use std::time::Duration;

use moorgate_contract::{
    failure::Code,
    listener::Listener,
    policy::{Effect, Policy, Rule},
    quota::Quotas,
};
use moorgate_wire::host::Asked;

use super::By;
use crate::{
    AccountChange, Control, CredentialChange,
    control::now,
    testing::{House, flow, ip},
};

fn by(username: &str) -> By<'_> {
    By { credential: Some(username), client: None, policy: None }
}

/// What is admitted and where from, or the refusal's code; and the checks that were made.
async fn check(control: &Control, host: &str, dns: bool, expected: Result<(&[&str], usize), Code>, last: &str) {
    let explained = control.explain("default", By::default(), &Asked::new(host, 443), dns).await.unwrap();
    let admitted: Vec<String> = explained.admitted.iter().map(|address| address.ip().to_string()).collect();
    match (&explained.refusal, expected) {
        (None, Ok((addresses, egress))) => assert_eq!(
            (&admitted[..], explained.egress.len()),
            (&addresses.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()[..], egress),
            "{host}"
        ),
        (Some(refusal), Err(code)) => assert_eq!(refusal.code, code, "{host}: {refusal:?}"),
        _ => panic!("{host}: {explained:?}"),
    }
    // The echo has no address to be judged, and a refusal is a judgement.
    let unresolved = !dns && explained.refusal.is_none() && last != "echo";
    assert_eq!(explained.unjudged, unresolved, "{host}: {explained:?}");
    assert_eq!(explained.steps.last().map(|step| step.check.as_str()), Some(last), "{host}: {:?}", explained.steps);
}

#[tokio::test]
async fn it_says_what_traffic_would_meet() {
    let house = House { egress: vec![ip("203.0.113.10"), ip("203.0.113.11")], ..House::new() };
    let (control, _) = house.open().await.unwrap();
    check(&control, "four.example", true, Ok((&["8.8.8.8"], 2)), "egress").await;
    check(&control, "both.example", true, Ok((&["8.8.8.8"], 2)), "egress").await;
    check(&control, "four.example", false, Ok((&[], 2)), "egress").await;
    check(&control, "echo.moorgate.internal", true, Ok((&[], 0)), "echo").await;
    check(&control, "echo.moorgate.internal", false, Ok((&[], 0)), "echo").await;
    check(&control, "inner.example", true, Err(Code::GuardDenied), "refused").await;
    check(&control, "10.0.0.1", true, Err(Code::GuardDenied), "refused").await;
    check(&control, "nowhere.example", true, Err(Code::NameNotResolved), "refused").await;
    check(&control, "0x7f.1", true, Err(Code::HostNotCanonical), "refused").await;
    check(&control, "2a00::1", true, Err(Code::NoAddressOfFamily), "refused").await;

    house.plane.absent.lock().unwrap().push(ip("203.0.113.10"));
    check(&control, "four.example", true, Ok((&["8.8.8.8"], 1)), "egress").await;
    house.plane.absent.lock().unwrap().push(ip("203.0.113.11"));
    check(&control, "four.example", true, Err(Code::NoEgressLeft), "refused").await;

    let rule = Rule { effect: Effect::Deny, matcher: "*.example".parse().unwrap() };
    control.set_policy("default", Policy::new(vec![rule]), false).await.unwrap();
    check(&control, "four.example", true, Err(Code::PolicyDenied), "refused").await;
}

#[tokio::test]
async fn without_egress_addresses_it_says_that_the_kernel_chooses() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let explained = control.explain("default", By::default(), &Asked::new("four.example", 443), true).await.unwrap();
    assert!(explained.egress.is_empty() && explained.steps.last().unwrap().found.contains("kernel"));
    assert_eq!(explained.target, "four.example:443");
}

#[tokio::test]
async fn a_credential_of_another_account_is_not_explained() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let asked = moorgate_wire::host::Asked::new("four.example", 443);
    let refused = control.explain("default", by("mg_nobody"), &asked, false).await;
    assert!(matches!(refused, Err(crate::ControlError::NotFound { .. })));
}

#[tokio::test]
async fn a_credentials_own_rules_are_shown_as_steps() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let rule = Rule { effect: Effect::Deny, matcher: "four.example".parse().unwrap() };
    let change = CredentialChange { policy: Some(Some(Policy::new(vec![rule]))), ..CredentialChange::default() };
    let username = control.add_credential("default", change).await.unwrap().username;
    let asked = Asked::new("four.example", 443);
    let refused = control.explain("default", by(&username), &asked, true).await.unwrap().refusal.unwrap();
    assert!(refused.said.contains(&format!("rule 1 of credential {username}")), "{}", refused.said);
    let other = control.explain("default", by(&username), &Asked::new("both.example", 443), true).await.unwrap();
    assert!(other.steps.iter().any(|step| step.check == "policy of the credential, by name"), "{:?}", other.steps);
    assert!(
        control
            .explain("default", By::default(), &Asked::new("four.example", 443), true)
            .await
            .unwrap()
            .refusal
            .is_none()
    );
}

#[tokio::test]
async fn a_credential_that_traffic_would_not_take_is_refused_here_too() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let change = CredentialChange {
        expires: Some(Some(now().after(Duration::from_millis(300)))),
        clients: Some(vec!["192.0.2.0/24".parse().unwrap()]),
        ..CredentialChange::default()
    };
    let username = control.add_credential("default", change).await.unwrap().username;
    let asked = Asked::new("four.example", 443);
    let explain =
        async |client| control.explain("default", By { client, ..by(&username) }, &asked, true).await.unwrap();
    let from = |explained: &crate::Explanation| explained.steps[1].found.clone();

    let unasked = explain(None).await;
    assert!(unasked.refusal.is_none() && from(&unasked) == "may use it from 192.0.2.0/24 only", "{unasked:?}");
    let near = explain(Some(ip("192.0.2.7"))).await;
    assert!(near.refusal.is_none() && from(&near) == "192.0.2.7 may use it", "{near:?}");
    let far = explain(Some(ip("198.51.100.1"))).await;
    assert_eq!(far.refusal.unwrap().code, Code::ClientDenied);
    tokio::time::sleep(Duration::from_millis(320)).await;
    let late = explain(Some(ip("192.0.2.7"))).await.refusal.unwrap();
    assert!(late.code == Code::CredentialsWrong && late.said.contains("has expired"), "{late:?}");

    let mut asked = flow(1, now(), Some("default"));
    (asked.username, asked.target) = (Some(username.as_str().into()), Some("four.example:443".into()));
    let now = control.explain_flow(&asked, true).await.unwrap().refusal.unwrap();
    assert_eq!(now.code, Code::CredentialsWrong);
    control.revoke_credential("default", &username).await.unwrap();
    let gone = control.explain_flow(&asked, true).await.unwrap().refusal.unwrap();
    assert!(gone.code == Code::CredentialsWrong && gone.said.contains("was revoked"), "{gone:?}");
}

#[tokio::test]
async fn a_quota_that_is_spent_refuses_what_is_explained_and_nothing_is_spent_by_asking() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let route = crate::testing::change(serde_json::json!({"origins": [{"url": "http://8.8.8.8:80"}]}));
    control
        .add_route(Some("default"), "a.example.com", moorgate_contract::route::Mode::Terminate, route)
        .await
        .unwrap();
    control
        .set_tier("small", Quotas { requests_per_month: Some(2), tunnels: Some(3), ..Quotas::default() })
        .await
        .unwrap();
    let tier = AccountChange { tier: Some(Some("small".to_owned())), ..AccountChange::default() };
    control.set_account("default", tier).await.unwrap();
    let asked = Asked::new("four.example", 443);
    let refusal = async || {
        let outbound = control.explain("default", By::default(), &asked, true).await.unwrap().refusal;
        let inbound = control.explain_route("a.example.com", None, Listener::InboundTls).await.unwrap().refusal;
        assert_eq!(outbound.as_ref().map(|refusal| &refusal.said), inbound.as_ref().map(|refusal| &refusal.said));
        outbound.map(|refusal| (refusal.code, refusal.said))
    };
    let account = house.plane.served().account("default").unwrap().clone();
    for _ in 0..5 {
        assert_eq!(refusal().await, None);
    }
    let places: Vec<_> = (0..3).map(|_| account.take_place(10).unwrap()).collect();
    let (code, said) = refusal().await.unwrap();
    assert!(code == Code::QuotaSpent && said.contains("3 tunnels and requests open"), "{said}");
    drop(places);
    assert_eq!(refusal().await, None);
    account.take_request(now).unwrap();
    assert_eq!(refusal().await, None);
    account.take_request(now).unwrap();
    let (code, said) = refusal().await.unwrap();
    assert!(code == Code::QuotaSpent && said.contains("quota of 2 requests per month"), "{said}");
}
