//! What can keep the load from running. What goes wrong in one connection is [`AttemptError`].

use std::{io, net::SocketAddr};

use thiserror::Error;

use crate::drive::AttemptError;

/// Why a part ended early.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// tokio could not start.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// No socket to listen on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Polling or accepting failed.
    #[error("cannot go on accepting on {address}")]
    Accept {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Standard output is closed.
    #[error("cannot print")]
    Print(#[source] io::Error),
    /// A report that can't be written as JSON.
    #[error("cannot write the report")]
    Report(#[source] serde_json::Error),
    /// rustls refuses the settings.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// A name that can't stand in a ClientHello.
    #[error("{name:?} is no server name; give a DNS name to --name")]
    Name {
        /// The name.
        name: String,
    },
    /// `--via connect` and `socks` go on to a target.
    #[error("--via connect and --via socks need --target ADDRESS")]
    NoTarget,
    /// Without a user and a password between them.
    #[error("--auth takes user:password, each 1 to 255 bytes")]
    Auth,
    /// `request` speaks HTTP to what terminates TLS.
    #[error("--work request goes with --via terminate or --via direct only, and they with no SNI tunnel")]
    Request,
    /// One of the connections that were to be held did not come about.
    #[error("connection {number} of {count} failed; is the proxy's limit of connections or open files too low?")]
    Held {
        /// Which, from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// Why.
        source: AttemptError,
    },
    /// A worker panicked.
    #[error("a worker ended early")]
    Worker(#[source] tokio::task::JoinError),
}
