//! What one credential is bound to, and whether it is used at all.

use super::{credential, listed};
use crate::{
    gateway::{Gateway, eventually},
    talk::{self, Said, Talk},
    target::Target,
};

#[test]
fn a_credential_from_elsewhere_is_refused_and_named_through_both_kinds_of_door() {
    let gateway = Gateway::start();
    let target = Target::echo().address.to_string();
    let bound = credential(&gateway, "default", &["--from", "192.0.2.0/24"]);
    let (http, socks) = (gateway.address("outbound_http"), gateway.address("outbound_socks"));
    let refused = Talk::tunnel(http, &bound, &target).err().expect("a refusal");
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.body.contains("client_denied") && refused.body.contains(&bound.0), "{refused:?}");
    assert_eq!(talk::socks_tunnel(socks, &bound, &target).err(), Some(Said::AuthFailed));
    let said = gateway.cli(&["credential", "list", "default"]);
    assert!(said.contains("from 192.0.2.0/24"), "{said}");

    gateway.cli(&["credential", "set", "default", &bound.0, "--from", "192.0.2.0/24", "--from", "127.0.0.1"]);
    assert!(Talk::tunnel(http, &bound, &target).is_ok());
    gateway.cli(&["credential", "set", "default", &bound.0, "--from", "any"]);
    assert!(talk::socks_tunnel(socks, &bound, &target).is_ok());
}

#[test]
fn an_expired_credential_is_refused_and_what_it_opened_is_cut() {
    let gateway = Gateway::start();
    let target = Target::echo().address.to_string();
    let http = gateway.address("outbound_http");
    let short = credential(&gateway, "default", &["--expires", "2100-01-01T00:00:00Z"]);
    let mut open = Talk::tunnel(http, &short, &target).unwrap();
    gateway.cli(&["credential", "set", "default", &short.0, "--expires", "1s"]);
    // It says nothing: it is cut.
    open.rest();
    let refused = Talk::tunnel(http, &short, &target).err().expect("a refusal");
    assert_eq!(refused.status, 407, "{refused:?}");
    assert!(refused.body.contains("has expired"), "{refused:?}");
    assert!(gateway.cli(&["credential", "list", "default"]).contains("EXPIRED"));
    gateway.cli(&["credential", "set", "default", &short.0, "--expires", "never"]);
    assert!(Talk::tunnel(http, &short, &target).is_ok());
}

#[test]
fn a_credentials_own_rules_narrow_its_accounts_and_are_named_in_the_refusal() {
    let gateway = Gateway::start();
    let (target, other) = (Target::echo().address, Target::echo().address);
    let narrow = credential(&gateway, "default", &["--deny", &target.to_string()]);
    let http = gateway.address("outbound_http");
    let refused = Talk::tunnel(http, &narrow, &target.to_string()).err().expect("a refusal");
    assert_eq!(refused.status, 403, "{refused:?}");
    let named = format!("rule 1 of credential {}", narrow.0);
    assert!(refused.body.contains("policy_denied") && refused.body.contains(&named), "{refused:?}");
    let show = format!("credential show default {}", narrow.0);
    assert!(refused.body.contains(&format!("moorgate {show}")), "{refused:?}");
    let shown = gateway.cli(&show.split(' ').collect::<Vec<_>>());
    assert!(shown.contains(&format!("rule 1  deny {target}")), "{shown}");
    assert!(Talk::tunnel(http, &narrow, &other.to_string()).is_ok());
    // The account's other credentials are not concerned.
    assert!(Talk::tunnel(http, &gateway.credential(), &target.to_string()).is_ok());

    let mut open = Talk::tunnel(http, &narrow, &other.to_string()).unwrap();
    let changed = gateway.cli(&["credential", "set", "default", &narrow.0, "--allow", "a.example", "--cut"]);
    assert!(changed.contains("1 rule"), "{changed}");
    open.rest();
    let refused = Talk::tunnel(http, &narrow, &other.to_string()).err().expect("a refusal");
    assert!(refused.body.contains("no allow rule of credential"), "{refused:?}");
    gateway.cli(&["credential", "set", "default", &narrow.0, "--no-policy"]);
    assert!(Talk::tunnel(http, &narrow, &target.to_string()).is_ok());
}

#[test]
fn a_credential_that_nobody_uses_is_told_from_one_in_use() {
    let gateway = Gateway::start();
    let target = Target::echo().address.to_string();
    let (used, unused) = (credential(&gateway, "default", &[]), credential(&gateway, "default", &[]));
    assert_eq!(listed(&gateway, "default", &used.0)["standing"], "never_used");
    drop(Talk::tunnel(gateway.address("outbound_http"), &used, &target).unwrap());
    let seen = eventually("its use", || {
        let seen = listed(&gateway, "default", &used.0);
        (seen["standing"] == "in_use").then_some(seen)
    });
    assert_eq!(seen["last_client"], "127.0.0.1");
    assert!(seen["last_used"].as_str().is_some_and(|at| at >= seen["created"].as_str().unwrap()), "{seen}");
    assert_eq!(listed(&gateway, "default", &unused.0)["standing"], "never_used");
    let shown = gateway.cli(&["account", "show", "default"]);
    let line = |username: &str| shown.lines().find(|line| line.contains(username)).unwrap().to_owned();
    assert!(line(&used.0).contains("last used") && line(&used.0).ends_with("from 127.0.0.1"), "{shown}");
    assert!(line(&unused.0).contains("never used") && line(&unused.0).contains("connect directly"), "{shown}");
}
