use std::sync::Arc;

use moorgate_wire::host::Asked;

use super::*;
use crate::{
    account::{Account, AccountId, Credential, CredentialId},
    decide::{Ask, Destination, Transport, decide},
    egress::Pair,
    policy::{Effect, Policy, Rule},
};

struct Case<'a> {
    rules: &'a [&'a str],
    egress: &'a [&'a str],
    private: bool,
    /// Those of the credential's own policy; `None`: it has none.
    own: Option<&'a [&'a str]>,
}

const PLAIN: Case = Case { rules: &[], egress: &[], private: false, own: None };

fn policy(rules: &[&str]) -> Policy {
    let rules = rules.iter().map(|rule| {
        let (effect, matcher) = rule.split_once(' ').unwrap();
        let effect = if effect == "allow" { Effect::Allow } else { Effect::Deny };
        Rule { effect, matcher: matcher.parse().unwrap() }
    });
    Policy::new(rules.collect())
}

fn credential(policy: Policy) -> Credential {
    Credential {
        id: CredentialId(1),
        account: AccountId(1),
        username: "mg_a".into(),
        secrets: Vec::new(),
        expires: None,
        clients: Vec::new(),
        policy: Some(Arc::new(policy)),
        policy_cuts: 0,
    }
}

/// Decides and admits as traffic does; the answer is the admitted addresses or the refusal's line.
fn check(case: &Case, host: &str, port: u16, addresses: &[&str], expected: Result<&[&str], &str>) {
    let egress: Vec<IpAddr> = case.egress.iter().map(|address| address.parse().unwrap()).collect();
    let account = Arc::new(Account {
        id: AccountId(1),
        name: "acme".into(),
        policy: policy(case.rules),
        policy_cuts: 0,
        egress: Pair::first_of(&egress),
        load: Default::default(),
        quota: None,
    });
    let credential = case.own.map(|own| Arc::new(credential(policy(own))));
    let guard = Guard {
        allowed: if case.private { Guard::private_networks() } else { vec![] },
        own: vec!["0.0.0.0:9293".parse().unwrap()],
        others: ["10.9.9.9:7070".parse().unwrap()].into(),
        store: ["10.9.9.10:5432".parse().unwrap()].into(),
    };
    let asked = Asked::new(host, port);
    let result = decide(
        &Ask { account: &account, credential: credential.as_ref(), asked: &asked, transport: Transport::Stream },
        &mut (),
    )
    .and_then(|plan| {
        let addresses: Vec<IpAddr> = match plan.destination {
            Destination::Address(address) => vec![address],
            _ => addresses.iter().map(|address| address.parse().unwrap()).collect(),
        };
        admit(&guard, &Presence::default(), &plan, &addresses, &mut ())
    });
    match (result, expected) {
        (Ok(admitted), Ok(expected)) => {
            assert_eq!(admitted.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>(), expected, "{host}");
        }
        (Err(refusal), Err(expected)) => assert!(refusal.to_string().contains(expected), "{host}: {refusal}"),
        (result, expected) => panic!("{host}: {result:?} instead of {expected:?}"),
    }
}

#[test]
fn a_destination_on_the_internet_is_admitted() {
    check(&PLAIN, "api.bank.example", 443, &["8.8.8.8", "2a00::1"], Ok(&["8.8.8.8", "2a00::1"]));
    check(&PLAIN, "8.8.8.8", 443, &[], Ok(&["8.8.8.8"]));
}

#[test]
fn special_addresses_are_dropped_and_refused_when_none_is_left() {
    check(&PLAIN, "mixed.example", 443, &["127.0.0.1", "8.8.8.8"], Ok(&["8.8.8.8"]));
    check(&PLAIN, "inner.example", 443, &["10.0.0.1", "::ffff:127.0.0.1"], Err("guard_denied"));
    check(&PLAIN, "169.254.169.254", 80, &[], Err("guard_denied"));
    check(&Case { private: true, ..PLAIN }, "inner.example", 443, &["10.0.0.1"], Ok(&["10.0.0.1"]));
    check(&Case { private: true, ..PLAIN }, "127.0.0.1", 443, &[], Err("guard_denied"));
    check(&PLAIN, "127.0.0.1", 9293, &[], Err("loop"));
}

#[test]
fn the_other_gateways_and_the_database_are_refused_by_name_though_their_network_is_allowed() {
    let open = Case { private: true, rules: &["allow 10.0.0.0/8"], ..PLAIN };
    check(&open, "10.9.9.9", 443, &[], Ok(&["10.9.9.9"]));
    check(&open, "10.9.9.9", 7070, &[], Err("guard_denied: 10.9.9.9:7070 is a listener of another gateway, which"));
    check(&open, "10.9.9.10", 5432, &[], Err("guard_denied: 10.9.9.10:5432 is the gateways' database, which nobody"));
    let named = "leads to 10.9.9.10:5432, the gateways' database, which nobody may reach through a gateway; no setting";
    check(&open, "db.example", 5432, &["10.9.9.10"], Err(named));
    check(&open, "db.example", 5432, &["10.9.9.10", "10.9.9.11"], Ok(&["10.9.9.11"]));
}

#[test]
fn a_host_that_is_not_canonical_is_refused_before_anything_else() {
    for host in ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "user@bank.example", "fe80::1%eth0", "a.example."] {
        check(&PLAIN, host, 80, &[], Err("host_not_canonical"));
    }
}

#[test]
fn deny_wins_and_names_its_rule() {
    let case = Case { rules: &["allow *.bank.example", "deny evil.bank.example"], ..PLAIN };
    check(&case, "api.bank.example", 443, &["8.8.8.8"], Ok(&["8.8.8.8"]));
    check(&case, "evil.bank.example", 443, &["8.8.8.8"], Err("policy rule 2 of account acme"));
    check(&case, "a.b.bank.example", 443, &["8.8.8.8"], Err("no allow rule of account acme"));
    check(&case, "8.8.8.8", 443, &[], Err("no allow rule"));
}

#[test]
fn addresses_are_judged_after_resolution() {
    let case = Case { rules: &["allow 8.8.8.0/24:443", "deny 8.8.8.9"], ..PLAIN };
    check(&case, "x.example", 443, &["8.8.8.8", "8.8.8.9", "9.9.9.9"], Ok(&["8.8.8.8"]));
    check(&case, "x.example", 443, &["8.8.8.9"], Err("policy rule 2"));
    check(&case, "x.example", 80, &["8.8.8.8"], Err("no allow rule"));
    let deny = Case { rules: &["deny 8.8.8.0/24"], ..PLAIN };
    check(&deny, "x.example", 443, &["8.8.8.8", "9.9.9.9"], Ok(&["9.9.9.9"]));
    check(&deny, "8.8.8.8", 443, &[], Err("policy rule 1"));
}

#[test]
fn mail_between_servers_needs_a_rule_that_names_the_port() {
    check(&PLAIN, "mx.example", 25, &["8.8.8.8"], Err("port 25 is closed"));
    check(&PLAIN, "8.8.8.8", 25, &[], Err("port 25 is closed"));
    check(&Case { rules: &["allow mx.example"], ..PLAIN }, "mx.example", 25, &["8.8.8.8"], Err("port 25 is closed"));
    check(&Case { rules: &["allow mx.example:25"], ..PLAIN }, "mx.example", 25, &["8.8.8.8"], Ok(&["8.8.8.8"]));
}

#[test]
fn a_family_that_the_pair_lacks_is_refused_by_name() {
    let case = Case { egress: &["203.0.113.10", "203.0.113.11"], ..PLAIN };
    check(&case, "dual.example", 443, &["2a00::1", "8.8.8.8"], Ok(&["8.8.8.8"]));
    check(&case, "six.example", 443, &["2a00::1"], Err("only IPv6 addresses"));
}

#[test]
fn a_name_without_addresses_does_not_resolve() {
    check(&PLAIN, "none.example", 443, &[], Err("name_not_resolved"));
}

#[test]
fn a_credentials_own_policy_narrows_its_accounts_and_names_its_rule() {
    let case = |rules, own| Case { rules, own: Some(own), ..PLAIN };
    let narrow = case(&["allow *.bank.example"], &["deny evil.bank.example"]);
    check(&narrow, "api.bank.example", 443, &["8.8.8.8"], Ok(&["8.8.8.8"]));
    check(&narrow, "evil.bank.example", 443, &["8.8.8.8"], Err("rule 1 of credential mg_a"));
    check(&narrow, "other.example", 443, &["8.8.8.8"], Err("no allow rule of account acme"));
    let only = case(&[], &["allow api.bank.example:443"]);
    check(&only, "api.bank.example", 443, &["8.8.8.8"], Ok(&["8.8.8.8"]));
    check(&only, "api.bank.example", 80, &["8.8.8.8"], Err("no allow rule of credential mg_a"));
    check(&only, "8.8.8.8", 443, &[], Err("moorgate credential show acme "));
    // It never opens what the account's policy closes.
    check(&case(&["deny 8.8.8.8"], &["allow 8.8.8.8"]), "8.8.8.8", 443, &[], Err("rule 1 of account acme"));
    check(&case(&[], &["allow mx.example:25"]), "mx.example", 25, &["8.8.8.8"], Err("rule of account acme names it"));
}

#[test]
fn a_credentials_own_policy_judges_addresses_after_resolution() {
    let case = Case { rules: &["allow x.example"], own: Some(&["allow 8.8.8.0/24", "deny 8.8.8.9"]), ..PLAIN };
    check(&case, "x.example", 443, &["8.8.8.8", "8.8.8.9", "9.9.9.9"], Ok(&["8.8.8.8"]));
    check(&case, "x.example", 443, &["8.8.8.9"], Err("rule 2 of credential mg_a"));
    check(&case, "x.example", 443, &["9.9.9.9"], Err("no allow rule of credential mg_a"));
    let empty = Case { own: Some(&[]), ..PLAIN };
    check(&empty, "x.example", 443, &["9.9.9.9"], Ok(&["9.9.9.9"]));
}
