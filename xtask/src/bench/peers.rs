//! The proxies: how each is found, configured and started.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    error::BenchError,
    gateway,
    lab::{Lab, printed},
    process::Process,
};
use crate::install::program;

/// How long a proxy may take to start.
const START: Duration = Duration::from_secs(15);
/// What every peer with passwords is given.
const USER: &str = "user";
const PASSWORD: &str = "pass";
/// Where Debian puts nginx's modules.
const NGINX_MODULES: &str = "/usr/lib/nginx/modules";

/// A program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Program {
    Floor,
    Haproxy,
    Nginx,
    Squid,
    Tinyproxy,
    Dante,
    Microsocks,
    Moorgate,
}

/// A port of a program, by what is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Door {
    /// TLS goes by unread, by its server name.
    Passthrough,
    /// The same, spliced.
    Splicing,
    /// HTTP CONNECT.
    Connect,
    /// SOCKS5.
    Socks,
    /// TLS ends; the bytes go to the origin.
    TlsTunnel,
    /// TLS ends; then HTTP CONNECT.
    TlsConnect,
    /// TLS ends; requests go to the origin.
    Https,
}

/// A proxy that runs.
pub(super) struct Proxy {
    pub(super) process: Process,
    pub(super) doors: BTreeMap<Door, SocketAddr>,
    /// `user:password`, for the doors that ask for it.
    pub(super) auth: Option<String>,
}

impl Program {
    /// For `--only`, files and errors.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Squid => "squid",
            Self::Tinyproxy => "tinyproxy",
            Self::Dante => "dante",
            Self::Microsocks => "microsocks",
            Self::Moorgate => "moorgate",
        }
    }

    /// What is run, and Debian's package of it; `None` for what is built here.
    pub(super) fn installed_as(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Floor | Self::Moorgate => None,
            Self::Haproxy => Some(("haproxy", "haproxy")),
            Self::Nginx => Some(("nginx", "nginx")),
            Self::Squid => Some(("squid", "squid-openssl")),
            Self::Tinyproxy => Some(("tinyproxy", "tinyproxy-bin")),
            Self::Dante => Some(("danted", "dante-server")),
            Self::Microsocks => Some(("microsocks", "microsocks")),
        }
    }

    /// The peers, in the order of the tables.
    pub(super) const PEERS: [Self; 6] =
        [Self::Haproxy, Self::Nginx, Self::Squid, Self::Tinyproxy, Self::Dante, Self::Microsocks];

    /// Its file in `bench/peers/`, and the doors that this names.
    fn configuration(self) -> (Option<&'static str>, &'static [Door]) {
        match self {
            Self::Floor | Self::Moorgate => (None, &[]),
            Self::Haproxy => (Some("haproxy.cfg"), &[Door::Passthrough, Door::Splicing, Door::TlsTunnel, Door::Https]),
            Self::Nginx => (Some("nginx.conf"), &[Door::Passthrough, Door::TlsTunnel, Door::Https]),
            Self::Squid => (Some("squid.conf"), &[Door::Connect, Door::TlsConnect]),
            Self::Tinyproxy => (Some("tinyproxy.conf"), &[Door::Connect]),
            Self::Dante => (Some("danted.conf"), &[Door::Socks]),
            Self::Microsocks => (None, &[Door::Socks]),
        }
    }

    /// Starts one on these cores and waits until it listens.
    ///
    /// # Errors
    /// It is not installed, or does not listen.
    pub(super) fn start(self, lab: &Lab, peers: &Path, cores: &[usize]) -> Result<Proxy, BenchError> {
        match self {
            Self::Moorgate => gateway::start(lab, cores),
            Self::Floor => floor(lab, cores),
            _ => self.start_peer(lab, peers, cores),
        }
    }

    fn start_peer(self, lab: &Lab, peers: &Path, cores: &[usize]) -> Result<Proxy, BenchError> {
        let directory = lab.directory(self.name())?;
        let (file, named) = self.configuration();
        let mut doors = BTreeMap::new();
        for &door in named {
            doors.insert(door, SocketAddr::from((Ipv4Addr::LOCALHOST, lab.port()?)));
        }
        let configuration = file.map(|file| configure(&peers.join(file), &directory, &words(lab, &directory, &doors)?));
        let configuration = configuration.transpose()?;
        if self == Self::Squid {
            let hash = printed(Command::new("openssl").args(["passwd", "-apr1", PASSWORD]), "openssl passwd")?;
            write(&directory.join("squid.passwords"), &format!("{USER}:{}\n", hash.trim()))?;
        }
        let mut command = self.command(configuration.as_deref().unwrap_or(&directory), &doors);
        command.current_dir(&directory);
        let mut process = Process::start(self.name(), &mut command, cores, &directory.join("output.log"))?;
        process.wait_for(START, || doors.values().all(|door| TcpStream::connect(door).is_ok()))?;
        // Dante takes nobody's password here; HAProxy and nginx ask for none.
        let auth = matches!(self, Self::Squid | Self::Tinyproxy | Self::Microsocks);
        Ok(Proxy { process, doors, auth: auth.then(|| format!("{USER}:{PASSWORD}")) })
    }

    /// In the foreground, so that it ends with the benchmark.
    fn command(self, configuration: &Path, doors: &BTreeMap<Door, SocketAddr>) -> Command {
        let mut command = Command::new(self.installed_as().and_then(|(name, _)| program(name)).unwrap_or_default());
        match self {
            Self::Haproxy => command.arg("-db").arg("-f").arg(configuration),
            // Without -e it would first open the system's log, which not everyone may.
            Self::Nginx => command.arg("-e").arg("stderr").arg("-c").arg(configuration),
            Self::Squid => command.args(["-N", "-d", "0", "-f"]).arg(configuration),
            Self::Tinyproxy => command.arg("-d").arg("-c").arg(configuration),
            Self::Dante => command.arg("-f").arg(configuration),
            Self::Microsocks => {
                let port = doors.get(&Door::Socks).map(SocketAddr::port).unwrap_or_default().to_string();
                command.args(["-i", "127.0.0.1", "-p", &port, "-u", USER, "-P", PASSWORD])
            }
            Self::Floor | Self::Moorgate => &mut command,
        };
        command
    }
}

impl Door {
    /// The word that stands for its port in a configuration.
    fn word(self) -> &'static str {
        match self {
            Self::Passthrough => "PORT_PASSTHROUGH",
            Self::Splicing => "PORT_SPLICING",
            Self::Connect => "PORT_CONNECT",
            Self::Socks => "PORT_SOCKS",
            Self::TlsTunnel => "PORT_TLS_TUNNEL",
            Self::TlsConnect => "PORT_TLS_CONNECT",
            Self::Https => "PORT_HTTPS",
        }
    }

    /// `--via` of `moorgate-load`, and whether TLS is spoken below it.
    pub(super) fn via(self) -> (&'static str, bool) {
        match self {
            Self::Passthrough | Self::Splicing => ("sni", false),
            Self::Connect => ("connect", false),
            Self::Socks => ("socks", false),
            Self::TlsTunnel => ("direct", true),
            Self::TlsConnect => ("connect", true),
            Self::Https => ("terminate", true),
        }
    }
}

fn floor(lab: &Lab, cores: &[usize]) -> Result<Proxy, BenchError> {
    let directory = lab.directory("floor")?;
    let mut command = Command::new(&lab.load);
    command.arg("floor").arg(lab.origin.to_string());
    let (process, mut output) = Process::start_talking("floor", &mut command, cores, &directory.join("output.log"))?;
    let address = process.line(&mut output)?.parse().map_err(|_| process.gone())?;
    Ok(Proxy { process, doors: BTreeMap::from([(Door::Passthrough, address)]), auth: None })
}

/// What stands for the words in braces.
fn words(
    lab: &Lab,
    directory: &Path,
    doors: &BTreeMap<Door, SocketAddr>,
) -> Result<Vec<(&'static str, String)>, BenchError> {
    let user = printed(Command::new("id").arg("-un"), "id -un")?;
    let mut words = vec![
        ("DIR", directory.display().to_string()),
        ("ORIGIN", lab.origin.to_string()),
        ("ORIGIN_PORT", lab.origin.port().to_string()),
        ("FILES", lab.files.to_string()),
        ("CONNECTIONS", lab.connections().to_string()),
        ("USER", user.trim().to_owned()),
        ("MODULES", NGINX_MODULES.to_owned()),
    ];
    words.extend(doors.iter().map(|(door, address)| (door.word(), address.port().to_string())));
    Ok(words)
}

fn configure(from: &Path, directory: &Path, words: &[(&'static str, String)]) -> Result<PathBuf, BenchError> {
    let text = fs::read_to_string(from).map_err(|source| BenchError::File { path: from.into(), source })?;
    let path = directory.join(from.file_name().unwrap_or_default());
    write(&path, &filled(&text, words))?;
    Ok(path)
}

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    fs::write(path, text).map_err(|source| BenchError::File { path: path.into(), source })
}

/// A configuration with its words in braces filled in; other braces stay.
fn filled(text: &str, words: &[(&'static str, String)]) -> String {
    words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(&format!("{{{word}}}"), value))
}

#[cfg(test)]
mod tests;
