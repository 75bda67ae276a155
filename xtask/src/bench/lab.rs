//! The surroundings of a run: a temporary directory, cores, ports, a certificate, the load and the origin.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU16, AtomicU32, Ordering},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;

use super::{
    error::BenchError,
    process::{Process, our_cores},
};

/// The name that passes through the gateway unread.
pub(super) const PASSED: &str = "bench.test";
/// The name whose TLS ends at the proxy.
pub(super) const ENDED: &str = "term.test";
/// Where the search for free ports begins: above what is well known.
const FIRST_PORT: u16 = 11_000;

/// What every proxy of a run shares. All of it ends with it.
pub(super) struct Lab {
    directory: TempDir,
    /// The binary under test.
    pub(super) moorgate: PathBuf,
    /// The load generator.
    pub(super) load: PathBuf,
    /// Where proxies run.
    pub(super) proxy_core: usize,
    /// Where load and origin run.
    pub(super) load_core: usize,
    /// All cores that we may use.
    pub(super) cores: Vec<usize>,
    /// The origin's address.
    pub(super) origin: SocketAddr,
    /// How many files a process may have open.
    pub(super) files: u64,
    next_port: AtomicU16,
    next_directory: AtomicU32,
    _origin: Process,
}

impl Lab {
    /// Makes all of it.
    ///
    /// # Errors
    /// Too few cores, no directory, no certificate, no origin.
    pub(super) fn new(moorgate: PathBuf, load: PathBuf) -> Result<Self, BenchError> {
        let cores = our_cores()?;
        let (proxy_core, load_core) = match *cores {
            [proxy, load, ..] => (proxy, load),
            _ => return Err(BenchError::Cores { cores: cores.len() }),
        };
        let directory = TempDir::with_prefix("moorgate-bench-").map_err(BenchError::Directory)?;
        // Peers that leave root behind read their files here.
        open_to_all(directory.path())?;
        certificate(directory.path())?;
        let mut command = Command::new(&load);
        let log = directory.path().join("origin.log");
        let origin = Process::start_talking("moorgate-load origin", command.arg("origin"), &[load_core], &log);
        let (process, mut output) = origin?;
        let line = process.line(&mut output)?;
        let origin = line.parse().map_err(|_| process.gone())?;
        Ok(Self {
            directory,
            moorgate,
            load,
            proxy_core,
            load_core,
            cores,
            origin,
            files: raise_open_files(),
            next_port: AtomicU16::new(FIRST_PORT),
            next_directory: AtomicU32::new(0),
            _origin: process,
        })
    }

    /// How many connections a proxy should be set up for. HAProxy takes up to three files for one, pipes included.
    pub(super) fn connections(&self) -> u64 {
        self.files.saturating_sub(200) / 3
    }

    /// A directory of its own for one start of a program.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf, BenchError> {
        let number = self.next_directory.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.path().join(format!("{name}-{number}"));
        fs::create_dir(&path).map_err(|source| BenchError::File { path: path.clone(), source })?;
        open_to_all(&path)?;
        for file in ["chain.pem", "key.pem", "both.pem"] {
            let from = self.directory.path().join(file);
            fs::copy(&from, path.join(file)).map_err(|source| BenchError::File { path: from, source })?;
        }
        Ok(path)
    }

    /// A port that nobody has. Below the range of outgoing connections: one of these could take it at any time.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn port(&self) -> Result<u16, BenchError> {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let below = range.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32_768);
        loop {
            let port = self.next_port.fetch_add(1, Ordering::Relaxed);
            if !(FIRST_PORT..below).contains(&port) {
                return Err(BenchError::Port { below });
            }
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
    }
}

/// Whoever may go to the temporary directory may read this one.
fn open_to_all(path: &Path) -> Result<(), BenchError> {
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).map_err(|source| BenchError::File { path: path.into(), source })
}

/// The hard limit of open files, which our children inherit as their soft one.
fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    // HAProxy and Squid make tables as long as their limit: with no end to it they would take the machine's memory.
    let wanted = hard.min(100_000);
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft }
}

/// One certificate for all: ECDSA P-256, what most sites have. Its key may be read by whoever runs a peer; it is worth
/// nothing, and gone with the directory.
fn certificate(directory: &Path) -> Result<(), BenchError> {
    let (chain, key) = (directory.join("chain.pem"), directory.join("key.pem"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-days", "30", "-subj", "/CN=bench.test", "-addext", "subjectAltName=DNS:bench.test,DNS:term.test"]);
    printed(command.arg("-keyout").arg(&key).arg("-out").arg(&chain), "openssl req")?;
    let read = |path: &Path| fs::read_to_string(path).map_err(|source| BenchError::File { path: path.into(), source });
    let both = directory.join("both.pem");
    fs::write(&both, read(&chain)? + &read(&key)?).map_err(|source| BenchError::File { path: both, source })?;
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&key, mode).map_err(|source| BenchError::File { path: key, source })
}

/// Runs a command to its end; what it printed. `shown` names it in errors.
///
/// # Errors
/// It can't be run, or says no.
pub(super) fn printed(command: &mut Command, shown: &str) -> Result<String, BenchError> {
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|source| BenchError::Start { name: shown.into(), source })?;
    if !done.status.success() {
        let last_words = String::from_utf8_lossy(&done.stderr).trim().replace('\n', " ");
        return Err(BenchError::Failed { command: shown.into(), last_words });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
