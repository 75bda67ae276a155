//! What keeps the agent from starting.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use moorgate_tls::SetupError;
use moorgate_wire::host::HostPortError;
use thiserror::Error;

/// Why the agent did not start. One line each, with what to do.
#[derive(Debug, Error)]
pub(crate) enum AgentError {
    /// Nobody said which gateway.
    #[error(
        "no gateway to go through: {variable} is not set and {file} is not there; set it to the URL that `moorgate credential add` \
         printed, or start a gateway with `moorgate up`", file = Named(file)
    )]
    NoGateway {
        /// The variable that was looked for.
        variable: &'static str,
        /// The file that was looked for; `None` without any data directory.
        file: Option<PathBuf>,
    },
    /// The file with the gateway's URLs can't be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The variable holds no proxy URL. It may hold a password, so it is not shown.
    #[error("{variable} is no URL of the form {scheme}://USERNAME:PASSWORD@HOST:PORT: {why}")]
    BadUrl {
        /// The variable.
        variable: &'static str,
        /// The scheme it must have.
        scheme: &'static str,
        /// What is wrong.
        why: UrlError,
    },
    /// TLS can't be set up.
    #[error("cannot set up TLS to the gateway")]
    Tls(#[from] SetupError),
    /// A local port can't be had.
    #[error("cannot listen on {address}: stop what uses it, or choose another port with --listen or --map")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The command can't be started.
    #[error("cannot run {program:?}")]
    Command {
        /// The command.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system refused a runtime, a signal handler or a socket.
    #[error("the agent cannot run on this system")]
    Runtime(#[source] io::Error),
}

/// What is wrong with a proxy URL.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum UrlError {
    /// Another scheme.
    #[error("it begins otherwise")]
    Scheme,
    /// No username and password.
    #[error("it has no USERNAME:PASSWORD before an @")]
    NoCredential,
    /// A `%` that two hex digits don't follow, or what they make is no text.
    #[error("its username or password is not percent-encoded properly")]
    Encoding,
    /// Host or port.
    #[error(transparent)]
    Host(#[from] HostPortError),
}

struct Named<'a>(&'a Option<PathBuf>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => path.display().fmt(f),
            None => f.write_str("default.env"),
        }
    }
}
