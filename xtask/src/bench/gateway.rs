//! The gateway under test: started as a user would, with a route that passes TLS and one that ends it.

use std::{collections::BTreeMap, env, fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use serde_json::Value;

use super::{
    error::BenchError,
    lab::{ENDED, Lab, PASSED, printed},
    peers::{Door, Proxy},
    process::Process,
};

/// How long it may take until it is ready.
const START: Duration = Duration::from_secs(30);
/// The listeners, each by its key in the file as `section_key`.
const LISTENERS: [&str; 6] =
    ["INBOUND_HTTP", "INBOUND_TLS", "OUTBOUND_HTTP", "OUTBOUND_HTTPS", "OUTBOUND_SOCKS", "OUTBOUND_SOCKS_TLS"];
/// Which listener is which door.
const DOORS: [(Door, &str); 5] = [
    (Door::Passthrough, "inbound_tls"),
    (Door::Https, "inbound_tls"),
    (Door::Connect, "outbound_http"),
    (Door::TlsConnect, "outbound_https"),
    (Door::Socks, "outbound_socks"),
];

/// Starts one on these cores, with the routes.
///
/// # Errors
/// It does not start, or does not take a route.
pub(super) fn start(lab: &Lab, cores: &[usize]) -> Result<Proxy, BenchError> {
    let directory = lab.directory("moorgate")?;
    let data = directory.join("data");
    let mut command = moorgate(lab);
    command.arg("up").arg("--data-dir").arg(&data);
    for listener in LISTENERS {
        command.env(format!("MOORGATE_{listener}"), "127.0.0.1:0");
    }
    command.env("MOORGATE_CONSOLE_LISTEN", "127.0.0.1:0");
    // No line for a connection, as with the peers. Flows are kept and counted all the same.
    command.env("MOORGATE_LOG_FLOWS", "off");
    // All clients of the benchmark come from one address, with one credential.
    for limit in ["CONNECTIONS_PER_ACCOUNT", "UNAUTHENTICATED_PER_CLIENT", "INBOUND_PER_CLIENT"] {
        command.env(format!("MOORGATE_LIMITS_{limit}"), lab.connections().to_string());
    }
    let mut process = Process::start("moorgate", &mut command, cores, &directory.join("output.log"))?;
    let facts = data.join("gateway.json");
    process.wait_for(START, || facts.exists())?;
    let doors = doors(&facts)?;
    let auth = credential(&data.join("default.env"))?;
    let (passed, ended) = (format!("tls://{}", lab.origin), format!("http://{}", lab.origin));
    tell(lab, &data, &["route", "add", PASSED, &passed, "--mode", "passthrough"])?;
    tell(lab, &data, &["route", "add", ENDED, &ended, "--mode", "terminate"])?;
    let (chain, key) = (directory.join("chain.pem"), directory.join("key.pem"));
    let (chain, key) = (chain.to_string_lossy(), key.to_string_lossy());
    tell(lab, &data, &["cert", "add", ENDED, "--chain", &chain, "--key", &key])?;
    Ok(Proxy { process, doors, auth: Some(auth) })
}

/// A command of the binary, with nothing of ours that would set it up otherwise.
fn moorgate(lab: &Lab) -> Command {
    let mut command = Command::new(&lab.moorgate);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MOORGATE_")) {
        command.env_remove(name);
    }
    command
}

fn tell(lab: &Lab, data: &Path, arguments: &[&str]) -> Result<(), BenchError> {
    let mut command = moorgate(lab);
    command.arg("--data-dir").arg(data).args(arguments);
    printed(&mut command, &format!("moorgate {}", arguments.join(" "))).map(drop)
}

fn doors(facts: &Path) -> Result<BTreeMap<Door, SocketAddr>, BenchError> {
    let text = fs::read_to_string(facts).map_err(|source| BenchError::File { path: facts.into(), source })?;
    let value: Value = serde_json::from_str(&text).map_err(|source| BenchError::Json { path: facts.into(), source })?;
    let address = |listener: &str| value.get("listeners")?.get(listener)?.get(0)?.as_str()?.parse().ok();
    let found = DOORS.map(|(door, listener)| match address(listener) {
        Some(address) => Ok((door, address)),
        None => Err(BenchError::Missing { path: facts.into(), what: listener }),
    });
    found.into_iter().collect()
}

/// `user:password`, out of the first proxy URL.
fn credential(path: &Path) -> Result<String, BenchError> {
    let text = fs::read_to_string(path).map_err(|source| BenchError::File { path: path.into(), source })?;
    let url = text.lines().find_map(|line| line.strip_prefix("MOORGATE_STATIC_URL=http://"));
    let auth = url.and_then(|url| url.split_once('@')).map(|(auth, _)| auth.to_owned());
    auth.ok_or_else(|| BenchError::Missing { path: path.into(), what: "MOORGATE_STATIC_URL" })
}
