//! The agent's command: proxy variables set, signals passed on, exit code passed on.

use std::{
    ffi::{OsStr, OsString},
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use super::AgentError;

/// Set for the command, in both spellings. `NO_PROXY` stays what the user made it.
const VARIABLES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// What a shell adds to the number of the signal that ended a program.
const BY_SIGNAL: i32 = 128;

/// Runs `program` with the proxy at `proxy` until it ends.
pub(super) async fn run(program: &OsStr, arguments: &[OsString], proxy: SocketAddr) -> Result<ExitCode, AgentError> {
    // Before the start: a signal that comes at once must not end the agent alone.
    let mut signals = Signals::listen().map_err(AgentError::Runtime)?;
    let url = format!("http://{}", reachable(proxy));
    let mut command = Command::new(program);
    command.args(arguments).envs(VARIABLES.map(|name| (name, &url)));
    let mut child = command.spawn().map_err(|source| AgentError::Command { program: program.into(), source })?;
    loop {
        tokio::select! {
            status = child.wait() => return status.map(exit_code).map_err(AgentError::Runtime),
            signal = signals.next() => pass_on(&child, signal),
        }
    }
}

/// A wildcard address is no address to connect to.
pub(super) fn reachable(mut proxy: SocketAddr) -> SocketAddr {
    if proxy.ip().is_unspecified() {
        let loopback = if proxy.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        proxy.set_ip(loopback);
    }
    proxy
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| BY_SIGNAL + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn pass_on(child: &Child, signal: Signal) {
    // The terminal's Ctrl-C reaches everyone in its foreground group by itself; once is what the user pressed.
    if signal == Signal::SIGINT && in_foreground() {
        return;
    }
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended a moment ago.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Whether this process is in the foreground group of its terminal (proc_pid_stat(5): pgrp and tpgid).
fn in_foreground() -> bool {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return false };
    // The second field is the program's name in parentheses, and may hold anything.
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let mut fields = fields.split_whitespace().skip(2);
    let (group, foreground) = (fields.next(), fields.nth(2));
    group.is_some() && group == foreground
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hangup.recv() => Signal::SIGHUP,
        }
    }
}
