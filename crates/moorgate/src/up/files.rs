//! What `up` leaves in the data directory for other programs: `gateway.json`, `default.env`, `operator.token`.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use moorgate_contract::listener::Listener;
use moorgate_control::Start;
use moorgate_keys::file;
use serde_json::json;

use super::{UpError, bind::Addresses};
use crate::{
    config::{Config, Profile},
    proxy_urls::ProxyUrls,
};

const GATEWAY: &str = "gateway.json";
const DEFAULT_ENV: &str = "default.env";
const OPERATOR_TOKEN: &str = "operator.token";

/// Writes them; returns the proxy URLs of the account `default` where the loopback profile knows its password.
pub(super) fn write(config: &Config, addresses: &Addresses, start: &Start) -> Result<Option<ProxyUrls>, UpError> {
    let dir = &config.data_dir;
    if let Some(token) = &start.operator_token {
        file::write_private(&dir.join(OPERATOR_TOKEN), format!("{}\n", token.token.reveal()).as_bytes())?;
    }
    let facts = facts(config, addresses);
    file::write_public(&dir.join(GATEWAY), format!("{facts:#}\n").as_bytes())?;
    let path = dir.join(DEFAULT_ENV);
    let known = match &start.created_account {
        Some((_, credential)) => Some((credential.username.clone(), credential.password.reveal().to_owned())),
        // Ports may have moved since: the same credential, written anew.
        None if config.profile == Profile::Loopback => ProxyUrls::read(&path).map(|urls| urls.credential()),
        None => None,
    };
    let Some((username, password)) = known else { return Ok(None) };
    let urls = ProxyUrls::new(&facts, &username, &password);
    file::write_private(&path, urls.env_file().as_bytes())?;
    Ok(Some(urls))
}

/// The gateway is gone: nobody should look for it at addresses that another program may have tomorrow.
pub(super) fn remove(data_dir: &Path) {
    // Without the file clients say the same as with a stale one.
    let _ = std::fs::remove_file(data_dir.join(GATEWAY));
}

fn facts(config: &Config, addresses: &Addresses) -> serde_json::Value {
    let listeners: serde_json::Map<_, _> = Listener::ALL
        .iter()
        .map(|listener| {
            let bound: Vec<String> = addresses.of(*listener).map(|address| address.to_string()).collect();
            (listener.name().to_owned(), json!(bound))
        })
        .collect();
    json!({
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "profile": match config.profile { Profile::Loopback => "loopback", Profile::File => "file" },
        "hostname": hostname(config, addresses),
        "listeners": listeners,
        "api": format!("http://{}", addresses.console),
        "ca": config.data_dir.join("ca.pem"),
    })
}

/// What clients write into proxy URLs: the configured name; without one the address that is listened on, so that
/// `localhost` can't lead to the other family first.
fn hostname(config: &Config, addresses: &Addresses) -> String {
    let configured = config.hostname.to_string();
    let bound = addresses.of(Listener::OutboundHttp).map(|address: SocketAddr| address.ip());
    match bound.filter(|ip: &IpAddr| !ip.is_unspecified()).min_by_key(IpAddr::is_ipv6) {
        Some(ip) if configured == "localhost" => ip.to_string(),
        _ => configured,
    }
}
