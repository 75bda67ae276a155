//! What keeps the demo from measuring anything. What it measures and does not like is no error: it is in the table.

use std::{io, path::PathBuf};

use moorgate_api::client::ClientError;
use moorgate_keys::KeyError;
use moorgate_tls::SetupError;
use thiserror::Error;

/// Why there is no table. One line each.
#[derive(Debug, Error)]
pub(crate) enum DemoError {
    /// No threads, no descriptors.
    #[error("cannot start: the system gives no threads or descriptors")]
    Runtime(#[source] io::Error),
    /// No randomness.
    #[error("cannot draw secrets: the system gives no randomness")]
    Random,
    /// No ports.
    #[error("cannot listen on a port of 127.0.0.1")]
    Listen(#[source] io::Error),
    /// A directory or file of the demo's own.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `create`, `write`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory for the recordings holds something.
    #[error("{} is not empty: name a directory for the recordings that is new or empty", path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// The directory for the recordings is not the user's alone.
    #[error("others may write to {}: name a directory for the recordings that is new, or yours alone", path.display())]
    Loose {
        /// Which.
        path: PathBuf,
    },
    /// Our own binary can't be run.
    #[error("cannot run {} as the demo's gateway", path.display())]
    Spawn {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The gateway ended at its start.
    #[error("the demo's gateway did not start: {said}")]
    Ended {
        /// Its last line.
        said: Box<str>,
    },
    /// The gateway is not ready.
    #[error("the demo's gateway was not ready within {seconds} s: {said}; is this machine very busy?")]
    NotReady {
        /// How long we waited.
        seconds: u64,
        /// Its last line.
        said: Box<str>,
    },
    /// What the gateway wrote about itself lacks something.
    #[error("the demo's gateway did not say its {what}")]
    NotSaid {
        /// What is missing.
        what: &'static str,
    },
    /// A forwarding URL of ours.
    #[error("{url} is not taken as a forwarding URL")]
    Route {
        /// Which.
        url: String,
    },
    /// The gateway's API.
    #[error("the demo's gateway cannot be asked")]
    Asking(#[from] ClientError),
    /// Certificates.
    #[error("cannot make the demo's certificates")]
    Keys(#[from] KeyError),
    /// TLS.
    #[error("cannot set up the demo's TLS")]
    Tls(#[from] SetupError),
    /// Somebody pressed Ctrl-C.
    #[error("interrupted; the demo's gateway is stopped and its directory removed")]
    Interrupted,
}
