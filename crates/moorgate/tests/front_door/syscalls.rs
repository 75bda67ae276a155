//! How many system calls a connection and a long answer take, as strace counts them on the real program. Bounds, a little above what is
//! needed today: a change that makes connections dearer is seen whatever the machine's mood. Allocations are counted in
//! the test `cost`.

use std::{collections::BTreeMap, fs, path::Path, thread::sleep, time::Duration};

use tempfile::TempDir;

use crate::{
    gateway::{Gateway, Setup},
    inbound::support,
    talk::{Talk, socks_tunnel},
    target::{Conn, Target},
    tools::{run, tool},
};

/// What concerns sockets. How often it waits for them depends on the load; recvmsg is how it looks for its addresses.
const TRACED: &str = "trace=accept4,bind,close,connect,epoll_ctl,getpeername,getsockname,getsockopt,recvfrom,sendmsg,sendto,setsockopt,shutdown,socket,writev";

/// A gateway whose calls are written down, by a strace that is not its parent and ends with it.
struct Traced {
    gateway: Gateway,
    calls: TempDir,
}

impl Traced {
    fn start() -> Self {
        let calls = TempDir::new().unwrap();
        let file = calls.path().join("calls");
        let prefix = ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-e", TRACED, "-o", file.to_str().unwrap()];
        let gateway = Setup::default().behind(&prefix).env("MOORGATE_LOG_FLOWS", "off").start();
        Self { gateway, calls }
    }

    /// The calls of each of so many runs of `work`, by name, when there have been a fifth of them.
    fn count(&self, runs: usize, mut work: impl FnMut()) -> BTreeMap<String, f64> {
        let mut run = |count: usize| {
            (0..count).for_each(|_| work());
            // The gateway is done a little later than its client, and strace later still.
            sleep(Duration::from_millis(300));
            calls(&self.calls.path().join("calls"))
        };
        let before = run(runs.div_ceil(5));
        let after = run(runs);
        let each = |(name, count): (String, usize)| {
            let more = count - before.get(&name).copied().unwrap_or_default();
            (name, more as f64 / runs as f64)
        };
        after.into_iter().map(each).filter(|(_, each)| *each >= 0.1).collect()
    }
}

/// Lines of strace: `PID name(…) = …`; what another thread interrupts has a second line, with `resumed`.
fn calls(file: &Path) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap().lines().filter(|line| !line.contains(" resumed>")) {
        let call = line.split_once(' ').and_then(|(_, rest)| rest.trim_start().split_once('('));
        if let Some((name, _)) = call {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

#[test]
fn a_connection_takes_few_system_calls() {
    const CONNECTIONS: usize = 100;
    let traced = Traced::start();
    let gateway = &traced.gateway;
    let target = Target::new("127.0.0.1:0", |mut conn| {
        let mut piece = [0; 2048];
        let _ = std::io::Read::read(&mut conn.stream, &mut piece);
        conn.send([b'x'; 64]);
    });
    let url = format!("tls://{}", target.address);
    support::route(gateway, "passed.test", "passthrough", &[&url], &[]);
    let hello = support::Client::of(gateway).hello("passed.test");
    let (credential, at) = (gateway.credential(), target.address.to_string());
    let [inbound, http, socks] = ["inbound_tls", "outbound_http", "outbound_socks"].map(|name| gateway.address(name));

    let ended = |mut talk: Talk| assert_eq!(talk.rest().0, [b'x'; 64]);
    let passthrough = traced.count(CONNECTIONS, || {
        let mut talk = Talk::to(inbound);
        talk.send(&hello);
        ended(talk);
    });
    let connect = traced.count(CONNECTIONS, || {
        let mut talk = Talk::tunnel(http, &credential, &at).unwrap();
        talk.send("ask");
        ended(talk);
    });
    let socks = traced.count(CONNECTIONS, || {
        let mut talk = socks_tunnel(socks, &credential, &at).unwrap();
        talk.send("ask");
        ended(talk);
    });
    for (way, calls, most) in [("passthrough", passthrough, 18.5), ("CONNECT", connect, 20.5), ("SOCKS5", socks, 24.5)]
    {
        let all: f64 = calls.values().sum();
        assert!(all <= most, "{way}: {all:.1} system calls for each connection, at most {most}: {calls:.1?}");
    }
}

#[test]
fn a_long_answer_takes_few_system_calls() {
    const MIB: usize = 1024 * 1024;
    let traced = Traced::start();
    let gateway = &traced.gateway;
    let origin = Target::new("127.0.0.1:0", |mut conn: Conn| {
        let body = vec![b'x'; MIB];
        while conn.request().is_some() {
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {MIB}\r\n\r\n"));
            conn.send(&body);
        }
    });
    support::route(gateway, "long.test", "terminate", &[&format!("http://{}", origin.address)], &[]);
    let to = format!("long.test:443:{}", gateway.address("inbound_tls"));
    for version in ["--http1.1", "--http2"] {
        // One connection for all of them.
        const ANSWERS: usize = 20;
        let calls = traced.count(1, || {
            let mut curl = tool("curl");
            curl.args(["-sS", version, "-o", "/dev/null", "-w", "%{size_download} ", "--connect-to", &to, "--cacert"]);
            let said = run(curl.arg(gateway.ca()).arg(format!("https://long.test/[1-{ANSWERS}]")));
            assert_eq!(said, format!("{MIB} ").repeat(ANSWERS));
        });
        let all = calls.values().sum::<f64>() / ANSWERS as f64;
        assert!(all <= 48.0, "{version}: {all:.1} system calls for each MiB: {calls:?}");
    }
}
