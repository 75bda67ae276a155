//! The demo's gateway: this binary as a child, on ports and in a directory of its own.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use moorgate_api::client::Client;
use moorgate_contract::listener::Listener;
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use super::{DemoError, names::Names};
use crate::{
    config::GATEWAY_FILE,
    output,
    proxy_urls::{DEFAULT_ENV, ProxyUrls},
};

/// What it leaves from: addresses of loopback's, which every Linux has.
pub(super) const EGRESS: [&str; 2] = ["127.0.0.2", "127.0.0.3"];
/// How long its start may take. Generous: the machine may be busy.
const START: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
/// A port that the kernel chooses.
const ANY_PORT: &str = "127.0.0.1:0";

/// The gateway's process. Killed when dropped, but reaped by [`Process::stop`] only.
pub(super) struct Process {
    child: Child,
    /// Its data directory.
    dir: PathBuf,
    log: PathBuf,
}

/// A gateway that is ready.
pub(super) struct Gateway {
    /// Its data directory.
    pub(super) dir: PathBuf,
    facts: Value,
    /// Asks it as its operator.
    pub(super) client: Client,
}

impl Process {
    /// Starts one below `dir`.
    ///
    /// # Errors
    /// When it can't be run.
    pub(super) fn start(dir: &Path, names: &Names) -> Result<Self, DemoError> {
        let log = dir.join("gateway.log");
        Ok(Self { child: spawn(dir, &log, names)?, dir: dir.join("gateway"), log })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// What kept it from that.
    pub(super) async fn ready(&mut self) -> Result<Gateway, DemoError> {
        let facts = self.facts().await?;
        let api = facts.get("api").and_then(Value::as_str).ok_or(DemoError::NotSaid { what: "API" })?;
        let token = fs::read_to_string(self.dir.join("operator.token"));
        let token = token.map_err(|_| DemoError::NotSaid { what: "operator's token" })?;
        let client = Client::new(api, &token)?;
        Ok(Gateway { dir: self.dir.clone(), facts, client })
    }

    /// Waits for its `gateway.json`.
    async fn facts(&mut self) -> Result<Value, DemoError> {
        let began = Instant::now();
        while began.elapsed() < START {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return Err(DemoError::Ended { said: last_line(&self.log) });
            }
            let facts = fs::read(self.dir.join(GATEWAY_FILE)).ok();
            if let Some(facts) = facts.and_then(|text| serde_json::from_slice(&text).ok()) {
                return Ok(facts);
            }
            sleep(POLL).await;
        }
        Err(DemoError::NotReady { seconds: START.as_secs(), said: last_line(&self.log) })
    }

    /// Ends it, and waits until it is gone.
    pub(super) async fn stop(&mut self) {
        // One that ended by itself is gone too.
        let _ = self.child.kill().await;
    }
}

impl Gateway {
    /// Where a listener is bound.
    pub(super) fn listener(&self, listener: Listener) -> Result<SocketAddr, DemoError> {
        let bound =
            self.facts.get("listeners").and_then(|all| all.get(listener.name())?.get(0)?.as_str()?.parse().ok());
        bound.ok_or(DemoError::NotSaid { what: "listeners" })
    }

    /// Username and password of its account.
    pub(super) fn credential(&self) -> Result<(String, String), DemoError> {
        let urls = ProxyUrls::read(&self.dir.join(DEFAULT_ENV)).ok_or(DemoError::NotSaid { what: "credential" })?;
        Ok(urls.credential())
    }

    /// The certificate of its local CA, in PEM.
    pub(super) fn ca(&self) -> Result<String, DemoError> {
        fs::read_to_string(self.dir.join("ca.pem")).map_err(|_| DemoError::NotSaid { what: "CA" })
    }
}

fn spawn(dir: &Path, log: &Path, names: &Names) -> Result<Child, DemoError> {
    let file = |source| DemoError::File { action: "create", path: log.to_owned(), source };
    let said = File::create(log).map_err(file)?;
    let path = std::env::current_exe().map_err(|source| DemoError::Spawn { path: "moorgate".into(), source })?;
    let mut command = Command::new(&path);
    command.arg("up").arg("--data-dir").arg(dir.join("gateway"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MOORGATE_")) {
        command.env_remove(name);
    }
    for listener in Listener::ALL {
        command.env(format!("MOORGATE_{}", listener.name().to_ascii_uppercase()), ANY_PORT);
    }
    command
        .env("MOORGATE_CONSOLE_LISTEN", ANY_PORT)
        .env("MOORGATE_EGRESS_ADDRESSES", EGRESS.join(","))
        .env("MOORGATE_RESOLVER_SERVERS", names.address.to_string())
        .env("MOORGATE_LOG_FLOWS", "off")
        .stdin(Stdio::null())
        .stdout(said.try_clone().map_err(file)?)
        .stderr(said)
        .kill_on_drop(true);
    command.spawn().map_err(|source| DemoError::Spawn { path, source })
}

fn last_line(log: &Path) -> Box<str> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    output::shown(line).into()
}
