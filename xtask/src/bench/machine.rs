//! The machine and what is on it, so that a reader knows what the figures are of.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

use super::{lab::printed, peers::Program};

/// Where it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    /// That we may use.
    pub(super) cores: usize,
    pub(super) kernel: String,
    pub(super) system: String,
    /// The peers by Debian's packages.
    pub(super) peers: Vec<(String, String)>,
}

/// What it looks like now; what can't be found out is "unknown".
pub(super) fn describe(cores: usize) -> Machine {
    let word = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let processor = word("/proc/cpuinfo").and_then(|text| value(&text, "model name", ':'));
    let system = word("/etc/os-release").and_then(|text| value(&text, "PRETTY_NAME", '='));
    let debian = word("/etc/debian_version").map(|version| format!(" ({version})")).unwrap_or_default();
    let packages = Program::PEERS.iter().filter_map(|peer| peer.installed_as()).map(|(_, package)| match package {
        // Of nginx-light, nginx-full and the like, whichever is there.
        "nginx" => "nginx-common",
        other => other,
    });
    let peers = packages.chain(["nghttp2-client", "openssl"]).filter_map(|package| {
        let mut command = Command::new("dpkg-query");
        let version = printed(command.args(["--show", "--showformat=${Version}", package]), "dpkg-query").ok()?;
        Some((package.to_owned(), version.trim().to_owned())).filter(|(_, version)| !version.is_empty())
    });
    let unknown = || "unknown".to_owned();
    Machine {
        processor: processor.unwrap_or_else(unknown),
        cores,
        kernel: word("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
        system: system.unwrap_or_else(unknown) + &debian,
        peers: peers.collect(),
    }
}

/// The revision of this repository, and whether files differ from it.
pub(super) fn revision() -> String {
    let git = |arguments: &[&str]| printed(Command::new("git").args(arguments), "git").ok();
    match git(&["rev-parse", "--short=12", "HEAD"]) {
        None => "unknown".to_owned(),
        Some(revision) => {
            let is_changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.trim().is_empty());
            format!("{}{}", revision.trim(), if is_changed { " with changes" } else { "" })
        }
    }
}

/// The value behind a key, without quotes.
fn value(text: &str, key: &str, separator: char) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(separator)?.1.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests;
