use std::{
    fs,
    time::{Duration, Instant},
};

use moorgate_contract::failure::Code;
use moorgate_wire::host::Asked;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::{
    AccountChange, By, ControlError,
    limits::STORE_TIME,
    testing::{House, until},
};

pub(super) const STORE: &str = "moorgate.sqlite";
const NOW: Duration = Duration::ZERO;

/// Damages the store as nothing of ours would.
pub(super) async fn sql(house: &House, statement: &str) {
    if !house.is_file() {
        test_postgres::sql(&house.store_url, statement);
        return;
    }
    let mut connection = SqliteConnectOptions::new().filename(house.path(STORE)).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn another_master_key_is_refused_and_nothing_changes() {
    let mut house = House::new();
    let (control, start) = house.open().await.unwrap();
    control.close().await;
    let before = (fs::read(house.path(STORE)).unwrap(), fs::read(house.path("snapshot.sealed")).unwrap());

    house.keys = vec![2];
    let error = house.open().await.unwrap_err();
    assert!(matches!(error, ControlError::WrongMasterKey { .. }), "{error}");
    assert!(error.to_string().contains("start with the master key it was made under"));
    assert_eq!(before, (fs::read(house.path(STORE)).unwrap(), fs::read(house.path("snapshot.sealed")).unwrap()));

    house.keys = vec![1];
    house.open().await.unwrap();
    assert!(house.plane.knows(&start.created_account.unwrap().1, NOW).is_some());
}

#[tokio::test]
async fn a_newer_store_is_refused_in_clear_words() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.close().await;
    sql(&house, "INSERT INTO _sqlx_migrations VALUES (99, 'later', 0, 1, x'00', 0)").await;
    let error = house.open().await.unwrap_err();
    assert!(matches!(error, ControlError::NewerSchema { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("newer Moorgate"), "{error}");
}

#[tokio::test]
async fn a_damaged_store_is_replaced_by_the_sealed_copy_until_it_is_back() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let (_, credential) = start.created_account.unwrap();
    let token = start.operator_token.unwrap();
    control.add_account("acme").await.unwrap();
    control.close().await;
    drop(control);
    let whole = fs::read(house.path(STORE)).unwrap();
    fs::write(house.path(STORE), "this is no database, whatever its name says".repeat(100)).unwrap();

    let (control, again) = house.open().await.unwrap();
    assert!(again.degraded.is_some() && !again.first && again.accounts == 2);
    assert!(house.plane.knows(&credential, NOW).is_some());
    assert!(control.authenticate(token.token.reveal()).await.is_some());
    assert_eq!(control.list_accounts().await.len(), 2);
    let error = control.add_account("more").await.unwrap_err();
    assert!(matches!(error, ControlError::StoreDown(_)), "{error}");
    assert!(!control.status().store_ok && control.status().store_problem.is_some());

    fs::write(house.path(STORE), whole).unwrap();
    until(|| control.status().store_ok).await;
    control.add_account("more").await.unwrap();
    assert!(house.plane.knows(&credential, NOW).is_some());
    assert!(control.status().snapshot_version > again.snapshot_version);
}

#[tokio::test]
async fn a_store_that_is_lost_is_never_replaced_by_an_empty_one() {
    for lose in [(|path| fs::remove_file(path).unwrap()) as fn(_), |path| fs::write(path, "").unwrap()] {
        let house = House::new();
        let (control, start) = house.open().await.unwrap();
        control.close().await;
        lose(house.path(STORE));
        let (control, again) = house.open().await.unwrap();
        assert!(!again.first && again.accounts == 1);
        assert!(again.degraded.unwrap().contains("restore a backup"));
        assert!(house.plane.knows(&start.created_account.unwrap().1, NOW).is_some());
        assert!(control.add_account("more").await.is_err());
    }
}

#[tokio::test]
async fn with_neither_store_nor_copy_the_start_fails_and_says_why() {
    let house = House::new();
    fs::write(house.path(STORE), "no database at all, of more than a few bytes").unwrap();
    let error = house.open().await.unwrap_err();
    assert!(matches!(error, ControlError::Unstartable { .. }), "{error}");
    assert!(crate::error::chain(&error).contains(STORE));
    fs::write(house.path("snapshot.sealed"), "nor this a copy").unwrap();
    assert!(matches!(house.open().await, Err(ControlError::Unstartable { .. })));
}

#[tokio::test]
async fn a_store_removed_under_a_running_gateway_takes_no_more_writes() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    house.sealed().await;
    fs::rename(house.path(STORE), house.path("away")).unwrap();
    // SQLite would go on writing into the file that nobody will find again.
    assert!(matches!(control.add_account("acme").await, Err(ControlError::StoreDown(_))));
    assert!(!control.status().store_ok);
    let token = start.operator_token.unwrap();
    assert!(control.authenticate(token.token.reveal()).await.is_some());
    assert!(house.plane.knows(&start.created_account.unwrap().1, NOW).is_some());
    fs::rename(house.path("away"), house.path(STORE)).unwrap();
    until(|| control.status().store_ok).await;
    control.add_account("acme").await.unwrap();
}

#[tokio::test]
async fn a_restored_backup_is_served_under_a_new_version() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.close().await;
    drop(control);
    let backup = fs::read(house.path(STORE)).unwrap();
    let (control, _) = house.open().await.unwrap();
    for n in 0..5 {
        control.add_account(&format!("a{n}")).await.unwrap();
    }
    let version = control.status().snapshot_version;
    control.close().await;
    drop(control);
    fs::write(house.path(STORE), backup).unwrap();
    let (_control, start) = house.open().await.unwrap();
    assert_eq!(start.accounts, 1);
    assert!(start.snapshot_version > version);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_takes_out_one_account_and_nothing_else() {
    let house = House::new();
    let (control, start) = house.open().await.unwrap();
    let (_, credential) = start.created_account.unwrap();
    control.add_account("acme").await.unwrap();
    let of_acme = control.add_credential("acme", Default::default()).await.unwrap();
    control.close().await;
    drop(control);
    sql(&house, "UPDATE account SET policy = '[{\"effect\":\"maybe\"}]' WHERE name = 'acme'").await;

    let (control, start) = house.open().await.unwrap();
    assert_eq!((start.accounts, start.degraded), (2, None));
    assert!(house.plane.knows(&credential, NOW).is_some() && house.plane.knows(&of_acme, NOW).is_none());
    assert!(!control.account("acme").await.unwrap().served);
    assert!(matches!(control.policy("acme").await, Err(ControlError::NotServed { .. })));
    assert!(matches!(
        control.explain("acme", By::default(), &Asked::new("a.example", 443), false).await,
        Err(ControlError::NotServed { .. })
    ));
    control.set_policy("acme", Default::default(), false).await.unwrap();
    assert!(house.plane.knows(&of_acme, NOW).is_some());
}

#[tokio::test]
async fn two_gateways_never_share_a_data_directory() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let error = house.open().await.unwrap_err();
    assert!(matches!(error, ControlError::InUse { .. }) && error.to_string().contains("--data-dir"), "{error}");
    control.close().await;
    house.open().await.unwrap();
}

#[tokio::test]
async fn a_closed_control_plane_still_answers_and_writes_nothing() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.close().await;
    assert!(matches!(control.add_account("acme").await, Err(ControlError::StoreDown(_))));
    assert!(control.account("default").await.is_ok());
    control.close().await;
}

#[tokio::test]
async fn the_sealed_copy_is_at_most_a_second_behind() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    house.sealed().await;
    control.add_account("acme").await.unwrap();
    let changed = Instant::now();
    let copy = || crate::sealed::read(house.dir.path(), &crate::testing::master_keys(&[1])).unwrap();
    until(|| copy().version == control.status().snapshot_version).await;
    assert!(changed.elapsed() < Duration::from_secs(1), "{:?}", changed.elapsed());
    assert!(copy().accounts.iter().any(|account| account.name == "acme"));
}

#[tokio::test]
async fn a_store_that_is_held_by_another_fails_a_write_and_recovers() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let mut other = SqliteConnectOptions::new().filename(house.path(STORE)).connect().await.unwrap();
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let before = Instant::now();
    assert!(matches!(control.add_account("acme").await, Err(ControlError::StoreDown(_))));
    assert!(before.elapsed() < STORE_TIME + Duration::from_secs(1), "{:?}", before.elapsed());
    assert!(control.account("acme").await.is_err() && house.plane.served().account("acme").is_none());
    held.rollback().await.unwrap();
    control.add_account("acme").await.unwrap();
    assert!(control.status().store_ok);
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused_with_what_to_do() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let said = async |result: crate::Result<()>| result.unwrap_err().to_string();
    let own = AccountChange { egress: Some(vec!["203.0.113.10".parse().unwrap()]), ..AccountChange::default() };
    let cases = [
        (said(control.add_account("Not A Name").await.map(drop)).await, "a-z, 0-9"),
        (said(control.add_credential("nobody", Default::default()).await.map(drop)).await, "moorgate account list"),
        (said(control.revoke_token("nothing").await).await, "moorgate token list"),
        (said(control.set_account("default", own).await.map(drop)).await, "[egress] addresses"),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected) && !said.contains('\n'), "{said}");
    }
    assert!(control.status().store_ok, "a wrong request is no trouble of the store's");
    let refused =
        control.explain("default", By::default(), &Asked::new("127.1", 80), true).await.unwrap().refusal.unwrap();
    assert_eq!(refused.code, Code::HostNotCanonical);
}
