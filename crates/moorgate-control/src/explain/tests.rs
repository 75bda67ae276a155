use moorgate_contract::{
    failure::Code,
    policy::{Effect, Policy, Rule},
};
use moorgate_wire::host::Asked;

use crate::{
    Control, CredentialChange,
    testing::{House, ip},
};

/// What is admitted and where from, or the refusal's code; and the checks that were made.
async fn check(control: &Control, host: &str, dns: bool, expected: Result<(&[&str], usize), Code>, last: &str) {
    let explained = control.explain("default", host, 443, dns).await.unwrap();
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
    let explained = control.explain("default", "four.example", 443, true).await.unwrap();
    assert!(explained.egress.is_empty() && explained.steps.last().unwrap().found.contains("kernel"));
    assert_eq!(explained.target, "four.example:443");
}

#[tokio::test]
async fn a_credential_of_another_account_is_not_explained() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let asked = moorgate_wire::host::Asked::new("four.example", 443);
    let refused = control.explain_by("default", Some("mg_nobody"), &asked, false).await;
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
    let refused = control.explain_by("default", Some(&username), &asked, true).await.unwrap().refusal.unwrap();
    assert!(refused.said.contains(&format!("rule 1 of credential {username}")), "{}", refused.said);
    let other = control.explain_by("default", Some(&username), &Asked::new("both.example", 443), true).await.unwrap();
    assert!(other.steps.iter().any(|step| step.check == "policy of the credential, by name"), "{:?}", other.steps);
    assert!(control.explain("default", "four.example", 443, true).await.unwrap().refusal.is_none());
}
