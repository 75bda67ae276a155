//! Where a route may lead: not into networks that the operator keeps closed, and never back to the gateway.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;

use super::support::{Client, ask, get, rest, route, tcp};
use crate::{
    dns::Dns,
    gateway::{Gateway, Setup, eventually},
    target::{Target, ok},
};

const NAME: &str = "app.test";

/// A gateway of the production profile with an account, and private networks closed unless `opened`.
fn production(dns: &Dns, opened: &str) -> Gateway {
    let config =
        format!("[egress]\nallow_private_destinations = {opened}\n[resolver]\nservers = [\"{}\"]\n", dns.address);
    let gateway = Setup::default().config(&config).start();
    gateway.cli(&["account", "add", "acme"]);
    gateway
}

/// The status of a request by a terminate route, and the code of its flow.
fn asked(gateway: &Gateway, domain: &str) -> (u16, Value) {
    let mut client = Client::of(gateway).connect(gateway.address("inbound_tls"), domain);
    let answer = ask(&mut client, get(domain, "/", ""));
    let flow = gateway.wait_flow(|flow| flow["route"] == domain && flow["mode"] == "terminate");
    (answer.status, flow["outcome"].clone())
}

#[test]
fn a_route_into_a_network_that_is_closed_reaches_nobody_in_either_mode() {
    let dns = Dns::start(Ipv4Addr::LOCALHOST.into(), |_| Some(vec![Ipv4Addr::LOCALHOST.into()]));
    let gateway = production(&dns, "false");
    let trap = Target::http(|_| ok("caught"));
    let port = trap.address.port();
    for (number, host) in ["127.0.0.1", "[::ffff:127.0.0.1]", "inner.test", "169.254.169.254"].iter().enumerate() {
        let (terminate, passthrough) = (format!("t{number}.test"), format!("p{number}.test"));
        route(&gateway, &terminate, "terminate", &[&format!("http://{host}:{port}")], &[]);
        route(&gateway, &passthrough, "passthrough", &[&format!("tls://{host}:{port}")], &[]);
        assert_eq!(asked(&gateway, &terminate), (502, "guard_denied".into()), "{host}");
        let mut client = tcp(gateway.address("inbound_tls"));
        client.write_all(&Client::of(&gateway).hello(&passthrough)).unwrap();
        rest(&mut client);
        gateway.wait_flow(|flow| flow["route"] == *passthrough && flow["outcome"] == "guard_denied");
        let explained = gateway.cli(&["explain", &terminate]);
        assert!(explained.contains("guard_denied"), "{explained}");
    }
    assert_eq!(trap.seen().peers.len(), 0);
}

#[test]
fn a_network_that_the_operator_opened_is_reached_and_no_other() {
    let dns = Dns::start(Ipv4Addr::LOCALHOST.into(), |_| None);
    let gateway = production(&dns, "[\"127.0.0.1/32\"]");
    let (open, closed) = (Target::http(|_| ok("open")), Target::new("127.0.0.2:0", drop));
    route(&gateway, NAME, "terminate", &[&format!("http://{}", open.address)], &[]);
    route(&gateway, "closed.test", "terminate", &[&format!("http://{}", closed.address)], &[]);
    assert_eq!(asked(&gateway, NAME).0, 200);
    assert_eq!(asked(&gateway, "closed.test"), (502, "guard_denied".into()));
    assert_eq!(closed.seen().peers.len(), 0);
}

#[test]
fn the_name_of_an_origin_is_resolved_anew_and_what_was_judged_is_dialled() {
    let (inner, outer) = (IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 1]));
    let turned = Arc::new(AtomicBool::new(false));
    let dns = Dns::start(Ipv4Addr::LOCALHOST.into(), {
        let turned = turned.clone();
        move |_| Some(vec![if turned.load(Ordering::Relaxed) { inner } else { outer }])
    });
    let gateway = production(&dns, "[\"127.0.0.1/32\"]");
    let app = Target::http(|_| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi".into());
    let trap = Target::new(&SocketAddr::new(inner, app.address.port()).to_string(), drop);
    route(&gateway, NAME, "terminate", &[&format!("http://turning.test:{}", app.address.port())], &[]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    assert_eq!(ask(&mut client, get(NAME, "/", "")).status, 200);
    turned.store(true, Ordering::Relaxed);
    // What was resolved is held for a moment.
    eventually("the second answer", || (ask(&mut client, get(NAME, "/", "")).status == 502).then_some(()));
    gateway.wait_flow(|flow| flow["route"] == NAME && flow["outcome"] == "guard_denied");
    assert_eq!(trap.seen().peers.len(), 0);
    assert!(dns.asked("turning.test") >= 2);
}

#[test]
fn a_route_never_leads_back_to_the_gateway_by_address_or_by_name() {
    let dns = Dns::start(Ipv4Addr::LOCALHOST.into(), |_| Some(vec![Ipv4Addr::LOCALHOST.into()]));
    let gateway = production(&dns, "[\"127.0.0.0/8\"]");
    let api: SocketAddr = gateway.api().trim_start_matches("http://").split('/').next().unwrap().parse().unwrap();
    let own = ["inbound_http", "inbound_tls", "outbound_http", "outbound_socks"].map(|name| gateway.address(name));
    for (number, address) in own.into_iter().chain([api]).enumerate() {
        let direct = gateway.try_cli(&["route", "add", NAME, &format!("http://{address}"), "--mode", "terminate"]);
        assert!(String::from_utf8_lossy(&direct.stderr).contains("listener of this gateway"), "{direct:?}");
        let domain = format!("n{number}.test");
        route(&gateway, &domain, "terminate", &[&format!("http://me.test:{}", address.port())], &[]);
        assert_eq!(asked(&gateway, &domain), (508, "loop".into()), "{address}");
    }
}
