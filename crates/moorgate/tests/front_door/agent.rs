//! `moorgate agent`: programs that cannot speak TLS to a proxy, through a local port of theirs.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
};

use moorgate_keys::LocalCa;
use rustls::{ServerConnection, StreamOwned};
use tempfile::TempDir;
use test_ports::Port;
use test_postgres::Postgres;

use crate::{
    gateway::{Gateway, MOORGATE, eventually, follow},
    site::{HELLO, Site, digest, noise, tls},
    talk::{Reply, Talk, authorization, get, socks_host},
    target::{Target, find, ok},
    tools::{both, clean, outcome, run, tool},
};

/// `--via` and the listener it goes to.
const VIAS: [(&str, &str); 3] =
    [("static", "outbound_http"), ("shield", "outbound_https"), ("shield-socks", "outbound_socks_tls")];

/// A running agent without a command. Killed when dropped.
struct Agent {
    child: Child,
    /// Its proxy port, then what is mapped, in order.
    ports: Vec<SocketAddr>,
    err: Arc<Mutex<String>>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    fn start(env: &HashMap<String, String>, via: &str, maps: &[String]) -> Self {
        let mut command = clean(MOORGATE);
        command.args(["agent", "--via", via, "--listen", "127.0.0.1:0"]).envs(env);
        command.args(maps.iter().flat_map(|map| ["--map", map]));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let err = follow(child.stderr.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut port = || {
            let line = lines.next().expect("the agent says where it listens").unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let ports = (0..=maps.len()).map(|_| port()).collect();
        Self { child, ports, err }
    }

    fn of(gateway: &Gateway, via: &str) -> Self {
        Self::start(&gateway.env(), via, &[])
    }

    fn proxy(&self) -> SocketAddr {
        self.ports[0]
    }

    fn curl(&self, site: &Site) -> Command {
        let mut curl = tool("curl");
        curl.args(["--silent", "--show-error", "--fail", "--noproxy", "", "--cacert"]).arg(site.ca());
        curl
    }

    fn wait_said(&self, what: &str) -> String {
        eventually(what, || Some(self.err.lock().unwrap().clone()).filter(|said| said.contains(what)))
    }
}

/// A SOCKS5 conversation without a credential, up to the code of its reply.
fn local_socks(agent: SocketAddr, host: &str, port: u16) -> (Talk, u8) {
    let mut talk = Talk::to(agent);
    talk.send([5, 1, 0]);
    assert_eq!(talk.take(2).unwrap(), [5, 0]);
    talk.send([&[5, 1, 0], &*socks_host(host), &port.to_be_bytes()].concat());
    let reply = talk.take(10).unwrap()[1];
    (talk, reply)
}

fn local_connect(agent: SocketAddr, target: &str) -> Reply {
    let mut talk = Talk::to(agent);
    talk.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    talk.reply()
}

fn local_get(agent: SocketAddr, target: &str) -> Reply {
    let mut talk = Talk::to(agent);
    talk.send(format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    talk.reply()
}

#[test]
fn the_printed_line_works_in_a_shell_that_has_the_variables_and_in_one_that_has_not() {
    let gateway = Gateway::start();
    let line = format!("{MOORGATE} agent --via shield-socks -- curl http://echo.moorgate.internal/");
    let sourced = format!("set -a; . {}; set +a\n{line}", gateway.data_dir().join("default.env").display());
    let mut without = tool("sh");
    without.env("MOORGATE_DATA_DIR", gateway.data_dir());
    for (script, mut shell) in [(sourced, tool("sh")), (line, without)] {
        let said = run(shell.args(["-c", &script]));
        assert!(said.contains("through moorgate (Shield, SOCKS5 over TLS, account default)"), "{script}: {said}");
    }
}

#[test]
fn every_way_in_goes_on_by_every_via() {
    let (gateway, site) = (Gateway::start(), Site::start());
    for (via, listener) in VIAS {
        let agent = Agent::of(&gateway, via);
        for (scheme, tunnelled) in [("http", false), ("http", true), ("socks5h", false), ("socks5", false)] {
            for base in [site.http(), site.https()] {
                let url = format!("{base}/hello");
                let mut curl = agent.curl(&site);
                curl.args(["--proxy", &format!("{scheme}://{}", agent.proxy())]);
                if tunnelled {
                    curl.arg("--proxytunnel");
                }
                let said = run(curl.args([&url, &url]));
                assert_eq!(said, HELLO.repeat(2), "{scheme} to {url} via {via}");
            }
        }
        let arrived = site.take();
        assert_eq!(arrived.len(), 16, "{via}");
        for arrived in arrived {
            assert!(!arrived.head.to_ascii_lowercase().contains("\r\nproxy-"), "{via}: {}", arrived.head);
            assert_eq!(arrived.asked(), ("GET", "/hello"), "{via}");
        }
        assert!(gateway.flows().iter().any(|flow| flow["listener"] == listener), "{via} goes to {listener}");
        assert_eq!(*agent.err.lock().unwrap(), "", "{via}: nothing went wrong, so nothing is said");
    }
}

#[test]
fn large_bodies_pass_the_agent_unharmed_both_ways() {
    const LARGE: usize = 16 << 20;
    let (gateway, site) = (Gateway::start(), Site::start());
    let content = noise(LARGE);
    let (file, received) = (site.directory().join("up"), site.directory().join("down"));
    fs::write(&file, &content).unwrap();
    for (via, _) in VIAS {
        let agent = Agent::of(&gateway, via);
        for base in [site.http(), site.https()] {
            let curl = || {
                let mut curl = agent.curl(&site);
                curl.args(["--proxy", &format!("http://{}", agent.proxy())]);
                curl
            };
            let up = run(curl().arg("--upload-file").arg(&file).arg(format!("{base}/upload")));
            assert_eq!(up, digest(&content), "up to {base} via {via}");
            let chunked = ["--header", "Transfer-Encoding: chunked"];
            let up = run(curl().args(chunked).arg("--upload-file").arg(&file).arg(format!("{base}/upload")));
            assert_eq!(up, digest(&content), "in chunks to {base} via {via}");
            run(curl().arg("--output").arg(&received).arg(format!("{base}/bytes/{LARGE}")));
            assert!(fs::read(&received).unwrap() == content, "down from {base} via {via}");
        }
    }
}

#[test]
fn several_requests_of_one_local_connection_may_go_to_several_destinations() {
    let gateway = Gateway::start();
    let (one, two) = (Target::http(|_| ok("one")), Target::http(|_| ok("two")));
    for (via, _) in &VIAS[..2] {
        let agent = Agent::of(&gateway, via);
        let mut talk = Talk::to(agent.proxy());
        for (target, answer) in [(&one, "one"), (&two, "two"), (&one, "one")] {
            talk.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", target.address));
            assert_eq!(talk.reply().body, answer, "{via}");
        }
    }
}

/// An agent with a command, and what the command writes.
fn with_command(gateway: &Gateway, script: &str) -> (Child, BufReader<ChildStdout>) {
    let mut agent = clean(MOORGATE);
    agent.args(["agent", "--", "sh", "-c", script]).envs(gateway.env());
    let mut child = agent.stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

#[test]
fn signals_and_the_exit_code_are_passed_on() {
    let gateway = Gateway::start();
    for (script, signal, code) in [
        ("echo ready; exec sleep 60", Some("TERM"), 143),
        ("echo ready; exec sleep 60", Some("HUP"), 129),
        ("echo ready; exec sleep 60", Some("INT"), 130),
        ("trap 'exit 9' INT; echo ready; while :; do sleep 0.1; done", Some("INT"), 9),
        ("trap 'exit 8' TERM; echo ready; while :; do sleep 0.1; done", Some("TERM"), 8),
        ("echo ready; exit 7", None, 7),
        ("echo ready", None, 0),
    ] {
        let (mut agent, mut out) = with_command(&gateway, script);
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        if let Some(signal) = signal {
            run(tool("kill").args(["-s", signal, &agent.id().to_string()]));
        }
        let status = eventually("the agent's end", || agent.try_wait().unwrap());
        assert_eq!(status.code(), Some(code), "{script} with {signal:?}");
    }
}

#[test]
fn an_agent_without_a_command_ends_in_order_when_it_is_told_to() {
    let gateway = Gateway::start();
    for signal in ["TERM", "INT"] {
        let mut agent = Agent::of(&gateway, "shield");
        run(tool("kill").args(["-s", signal, &agent.child.id().to_string()]));
        let status = eventually("the agent's end", || agent.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{signal}");
    }
}

#[test]
fn no_proxy_stays_what_the_user_made_it() {
    let (gateway, site) = (Gateway::start(), Site::start());
    let script = format!("echo $NO_PROXY $no_proxy; curl -sS {}/hello", site.http());
    for (exempt, flows) in [("localhost", 0), ("example.com", 1)] {
        let mut agent = tool(MOORGATE);
        agent.args(["agent", "--", "sh", "-c", &script]).envs(gateway.env());
        agent.env("NO_PROXY", exempt).env("no_proxy", exempt);
        assert_eq!(run(&mut agent), format!("{exempt} {exempt}\n{HELLO}"));
        assert_eq!(site.take().len(), 1);
        if flows > 0 {
            gateway.wait_flow(|flow| flow["target"] == *site.plain());
        }
        assert_eq!(gateway.flows().len(), flows, "{exempt}");
    }
}

#[test]
fn a_refusal_of_the_gateways_reaches_the_local_client_with_its_line() {
    let (gateway, site) = (Gateway::start(), Site::start());
    gateway.cli(&["policy", "set", "default", "--deny", "localhost"]);
    let (target, port) = (site.plain(), site.plain().rsplit_once(':').unwrap().1.parse().unwrap());
    let mut direct = Talk::to(gateway.address("outbound_http"));
    direct.send(get(&gateway.credential(), &target, "/", ""));
    let own = direct.reply();
    assert_eq!(own.status, 403);
    assert!(own.body.contains("rule 1 of account default"), "{own:?}");

    for (via, _) in VIAS {
        let agent = Agent::of(&gateway, via);
        for reply in [local_get(agent.proxy(), &target), local_connect(agent.proxy(), &target)] {
            assert_eq!(reply.status, 403, "{via}: {reply:?}");
            assert_eq!(reply.body.lines().count(), 1, "{via}: {reply:?}");
            if via == "shield-socks" {
                // SOCKS5 has a code only. The agent says what it means.
                assert!(reply.body.contains("refused localhost:") && reply.body.contains("not allowed"), "{reply:?}");
            } else {
                assert_eq!(reply.body, own.body, "{via}");
                assert_eq!(reply.field("proxy-status"), own.field("proxy-status"), "{via}");
            }
        }
        assert_eq!(local_socks(agent.proxy(), "localhost", port).1, 2, "{via}");
        agent.wait_said(&target);
    }
    assert!(site.take().is_empty());
}

#[test]
fn a_wrong_password_is_refused_to_the_local_client_and_said_on_stderr() {
    let (gateway, site) = (Gateway::start(), Site::start());
    let (_, password) = gateway.credential();
    let wrong = "wrong-password";
    let env = gateway.env().into_iter().map(|(name, value)| (name, value.replace(&password, wrong))).collect();
    for (via, _) in VIAS {
        let agent = Agent::start(&env, via, &[]);
        let status = if via == "shield-socks" { 502 } else { 407 };
        for reply in [local_get(agent.proxy(), &site.plain()), local_connect(agent.proxy(), &site.plain())] {
            assert_eq!(reply.status, status, "{via}: {reply:?}");
            assert!(!reply.body.contains(wrong) && !reply.head.contains(wrong), "{via}: {reply:?}");
        }
        assert_ne!(local_socks(agent.proxy(), "localhost", 80).1, 0, "{via}");
        let said = agent.wait_said("the gateway");
        assert!(!said.contains(wrong), "{said}");
    }
    assert!(site.take().is_empty());
}

/// Something that speaks TLS, and all that it was sent: raw, and what it could decrypt.
struct Impostor {
    address: SocketAddr,
    raw: Arc<Mutex<Vec<u8>>>,
    read: Arc<Mutex<Vec<u8>>>,
}

impl Impostor {
    fn start(ca: &LocalCa, name: &str) -> Self {
        let (raw, read): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>) = Default::default();
        let (config, all, inner) = (tls(ca, &[name]), raw.clone(), read.clone());
        let target = Target::new("127.0.0.1:0", move |conn| {
            let tee = Tee { stream: conn.stream, copy: all.clone() };
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), tee);
            let mut piece = [0; 4096];
            while let Ok(bytes @ 1..) = stream.read(&mut piece) {
                inner.lock().unwrap().extend_from_slice(&piece[..bytes]);
            }
        });
        Self { address: target.address, raw, read }
    }
}

struct Tee {
    stream: std::net::TcpStream,
    copy: Arc<Mutex<Vec<u8>>>,
}

impl Read for Tee {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let read = self.stream.read(buf)?;
        self.copy.lock().unwrap().extend_from_slice(&buf[..read]);
        Ok(read)
    }
}

impl Write for Tee {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

#[test]
fn a_gateway_that_cannot_prove_itself_gets_no_byte_of_the_credential() {
    let trusted = LocalCa::create("trusted").unwrap();
    let directory = TempDir::new().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, trusted.cert_pem()).unwrap();
    // Signed by somebody else; signed by the right one for somebody else; and the system's roots know neither.
    let stranger = Impostor::start(&LocalCa::create("stranger").unwrap(), "127.0.0.1");
    let misnamed = Impostor::start(&trusted, "other.example.com");
    let unknown = Impostor::start(&trusted, "127.0.0.1");
    for (impostor, ca) in [(&stranger, Some(&ca)), (&misnamed, Some(&ca)), (&unknown, None)] {
        let mut env = HashMap::from([
            ("MOORGATE_SHIELD_URL".to_owned(), format!("https://mg_user:hush-hush@{}", impostor.address)),
            ("MOORGATE_SHIELD_SOCKS_URL".to_owned(), format!("socks5s://mg_user:hush-hush@{}", impostor.address)),
        ]);
        env.extend(ca.map(|ca| ("MOORGATE_CA".to_owned(), ca.display().to_string())));
        for via in ["shield", "shield-socks"] {
            let agent = Agent::start(&env, via, &[]);
            let reply = local_connect(agent.proxy(), "example.com:443");
            assert_eq!(reply.status, 502, "{reply:?}");
            assert!(reply.body.to_lowercase().contains("certificate"), "{reply:?}");
            assert_eq!(local_get(agent.proxy(), "example.com:80").status, 502);
            assert_eq!(local_socks(agent.proxy(), "example.com", 443).1, 1);
            let said = agent.wait_said("certificate");
            assert!(!said.contains("hush-hush"), "{said}");
        }
        let (raw, read) = (impostor.raw.lock().unwrap(), impostor.read.lock().unwrap());
        assert!(!raw.is_empty(), "it was asked");
        assert_eq!(*read, b"", "after a handshake that should not have been");
        let basic = authorization(&("mg_user".into(), "hush-hush".into()));
        for secret in ["mg_user", "hush-hush", basic.trim().rsplit(' ').next().unwrap()] {
            assert!(find(&raw, secret.as_bytes()).is_none(), "{secret} went over the wire");
        }
    }
}

#[test]
fn an_agent_that_cannot_start_says_what_to_do() {
    let empty = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let url = "http://mg_user:hush-hush@127.0.0.1:1";
    let map = format!("{port}=example.com:80");
    for (args, url, code, says) in [
        (&["--", "true"][..], None, 1, "MOORGATE_STATIC_URL is not set"),
        (
            &["--", "true"],
            Some("hush-hush"),
            1,
            "MOORGATE_STATIC_URL is no URL of the form http://USERNAME:PASSWORD@HOST:PORT",
        ),
        (&["--", "/nowhere/program"], Some(url), 1, "cannot run \"/nowhere/program\""),
        (&["--map", &map, "--", "true"], Some(url), 1, "choose another port with --listen or --map"),
        (&["--map", "15432", "--", "true"], Some(url), 2, "write PORT=HOST:PORT"),
        (&["--via", "carrier-pigeon"], Some(url), 2, "[possible values: static, shield, shield-socks]"),
    ] {
        let mut agent = tool(MOORGATE);
        agent.args(["agent", "--data-dir"]).arg(empty.path());
        if !args.contains(&"--via") {
            agent.args(["--via", "static"]);
        }
        agent.args(args).envs(url.map(|url| ("MOORGATE_STATIC_URL", url)));
        let output = outcome(&mut agent);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", both(&output));
        let said = both(&output);
        assert!(said.contains(says) && !said.contains("hush-hush"), "{args:?}: {said}");
        assert!(code == 2 || said.lines().count() == 1, "{args:?}: {said}");
    }
}

fn psql(port: u16, query: &str) -> Vec<String> {
    let arguments =
        ["psql", "-X", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "-d", "postgres", "-Atc", query];
    arguments.map(ToOwned::to_owned).to_vec()
}

#[test]
fn psql_reaches_a_real_postgresql_through_a_map() {
    let (gateway, postgres) = (Gateway::start(), Postgres::start());
    let wide = "select repeat('moorgate', 1000) from generate_series(1, 1000)";
    let wanted = "moorgate".repeat(1000) + "\n";
    for (via, listener) in VIAS {
        let agent = Agent::start(&gateway.env(), via, &[format!("0=localhost:{}", postgres.port())]);
        let port = agent.ports[1].port();
        let ask = |query| run(tool("psql").args(&psql(port, query)[1..]));
        assert_eq!(ask("select sum(i) from generate_series(1, 100000) i"), "5000050000\n", "{via}");
        assert!(ask(wide) == wanted.repeat(1000), "{via}");
        let target = format!("localhost:{}", postgres.port());
        let flow = gateway.wait_flow(|flow| flow["listener"] == listener && flow["target"] == *target);
        assert_eq!(flow["outcome"], "ok", "{flow}");
    }
}

#[test]
fn a_command_finds_its_database_behind_a_map() {
    let (gateway, postgres) = (Gateway::start(), Postgres::start());
    let kept = Port::keep();
    let port = kept.number();
    let mut agent = tool(MOORGATE);
    agent.args(["agent", "--via", "shield-socks", "--map", &format!("{port}=localhost:{}", postgres.port()), "--"]);
    assert_eq!(run(agent.args(psql(port, "select 6 * 7")).envs(gateway.env())), "42\n");
}

#[test]
fn what_the_gateway_refuses_a_map_is_closed_and_said() {
    let gateway = Gateway::start();
    gateway.cli(&["policy", "set", "default", "--deny", "db.example.com"]);
    for (via, _) in VIAS {
        let agent = Agent::start(&gateway.env(), via, &["0=db.example.com:5432".to_owned()]);
        let mut talk = Talk::to(agent.ports[1]);
        talk.send("hello");
        assert_eq!(talk.rest().0, b"", "{via}");
        agent.wait_said("refused db.example.com:5432");
    }
}
