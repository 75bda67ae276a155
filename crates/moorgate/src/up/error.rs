//! What keeps a gateway from starting.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use moorgate_control::ControlError;
use moorgate_keys::{KeyError, SealError};
use moorgate_net::{holder::Holder, resolver::ResolverError};
use moorgate_tls::SetupError;
use thiserror::Error;

use crate::{
    config::{ConfigError, GATEWAY_FILE},
    shell::quote,
};

/// What keeps a gateway from starting, on what, and what to do.
#[derive(Debug, Error)]
pub(crate) enum UpError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store has a master key, and this gateway was given none.
    #[error(
        "no master key was given, and the store has one: name it with [secrets] master_key_file or MOORGATE_SECRETS_MASTER_KEY"
    )]
    NoKeyGiven(#[source] Box<ControlError>),
    /// An address can't be listened on.
    #[error("cannot listen on {address} ({words}): {}", because(source, holder.as_ref(), *address, variable))]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// What it is for.
        words: &'static str,
        /// The variable that moves it.
        variable: String,
        /// Who has it.
        holder: Option<Holder>,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is there already.
    #[error(
        "a gateway runs with data directory {} already (pid {pid})\n  commands such as  moorgate route list  ask that one; to start it anew, stop it first\n  another beside it needs its own --data-dir and ports",
        path.display()
    )]
    Running {
        /// The data directory.
        path: PathBuf,
        /// Who has it.
        pid: u32,
    },
    /// A file can't be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was to be done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A key, a certificate or a private file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is no master key where one must be.
    #[error(
        "there is no master key: put the one that the backup was made under at {}, or name it in [secrets] master_key_file",
        path.display()
    )]
    NoMasterKey {
        /// Where it would be.
        path: PathBuf,
    },
    /// The master key of this directory is gone.
    #[error(
        "there is no master key, and what is in {} was sealed under one: put it back at {}, or name it in [secrets] \
         master_key_file or MOORGATE_SECRETS_MASTER_KEY",
        path.parent().unwrap_or(path).display(),
        path.display()
    )]
    KeyLost {
        /// Where it was.
        path: PathBuf,
    },
    /// The local CA's key can't be opened.
    #[error("cannot open {} with this master key", path.display())]
    Sealed {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SealError,
    },
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] SetupError),
    /// Names can't be resolved.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The control plane can't start.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The system has no thread or socket for us.
    #[error("the system gives this process no more threads or sockets")]
    Thread(#[source] io::Error),
}

impl UpError {
    /// A port that the gateway of this very data directory holds is no matter of ports.
    pub(super) fn of_running(self, data_dir: &Path) -> Self {
        let Self::Bind { holder: Some(Holder { pid, .. }), .. } = &self else { return self };
        let written = std::fs::read(data_dir.join(GATEWAY_FILE)).ok();
        let facts: Option<serde_json::Value> = written.and_then(|text| serde_json::from_slice(&text).ok());
        match facts.and_then(|facts| facts.get("pid")?.as_u64()) {
            Some(running) if running == u64::from(*pid) => Self::Running { path: data_dir.to_owned(), pid: *pid },
            _ => self,
        }
    }
}

/// The file that runs, as it may be typed into a shell.
fn this_binary() -> String {
    quote(&std::env::current_exe().map_or_else(|_| "moorgate".into(), |path| path.display().to_string()))
}

fn because(source: &io::Error, holder: Option<&Holder>, address: SocketAddr, variable: &str) -> String {
    let moved = SocketAddr::new(address.ip(), address.port().checked_add(10_000).unwrap_or(0));
    match (source.kind(), holder) {
        (io::ErrorKind::AddrInUse, Some(Holder { name, pid })) => format!(
            "address in use by \"{}\" (pid {pid})\n  stop it, or start with  {variable}={moved}",
            moorgate_wire::visible::visible(name)
        ),
        (io::ErrorKind::AddrInUse, None) => {
            format!("address in use by another user's process\n  stop it, or start with  {variable}={moved}")
        }
        (io::ErrorKind::PermissionDenied, _) => format!(
            "ports below 1024 need a privilege\n  give it with  setcap cap_net_bind_service=+ep {} (or systemd's AmbientCapabilities), or start with  {variable}={moved}",
            this_binary()
        ),
        (io::ErrorKind::AddrNotAvailable, _) => {
            format!(
                "this machine does not have that address\n  add it to an interface, or start with another  {variable}=…"
            )
        }
        _ => format!("{source}\n  start with another address in  {variable}=…"),
    }
}
