use std::cell::RefCell;

use moorgate_contract::{
    account::Credential,
    policy::{Effect, Rule},
    quota::{Quota, Quotas},
};

use super::*;

const ACME: Owner = Owner::Inbound { account: AccountId(1), route: RouteId(7) };

fn outbound() -> Owner {
    Owner::Outbound {
        account: AccountId(1),
        credential: CredentialId(2),
        secret: SecretId(3),
        host: Host::parse("api.bank.example").unwrap(),
        port: 443,
        client: ip("192.0.2.7"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sweep(registry: &Registry, wall: u64) -> Vec<Tally> {
    let tallies = RefCell::<Vec<Tally>>::default();
    let now = Moment { instant: Instant::now(), wall: Timestamp(wall) };
    registry.sweep(0, now, |tally| tallies.borrow_mut().push(tally));
    tallies.into_inner()
}

#[test]
fn an_open_flow_reports_what_moved_in_it_once() {
    let registry = Registry::new(1);
    let open = registry.register(0, outbound(), Arc::default());
    assert_eq!(sweep(&registry, 1), []);
    open.dialled(Dialled { address: ip("8.8.8.8"), egress: ip("203.0.113.10") });
    open.meter().add_up(5);
    open.meter().add_down(6);
    let whose = Whose { account: Some(AccountId(1)), credential: Some(CredentialId(2)), route: None };
    let tally = Tally {
        whose,
        host: Some("api.bank.example".into()),
        egress: Some(ip("203.0.113.10")),
        client: Some(ip("192.0.2.7")),
        at: Timestamp(2),
        up: 5,
        down: 6,
    };
    assert_eq!(sweep(&registry, 2), [tally]);
    assert_eq!(sweep(&registry, 3), []);

    let inbound = registry.register(0, ACME, Arc::default());
    inbound.meter().add_up(1);
    let tally = sweep(&registry, 4).remove(0);
    assert_eq!((tally.whose.route, tally.host, tally.client), (Some(RouteId(7)), None, None));
}

#[test]
fn open_flows_of_an_account_that_is_beyond_its_bytes_are_cut_and_no_others() {
    let registry = Registry::new(1);
    let quotas = Quotas { bytes_per_month: Some(100), grace_percent: 10, ..Quotas::default() };
    let quota = Arc::new(Quota::new(quotas, Timestamp(u64::MAX)));
    let limited = [outbound(), ACME].map(|owner| registry.register(0, owner, Arc::default()));
    limited.iter().for_each(|open| open.meter().spend_of(&quota));
    let other = registry.register(0, outbound(), Arc::default());
    for open in limited.iter().chain([&other]) {
        open.meter().add_down(54);
    }
    sweep(&registry, 1);
    assert_eq!((quota.spent().bytes, limited[0].is_cut()), (108, None));
    limited[1].meter().add_up(2);
    // The one that is seen before the last bytes are counted is cut the next time.
    (2..4).for_each(|at| drop(sweep(&registry, at)));
    assert!(limited.iter().all(|open| open.is_cut() == Some(Ending::QuotaSpent)));
    assert_eq!(other.is_cut(), None);
}

#[test]
fn an_edited_policy_of_a_credential_cuts_what_it_refuses_of_that_credential_alone() {
    let edited = |id| {
        let rule = Rule { effect: Effect::Deny, matcher: "api.bank.example".parse().unwrap() };
        let credential = Credential {
            id: CredentialId(id),
            account: AccountId(1),
            username: "mg_a".into(),
            secrets: Vec::new(),
            expires: None,
            clients: Vec::new(),
            policy: Some(Arc::new(Policy::new(vec![rule]))),
            policy_cuts: 1,
        };
        Revoked { credential_policies: vec![Arc::new(credential)], ..Revoked::default() }
    };
    let registry = Registry::new(1);
    let open = registry.register(0, outbound(), Arc::default());
    let inbound = registry.register(0, ACME, Arc::default());
    assert_eq!(registry.revoke(&edited(9)), 0);
    assert_eq!(registry.revoke(&edited(2)), 1);
    assert_eq!((open.is_cut(), inbound.is_cut()), (Some(Ending::Revoked), None));
}

#[test]
fn source_ports_are_counted_by_where_from_and_where_to() {
    let registry = Registry::new(2);
    let dialled = Dialled { address: ip("8.8.8.8"), egress: ip("203.0.113.10") };
    let open: Vec<_> = (0..3).map(|worker| registry.register(worker, outbound(), Arc::default())).collect();
    open.iter().for_each(|open| open.dialled(dialled));
    let _not_yet = registry.register(0, outbound(), Arc::default());
    registry.register(0, ACME, Arc::default()).dialled(dialled);
    let toward = Toward { egress: ip("203.0.113.10"), destination: "8.8.8.8:443".parse().unwrap() };
    assert_eq!(registry.ports_in_use(), HashMap::from([(toward, 3)]));
}
