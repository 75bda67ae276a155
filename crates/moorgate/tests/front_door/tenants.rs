//! Tenants: tiers and quotas, what credentials are bound to, usage to the byte, the audit log.

mod credentials;
mod quotas;
mod record;
mod usage;

use serde_json::Value;

use crate::{gateway::Gateway, talk::Credential};

/// An account with a tier of its own, which has these flags, and one credential.
fn account(gateway: &Gateway, name: &str, quotas: &[&str]) -> Credential {
    gateway.cli(&["account", "add", name]);
    if !quotas.is_empty() {
        tier(gateway, name, quotas);
        gateway.cli(&["account", "set", name, "--tier", name]);
    }
    credential(gateway, name, &[])
}

/// Makes an account's tier, or replaces its quotas.
fn tier(gateway: &Gateway, name: &str, quotas: &[&str]) {
    gateway.cli(&[&["tier", "set", name][..], quotas].concat());
}

fn credential(gateway: &Gateway, account: &str, flags: &[&str]) -> Credential {
    let added = gateway.cli_json(&[&["credential", "add", account][..], flags].concat());
    ["username", "password"].map(|name| added[name].as_str().unwrap().to_owned()).into()
}

/// What is listed of a credential.
fn listed(gateway: &Gateway, account: &str, username: &str) -> Value {
    let listed = gateway.cli_json(&["credential", "list", account]);
    let found = listed.as_array().unwrap().iter().find(|credential| credential["username"] == username);
    found.expect("it is listed").clone()
}
