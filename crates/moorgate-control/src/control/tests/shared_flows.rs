//! Flows of several gateways on one store.

use std::time::Duration;

use moorgate_contract::{
    flow::{EndedFlow, FlowId},
    time::Timestamp,
};
use test_postgres::Postgres;

use super::postgres::two;
use crate::{
    Control, FlowFilter,
    control::now,
    flows::Batch,
    store::{Store, StoreUrl},
    testing::{House, flow},
};

fn filter(account: Option<&str>, limit: usize) -> FlowFilter {
    FlowFilter { account: account.map(str::to_owned), limit }
}

async fn ids(control: &Control, account: Option<&str>) -> Vec<FlowId> {
    control.flows(filter(account, 1_000)).await.unwrap().iter().map(|recorded| recorded.flow.id).collect()
}

/// Waits until a gateway knows so many flows.
async fn knows(control: &Control, count: usize) {
    for _ in 0..500 {
        if ids(control, None).await.len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} flows, not {count}", ids(control, None).await.len());
}

/// Flows that end one after the other, a second apart: now at one gateway, now at the other.
async fn in_turn(controls: [&Control; 2], count: u64) -> Vec<FlowId> {
    let begin = now();
    let mut all = Vec::new();
    for number in 0..count {
        let account = (number % 3 == 0).then_some("default");
        let at = Timestamp(begin.0 + number * 1_000_000);
        let flow = flow(number, at, account);
        all.push(flow.id);
        controls[usize::try_from(number % 2).unwrap()].record_flows(vec![flow]).await;
    }
    all
}

#[tokio::test]
async fn each_gateway_knows_what_every_gateway_did() {
    let server = Postgres::start();
    let (first, second) = two(&server);
    let (one, _) = first.open().await.unwrap();
    let (two, _) = second.open().await.unwrap();
    let all = in_turn([&one, &two], 30).await;
    knows(&one, 30).await;
    knows(&two, 30).await;
    for control in [&one, &two] {
        assert_eq!(ids(control, None).await, all, "in the order in which they ended");
        let own: Vec<FlowId> = all.iter().copied().step_by(3).collect();
        assert_eq!(ids(control, Some("default")).await, own);
        for id in &all {
            assert_eq!(control.flow(*id).await.unwrap().map(|found| found.flow.id), Some(*id));
        }
        for (number, recorded) in control.flows(filter(None, 1_000)).await.unwrap().iter().enumerate() {
            let carried = Some(if number % 2 == 0 { "one" } else { "two" });
            assert_eq!(recorded.gateway.as_deref(), carried);
            assert_eq!(control.flow(recorded.flow.id).await.unwrap().unwrap().gateway.as_deref(), carried);
        }
        let (mut read, mut before) = (Vec::new(), None);
        loop {
            let page = control.flows_before(filter(None, 7), before).await.unwrap();
            let Some(oldest) = page.first() else { break };
            before = Some(oldest.flow.id);
            read.splice(0..0, page.iter().map(|recorded| recorded.flow.id));
        }
        assert_eq!(read, all, "page by page");
    }
    // It is known of one that is gone, and by one that comes.
    two.close().await;
    drop(two);
    assert_eq!(ids(&one, None).await, all);
    let third = House { store_url: first.store_url.clone(), name: "three".to_owned(), ..House::new() };
    let (three, _) = third.open().await.unwrap();
    assert_eq!(ids(&three, None).await, all);
}

#[tokio::test]
async fn without_the_store_a_gateway_knows_what_itself_did() {
    let mut server = Postgres::start();
    let (first, second) = two(&server);
    let (one, _) = first.open().await.unwrap();
    let (two, _) = second.open().await.unwrap();
    let all = in_turn([&one, &two], 10).await;
    knows(&one, 10).await;
    server.kill();
    let own: Vec<FlowId> = all.iter().copied().step_by(2).collect();
    assert_eq!(ids(&one, None).await, own);
    assert!(one.flow(all[0]).await.unwrap().is_some() && one.flow(all[1]).await.unwrap().is_none());
    // What is done meanwhile others are shown later.
    one.record_flows(vec![flow(100, now(), None)]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.run();
    crate::testing::until(|| one.status().store_ok && two.status().store_ok).await;
    two.record_flows(vec![flow(101, now(), None)]).await;
    knows(&one, 12).await;
    knows(&two, 12).await;
}

#[tokio::test]
async fn the_oldest_of_a_gateway_and_those_of_gateways_that_are_gone_make_room() {
    let server = Postgres::start();
    let (first, _second) = two(&server);
    let (one, _) = first.open().await.unwrap();
    let mut store = Store::beside(&StoreUrl::parse(&first.store_url, first.dir.path()).unwrap()).await.unwrap();
    let at = now();
    let flows = |from: u64| -> Vec<EndedFlow> { (from..from + 10).map(|number| flow(number, at, None)).collect() };
    let all = [flows(0), flows(10), flows(20)];
    for flows in &all {
        store.put_flows("other", &Batch::all(flows), 20, at).await.unwrap();
    }
    store.put_flows("another", &Batch::all(&flows(30)), 20, at).await.unwrap();
    assert_eq!(ids(&one, None).await.len(), 30, "20 of the one, 10 of the other");
    assert!(one.flow(all[0][0].id).await.unwrap().is_none() && one.flow(all[1][0].id).await.unwrap().is_some());
    let later = at.after(Duration::from_secs(9 * 24 * 3600));
    store.put_flows("other", &[], 20, later).await.unwrap();
    assert!(ids(&one, None).await.is_empty());
}
