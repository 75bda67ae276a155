//! The benchmark's load: `origin` answers, `floor` relays with as little as can be, `drive` opens connections and
//! measures. Loopback only in practice; every run is bounded by its seconds or its count.
//!
//! `cargo xtask bench` runs all three; by hand they are good for trying one thing at a time.

mod cli;
mod drive;
mod error;
mod floor;
mod hello;
mod origin;

use std::{
    io::{Write, stdout},
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use cli::{Cli, Part};
use error::LoadError;

fn main() -> ExitCode {
    let part = Cli::parse().part;
    raise_open_files();
    let done = match part {
        Part::Origin => single_threaded().and_then(|runtime| runtime.block_on(origin::run())),
        Part::Floor { origin } => floor::run(origin),
        Part::Drive(drive) => single_threaded().and_then(|runtime| runtime.block_on(drive::run(&drive))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("moorgate-load: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// As many open files as the system lets us have; if it gives no more, what needs them says so.
fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// One thread: load and origin share a core, and nothing of it may go to handing work around.
fn single_threaded() -> Result<tokio::runtime::Runtime, LoadError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Runtime)
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

/// A free port of loopback.
fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Prints a line that whoever started us waits for.
fn print_line(line: &str) -> Result<(), LoadError> {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(LoadError::Print)
}
