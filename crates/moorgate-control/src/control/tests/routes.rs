use std::{
    fs,
    time::{Duration, Instant},
};

use moorgate_contract::{
    account::{AccountId, Pepper},
    balance::EJECT_AFTER,
    guard::Guard,
    listener::Listener,
    route::{Domain, Mode, Route},
    snapshot::Site,
};
use moorgate_keys::{MasterKey, open, seal};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::trouble::{STORE, sql};
use crate::{
    Control, ControlError, Invalid, RouteChange, RouteState, RouteView, StandingView,
    store::schema,
    testing::{House, change, master_key, until},
};

const URL: &str = "http://192.0.2.7:3000";

fn to(url: &str) -> RouteChange {
    change(json!({ "origins": [{ "url": url }] }))
}

async fn add(control: &Control, domain: &str) -> RouteView {
    control.add_route(None, domain, Mode::Terminate, to(URL)).await.unwrap()
}

/// The route that traffic for `name` is served by.
fn served(house: &House, name: &str) -> Option<std::sync::Arc<Route>> {
    let name = moorgate_wire::name::DomainName::parse(name).unwrap();
    house.plane.served().route(&name).map(|(route, _)| route.clone())
}

fn urls(view: &RouteView) -> Vec<&str> {
    view.origins.iter().map(|origin| origin.url.as_str()).collect()
}

#[tokio::test]
async fn a_route_is_served_when_the_call_returns_and_survives_a_restart() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let made = add(&control, "App.Example.com").await;
    assert_eq!((&made.domain[..], &made.account[..], made.state), ("app.example.com", "default", RouteState::Active));
    assert_eq!((urls(&made), made.origins[0].standing), (vec![URL], StandingView::Up));
    assert_eq!(made.certificate.as_ref().unwrap().issuer, "local CA");
    let route = served(&house, "app.example.com").unwrap();
    let more = json!({ "max_body": 9, "basic_auth": [{ "username": "alice", "password": "pw" }],
        "request_headers": { "set": [{ "name": "authorization", "value": "Bearer s3cret" }] } });
    let changed = control.set_route("APP.example.com", change(more)).await.unwrap();
    assert_eq!((changed.actions.max_body, urls(&changed)), (Some(9), vec![URL]));
    assert_eq!(
        (&changed.actions.basic_auth[..], &changed.actions.request_headers.set[..]),
        (&["alice".to_owned()][..], &["authorization".to_owned()][..])
    );
    assert!(!serde_json::to_string(&changed).unwrap().contains("s3cret"));
    assert_eq!(served(&house, "app.example.com").unwrap().id, route.id, "it is the same route");

    let elsewhere = house.after_kill();
    let (control, _) = elsewhere.open().await.unwrap();
    assert_eq!(control.route("app.example.com").await.unwrap(), changed);
    let snapshot = elsewhere.plane.served();
    let user = &served(&elsewhere, "app.example.com").unwrap().settings.actions.basic_auth[0];
    assert_eq!(user.hash, snapshot.hash("alice", b"pw"));
    control.remove_route("app.example.com").await.unwrap();
    assert!(served(&elsewhere, "app.example.com").is_none() && control.list_routes(None).await.is_empty());
    let gone = control.remove_route("app.example.com").await.unwrap_err().to_string();
    assert!(gone.contains("moorgate route list"), "{gone}");
}

#[tokio::test]
async fn a_wildcard_is_a_route_of_its_own() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    add(&control, "*.example.com").await;
    add(&control, "app.example.com").await;
    let domain = |name| served(&house, name).map(|route| route.domain.to_string());
    assert_eq!(domain("app.example.com").as_deref(), Some("app.example.com"));
    assert_eq!(domain("other.example.com").as_deref(), Some("*.example.com"));
    let listed: Vec<String> = control.list_routes(None).await.into_iter().map(|view| view.domain).collect();
    assert_eq!(listed, ["*.example.com", "app.example.com"]);
    control.remove_route("app.example.com").await.unwrap();
    assert_eq!(domain("app.example.com").as_deref(), Some("*.example.com"));
}

#[tokio::test]
async fn a_domain_is_one_accounts_and_an_account_is_named_where_there_are_several() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    add(&control, "app.example.com").await;
    control.add_account("acme").await.unwrap();
    let unnamed = control.add_route(None, "b.example.com", Mode::Terminate, to(URL)).await.unwrap_err();
    assert!(matches!(unnamed, ControlError::Invalid(Invalid::NameAnAccount { count: 2 })), "{unnamed}");
    let taken = control.add_route(Some("acme"), "app.example.com", Mode::Terminate, to(URL)).await.unwrap_err();
    assert!(matches!(taken, ControlError::Exists { .. }), "{taken}");
    let nobody = control.add_route(Some("nobody"), "b.example.com", Mode::Terminate, to(URL)).await.unwrap_err();
    assert!(matches!(nobody, ControlError::NotFound { .. }), "{nobody}");
    let bad = control.add_route(Some("acme"), "192.0.2.1", Mode::Terminate, to(URL)).await.unwrap_err();
    assert!(bad.to_string().contains("is an address"), "{bad}");
    control.add_route(Some("acme"), "b.example.com", Mode::Passthrough, to("tls://192.0.2.7:443")).await.unwrap();
    assert_eq!(control.list_routes(Some("acme")).await.len(), 1);
    assert_eq!(control.list_routes(Some("default")).await.len(), 1);
    assert!(control.list_routes(Some("nobody")).await.is_empty());
    assert!(control.route("b.example.com").await.unwrap().certificate.is_none(), "a passthrough route shows none");
    assert!(control.status().store_ok, "a wrong request is no trouble of the store's");
}

#[tokio::test]
async fn an_account_takes_its_routes_along() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.add_account("acme").await.unwrap();
    control.add_route(Some("acme"), "a.example.com", Mode::Terminate, to(URL)).await.unwrap();
    control.add_route(Some("default"), "b.example.com", Mode::Terminate, to(URL)).await.unwrap();
    let before = house.plane.served();
    control.remove_account("acme").await.unwrap();
    assert_eq!(before.revoked_by(&house.plane.served()).routes.len(), 1);
    assert!(house.plane.served().routes().all(|route| route.domain.to_string() == "b.example.com"));
    drop(control);
    let (control, _) = house.open().await.unwrap();
    assert_eq!(control.list_routes(None).await.len(), 1);
    // And whoever comes next begins anew.
    assert_eq!(add(&control, "a.example.com").await.account, "default");
}

#[tokio::test]
async fn the_gateway_is_no_origin_of_its_own() {
    let guard = Guard { own: vec!["127.0.0.1:8443".parse().unwrap()], ..Guard::default() };
    let house = House { site: Site { guard, ..Site::default() }, ..House::new() };
    let (control, _) = house.open().await.unwrap();
    let own = || to("https://127.0.0.1:8443");
    let refused = control.add_route(None, "a.example.com", Mode::Terminate, own()).await.unwrap_err();
    assert!(refused.to_string().contains("is a listener of this gateway"), "{refused}");
    add(&control, "a.example.com").await;
    assert!(control.set_route("a.example.com", own()).await.is_err());
    let paths = json!({ "paths": [{ "prefix": "/api", "origins": [{ "url": "https://127.0.0.1:8443" }] }] });
    assert!(control.set_route("a.example.com", change(paths)).await.is_err());
    assert_eq!(urls(&control.route("a.example.com").await.unwrap()), [URL]);
}

#[tokio::test]
async fn how_an_origin_is_shows_and_an_edit_does_not_forget_it() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    add(&control, "a.example.com").await;
    let health = served(&house, "a.example.com").unwrap().pool.origins()[0].health.clone();
    let _open = health.take();
    *house.plane.clock.lock().unwrap() = Duration::from_secs(100);
    assert!((0..EJECT_AFTER).any(|_| health.failed(Duration::from_secs(100))));
    control.set_route("a.example.com", change(json!({ "max_body": 1 }))).await.unwrap();
    let origin = control.route("a.example.com").await.unwrap().origins.remove(0);
    assert_eq!((origin.standing, origin.open), (StandingView::Ejected, 1));
    *house.plane.clock.lock().unwrap() = Duration::from_secs(200);
    assert_eq!(control.route("a.example.com").await.unwrap().origins[0].standing, StandingView::Up);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_takes_out_one_route_and_nothing_else() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    for domain in ["a.example.com", "b.example.com", "c.example.com", "d.example.com"] {
        add(&control, domain).await;
    }
    control.close().await;
    drop(control);
    sql(&house, "UPDATE route SET settings = '{\"orgins\":[]}' WHERE domain = 'a.example.com'").await;
    sql(&house, "UPDATE route SET mode = 'forward' WHERE domain = 'b.example.com'").await;
    sql(&house, "UPDATE route SET domain = 'no domain' WHERE domain = 'c.example.com'").await;

    let (control, start) = house.open().await.unwrap();
    assert_eq!(start.degraded, None);
    assert_eq!(house.plane.served().routes().count(), 1);
    assert_eq!(control.route("d.example.com").await.unwrap().state, RouteState::Active);
    for (domain, part) in [("a.example.com", "settings"), ("b.example.com", "mode"), ("no domain", "domain")] {
        let view = control.route(domain).await.unwrap();
        assert!(view.state == RouteState::Failed && view.problem.as_ref().unwrap().contains(part), "{view:?}");
    }
    assert_eq!(control.list_routes(None).await.len(), 4);
    let explained = control.explain_route("a.example.com", None, Listener::InboundTls).await.unwrap();
    assert!(explained.refusal.is_some() && explained.steps.iter().any(|step| step.found.contains("is not served")));
    // Each can be mended as its problem says.
    assert!(control.set_route("a.example.com", change(json!({ "max_body": 1 }))).await.is_err());
    assert_eq!(control.set_route("a.example.com", to(URL)).await.unwrap().state, RouteState::Active);
    control.remove_route("no domain").await.unwrap();
    assert!(served(&house, "a.example.com").is_some());
}

#[tokio::test]
async fn the_route_of_an_account_that_is_not_served_says_so() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    add(&control, "a.example.com").await;
    control.close().await;
    drop(control);
    sql(&house, "UPDATE account SET policy = 'nonsense'").await;
    let (control, _) = house.open().await.unwrap();
    assert!(served(&house, "a.example.com").is_none());
    let view = control.route("a.example.com").await.unwrap();
    assert!(view.state == RouteState::Failed && view.problem.unwrap().contains("account"));
    control.set_policy("default", Default::default(), false).await.unwrap();
    assert_eq!(control.route("a.example.com").await.unwrap().state, RouteState::Active);
}

#[tokio::test]
async fn a_hundred_thousand_routes_are_loaded_and_changed_in_seconds() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.close().await;
    drop(control);
    let settings = r#"{"origins":[{"url":"http://192.0.2.7:3000"},{"url":"http://192.0.2.8:3000","weight":3}]}"#;
    let many = format!(
        "INSERT INTO route (account, domain, mode, settings, created, label) \
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 99999) \
         SELECT 1, 'h' || n || '.example.com', 'terminate', '{settings}', 1, 'l' || n FROM n"
    );
    sql(&house, &many).await;
    let begun = Instant::now();
    let (control, start) = house.open().await.unwrap();
    assert_eq!((start.degraded, house.plane.served().routes().count()), (None, 99_999));
    // A machine that is busy otherwise takes a few; copying anything per row would take minutes.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let begun = Instant::now();
    for n in 1..=50 {
        control.set_route(&format!("h{n}.example.com"), change(json!({ "max_body": n }))).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    add(&control, "last.example.com").await;
    let error = control.add_route(None, "more.example.com", Mode::Terminate, to(URL)).await.unwrap_err();
    assert!(matches!(error, ControlError::Invalid(Invalid::TooMany { limit: 100_000, .. })), "{error}");
    let before = house.plane.served();
    control.remove_account("default").await.unwrap();
    assert_eq!(before.revoked_by(&house.plane.served()).routes.len(), 100_000);
    assert_eq!(house.plane.served().routes().count(), 0);
}

#[tokio::test]
async fn settings_that_are_too_long_together_are_refused() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    add(&control, "a.example.com").await;
    let field = |n| json!({ "name": format!("x-{n}"), "value": "x".repeat(16 * 1024) });
    let set = |count: u32| change(json!({ "request_headers": { "set": (0..count).map(field).collect::<Value>() } }));
    control.set_route("a.example.com", set(60)).await.unwrap();
    let error = control.set_route("a.example.com", set(70)).await.unwrap_err();
    assert!(matches!(error, ControlError::Invalid(Invalid::SettingsTooLong { .. })), "{error}");
}

/// What only a store in a file is asked.
mod file {
    use super::*;

    #[tokio::test]
    async fn the_sealed_copy_serves_routes_while_the_store_is_down() {
        let house = House::new();
        let (control, _) = house.open().await.unwrap();
        add(&control, "a.example.com").await;
        control.close().await;
        drop(control);
        fs::write(house.path(STORE), "this is no database, whatever its name says".repeat(100)).unwrap();
        let (control, start) = house.open().await.unwrap();
        assert!(start.degraded.is_some() && served(&house, "a.example.com").is_some());
        assert_eq!(control.route("a.example.com").await.unwrap().state, RouteState::Active);
        assert!(matches!(control.remove_route("a.example.com").await, Err(ControlError::StoreDown(_))));
    }

    #[tokio::test]
    async fn a_sealed_copy_from_before_there_were_routes_still_serves() {
        let house = House::new();
        let (control, start) = house.open().await.unwrap();
        add(&control, "a.example.com").await;
        control.close().await;
        drop(control);
        fs::remove_file(house.path(STORE)).unwrap();
        let (key, path) = (MasterKey::parse(&"01".repeat(32)).unwrap(), house.path("snapshot.sealed"));
        let plain = open(&key, "snapshot", &fs::read(&path).unwrap()).unwrap();
        let mut copy: Value = serde_json::from_slice(&plain).unwrap();
        let rows = copy["rows"].as_object_mut().unwrap();
        assert!(rows.remove("routes").is_some() && rows.remove("certificates").is_some());
        fs::write(&path, seal(&key, "snapshot", copy.to_string().as_bytes()).unwrap()).unwrap();

        let (control, again) = house.open().await.unwrap();
        assert!(again.degraded.is_some() && control.list_routes(None).await.is_empty());
        assert!(house.plane.knows(&start.created_account.unwrap().1, Duration::ZERO).is_some());
    }

    #[tokio::test]
    async fn a_store_of_an_older_schema_is_brought_up_to_date_and_lets_in_whom_it_did() {
        for known in [1, 2] {
            let house = House::new();
            let (control, start) = house.open().await.unwrap();
            let credential = start.created_account.unwrap().1;
            let row = control.inner.book().credential(AccountId(1), &credential.username).cloned().unwrap();
            control.close().await;
            drop(control);
            for file in [STORE, "snapshot.sealed"] {
                fs::remove_file(house.path(file)).unwrap();
            }
            // Hashes were made under the master key itself then.
            let key = master_key(1);
            let pepper = Pepper::new(*key.derive("credential pepper"));
            let hash = pepper.hash(&row.username, credential.password.reveal().as_bytes());
            older(&house, known).await;
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let (id, hash, username) = (hex(&key.key_id().0), hex(&hash.0), row.username);
            let rows = format!(
                "INSERT INTO gateway VALUES (1, x'{id}', 7); INSERT INTO account VALUES (1, 'default', 1, '[]', 0, '');
                 INSERT INTO credential VALUES (1, 1, '{username}', 1); INSERT INTO secret VALUES (1, 1, x'{hash}', NULL)"
            );
            sql(&house, &rows).await;

            let (control, start) = house.open().await.unwrap();
            assert_eq!((start.first, start.degraded, start.accounts), (false, None, 1));
            assert!(start.snapshot_version > 7 && house.plane.knows(&credential, Duration::ZERO).is_some());
            add(&control, "a.example.com").await;
            control.close().await;
            let (_control, _) = house.open().await.unwrap();
            assert!(house.plane.knows(&credential, Duration::ZERO).is_some());
        }
    }

    /// A store as the version left it that knew so many steps of the schema.
    async fn older(house: &House, known: usize) {
        let options = SqliteConnectOptions::new().filename(house.path(STORE)).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        schema::migrator(&schema::SQLITE[..known]).run_direct(None, &mut connection, false).await.unwrap();
        connection.close().await.unwrap();
    }

    #[tokio::test]
    async fn what_is_served_as_before_keeps_what_traffic_built_from_it() {
        let house = House::new();
        let (control, _) = house.open().await.unwrap();
        add(&control, "a.example.com").await;
        let built = served(&house, "a.example.com").unwrap().attached.get_or_make(|| 7_u32);
        control.set_route("a.example.com", RouteChange::default()).await.unwrap();
        add(&control, "b.example.com").await;
        // Trouble with the store reads everything again.
        fs::rename(house.path(STORE), house.path("away")).unwrap();
        assert!(control.add_account("acme").await.is_err());
        fs::rename(house.path("away"), house.path(STORE)).unwrap();
        until(|| control.status().store_ok).await;
        let route = house.plane.served().route_of(&"a.example.com".parse::<Domain>().unwrap()).unwrap().clone();
        assert!(std::sync::Arc::ptr_eq(&built, &route.attached.get_or_make(|| 8_u32)));
        control.set_route("a.example.com", to("http://192.0.2.9:1")).await.unwrap();
        assert_eq!(*served(&house, "a.example.com").unwrap().attached.get_or_make(|| 8_u32), 8);
    }
}
