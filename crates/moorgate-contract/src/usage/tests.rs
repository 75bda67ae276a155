use std::{sync::mpsc, time::Instant};

use super::*;
use crate::{
    failure::Code,
    flow::{FlowId, OpenFlow},
    listener::Listener,
    outcome::Ending,
};

const HOUR: u64 = 500_000;
const ACME: Whose = Whose { account: Some(AccountId(1)), credential: Some(CredentialId(2)), route: None };

/// A flow to `target` that ended with the hour that begins.
fn flow(target: &str, kind: Kind, outcome: Outcome) -> Flow {
    let (send, flows) = mpsc::sync_channel(1);
    let sink = Arc::new(move |flow| send.send(flow).unwrap());
    let client = "192.0.2.7:1".parse().unwrap();
    let started = Timestamp(HOUR * MICROS_PER_HOUR - 5);
    let mut open = OpenFlow::open(FlowId(1), started, Instant::now(), Listener::OutboundHttp, client, sink);
    open.record.kind = kind;
    open.record.target = Some(target.into());
    open.record.whose = ACME;
    open.end(outcome);
    Flow { duration_us: 5, ..*flows.recv().unwrap() }
}

fn tally(host: &str, hour: u64, up: u64) -> Tally {
    let at = Timestamp(hour * MICROS_PER_HOUR);
    Tally { whose: ACME, host: Some(host.into()), egress: None, client: None, at, up, down: 1 }
}

fn only(usage: &mut Usage) -> (Key, Counts) {
    let mut taken = usage.take();
    assert_eq!(taken.len(), 1, "{taken:?}");
    taken.remove(0)
}

#[test]
fn a_flow_counts_in_the_hour_of_its_end_with_what_it_had_not_reported() {
    let mut usage = Usage::default();
    let outcome = Outcome::Ok;
    let ended =
        Flow { unreported_up: 7, unreported_down: 9, bytes_up: 100, ..flow("A.example:443", Kind::Tunnel, outcome) };
    usage.observe(&Flow { latency_us: Some(2_000), target: Some("a.example:443".into()), ..ended });
    usage.tally(&tally("a.example", HOUR, 93));
    let (key, counts) = only(&mut usage);
    assert_eq!(key, Key { hour: HOUR, whose: ACME, host: Some("a.example".into()), egress: None });
    assert_eq!((counts.connections, counts.requests, counts.bytes_up, counts.bytes_down), (1, 0, 100, 10));
    assert_eq!(counts.latency.count(), 1);
    assert!(usage.take().is_empty());
}

#[test]
fn what_got_through_was_refused_or_broke_is_counted_apart() {
    let through = |kind, outcome| Flow { latency_us: Some(1), ..flow("a.example:80", kind, outcome) };
    let not = |kind, outcome| flow("a.example:80", kind, outcome);
    let (tunnel, exchange) = (Kind::Tunnel, Kind::Exchange);
    for (flow, expected) in [
        (through(tunnel, Outcome::Ok), (1, 0, 0, 0)),
        (not(exchange, Outcome::Ok), (0, 1, 0, 0)),
        (through(tunnel, Outcome::Cut(Ending::Idle)), (1, 0, 0, 0)),
        (through(tunnel, Outcome::Cut(Ending::QuotaSpent)), (1, 0, 0, 0)),
        (through(tunnel, Outcome::Cut(Ending::ResetByTarget)), (1, 0, 0, 1)),
        (through(exchange, Outcome::Failed(Code::ResponseIncomplete)), (0, 1, 0, 1)),
        (not(tunnel, Outcome::Failed(Code::PolicyDenied)), (0, 0, 1, 0)),
        (not(tunnel, Outcome::Failed(Code::QuotaSpent)), (0, 0, 1, 0)),
        (not(tunnel, Outcome::Failed(Code::ConnectTimeout)), (0, 0, 0, 1)),
        (not(tunnel, Outcome::Cut(Ending::ClientLeft)), (0, 0, 0, 1)),
    ] {
        let mut usage = Usage::default();
        usage.observe(&flow);
        let (_, counts) = only(&mut usage);
        let counted = (counts.connections, counts.requests, counts.refusals, counts.errors);
        assert_eq!(counted, expected, "{:?} {}", flow.kind, flow.outcome);
    }
}

#[test]
fn hosts_are_named_in_one_form_and_strangers_name_none() {
    let host = |flow: &Flow| {
        let mut usage = Usage::default();
        usage.observe(flow);
        only(&mut usage).0.host.map(|host| host.to_string())
    };
    let to = |target: &str| flow(target, Kind::Tunnel, Outcome::Ok);
    assert_eq!(host(&to("API.Bank.example:443")).as_deref(), Some("api.bank.example"));
    assert_eq!(host(&to("[2001:db8::1]:443")).as_deref(), Some("2001:db8::1"));
    assert_eq!(host(&to("0x7f.1:80")).as_deref(), Some(OTHER_HOSTS));
    assert_eq!(host(&Flow { whose: Whose::default(), ..to("a.example:80") }), None);
    assert_eq!(host(&Flow { listener: Listener::InboundTls, ..to("a.example:80") }), None);
}

#[test]
fn an_account_names_a_thousand_hosts_an_hour_however_often_they_are_taken() {
    let mut usage = Usage::default();
    let mut named = HashSet::new();
    for number in 0..HOSTS_PER_HOUR * 2 {
        usage.tally(&tally(&format!("h{number}.example"), HOUR, 1));
        if number % 100 == 0 {
            named.extend(usage.take().into_iter().filter_map(|(key, _)| key.host));
        }
    }
    named.extend(usage.take().into_iter().filter_map(|(key, _)| key.host));
    assert_eq!(named.len(), HOSTS_PER_HOUR + 1);
    assert!(named.contains(OTHER_HOSTS));
    // One that is known goes on being counted; the next hour begins anew, and the hours before are forgotten.
    usage.tally(&tally("h1.example", HOUR, 1));
    assert_eq!(only(&mut usage).0.host.as_deref(), Some("h1.example"));
    usage.tally(&tally("new.example", HOUR + 2, 1));
    assert_eq!(only(&mut usage).0.host.as_deref(), Some("new.example"));
    assert_eq!(usage.hosts.len(), 1);
}

#[test]
fn who_comes_from_where_a_credential_is_not_to_be_used_has_not_used_it() {
    let mut usage = Usage::default();
    let mut flow = flow("a.example:443", Kind::Tunnel, Outcome::Failed(Code::ClientDenied));
    usage.observe(&flow);
    assert_eq!(usage.last_uses(), []);
    flow.outcome = Outcome::Failed(Code::PolicyDenied);
    usage.observe(&flow);
    assert_eq!(usage.last_uses().len(), 1, "its app does come this way");
}

#[test]
fn what_another_counted_is_added_and_its_newest_uses_with_it() {
    let client = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
    let (mut one, mut other) = (Usage::default(), Usage::default());
    one.tally(&Tally { client: client(1), ..tally("a.example", HOUR, 3) });
    other.tally(&Tally { client: client(2), ..tally("a.example", HOUR, 4) });
    other.tally(&Tally { client: client(3), at: Timestamp(0), ..tally("a.example", HOUR, 4) });
    one.absorb(other);
    let total: u64 = one.take().iter().map(|(_, counts)| counts.bytes_up).sum();
    assert_eq!(total, 11);
    let at = Timestamp(HOUR * MICROS_PER_HOUR);
    assert_eq!(one.last_uses(), [(CredentialId(2), at, client(2).unwrap())]);
    assert!(one.is_empty());
}

#[test]
fn keys_and_counts_read_as_they_are_written() {
    let mut usage = Usage::default();
    usage.observe(&Flow { latency_us: Some(1_000), ..flow("a.example:80", Kind::Tunnel, Outcome::Ok) });
    let (key, counts) = only(&mut usage);
    let text = serde_json::to_string(&(&key, &counts)).unwrap();
    assert_eq!(serde_json::from_str::<(Key, Counts)>(&text).unwrap(), (key, counts), "{text}");
}
