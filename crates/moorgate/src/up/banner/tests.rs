use std::path::Path;

use super::*;
use crate::config;

/// Settings of a directory and variables; the file, if any, is empty.
fn settings(dir: &Path, production: bool, variables: &[(&str, &str)]) -> Config {
    let file = dir.join("moorgate.toml");
    std::fs::write(&file, "").unwrap();
    let env = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    config::load(production.then_some(&*file), Some(dir.join("data")), &env).unwrap()
}

fn page(config: &Config, urls: Option<&ProxyUrls>) -> String {
    let addresses = Addresses {
        traffic: config.listeners().collect(),
        console: config.console,
        api: config.console,
        dns: Vec::new(),
    };
    let start = Start {
        first: true,
        created_account: None,
        operator_token: None,
        local_ca: None,
        degraded: None,
        accounts: 0,
        routes: 0,
        snapshot_version: 1,
    };
    Page { config, addresses: &addresses, start: &start, urls, link: None, terminal: true, bold: false }
        .first(Instant::now())
}

#[test]
fn in_production_the_commands_name_an_account_and_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let text = page(&settings(dir.path(), true, &[("MOORGATE_EGRESS_ADDRESSES", "192.0.2.1")]), None);
    let flag = format!(" --data-dir {}\n", dir.path().join("data").display());
    for command in ["account add acme", "credential add acme"] {
        assert!(text.contains(&format!("{command}{flag}")), "{text}");
    }
    assert!(!text.contains("\n\n\n") && text.ends_with("\n\nCtrl-C drains. Flows follow as they end:\n"), "{text}");
}

#[test]
fn a_listener_that_is_not_open_is_not_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let with = |variables: &[(&str, &str)]| page(&settings(dir.path(), false, variables), None);
    assert!(
        with(&[])
            .contains("INBOUND    127.0.0.1:8443 (TLS), 127.0.0.1:8080 (HTTP); Static and Shield share the TLS port\n")
    );
    assert!(with(&[("MOORGATE_INBOUND_TLS", "")]).contains("INBOUND    127.0.0.1:8080 (HTTP)\n"));
    let none = with(&[("MOORGATE_INBOUND_TLS", ""), ("MOORGATE_INBOUND_HTTP", "")]);
    assert!(!none.contains("INBOUND") && !none.contains("no route") && !none.contains("\n\n\n"), "{none}");
}

#[test]
fn what_the_wire_can_read_stands_below_its_title() {
    let dir = tempfile::tempdir().unwrap();
    for hostname in ["127.0.0.1", "a-rather-long-name-of-a-proxy.example.com"] {
        let facts = serde_json::json!({
            "hostname": hostname,
            "listeners": {"outbound_http": ["127.0.0.1:9293"], "outbound_https": ["127.0.0.1:9294"]},
        });
        let urls = ProxyUrls::new(&facts, "mg_7Kq2bXfR", "secret");
        let text = page(&settings(dir.path(), false, &[]), Some(&urls));
        let column = |words: &str| {
            let before = text.lines().find_map(|line| line.strip_suffix(words)).unwrap();
            before.chars().count()
        };
        let title = column("the wire to us can read");
        assert_eq!((column("name, port, password"), column("nothing")), (title, title), "{text}");
    }
}
