//! Certificates that look after themselves: from Pebble, with DNS as it is outside.

use std::{net::IpAddr, thread, time::Duration};

use serde_json::Value;

use super::{
    pebble::{Pebble, with_ca},
    world::{GATEWAY, World},
};
use crate::{
    gateway::{Gateway, eventually},
    target::{Target, ok},
    tools::{outcome, run},
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
