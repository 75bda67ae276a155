//! The clients that people have, through every listener they can speak to, to plain and encrypted destinations.

use std::{
    collections::HashSet,
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    gateway::{Gateway, eventually},
    site::{Arrived, HELLO, Site, digest, noise},
    tools::{both, go, node, outcome, python, run, run_with, tool},
};

const STATIC: &str = "MOORGATE_STATIC_URL";
const STATIC_SOCKS: &str = "MOORGATE_STATIC_SOCKS_URL";
const SHIELD: &str = "MOORGATE_SHIELD_URL";
const SHIELD_SOCKS: &str = "MOORGATE_SHIELD_SOCKS_URL";

/// Whether a client keeps to one connection while its requests come one after the other.
#[derive(Clone, Copy)]
enum Sessions {
    One,
    /// Its pool opens another when the first one is not back yet.
    Pooled,
}

/// What the scripts send up.
const UPLOAD: usize = 1_000_000;
/// What curl carries each way, in bytes.
const LARGE: usize = 64 << 20;

/// A gateway, a site behind it, and what a client must trust.
struct World {
    gateway: Gateway,
    site: Site,
    trust: PathBuf,
}

impl World {
    fn new() -> Self {
        let (gateway, site) = (Gateway::start(), Site::start());
        let trust = site.ca_with(&gateway);
        Self { gateway, site, trust }
    }

    /// The proxy URL of a listener.
    fn proxy(&self, variable: &str) -> String {
        self.gateway.env()[variable].clone()
    }

    /// Sends a script of ours on its errand through one listener; checks what it got, what arrived, and what the
    /// gateway recorded.
    fn errand(&self, client: Command, variable: &str, sessions: Sessions) {
        self.errand_as(client, variable, self.proxy(variable), sessions);
    }

    fn errand_as(&self, mut client: Command, variable: &str, proxy: String, sessions: Sessions) {
        let said = run(client.env("PROXY", proxy).env("CA", &self.trust).args([self.site.http(), self.site.https()]));
        assert_eq!(said, expected().repeat(2), "{client:?} through {variable}");
        let arrived = self.site.take();
        for tls in [false, true] {
            let asked: Vec<_> = arrived.iter().filter(|arrived| arrived.tls == tls).map(Arrived::asked).collect();
            assert_eq!(asked.len(), 4, "{client:?} through {variable}: {asked:?}");
        }
        assert_clean(&arrived);
        self.assert_tunnelled(listener(variable), sessions);
    }

    /// The requests to the encrypted site went through tunnels, and all of these were recorded.
    fn assert_tunnelled(&self, listener: &str, sessions: Sessions) {
        let target = self.site.secure();
        let all_bytes = |flows: &[Value], way: &str| flows.iter().map(|flow| flow[way].as_u64().unwrap()).sum::<u64>();
        let flows = eventually("flows of the tunnels", || {
            let mut flows = self.gateway.flows();
            flows.retain(|flow| flow["target"] == *target && flow["listener"] == listener);
            let whole = ["bytes_up", "bytes_down"].into_iter().all(|way| all_bytes(&flows, way) > UPLOAD as u64);
            whole.then_some(flows)
        });
        if let Sessions::One = sessions {
            assert_eq!(flows.len(), 1, "{listener}: a connection is kept for further requests");
        }
        for flow in flows {
            assert_eq!(flow["kind"], "tunnel", "{flow}");
            // Many end TLS or TCP without a farewell, which the record says; the gateway and the target never do.
            let outcome = flow["outcome"].as_str().unwrap();
            assert!(matches!(outcome, "ok" | "truncated_by_client" | "reset_by_client"), "{flow}");
        }
    }

    fn curl(&self, variable: &str) -> Command {
        let mut curl = tool("curl");
        curl.args(["--silent", "--show-error", "--fail", "--noproxy", "", "--proxy", &self.proxy(variable)]);
        curl.arg("--proxy-cacert").arg(self.gateway.ca()).arg("--cacert").arg(self.site.ca());
        curl
    }
}

fn listener(variable: &str) -> &'static str {
    match variable {
        STATIC => "outbound_http",
        STATIC_SOCKS => "outbound_socks",
        SHIELD => "outbound_https",
        _ => "outbound_socks_tls",
    }
}

/// What a script reports of one site.
fn expected() -> String {
    let upload = "moorgate".repeat(UPLOAD / 8);
    let line = |asked: &str, body: &[u8]| format!("{asked} 200 {}\n", digest(body));
    line("GET /hello", HELLO.as_bytes()).repeat(2)
        + &line("GET /bytes/1000000", &noise(1_000_000))
        + &line("POST /upload", digest(upload.as_bytes()).as_bytes())
}

/// Nothing that was meant for the gateway has come through to the destination.
fn assert_clean(arrived: &[Arrived]) {
    for Arrived { head, .. } in arrived {
        assert!(!head.to_ascii_lowercase().contains("\r\nproxy-"), "{head}");
        assert!(head.split(' ').nth(1).unwrap().starts_with('/'), "{head}");
    }
}

/// The listeners that curl can speak to.
const CURLS: [&str; 3] = [STATIC, STATIC_SOCKS, SHIELD];

#[test]
fn curl_reaches_plain_and_encrypted_destinations_with_several_requests_on_one_connection() {
    let world = World::new();
    for variable in CURLS {
        for base in [world.site.http(), world.site.https()] {
            let url = format!("{base}/hello");
            let mut curl = world.curl(variable);
            let said = run(curl.args(["--write-out", "%{num_connects} "]).args([&url, &url, &url]));
            assert_eq!(said, format!("{HELLO}1 {HELLO}0 {HELLO}0 "), "{url} through {variable}");
        }
        let arrived = world.site.take();
        assert_eq!(arrived.len(), 6);
        assert_clean(&arrived);
    }
}

#[test]
fn curl_carries_64_mib_up_and_down_unharmed() {
    let world = World::new();
    let content = noise(LARGE);
    let (file, received) = (world.site.directory().join("up"), world.site.directory().join("down"));
    fs::write(&file, &content).unwrap();
    let sent = digest(&content);
    for variable in CURLS {
        for base in [world.site.http(), world.site.https()] {
            let up = run(world.curl(variable).arg("--upload-file").arg(&file).arg(format!("{base}/upload")));
            assert_eq!(up, sent, "up to {base} through {variable}");
            run(world.curl(variable).arg("--output").arg(&received).arg(format!("{base}/bytes/{LARGE}")));
            assert!(fs::read(&received).unwrap() == content, "down from {base} through {variable}");
        }
        let uploads: Vec<_> = world.site.take().iter().map(|arrived| arrived.body).filter(|bytes| *bytes > 0).collect();
        assert_eq!(uploads, [LARGE as u64; 2]);
    }
    // Both ways of both sites, through each listener: what the gateway counted is not less than what was carried.
    let flows = eventually("twelve flows", || Some(world.gateway.flows()).filter(|flows| flows.len() >= 12));
    let large = |way: &str| flows.iter().filter(|flow| flow[way].as_u64().unwrap() >= LARGE as u64).count();
    assert_eq!((large("bytes_up"), large("bytes_down")), (6, 6), "{flows:#?}");
}

#[test]
fn curl_uploads_of_unknown_length_arrive_whole() {
    let world = World::new();
    let file = world.site.directory().join("up");
    fs::write(&file, noise(5_000_001)).unwrap();
    for variable in CURLS {
        let mut curl = world.curl(variable);
        curl.args(["--header", "Transfer-Encoding: chunked", "--header", "Expect: 100-continue"]);
        let said = run(curl.arg("--upload-file").arg(&file).arg(format!("{}/upload", world.site.http())));
        assert_eq!(said, digest(&noise(5_000_001)), "through {variable}");
    }
}

#[test]
fn requests_works_through_every_listener_it_speaks() {
    let world = World::new();
    for variable in [STATIC, STATIC_SOCKS, SHIELD] {
        world.errand(python("use_requests.py"), variable, Sessions::One);
    }
}

#[test]
fn httpx_works_through_every_listener_it_speaks() {
    let world = World::new();
    for variable in [STATIC, STATIC_SOCKS, SHIELD] {
        world.errand(python("use_httpx.py"), variable, Sessions::One);
    }
}

#[test]
fn pysocks_works_with_sockets_of_its_own() {
    World::new().errand(python("use_pysocks.py"), STATIC_SOCKS, Sessions::One);
}

#[test]
fn undici_works_through_both_http_proxies() {
    let world = World::new();
    for variable in [STATIC, SHIELD] {
        world.errand(node("use_undici.mjs"), variable, Sessions::Pooled);
    }
}

#[test]
fn https_proxy_agent_and_socks_proxy_agent_work() {
    let world = World::new();
    for variable in [STATIC, STATIC_SOCKS, SHIELD] {
        world.errand(node("use_agents.mjs"), variable, Sessions::One);
    }
}

#[test]
fn go_works_through_every_listener_it_speaks() {
    let world = World::new();
    for variable in [STATIC, SHIELD] {
        world.errand(go(), variable, Sessions::Pooled);
    }
    // Its `socks5` leaves names to the proxy; older ones know no `socks5h`.
    let proxy = world.proxy(STATIC_SOCKS).replace("socks5h:", "socks5:");
    world.errand_as(go(), STATIC_SOCKS, proxy, Sessions::Pooled);
}

#[test]
fn gos_default_transport_which_offers_h2_and_speaks_http_1_reaches_encrypted_destinations() {
    let world = World::new();
    for variable in [STATIC, SHIELD] {
        let mut client = go();
        client.env("TRANSPORT", "default").env("PROXY", world.proxy(variable)).env("SSL_CERT_FILE", &world.trust);
        assert_eq!(run(client.arg(world.site.https())), expected(), "through {variable}");
        let arrived = world.site.take();
        assert_eq!(arrived.iter().filter(|arrived| arrived.tls).count(), 4, "through {variable}");
        assert_clean(&arrived);
        world.assert_tunnelled(listener(variable), Sessions::Pooled);
    }
    // What it can't do fails within Go, before a byte of the request is sent: docs/clients.md says so.
    let mut client = go();
    client.env("TRANSPORT", "default").env("PROXY", world.proxy(SHIELD)).env("SSL_CERT_FILE", &world.trust);
    let failed = outcome(client.arg(world.site.http()));
    assert!(!failed.status.success() && both(&failed).contains("unsupported scheme"), "{}", both(&failed));
}

#[test]
fn a_tls_1_2_client_that_wants_to_renegotiate_is_told_no() {
    let world = World::new();
    let mut openssl = tool("openssl");
    openssl.args(["s_client", "-tls1_2", "-verify_return_error", "-CAfile"]).arg(world.gateway.ca());
    openssl.args(["-connect", &world.gateway.address("outbound_https").to_string()]);
    let mut child = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // R is its command for a renegotiation, which begins with what it sends next; each in a piece of its own.
    let mut stdin = child.stdin.take().unwrap();
    for line in ["R\n", "GET / HTTP/1.1\r\n"] {
        thread::sleep(Duration::from_millis(500));
        stdin.write_all(line.as_bytes()).unwrap();
    }
    let said = both(&child.wait_with_output().unwrap());
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
}

#[test]
fn a_client_of_our_own_speaks_socks_over_tls() {
    let world = World::new();
    world.errand(python("use_socks_over_tls.py"), SHIELD_SOCKS, Sessions::One);
}

#[test]
fn socks_over_tls_takes_addresses_too() {
    let world = World::new();
    let mut client = python("use_socks_over_tls.py");
    let said = run(client
        .env("PROXY", world.proxy(SHIELD_SOCKS))
        .env("CA", &world.trust)
        .env("ADDRESS", "127.0.0.1")
        .args([world.site.http(), world.site.https()]));
    assert_eq!(said, expected().repeat(2));
    let port = world.site.secure().replace("localhost:", "127.0.0.1:");
    let flow = world.gateway.wait_flow(|flow| flow["target"] == *port);
    assert_eq!(flow["listener"], "outbound_socks_tls", "{flow}");
}

#[test]
fn an_h2_client_carries_requests_and_a_tunnel_on_one_connection() {
    let world = World::new();
    world.errand(python("use_h2.py"), SHIELD, Sessions::One);
    let clients: HashSet<_> = world.gateway.flows().iter().map(|flow| flow["client"].to_string()).collect();
    assert_eq!(clients.len(), 1, "one connection: {clients:?}");
}

#[test]
fn git_clones_and_pushes_through_every_listener_it_speaks() {
    let world = World::new();
    let (home, served) = (world.site.directory(), world.site.directory().join("git"));
    let git = |args: &[&str]| {
        let mut git = tool("git");
        git.args(["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]).args(args);
        git.current_dir(home).env("HOME", home).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        git
    };
    run(&mut git(&["init", "--quiet", "--bare", "git/project.git"]));
    run(&mut git(&["-C", "git/project.git", "config", "http.receivepack", "true"]));
    run(&mut git(&["init", "--quiet", "work"]));
    // Random enough not to be packed away: the pack must be bigger than what git sends in one piece.
    let noise: Vec<u8> = (0..400_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(home.join("work/data"), &noise).unwrap();
    run(&mut git(&["-C", "work", "add", "data"]));
    run(&mut git(&["-C", "work", "commit", "--quiet", "-m", "first"]));
    run(&mut git(&["-C", "work", "push", "--quiet", "../git/project.git", "HEAD:refs/heads/main"]));
    assert!(served.is_dir());

    for (at, variable) in CURLS.into_iter().enumerate() {
        for (scheme, base) in [("http", world.site.http()), ("https", world.site.https())] {
            let copy = format!("copy-{at}-{scheme}");
            let through = |args: &[&str]| {
                let mut git = git(&["-c", &format!("http.proxy={}", world.proxy(variable))]);
                git.args(["-c", &format!("http.proxySSLCAInfo={}", world.gateway.ca().display())]);
                git.args(["-c", &format!("http.sslCAInfo={}", world.site.ca().display())]).args(args);
                git
            };
            run(&mut through(&["clone", "--quiet", &format!("{base}/git/project.git"), &copy]));
            assert!(fs::read(home.join(&copy).join("data")).unwrap() == noise, "cloned through {variable}");
            fs::write(home.join(&copy).join(&copy), &noise).unwrap();
            run(&mut through(&["-C", &copy, "add", "."]));
            run(&mut through(&["-C", &copy, "commit", "--quiet", "-m", &copy]));
            run(&mut through(&["-C", &copy, "push", "--quiet", "origin", "HEAD:refs/heads/main"]));
            let log = run(&mut git(&["-C", "git/project.git", "log", "-1", "--format=%s", "main"]));
            assert_eq!(log.trim(), copy, "pushed through {variable}");
        }
        assert_clean(&world.site.take());
    }
}

#[test]
fn openssl_reaches_an_encrypted_destination_through_a_plain_proxy() {
    let world = World::new();
    let (user, password) = world.gateway.credential();
    let mut openssl = tool("openssl");
    openssl.args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost", "-CAfile"]);
    openssl.arg(world.site.ca()).args(["-proxy", &world.gateway.address("outbound_http").to_string()]);
    openssl.args(["-proxy_user", &user, "-proxy_pass", &format!("pass:{password}")]);
    openssl.args(["-connect", &world.site.secure()]);
    let said = run_with(&mut openssl, "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with(HELLO), "{said}");
    let flow = world.gateway.wait_flow(|flow| flow["target"] == *world.site.secure());
    assert_eq!((&flow["outcome"], &flow["exposure"]["content"]), (&"ok".into(), &"tls".into()), "{flow}");
}

#[test]
fn openssl_speaks_to_the_encrypted_proxy_with_everything_in_one_piece() {
    let world = World::new();
    let target = world.site.plain();
    let input = crate::talk::connect(&world.gateway.credential(), &target)
        + &format!("GET /hello HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    for alpn in [&[][..], &["-alpn", "http/1.1"], &["-tls1_2"]] {
        let mut openssl = tool("openssl");
        openssl.args(["s_client", "-quiet", "-verify_return_error", "-verify_ip", "127.0.0.1", "-CAfile"]);
        openssl.arg(world.gateway.ca()).args(["-connect", &world.gateway.address("outbound_https").to_string()]);
        let said = run_with(openssl.args(alpn), &input);
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with(HELLO), "{alpn:?}: {said}");
    }
}
