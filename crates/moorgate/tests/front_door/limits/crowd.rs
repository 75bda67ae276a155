//! More clients than there is room for.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{net::TcpSocket, task::JoinSet, time::sleep};

use super::{api, setup, start};
use crate::{
    doors::{Destination, Door, Doors, Early, Refused, STUCK, Side, Wire, flow},
    gateway::{Gateway, eventually, raise_descriptors},
    talk::metric,
};

const CROWD: usize = 1_000;

fn full(door: Door) -> Refused {
    match door {
        Door::Http => Refused::Http(503, "full".to_owned()),
        Door::Socks => Refused::Socks(1),
        _ => Refused::Closed,
    }
}

/// Opens a tunnel as soon as there is a place for it.
async fn open_soon(doors: &Doors, door: Door, target: SocketAddr) -> Side {
    let end = Instant::now() + STUCK;
    loop {
        match doors.open(door, target).await {
            Ok(side) => return side,
            Err(refused) => assert!(Instant::now() < end, "{door:?}: still {refused:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_gateway_says_so_and_takes_the_next_client_when_one_leaves() {
    let (gateway, doors) = start(&[("CONNECTIONS", "5")]);
    let echo = Destination::bind().await.echo();
    for door in Door::ALL {
        let mut held = Vec::new();
        for other in Door::ALL {
            held.push(open_soon(&doors, other, echo).await);
        }
        assert_eq!(doors.open(door, echo).await.err(), Some(full(door)), "{door:?}");
        for side in held {
            side.close().await;
        }
    }
    for door in Door::ALL {
        open_soon(&doors, door, echo).await.close().await;
        flow(&gateway, "full", |flow| flow["outcome"] == "full" && flow["listener"] == door.listener()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_at_its_limit_is_told_so_and_keeps_what_it_has() {
    let (gateway, doors) = start(&[("CONNECTIONS_PER_ACCOUNT", "5")]);
    let echo = Destination::bind().await.echo();
    let mut held = Vec::new();
    for door in Door::ALL {
        held.push(doors.open(door, echo).await.unwrap());
    }
    for door in Door::ALL {
        let refused = if door.is_socks() { Refused::Socks(2) } else { Refused::Http(429, "quota_spent".to_owned()) };
        assert_eq!(doors.open(door, echo).await.err(), Some(refused), "{door:?}");
    }
    flow(&gateway, "quota_spent", |flow| flow["outcome"] == "quota_spent").await;
    for mut side in held {
        side.writer.write_all(b"mine").await.unwrap();
        assert_eq!(side.reader.exactly(4).await.unwrap(), b"mine");
        side.close().await;
    }
    open_soon(&doors, Door::Http, echo).await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_of_one_address_keep_out_only_more_of_themselves() {
    let (gateway, doors) = start(&[("UNAUTHENTICATED_PER_CLIENT", "4")]);
    let echo = Destination::bind().await.echo();
    // Whoever has authenticated does not count.
    let mut known = Vec::new();
    for door in Door::ALL {
        known.push(open_soon(&doors, door, echo).await);
    }
    let mut strangers = Vec::new();
    for door in [Door::Http, Door::Socks, Door::HttpsH1, Door::SocksTls] {
        strangers.push(doors.tcp(door).await.unwrap());
    }
    // The workers take what comes in any order: whoever came now might be accepted before the strangers.
    eventually("the strangers", || {
        (metric(&gateway, "moorgate_open_connections", &["outbound"]) == (known.len() + strangers.len()) as u64)
            .then_some(())
    });
    for door in Door::ALL {
        assert_eq!(doors.open(door, echo).await.err(), Some(full(door)), "{door:?}");
    }
    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let elsewhere = Wire::bare(elsewhere.connect(doors.address(Door::Http)).await.unwrap());
    let other = doors.connect(elsewhere, &echo.to_string(), Early::default()).await;
    other.expect("another address has room").close().await;
    for mut side in known {
        side.writer.write_all(b"mine").await.unwrap();
        assert_eq!(side.reader.exactly(4).await.unwrap(), b"mine");
    }
    drop(strangers);
    for door in Door::ALL {
        open_soon(&doors, door, echo).await.close().await;
    }
}

/// Processor time used so far, in hundredths of a second (`USER_HZ`).
fn processor_time(gateway: &Gateway) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).unwrap();
    // Fields 14 and 15 of proc_pid_stat(5), counted behind the name, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

async fn assert_idle(gateway: &Gateway, when: &str) {
    let mut used = 0;
    // What was under way may still be put away: it must come to rest, and soon.
    for _ in 0..10 {
        let before = processor_time(gateway);
        sleep(Duration::from_secs(1)).await;
        used = processor_time(gateway) - before;
        if used <= 5 {
            return;
        }
    }
    panic!("{when}: the gateway uses {used} % of a processor with nothing to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_and_256_descriptors_the_excess_is_refused_and_health_answers_throughout() {
    raise_descriptors();
    let gateway = Arc::new(setup().behind(&["prlimit", "--nofile=256:256"]).start());
    let doors = Doors::of(&gateway);
    let echo = Destination::bind().await.echo();
    let over = Arc::new(AtomicBool::new(false));
    let (watched, until) = (gateway.clone(), over.clone());
    let health = tokio::spawn(async move {
        let mut asked = 0;
        while !until.load(Relaxed) {
            assert_eq!(api(&watched, "/healthz").await.expect("/healthz answers"), 200);
            asked += 1;
            sleep(Duration::from_millis(50)).await;
        }
        asked
    });
    let mut crowd = JoinSet::new();
    for door in Door::ALL.into_iter().cycle().take(CROWD) {
        let doors = doors.clone();
        crowd.spawn(async move { (door, doors.open(door, echo).await) });
    }
    let (mut held, mut refused) = (Vec::new(), 0);
    while let Some(came) = crowd.join_next().await {
        let (door, opened) = came.unwrap();
        match opened {
            Ok(side) => held.push(side),
            Err(refusal) => {
                // A connection that got in may find no descriptor for its target: that is said inside TLS too.
                let within = match door {
                    Door::SocksTls => Refused::Socks(1),
                    _ => Refused::Http(503, "full".to_owned()),
                };
                assert!(refusal == full(door) || (door.is_tls() && refusal == within), "{door:?}: {refusal:?}");
                refused += 1;
            }
        }
    }
    assert!(held.len() > 20 && held.len() < 128, "{} tunnels with 256 descriptors", held.len());
    assert_eq!(held.len() + refused, CROWD);
    assert_idle(&gateway, "full").await;
    for side in &mut held {
        side.writer.write_all(b"mine").await.unwrap();
        assert_eq!(side.reader.exactly(4).await.unwrap(), b"mine");
    }
    drop(held);
    for door in Door::ALL {
        open_soon(&doors, door, echo).await.close().await;
    }
    assert_idle(&gateway, "afterwards").await;
    over.store(true, Relaxed);
    assert!(health.await.unwrap() > 10);
    assert!(!gateway.stderr().contains("panicked"), "{}", gateway.stderr());
}
