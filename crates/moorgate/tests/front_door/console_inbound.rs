//! The wizard for domains: what a test request meets, and the whole way with a zone, its DNS and a CA.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use crate::{
    console::{Browser, link, pictures},
    gateway::{Gateway, Setup},
    inbound::support::TlsOrigin,
    target::{Target, ok},
    tools::{packages, script},
    zone::{
        pebble::{Pebble, with_ca},
        world::{GATEWAY, RESOLVER, World},
    },
};

fn add(gateway: &Gateway, domain: &str, url: &str, mode: &str) {
    gateway.cli(&["route", "add", domain, url, "--mode", mode, "--account", "default"]);
}

#[test]
fn a_test_request_is_a_visitors_and_says_what_it_met_step_by_step() {
    let gateway = Gateway::start();
    let origin = Target::http(|_| ok("hi"));
    let angry = Target::http(|_| "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n".to_owned());
    let secure = TlsOrigin::start(&["bank.example.com"], |mut stream| {
        use std::io::{Read as _, Write as _};
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    add(&gateway, "app.example.com", &format!("http://{}", origin.address), "terminate");
    add(&gateway, "angry.example.com", &format!("http://{}", angry.address), "terminate");
    add(&gateway, "down.example.com", "http://127.0.0.1:9", "terminate");
    add(&gateway, "*.wild.example.com", &format!("http://{}", origin.address), "terminate");
    add(&gateway, "bank.example.com", &format!("tls://{}", secure.address), "passthrough");
    let operator = Browser::invited(&gateway, &[], "ops@example.com");
    let csrf = operator.csrf();
    let ask = |domain: &str| operator.post(&format!("/a/default/routes/{domain}/request"), &[("csrf", &csrf)]).body;

    for (domain, wanted) in [
        (
            "app.example.com",
            &[
                "Visitors are not led here yet",
                "To this gateway&#39;s own listener at 127.0.0.1:",
                "A certificate for app.example.com, issued by Moorgate local CA",
                "Clients turn away from it",
                "The answer is 200.",
                "It came through, answered by http://127.0.0.1:",
            ][..],
        ),
        ("*.wild.example.com", &["moorgate-test.wild.example.com", "The answer is 200."]),
        ("bank.example.com", &["A certificate for bank.example.com", "The answer is 200."]),
        ("angry.example.com", &["The answer is 503.", "It came through"]),
        ("down.example.com", &["The answer is 502.", "What to do:"]),
    ] {
        let page = ask(domain);
        for said in wanted {
            assert!(page.contains(said), "{domain}: {said}: {page}");
        }
        let flow = page.split("href=\"/a/default/flows/").nth(1).unwrap_or_else(|| panic!("{domain}: {page}"));
        let flow = operator.get(&format!("/a/default/flows/{}", flow.split('"').next().unwrap()));
        assert!(flow.status == 200 && flow.body.contains(domain), "{domain}: {}", flow.body);
    }
    let came = &origin.seen().requests[0];
    assert!(came.starts_with("GET / HTTP/1.1\r\n") && came.contains("app.example.com"), "{came}");
    // Who is not let in is told by whom.
    gateway.cli(&["route", "set", "app.example.com", "--deny-client", "127.0.0.0/8"]);
    let page = ask("app.example.com");
    assert!(page.contains("What to do:") && !page.contains("The answer is 200"), "{page}");
    let page = operator.get("/a/default/routes/app.example.com?test=1").body;
    assert!(page.contains("step by step") && page.contains("its health: "), "{page}");
}

#[test]
fn the_wizard_leads_from_a_name_to_a_served_site_with_a_certificate() {
    let mut world = World::new();
    let pebble = Pebble::start(&world, 0, "");
    let origin = world.namespace.enter(|| Target::http(|_| ok("hi")));
    let setup: Setup = with_ca(&world, world.setup()).env("MOORGATE_DNS_LISTEN", format!("{GATEWAY}:53"));
    // As a client of the domain would, it resolves where everybody does.
    let setup = setup.env("MOORGATE_RESOLVER_SERVERS", RESOLVER);
    let gateway = setup.env("SSL_CERT_FILE", pebble.root(&world)).start();
    let mut browser = world.tool("node");
    browser.arg(script("use_wizard.mjs")).env("CLIENTS", packages());
    browser.args([&*link(&gateway, &[]), &*pictures().display().to_string(), &format!("http://{}", origin.address)]);
    let mut browser = browser.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(browser.stdout.take().unwrap()).lines().map_while(Result::ok) {
        // What the page says is to be set, is set.
        if let Some(target) = line.strip_prefix("cname ") {
            world.set("example.com", &[&format!("app CNAME {target}.")]);
        }
        said.push(line);
    }
    let status = browser.wait().unwrap();
    assert!(status.success() && said.last().is_some_and(|line| line == "served"), "{status}: {said:?}");
}
