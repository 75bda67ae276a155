//! What is measured, and with whom.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::peers::{Door, Program};

/// A thing that proxies do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Work {
    /// A short connection: open, 64 bytes, close
    Connection,
    /// 128 bytes there and back through an open tunnel
    Ping,
    /// Bulk toward the client
    Down,
    /// Bulk toward the target
    Up,
    /// The memory of tunnels that say nothing
    Idle,
    /// The memory of downloads that nobody reads
    Stalled,
    /// A short connection inside TLS, full handshakes
    HttpsProxy,
    /// The same, sessions resumed
    HttpsProxyResumed,
    /// TLS ended, one request, close; full handshakes
    Handshake,
    /// The same, sessions resumed
    HandshakeResumed,
    /// HTTP/1.1 over TLS, answers of 1 KiB, kept connections
    #[value(name = "request-h1-1k")]
    #[serde(rename = "request-h1-1k")]
    RequestH1Small,
    /// The same, answers of 64 KiB
    #[value(name = "request-h1-64k")]
    #[serde(rename = "request-h1-64k")]
    RequestH1Large,
    /// HTTP/2 over TLS, answers of 1 KiB
    #[value(name = "request-h2-1k")]
    #[serde(rename = "request-h2-1k")]
    RequestH2Small,
    /// The same, answers of 64 KiB
    #[value(name = "request-h2-64k")]
    #[serde(rename = "request-h2-64k")]
    RequestH2Large,
    /// Bulk over TLS that the proxy ends
    TlsDown,
    /// Moorgate on one core and on two
    Cores,
    /// What 100,000 routes change
    Routes,
    /// The console's pages, at 10,000 routes and a million flows
    Pages,
}

/// How a work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `moorgate-load drive`, for a time.
    Drive {
        /// Its `--work`.
        work: &'static str,
        /// At once.
        connections: u32,
    },
    /// `moorgate-load drive`, held while the memory is looked at.
    Held(Held),
    /// h2load.
    Requests {
        /// The bytes of each answer.
        size: u32,
        /// HTTP/2, or 1.1.
        http2: bool,
        /// At once.
        clients: u32,
        /// On each of them.
        streams: u32,
    },
    /// Moorgate on one core, then on two.
    Cores,
    /// A script beside the result, which does all by itself.
    Script(&'static str),
}

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Idle,
    Stalled,
}

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unit {
    /// CPU µs each, so many a second.
    Operation,
    /// CPU seconds a GiB, GiB a second.
    Gibibyte,
    /// KiB each.
    Held,
}

impl Work {
    /// As it is named on the command line and in files.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// In words, for tables and plots.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Connection => "A short connection",
            Self::Ping => "128 bytes there and back",
            Self::Down => "Bulk down",
            Self::Up => "Bulk up",
            Self::Idle => "An idle tunnel",
            Self::Stalled => "A download that nobody reads",
            Self::HttpsProxy => "A short connection inside TLS, full handshake",
            Self::HttpsProxyResumed => "A short connection inside TLS, session resumed",
            Self::Handshake => "TLS ended, one request, full handshake",
            Self::HandshakeResumed => "TLS ended, one request, session resumed",
            Self::RequestH1Small => "A request over TLS, HTTP/1.1, 1 KiB",
            Self::RequestH1Large => "A request over TLS, HTTP/1.1, 64 KiB",
            Self::RequestH2Small => "A request over TLS, HTTP/2, 1 KiB",
            Self::RequestH2Large => "A request over TLS, HTTP/2, 64 KiB",
            Self::TlsDown => "Bulk down over TLS that ends at the proxy",
            Self::Cores => "Short connections on one core and on two",
            Self::Routes => "Many routes",
            Self::Pages => "The console's pages",
        }
    }

    pub(super) fn kind(self) -> Kind {
        let requests = |size, http2, clients, streams| Kind::Requests { size, http2, clients, streams };
        match self {
            Self::Connection | Self::HttpsProxy | Self::HttpsProxyResumed => {
                Kind::Drive { work: "connection", connections: 16 }
            }
            Self::Ping => Kind::Drive { work: "ping", connections: 16 },
            Self::Down => Kind::Drive { work: "down", connections: 4 },
            Self::Up => Kind::Drive { work: "up", connections: 4 },
            Self::Idle => Kind::Held(Held::Idle),
            Self::Stalled => Kind::Held(Held::Stalled),
            Self::Handshake | Self::HandshakeResumed => Kind::Drive { work: "request", connections: 16 },
            Self::RequestH1Small => requests(1024, false, 16, 1),
            Self::RequestH1Large => requests(64 * 1024, false, 16, 1),
            Self::RequestH2Small => requests(1024, true, 4, 10),
            Self::RequestH2Large => requests(64 * 1024, true, 4, 10),
            Self::TlsDown => requests(16 * 1024 * 1024, false, 4, 1),
            Self::Cores => Kind::Cores,
            Self::Routes => Kind::Script("routes.py"),
            Self::Pages => Kind::Script("pages.py"),
        }
    }

    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Down | Self::Up | Self::TlsDown => Unit::Gibibyte,
            Self::Idle | Self::Stalled => Unit::Held,
            _ => Unit::Operation,
        }
    }

    /// Whether sessions are resumed.
    pub(super) fn resumes(self) -> bool {
        matches!(self, Self::HttpsProxyResumed | Self::HandshakeResumed)
    }

    /// Who does it, ours last of each group.
    pub(super) fn rows(self) -> Vec<Row> {
        match self {
            Self::Connection | Self::Ping | Self::Down | Self::Up | Self::Stalled => bare(),
            Self::Idle => [bare(), tunnels_in_tls()].concat(),
            Self::HttpsProxy | Self::HttpsProxyResumed => [vec![SQUID_TLS], tunnels_in_tls()].concat(),
            Self::Handshake | Self::HandshakeResumed => [terminating(), vec![POST_QUANTUM]].concat(),
            Self::RequestH1Small
            | Self::RequestH1Large
            | Self::RequestH2Small
            | Self::RequestH2Large
            | Self::TlsDown => terminating(),
            Self::Cores => vec![PASSTHROUGH],
            Self::Routes | Self::Pages => Vec::new(),
        }
    }
}

/// A proxy, by one of its ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Short, for `--only` and files.
    pub(super) name: &'static str,
    /// For tables and plots.
    pub(super) title: &'static str,
    pub(super) program: Program,
    pub(super) door: Door,
    /// `--groups` of `moorgate-load`.
    pub(super) groups: &'static str,
}

impl Row {
    const fn new(name: &'static str, title: &'static str, program: Program, door: Door) -> Self {
        Self { name, title, program, door, groups: "x25519" }
    }
}

const PASSTHROUGH: Row =
    Row::new("moorgate-passthrough", "Moorgate, passthrough", Program::Moorgate, Door::Passthrough);
const SQUID_TLS: Row = Row::new("squid-tls", "Squid, CONNECT in TLS, password", Program::Squid, Door::TlsConnect);
const POST_QUANTUM: Row =
    Row { groups: "default", ..Row::new("moorgate-mlkem", "Moorgate, X25519MLKEM768", Program::Moorgate, Door::Https) };

fn bare() -> Vec<Row> {
    use {Door as D, Program as P};
    vec![
        Row::new("floor", "floor: a bare relay", P::Floor, D::Passthrough),
        Row::new("haproxy-copy", "HAProxy, copying", P::Haproxy, D::Passthrough),
        Row::new("haproxy-splice", "HAProxy, splicing", P::Haproxy, D::Splicing),
        Row::new("nginx", "nginx, ssl_preread", P::Nginx, D::Passthrough),
        PASSTHROUGH,
        Row::new("squid", "Squid, CONNECT, password", P::Squid, D::Connect),
        Row::new("tinyproxy", "tinyproxy, CONNECT, password", P::Tinyproxy, D::Connect),
        Row::new("moorgate-connect", "Moorgate, CONNECT, password", P::Moorgate, D::Connect),
        Row::new("dante", "Dante, SOCKS5, no password", P::Dante, D::Socks),
        Row::new("microsocks", "microsocks, SOCKS5, password", P::Microsocks, D::Socks),
        Row::new("moorgate-socks", "Moorgate, SOCKS5, password", P::Moorgate, D::Socks),
    ]
}

fn tunnels_in_tls() -> Vec<Row> {
    use {Door as D, Program as P};
    vec![
        Row::new("haproxy-tls", "HAProxy, TLS to TCP", P::Haproxy, D::TlsTunnel),
        Row::new("nginx-tls", "nginx, TLS to TCP", P::Nginx, D::TlsTunnel),
        Row::new("moorgate-tls", "Moorgate, CONNECT in TLS, password", P::Moorgate, D::TlsConnect),
    ]
}

fn terminating() -> Vec<Row> {
    use {Door as D, Program as P};
    vec![
        Row::new("haproxy-https", "HAProxy, http", P::Haproxy, D::Https),
        Row::new("nginx-https", "nginx, http", P::Nginx, D::Https),
        Row::new("moorgate-terminate", "Moorgate, terminate", P::Moorgate, D::Https),
    ]
}
