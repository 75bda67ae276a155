//! A gateway under test: started as a user would, stopped by its process id.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub const MOORGATE: &str = env!("CARGO_BIN_EXE_moorgate");

/// The listeners of a gateway, each by its key in the file as `section_key`.
const LISTENERS: [&str; 6] =
    ["INBOUND_HTTP", "INBOUND_TLS", "OUTBOUND_HTTP", "OUTBOUND_SOCKS", "OUTBOUND_HTTPS", "OUTBOUND_SOCKS_TLS"];

/// How long a start may take before a test gives up. Generous: the machine may be busy with other tests.
const START: Duration = Duration::from_secs(30);

/// What a gateway is started with.
#[derive(Default)]
pub struct Setup {
    env: Vec<(String, String)>,
    config: Option<String>,
    data_dir: Option<PathBuf>,
    prefix: Vec<String>,
    home: Option<PathBuf>,
}

impl Setup {
    /// Sets a variable, e.g. `("MOORGATE_LIMITS_HEAD", "1s")`.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts with this file as `--config`, so in the production profile. The listeners are on loopback and port 0 all the same.
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.into());
        self
    }

    /// Uses a directory that is there (or will be), and is kept afterwards.
    pub fn data_dir(mut self, dir: &Path) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Starts it as a user would who has this home directory and names no data directory.
    pub fn home(mut self, home: &Path) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Runs the binary behind another command: `["ip", "netns", "exec", "name"]`, `["prlimit", "--nofile=256:256"]`.
    pub fn behind(mut self, prefix: &[&str]) -> Self {
        self.prefix = prefix.iter().map(ToString::to_string).collect();
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Gateway {
        let temp = TempDir::new().unwrap();
        let mut command = behind(&self.prefix);
        command.arg("up");
        let data_dir = if let Some(home) = &self.home {
            command.env("HOME", home).env_remove("XDG_STATE_HOME");
            home.join(".local/state/moorgate")
        } else {
            let data_dir = self.data_dir.clone().unwrap_or_else(|| temp.path().join("data"));
            command.arg("--data-dir").arg(&data_dir);
            data_dir
        };
        if let Some(config) = &self.config {
            let path = temp.path().join("moorgate.toml");
            fs::write(&path, config).unwrap();
            command.arg("--config").arg(path);
        }
        for variable in std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("MOORGATE_")) {
            command.env_remove(variable);
        }
        on_free_ports(&mut command);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moorgate starts");
        let (out, err) = (follow(child.stdout.take().unwrap()), follow(child.stderr.take().unwrap()));
        let facts = wait_ready(&mut child, &data_dir, &err);
        Gateway { child, data_dir, facts, out, err, prefix: self.prefix, _temp: temp }
    }
}

/// The binary, behind another command if there is one.
fn behind(prefix: &[String]) -> Command {
    let Some((program, rest)) = prefix.split_first() else { return Command::new(MOORGATE) };
    let mut command = Command::new(program);
    command.args(rest).arg(MOORGATE);
    command
}

/// Has the kernel choose every port of `moorgate up`.
pub fn on_free_ports(command: &mut Command) {
    for listener in LISTENERS {
        command.env(format!("MOORGATE_{listener}"), "127.0.0.1:0");
    }
    command.env("MOORGATE_CONSOLE_LISTEN", "127.0.0.1:0");
}

/// Collects what a process writes, line by line.
pub fn follow(stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let sink = text.clone();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut text = sink.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    });
    text
}

fn wait_ready(child: &mut Child, data_dir: &Path, err: &Arc<Mutex<String>>) -> Value {
    let end = Instant::now() + START;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            thread::sleep(Duration::from_millis(100));
            panic!("moorgate ended at its start ({status}): {}", err.lock().unwrap());
        }
        let facts =
            fs::read(data_dir.join("gateway.json")).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        // The file may be one that a killed gateway left.
        if let Some(facts) = facts.filter(|facts| facts["pid"] == child.id()) {
            return facts;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    panic!("moorgate was not ready within {START:?}: {}", err.lock().unwrap());
}

/// A running gateway. Killed when dropped.
pub struct Gateway {
    child: Child,
    data_dir: PathBuf,
    facts: Value,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
    prefix: Vec<String>,
    _temp: TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let said = self.stderr();
            assert!(!said.contains("panicked at"), "whatever was asked of it: {said}");
        }
    }
}

impl Gateway {
    /// One with every default of the loopback profile.
    pub fn start() -> Self {
        Setup::default().start()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The first address of a listener, by its name in `gateway.json`: `outbound_http`.
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.facts["listeners"][listener][0].as_str().expect(listener).parse().unwrap()
    }

    /// The base URL of the API, health and metrics.
    pub fn api(&self) -> &str {
        self.facts["api"].as_str().unwrap()
    }

    pub fn ca(&self) -> PathBuf {
        self.data_dir.join("ca.pem")
    }

    pub fn operator_token(&self) -> String {
        fs::read_to_string(self.data_dir.join("operator.token")).unwrap().trim().to_owned()
    }

    /// The variables of the account `default`, as in `default.env`.
    pub fn env(&self) -> HashMap<String, String> {
        let text = fs::read_to_string(self.data_dir.join("default.env")).unwrap();
        let unquote = |value: &str| value.trim_matches('\'').to_owned();
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), unquote(value)))
            .collect()
    }

    /// Username and password of the account `default`.
    pub fn credential(&self) -> (String, String) {
        let url = self.env()["MOORGATE_STATIC_URL"].clone();
        let (user, password) = url.split_once("://").unwrap().1.split_once('@').unwrap().0.split_once(':').unwrap();
        (user.to_owned(), password.to_owned())
    }

    /// Runs a command of the CLI against this gateway, whatever it exits with.
    pub fn try_cli(&self, args: &[&str]) -> Output {
        behind(&self.prefix).args(args).arg("--data-dir").arg(&self.data_dir).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command of the CLI that must succeed; its standard output.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = self.try_cli(args);
        assert!(output.status.success(), "moorgate {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`Gateway::cli`], with `--json`, parsed.
    pub fn cli_json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.cli(&[args, &["--json"]].concat())).unwrap()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    /// The ended flows, oldest first, as `moorgate log --json` has them.
    pub fn flows(&self) -> Vec<Value> {
        self.cli(&["log", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until an ended flow fits.
    pub fn wait_flow(&self, fits: impl Fn(&Value) -> bool) -> Value {
        eventually("a flow", || self.flows().into_iter().find(&fits))
    }

    /// Sends a signal: `"TERM"`, `"INT"`, `"KILL"`.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the gateway's end", || self.child.try_wait().unwrap())
    }
}

/// Lets this process have as many descriptors as it may: a crowd of clients and their targets live in it.
pub fn raise_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

/// Polls until there is something. For what has no event to wait for; the bound is only there to end a broken test.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(Duration::from_secs(20), what, look)
}

/// The same, for what takes its time.
pub fn eventually_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}
