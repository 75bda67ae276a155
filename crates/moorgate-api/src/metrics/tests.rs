use std::{sync::Arc, time::Instant};

use moorgate_contract::{
    flow::{FlowId, FlowSink, OpenFlow},
    outcome::Outcome,
    time::Timestamp,
};

use super::*;

pub(crate) fn metrics() -> Metrics {
    Metrics::new(MetricSources {
        open_connections: Box::new(|| vec![(Listener::OutboundHttp, 3), (Listener::OutboundSocks, 0)]),
        open_tunnels: Box::new(|| 2),
        flows_dropped: Box::new(|| 5),
        snapshot_version: Box::new(|| 7),
        egress: Box::new(|| vec![("203.0.113.10".parse().unwrap(), true), ("203.0.113.11".parse().unwrap(), false)]),
        ports_free: Box::new(|| vec![("203.0.113.10".parse().unwrap(), 28_000)]),
        certificates: Box::new(|| vec![("issued", 3), ("failing", 1)]),
        certificate_end: Box::new(|| Some(1_800_000_000)),
        panics: Box::new(|| 0),
        version: "0.1.0",
    })
}

#[test]
fn a_scrape_shows_what_ended_and_what_is_open_now() {
    let metrics = Arc::new(metrics());
    let sink: FlowSink = {
        let metrics = metrics.clone();
        Arc::new(move |flow| metrics.observe(&flow))
    };
    let client = "127.0.0.1:1".parse().unwrap();
    let flow = OpenFlow::open(FlowId(1), Timestamp(0), Instant::now(), Listener::OutboundHttp, client, sink);
    flow.meter().add_up(11);
    flow.meter().add_down(22);
    flow.end(Outcome::Ok);
    let text = metrics.text().unwrap();
    for line in [
        r#"moorgate_flows_total{listener="outbound_http",outcome="ok"} 1"#,
        r#"moorgate_bytes_total{listener="outbound_http",direction="up"} 11"#,
        r#"moorgate_bytes_total{listener="outbound_http",direction="down"} 22"#,
        r#"moorgate_flow_duration_seconds_count{listener="outbound_http"} 1"#,
        r#"moorgate_open_connections{listener="outbound_http"} 3"#,
        "moorgate_open_tunnels 2",
        "moorgate_flows_dropped_total 5",
        "moorgate_snapshot_version 7",
        r#"moorgate_egress_address_up{address="203.0.113.11"} 0"#,
        r#"moorgate_egress_ports_free{address="203.0.113.10"} 28000"#,
        r#"moorgate_certificates{state="failing"} 1"#,
        "moorgate_certificate_end_timestamp_seconds 1800000000",
        "moorgate_panics_total 0",
        r#"moorgate_build_info{version="0.1.0"} 1"#,
    ] {
        assert!(text.lines().any(|have| have == line), "no line {line:?} in\n{text}");
    }
    assert!(text.lines().filter(|line| !line.starts_with('#')).all(|line| line.starts_with("moorgate_")), "{text}");
}
