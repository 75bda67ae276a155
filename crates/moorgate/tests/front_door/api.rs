//! The API as its description says: asked by a program that has read nothing else.

use std::{fs, path::Path, process::Command};

use moorgate_keys::LocalCa;
use serde_json::Value;

use crate::{
    gateway::{Gateway, Setup},
    tools::{both, outcome, python},
};

/// How long each run asks, in seconds.
const SECONDS: &str = "18";
/// The same each time, so that a finding is found again.
const SEED: &str = "7";

/// A gateway that has one of everything.
fn furnished() -> Gateway {
    let gateway = Setup::default().start();
    gateway.cli(&["account", "add", "acme"]);
    let gold = serde_json::json!({ "requests_per_month": 1_000_000 });
    assert_eq!(crate::talk::api(&gateway, "PUT", "/api/v1/tiers/gold", Some(&gold)).0, 200);
    gateway.cli(&["credential", "add", "acme"]);
    gateway.cli(&["route", "add", "app.example.com", "http://127.0.0.1:9", "--mode", "terminate", "--account", "acme"]);
    gateway
}

/// Has a token's whole API asked; nothing may come of it that the description does not say.
fn asks_everything(gateway: &Gateway, account: Option<&str>) {
    let made = gateway.cli_json(&[&["token", "add"][..], account.as_slice()].concat());
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    let mut asking = python("use_schemathesis.py");
    asking.args([gateway.api(), token, account.unwrap_or_default(), SECONDS, SEED]).env("OWN_TOKEN_ID", id);
    let said = outcome(&mut asking);
    assert!(said.status.success(), "{}", both(&said));
}

#[test]
fn an_operators_api_is_what_its_description_says() {
    asks_everything(&furnished(), None);
}

#[test]
fn an_accounts_api_is_what_its_description_says() {
    asks_everything(&furnished(), Some("acme"));
}

#[test]
fn a_command_of_another_machine_speaks_tls_with_the_gateway_and_believes_no_other_name() {
    let setup =
        Setup::default().env("MOORGATE_CONSOLE_LISTEN", "0.0.0.0:0").env("MOORGATE_CONSOLE_HOSTNAME", "localhost");
    let gateway = setup.start();
    let facts: Value = serde_json::from_slice(&fs::read(gateway.data_dir().join("gateway.json")).unwrap()).unwrap();
    let api = facts["console"].as_str().unwrap();
    assert!(api.starts_with("https://localhost:"), "{api}");
    let elsewhere = |api: &str, root: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moorgate"));
        command.env("MOORGATE_API", api).env("MOORGATE_TOKEN", gateway.operator_token()).env("SSL_CERT_FILE", root);
        let done = command.args(["account", "list"]).output().unwrap();
        (done.status.success(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
    };
    let (worked, said) = elsewhere(api, &gateway.ca());
    assert!(worked && said.contains("default"), "{said}");
    let (worked, said) = elsewhere(&api.replace("localhost", "127.0.0.1"), &gateway.ca());
    assert!(!worked && said.contains("localhost"), "{said}");
    let nobody = tempfile::tempdir().unwrap();
    let other = nobody.path().join("ca.pem");
    fs::write(&other, LocalCa::create("another CA").unwrap().cert_pem()).unwrap();
    let (worked, said) = elsewhere(api, &other);
    assert!(!worked && said.contains("SSL_CERT_FILE"), "{said}");
}
