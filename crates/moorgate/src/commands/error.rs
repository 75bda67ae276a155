//! Why a command was not done. `Display` names no cause; the chain is printed once, by `main`.

use std::{io, path::PathBuf};

use moorgate_api::client::ClientError;
use thiserror::Error;

use crate::{agent::AgentError, config::ConfigError, demo::DemoError, output::counted, up::UpError};

/// Why a command was not done.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// Nothing says where the data directory is.
    #[error("no data directory: neither XDG_STATE_HOME nor HOME is set; give --data-dir DIR")]
    NoDataDir,
    /// No gateway has run there, or it went down.
    #[error("no gateway runs with data directory {}; start one with: moorgate up", dir.display())]
    NoGateway { dir: PathBuf },
    /// A test of a receiver of alarms.
    #[error("the receiver does not have it; see above")]
    NotDelivered,
    /// The doctor has found something.
    #[error("{}", counted(*.problems, "thing is wrong; see PROBLEM above", "things are wrong; see PROBLEM above"))]
    Unwell { problems: usize },
    /// The CA's root can't be read.
    #[error("{key} names {}, in which no CA certificate can be read", path.display())]
    Trust { key: &'static str, path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    /// A file of the data directory can't be read.
    #[error("cannot read {}; run this as the user who runs the gateway, or set MOORGATE_API and MOORGATE_TOKEN", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// What the gateway wrote about itself makes no sense.
    #[error("{} is not what a gateway of this version writes; start the gateway again", path.display())]
    NotOurs { path: PathBuf },
    /// There is no operator's token where it should be.
    #[error("no API token: {} is missing; set MOORGATE_TOKEN to one", path.display())]
    NoToken { path: PathBuf },
    /// A file that was named can't be read.
    #[error("cannot read {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A file of users that is none.
    #[error("{} has a line that is not user:password; write one user a line", path.display())]
    NotUsers { path: PathBuf },
    /// A file of users without any.
    #[error("{} names no user; to ask nobody for a password, give \"\" in place of a file", path.display())]
    NoUsers { path: PathBuf },
    /// A text that was to be applied is wrong.
    #[error("{said}")]
    Text { said: String },
    /// A file can't be written.
    #[error("cannot write {}; name one that is not there yet, in a directory that is yours", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    /// A file is there already.
    #[error("{} is there already; name a file that is not, or remove it first", path.display())]
    Taken { path: PathBuf },
    /// A change that changes nothing.
    #[error("nothing was given to set of {domain:?}; see: moorgate route set --help")]
    NothingToSet { domain: String },
    /// The audit log is not what was written.
    #[error(
        "the audit log was changed from outside: {problem}; {}: compare the store with a backup",
        match entries {
            0 => "none of its entries is certain".to_owned(),
            _ => format!("its first {entries} entries are whole (head {head})"),
        }
    )]
    AuditBroken { problem: String, entries: u64, head: String },
    /// The gateway can't be asked, or said no.
    #[error(transparent)]
    Asking(#[from] ClientError),
    /// The gateway went away while its flows were followed.
    #[error("the gateway ended the stream: it goes down, or the token was revoked")]
    StreamEnded,
    /// The answer can't be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The answer can't be written as JSON.
    #[error("the answer cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The runtime can't be started.
    #[error("cannot start: the system gives no threads or descriptors")]
    Runtime(#[source] io::Error),
    /// The gateway's file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `up`.
    #[error(transparent)]
    Up(#[from] UpError),
    /// `demo`.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// `agent`.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

impl CommandError {
    /// Whether the command line itself is wrong.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::NothingToSet { .. })
    }

    /// Whether only the reader of our output went away.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if super::is_closed_pipe(error))
    }
}
