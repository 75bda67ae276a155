//! Limits: whoever stalls or comes in crowds is told so and dropped, and everybody else notices nothing.

mod crowd;
mod drain;
mod refusal;
pub mod stall;
mod streams;

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    dns::Dns,
    doors::{Destination, Door, Doors, End, Open, Refused, Wire, flow, flow_to, said},
    gateway::{Gateway, Setup},
    target::Target,
};

fn setup() -> Setup {
    Setup::default().env("MOORGATE_LOG_FORMAT", "json")
}

fn start(limits: &[(&str, &str)]) -> (Gateway, Doors) {
    let with = |setup: Setup, (key, value): &(&str, &str)| setup.env(&format!("MOORGATE_LIMITS_{key}"), *value);
    let gateway = limits.iter().fold(setup(), with).start();
    let doors = Doors::of(&gateway);
    (gateway, doors)
}

/// ±1 s around the limit, since `began`.
fn assert_at(limit: Duration, began: Instant, case: &str) {
    let (after, second) = (began.elapsed(), Duration::from_secs(1));
    assert!(after + second >= limit && after <= limit + second, "{case}: dropped after {after:?}, not {limit:?}");
}

/// The status of a GET on the console's listener.
async fn api(gateway: &Gateway, path: &str) -> std::io::Result<u16> {
    let host = gateway.api().trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let got = timeout(Duration::from_secs(10), async {
        let mut stream = TcpStream::connect(&host).await?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let head = crate::doors::response(&mut stream).await;
        head.map(|(status, ..)| status).ok_or(ErrorKind::UnexpectedEof.into())
    });
    got.await.unwrap_or(Err(ErrorKind::TimedOut.into()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_long_gets_431_and_the_longest_that_is_not_gets_through() {
    let (gateway, doors) = start(&[]);
    let echo = Destination::bind().await.echo().to_string();
    let fields = |count: usize, len: usize| (0..count).map(move |n| (format!("x-{n}"), "v".repeat(len)));
    // Host and Proxy-Authorization are fields too.
    let cases = [(98, 1, true), (99, 1, false), (31, 1000, true), (33, 1000, false)];
    for door in [Door::Http, Door::HttpsH1, Door::HttpsH2] {
        for (count, len, fits) in cases {
            let (client, opened) = if door == Door::HttpsH2 {
                let h2 = doors.h2().await.unwrap();
                let request = h2.request(Method::CONNECT, &echo).header("host", &echo);
                let request = fields(count, len).fold(request, |request, (name, value)| request.header(name, value));
                let (response, _send) = h2.requests.clone().send_request(request.body(()).unwrap(), false).unwrap();
                (h2.local(), said(response.await).await.map(drop))
            } else {
                let wire = doors.wire(door).await.unwrap();
                let client = wire.local();
                let more: String = fields(count, len).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let head = doors.connect_head(&echo);
                let request = head.trim_end().to_owned() + "\r\n" + &more + "\r\n";
                (client, raw(wire, &request).await.map(drop))
            };
            let case = format!("{door:?}, {count} fields of {len} bytes");
            if fits {
                assert_eq!(opened, Ok(()), "{case}");
                continue;
            }
            assert_eq!(opened, Err(Refused::Http(431, "head_too_long".to_owned())), "{case}");
            let client = client.to_string();
            flow(&gateway, &case, |flow| flow["client"] == client && flow["outcome"] == "head_too_long").await;
        }
    }
}

/// Sends a head as it is; what is answered.
async fn raw(mut wire: Wire, head: &str) -> Result<Wire, Refused> {
    wire.stream.write_all(head.as_bytes()).await.map_err(|_| Refused::Closed)?;
    let (status, _, mut body) = crate::doors::response(&mut wire.stream).await.ok_or(Refused::Closed)?;
    if status == 200 {
        return Ok(wire);
    }
    let _ = wire.stream.read_to_end(&mut body).await;
    Err(Refused::Http(status, crate::doors::code_of(&body)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_tunnel_is_cut_at_its_limit_and_a_busy_one_is_not() {
    let (gateway, doors) = start(&[("IDLE_TUNNEL", "2s")]);
    let limit = Duration::from_secs(2);
    let mut busy_ones = JoinSet::new();
    for door in Door::ALL {
        let doors = doors.clone();
        // One way is enough to be busy, and so little of it.
        busy_ones.spawn(async move {
            let Open { mut client, mut target, .. } = Open::through(&doors, door).await;
            for _ in 0..8 {
                client.writer.write_all(b"a").await.unwrap();
                assert_eq!(target.reader.exactly(1).await.unwrap(), b"a");
                sleep(limit / 3).await;
            }
            client.writer.finish().await.unwrap();
            assert_eq!(target.close().await, b"");
            assert_eq!(client.reader.read_to_end().await, (vec![], End::Fin));
        });
    }
    for door in Door::ALL {
        let Open { mut client, mut target, asked } = Open::through(&doors, door).await;
        target.writer.write_all(b"a").await.unwrap();
        assert_eq!(client.reader.exactly(1).await.unwrap(), b"a");
        let began = Instant::now();
        assert_eq!(client.reader.read_to_end().await, (vec![], End::Reset), "{door:?}");
        assert_at(limit, began, &format!("{door:?}"));
        assert_eq!(target.reader.read_to_end().await, (vec![], End::Reset), "{door:?}");
        assert_eq!(flow_to(&gateway, &asked).await["outcome"], "idle", "{door:?}");
    }
    while let Some(busy) = busy_ones.join_next().await {
        busy.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_no_resolver_answers_is_given_up_at_the_limit() {
    // It takes every query and answers none.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = silent.local_addr().unwrap().to_string();
    let gateway = setup().env("MOORGATE_RESOLVER_SERVERS", resolver).env("MOORGATE_LIMITS_RESOLVE", "1s").start();
    let doors = Doors::of(&gateway);
    for (door, refused) in
        [(Door::Http, Refused::Http(502, "name_not_resolved".to_owned())), (Door::Socks, Refused::Socks(4))]
    {
        let began = Instant::now();
        let answer = doors.open(door, &format!("{}.example:80", door as u8 + b'a')).await.err();
        assert_eq!(answer, Some(refused), "{door:?}");
        assert_at(Duration::from_secs(1), began, &format!("{door:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_names_addresses_the_first_32_are_tried_and_no_other() {
    let target = Target::new("127.0.53.1:0", drop);
    let port = target.address.port();
    // Forty addresses; the target's is the one that the name says.
    let dns = Dns::start(Ipv4Addr::LOCALHOST.into(), |question| {
        let at: u8 = question.name.strip_suffix(".test")?.parse().ok()?;
        let address = |n| IpAddr::from(if n == at { [127, 0, 53, 1] } else { [127, 0, 54, n] });
        Some((1..=40).map(address).collect())
    });
    let gateway = setup().env("MOORGATE_RESOLVER_SERVERS", dns.address.to_string()).start();
    let doors = Doors::of(&gateway);
    for door in Door::ALL {
        let asked = format!("32.test:{port}");
        doors.open(door, &asked).await.unwrap_or_else(|refused| panic!("{door:?}: {refused:?}"));
        let beyond = format!("33.test:{port}");
        let refused =
            if door.is_socks() { Refused::Socks(5) } else { Refused::Http(502, "connection_refused".to_owned()) };
        assert_eq!(doors.open(door, &beyond).await.err(), Some(refused), "{door:?}");
        for asked in [asked, beyond] {
            let tries = flow(&gateway, &asked, |flow| flow["target"] == *asked && flow["listener"] == door.listener());
            assert_eq!(tries.await["tries"], 32, "{door:?}: {asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_hello_of_more_than_64_kib_is_refused_at_once() {
    let (gateway, doors) = start(&[]);
    for door in [Door::HttpsH1, Door::SocksTls] {
        let mut wire = doors.tcp(door).await.unwrap();
        let client = wire.local().to_string();
        let began = Instant::now();
        // A handshake message whose head says 64 KiB, in one record of 1 KiB: the rest is not waited for.
        let hello = [&[22, 3, 1, 4, 0, 1, 1, 0, 0][..], &[0; 1020]].concat();
        wire.stream.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        wire.stream.read_to_end(&mut answer).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{door:?}: after {:?}", began.elapsed());
        flow(&gateway, &client, |flow| flow["client"] == client && flow["outcome"] == "handshake_failed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_socks_conversation_that_can_be_written_is_read_to_its_end() {
    let (_gateway, doors) = start(&[]);
    let greeting = [&[5, 255, 2][..], &[0; 254]].concat();
    let sized = |byte: u8| [&[255][..], &[byte; 255]].concat();
    let long_password = [vec![1], sized(b'u'), sized(b'p')].concat();
    let request = [&[5, 1, 0, 3][..], &sized(b'n'), &[0, 80]].concat();
    assert_eq!(greeting.len() + long_password.len() + request.len(), 1_032);
    let [_, password, _] = doors.socks_messages("127.0.0.1:9");
    for door in [Door::Socks, Door::SocksTls] {
        for (password, answer) in [
            (&long_password, &[5, 2, 1, 1][..]),
            // With the right one the name is looked at, and found to be none: it has 255 letters.
            (&password, &[5, 2, 1, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0]),
        ] {
            let mut wire = doors.wire(door).await.unwrap();
            wire.stream.write_all(&[&*greeting, password, &request].concat()).await.unwrap();
            wire.stream.flush().await.unwrap();
            let mut got = Vec::new();
            wire.stream.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, answer, "{door:?}");
        }
    }
}
