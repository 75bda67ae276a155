//! The zone of the targets, and the DNS of people's domains: with real servers, in a namespace.

mod certificates;
mod clock;
pub mod pebble;
pub mod world;

use std::{net::IpAddr, process::Output, thread, time::Duration};

use pebble::{Pebble, with_ca};
use serde_json::Value;
use test_postgres::Postgres;
use world::{GATEWAY, RESOLVER, World, ZONE};

use crate::{
    acme::{Book, Ca},
    gateway::{Gateway, eventually},
    tools::run,
};

fn add(gateway: &Gateway, domain: &str, account: &str) -> String {
    gateway.cli(&["route", "add", domain, "http://127.0.0.1:9", "--mode", "terminate", "--account", account])
}

fn try_add(gateway: &Gateway, domain: &str, account: &str) -> Output {
    gateway.try_cli(&["route", "add", domain, "http://127.0.0.1:9", "--mode", "terminate", "--account", account])
}

fn shown(gateway: &Gateway, domain: &str) -> Value {
    gateway.cli_json(&["route", "show", domain])
}

fn wait_dns(gateway: &Gateway, domain: &str, dns: &str) -> Value {
    eventually(dns, || Some(shown(gateway, domain)).filter(|route| route["dns"] == dns))
}

/// Until the resolver, which keeps for a second what it heard, leads to the gateway.
fn wait_here(world: &World, domain: &str) {
    let here = [GATEWAY.parse::<IpAddr>().unwrap()];
    eventually("the address", || (world.addresses(domain) == here).then_some(()));
}

/// The records that a command says are to be set.
fn records(said: &str) -> Vec<&str> {
    said.lines().map(str::trim).filter(|line| line.contains(" IN ")).collect()
}

/// What a client that resolves the domain is told, over plain HTTP.
fn curl(world: &World, domain: &str) -> String {
    let mut curl = world.tool("curl");
    let found = world.addresses(domain);
    let at = found.first().map_or(GATEWAY.to_owned(), IpAddr::to_string);
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--connect-to", &format!("{domain}:80:{at}:80")]);
    run(curl.arg(format!("http://{domain}/")))
}

#[test]
fn a_route_is_served_as_soon_as_the_record_that_was_asked_for_is_there() {
    let mut world = World::new();
    let gateway = world.gateway();
    let said = add(&gateway, "app.example.com", "default");
    let route = shown(&gateway, "app.example.com");
    assert_eq!((route["state"].as_str(), route["dns"].as_str()), (Some("pending"), Some("pending")));
    assert_eq!(curl(&world, "app.example.com"), "421", "nobody has proved whose it is");
    let explained = gateway.cli(&["explain", "app.example.com"]);
    assert!(explained.contains("its DNS is pending; moorgate route check app.example.com"), "{explained}");

    let check = gateway.cli(&["route", "check", "app.example.com"]);
    assert!(check.contains("pending since") && check.contains("leads nowhere yet: set this"), "{check}");
    let wanted = records(&check);
    assert_eq!(wanted, records(&said), "what is said first is what is said then");
    assert_eq!(wanted, [format!("app.example.com. IN CNAME {}.", route["cname"].as_str().unwrap())]);
    world.set("example.com", &[wanted[0]]);
    let route = wait_dns(&gateway, "app.example.com", "seen");
    assert_eq!(route["state"], "active");
    wait_here(&world, "app.example.com");
    assert_eq!(curl(&world, "app.example.com"), "308");
    let check = gateway.cli(&["route", "check", "app.example.com"]);
    assert!(
        check.contains("active since") && check.contains("  ok  ") && check.contains("by ns1.example.com: "),
        "{check}"
    );
    let audit = gateway.cli(&["audit", "list"]);
    assert!(audit.contains("see DNS of route app.example.com") && audit.contains("dns: pending → seen"), "{audit}");

    // It leaves: that is said, and nobody is cut off.
    world.set("example.com", &["app A 198.51.100.7"]);
    let missing = eventually("what the resolver says now", || {
        let check = gateway.cli_json(&["route", "check", "app.example.com"]);
        (check["dns"] == "missing").then_some(check)
    });
    assert_eq!(missing["state"], "active");
    let said = missing["findings"][0]["said"].as_str().unwrap();
    assert_eq!(said, "app.example.com has address records (198.51.100.7): set this in their place");
    assert_eq!(missing["seen"][1]["says"], "198.51.100.7");
}

#[test]
fn a_wildcard_and_the_top_of_a_zone_are_told_what_can_stand_there() {
    let mut world = World::new();
    let gateway = world.gateway();
    for domain in ["*.example.com", "example.com"] {
        add(&gateway, domain, "default");
    }
    let (all, top) =
        (gateway.cli(&["route", "check", "*.example.com"]), gateway.cli(&["route", "check", "example.com"]));
    assert!(top.contains("example.com is the top of its zone, where DNS allows no CNAME"), "{top}");
    let wanted: Vec<&str> = records(&top).into_iter().filter(|record| !record.contains(" ALIAS ")).collect();
    assert_eq!(wanted.len(), 2, "the TXT record and the address: {wanted:?}");
    world.set("example.com", &[&[records(&all)[0]], &wanted[..]].concat());
    for domain in ["*.example.com", "example.com"] {
        assert_eq!(wait_dns(&gateway, domain, "seen")["state"], "active", "{domain}");
    }
    assert_eq!((curl(&world, "any.example.com"), curl(&world, "example.com")), ("308".to_owned(), "308".to_owned()));
    // What the wildcard leads here is here.
    add(&gateway, "app.example.com", "default");
    assert_eq!(wait_dns(&gateway, "app.example.com", "seen")["state"], "active");
}

#[test]
fn a_domain_is_served_for_whoever_proves_it_and_for_nobody_else() {
    let mut world = World::new();
    let gateway = world.gateway();
    gateway.cli(&["account", "add", "other"]);
    let held = add(&gateway, "app.example.com", "other");
    let refused = try_add(&gateway, "app.example.com", "default");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("held by another account whose DNS does not prove it now"),
        "{said}"
    );
    let word = said.split_once("add the route again: ").unwrap().1.trim();
    assert!(word.starts_with("_moorgate-challenge.app.example.com. IN TXT "), "{word}");
    world.set("example.com", &[word]);
    // Until then the resolver keeps that there was no such record.
    eventually("it is taken over", || try_add(&gateway, "app.example.com", "default").status.success().then_some(()));
    assert!(gateway.cli(&["audit", "list"]).contains("hand over route app.example.com"), "the log has words for it");
    let mine = shown(&gateway, "app.example.com");
    assert_eq!((mine["account"].as_str(), mine["dns"].as_str()), (Some("default"), Some("pending")));
    // What the first one was told to set leads nowhere now.
    world.set("example.com", &[records(&held)[0]]);
    let check = eventually("the resolver forgets that there was nothing", || {
        let check = gateway.cli_json(&["route", "check", "app.example.com"]);
        (check["seen"][0]["says"] != "nothing").then_some(check)
    });
    let said = check["findings"][0]["said"].as_str().unwrap();
    assert!(check["state"] == "pending" && said.contains("which is not this route's (any more)"), "{check}");
    assert_eq!(curl(&world, "app.example.com"), "421");

    world.set("example.com", &[&format!("app CNAME {}.", mine["cname"].as_str().unwrap())]);
    wait_dns(&gateway, "app.example.com", "seen");
    let refused = try_add(&gateway, "app.example.com", "other");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("there is already a route") && !said.contains("TXT"), "{said}");
}

#[test]
fn a_domain_whose_servers_are_down_waits_and_says_so() {
    // Nobody is at that address.
    let delegation = [format!("{ZONE}. NS ns1.{ZONE}."), format!("ns1.{ZONE}. A {GATEWAY}")];
    let dead = ["dead.test. NS ns1.dead.test.".to_owned(), "ns1.dead.test. A 127.0.0.99".to_owned()];
    let world = World::with(&[("example.com", &[])], &[&delegation[..], &dead].concat());
    let gateway = world.gateway();
    add(&gateway, "app.dead.test", "default");
    let check = gateway.cli(&["route", "check", "app.dead.test"]);
    assert!(check.contains("finds no answer (SERVFAIL): the DNS servers of"), "{check}");
    assert_eq!(shown(&gateway, "app.dead.test")["state"], "pending");
    assert_eq!(curl(&world, "app.dead.test"), "421");
}

#[test]
fn the_gateway_answers_for_its_zone_by_udp_and_tcp_and_behind_a_resolver() {
    let world = World::new();
    let gateway = world.gateway();
    add(&gateway, "app.example.com", "default");
    gateway.cli(&["route", "add", "bank.example.com", "tls://127.0.0.1:9", "--mode", "passthrough"]);
    let target = |domain: &str| shown(&gateway, domain)["cname"].as_str().unwrap().to_owned();
    let (app, bank) = (target("app.example.com"), target("bank.example.com"));
    let label = app.strip_suffix(&format!(".{ZONE}")).unwrap();
    assert!(label.len() == 26 && app != bank, "{app}");
    for (server, transport) in [(GATEWAY, "+notcp"), (GATEWAY, "+tcp"), (RESOLVER, "+notcp")] {
        let server = format!("@{server}");
        let dig = |name: &str, kind: &str| world.dig(&[&server, transport, name, kind]);
        assert_eq!(dig(&app, "A"), "127.0.0.2\n", "{server} {transport}");
        assert_eq!(dig(&app.to_ascii_uppercase(), "A"), "127.0.0.2\n", "{server} {transport}");
        assert_eq!(dig(&app, "AAAA"), "");
        assert_eq!(dig(&app, "HTTPS"), "1 . alpn=h2\n");
        assert_eq!(dig(&bank, "HTTPS"), "", "what the origin speaks is its own");
        assert_eq!(dig(ZONE, "NS"), format!("ns1.{ZONE}.\n"));
        assert!(dig(ZONE, "SOA").starts_with(&format!("ns1.{ZONE}. hostmaster.{ZONE}. ")), "{server}");
        let none = world.dig_long(&[&server, transport, &format!("nobody.{ZONE}"), "A"]);
        assert!(none.contains("status: NXDOMAIN") && none.contains("SOA"), "{none}");
    }
    let server = format!("@{GATEWAY}");
    let refused = world.dig_long(&[&server, "example.com", "A"]);
    assert!(refused.contains("status: REFUSED"), "{refused}");
    let whole = world.tool("kdig").args([&server, ZONE, "AXFR"]).output().unwrap();
    let (whole, said) = (String::from_utf8(whole.stdout).unwrap(), String::from_utf8(whole.stderr).unwrap());
    assert!(said.contains("REFUSED") && !whole.contains(label), "the names in it are nobody's business: {whole}");
    gateway.cli(&["route", "remove", "app.example.com"]);
    assert!(world.dig_long(&[&server, &app, "A"]).contains("status: NXDOMAIN"), "a target goes with its route");
}

#[test]
fn without_a_server_of_its_own_the_zone_is_records_at_a_provider() {
    let mut world = World::with(&[("example.com", &[]), (ZONE, &[])], &[]);
    let gateway = world.setup().start();
    let said = gateway.cli(&["dns", "records"]);
    let wanted = records(&said);
    assert_eq!(wanted, [format!("*.{ZONE}. 30 IN A {GATEWAY}")]);
    add(&gateway, "app.example.com", "default");
    let check = gateway.cli(&["route", "check", "app.example.com"]);
    assert!(
        check.contains("is not handed to its servers yet; an operator makes the records of `moorgate dns records`"),
        "{check}"
    );
    let cname = records(&check)[0].to_owned();
    // It is a zone file's text as it is.
    world.set(ZONE, &said.lines().collect::<Vec<_>>());
    world.set("example.com", &[&cname]);
    wait_dns(&gateway, "app.example.com", "seen");
    wait_here(&world, "app.example.com");
    let check = gateway.cli(&["route", "check", "app.example.com"]);
    assert!(!check.contains("problem"), "{check}");
}

#[test]
fn the_zone_leads_to_the_gateways_that_are_well() {
    let world = World::new();
    let server = world.namespace.enter(Postgres::start);
    let start = |name: &str, address: &str| {
        let setup = world.setup().env("MOORGATE_STORE_URL", server.url("postgres")).env("MOORGATE_CLUSTER_NAME", name);
        let setup = setup.env("MOORGATE_SECRETS_MASTER_KEY", "01".repeat(32));
        let at = |port: u16| format!("{address}:{port}");
        let setup = setup.env("MOORGATE_INBOUND_TLS", at(443)).env("MOORGATE_INBOUND_HTTP", at(80));
        setup.env("MOORGATE_DNS_LISTEN", at(53)).start()
    };
    let one = start("one", GATEWAY);
    add(&one, "app.example.com", "default");
    let target = shown(&one, "app.example.com")["cname"].as_str().unwrap().to_owned();
    let ask = |server: &str| {
        let mut found: Vec<String> =
            world.dig(&[&format!("@{server}"), &target, "A"]).lines().map(str::to_owned).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(ask(GATEWAY), [GATEWAY]);
    let mut two = start("two", "127.0.0.3");
    for server in [GATEWAY, "127.0.0.3"] {
        eventually("both", || (ask(server) == [GATEWAY, "127.0.0.3"]).then_some(()));
    }
    assert_eq!(world.dig(&[&format!("@{GATEWAY}"), ZONE, "NS"]).lines().count(), 2);
    two.signal("TERM");
    eventually("one that ends is left out", || (ask(GATEWAY) == [GATEWAY]).then_some(()));
    two.wait();
    let three = start("three", "127.0.0.4");
    eventually("both", || (ask(GATEWAY) == [GATEWAY, "127.0.0.4"]).then_some(()));
    three.signal("KILL");
    eventually("one that was killed is left out", || (ask(GATEWAY) == [GATEWAY]).then_some(()));
    // A lost database takes nobody out.
    server.freeze();
    thread::sleep(Duration::from_secs(7));
    assert_eq!(ask(GATEWAY), [GATEWAY]);
    server.thaw();
}

#[test]
fn the_doctor_says_what_is_wrong_and_nothing_when_nothing_is() {
    let world = World::new();
    let pebble = Pebble::start(&world, 0, "");
    let setup = with_ca(&world, world.setup()).env("MOORGATE_DNS_LISTEN", format!("{GATEWAY}:53"));
    let gateway = setup.env("MOORGATE_EGRESS_ADDRESSES", "127.0.0.2").start();
    let well = gateway.cli(&["doctor"]);
    assert!(well.contains("nothing is wrong") && !well.contains("PROBLEM"), "{well}");
    for said in [
        "inbound_tls accepts at 127.0.0.2:443",
        "the store can be used",
        "127.0.0.1 finds the zone edge.example.net here",
        "the CA answers",
        "clock agrees with the CA's",
        "127.0.0.2 can be left from",
    ] {
        assert!(well.contains(said), "{said}: {well}");
    }
    drop((pebble, gateway));

    // Nobody hands the zone to the gateway, the CA is not there, and an address is another machine's.
    let world = World::with(&[("example.com", &[])], &[]);
    let setup = world.setup().env("MOORGATE_DNS_LISTEN", format!("{GATEWAY}:53"));
    let setup = setup.env("MOORGATE_ACME_DIRECTORY", "https://127.0.0.20:14000/dir");
    let gateway = setup.env("MOORGATE_EGRESS_ADDRESSES", "203.0.113.10").start();
    add(&gateway, "app.example.com", "default");
    let doctor = gateway.try_cli(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1), "for scripts");
    assert!(String::from_utf8_lossy(&doctor.stderr).contains("3 things are wrong"), "{doctor:?}");
    let ill = String::from_utf8(doctor.stdout).unwrap();
    for said in [
        "does not find the zone edge.example.net here: make the records of `moorgate dns records`",
        "PROBLEM  ca            the CA can't be reached",
        "203.0.113.10 is not an address of this machine",
        "1 of 1 wait for their DNS (moorgate route check DOMAIN): app.example.com",
    ] {
        assert!(ill.contains(said), "{said}: {ill}");
    }
}

#[test]
fn a_domain_that_keeps_the_ca_out_is_told_the_record_that_lets_it_in() {
    let mut world = World::new();
    let ca = world.namespace.enter(|| Ca::start(Book { life: 3_600, ..Book::default() }));
    let gateway = ca.with(world.setup()).env("MOORGATE_DNS_LISTEN", format!("{GATEWAY}:53")).start();
    let said = add(&gateway, "app.example.com", "default");
    world.set("example.com", &[records(&said)[0], "@ CAA 0 issue \"other.test\""]);
    wait_dns(&gateway, "app.example.com", "seen");
    let check = eventually("the CAA records of example.com", || {
        let check = gateway.cli(&["route", "check", "app.example.com"]);
        check.contains("the CAA records of example.com allow no certificate by small.test").then_some(check)
    });
    assert!(check.contains("example.com. IN CAA 0 issue \"small.test\""), "{check}");
}
