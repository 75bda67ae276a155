use std::time::Instant;

use moorgate_contract::{
    account::AccountId,
    flow::{FlowId, FlowSink, OpenFlow},
    listener::Listener,
    outcome::Outcome,
    time::Timestamp,
    usage::{Tally, Whose},
};

use super::*;

const ACME: Whose = Whose { account: Some(AccountId(1)), credential: None, route: None };

fn flow(sink: &ReportSink, bytes: u64) {
    let sink = sink.clone();
    let sink: FlowSink = Arc::new(move |flow| sink(Report::Flow(flow)));
    let client = "127.0.0.1:1".parse().unwrap();
    let mut open = OpenFlow::open(FlowId(1), Timestamp(0), Instant::now(), Listener::OutboundHttp, client, sink);
    open.record.whose = ACME;
    open.meter().add_up(bytes);
    open.end(Outcome::Ok);
}

fn tally(sink: &ReportSink, bytes: u64) {
    let at = Timestamp(1);
    sink(Report::Tally(Tally { whose: ACME, host: None, egress: None, client: None, at, up: bytes, down: 0 }));
}

fn counted(usage: &Mutex<Usage>) -> (u64, u64) {
    let taken = lock(usage).take();
    taken.iter().fold((0, 0), |(flows, bytes), (_, counts)| (flows + counts.connections, bytes + counts.bytes_up))
}

#[tokio::test]
async fn what_does_not_fit_is_counted_all_the_same() {
    const MORE: usize = 1_000;
    let (sink, mut reports, dropped) = queue();
    let sent = FLOW_QUEUE + MORE;
    for _ in 0..sent {
        flow(&sink, 3);
        tally(&sink, 2);
    }
    // Half of the queue is for flows, whatever open ones say.
    assert!(dropped.count() > 0 && dropped.count() <= (MORE + FLOW_QUEUE / 2) as u64, "{}", dropped.count());
    drop(sink);
    let (usage, mut flows) = (reports.usage(), Vec::new());
    while reports.recv_many(&mut flows, 100).await > 0 {}
    assert_eq!(flows.len() as u64 + dropped.count(), sent as u64);
    assert_eq!(counted(&usage), (sent as u64, sent as u64 * 5));
}

#[tokio::test]
async fn tallies_leave_room_for_every_flow() {
    let (sink, mut reports, dropped) = queue();
    for _ in 0..FLOW_QUEUE * 3 {
        tally(&sink, 1);
    }
    for _ in 0..FLOW_QUEUE / 2 - 1 {
        flow(&sink, 0);
    }
    assert_eq!(dropped.count(), 0);
    let mut flows = Vec::new();
    reports.recv_many(&mut flows, FLOW_QUEUE).await;
    assert_eq!(flows.len(), FLOW_QUEUE / 2 - 1);
    assert_eq!(counted(&reports.usage()).1, FLOW_QUEUE as u64 * 3);
}
