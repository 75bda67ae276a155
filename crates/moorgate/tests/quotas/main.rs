//! Quotas, the pace and what binds a credential, through the sockets of a data plane in this process: what clients get,
//! and what is reported.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, dead_code)]

#[path = "../cost/house.rs"]
mod house;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use house::{ANSWER, House, PASSWORD, USER, Way};
use moorgate_contract::{
    account::{Account, Credential},
    flow::EndedFlow,
    outcome::Outcome,
    quota::{OWN_MONTH, Quota, Quotas},
    snapshot::Snapshot,
    time::Timestamp,
    usage::{Report, Usage},
};

/// What was reported, and the flows of it.
struct Reported {
    flows: mpsc::Receiver<EndedFlow>,
    usage: Arc<Mutex<Usage>>,
}

fn house(edit: impl FnOnce(&mut Snapshot)) -> (House, Reported) {
    let (send, flows) = mpsc::channel();
    let usage = Arc::<Mutex<Usage>>::default();
    let counted = usage.clone();
    let sink = Arc::new(move |report| {
        counted.lock().unwrap().report(&report);
        if let Report::Flow(flow) = report {
            let _ = send.send(flow);
        }
    });
    (House::with(edit, sink), Reported { flows, usage })
}

fn with_quotas(quotas: Quotas) -> (House, Reported) {
    house(|snapshot| {
        let acme = Account::clone(snapshot.account("acme").unwrap());
        snapshot.put_account(Account { quota: Some(Arc::new(Quota::new(quotas, now().after(OWN_MONTH)))), ..acme });
    })
}

fn with_credential(edit: impl FnOnce(&mut Credential)) -> (House, Reported) {
    house(|snapshot| {
        let mut credential = Credential::clone(snapshot.credential(USER).unwrap());
        edit(&mut credential);
        snapshot.put_credential(credential);
    })
}

impl House {
    fn at(&self, way: Way) -> SocketAddr {
        match way {
            Way::Passthrough => self.passthrough,
            Way::Connect => self.connect,
            Way::Socks => self.socks,
        }
    }

    fn tunnel(&self, way: Way) -> TcpStream {
        way.open(self.at(way), &way.script(USER, PASSWORD, self.origin))
    }

    /// All that comes back for what a client says, until the connection ends.
    fn refused(&self, way: Way) -> Vec<u8> {
        let mut client = TcpStream::connect(self.at(way)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        for (said, _) in way.script(USER, PASSWORD, self.origin) {
            client.write_all(&said).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
        let mut answer = Vec::new();
        // A reset behind the answer is an end as well.
        let _ = client.read_to_end(&mut answer);
        answer
    }

    fn get(&self) -> String {
        let mut client = TcpStream::connect(self.http).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: read.test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

#[test]
fn a_spent_quota_is_said_at_every_door_with_when_to_come_again() {
    let (house, _) = with_quotas(Quotas { requests_per_month: Some(1), ..Quotas::default() });
    let _first = house.tunnel(Way::Connect);
    for answer in [String::from_utf8(house.refused(Way::Connect)).unwrap(), house.get()] {
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        let after = answer.split_once("\r\nretry-after: ").unwrap().1.split_once('\r').unwrap().0;
        assert!((2_600_000..=2_678_400).contains(&after.parse::<u32>().unwrap()), "{after}");
        assert!(answer.contains("quota_spent"), "{answer}");
    }
    let own = String::from_utf8(house.refused(Way::Connect)).unwrap();
    assert!(own.contains("account acme has spent its quota of 1 requests per month; free again in 31 days"), "{own}");
    let socks = house.refused(Way::Socks);
    assert_eq!(socks[..6], [5, 2, 1, 0, 5, 2], "method, password, and not allowed");
    assert_eq!(house.refused(Way::Passthrough), b"");
}

#[test]
fn a_tunnel_beyond_the_months_bytes_is_cut_and_every_byte_of_it_is_counted_once() {
    let (house, reported) = with_quotas(Quotas { bytes_per_month: Some(1_000_000), ..Quotas::default() });
    let mut client = house.tunnel(Way::Socks);
    client.write_all(b"u").unwrap();
    let piece = [b'u'; 64 * 1024];
    let began = Instant::now();
    while client.write_all(&piece).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "it is never cut");
        thread::sleep(Duration::from_millis(10));
    }
    let flow = reported.flows.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(flow.outcome.code(), "over_quota");
    assert!(flow.bytes_up >= 1_000_000 && flow.unreported_up < flow.bytes_up, "{flow:?}");
    let counted = reported.usage.lock().unwrap().take();
    let (up, connections) =
        counted.iter().fold((0, 0), |(up, all), (_, counts)| (up + counts.bytes_up, all + counts.connections));
    assert_eq!((up, connections), (flow.bytes_up, 1));
    assert_eq!(counted[0].0.host.as_deref(), Some("127.0.0.1"));
    assert!(String::from_utf8(house.refused(Way::Connect)).unwrap().contains("1 MB per month"));
}

#[test]
fn tunnels_share_their_accounts_pace_and_still_end_as_they_should() {
    const RATE: u64 = 400_000;
    let (house, reported) = with_quotas(Quotas { bytes_per_second: Some(RATE), ..Quotas::default() });
    let began = Instant::now();
    let send = |way, bytes: usize| {
        let mut client = house.tunnel(way);
        thread::spawn(move || {
            client.write_all(b"u").unwrap();
            client.write_all(&vec![b'u'; bytes]).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, ANSWER, "a half-closed client still gets its answer");
            began.elapsed()
        })
    };
    // The origin serves one after the other.
    let took = send(Way::Connect, 500_000).join().unwrap();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(6), "{took:?}");
    assert_eq!(reported.flows.recv().unwrap().outcome, Outcome::Ok);
    // One that waits for its turn is seen to break off, long before all that it sent has gone on: what it was sent and did
    // not read makes its end a reset.
    let mut fat = house.tunnel(Way::Passthrough);
    fat.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let _ = fat.write_all(&vec![b'e'; 4_000_000]);
    thread::sleep(Duration::from_millis(500));
    drop(fat);
    let flow = reported.flows.recv_timeout(Duration::from_secs(4)).unwrap();
    assert_eq!(flow.outcome.code(), "reset_by_client");
    let answer = house.get();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
}

#[test]
fn a_credential_is_of_no_use_from_elsewhere_and_its_owner_is_told() {
    let (house, reported) = with_credential(|credential| credential.clients = vec!["192.0.2.0/24".parse().unwrap()]);
    let answer = String::from_utf8(house.refused(Way::Connect)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("client_denied") && answer.contains("\"user\" is not for 127.0.0.1"), "{answer}");
    assert_eq!(house.refused(Way::Socks)[..4], [5, 2, 1, 1]);
    let flow = reported.flows.recv().unwrap();
    assert_eq!((flow.account.as_deref(), flow.outcome.code()), (Some("acme"), "client_denied"));
    let _inbound = house.tunnel(Way::Passthrough);
}

#[test]
fn a_credential_that_expires_takes_its_open_tunnels_with_it() {
    let expires = now().after(Duration::from_secs(2));
    let (house, reported) = with_credential(|credential| credential.expires = Some(expires));
    let mut client = house.tunnel(Way::Connect);
    let began = Instant::now();
    assert!(client.read(&mut [0; 1]).is_err(), "cut, not ended");
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(reported.flows.recv().unwrap().outcome.code(), "revoked");
    let answer = String::from_utf8(house.refused(Way::Connect)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 407 ") && answer.contains("has expired"), "{answer}");
    assert_eq!(house.refused(Way::Socks)[..4], [5, 2, 1, 1]);
}
