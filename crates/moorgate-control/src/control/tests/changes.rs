use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use moorgate_contract::policy::{Effect, MAX_RULES, Policy, Rule};

use crate::{
    AccountChange, ControlError, Invalid, MAX_CREDENTIALS, Scope,
    control::now,
    testing::{House, ip, until},
};

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

fn deny(host: &str) -> Policy {
    Policy::new(vec![Rule { effect: Effect::Deny, matcher: host.parse().unwrap() }])
}

#[tokio::test]
async fn the_first_start_makes_what_is_needed_and_the_second_keeps_it() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    assert!(start.first && start.degraded.is_none() && start.accounts == 1);
    let (account, credential) = start.created_account.unwrap();
    let token = start.operator_token.unwrap();
    assert_eq!(account, "default");
    assert_eq!(&*house.plane.knows(&credential, NOW).unwrap().account.name, "default");
    control.close().await;

    let (control, again) = house.open().await.unwrap();
    assert!(!again.first && again.created_account.is_none() && again.operator_token.is_none());
    assert_eq!((again.accounts, again.snapshot_version), (1, start.snapshot_version));
    assert!(house.plane.knows(&credential, NOW).is_some());
    let caller = control.authenticate(token.token.reveal()).await.unwrap();
    assert_eq!((caller.account, caller.scope, caller.token_id), (None, Scope::Write, token.id));
}

#[tokio::test]
async fn a_first_start_with_a_file_makes_an_operators_token_only() {
    let house = House { default: false, ..House::new() };
    let (control, start) = house.open().await.unwrap();
    assert!(start.first && start.created_account.is_none() && start.operator_token.is_some());
    assert!(control.list_accounts().await.is_empty());
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.add_account("acme").await.unwrap();
    let credential = control.add_credential("acme", Default::default()).await.unwrap();
    control.set_policy("acme", deny("evil.example"), true).await.unwrap();
    let elsewhere = house.after_kill();
    let (control, start) = elsewhere.open().await.unwrap();
    assert_eq!((start.first, start.accounts), (false, 2));
    assert!(elsewhere.plane.knows(&credential, NOW).is_some());
    assert_eq!(control.policy("acme").await.unwrap(), deny("evil.example"));
}

#[tokio::test]
async fn a_revoked_credential_is_not_served_when_the_call_returns() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let (one, other) = (
        control.add_credential("default", Default::default()).await.unwrap(),
        control.add_credential("default", Default::default()).await.unwrap(),
    );
    let before = house.plane.served();
    control.revoke_credential("default", &one.username).await.unwrap();
    assert!(house.plane.knows(&one, NOW).is_none() && house.plane.knows(&other, NOW).is_some());
    let revoked = before.revoked_by(&house.plane.served());
    assert_eq!((revoked.credentials.len(), revoked.accounts.len(), revoked.secrets.len()), (1, 0, 0));
    let again = control.revoke_credential("default", &one.username).await.unwrap_err();
    assert!(again.to_string().contains("moorgate credential list"), "{again}");
}

#[tokio::test]
async fn an_account_takes_credentials_and_tokens_along_and_its_name_comes_back_clean() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let old = control.add_account("acme").await.unwrap();
    let credential = control.add_credential("acme", Default::default()).await.unwrap();
    let token = control.add_token(Some("acme"), Scope::Read).await.unwrap();
    assert_eq!(control.authenticate(token.token.reveal()).await.unwrap().account.as_deref(), Some("acme"));
    assert!(matches!(control.add_account("acme").await, Err(ControlError::Exists { .. })));
    control.remove_account("acme").await.unwrap();
    let new = control.add_account("acme").await.unwrap();
    assert!(new.created > old.created && new.credentials == 0);
    assert!(control.authenticate(token.token.reveal()).await.is_none());
    assert!(house.plane.knows(&credential, NOW).is_none());
    drop(control);
    let (control, _) = house.open().await.unwrap();
    assert!(control.list_credentials("acme").await.unwrap().is_empty());
    assert!(control.list_tokens(Some("acme")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_rotation_overlaps_for_as_long_as_was_asked() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let (_, first) = start.created_account.unwrap();
    let second = control.rotate_credential("default", &first.username, HOUR).await.unwrap();
    assert_eq!(first.username, second.username);
    assert!(house.plane.knows(&first, NOW).is_some() && house.plane.knows(&second, NOW).is_some());
    assert!(house.plane.knows(&first, HOUR).is_none() && house.plane.knows(&second, HOUR).is_some());
    let view = control.list_credentials("default").await.unwrap().remove(0);
    assert!(view.passwords == 2 && view.overlap_until.is_some_and(|until| until > now()));

    // The deadline passes: the old one is forgotten, here and after a restart.
    let before = house.plane.served();
    control.reap(now().after(HOUR)).await.unwrap();
    assert_eq!(before.revoked_by(&house.plane.served()).secrets.len(), 1);
    assert_eq!(control.list_credentials("default").await.unwrap().remove(0).passwords, 1);
    drop(control);
    let (control, _) = house.open().await.unwrap();
    assert_eq!(house.plane.served().deadlines(), []);
    assert!(house.plane.knows(&second, NOW).is_some());
    let too_long = control.rotate_credential("default", &first.username, 9_999 * HOUR).await;
    assert!(matches!(too_long, Err(ControlError::Invalid(Invalid::OverlapTooLong { .. }))));
}

#[tokio::test]
async fn an_overlap_ends_by_itself() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let (_, first) = start.created_account.unwrap();
    control.rotate_credential("default", &first.username, Duration::from_millis(50)).await.unwrap();
    until(|| house.plane.served().deadlines().is_empty()).await;
    assert!(house.plane.knows(&first, NOW).is_none());
}

#[tokio::test]
async fn a_second_rotation_ends_the_first_ones_overlap() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let (_, first) = start.created_account.unwrap();
    let second = control.rotate_credential("default", &first.username, HOUR).await.unwrap();
    let third = control.rotate_credential("default", &first.username, HOUR).await.unwrap();
    assert!(house.plane.knows(&first, NOW).is_none());
    assert!(house.plane.knows(&second, NOW).is_some() && house.plane.knows(&third, NOW).is_some());
    let fourth = control.rotate_credential("default", &first.username, Duration::ZERO).await.unwrap();
    assert!(house.plane.knows(&second, NOW).is_none() && house.plane.knows(&third, NOW).is_none());
    assert!(house.plane.knows(&fourth, NOW).is_some());
    assert_eq!(house.plane.served().deadlines(), []);
}

#[tokio::test]
async fn a_policy_is_served_at_once_and_cuts_only_when_told() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let before = house.plane.served();
    control.set_policy("default", deny("evil.example"), false).await.unwrap();
    assert_eq!(house.plane.served().account("default").unwrap().policy, deny("evil.example"));
    assert!(before.revoked_by(&house.plane.served()).is_empty());
    control.set_policy("default", deny("worse.example"), true).await.unwrap();
    assert_eq!(before.revoked_by(&house.plane.served()).policies.len(), 1);
    let rules = vec![deny("a.example").rules()[0].clone(); MAX_RULES + 1];
    let too_many = control.set_policy("default", Policy::new(rules), false).await;
    assert!(matches!(too_many, Err(ControlError::Invalid(Invalid::TooManyRules { .. }))));
}

#[tokio::test]
async fn an_account_leaves_from_the_first_two_addresses_or_from_its_own() {
    let egress: Vec<_> = ["203.0.113.10", "203.0.113.11", "203.0.113.12"].map(ip).to_vec();
    let house = House { egress: egress.clone(), ..House::new() };
    let (control, _) = house.open().await.unwrap();
    assert_eq!(control.account("default").await.unwrap().egress, egress[..2]);
    let set = async |own: &[&str]| {
        let own = own.iter().copied().map(ip).collect();
        control.set_account("default", AccountChange { egress: Some(own), ..AccountChange::default() }).await
    };
    let own = set(&["203.0.113.12"]).await.unwrap();
    assert!(own.own_egress && own.egress == egress[2..]);
    assert_eq!(house.plane.served().account("default").unwrap().egress.addresses(), &egress[2..]);
    for wrong in [&["192.0.2.1"][..], &["203.0.113.10", "203.0.113.10"], &["203.0.113.10"; 3]] {
        assert!(matches!(set(wrong).await, Err(ControlError::Invalid(_))), "{wrong:?}");
    }
    *house.plane.absent.lock().unwrap() = vec![egress[0]];
    let views = control.egress();
    assert_eq!(views.iter().map(|view| view.present).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!((views[0].accounts.len(), &views[2].accounts[..]), (0, &["default".to_owned()][..]));
    assert!(!set(&[]).await.unwrap().own_egress);
}

#[tokio::test]
async fn an_account_whose_address_was_taken_away_is_not_served_from_another() {
    let mut house = House { egress: vec![ip("203.0.113.10"), ip("203.0.113.11")], ..House::new() };
    let (control, start) = house.open().await.unwrap();
    let (_, credential) = start.created_account.unwrap();
    control.add_account("other").await.unwrap();
    let own = AccountChange { egress: Some(vec![ip("203.0.113.10")]), ..AccountChange::default() };
    control.set_account("default", own).await.unwrap();
    drop(control);

    house.egress.remove(0);
    let (control, _) = house.open().await.unwrap();
    assert!(house.plane.knows(&credential, NOW).is_none());
    assert!(house.plane.served().account("other").is_some());
    assert!(!control.account("default").await.unwrap().served);
    control.set_account("default", AccountChange { egress: Some(vec![]), ..AccountChange::default() }).await.unwrap();
    assert!(house.plane.knows(&credential, NOW).is_some());
}

#[tokio::test]
async fn five_hundred_changes_in_a_row_are_quick_and_come_in_order() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let begun = Instant::now();
    for n in 0..500 {
        control.set_policy("default", deny(&format!("h{n}.example")), false).await.unwrap();
    }
    // Tens of milliseconds each would be a disk that is slow to acknowledge, not a defect; this bounds ours.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let versions: Vec<u64> = house.plane.published.lock().unwrap().iter().map(|snapshot| snapshot.version).collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    assert_eq!(control.status().snapshot_version, *versions.last().unwrap());
}

#[tokio::test]
async fn changes_made_at_the_same_time_are_all_made() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let control = control.clone();
            tokio::spawn(async move { control.add_credential("default", Default::default()).await.unwrap().username })
        })
        .collect();
    let mut names = BTreeSet::new();
    for task in tasks {
        names.insert(task.await.unwrap());
    }
    assert_eq!((names.len(), control.list_credentials("default").await.unwrap().len()), (20, 21));
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_half_done() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    for n in 0..50_u64 {
        let name = format!("a{n}");
        let call = control.add_account(&name);
        let _ = tokio::time::timeout(Duration::from_micros(n * 20), call).await;
    }
    // A last write waits for all before it.
    control.add_account("last").await.unwrap();
    let served: BTreeSet<String> = house.plane.served().accounts().map(|account| account.name.to_string()).collect();
    drop(control);
    let (control, _) = house.open().await.unwrap();
    let stored: BTreeSet<String> = control.list_accounts().await.into_iter().map(|account| account.name).collect();
    assert_eq!(served, stored);
}

#[tokio::test]
async fn a_token_that_was_revoked_or_never_given_opens_nothing() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let token = control.add_token(None, Scope::Read).await.unwrap();
    assert_eq!(control.list_tokens(None).await.unwrap().len(), 2);
    assert_eq!(control.token(&token.id).await.unwrap().scope, Scope::Read);
    control.revoke_token(&token.id).await.unwrap();
    let (_, credential) = start.created_account.unwrap();
    for bearer in [token.token.reveal(), "", "mgt_", credential.password.reveal(), &"x".repeat(100_000)] {
        assert!(control.authenticate(bearer).await.is_none());
    }
    assert!(matches!(control.revoke_token(&token.id).await, Err(ControlError::NotFound { .. })));
}

#[tokio::test]
async fn what_can_grow_has_a_limit() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    for _ in 1..MAX_CREDENTIALS {
        control.add_credential("default", Default::default()).await.unwrap();
    }
    let error = control.add_credential("default", Default::default()).await.unwrap_err();
    assert!(matches!(error, ControlError::Invalid(Invalid::TooMany { .. })), "{error}");
}

/// What the API's handlers and the binary rely on.
#[test]
fn every_call_may_be_made_from_any_task() {
    fn is_send<T: Send>(_: impl Fn(crate::Settings) -> T) {}
    fn is_shared<T: Send + Sync + Clone>() {}
    is_send(crate::Control::open);
    is_shared::<crate::Control>();
}

/// What only a store in a file is asked.
mod file {
    use super::*;

    #[tokio::test]
    async fn no_secret_stands_in_a_file_and_no_file_is_readable_by_others() {
        let house = House::new();
        let (control, start) = house.open().await.unwrap();
        let (_, credential) = start.created_account.unwrap();
        let token = start.operator_token.unwrap();
        house.sealed().await;
        let image = house.image();
        let mut seen = 0;
        for file in std::fs::read_dir(image.path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            for secret in [credential.password.reveal(), token.token.reveal()] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{path:?}");
            }
            // A copy has the permissions of what it is of, which may be gone by now.
            let mode = std::fs::metadata(&path).unwrap().permissions();
            seen += usize::from(!bytes.is_empty());
            assert!(bytes.is_empty() || mode.mode() & 0o077 == 0, "{path:?}");
        }
        assert!(seen >= 3, "store, its log and the sealed copy");
        assert!(!format!("{control:?}").contains(credential.password.reveal()));
    }
}
