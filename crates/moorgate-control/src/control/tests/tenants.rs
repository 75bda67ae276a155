//! Tiers, quotas, usage, and credentials with bounds of their own.

use std::{net::IpAddr, sync::Arc, time::Duration};

use moorgate_contract::{
    account::{AccountId, CredentialId},
    failure::Code,
    policy::{Effect, Policy, Rule},
    quota::Quotas,
    route::{Mode, RouteId},
    time::Timestamp,
    usage::{Tally, Whose},
};

use super::trouble::sql;
use crate::{
    AccountChange, Control, ControlError, CredentialChange, CredentialStanding, GroupBy, Invalid, NewCredential, Part,
    PortsInUse, UsageFilter, UsageRow, calendar,
    control::now,
    testing::{House, change, ip},
};

const NOW: Duration = Duration::ZERO;

async fn tier(control: &Control, quotas: Quotas) {
    control.set_tier("small", quotas).await.unwrap();
    let change = AccountChange { tier: Some(Some("small".to_owned())), egress: None };
    control.set_account("default", change).await.unwrap();
}

/// As traffic would report it.
pub(super) fn moved(house: &House, account: u64, credential: u64, host: &str, bytes: (u64, u64)) {
    let whose = Whose { account: Some(AccountId(account)), credential: Some(CredentialId(credential)), route: None };
    let tally = Tally {
        whose,
        host: Some(Arc::from(host)),
        egress: Some(ip("203.0.113.10")),
        client: Some(ip("192.0.2.1")),
        at: now(),
        up: bytes.0,
        down: bytes.1,
    };
    house.usage.lock().unwrap().tally(&tally);
}

async fn usage(control: &Control, by: GroupBy) -> Vec<UsageRow> {
    let filter = UsageFilter { account: None, since: now(), until: now(), by, ..UsageFilter::default() };
    control.usage(filter).await.unwrap()
}

#[tokio::test]
async fn a_tier_is_served_as_soon_as_it_is_given_or_changed() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let quota = || house.plane.served().account("default").unwrap().quota.clone();
    assert!(quota().is_none() && control.account("default").await.unwrap().quota.is_none());
    tier(&control, Quotas { requests_per_month: Some(10), ..Quotas::default() }).await;
    assert_eq!(quota().unwrap().quotas().requests_per_month, Some(10));
    tier(&control, Quotas { requests_per_month: Some(20), ..Quotas::default() }).await;
    assert_eq!(quota().unwrap().quotas().requests_per_month, Some(20));
    let shown = control.account("default").await.unwrap();
    assert_eq!((shown.tier.as_deref(), shown.quota.unwrap().quotas.requests_per_month), (Some("small"), Some(20)));
    let listed = control.list_tiers().await;
    assert_eq!((listed.len(), &listed[0].name[..], listed[0].accounts), (1, "small", 1));

    let used = control.remove_tier("small").await.unwrap_err();
    assert!(matches!(used, ControlError::Invalid(Invalid::TierInUse { accounts: 1, .. })), "{used}");
    let unknown = AccountChange { tier: Some(Some("large".to_owned())), egress: None };
    assert!(matches!(control.set_account("default", unknown).await, Err(ControlError::NotFound { .. })));
    control.set_account("default", AccountChange { tier: Some(None), egress: None }).await.unwrap();
    assert!(quota().is_none());
    control.remove_tier("small").await.unwrap();
    assert!(control.set_tier("Not A Name", Quotas::default()).await.is_err());
}

#[tokio::test]
async fn a_tier_that_cannot_be_read_takes_out_its_accounts_and_nobody_else() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.add_account("other").await.unwrap();
    tier(&control, Quotas { tunnels: Some(1), ..Quotas::default() }).await;
    control.close().await;
    drop(control);
    sql(&house, "UPDATE tier SET quotas = '{\"requests\":-1}'").await;
    let (control, _) = house.open().await.unwrap();
    assert!(house.plane.served().account("default").is_none() && house.plane.served().account("other").is_some());
    // Without limits it would be served more than was bought.
    control.set_tier("small", Quotas { tunnels: Some(2), ..Quotas::default() }).await.unwrap();
    assert!(house.plane.served().account("default").is_some());
}

#[tokio::test]
async fn usage_is_kept_once_and_found_by_what_it_was_of() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    moved(&house, 1, 1, "a.example", (100, 1));
    moved(&house, 1, 1, "b.example", (20, 2));
    control.settle().await.unwrap();
    moved(&house, 1, 1, "a.example", (3, 4));
    control.settle().await.unwrap();
    control.settle().await.unwrap();
    let rows = usage(&control, GroupBy::Account).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].account.as_deref(), rows[0].bytes_up, rows[0].bytes_down), (Some("default"), 123, 7));
    let hosts = usage(&control, GroupBy::Host).await;
    let hosts: Vec<_> = hosts.iter().map(|row| (row.host.as_deref().unwrap(), row.bytes_up)).collect();
    assert_eq!(hosts, [("a.example", 103), ("b.example", 20)]);
    let by = usage(&control, GroupBy::Credential).await;
    assert!(by[0].credential.as_ref().unwrap().starts_with("mg_"), "{by:?}");
    let all = usage(&control, GroupBy::All).await;
    assert_eq!(all[0].egress, Some(ip("203.0.113.10")));
    assert_eq!(all[0].hour.unwrap(), calendar::begin_of_hour(calendar::hour(now())));

    // After a kill another run counts on, beside what was written.
    let elsewhere = house.after_kill();
    let (again, _) = elsewhere.open().await.unwrap();
    moved(&elsewhere, 1, 1, "a.example", (1_000, 0));
    again.settle().await.unwrap();
    assert_eq!(usage(&again, GroupBy::Account).await[0].bytes_up, 1_123);
    // By the hour the same of a part, from the sums that are kept of it.
    let domain = "app.example.com".to_owned();
    let to = change(serde_json::json!({ "origins": [{ "url": "tls://192.0.2.7:443" }] }));
    again.add_route(Some("default"), &domain, Mode::Passthrough, to).await.unwrap();
    let of_route = Whose { account: Some(AccountId(1)), credential: None, route: Some(RouteId(1)) };
    let tally = Tally { whose: of_route, host: None, egress: None, client: None, at: now(), up: 40, down: 2 };
    elsewhere.usage.lock().unwrap().tally(&tally);
    let username = again.list_credentials("default").await.unwrap()[0].username.clone();
    for (of, up) in [(None, 1_163), (Some(Part::Credential(username)), 1_123), (Some(Part::Route(domain)), 40)] {
        for by in [GroupBy::Hour, GroupBy::Account, GroupBy::Egress] {
            let (account, of) = (Some("default".to_owned()), of.clone());
            let filter = UsageFilter { account, since: now(), until: now(), by, of, ..UsageFilter::default() };
            let rows = again.usage(filter).await.unwrap();
            assert_eq!(rows.iter().map(|row| row.bytes_up).sum::<u64>(), up, "{by:?}: {rows:?}");
        }
    }
    let filter = UsageFilter {
        account: Some("nobody".into()),
        since: now(),
        until: now(),
        by: GroupBy::Account,
        ..UsageFilter::default()
    };
    assert!(matches!(again.usage(filter).await, Err(ControlError::NotFound { .. })));
    // What an account did that is gone still was done.
    again.remove_account("default").await.unwrap();
    assert_eq!(usage(&again, GroupBy::Account).await[0].account.as_deref(), Some("(removed 1)"));
}

#[tokio::test]
async fn what_is_spent_counts_after_a_restart_and_of_others() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    tier(&control, Quotas { bytes_per_month: Some(1_000), ..Quotas::default() }).await;
    let refused = |house: &House| {
        let account = house.plane.served().account("default").unwrap().clone();
        account.take_request(now).err().map(|failure| failure.code)
    };
    moved(&house, 1, 1, "a.example", (600, 0));
    control.settle().await.unwrap();
    assert_eq!(refused(&house), None);
    assert_eq!(control.account("default").await.unwrap().quota.unwrap().bytes, 600);

    let elsewhere = house.after_kill();
    let (again, _) = elsewhere.open().await.unwrap();
    again.settle().await.unwrap();
    assert_eq!((refused(&elsewhere), again.account("default").await.unwrap().quota.unwrap().bytes), (None, 600));
    moved(&elsewhere, 1, 1, "a.example", (300, 200));
    elsewhere.plane.served().account("default").unwrap().quota.as_ref().unwrap().spend_bytes(500);
    again.settle().await.unwrap();
    assert_eq!(refused(&elsewhere), Some(Code::QuotaSpent));
    let view = again.account("default").await.unwrap().quota.unwrap();
    assert!(view.bytes == 1_100 && view.until > now());
    // More was bought.
    tier(&again, Quotas { bytes_per_month: Some(2_000), ..Quotas::default() }).await;
    again.settle().await.unwrap();
    assert_eq!(refused(&elsewhere), None);
}

#[tokio::test]
async fn a_credential_has_bounds_of_its_own() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let rule = Rule { effect: Effect::Deny, matcher: "evil.example".parse().unwrap() };
    let expires = now().after(Duration::from_secs(3600));
    let change = CredentialChange {
        name: Some(" billing ".into()),
        expires: Some(Some(expires)),
        clients: Some(vec!["192.0.2.0/24".parse().unwrap()]),
        policy: Some(Some(Policy::new(vec![rule]))),
        cut: false,
    };
    let made = control.add_credential("default", change).await.unwrap();
    let knows = |after| house.plane.knows(&made, after);
    let principal = knows(NOW).unwrap();
    assert!(knows(Duration::from_secs(3601)).is_none(), "it has expired");
    let from = |text: &str| principal.let_in(text.parse::<IpAddr>().unwrap()).is_ok();
    assert!(from("192.0.2.7") && !from("198.51.100.7"));
    let listed = control.list_credentials("default").await.unwrap();
    let shown = listed.iter().find(|view| view.username == made.username).unwrap();
    assert_eq!((&*shown.name, shown.called()), ("billing", format!("billing ({})", made.username)));
    assert_eq!((shown.expires, shown.clients.len(), shown.standing), (Some(expires), 1, CredentialStanding::NeverUsed));
    assert_eq!(shown.policy.as_ref().unwrap().rules().len(), 1);

    let loose = CredentialChange { clients: Some(vec!["10.0.0.5/8".parse().unwrap()]), ..CredentialChange::default() };
    let loose = control.set_credential("default", &made.username, loose).await.unwrap_err().to_string();
    assert!(loose.contains("write 10.0.0.0/8 for the whole network, or 10.0.0.5 for the one address"), "{loose}");
    let past = CredentialChange { expires: Some(Some(now())), ..CredentialChange::default() };
    let past = control.add_credential("default", past).await.unwrap_err();
    assert!(matches!(past, ControlError::Invalid(Invalid::ExpiresInThePast { .. })), "{past}");

    let open = CredentialChange {
        name: Some(String::new()),
        expires: Some(None),
        clients: Some(vec![]),
        policy: Some(None),
        cut: true,
    };
    let changed = control.set_credential("default", &made.username, open).await.unwrap();
    assert_eq!((changed.called(), changed.expires, changed.clients.len()), (made.username.clone(), None, 0));
    assert_eq!(changed.policy, None);
    assert!(knows(Duration::from_secs(3601)).is_some());
    // Nothing else of it was touched.
    let again = control.set_credential("default", &made.username, CredentialChange::default()).await.unwrap();
    assert_eq!((again.passwords, again.created), (1, shown.created));
    let nobody = control.set_credential("default", "mg_nobody", CredentialChange::default()).await;
    assert!(matches!(nobody, Err(ControlError::NotFound { .. })));
}

#[tokio::test]
async fn a_credential_is_called_what_can_be_seen() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let add = async |name: &str| {
        let change = CredentialChange { name: Some(name.to_owned()), ..CredentialChange::default() };
        control.add_credential("default", change).await
    };
    for name in ["<script>alert(1)</script>", "Überweisungen, täglich", &"x".repeat(64), ""] {
        add(name).await.unwrap();
    }
    for name in ["a\nb", "a\0b", "a\u{202e}b", "a\u{200b}b", &"x".repeat(65)] {
        let refused = add(name).await.unwrap_err();
        assert!(matches!(refused, ControlError::Invalid(Invalid::CredentialName { .. })), "{name:?}: {refused}");
        assert!(!refused.to_string().contains(|c: char| c.is_control() || c == '\u{202e}'), "{refused}");
    }
    let refused = add("test from the console").await.unwrap_err();
    assert!(matches!(refused, ControlError::Invalid(Invalid::CredentialNameKept)), "{refused}");
}

#[tokio::test]
async fn an_account_has_one_credential_for_tests() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let first = control.test_credential("default").await.unwrap();
    let second = control.test_credential("default").await.unwrap();
    let third = control.test_credential("default").await.unwrap();
    assert_eq!((&first.username, &second.username), (&third.username, &third.username));
    let works = |new: &NewCredential| house.plane.knows(new, NOW).is_some();
    assert!(!works(&first) && works(&second) && works(&third), "of those before, the latest works on");
    assert!(house.plane.knows(&second, Duration::from_secs(61)).is_none());
    let listed = control.list_credentials("default").await.unwrap();
    let tests: Vec<_> = listed.iter().filter(|one| one.is_for_tests()).collect();
    assert!(tests.len() == 1 && listed.len() == 2, "{listed:?}");
}

#[tokio::test]
async fn a_credential_that_cannot_be_read_takes_out_itself_alone() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let first = start.created_account.unwrap().1;
    let other = control.add_credential("default", CredentialChange::default()).await.unwrap();
    control.close().await;
    drop(control);
    sql(&house, &format!("UPDATE credential SET clients = 'nowhere' WHERE username = '{}'", other.username)).await;
    let (_control, start) = house.open().await.unwrap();
    assert_eq!(start.degraded, None);
    assert!(house.plane.knows(&first, NOW).is_some() && house.plane.knows(&other, NOW).is_none());
}

#[tokio::test]
async fn a_credential_says_when_it_was_used_and_whether_it_has_stopped() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let username = start.created_account.unwrap().1.username;
    let view = async |control: &Control| {
        let mut listed = control.list_credentials("default").await.unwrap();
        listed.retain(|view| view.username == username);
        listed.remove(0)
    };
    assert_eq!((view(&control).await.last_used, view(&control).await.standing), (None, CredentialStanding::NeverUsed));
    moved(&house, 1, 1, "a.example", (1, 1));
    // Known before it is written, and after.
    assert_eq!(view(&control).await.standing, CredentialStanding::InUse);
    control.settle().await.unwrap();
    let used = view(&control).await;
    assert_eq!((used.standing, used.last_client), (CredentialStanding::InUse, Some(ip("192.0.2.1"))));
    control.close().await;
    drop(control);
    let two_days = Timestamp(now().0 - 2 * 24 * 3600 * 1_000_000);
    sql(&house, &format!("UPDATE credential_use SET at = {}", two_days.0)).await;
    let (control, _) = house.open().await.unwrap();
    let stopped = view(&control).await;
    assert_eq!((stopped.standing, stopped.last_used), (CredentialStanding::Stopped, Some(two_days)));
    let soon = now().after(Duration::from_millis(50));
    let soon = CredentialChange { expires: Some(Some(soon)), ..CredentialChange::default() };
    control.set_credential("default", &username, soon).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(view(&control).await.standing, CredentialStanding::Expired);
}

#[tokio::test]
async fn an_egress_address_says_how_many_source_ports_are_left() {
    let house = House { egress: vec![ip("203.0.113.10"), ip("203.0.113.11")], ..House::new() };
    let (control, _) = house.open().await.unwrap();
    assert!(control.egress().iter().all(|egress| egress.ports.is_none()));
    let toward = |egress, destination: &str, taken| PortsInUse {
        egress: ip(egress),
        destination: destination.parse().unwrap(),
        taken,
    };
    *house.plane.ports.lock().unwrap() =
        vec![toward("203.0.113.10", "192.0.2.1:443", 5), toward("203.0.113.10", "192.0.2.2:443", 85)];
    let shown = control.egress();
    let ports = shown[0].ports.unwrap();
    assert_eq!((ports.destination, ports.free(), ports.all), ("192.0.2.2:443".parse().unwrap(), 15, 100));
    assert!(ports.is_scarce() && shown[1].ports.is_none());
}
