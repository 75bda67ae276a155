//! The arguments.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The benchmark's load, by hand.
#[derive(Debug, Parser)]
#[command(name = "moorgate-load", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) part: Part,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Answer on a free port of loopback; the first line printed is its address
    Origin,
    /// Relay to an origin with nothing but system calls; the first line printed is its address
    Floor {
        /// Where to
        origin: SocketAddr,
    },
    /// Open connections through a proxy and measure; prints one line of JSON
    Drive(Drive),
}

/// What to do with whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct Drive {
    /// The proxy; with --via direct the origin itself
    #[arg(long)]
    pub(crate) proxy: SocketAddr,
    /// How the proxy is told where to go
    #[arg(long, value_enum)]
    pub(crate) via: Via,
    /// Speak TLS to the proxy, below all else; its certificate is not verified
    #[arg(long)]
    pub(crate) tls: bool,
    /// Resume TLS sessions by their tickets; without this every handshake is a full one
    #[arg(long, requires = "tls")]
    pub(crate) resume: bool,
    /// The key exchanges to offer
    #[arg(long, value_enum, default_value_t = Groups::X25519)]
    pub(crate) groups: Groups,
    /// user:password for the proxy
    #[arg(long)]
    pub(crate) auth: Option<String>,
    /// Where the proxy shall go
    #[arg(long)]
    pub(crate) target: Option<SocketAddr>,
    /// The server name in ClientHellos
    #[arg(long, default_value = "bench.test")]
    pub(crate) name: String,
    /// What to do with each connection
    #[arg(long, value_enum)]
    pub(crate) work: Work,
    /// For how long
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// How many connections at once
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// How many to hold (idle, stalled)
    #[arg(long, default_value_t = 1000)]
    pub(crate) count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// A made-up ClientHello with the server name in front; the origin drops it
    Sni,
    /// HTTP CONNECT, with Basic if --auth is given
    Connect,
    /// SOCKS5, with username and password if --auth is given
    Socks,
    /// A reverse proxy that ends TLS: nothing in front
    Terminate,
    /// Nothing in front: a proxy that knows only one way, or the origin
    Direct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Groups {
    /// X25519 alone
    X25519,
    /// The library's own, X25519MLKEM768 first
    Default,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Open, 64 bytes of answer, close
    Connection,
    /// 128 bytes there and back, again and again
    Ping,
    /// One long download a connection
    Down,
    /// Uploads, each answered by the origin
    Up,
    /// Hold --count connections that have said something once, until standard input ends
    Idle,
    /// Hold --count downloads that nobody reads, until standard input ends
    Stalled,
    /// Open, GET /64, close
    Request,
}
