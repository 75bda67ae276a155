use super::*;
use crate::{
    account::{AccountId, Pepper},
    decide::Step,
    route::{Mode, RouteId, RouteSettings},
    snapshot::Snapshot,
};

fn snapshot(routes: &[(u64, &str)]) -> Snapshot {
    let mut snapshot = Snapshot::empty(Arc::default(), Pepper::new([1; 32]));
    snapshot.put_account(Account {
        id: AccountId(1),
        name: "acme".into(),
        policy: Default::default(),
        policy_cuts: 0,
        egress: Default::default(),
        load: Default::default(),
        quota: None,
    });
    for (id, domain) in routes {
        put(&mut snapshot, *id, domain, "{}");
    }
    snapshot
}

fn put(snapshot: &mut Snapshot, id: u64, domain: &str, actions: &str) {
    let settings: RouteSettings =
        serde_json::from_str(&format!(r#"{{"origins":[{{"url":"tls://10.0.0.1:1"}}],"actions":{actions}}}"#)).unwrap();
    let domain = domain.parse().unwrap();
    snapshot.put_route(Route::new(RouteId(id), AccountId(1), domain, Mode::Passthrough, settings));
}

fn route(
    snapshot: &Snapshot,
    name: Option<&DomainName>,
    client: IpAddr,
    witness: &mut impl Witness,
) -> Result<Routed, Failure> {
    let routed = find(snapshot, name, witness)?;
    let_in(&routed, client, witness).map(|()| routed)
}

fn found(snapshot: &Snapshot, name: &str) -> Result<u64, Code> {
    let name = name.parse().unwrap();
    let client = "192.0.2.1".parse().unwrap();
    route(snapshot, Some(&name), client, &mut ()).map(|routed| routed.route.id.0).map_err(|refusal| refusal.code)
}

#[test]
fn exact_beats_wildcard_and_nothing_falls_to_a_default() {
    let snapshot = snapshot(&[(1, "a.b.test"), (2, "*.b.test"), (3, "c.test")]);
    assert_eq!(found(&snapshot, "a.b.test"), Ok(1));
    assert_eq!(found(&snapshot, "other.b.test"), Ok(2));
    for name in ["b.test", "x.y.b.test", "evilc.test", "a.c.test", "test"] {
        assert_eq!(found(&snapshot, name), Err(Code::DomainUnknown), "{name}");
    }
    let nobody = route(&snapshot, None, "192.0.2.1".parse().unwrap(), &mut ()).unwrap_err();
    assert_eq!(nobody.code, Code::DomainUnknown);
}

#[test]
fn a_route_that_is_out_of_service_is_no_wildcards() {
    let mut snapshot = snapshot(&[(1, "a.b.test"), (2, "*.b.test")]);
    snapshot.take_out_route(&"a.b.test".parse().unwrap());
    assert_eq!((found(&snapshot, "a.b.test"), found(&snapshot, "c.b.test")), (Err(Code::DomainUnknown), Ok(2)));
    snapshot.remove_route(&"a.b.test".parse().unwrap());
    assert_eq!(found(&snapshot, "a.b.test"), Ok(2));
}

#[test]
fn a_client_that_is_kept_out_is_told_by_which_rule() {
    let mut snapshot = snapshot(&[]);
    put(&mut snapshot, 1, "a.test", r#"{"clients":{"deny":["192.0.2.0/24"]}}"#);
    let name = "a.test".parse().unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let refusal = route(&snapshot, Some(&name), "192.0.2.1".parse().unwrap(), &mut steps).unwrap_err();
    assert_eq!(refusal.code, Code::ClientDenied);
    assert!(refusal.said.contains("deny 192.0.2.0/24"), "{refusal}");
    assert_eq!(steps.iter().map(|step| step.check).collect::<Vec<_>>(), ["route"], "who is kept out was not let in");
}

#[test]
fn a_removed_route_is_revoked_and_an_edited_one_is_not() {
    let old = snapshot(&[(1, "a.test"), (2, "*.b.test")]);
    let mut edited = old.clone();
    put(&mut edited, 1, "a.test", r#"{"clients":{"deny":["192.0.2.0/24"]}}"#);
    assert!(old.revoked_by(&edited).is_empty());
    let mut removed = edited.clone();
    removed.remove_route(&"*.b.test".parse().unwrap());
    assert_eq!(edited.revoked_by(&removed).routes, [RouteId(2)]);
    assert_eq!(found(&removed, "x.b.test"), Err(Code::DomainUnknown));
    let mut again = removed.clone();
    put(&mut again, 7, "a.test", "{}");
    assert_eq!(removed.revoked_by(&again).routes, [RouteId(1)], "the same domain, another route");
}
