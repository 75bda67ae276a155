//! What is counted is what was moved, to the byte, by every door; and little of it is lost with the process.

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{account, credential};
use crate::{
    doors::{Destination, Door, Doors},
    gateway::{Gateway, Setup, eventually},
    inbound::support::{Client, ask, get, rest, route, tcp},
    talk::{self, Talk},
    target::{Target, ok},
};

/// Waits until a row of usage is as expected: flows are recorded after their clients have gone.
fn row(gateway: &Gateway, by: &str, name: &str, expected: [u64; 4]) {
    let counts =
        |row: &Value| ["requests", "connections", "bytes_up", "bytes_down"].map(|count| row[count].as_u64().unwrap());
    let rows = || gateway.cli_json(&["usage", "--by", by]);
    let found = || rows().as_array().unwrap().iter().find(|row| row[by] == name).map(counts);
    let mut last = None;
    let end = Instant::now() + Duration::from_secs(20);
    while last != Some(expected) {
        assert!(Instant::now() < end, "{by} {name}: {last:?} is not {expected:?} ({})", rows());
        last = found();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_are_counted_to_the_byte_through_every_door() {
    let gateway = Gateway::start();
    account(&gateway, "acme", &[]);
    let target = Destination::bind().await.echo();
    let mut sizes = Vec::new();
    for (door, size) in Door::ALL.into_iter().zip([1_000, 70_000, 33, 250_000, 1]) {
        let user = credential(&gateway, "acme", &[]);
        let mut tunnel = Doors::of(&gateway).with_credential(&user).open(door, target).await.unwrap();
        for _ in 0..2 {
            tunnel.writer.write_all(&vec![b'x'; size]).await.unwrap();
            assert_eq!(tunnel.reader.exactly(size).await.unwrap().len(), size);
        }
        tunnel.close().await;
        sizes.push((user.0, 2 * size as u64));
    }
    for (username, bytes) in &sizes {
        row(&gateway, "credential", username, [0, 1, *bytes, *bytes]);
    }
    let all = sizes.iter().map(|(_, bytes)| bytes).sum();
    row(&gateway, "account", "acme", [0, 5, all, all]);
    row(&gateway, "host", "127.0.0.1", [0, 5, all, all]);
}

#[test]
fn exchanges_are_counted_as_what_went_to_the_target_and_came_from_it() {
    let gateway = Gateway::start();
    let target = Target::http(|_| ok(&"y".repeat(5_000)));
    let user = account(&gateway, "acme", &[]);
    let mut talk = Talk::to(gateway.address("outbound_http"));
    for _ in 0..3 {
        talk.send(talk::get(&user, &target.address.to_string(), "/", ""));
        assert_eq!(talk.reply().status, 200);
    }
    let (up, down) = (target.seen().bytes as u64, ok(&"y".repeat(5_000)).len() as u64);
    row(&gateway, "account", "acme", [3, 0, up, 3 * down]);
}

#[test]
fn inbound_traffic_is_its_routes_in_both_modes() {
    let gateway = Gateway::start();
    let app = Target::http(|_| ok(&"z".repeat(777)));
    // What it sends is none of the gateway's business: it is passed through.
    let bank = Target::new("127.0.0.1:0", |mut conn| {
        let _ = conn.stream.read(&mut [0; 16 * 1024]);
        let _ = conn.stream.write_all(&[7; 4_321]);
    });
    route(&gateway, "app.test", "terminate", &[&format!("http://{}", app.address)], &[]);
    route(&gateway, "bank.test", "passthrough", &[&format!("tls://{}", bank.address)], &[]);
    let address = gateway.address("inbound_tls");
    let mut client = Client::of(&gateway).connect(address, "app.test");
    assert_eq!(ask(&mut client, get("app.test", "/", "")).status, 200);
    let hello = Client::of(&gateway).hello("bank.test");
    let mut passed = tcp(address);
    passed.write_all(&hello).unwrap();
    assert_eq!(rest(&mut passed).len(), 4_321);
    drop(passed);
    let down = ok(&"z".repeat(777)).len() as u64;
    row(&gateway, "route", "app.test", [1, 0, app.seen().bytes as u64, down]);
    row(&gateway, "route", "bank.test", [0, 1, hello.len() as u64, 4_321]);
}

#[test]
fn refusals_are_counted_and_no_bytes_with_them() {
    let gateway = Gateway::start();
    let user = account(&gateway, "acme", &[]);
    let target = Target::echo().address.to_string();
    gateway.cli(&["policy", "set", "acme", "--deny", "127.0.0.1"]);
    for _ in 0..3 {
        assert!(Talk::tunnel(gateway.address("outbound_http"), &user, &target).is_err());
    }
    Talk::tunnel(gateway.address("outbound_http"), &user, "169.254.169.254:80").err().unwrap();
    let counted = eventually("four refusals", || {
        Some(gateway.cli_json(&["usage", "acme", "--by", "account"])).filter(|rows| rows[0]["refusals"] == 4)
    });
    assert_eq!(counted[0]["codes"], serde_json::json!({"guard_denied": 1, "policy_denied": 3}));
    row(&gateway, "account", "acme", [0, 0, 0, 0]);
}

#[test]
fn usage_is_read_by_people_spreadsheets_and_programs() {
    let gateway = Gateway::start();
    let nothing = gateway.try_cli(&["usage"]);
    assert!(nothing.status.success() && nothing.stdout.is_empty());
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("nothing was moved"), "{nothing:?}");
    assert_eq!(gateway.cli_json(&["usage"]), serde_json::json!([]));
    let target = Target::http(|_| ok(&"y".repeat(2_000_000)));
    let user = account(&gateway, "acme", &[]);
    let mut talk = Talk::to(gateway.address("outbound_http"));
    talk.send(talk::get(&user, &target.address.to_string(), "/", ""));
    assert_eq!(talk.reply().status, 200);
    drop(talk);
    row(&gateway, "account", "acme", [1, 0, target.seen().bytes as u64, ok(&"y".repeat(2_000_000)).len() as u64]);

    for args in [&["usage"][..], &["usage", "acme"], &["usage", "acme", "--since", "30d"]] {
        let text = gateway.cli(args);
        assert!(text.contains("1.9 MiB") && text.contains('#'), "{text}");
        assert!(text.is_ascii(), "not a terminal: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    let own = gateway.cli(&["usage", "acme"]);
    assert!(own.contains(&user.0) && own.contains("127.0.0.1"), "{own}");
    let csv = gateway.cli(&["usage", "acme", "--csv", "--by", "host"]);
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert!(lines[0].starts_with("hour,account,credential,route,host,egress,requests,connections,bytes_up,"), "{csv}");
    assert!(lines.len() == 3 && lines[1].starts_with(",acme,,,127.0.0.1,,1,0,"), "{csv}");
    let unknown = gateway.try_cli(&["usage", "nobody"]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("moorgate account list"), "{unknown:?}");
    let other = account(&gateway, "other", &[]);
    drop(other);
    let token = gateway.cli_json(&["token", "add", "other"])["token"].as_str().unwrap().to_owned();
    let (status, rows) = talk::api_as(&gateway, &token, "GET", "/api/v1/usage", None);
    assert_eq!((status, &*rows), (200, "[]"));
    assert_eq!(talk::api_as(&gateway, &token, "GET", "/api/v1/usage?account=acme", None).0, 404);
}

/// What a kill may cost at most.
const LOST: Duration = Duration::from_secs(2);

#[test]
fn a_gateway_that_is_killed_in_a_transfer_loses_two_seconds_of_usage_at_most() {
    let directory = tempfile::tempdir().unwrap();
    let start = || Setup::default().data_dir(directory.path()).start();
    let mut gateway = start();
    let user = account(&gateway, "acme", &[]);
    let target = Target::new("127.0.0.1:0", |mut conn| {
        while conn.stream.write_all(&[1; 10_000]).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let mut tunnel = Talk::tunnel(gateway.address("outbound_http"), &user, &target.address.to_string()).unwrap().tcp;
    let (begun, mut got) = (Instant::now(), vec![(Instant::now(), 0)]);
    let mut killed = None;
    let mut piece = [0; 64 * 1024];
    while let Ok(read @ 1..) = tunnel.read(&mut piece) {
        let (_, so_far) = got[got.len() - 1];
        got.push((Instant::now(), so_far + read as u64));
        if killed.is_none() && begun.elapsed() > Duration::from_secs(5) {
            gateway.signal("KILL");
            killed = Some(Instant::now());
        }
    }
    gateway.wait();
    drop(gateway);
    let killed = killed.expect("it ran until it was killed");
    let before = got.iter().take_while(|(at, _)| *at + LOST < killed).last().unwrap().1;
    let all = got.last().unwrap().1;
    let gateway = start();
    let counted = gateway.cli_json(&["usage", "acme"])[0]["bytes_down"].as_u64().expect("some of it is known");
    // What the gateway had read and its client had not is beyond what we saw.
    assert!(counted >= before, "{counted} of {all}, of which {before} came more than {LOST:?} before the end");
    assert!(counted <= all + (8 << 20), "{counted} of {all}");
}
