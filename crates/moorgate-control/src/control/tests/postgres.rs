//! The same behaviour on PostgreSQL, and what only a store has that several gateways share.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use moorgate_contract::{account::AccountId, failure::Code, quota::Quotas, route::Mode};
use moorgate_wire::host::Asked;
use serde_json::json;
use test_postgres::Postgres;

use crate::{
    AccountChange, AlarmKind, AuditFilter, By, ControlError, CredentialStanding, Scope,
    control::{
        alarms::judge::{Telling, Trouble},
        now,
    },
    testing::{House, Made, SERVER, change, until, until_async},
};

/// Every test of what is stored, once more, on a server: their assertions are the same, whatever is behind them.
#[test]
fn postgresql_behaves_as_sqlite_does() {
    let server = Postgres::start();
    let mut tests = Command::new(std::env::current_exe().unwrap());
    let modules =
        ["alarms", "apply", "audit", "certificates", "changes", "people", "poison", "routes", "secrets", "tenants"];
    tests.args(modules.map(|module| format!("control::tests::{module}"))).arg("explain::");
    tests.args(["--skip", "::file::", "--test-threads", "4"]);
    let url = server.url("");
    let done = tests.env("RUST_BACKTRACE", "0").env(SERVER, url.trim_end_matches('/')).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let passed = said.split_once(" passed").and_then(|(before, _)| before.rsplit(' ').next()?.parse::<u32>().ok());
    assert!(passed.is_some_and(|passed| passed >= 66), "{said}");
}

/// Two gateways on one store, each with a data directory of its own.
pub(super) fn two(server: &Postgres) -> (House, House) {
    server.sql("postgres", "CREATE DATABASE shared TEMPLATE template0");
    let house = |name: &str| House { store_url: server.url("shared"), name: name.to_owned(), ..House::new() };
    (house("one"), house("two"))
}

/// How long a change at one gateway takes until another serves it.
const SOON: Duration = Duration::from_secs(1);
/// The same without a word from the store.
const LATER: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_change_at_one_gateway_is_served_by_the_other() {
    let server = Postgres::start();
    let (first, second) = two(&server);
    let (one, start) = first.open().await.unwrap();
    let (two, joined) = second.open().await.unwrap();
    let default = start.created_account.unwrap().1;
    assert!(start.first && !joined.first && joined.accounts == 1);
    assert!(second.plane.knows(&default, Duration::ZERO).is_some(), "hashed under the key that both have");

    let made = one.add_credential("default", Default::default()).await.unwrap();
    let before = Instant::now();
    until(|| second.plane.knows(&made, Duration::ZERO).is_some()).await;
    assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
    // Its own change is upon what the other has written, known to it or not.
    let token = two.add_token(Some("default"), Scope::Read).await.unwrap();
    two.revoke_credential("default", &made.username).await.unwrap();
    let before = Instant::now();
    until(|| first.plane.knows(&made, Duration::ZERO).is_none()).await;
    assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
    assert!(one.authenticate(token.token.reveal()).await.is_some());
    two.remove_account("default").await.unwrap();
    until(|| first.plane.served().accounts().count() == 0).await;
    assert!(one.authenticate(token.token.reveal()).await.is_none());

    let (a, b) = (one.add_account("acme"), two.add_account("acme"));
    let (a, b) = tokio::join!(a, b);
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1, "one name is one account's: {a:?} {b:?}");
    let all: Vec<_> = (0..20).map(|n| (if n % 2 == 0 { &one } else { &two }).clone()).collect();
    let writes = all.iter().enumerate().map(|(n, control)| {
        let control = control.clone();
        tokio::spawn(async move { control.add_account(&format!("a{n}")).await.map(drop) })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    until(|| first.plane.served().version == second.plane.served().version).await;
    assert_eq!(first.plane.served().accounts().count(), 21);
    assert_eq!(one.verify_audit().await.unwrap().problem, None);
}

#[tokio::test]
async fn without_a_word_from_the_store_each_gateway_looks_by_itself() {
    let server = Postgres::start();
    let (first, second) = two(&server);
    let (one, _) = first.open().await.unwrap();
    let (_two, _) = second.open().await.unwrap();
    // Whoever listens is cut off, again and again.
    let deaf = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    for n in 0..3 {
        server.sql("postgres", deaf);
        let name = format!("a{n}");
        one.add_account(&name).await.unwrap();
        let before = Instant::now();
        until(|| second.plane.served().account(&name).is_some()).await;
        assert!(before.elapsed() < LATER, "{:?}", before.elapsed());
    }
}

#[tokio::test]
async fn a_server_that_is_killed_or_frozen_stops_writes_and_nothing_else() {
    let mut server = Postgres::start();
    let (first, second) = two(&server);
    let (one, start) = first.open().await.unwrap();
    let (two, _) = second.open().await.unwrap();
    let credential = start.created_account.unwrap().1;
    first.sealed().await;
    second.sealed().await;

    server.kill();
    let down = one.add_account("acme").await.unwrap_err();
    assert!(matches!(down, ControlError::StoreDown(_)), "{down}");
    assert!(first.plane.knows(&credential, Duration::ZERO).is_some() && one.account("default").await.is_ok());
    // A cold start serves what was sealed, at once.
    two.close().await;
    drop(two);
    let before = Instant::now();
    let (two, again) = second.open().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    assert!(again.degraded.is_some() && second.plane.knows(&credential, Duration::ZERO).is_some());
    server.run();
    until(|| one.status().store_ok && two.status().store_ok).await;
    one.add_account("acme").await.unwrap();
    until(|| second.plane.served().account("acme").is_some()).await;

    server.freeze();
    let before = Instant::now();
    let (frozen, listed) = tokio::join!(one.add_account("more"), one.list_accounts());
    assert!(matches!(frozen, Err(ControlError::StoreDown(_))) && listed.len() == 2);
    assert!(before.elapsed() < Duration::from_secs(12), "{:?}", before.elapsed());
    two.close().await;
    drop(two);
    let before = Instant::now();
    let (two, again) = second.open().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    assert!(again.degraded.is_some() && second.plane.knows(&credential, Duration::ZERO).is_some());
    server.thaw();
    until(|| one.status().store_ok && two.status().store_ok).await;
    one.add_account("most").await.unwrap();
    until(|| second.plane.served().account("most").is_some()).await;
    assert_eq!(two.verify_audit().await.unwrap().problem, None);
}

#[tokio::test]
async fn a_server_that_may_only_be_read_refuses_writes_and_takes_them_again() {
    let server = Postgres::start();
    let (first, _) = two(&server);
    let (one, _) = first.open().await.unwrap();
    let read_only = |on: &str| {
        server.sql("postgres", &format!("ALTER DATABASE shared SET default_transaction_read_only = {on}"));
        server
            .sql("postgres", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'shared'");
    };
    read_only("on");
    assert!(matches!(one.add_account("acme").await, Err(ControlError::StoreDown(_))));
    assert!(one.account("default").await.is_ok());
    read_only("off");
    until(|| one.status().store_ok).await;
    one.add_account("acme").await.unwrap();
}

#[tokio::test]
async fn each_gateway_is_listed_with_how_it_is() {
    use crate::GatewayHealth::{Lost, Stopped, Unknown, Up};
    let mut server = Postgres::start();
    let (first, second) = two(&server);
    let (one, _) = first.open().await.unwrap();
    let (two, _) = second.open().await.unwrap();
    // Whoever joins makes a token for itself, which the others have to hear of.
    until(|| one.status().snapshot_version == two.status().snapshot_version).await;
    two.list_gateways().await;
    let listed = one.list_gateways().await;
    let shown: Vec<_> = listed.iter().map(|is| (&is.name[..], is.is_this, is.health)).collect();
    assert_eq!(shown, [("one", true, Up), ("two", false, Up)]);
    assert!(listed.iter().all(|is| is.applied == one.status().snapshot_version));
    two.close().await;
    assert_eq!(one.gateway("two").await.unwrap().health, Stopped);
    assert!(matches!(one.gateway("three").await, Err(ControlError::NotFound { .. })));

    // One that is killed is lost a little later. Of two with one name, the one that is asked says so.
    let (two, _) = second.open().await.unwrap();
    drop((two, second));
    assert_eq!(one.gateway("two").await.unwrap().health, Up);
    until_async(async || one.gateway("two").await.unwrap().health == Lost).await;
    assert!(one.list_gateways().await.iter().all(|is| !is.has_twin));
    let twin = House { name: "one".to_owned(), store_url: first.store_url.clone(), ..House::new() };
    let (other_one, _) = twin.open().await.unwrap();
    until_async(async || one.gateway("one").await.unwrap().has_twin).await;
    drop(other_one);

    server.kill();
    let lasting = one.list_gateways().await;
    let health = |name: &str| lasting.iter().find(|is| is.name == name).map(|is| is.health);
    assert_eq!((health("one"), health("two")), (Some(Up), Some(Unknown)), "{lasting:?}");
    let credentials = one.list_credentials("default").await.unwrap();
    assert_eq!(credentials[0].standing, CredentialStanding::Unknown);
}

#[tokio::test]
async fn the_guard_knows_the_other_gateways_and_the_database() {
    let server = Postgres::start();
    let (mut first, mut second) = two(&server);
    first.listener = vec!["127.0.0.1:9293".parse().unwrap()];
    second.listener = vec!["127.0.0.1:9393".parse().unwrap()];
    let known = |house: &House| {
        let others = &house.plane.served().site.guard.others;
        others.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
    };
    let (one, _) = first.open().await.unwrap();
    let database: SocketAddr = format!("127.0.0.1:{}", server.port()).parse().unwrap();
    assert_eq!(first.plane.served().site.guard.store, [database].into());
    let (two, _) = second.open().await.unwrap();
    assert_eq!(known(&second), ["127.0.0.1:9293"], "from its start on");
    until(|| one.status().snapshot_version == two.status().snapshot_version).await;
    let version = one.status().snapshot_version;
    until(|| known(&first) == ["127.0.0.1:9393"]).await;
    assert_eq!((one.status().snapshot_version, first.plane.served().version), (version, version));
    // It stays with every change, and over a restart of the other.
    two.close().await;
    one.add_account("acme").await.unwrap();
    one.list_gateways().await;
    assert_eq!(known(&first), ["127.0.0.1:9393"]);

    for (address, says) in [("127.0.0.1:9393", "a listener of another gateway"), (&database.to_string(), "database")] {
        let origins = json!({ "origins": [{ "url": format!("http://{address}") }] });
        let refused = one.add_route(None, "a.example.com", Mode::Terminate, change(origins)).await.unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
        let (host, port) = address.split_once(':').unwrap();
        let explained =
            one.explain("acme", By::default(), &Asked::new(host, port.parse().unwrap()), true).await.unwrap();
        let refusal = explained.refusal.unwrap();
        assert!(refusal.code == Code::GuardDenied && refusal.said.contains(says), "{refusal:?}");
    }
}

#[tokio::test]
async fn gateways_that_start_together_on_an_empty_server_make_one_store() {
    let server = Postgres::start();
    // More than once: what one sees of the other's steps is different each time.
    for _ in 0..5 {
        let (first, second) = two(&server);
        let (one, two) = tokio::join!(first.open(), second.open());
        let ((one, a), (two, b)) = (one.unwrap(), two.unwrap());
        assert!(a.first != b.first, "one of them made it");
        let made = a.created_account.or(b.created_account).unwrap().1;
        assert!([&first, &second].iter().all(|house| house.plane.knows(&made, Duration::ZERO).is_some()));
        tokio::join!(one.close(), two.close());
        server.sql("postgres", "DROP DATABASE shared");
    }
}

#[tokio::test]
async fn another_master_key_is_refused_and_the_old_one_beside_it_taken() {
    let server = Postgres::start();
    let (first, mut second) = two(&server);
    let (_one, _) = first.open().await.unwrap();
    second.keys = vec![2];
    let error = second.open().await.unwrap_err();
    assert!(
        matches!(error, ControlError::WrongMasterKey { .. }) && error.to_string().contains("postgres://"),
        "{error}"
    );
    second.keys = vec![2, 1];
    assert!(!second.open().await.unwrap().1.first);
}

#[tokio::test]
async fn a_dump_of_the_database_holds_no_key_and_no_password() {
    let server = Postgres::start();
    let (first, _) = two(&server);
    let (control, start) = first.open().await.unwrap();
    let (credential, token) = (start.created_account.unwrap().1, start.operator_token.unwrap());
    let made = Made::of(&["a.example.com"]);
    let origins = json!({ "origins": [{ "url": "http://192.0.2.7:1" }],
        "basic_auth": [{ "username": "alice", "password": "open-sesame" }],
        "request_headers": { "set": [{ "name": "authorization", "value": "Bearer sk_live_777" }] } });
    control.add_route(None, "a.example.com", Mode::Terminate, change(origins)).await.unwrap();
    control.add_certificate(None, "a.example.com", made.chain.as_bytes(), made.key.as_bytes()).await.unwrap();
    let dump = server.dump("shared");
    assert!(dump.contains("a.example.com") && dump.contains(&credential.username));
    // Bytes stand in a dump as hexadecimal.
    let key = &made.key_der[36..60];
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let pem: String = made.key.lines().nth(1).unwrap()[48..80].to_owned();
    for secret in
        [&hex, &pem, credential.password.reveal(), token.token.reveal(), "open-sesame", "sk_live_777", &"01".repeat(32)]
    {
        assert!(!dump.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_store_that_is_slow_refuses_a_write_in_time_and_takes_the_next() {
    let server = Postgres::start();
    let (first, _) = two(&server);
    let (one, _) = first.open().await.unwrap();
    // Somebody has the row that every write needs.
    let url = server.url("shared");
    let slow = std::thread::spawn(move || {
        test_postgres::sql(&url, "BEGIN; SELECT 1 FROM store FOR UPDATE; SELECT pg_sleep(7); COMMIT");
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = Instant::now();
    let refused = one.add_account("acme").await.unwrap_err();
    assert!(matches!(refused, ControlError::StoreDown(_)) && before.elapsed() < Duration::from_secs(11), "{refused}");
    assert_eq!(one.list_accounts().await.len(), 1);
    slow.join().unwrap();
    until(|| one.status().store_ok).await;
    one.add_account("acme").await.unwrap();
}

#[tokio::test]
async fn two_gateways_tell_each_event_once() {
    let server = Postgres::start();
    let (first, second) = two(&server);
    let (one, _) = first.open().await.unwrap();
    let (two, _) = second.open().await.unwrap();
    let quotas = Quotas { bytes_per_month: Some(1_000), ..Quotas::default() };
    one.set_tier("small", quotas).await.unwrap();
    let change = AccountChange { tier: Some(Some("small".to_owned())), ..AccountChange::default() };
    one.set_account("default", change).await.unwrap();
    one.add_alarm("default", "https://hooks.example.com/", &AlarmKind::ALL).await.unwrap();
    super::tenants::moved(&first, 1, 1, "a.example", (1_200, 0));
    let waiting = async || two.list_alarms("default").await.unwrap().iter().map(|it| it.waiting).sum::<u64>();
    until_async(async || waiting().await == 1).await;
    // Both find the same at once, whoever has the duty: written once, by whichever comes first.
    let trouble = |about: &str| Trouble {
        kind: AlarmKind::Origin,
        about: about.to_owned(),
        stage: 1,
        since: None,
        said: "It is down.".to_owned(),
        todo: String::new(),
    };
    for n in 0..5 {
        let tellings = vec![Telling::Begun(trouble(&format!("{n}.example http://a")), now())];
        let account = AccountId(1);
        let (a, b) = tokio::join!(
            one.tell(account, tellings.clone(), Vec::new()),
            two.tell(account, tellings.clone(), Vec::new())
        );
        a.unwrap();
        b.unwrap();
        let begun = async || {
            let log = one.audit(AuditFilter { limit: 100, ..AuditFilter::default() }).await.unwrap();
            log.iter().filter(|entry| entry.kind == "trouble" && entry.action == "begin").count()
        };
        assert_eq!(begun().await, n + 2);
    }
}
