//! What keeps the benchmark from its figures.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why it ended early.
#[derive(Debug, Error)]
pub(crate) enum BenchError {
    /// No place for what the proxies need.
    #[error("cannot make a temporary directory; set TMPDIR to one that can be written")]
    Directory(#[source] io::Error),
    /// A file that can't be read or written.
    #[error("cannot read or write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of ours, or of the gateway's, that is not what it should be.
    #[error("{} cannot be understood", path.display())]
    Json {
        /// The file, or the program that printed it.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A fact that the gateway's file does not state.
    #[error("{} says nothing of {what}; is this Moorgate older than the benchmark?", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Of what.
        what: &'static str,
    },
    /// Proxies and load need a core each.
    #[error("this needs two cores, one for the proxies and one for the load; we may run on {cores}")]
    Cores {
        /// How many there are.
        cores: usize,
    },
    /// The kernel does not let us choose cores.
    #[error("cannot choose the core that {name} runs on")]
    Pin {
        /// The program.
        name: String,
        /// Why.
        source: nix::Error,
    },
    /// No port is free.
    #[error("no free port below the range of outgoing connections ({below})")]
    Port {
        /// Where that range begins.
        below: u16,
    },
    /// More tunnels than open files allow.
    #[error("{count} tunnels are too many: {files} open files allow {most}; give a lower --idle, or raise ulimit -n")]
    Files {
        /// How many are wanted.
        count: u32,
        /// The limit of open files.
        files: u64,
        /// How many that allows.
        most: u64,
    },
    /// A program could not be started.
    #[error("cannot run {name}")]
    Start {
        /// The program.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A program did not listen in time.
    #[error("{name} was not ready within {seconds} s; its last words: {last_words}")]
    NotReady {
        /// The program.
        name: String,
        /// How long it had.
        seconds: u64,
        /// What it wrote last.
        last_words: String,
    },
    /// A command that said no.
    #[error("{command} failed: {last_words}")]
    Failed {
        /// The whole command.
        command: String,
        /// What it wrote last.
        last_words: String,
    },
    /// h2load printed something else than we know.
    #[error("h2load printed no line of {what:?}")]
    H2load {
        /// The line's beginning.
        what: &'static str,
    },
    /// A process is gone before its work was done.
    #[error("{name} ended early; its last words: {last_words}")]
    Gone {
        /// The program.
        name: String,
        /// What it wrote last.
        last_words: String,
    },
}
