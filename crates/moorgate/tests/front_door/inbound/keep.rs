//! What is kept for later and what is let go: connections to origins, and clients that have left.

use std::{
    io::Write as _,
    net::Shutdown,
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use super::support::{Client, answer, ask, chunk, get, head, route, tcp};
use crate::{
    gateway::{Gateway, Setup, eventually},
    talk::Talk,
    target::{Target, ok},
};

const NAME: &str = "app.test";

#[test]
fn a_connection_to_an_origin_that_nobody_uses_is_closed_without_any_traffic() {
    let gateway = Setup::default().env("MOORGATE_LIMITS_IDLE_REQUEST", "1s").start();
    let (send, closed) = mpsc::channel();
    let send = Mutex::new(send);
    let origin = Target::new("127.0.0.1:0", move |mut conn| {
        while conn.request().is_some() {
            conn.send(ok("hi"));
        }
        send.lock().unwrap().send(()).unwrap();
    });
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &[]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    assert_eq!(ask(&mut client, get(NAME, "/", "")).status, 200);
    closed.recv_timeout(Duration::from_secs(20)).expect("the origin sees its connection closed");
}

/// An origin whose response has begun and says nothing more, until it is left.
fn silent() -> Target {
    Target::new("127.0.0.1:0", |mut conn| {
        conn.head();
        conn.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n: \r\n",
        );
        conn.head();
    })
}

#[test]
fn a_client_that_leaves_a_silent_stream_in_good_order_is_seen() {
    let gateway = Gateway::start();
    route(&gateway, NAME, "terminate", &[&format!("http://{}", silent().address)], &["--http", "forward"]);
    let mut secure = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    secure.write_all(get(NAME, "/events", "").as_bytes()).unwrap();
    assert!(head(&mut secure).starts_with("HTTP/1.1 200 "));
    assert_eq!(chunk(&mut secure).unwrap().unwrap(), b": ");
    secure.conn.send_close_notify();
    secure.conn.complete_io(&mut secure.sock).unwrap();
    let left = |listener: &'static str| {
        gateway.wait_flow(move |flow| flow["listener"] == listener && flow["outcome"] == "reset_by_client");
    };
    left("inbound_tls");

    let mut plain = Talk::to(gateway.address("inbound_http"));
    plain.send(get(NAME, "/events", ""));
    eventually("its flow is open", || {
        (gateway.cli_json(&["route", "show", NAME])["origins"][0]["open"] == 1).then_some(())
    });
    drop(plain);
    left("inbound_http");
}

#[test]
fn a_client_that_left_before_the_stream_began_is_seen_when_it_begins() {
    let gateway = Gateway::start();
    let (asked, answering) = mpsc::channel();
    let origin = Target::new("127.0.0.1:0", move |mut conn| {
        conn.head();
        asked.send(()).unwrap();
        thread::sleep(Duration::from_millis(300));
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        conn.head();
    });
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &["--http", "forward"]);
    let mut plain = tcp(gateway.address("inbound_http"));
    plain.write_all(get(NAME, "/events", "").as_bytes()).unwrap();
    answering.recv().unwrap();
    // Its socket stays open, so that no reset tells of it.
    plain.shutdown(Shutdown::Write).unwrap();
    gateway.wait_flow(|flow| flow["outcome"] == "reset_by_client");
}

#[test]
fn a_client_that_only_finishes_its_side_still_gets_its_answer() {
    let gateway = Gateway::start();
    let origin = Target::http(|_| {
        thread::sleep(Duration::from_millis(300));
        ok("late")
    });
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &["--http", "forward"]);
    let mut plain = tcp(gateway.address("inbound_http"));
    plain.write_all(get(NAME, "/", "").as_bytes()).unwrap();
    plain.shutdown(Shutdown::Write).unwrap();
    assert_eq!(answer(&mut plain).body, "late");
}
