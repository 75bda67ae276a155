//! Several gateways on one PostgreSQL, and what becomes of traffic when that is in trouble.

mod ca;
mod writers;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tempfile::TempDir;
use test_postgres::Postgres;

use crate::{
    gateway::{Gateway, Setup, eventually},
    talk::{self, CONNECT, Said, Talk, socks_host},
    target::Target,
};

/// The master key that the gateways of a store share.
const KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";
/// How long a change at one gateway may take to reach another.
const SOON: Duration = Duration::from_secs(1);

pub fn setup(server: &Postgres, directory: &Path, name: &str) -> Setup {
    Setup::default()
        .data_dir(&directory.join(name))
        .env("MOORGATE_STORE_URL", server.url("postgres"))
        .env("MOORGATE_SECRETS_MASTER_KEY", KEY)
        .env("MOORGATE_CLUSTER_NAME", name)
}

/// The username and password of a new credential.
fn new_credential(gateway: &Gateway) -> (String, String) {
    let added = gateway.cli_json(&["credential", "add", "default"]);
    let text = |name: &str| added[name].as_str().unwrap().to_owned();
    (text("username"), text("password"))
}

/// Asks a gateway's HTTP proxy for the echo. The status, or what went wrong.
pub fn ask(gateway: SocketAddr, (user, password): &(String, String)) -> Result<u16, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&gateway, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let basic = STANDARD.encode(format!("{user}:{password}"));
        let head = format!(
            "GET http://echo.moorgate.internal/ HTTP/1.1\r\nHost: echo.moorgate.internal\r\n\
             Proxy-Authorization: Basic {basic}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(format!("{answer:?}"))
}

/// Requests through a gateway, one after the other, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn on(gateway: &Gateway, credential: (String, String)) -> Self {
        let (stop, done, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let (stopped, counter, failures): (_, _, Arc<Mutex<Vec<String>>>) =
            (stop.clone(), done.clone(), Arc::clone(&failed));
        let address = gateway.address("outbound_http");
        let thread = thread::spawn(move || {
            while !stopped.load(Relaxed) {
                match ask(address, &credential) {
                    Ok(200) => drop(counter.fetch_add(1, Relaxed)),
                    other => failures.lock().unwrap().push(format!("{other:?}")),
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, done, failed, thread: Some(thread) }
    }

    /// Waits for more of them to succeed.
    fn goes_on(&self) {
        let before = self.done.load(Relaxed);
        eventually("requests", || (self.done.load(Relaxed) > before + 20).then_some(()));
    }

    /// None of them failed.
    fn end(mut self) {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let failed = self.failed.lock().unwrap();
        assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), self.done.load(Relaxed), failed.first());
    }
}

pub fn soon(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within a second");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn three_gateways_serve_the_same_and_one_may_die() {
    let (server, directory) = (Postgres::start(), TempDir::new().unwrap());
    let start = |name: &str| setup(&server, directory.path(), name).start();
    let (one, two, three) = (start("one"), start("two"), start("three"));
    let credential = one.credential();
    for gateway in [&one, &two, &three] {
        assert_eq!(ask(gateway.address("outbound_http"), &credential), Ok(200));
    }
    let loads = [Load::on(&one, credential.clone()), Load::on(&two, credential.clone())];

    let made = new_credential(&three);
    for gateway in [&one, &two, &three] {
        soon("a new credential", || ask(gateway.address("outbound_http"), &made) == Ok(200));
    }
    two.cli(&["credential", "revoke", "default", &made.0]);
    for gateway in [&one, &two, &three] {
        soon("a revoked credential", || ask(gateway.address("outbound_http"), &made) == Ok(407));
    }
    one.cli(&["route", "add", "app.example.com", "http://127.0.0.1:9", "--mode", "terminate"]);
    soon("a route", || three.try_cli(&["route", "show", "app.example.com"]).status.success());

    three.signal("KILL");
    drop(three);
    let added = new_credential(&one);
    loads.iter().for_each(Load::goes_on);
    let three = start("three");
    assert_eq!(ask(three.address("outbound_http"), &added), Ok(200), "it missed nothing");
    let newest = one.cli_json(&["gateway", "show", "one"])["applied"].clone();
    let listed = eventually("three gateways that are up", || {
        let listed = one.cli_json(&["gateway", "list"]);
        let is_up = |gateway: &Value| gateway["health"] == "up" && gateway["applied"] == newest;
        listed.as_array().filter(|listed| listed.len() == 3 && listed.iter().all(is_up)).cloned()
    });
    let names: Vec<_> = listed.iter().map(|gateway| gateway["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "three", "two"]);
    let table = two.cli(&["gateway", "list"]);
    assert!(table.contains("three") && table.contains(env!("CARGO_PKG_VERSION")), "{table}");
    loads.into_iter().for_each(Load::end);
    assert!(one.cli(&["audit", "verify"]).contains("whole"));
}

#[test]
fn no_request_fails_while_the_store_is_killed_or_frozen() {
    let (mut server, directory) = (Postgres::start(), TempDir::new().unwrap());
    let one = setup(&server, directory.path(), "one").start();
    let credential = one.credential();
    eventually("a sealed copy", || one.data_dir().join("snapshot.sealed").exists().then_some(()));
    let load = Load::on(&one, credential.clone());
    let refused = |gateway: &Gateway| {
        let output = gateway.try_cli(&["account", "add", "acme"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("the store can't be used now"), "{said}");
    };

    server.kill();
    refused(&one);
    assert!(one.cli(&["account", "list"]).contains("default"), "what is known is still listed");
    let begun = Instant::now();
    // The same directory: it serves what was sealed there.
    one.signal("KILL");
    load.stop.store(true, Relaxed);
    drop(one);
    let one = setup(&server, directory.path(), "one").start();
    assert_eq!(ask(one.address("outbound_http"), &credential), Ok(200));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let load = Load::on(&one, credential);
    server.run();
    eventually("the store", || one.try_cli(&["account", "add", "acme"]).status.success().then_some(()));
    load.goes_on();

    server.freeze();
    refused(&one);
    load.goes_on();
    server.thaw();
    eventually("the store", || one.try_cli(&["account", "add", "more"]).status.success().then_some(()));
    load.end();
}

#[test]
fn nobody_reaches_another_gateway_or_the_database_through_one() {
    let (server, directory) = (Postgres::start(), TempDir::new().unwrap());
    let start = |name: &str| setup(&server, directory.path(), name).start();
    let one = start("one");
    let two = setup(&server, directory.path(), "two").env("MOORGATE_OUTBOUND_SOCKS", "0.0.0.0:0").start();
    let credential = one.credential();
    let elsewhere = Target::echo();
    // Loopback is open in this profile.
    let tunnel = |through: &Gateway, to: SocketAddr| {
        Talk::tunnel(through.address("outbound_http"), &credential, &to.to_string()).map(drop)
    };
    let console = |of: &Gateway| -> SocketAddr {
        of.api().trim_start_matches("http://").split('/').next().unwrap().parse().unwrap()
    };
    let is_refused = |through: &Gateway, to: SocketAddr, said: &str| match tunnel(through, to) {
        Ok(()) => false,
        Err(reply) => {
            let whole = format!("guard_denied: {to} is {said}, which nobody may reach through a gateway");
            assert!(reply.status == 403 && reply.body.contains(&whole), "{reply:?}");
            true
        }
    };
    let database = SocketAddr::from(([127, 0, 0, 1], server.port()));
    for gateway in [&one, &two] {
        assert!(is_refused(gateway, database, "the gateways' database"));
    }
    // Whoever came first hears of the other by its signs of life.
    for (through, of) in [(&two, &one), (&one, &two)] {
        for to in [console(of), of.address("outbound_http"), of.address("outbound_socks"), of.address("inbound_tls")] {
            eventually("a refusal", || is_refused(through, to, "a listener of another gateway").then_some(()));
            let explained = through.cli(&["explain", "default", &to.to_string()]);
            assert!(explained.contains("would be refused") && explained.contains("another gateway"), "{explained}");
        }
        tunnel(through, elsewhere.address).expect("another port of loopback");
        assert_eq!(tunnel(through, console(through)).unwrap_err().status, 508, "its own is a loop");
    }
    // A listener of every address is one at each of this machine's.
    let anywhere = SocketAddr::from(([127, 0, 0, 9], two.address("outbound_socks").port()));
    assert!(is_refused(&one, anywhere, "a listener of another gateway"));
    let (_, said) =
        talk::socks(one.address("outbound_socks"), &credential, CONNECT, &socks_host("127.0.0.1"), server.port());
    assert_eq!(said, Said::Reply(2));
}

/// Kills a gateway again and again while accounts are made through it; every one whose making was acknowledged is there
/// afterwards, and the audit log is whole.
fn survives_kills(start: impl Fn() -> Gateway) {
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..8_u64 {
        let gateway = start();
        let (api, token) = (gateway.api().trim_start_matches("http://").to_owned(), gateway.operator_token());
        let (began, first) = std::sync::mpsc::channel();
        let writer = thread::spawn(move || {
            let made = (0..10_000).map(|n| format!("r{round}-{n}"));
            let made = made.take_while(|name| add_account(&api, &token, name));
            // Whoever waits for the first needs no second word.
            made.inspect(|_| began.send(()).unwrap_or_default()).collect::<Vec<_>>()
        });
        // Another moment each time, from the first write on.
        first.recv_timeout(Duration::from_secs(20)).expect("something is written");
        thread::sleep(Duration::from_millis(37 * round));
        gateway.signal("KILL");
        drop(gateway);
        let made = writer.join().unwrap();
        assert!(!made.is_empty(), "nothing was written in round {round}");
        acknowledged.extend(made);
    }
    let gateway = start();
    let listed = gateway.cli_json(&["account", "list"]);
    let there: std::collections::HashSet<&str> =
        listed.as_array().unwrap().iter().map(|account| account["name"].as_str().unwrap()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !there.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    assert!(gateway.cli(&["audit", "verify"]).contains("whole"));
}

/// Makes an account. Whether that was acknowledged.
fn add_account(api: &str, token: &str, name: &str) -> bool {
    let made = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(api)?;
        let body = format!("{{\"name\":\"{name}\"}}");
        let head = format!(
            "POST /api/v1/accounts HTTP/1.1\r\nHost: {api}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 201"))
    };
    made().unwrap_or(false)
}

#[test]
fn kill_9_during_writes_loses_nothing_that_was_acknowledged() {
    let directory = TempDir::new().unwrap();
    survives_kills(|| Setup::default().data_dir(&directory.path().join("data")).start());
}

#[test]
fn kill_9_during_writes_loses_nothing_on_postgresql_either() {
    let (server, directory) = (Postgres::start(), TempDir::new().unwrap());
    survives_kills(|| setup(&server, directory.path(), "one").start());
}
