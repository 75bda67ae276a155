//! Tiers, credentials' bounds, usage, the audit log, gateways.

use moorgate_contract::policy::Effect;
use moorgate_control::{CredentialStanding, GatewayHealth, GroupBy, Scope};

use super::*;
use crate::view::{AddCredential, ChangeAccount, ChangeCredential, PolicyRule, PolicyRules, Quotas, UsageQuery, Who};

fn tier(name: Option<&str>) -> ChangeAccount {
    ChangeAccount { egress: None, tier: Some(name.map(str::to_owned)) }
}

fn of(account: Option<&str>, by: GroupBy) -> UsageQuery {
    UsageQuery { account: account.map(str::to_owned), by, ..UsageQuery::default() }
}

#[tokio::test]
async fn an_account_gets_a_tier_and_sees_what_is_left_of_it() {
    let house = House::new().await;
    let client = house.client();
    let quotas = Quotas { requests_per_month: Some(u64::MAX - 1), grace_percent: 10, ..Quotas::default() };
    let made = client.set_tier("gold", &quotas).await.unwrap();
    assert_eq!((made.quotas, made.accounts), (quotas, 0));
    let account = client.change_account("acme", &tier(Some("gold"))).await.unwrap();
    assert_eq!(account.tier.as_deref(), Some("gold"));
    let quota = account.quota.unwrap();
    assert_eq!((quota.quotas, quota.spent.requests, quota.spent.bytes), (quotas, 0, 0));
    assert!(quota.spent.until > account.created);
    assert_eq!(client.tiers().await.unwrap()[0].accounts, 1);
    // Its egress edited, it keeps its tier.
    let egress = ChangeAccount { egress: Some(vec![ip("203.0.113.10")]), tier: None };
    assert_eq!(client.change_account("acme", &egress).await.unwrap().tier.as_deref(), Some("gold"));
    let in_use = client.remove_tier("gold").await.unwrap_err();
    assert!(in_use.code() == Some("conflict") && in_use.to_string().contains("give it another"), "{in_use}");
    let without = client.change_account("acme", &tier(None)).await.unwrap();
    assert!(without.tier.is_none() && without.quota.is_none() && without.egress_is_own);
    client.remove_tier("gold").await.unwrap();
    assert!(client.tiers().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_credential_is_given_an_end_networks_and_a_policy_and_loses_them_again() {
    let house = House::new().await;
    let client = house.client();
    let rules = PolicyRules { rules: vec![PolicyRule { effect: Effect::Deny, matcher: "a.example".parse().unwrap() }] };
    let add = AddCredential {
        name: "billing".into(),
        expires: Some("2100-01-01T00:00:00Z".parse().unwrap()),
        clients: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        policy: Some(rules.clone()),
    };
    let username = client.add_credential("acme", &add).await.unwrap().username;
    let shown = client.credentials("acme").await.unwrap().remove(0);
    assert_eq!((shown.expires, shown.clients, shown.policy), (add.expires, add.clients, Some(rules.clone())));
    assert_eq!((shown.last_used, shown.standing), (None, CredentialStanding::NeverUsed));
    let change = ChangeCredential { clients: Some(vec![]), ..ChangeCredential::default() };
    let changed = client.change_credential("acme", &username, &change, false).await.unwrap();
    assert!(changed.clients.is_empty() && changed.expires.is_some() && changed.policy == Some(rules));
    let clear = ChangeCredential { expires: Some(None), policy: Some(None), ..ChangeCredential::default() };
    let cleared = client.change_credential("acme", &username, &clear, true).await.unwrap();
    assert_eq!((cleared.expires, cleared.policy), (None, None));
    assert!(client.change_credential("other", &username, &clear, false).await.is_err());
}

#[tokio::test]
async fn usage_is_told_to_an_operator_and_to_each_account_its_own() {
    let house = House::new().await;
    house.moves("acme", "a.example", 1_000);
    house.moves("acme", "b.example", 24);
    house.moves("other", "c.example", 5);
    let client = house.client();
    let rows = client.usage(&of(None, GroupBy::Account)).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.account.as_deref().unwrap(), row.bytes_up)).collect();
    assert_eq!(told, [("acme", 1_024), ("other", 5)]);
    let rows = client.usage(&of(Some("acme"), GroupBy::Host)).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.host.as_deref().unwrap(), row.bytes_up)).collect();
    assert_eq!(told, [("a.example", 1_000), ("b.example", 24)]);
    assert_eq!(client.usage(&of(None, GroupBy::All)).await.unwrap().len(), 3);
    // Page by page it is the same rows.
    let (mut path, mut hosts) = ("/api/v1/usage?by=host&limit=1".to_owned(), Vec::new());
    let authorised = format!("Authorization: Bearer {}\r\n", house.operator);
    while !path.is_empty() {
        let (status, answer) = house.ask("GET", &path, &authorised, "").await;
        assert_eq!(status, 200, "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
        hosts.extend(rows.iter().map(|row| row["host"].as_str().unwrap().to_owned()));
        let link = head.lines().find_map(|line| line.strip_prefix("link: <")).unwrap_or_default();
        path = link.split('>').next().unwrap_or_default().to_owned();
    }
    assert_eq!(hosts, ["a.example", "b.example", "c.example"]);
    let own = house.client_with(client.add_token(Some("acme"), crate::view::Scope::Read).await.unwrap().token.as_str());
    for by in GroupBy::ALL {
        let rows = own.usage(&of(None, by)).await.unwrap();
        assert!(rows.iter().all(|row| row.account.as_deref() == Some("acme")), "{rows:?}");
        assert_eq!(rows.iter().map(|row| row.bytes_up).sum::<u64>(), 1_024, "{by:?}");
    }
    assert_eq!(own.usage(&of(Some("other"), GroupBy::Account)).await.unwrap_err().code(), Some("not_found"));
    let before = UsageQuery { until: Some("2020-01-01T00:00:00Z".parse().unwrap()), ..UsageQuery::default() };
    assert!(client.usage(&before).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_audit_log_says_who_and_from_where_and_an_account_sees_its_own() {
    let house = House::new().await;
    let client = house.client();
    let token = house.control.add_token(Some("acme"), Scope::Write).await.unwrap();
    let acme = house.client_with(token.token.reveal());
    client.change_account("acme", &ChangeAccount { egress: Some(vec![ip("203.0.113.10")]), tier: None }).await.unwrap();
    acme.add_credential("acme", &AddCredential::default()).await.unwrap();
    client.add_credential("other", &AddCredential::default()).await.unwrap();
    let all = client.audit(None, 3).await.unwrap();
    let done: Vec<_> = all.iter().map(|entry| (&*entry.kind, &*entry.action, entry.account.as_deref())).collect();
    assert_eq!(
        done,
        [("credential", "add", Some("other")), ("credential", "add", Some("acme")), ("account", "set", Some("acme"))]
    );
    assert!(matches!(&all[0].who, Who::Operator { token: Some(_) }), "{all:?}");
    assert_eq!(all[1].who, Who::Account { account: "acme".into(), token: token.id });
    assert!(all.iter().all(|entry| entry.client == Some(ip("127.0.0.1"))), "{all:?}");
    // An operator's token and address are none of an account's business.
    let own = acme.audit(None, 1_000).await.unwrap();
    assert_eq!(own, acme.audit(Some("acme"), 1_000).await.unwrap());
    assert!(own.iter().all(|entry| entry.account.as_deref() == Some("acme")), "{own:?}");
    assert_eq!((&own[1].who, own[1].client), (&Who::Operator { token: None }, None));
    assert_eq!(own[0].client, Some(ip("127.0.0.1")));
    assert_eq!(acme.audit(Some("other"), 10).await.unwrap_err().code(), Some("not_found"));
    assert_eq!(acme.verify_audit().await.unwrap_err().code(), Some("not_found"));
    let verdict = client.verify_audit().await.unwrap();
    assert_eq!((verdict.entries, verdict.problem), (all[0].seq, None));
    assert_eq!(verdict.head, all[0].hash);
}

#[tokio::test]
async fn gateways_are_listed_with_what_they_serve() {
    let house = House::new().await;
    let gateways = house.client().gateways().await.unwrap();
    let [gateway] = gateways.as_slice() else { panic!("{gateways:?}") };
    assert_eq!((&*gateway.name, gateway.is_this, gateway.health), ("gateway", true, GatewayHealth::Up));
    assert!(gateway.is_newest && gateway.applied == house.control.snapshot().version, "{gateway:?}");
    assert_eq!(house.client().gateway("gateway").await.unwrap().name, "gateway");
}
