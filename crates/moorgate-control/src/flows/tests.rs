use moorgate_contract::{flow::FlowId, time::Timestamp};

use super::*;
use crate::{
    Control,
    testing::{self, House},
};

fn flow(number: u64, started: Timestamp, account: Option<&str>) -> Flow {
    *testing::flow(number, started, account)
}

fn ended(flows: &[Flow]) -> Vec<EndedFlow> {
    flows.iter().cloned().map(Box::new).collect()
}

fn filter(account: Option<&str>, limit: usize) -> FlowFilter {
    FlowFilter { account: account.map(str::to_owned), limit }
}

async fn all(control: &Control, filter: FlowFilter) -> Vec<Flow> {
    let all = control.flows(filter).await.unwrap();
    all.into_iter()
        .map(|Recorded { flow, gateway }| if gateway.is_none() { flow } else { panic!("{gateway:?}") })
        .collect()
}

fn ids(flows: &[Flow]) -> Vec<FlowId> {
    flows.iter().map(|flow| flow.id).collect()
}

#[tokio::test]
async fn the_oldest_flows_make_room_for_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let store = FlowStore::new(dir.path(), 100);
    let all: Vec<Flow> = (0..250).map(|n| flow(n, Timestamp(n * 1_000), None)).collect();
    for batch in all.chunks(30) {
        store.record(&ended(batch)).await;
    }
    let kept = store.last(Wanted { account: None, limit: 1_000, before: Before::Everything }).await.unwrap();
    assert_eq!(kept, all[150..]);
    for gone in [0, 149] {
        assert!(store.find(all[gone].id).await.unwrap().is_none());
    }
    assert_eq!(store.find(all[249].id).await.unwrap().as_ref(), Some(&all[249]));
    assert_eq!(store.lost(), 0);
}

#[tokio::test]
async fn flows_are_known_after_a_restart_in_the_order_in_which_they_ended() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let now = crate::control::now();
    let flows: Vec<Flow> = (0..10).rev().map(|n| flow(n, now, (n % 2 == 0).then_some("default"))).collect();
    let mut follower = control.follow();
    control.record_flows(ended(&flows)).await;
    assert_eq!(follower.recv().await.unwrap().flow, flows[0]);
    control.close().await;
    drop(control);

    let (control, _) = house.open().await.unwrap();
    assert_eq!(all(&control, FlowFilter::default()).await, flows);
    assert_eq!(ids(&all(&control, filter(None, 3)).await), ids(&flows[7..]));
    let own = all(&control, filter(Some("default"), 1_000)).await;
    assert!(own.len() == 5 && own.iter().all(|flow| flow.account.as_deref() == Some("default")));
    assert_eq!(control.flow(flows[4].id).await.unwrap().map(|found| found.flow).as_ref(), Some(&flows[4]));
    assert!(control.flows(filter(Some("nobody"), 10)).await.is_err());
}

#[tokio::test]
async fn a_new_account_never_sees_the_flows_of_one_that_had_its_name() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.add_account("acme").await.unwrap();
    let before = flow(1, crate::control::now(), Some("acme"));
    control.record_flows(ended(std::slice::from_ref(&before))).await;
    assert_eq!(all(&control, filter(Some("acme"), 10)).await.len(), 1);
    control.remove_account("acme").await.unwrap();
    control.add_account("acme").await.unwrap();
    assert!(all(&control, filter(Some("acme"), 10)).await.is_empty());
    assert_eq!(control.flow(before.id).await.unwrap().unwrap().flow.account, None);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_flows_go_on() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("flows.sqlite"), "no database at all ".repeat(100)).unwrap();
    let store = FlowStore::new(dir.path(), 1_000);
    store.record(&ended(&[flow(1, Timestamp(1_000), None)])).await;
    assert_eq!(store.last(Wanted { account: None, limit: 10, before: Before::Everything }).await.unwrap().len(), 1);
    assert!(dir.path().join("flows.sqlite.damaged").exists());
}

#[tokio::test]
async fn what_cannot_be_kept_is_counted_and_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("flows.sqlite")).unwrap();
    let store = FlowStore::new(dir.path(), 1_000);
    store.record(&ended(&[flow(1, Timestamp(1_000), None), flow(2, Timestamp(1_000), None)])).await;
    store.record(&ended(&[flow(3, Timestamp(1_000), None)])).await;
    assert_eq!(store.lost(), 3);
    store.close().await;
}

#[tokio::test]
async fn a_text_of_a_peer_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = FlowStore::new(dir.path(), 1_000);
    let mut odd = flow(1, Timestamp(1_000), Some("a\"b"));
    odd.target = Some("evil\u{1b}[2J'; DROP TABLE flow; --\u{0}:443".into());
    store.record(&ended(&[odd.clone()])).await;
    assert_eq!(store.find(odd.id).await.unwrap(), Some(odd));
}

#[tokio::test]
async fn flows_that_an_older_version_kept_are_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let kept: Vec<Flow> = (0..20).map(|n| flow(n, Timestamp(1_000), (n % 2 == 0).then_some("acme"))).collect();
    let old = SqlitePoolOptions::new().connect_with(options(&dir.path().join("flows.sqlite")).create_if_missing(true));
    let old = old.await.unwrap();
    schema::migrator(&schema::FLOWS[..1]).run(&old).await.unwrap();
    for flow in &kept {
        let insert = query("INSERT INTO flow (id, account, started, body) VALUES (?, ?, ?, ?)");
        let insert = insert.bind(flow.id.0.cast_signed()).bind(flow.account.as_deref()).bind(1_000);
        insert.bind(serde_json::to_string(flow).unwrap()).execute(&old).await.unwrap();
    }
    old.close().await;

    let store = FlowStore::new(dir.path(), 1_000);
    let new = flow(20, Timestamp(2_000), Some("acme"));
    store.record(&ended(std::slice::from_ref(&new))).await;
    assert_eq!(store.lost(), 0);
    let all = store.last(Wanted { account: None, limit: 1_000, before: Before::Everything }).await.unwrap();
    assert_eq!(all, [kept.as_slice(), &[new]].concat());
    assert_eq!(store.find(kept[7].id).await.unwrap().as_ref(), Some(&kept[7]));
    let acme = Wanted { account: Some(("acme".to_owned(), Timestamp(0))), limit: 3, before: Before::Everything };
    assert_eq!(ids(&store.last(acme).await.unwrap()), [kept[16].id, kept[18].id, all[20].id]);
}
