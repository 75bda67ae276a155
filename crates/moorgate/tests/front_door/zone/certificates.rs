//! Certificates that look after themselves: from Pebble, with DNS as it is outside.

use std::{
    net::{IpAddr, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use test_postgres::Postgres;

use super::{
    clock::Clock,
    pebble::{PEBBLE, Pebble, with_ca},
    world::{GATEWAY, World},
};
use crate::{
    gateway::{Gateway, eventually},
    inbound::support::Client,
    target::{Target, ok},
    tools::{clean, outcome, run, script},
};

/// A gateway with the zone and the CA.
fn gateway(world: &World) -> Gateway {
    with_ca(world, world.setup()).env("MOORGATE_DNS_LISTEN", format!("{GATEWAY}:53")).start()
}

/// Adds a terminate route to `origin` and leads the domain's DNS to it.
fn here(world: &mut World, gateway: &Gateway, domain: &str, origin: &str, more: &[&str]) -> String {
    gateway.cli(&["route", "add", domain, origin, "--mode", "terminate", "--account", "default"]);
    let target = gateway.cli_json(&["route", "show", domain])["cname"].as_str().unwrap().to_owned();
    let record = format!("{domain}. CNAME {target}.");
    let more: Vec<String> = more.iter().map(|record| record.replace("TARGET", &target)).collect();
    let records: Vec<&str> = std::iter::once(&*record).chain(more.iter().map(String::as_str)).collect();
    world.set("example.com", &records);
    target
}

fn wait_issued(gateway: &Gateway, domain: &str) -> Value {
    eventually("a certificate", || {
        let shown = gateway.try_cli(&["cert", "show", domain, "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        assert!(shown["last_error"].is_null(), "{shown}");
        (shown["source"] == "issued").then_some(shown)
    })
}

/// As a client would that knows nothing but the CA's root: the status of an answer over verified HTTPS.
fn https(world: &World, root: &str, domain: &str) -> String {
    let found = world.addresses(domain);
    let at = found.first().map_or(GATEWAY.to_owned(), IpAddr::to_string);
    let mut curl = world.tool("curl");
    curl.args(["-sS", "--cacert", root, "-o", "/dev/null", "-w", "%{http_code}"]);
    run(curl.args(["--connect-to", &format!("{domain}:443:{at}:443"), &format!("https://{domain}/")]))
}

#[test]
fn a_domain_has_a_certificate_as_soon_as_its_dns_is_here() {
    let mut world = World::new();
    let pebble = Pebble::start(&world, 50, "");
    let origin = world.namespace.enter(|| Target::http(|_| ok("hi")));
    let gateway = gateway(&world);
    here(&mut world, &gateway, "app.example.com", &format!("http://{}", origin.address), &[]);
    let shown = wait_issued(&gateway, "app.example.com");
    assert!(shown["issuer"].as_str().unwrap().starts_with("Pebble"), "{shown}");
    assert_eq!((&shown["names"][0], &shown["last_error"]), (&"app.example.com".into(), &Value::Null));
    assert!(shown["renew_at"].is_string() && shown["not_after"].is_string(), "{shown}");
    assert_eq!(https(&world, &pebble.root(&world), "app.example.com"), "200");
    let audit = gateway.cli(&["audit", "list"]);
    for done in
        ["order issuance app.example.com", "validate issuance", "add certificate app.example.com", "finish issuance"]
    {
        assert!(audit.contains(done), "{done}: {audit}");
    }
    // Another one, while the old one serves.
    let first = shown["fingerprint"].as_str().unwrap().to_owned();
    gateway.cli(&["cert", "renew", "app.example.com"]);
    eventually("another certificate", || {
        let shown = gateway.cli_json(&["cert", "show", "app.example.com"]);
        assert_eq!(shown["source"], "issued", "the old one serves until the new one does");
        (shown["fingerprint"] != first).then_some(())
    });
    assert_eq!(https(&world, &pebble.root(&world), "app.example.com"), "200");
    // Nothing of the orders is left to be found.
    let mut curl = world.tool("curl");
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--connect-to", "app.example.com:80:127.0.0.2:80"]);
    let status = run(curl.arg("http://app.example.com/.well-known/acme-challenge/anything"));
    assert_eq!(status, "308", "a path as any other");
}

#[test]
fn a_wildcard_is_proved_in_dns_by_delegation() {
    let mut world = World::new();
    let pebble = Pebble::start(&world, 0, "");
    let origin = world.namespace.enter(|| Target::http(|_| ok("hi")));
    let gateway = gateway(&world);
    let delegation = "_acme-challenge.example.com. CNAME _acme-challenge.TARGET.";
    here(&mut world, &gateway, "*.example.com", &format!("http://{}", origin.address), &[delegation]);
    let shown = wait_issued(&gateway, "*.example.com");
    assert_eq!(shown["names"][0], "*.example.com");
    assert_eq!(https(&world, &pebble.root(&world), "any.example.com"), "200");
}

/// What a client of openssl's is shown, verified: the kind of signature.
fn signature(world: &World, root: &str, domain: &str, speaks: &[&str]) -> String {
    let mut client = world.tool("openssl");
    client.args(["s_client", "-brief", "-connect", &format!("{GATEWAY}:443"), "-servername", domain]);
    client.args(["-CAfile", root, "-verify_return_error", "-verify_hostname", domain]).args(speaks);
    let done = outcome(client.stdin(std::process::Stdio::null()));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && said.contains("Verification: OK"), "{speaks:?}: {said}");
    said.lines().find_map(|line| line.strip_prefix("Signature type: ")).unwrap_or_default().to_owned()
}

#[test]
fn a_client_that_knows_no_ecdsa_is_shown_a_certificate_with_an_rsa_key_where_it_was_asked_for() {
    let mut world = World::new();
    let pebble = Pebble::start(&world, 0, "");
    let origin = world.namespace.enter(|| Target::http(|_| ok("hi")));
    let gateway = gateway(&world);
    let origin = format!("http://{}", origin.address);
    gateway.cli(&["route", "add", "app.example.com", &origin, "--mode", "terminate", "--rsa", "on"]);
    let target = gateway.cli_json(&["route", "show", "app.example.com"])["cname"].as_str().unwrap().to_owned();
    world.set("example.com", &[&format!("app CNAME {target}.")]);
    let with_rsa = || {
        eventually("both", || {
            let shown = gateway.cli_json(&["cert", "show", "app.example.com"]);
            (shown["source"] == "issued" && shown["rsa_fingerprint"].is_string()).then_some(shown)
        })
    };
    wait_issued(&gateway, "app.example.com");
    let shown = with_rsa();
    assert_eq!(shown["key"], "ECDSA P-256", "it is the first all the same");
    assert!(shown["renew_at"].is_string() && shown["last_error"].is_null(), "{shown}");
    let root = pebble.root(&world);
    let sees = |speaks: &[&str]| signature(&world, &root, "app.example.com", speaks);
    for old in [
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"][..],
        &["-tls1_2", "-sigalgs", "RSA+SHA256"],
        &["-tls1_3", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"],
    ] {
        assert!(sees(old).starts_with("RSA"), "{old:?}");
    }
    for new in [&["-tls1_2"][..], &["-tls1_3"]] {
        assert_eq!(sees(new), "ECDSA");
    }
    // One renewal renews both.
    gateway.cli(&["cert", "renew", "app.example.com"]);
    eventually("two others", || {
        let now = gateway.cli_json(&["cert", "show", "app.example.com"]);
        (now["fingerprint"] != shown["fingerprint"] && now["rsa_fingerprint"] != shown["rsa_fingerprint"]).then_some(())
    });
    // Taken back, and asked for of a route that has the other already: nothing is ordered but what is missing.
    gateway.cli(&["route", "set", "app.example.com", "--rsa", "off"]);
    let alone = gateway.cli_json(&["cert", "show", "app.example.com"]);
    assert!(alone["rsa_fingerprint"].is_null(), "{alone}");
    assert_eq!(sees(&["-tls1_3"]), "ECDSA");
    gateway.cli(&["route", "set", "app.example.com", "--rsa", "on"]);
    assert_eq!(with_rsa()["fingerprint"], alone["fingerprint"]);
    assert!(gateway.cli(&["export"]).contains("rsa = true"));
    let refused = ["route", "add", "bank.example.com", "tls://127.0.0.1:9", "--mode", "passthrough", "--rsa", "on"];
    let refused = gateway.try_cli(&refused);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("a certificate with an RSA key") && said.contains("passthrough"), "{said}");
}

#[test]
fn the_proxy_shows_a_certificate_of_the_ca_for_its_own_name() {
    let mut world = World::new();
    let pebble = Pebble::start(&world, 0, "");
    world.set("example.com", &[&format!("proxy A {GATEWAY}")]);
    let setup = with_ca(&world, world.setup()).env("MOORGATE_OUTBOUND_HOSTNAME", "proxy.example.com");
    let gateway = setup.env("MOORGATE_OUTBOUND_HTTPS", format!("{GATEWAY}:9294")).start();
    let shown = wait_issued(&gateway, "proxy.example.com");
    assert_eq!(shown["account"], "", "it is the gateways' own");
    let (user, password) = gateway.credential();
    let echo = |root: &str| {
        let mut curl = world.tool("curl");
        curl.args(["-sS", "--resolve", &format!("proxy.example.com:9294:{GATEWAY}"), "--proxy-cacert", root]);
        curl.args(["-x", &format!("https://{user}:{password}@proxy.example.com:9294")]);
        outcome(curl.arg("http://echo.moorgate.internal/"))
    };
    let done = echo(&pebble.root(&world));
    assert!(done.status.success(), "{done:?}");
    assert!(!echo(&gateway.ca().display().to_string()).status.success(), "the local CA signs it no more");
    // What clients are told to trust is what signs it.
    eventually("gateway.json", || {
        let facts: Value =
            serde_json::from_slice(&std::fs::read(gateway.data_dir().join("gateway.json")).unwrap()).unwrap();
        facts["ca"].as_str().unwrap().ends_with("pebble-ca.pem").then_some(())
    });
}

#[test]
fn off_loopback_the_console_speaks_tls_with_a_certificate_of_the_ca() {
    let mut world = World::new();
    let pebble = Pebble::start(&world, 0, "");
    world.set("example.com", &[&format!("console A {GATEWAY}")]);
    let setup = with_ca(&world, world.setup()).env("MOORGATE_CONSOLE_LISTEN", "0.0.0.0:7071");
    let gateway = setup.env("MOORGATE_CONSOLE_HOSTNAME", "console.example.com").start();
    let facts: Value =
        serde_json::from_slice(&std::fs::read(gateway.data_dir().join("gateway.json")).unwrap()).unwrap();
    assert_eq!(facts["console"], "https://console.example.com:7071");
    assert!(facts["api"].as_str().unwrap().starts_with("http://127.0.0.1:"), "commands on the machine need no CA");
    let ask = |root: &str, more: &[&str], url: &str| {
        let mut curl = world.tool("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", root]);
        curl.args(["--resolve", &format!("console.example.com:7071:{GATEWAY}")]);
        outcome(curl.args(more).arg(url))
    };
    let healthz = "https://console.example.com:7071/healthz";
    wait_issued(&gateway, "console.example.com");
    let root = pebble.root(&world);
    let status = |more: &[&str], path: &str| {
        let done = ask(&root, more, &format!("https://console.example.com:7071{path}"));
        String::from_utf8(done.stdout).unwrap()
    };
    eventually("the CA's certificate", || ask(&root, &[], healthz).status.success().then_some(()));
    assert!(!ask(&gateway.ca().display().to_string(), &[], healthz).status.success(), "the local CA signs it no more");
    assert_eq!((&*status(&[], "/readyz"), &*status(&[], "/metrics")), ("200", "401"), "nobody counts as local");
    let token = std::fs::read_to_string(gateway.data_dir().join("operator.token")).unwrap();
    let bearer = format!("Authorization: Bearer {}", token.trim());
    assert_eq!((&*status(&[], "/api/v1/accounts"), &*status(&["-H", &bearer], "/api/v1/accounts")), ("401", "200"));
    assert_eq!(status(&["-H", "Host: evil.example.com"], "/readyz"), "421");
    let plain = ask(&root, &[], "http://console.example.com:7071/readyz");
    assert!(!plain.status.success(), "nothing is said in the clear: {plain:?}");
}

fn wait_failed(gateway: &Gateway, domain: &str, why: &str) -> Value {
    eventually(why, || {
        let shown = gateway.try_cli(&["cert", "show", domain, "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        shown["last_error"].as_str().is_some_and(|said| said.contains(why)).then_some(shown)
    })
}

#[test]
fn what_a_ca_says_is_quoted_and_it_is_asked_again_later() {
    let mut world = World::new();
    drop(Pebble::start(&world, 0, "\"domainBlocklist\": [\"blocked.example.com\"],"));
    let gateway = gateway(&world);
    here(&mut world, &gateway, "blocked.example.com", "http://127.0.0.1:9", &[]);
    let failed = wait_failed(&gateway, "blocked.example.com", "the CA can't be reached: ");
    assert_eq!((failed["source"].as_str(), failed["issuer"].as_str()), (Some("ordered"), Some("local CA")));
    assert!(failed["renew_at"].is_string(), "{failed}");
    assert!(gateway.cli(&["cert", "list"]).contains("failed; again "));
    let pebble = Pebble::start(&world, 0, "");
    gateway.cli(&["cert", "renew", "blocked.example.com"]);
    wait_failed(&gateway, "blocked.example.com", "the CA says rejectedIdentifier: ");
    // It is not asked again at once.
    let orders = || pebble.said(&world).matches("POST /order-plz").count();
    let before = orders();
    thread::sleep(Duration::from_secs(4));
    assert_eq!(orders(), before, "{}", pebble.said(&world));
}

/// Where an origin is that keeps its own key.
const ORIGIN: &str = "127.0.0.30";

/// Adds a passthrough route to the origin and leads the domain's DNS to it.
fn passed_through(world: &mut World, gateway: &Gateway, domain: &str) {
    gateway.cli(&["route", "add", domain, &format!("tls://{ORIGIN}:443"), "--mode", "passthrough"]);
    let target = gateway.cli_json(&["route", "show", domain])["cname"].as_str().unwrap().to_owned();
    world.set("example.com", &[&format!("{domain}. CNAME {target}.")]);
    eventually("its DNS", || (gateway.cli_json(&["route", "show", domain])["dns"] == "seen").then_some(()));
}

/// What a client is shown that comes by the gateway, verified: the origin serves it with openssl.
fn served(world: &World, root: &str, domain: &str, chain: &Path, key: &Path) -> String {
    // Not behind a program that would be ended in its place.
    let prefix = world.namespace.prefix();
    let mut server = clean(prefix[0]);
    server
        .args(&prefix[1..])
        .args(["openssl", "s_server", "-www", "-quiet", "-accept", &format!("{ORIGIN}:443"), "-cert"])
        .arg(chain);
    server.arg("-cert_chain").arg(chain).arg("-key").arg(key);
    let mut server = server.spawn().unwrap();
    let address = format!("{ORIGIN}:443").parse().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
    eventually("openssl", || world.namespace.enter(connect));
    let status = https(world, root, domain);
    let _ = server.kill();
    let _ = server.wait();
    status
}

#[test]
fn certbot_behind_a_passthrough_route_gets_its_certificate_through_us() {
    let mut world = World::new();
    let pebble = Pebble::start(&world, 0, "");
    let gateway = gateway(&world);
    passed_through(&mut world, &gateway, "bank.example.com");
    let at = |name: &str| world.path("certbot").join(name);
    let mut certbot = world.tool("certbot");
    certbot.args(["certonly", "--standalone", "--non-interactive", "--agree-tos", "--register-unsafely-without-email"]);
    certbot.args(["--http-01-address", ORIGIN, "-d", "bank.example.com"]);
    certbot
        .args(["--server", &format!("https://{PEBBLE}:14000/dir")])
        .env("REQUESTS_CA_BUNDLE", world.path("pebble-ca.pem"));
    certbot.arg("--config-dir").arg(at("etc")).arg("--work-dir").arg(at("work")).arg("--logs-dir").arg(at("log"));
    run(&mut certbot);
    let live = at("etc/live/bank.example.com");
    let status = served(
        &world,
        &pebble.root(&world),
        "bank.example.com",
        &live.join("fullchain.pem"),
        &live.join("privkey.pem"),
    );
    assert_eq!(status, "200");
    let shown = gateway.try_cli(&["cert", "show", "bank.example.com"]);
    assert!(!shown.status.success(), "the gateway has none of its own and orders none");
}

#[test]
fn a_tls_alpn_client_behind_a_passthrough_route_gets_its_certificate_through_us() {
    let mut world = World::new();
    let pebble = Pebble::start(&world, 0, "");
    let gateway = gateway(&world);
    passed_through(&mut world, &gateway, "bank.example.com");
    let (chain, key) = (world.path("chain.pem"), world.path("key.pem"));
    // Debian's, which has the library.
    let mut client = world.tool("/usr/bin/python3");
    client.arg(script("tls_alpn.py")).arg(format!("https://{PEBBLE}:14000/dir")).arg(world.path("pebble-ca.pem"));
    run(client.args(["bank.example.com", ORIGIN]).arg(&chain).arg(&key));
    assert_eq!(served(&world, &pebble.root(&world), "bank.example.com", &chain, &key), "200");
}

#[test]
fn a_challenge_reaches_the_origin_that_keeps_its_key_and_nothing_else_does() {
    let world = World::new();
    let gateway = world.setup().env("MOORGATE_DNS_ZONE", "").start();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let origin = world.namespace.enter(|| {
        Target::http(move |request| {
            seen.lock().unwrap().push(request.to_owned());
            ok("the origin's")
        })
    });
    gateway.cli(&["route", "add", "bank.example.com", "tls://127.0.0.1:9", "--mode", "passthrough"]);
    let acme = format!("http://{}", origin.address);
    gateway.cli(&["route", "set", "bank.example.com", "--acme-origin", &acme]);
    let explained = gateway.cli(&["explain", "bank.example.com"]);
    assert!(explained.contains(&format!("on port 80 a CA's validation goes to {acme}")), "{explained}");
    assert!(gateway.cli(&["route", "show", "bank.example.com"]).contains(&acme));
    let ask = |arguments: &[&str], path: &str| {
        let mut curl = world.tool("curl");
        curl.args(["-sS", "--path-as-is", "--connect-to", &format!("bank.example.com:80:{GATEWAY}:80")])
            .args(arguments);
        run(curl.arg(format!("http://bank.example.com{path}")))
    };
    let path = "/.well-known/acme-challenge/aZ09-_";
    assert_eq!(ask(&[], path), "the origin's");
    assert!(ask(&["-I"], path).starts_with("HTTP/1.1 200"));
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    for (arguments, path) in [
        (&[][..], "/.well-known/acme-challenge/a/b"),
        (&[], "/.well-known/acme-challenge/a?b=c"),
        (&[], "/.well-known/acme-challenge/"),
        (&[], "/.well-known/acme-challenge/%61"),
        (&[], "/.well-known/acme-challenge/../secret"),
        (&[], "/"),
        (&["-X", "POST", "-d", "a"], path),
        (&["-X", "DELETE"], path),
    ] {
        let status = ask(&[arguments, &status].concat(), path);
        assert!(status == "308" || status == "400", "{arguments:?} {path}: {status}");
    }
    assert_eq!(asked.lock().unwrap().len(), 2, "{:?}", asked.lock().unwrap());
    // Its policy holds for a CA as for anybody.
    gateway.cli(&["route", "set", "bank.example.com", "--deny-client", "127.0.0.0/8"]);
    assert_eq!(ask(&status, path), "403");
    let refused = gateway.try_cli(&["route", "set", "bank.example.com", "--acme-origin", "https://127.0.0.1:9"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("write http://HOST[:PORT]"), "{said}");
}

#[test]
fn without_a_plain_listener_the_ca_validates_over_tls_and_is_told_whose_customer_we_are() {
    let mut world = World::new();
    // Only who has the key is let in there.
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let bound =
        format!("\"externalAccountBindingRequired\": true, \"externalAccountMACKeys\": {{\"kid-1\": \"{key}\"}},");
    let pebble = Pebble::start(&world, 0, &bound);
    let origin = world.namespace.enter(|| Target::http(|_| ok("hi")));
    let start = |world: &World, key: &str| {
        let setup = with_ca(world, world.setup()).env("MOORGATE_DNS_LISTEN", format!("{GATEWAY}:53"));
        let setup = setup.env("MOORGATE_ACME_EAB_KEY_ID", "kid-1").env("MOORGATE_ACME_EAB_HMAC_KEY", key);
        setup.env("MOORGATE_INBOUND_HTTP", "").start()
    };
    let stranger = start(&world, "AAAA");
    here(&mut world, &stranger, "app.example.com", "http://127.0.0.1:9", &[]);
    let refused = wait_failed(&stranger, "app.example.com", "the CA says ");
    assert!(!refused.to_string().contains("AAAA"), "{refused}");
    drop(stranger);
    let gateway = start(&world, key);
    here(&mut world, &gateway, "app.example.com", &format!("http://{}", origin.address), &[]);
    wait_issued(&gateway, "app.example.com");
    assert_eq!(https(&world, &pebble.root(&world), "app.example.com"), "200");
    let flow = gateway.wait_flow(|flow| flow["target"] == "app.example.com" && flow["outcome"] == "ok");
    assert_eq!(flow["listener"], "inbound_tls", "the CA came there: {flow}");
}

#[test]
fn certificates_that_live_shortly_are_renewed_under_load_without_a_failed_handshake() {
    let mut world = World::new();
    // `cargo xtask soak` has more time, and longer lives.
    let seconds = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (lasts, life) = (seconds("SOAK_SECONDS", 60), seconds("SOAK_LIFE", 20));
    let pebble = Pebble::start(&world, 5, &format!("\"certificateValidityPeriod\": {life},"));
    let origin = world.namespace.enter(|| Target::http(|_| ok("hi")));
    let gateway = gateway(&world);
    here(&mut world, &gateway, "app.example.com", &format!("http://{}", origin.address), &[]);
    let first = wait_issued(&gateway, "app.example.com")["fingerprint"].clone();
    let roots = std::fs::read(pebble.root(&world)).unwrap();
    let client = Client::trusting(&roots);
    let begun = Instant::now();
    let mut shown = vec![first];
    let mut handshakes = 0;
    while begun.elapsed() < Duration::from_secs(lasts) {
        world.namespace.enter(|| {
            for _ in 0..20 {
                drop(client.connect(format!("{GATEWAY}:443").parse().unwrap(), "app.example.com"));
                handshakes += 1;
            }
        });
        let now = gateway.cli_json(&["cert", "show", "app.example.com"])["fingerprint"].clone();
        if shown.last() != Some(&now) {
            shown.push(now);
        }
    }
    println!("{handshakes} handshakes and {} certificates in {lasts} s, none failed", shown.len());
    let least = usize::try_from(lasts / life).unwrap();
    assert!(shown.len() > least, "renewed at half of its life of {life} s: {shown:?}");
    assert!(handshakes > 500, "{handshakes}");
}

#[test]
fn a_ca_that_takes_its_time_is_waited_for_and_asked_once() {
    let mut world = World::new();
    let pebble = Pebble::slow(&world, 12);
    let gateway = gateway(&world);
    here(&mut world, &gateway, "app.example.com", "http://127.0.0.1:9", &[]);
    eventually("an order", || (counted(&gateway, "validate issuance") > 0).then_some(()));
    let waiting = gateway.cli(&["cert", "list"]);
    assert!(waiting.contains("ordered") || waiting.contains("Pebble"), "{waiting}");
    wait_issued(&gateway, "app.example.com");
    assert_eq!(pebble.said(&world).matches("POST /order-plz").count(), 1);
    assert_eq!(counted(&gateway, "fail issuance"), 0);
}

/// How many of these the audit log has.
fn counted(gateway: &Gateway, what: &str) -> usize {
    gateway.cli(&["audit", "list"]).matches(what).count()
}

/// Waits for a failure after so many others.
fn failed_after(gateway: &Gateway, failures: usize) -> Value {
    eventually("one more failure", || (counted(gateway, "fail issuance") > failures).then_some(()));
    gateway.cli_json(&["cert", "show", "app.example.com"])
}

#[test]
fn a_ca_that_is_down_for_days_costs_no_certificate_and_no_storm() {
    const DAY: i64 = 24;
    let mut world = World::new();
    let clock = Clock::new(&world);
    let pebble = Pebble::start(&world, 0, &format!("\"certificateValidityPeriod\": {},", 20 * DAY * 3600));
    let setup = with_ca(&world, world.setup()).env("MOORGATE_DNS_LISTEN", format!("{GATEWAY}:53"));
    let gateway = clock.over(setup).start();
    let origin = world.namespace.enter(|| Target::http(|_| ok("hi")));
    here(&mut world, &gateway, "app.example.com", &format!("http://{}", origin.address), &[]);
    let first = wait_issued(&gateway, "app.example.com");
    let root = pebble.root(&world);
    drop(pebble);

    // Nobody is asked before it is due; then a few times a day.
    clock.set(10 * DAY);
    assert_eq!(counted(&gateway, "order issuance"), 1);
    for (hours, failures) in [(14 * DAY, 0), (14 * DAY + 2, 1), (14 * DAY + 12, 2), (15 * DAY, 3)] {
        clock.set(hours);
        let shown = failed_after(&gateway, failures);
        assert!(shown["last_error"].as_str().unwrap().contains("the CA can't be reached: "), "{shown}");
        assert_eq!((&shown["fingerprint"], &shown["source"]), (&first["fingerprint"], &"issued".into()));
    }
    thread::sleep(Duration::from_secs(3));
    assert_eq!(counted(&gateway, "fail issuance"), 4, "one for each time that it was tried");
    assert_eq!(https(&world, &root, "app.example.com"), "200", "the old one serves");
    let told = gateway.try_cli(&["doctor"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("app.example.com") && told.contains("can't be reached"), "{told}");

    // It is back, and knows nothing of us; its clock is the true one, so to us even what is new is old.
    let pebble = Pebble::start(&world, 0, "");
    let mut hours = 15 * DAY;
    let renewed = eventually("another certificate", || {
        hours += 1;
        clock.set(hours);
        let shown = gateway.cli_json(&["cert", "show", "app.example.com"]);
        (shown["fingerprint"] != first["fingerprint"]).then_some(shown)
    });
    assert_eq!(renewed["last_error"], Value::Null);
    let orders = || pebble.said(&world).matches("POST /order-plz").count();
    let before = orders();
    thread::sleep(Duration::from_secs(4));
    assert_eq!(orders(), before, "it is not ordered again and again");
    assert_eq!(https(&world, &pebble.root(&world), "app.example.com"), "200");
}

#[test]
fn a_clock_that_was_ahead_and_is_set_right_holds_back_no_renewal() {
    const YEAR: i64 = 365 * 24;
    let mut world = World::new();
    let clock = Clock::new(&world);
    let pebble = Pebble::start(&world, 0, &format!("\"certificateValidityPeriod\": {},", 90 * 24 * 3600));
    let setup = with_ca(&world, world.setup()).env("MOORGATE_DNS_LISTEN", format!("{GATEWAY}:53"));
    let gateway = clock.over(setup).start();
    let origin = world.namespace.enter(|| Target::http(|_| ok("hi")));
    here(&mut world, &gateway, "app.example.com", &format!("http://{}", origin.address), &[]);
    let first = wait_issued(&gateway, "app.example.com");
    // By such a clock nothing that a CA shows or issues holds any more.
    clock.set(YEAR);
    let failed = failed_after(&gateway, 0);
    assert!(failed["last_error"].as_str().unwrap().contains("check this machine's clock"), "{failed}");
    assert_eq!(failed["fingerprint"], first["fingerprint"], "the old one serves");
    assert_eq!(https(&world, &pebble.root(&world), "app.example.com"), "200");

    clock.set(0);
    let again: jiff::Timestamp = eventually("the true time", || {
        let shown = gateway.cli_json(&["cert", "show", "app.example.com"]);
        let at: jiff::Timestamp = shown["renew_at"].as_str()?.parse().ok()?;
        (at.duration_since(jiff::Timestamp::now()).as_hours() < 24).then_some(at)
    });
    assert!(again > jiff::Timestamp::now(), "{again}: later than at once, too");
    gateway.cli(&["cert", "renew", "app.example.com"]);
    eventually("another certificate", || {
        let shown = gateway.cli_json(&["cert", "show", "app.example.com"]);
        (shown["fingerprint"] != first["fingerprint"] && shown["last_error"].is_null()).then_some(())
    });
}

#[test]
fn names_that_are_due_together_on_three_gateways_are_each_ordered_once() {
    let mut world = World::new();
    let pebble = Pebble::start(&world, 10, "");
    let server = world.namespace.enter(Postgres::start);
    let start = |name: &str, address: &str| {
        let setup = with_ca(&world, world.setup()).env("MOORGATE_STORE_URL", server.url("postgres"));
        let setup = setup.env("MOORGATE_CLUSTER_NAME", name).env("MOORGATE_SECRETS_MASTER_KEY", "01".repeat(32));
        let at = |port: u16| format!("{address}:{port}");
        let setup = setup.env("MOORGATE_INBOUND_TLS", at(443)).env("MOORGATE_INBOUND_HTTP", at(80));
        setup.env("MOORGATE_DNS_LISTEN", at(53)).start()
    };
    let gateways = [start("one", GATEWAY), start("two", "127.0.0.3"), start("three", "127.0.0.4")];
    const NAMES: usize = 50;
    let mut text = String::new();
    for n in 0..NAMES {
        text += &format!(
            "[routes.\"h{n}.example.com\"]\nmode = \"terminate\"\norigins = [{{ url = \"http://127.0.0.1:9\" }}]\naccount = \"default\"\n"
        );
    }
    let file = world.path("routes.toml");
    std::fs::write(&file, text).unwrap();
    gateways[0].cli(&["apply", "-f", file.to_str().unwrap()]);
    let routes = gateways[0].cli_json(&["route", "list"]);
    let record =
        |route: &Value| format!("{}. CNAME {}.", route["domain"].as_str().unwrap(), route["cname"].as_str().unwrap());
    let records: Vec<String> = routes.as_array().unwrap().iter().map(record).collect();
    world.set("example.com", &records.iter().map(String::as_str).collect::<Vec<_>>());
    let end = Instant::now() + Duration::from_secs(150);
    let issued = |gateway: &Gateway| {
        let all = gateway.cli_json(&["cert", "list"]);
        all.as_array().unwrap().iter().filter(|one| one["source"] == "issued").count()
    };
    while issued(&gateways[2]) < NAMES {
        assert!(Instant::now() < end, "{}", gateways[0].cli(&["cert", "list"]));
        thread::sleep(Duration::from_millis(500));
    }
    let orders =
        pebble.said(&world).matches("There are now").count().max(pebble.said(&world).matches("order-plz").count());
    assert!(orders >= NAMES, "{orders}");
    let issued_by = |gateway: &Gateway| gateway.stderr().matches("a certificate was issued").count();
    assert_eq!(gateways.iter().map(issued_by).sum::<usize>(), NAMES, "each once");
    assert!(gateways.iter().filter(|gateway| issued_by(gateway) > 0).count() >= 2, "they share the work");
}
