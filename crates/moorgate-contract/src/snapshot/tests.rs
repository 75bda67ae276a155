use super::*;
use crate::{
    account::{Secret, SecretHash},
    egress::Pair,
    failure::Code,
    policy::Policy,
    quota::{Quota, Quotas},
};

fn account(id: u64, name: &str) -> Account {
    Account {
        id: AccountId(id),
        name: name.into(),
        policy: Policy::default(),
        policy_cuts: 0,
        egress: Pair::default(),
        load: Default::default(),
        quota: None,
    }
}

fn credential(id: u64, account: u64, username: &str, secrets: &[(u64, SecretHash, Option<u64>)]) -> Credential {
    let secrets =
        secrets.iter().map(|(id, hash, until)| Secret { id: SecretId(*id), hash: *hash, until: until.map(Timestamp) });
    Credential {
        id: CredentialId(id),
        account: AccountId(account),
        username: username.into(),
        secrets: secrets.collect(),
        expires: None,
        clients: Vec::new(),
        policy: None,
        policy_cuts: 0,
    }
}

fn snapshot() -> (Snapshot, Pepper) {
    let pepper = Pepper::new([7; 32]);
    let mut snapshot = Snapshot::empty(Arc::default(), pepper.clone());
    snapshot.put_account(account(1, "acme"));
    snapshot.put_credential(credential(
        1,
        1,
        "mg_a",
        &[(1, pepper.hash("mg_a", b"old"), Some(100)), (2, pepper.hash("mg_a", b"new"), None)],
    ));
    (snapshot, pepper)
}

#[test]
fn a_password_opens_its_account_until_it_ends() {
    let (snapshot, _) = snapshot();
    let try_with =
        |user: &str, password: &str, now| snapshot.authenticate(Some((user, password.as_bytes())), Timestamp(now));
    assert_eq!(try_with("mg_a", "old", 99).unwrap().secret, SecretId(1));
    assert_eq!(try_with("mg_a", "old", 100).unwrap_err().code, Code::CredentialsWrong);
    assert_eq!(&*try_with("mg_a", "new", 100).unwrap().account.name, "acme");
    assert_eq!(try_with("mg_b", "new", 0).unwrap_err().code, Code::CredentialsWrong);
    assert_eq!(snapshot.authenticate(None, Timestamp(0)).unwrap_err().code, Code::CredentialsMissing);
}

#[test]
fn an_account_that_is_gone_takes_its_credentials_along() {
    let (mut snapshot, _) = snapshot();
    snapshot.remove_account(AccountId(1));
    assert!(snapshot.account("acme").is_none());
    assert!(snapshot.authenticate(Some(("mg_a", b"new")), Timestamp(0)).is_err());
}

#[test]
fn of_many_each_is_found_until_it_is_removed_and_an_older_copy_keeps_it() {
    let mut snapshot = Snapshot::empty(Arc::default(), Pepper::new([7; 32]));
    let name = |id: u64| format!("account{id}");
    (0..5_000).for_each(|id| snapshot.put_account(account(id, &name(id))));
    let old = snapshot.clone();
    (0..5_000).step_by(2).for_each(|id| snapshot.remove_account(AccountId(id)));
    snapshot.put_account(account(1, "renamed"));
    for id in 0..5_000 {
        assert_eq!(old.account(&name(id)).map(|account| account.id), Some(AccountId(id)));
        assert_eq!(snapshot.account(&name(id)).is_some(), id % 2 == 1 && id != 1, "{id}");
    }
    assert_eq!((old.accounts().count(), snapshot.accounts().count()), (5_000, 2_500));
    assert_eq!(snapshot.account("renamed").unwrap().id, AccountId(1));
}

#[test]
fn a_swap_names_what_it_took_away_and_nothing_else() {
    let (old, pepper) = snapshot();
    let mut new = old.clone();
    new.put_account(account(2, "other"));
    assert!(old.revoked_by(&new).is_empty());

    new.put_credential(credential(1, 1, "mg_a", &[(2, pepper.hash("mg_a", b"new"), None)]));
    assert_eq!(old.revoked_by(&new).secrets, [SecretId(1)]);

    // A username that was revoked and given out again is another credential.
    new.put_credential(credential(9, 1, "mg_a", &[]));
    assert_eq!(old.revoked_by(&new).credentials, [CredentialId(1)]);

    new.remove_account(AccountId(1));
    assert_eq!(old.revoked_by(&new).accounts, [AccountId(1)]);

    let mut cut = old.clone();
    cut.put_account(Account { policy_cuts: 1, ..account(1, "acme") });
    assert_eq!(old.revoked_by(&cut).policies.len(), 1);
}

#[test]
fn no_secret_is_printed() {
    let (snapshot, _) = snapshot();
    let text = format!("{snapshot:?}");
    assert!(text.contains("SecretHash(…)") && text.contains("Pepper(…)"));
}

#[test]
fn edited_quotas_go_on_with_what_was_spent_and_what_was_open() {
    let limited = |requests| {
        let quotas = Quotas { requests_per_month: Some(requests), tunnels: Some(1), ..Quotas::default() };
        Account { quota: Some(Arc::new(Quota::new(quotas, Timestamp(u64::MAX)))), ..account(1, "acme") }
    };
    let mut snapshot = Snapshot::empty(Arc::default(), Pepper::new([7; 32]));
    snapshot.put_account(limited(1));
    let old = snapshot.account("acme").unwrap().clone();
    let place = old.take_place(20).unwrap();
    old.take_request(|| Timestamp(1)).unwrap();
    assert!(old.take_request(|| Timestamp(1)).unwrap_err().said.contains("1 requests per month"));

    snapshot.put_account(limited(2));
    let new = snapshot.account("acme").unwrap().clone();
    let refused = new.take_place(20).unwrap_err();
    assert!(refused.said.contains("account acme has 1 tunnels and requests open, which is its quota"), "{refused}");
    assert_eq!(refused.retry_after, Some(1));
    drop(place);
    let _place = new.take_place(20).unwrap();
    new.take_request(|| Timestamp(1)).unwrap();
    assert!(new.take_request(|| Timestamp(1)).is_err());
}

#[test]
fn the_gateways_limit_holds_where_a_tier_allows_more() {
    let quotas = Quotas { tunnels: Some(5), ..Quotas::default() };
    let acme = Account { quota: Some(Arc::new(Quota::new(quotas, Timestamp(u64::MAX)))), ..account(1, "acme") };
    let _one = acme.take_place(1).unwrap();
    assert!(acme.take_place(1).unwrap_err().said.contains("1 connections open, which is its limit"));
    let _unlimited = account(1, "acme").take_request(|| panic!("an account without quotas reads no clock"));
}

#[test]
fn a_credential_that_expires_ends_by_the_clock_and_says_so_to_its_owner_only() {
    let (mut snapshot, pepper) = snapshot();
    let secrets = [(1, pepper.hash("mg_a", b"new"), None)];
    snapshot.put_credential(Credential { expires: Some(Timestamp(50)), ..credential(1, 1, "mg_a", &secrets) });
    let principal = snapshot.authenticate(Some(("mg_a", b"new")), Timestamp(49)).unwrap();
    assert!(snapshot.still_has(&principal, Timestamp(49)) && !snapshot.still_has(&principal, Timestamp(50)));
    let said = |password: &[u8]| snapshot.authenticate(Some(("mg_a", password)), Timestamp(50)).unwrap_err();
    assert_eq!((said(b"new").code, said(b"bad").code), (Code::CredentialsWrong, Code::CredentialsWrong));
    assert!(said(b"new").said.contains("\"mg_a\" has expired") && !said(b"bad").said.contains("expired"));
    assert_eq!(snapshot.deadlines(), [(Timestamp(50), Ends::Credential(CredentialId(1)))]);
}

#[test]
fn a_credential_may_be_bound_to_addresses() {
    let (mut snapshot, pepper) = snapshot();
    let clients = ["192.0.2.0/24", "2001:db8::1/128"].map(|net| net.parse().unwrap()).to_vec();
    let secrets = [(1, pepper.hash("mg_a", b"new"), None)];
    snapshot.put_credential(Credential { clients, ..credential(1, 1, "mg_a", &secrets) });
    let principal = snapshot.authenticate(Some(("mg_a", b"new")), Timestamp(0)).unwrap();
    for (client, fits) in [
        ("192.0.2.9", true),
        ("::ffff:192.0.2.9", true),
        ("2001:db8::1", true),
        ("198.51.100.1", false),
        ("::1", false),
    ] {
        let result = principal.let_in(client.parse().unwrap());
        assert_eq!(result.is_ok(), fits, "{client}");
        if let Err(failure) = result {
            assert_eq!(failure.code, Code::ClientDenied);
            assert!(failure.said.contains(&format!("\"mg_a\" is not for {client}")), "{failure}");
        }
    }
}

#[test]
fn a_swap_names_credentials_whose_own_policy_was_edited_to_cut() {
    let (old, pepper) = snapshot();
    let mut new = old.clone();
    let secrets = [(1, pepper.hash("mg_a", b"old"), Some(100)), (2, pepper.hash("mg_a", b"new"), None)];
    let policy = Some(Arc::new(Policy::default()));
    new.put_credential(Credential { policy: policy.clone(), ..credential(1, 1, "mg_a", &secrets) });
    assert!(old.revoked_by(&new).is_empty());
    new.put_credential(Credential { policy, policy_cuts: 1, ..credential(1, 1, "mg_a", &secrets) });
    let revoked = old.revoked_by(&new);
    assert_eq!(revoked.credential_policies.len(), 1);
    assert!(!revoked.is_empty() && revoked.secrets.is_empty() && revoked.credentials.is_empty());
}
