//! Several origins: load is shared, what fails is left alone and comes back, and nothing is sent twice that may not be.

use std::{io::Write, thread, time::Duration};

use test_ports::Port;

use super::support::{Client, TlsOrigin, ask, get, rest, route, tcp};
use crate::{
    gateway::{Gateway, eventually},
    target::{Target, ok},
};

const NAME: &str = "app.test";

#[test]
fn an_origin_that_refuses_is_passed_over_without_a_client_noticing_in_both_modes() {
    let gateway = Gateway::start();
    let kept = Port::keep();
    let closed = kept.address();
    let origin = Target::http(|_| ok("hi"));
    route(&gateway, NAME, "terminate", &[&format!("http://{closed}"), &format!("http://{}", origin.address)], &[]);
    for _ in 0..20 {
        let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
        assert_eq!(ask(&mut client, get(NAME, "/", "")).status, 200);
    }
    let shown = gateway.cli_json(&["route", "show", NAME]);
    let standing = |url: String| {
        let origins = shown["origins"].as_array().unwrap().clone();
        origins.into_iter().find(|origin| origin["url"] == url).unwrap()["standing"].clone()
    };
    assert_eq!(standing(format!("http://{closed}")), "ejected");
    assert_eq!(standing(format!("http://{}", origin.address)), "up");

    let secure = TlsOrigin::echo(&["p.test"]);
    route(&gateway, "p.test", "passthrough", &[&format!("tls://{closed}"), &format!("tls://{}", secure.address)], &[]);
    // While one is open, the other origin is the less loaded one, and so the first to be tried.
    let open: Vec<_> = (0..10).map(|_| secure.client().connect(gateway.address("inbound_tls"), "p.test")).collect();
    assert_eq!(secure.accepted(), 10);
    drop(open);
    let flow = gateway.wait_flow(|flow| flow["tries"] == 2 && flow["route"] == "p.test");
    assert_eq!(flow["origin"], format!("tls://{}", secure.address));
}

#[test]
fn weights_share_what_stays_open() {
    let gateway = Gateway::start();
    let (heavy, light) = (Target::echo(), Target::echo());
    let urls = [format!("tls://{},weight=3", heavy.address), format!("tls://{}", light.address)];
    route(&gateway, NAME, "passthrough", &[&urls[0], &urls[1]], &[]);
    let hello = Client::of(&gateway).hello(NAME);
    let open: Vec<_> = (0..80)
        .map(|_| {
            let mut client = tcp(gateway.address("inbound_tls"));
            client.write_all(&hello).unwrap();
            client
        })
        .collect();
    let counts = eventually("all of them", || {
        let counts = (heavy.seen().peers.len(), light.seen().peers.len());
        (counts.0 + counts.1 == open.len()).then_some(counts)
    });
    assert!((50..=70).contains(&counts.0), "{counts:?}");
}

#[test]
fn a_kept_connection_that_the_origin_closed_is_replaced_and_a_post_is_not_sent_twice() {
    let gateway = Gateway::start();
    // Closes each connection right after its second request came, without an answer.
    let origin = Target::new("127.0.0.1:0", |mut conn| {
        if conn.request().is_some() {
            conn.send(ok("hi"));
            conn.request();
        }
    });
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &[]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    for _ in 0..4 {
        assert_eq!(ask(&mut client, get(NAME, "/", "")).status, 200, "a GET is asked again over a new connection");
    }
    let posts = |origin: &Target| origin.seen().requests.iter().filter(|request| request.starts_with("POST")).count();
    let answer = ask(&mut client, format!("POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(answer.status, 502, "nobody knows whether it was acted upon");
    assert_eq!(posts(&origin), 1);
}

#[test]
fn checks_take_an_origin_out_and_bring_it_back_without_traffic() {
    let gateway = Gateway::start();
    let sick = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let healthy = sick.clone();
    let origin = Target::http(move |request| {
        let sick = healthy.load(std::sync::atomic::Ordering::Relaxed);
        if request.starts_with("GET /healthz ") && sick {
            "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n".into()
        } else {
            ok("hi")
        }
    });
    let other = Target::http(|_| ok("other"));
    let urls = [format!("http://{}", origin.address), format!("http://{}", other.address)];
    route(&gateway, NAME, "terminate", &[&urls[0], &urls[1]], &["--check-every", "1s", "--check-path", "/healthz"]);
    let standing = || gateway.cli_json(&["route", "show", NAME])["origins"][0]["standing"].clone();
    eventually("it is down", || (standing() == "down").then_some(()));
    for _ in 0..10 {
        let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
        assert_eq!(ask(&mut client, get(NAME, "/", "")).body, "other");
    }
    sick.store(false, std::sync::atomic::Ordering::Relaxed);
    eventually("it is back", || (standing() == "up").then_some(()));
    sick.store(true, std::sync::atomic::Ordering::Relaxed);
    eventually("it is down again", || (standing() == "down").then_some(()));
    gateway.cli(&["route", "set", NAME, "--check-every", "off"]);
    assert_eq!(standing(), "up", "what nobody looks at any more is not down for good");
}

#[test]
fn the_proxy_protocol_tells_the_origin_who_the_client_is() {
    let gateway = Gateway::start();
    for (domain, version) in [("one.test", "v1"), ("two.test", "v2")] {
        let (send, received) = std::sync::mpsc::channel();
        let send = std::sync::Mutex::new(send);
        let origin = Target::new("127.0.0.1:0", move |mut conn| {
            let mut bytes = vec![0; 256];
            thread::sleep(Duration::from_millis(200));
            let read = std::io::Read::read(&mut conn.stream, &mut bytes).unwrap();
            bytes.truncate(read);
            send.lock().unwrap().send(bytes).unwrap();
        });
        route(&gateway, domain, "passthrough", &[&format!("tls://{}", origin.address)], &["--proxy-protocol", version]);
        let mut client = tcp(gateway.address("inbound_tls"));
        client.write_all(&Client::of(&gateway).hello(domain)).unwrap();
        let bytes = received.recv_timeout(Duration::from_secs(20)).unwrap();
        let (us, port) = (client.local_addr().unwrap().port(), gateway.address("inbound_tls").port());
        if version == "v1" {
            let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {us} {port}\r\n");
            assert!(bytes.starts_with(line.as_bytes()), "{}", String::from_utf8_lossy(&bytes));
            assert_eq!(bytes[line.len()], 22, "then the hello");
        } else {
            assert!(bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11"), "{bytes:?}");
            assert!(crate::target::find(&bytes, &us.to_be_bytes()).is_some());
            assert!(crate::target::find(&bytes, domain.as_bytes()).is_some(), "the server name");
        }
        drop(rest(&mut client));
    }
}
