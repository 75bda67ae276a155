//! Limits: each phase of a connection is bounded in time, bytes and count.
//!
//! What an operator may turn is a key of `[limits]`; the rest are named constants. [`PHASES`] is the table that the
//! documentation is generated from.

use std::{fmt::Write as _, time::Duration};

/// The keys of `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From accept (or the last byte before it) to a whole head: HTTP head, or SOCKS5 greeting, password and request.
    pub head: Duration,
    /// A TLS handshake.
    pub handshake: Duration,
    /// Resolution of a name.
    pub resolve: Duration,
    /// All attempts to connect to a target.
    pub connect: Duration,
    /// From the whole request to the head of the target's response.
    pub response: Duration,
    /// The longest time in which a body, either way, makes no progress.
    pub body: Duration,
    /// Between two requests of a connection.
    pub idle_request: Duration,
    /// The longest time in which no byte of a tunnel moves.
    pub idle_tunnel: Duration,
    /// What open connections get when the gateway goes down.
    pub drain: Duration,
    /// Connections at once. `None`: half of what `RLIMIT_NOFILE` leaves, since a tunnel takes two descriptors.
    pub connections: Option<usize>,
    /// Tunnels and exchanges of one account at once.
    pub connections_per_account: usize,
    /// Connections from one client address at once that have not authenticated yet, or that no route has let in.
    pub unauthenticated_per_client: usize,
    /// Inbound connections from one client address at once that routes have let in.
    pub inbound_per_client: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            head: seconds(10),
            handshake: seconds(10),
            resolve: seconds(5),
            connect: seconds(10),
            response: seconds(60),
            body: seconds(30),
            idle_request: seconds(60),
            idle_tunnel: seconds(3600),
            drain: seconds(30),
            connections: None,
            connections_per_account: 20_000,
            unauthenticated_per_client: 1_000,
            inbound_per_client: 10_000,
        }
    }
}

/// Bytes of an HTTP head that we read before we answer 431.
pub const HEAD_BYTES: usize = moorgate_wire::http1::MAX_HEAD_BYTES;
/// Header fields of an HTTP head.
pub const HEAD_FIELDS: usize = moorgate_wire::http1::MAX_HEADERS;
/// Bytes of a SOCKS5 greeting, password and request: the longest that RFC 1928 and 1929 can write.
pub const SOCKS_BYTES: usize = 257 + 513 + 262;
/// Streams of one h2 connection at once: an agent in front of a whole office is one connection.
pub const H2_STREAMS: u32 = 1_000;
/// Bytes of one h2 stream that a slow target may leave with us.
pub const H2_STREAM_WINDOW: u32 = 1024 * 1024;
/// Bytes of one h2 connection that slow targets may leave with us.
pub const H2_CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;
/// Streams of one inbound h2 connection at once.
pub const INBOUND_H2_STREAMS: u32 = 128;
/// Bytes of one inbound stream that a slow origin may leave with us.
pub const INBOUND_H2_STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of one inbound h2 connection that slow origins may leave with us.
pub const INBOUND_H2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Streams of one h2 connection that its client broke off before we looked at them, and resets of ours for what it did
/// wrong, before it is closed (CVE-2023-44487).
pub const H2_RESETS: usize = 100;
/// Streams of one h2 connection that its client may break off within [`H2_BROKEN_OFF_WITHIN`] before it is closed: as many
/// as may be open at once, so that an office whose programs all end at once is no attack (CVE-2023-44487).
pub const H2_BROKEN_OFF: usize = 1_000;
/// The time in which [`H2_BROKEN_OFF`] are counted.
pub const H2_BROKEN_OFF_WITHIN: Duration = Duration::from_secs(10);
/// Bytes that each thread reads into; one buffer for all its tunnels.
pub const RELAY_BUFFER: usize = 512 * 1024;
/// Bytes per thread that slow readers may leave with us before reads shrink to [`SMALL_READ`].
pub const LEFTOVER_BUDGET: usize = 64 * 1024 * 1024;
/// The read size beyond [`LEFTOVER_BUDGET`], in bytes.
pub const SMALL_READ: usize = 16 * 1024;
/// Reads and writes of one direction of a tunnel before others get their turn.
pub const RELAY_ROUNDS: usize = 16;
/// Bytes of the head of a target's response.
pub const RESPONSE_HEAD_BYTES: usize = 400 * 1024;
/// Connections that are told at once that the gateway is full; more wait in the kernel's queue.
pub const REFUSING: usize = 32;
/// How long a refused client may take to read its refusal.
pub const REFUSAL_LINGER: Duration = Duration::from_secs(2);
/// Bytes of a refused client that are read and thrown away, so that it can read its refusal instead of an RST.
pub const REFUSAL_BYTES: usize = 256 * 1024;
/// Connections accepted before others get their turn.
pub const ACCEPT_BATCH: usize = 64;
/// Addresses of one name that are looked at.
pub const ADDRESSES_PER_NAME: usize = 32;
/// Names in the resolver's cache.
pub const CACHED_NAMES: u64 = 20_000;
/// Ended flows waiting for the recorder; beyond it they are dropped and counted.
pub const FLOW_QUEUE: usize = 16 * 1024;
/// How often idle, cut and revoked tunnels are looked for.
pub const SWEEP: Duration = Duration::from_millis(250);

/// One row of the table of limits.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// Which phase.
    pub name: &'static str,
    /// Its limit in time.
    pub time: &'static str,
    /// Its limit in bytes.
    pub bytes: &'static str,
    /// Its limit in count.
    pub count: &'static str,
    /// What the client gets at the limit.
    pub answer: &'static str,
}

/// The table. `{head}` and the like stand for the default of that key.
pub const PHASES: &[Phase] = &[
    Phase {
        name: "accept",
        time: "none to wait for: refused or taken at once",
        bytes: "none are read",
        count: "`connections` in all, `unauthenticated_per_client` = {unauthenticated_per_client} strangers from one address, `inbound_per_client` = {inbound_per_client} let in by routes",
        answer: "503 / SOCKS5 reply 0x01 / TLS: closed",
    },
    Phase {
        name: "TLS handshake",
        time: "`handshake` = {handshake}",
        bytes: "64 KiB a flight (the TLS library's bound)",
        count: "1 a connection; no renegotiation",
        answer: "closed",
    },
    Phase {
        name: "PROXY header, from load balancers",
        time: "`head` = {head}",
        bytes: "107 in version 1, 4 KiB in version 2",
        count: "1 a connection",
        answer: "closed",
    },
    Phase {
        name: "inbound ClientHello",
        time: "`handshake` = {handshake}, the handshake after it included",
        bytes: "64 KiB, heads of records included",
        count: "1 a connection",
        answer: "closed",
    },
    Phase { name: "HTTP head", time: "`head` = {head}", bytes: "32 KiB", count: "100 fields", answer: "408 / 431" },
    Phase {
        name: "SOCKS5 greeting, password, request",
        time: "`head` = {head} for all three",
        bytes: "1,032",
        count: "1 of each",
        answer: "closed",
    },
    Phase {
        name: "h2 stream",
        time: "`head` = {head} for the preface, `body` = {body} without progress",
        bytes: "1 MiB a stream, 32 MiB a connection unread (inbound 256 KiB, 4 MiB); 32 KiB a header list",
        count: "1,000 streams at once (inbound 128); 1,000 broken off by the client in 10 s, 100 that we had not looked at",
        answer: "GOAWAY / RST_STREAM",
    },
    Phase {
        name: "resolve",
        time: "`resolve` = {resolve}",
        bytes: "64 KiB an answer",
        count: "32 addresses a name, 20,000 names cached",
        answer: "502 / 0x04",
    },
    Phase {
        name: "connect",
        time: "`connect` = {connect}",
        bytes: "none move",
        count: "32 addresses, 250 ms apart",
        answer: "502, 504 / 0x03 to 0x06",
    },
    Phase {
        name: "response head",
        time: "`response` = {response}",
        bytes: "400 KiB",
        count: "100 fields",
        answer: "504 / 502",
    },
    Phase {
        name: "body, either way",
        time: "`body` = {body} without progress",
        bytes: "unlimited in all; 1 MiB held",
        count: "1 KiB of chunk extensions, 8 KiB of trailers",
        answer: "408, or the connection is cut",
    },
    Phase {
        name: "kept to an origin",
        time: "`idle_request`, at most 50 s",
        bytes: "none move",
        count: "64 to one origin of a route, an eighth of `connections` in all",
        answer: "closed",
    },
    Phase {
        name: "between requests",
        time: "`idle_request` = {idle_request}",
        bytes: "32 KiB of the next head",
        count: "unlimited requests",
        answer: "closed",
    },
    Phase {
        name: "tunnel",
        time: "`idle_tunnel` = {idle_tunnel} without a byte",
        bytes: "512 KiB a slow reader, 64 MiB a thread, then 16 KiB",
        count: "`connections_per_account` = {connections_per_account}",
        answer: "cut",
    },
    Phase {
        name: "refusal",
        time: "2 s to read it",
        bytes: "256 KiB of the client's are thrown away",
        count: "32 at once when full",
        answer: "closed",
    },
    Phase {
        name: "drain",
        time: "`drain` = {drain}",
        bytes: "as before",
        count: "nothing new is accepted",
        answer: "cut",
    },
];

/// The table of limits as Markdown.
pub fn phases_as_markdown() -> String {
    let limits = Limits::default();
    let seconds = |limit: Duration| format!("{} s", limit.as_secs());
    let keys = [
        ("{head}", seconds(limits.head)),
        ("{handshake}", seconds(limits.handshake)),
        ("{resolve}", seconds(limits.resolve)),
        ("{connect}", seconds(limits.connect)),
        ("{response}", seconds(limits.response)),
        ("{body}", seconds(limits.body)),
        ("{idle_request}", seconds(limits.idle_request)),
        ("{idle_tunnel}", seconds(limits.idle_tunnel)),
        ("{drain}", seconds(limits.drain)),
        ("{connections_per_account}", limits.connections_per_account.to_string()),
        ("{unauthenticated_per_client}", limits.unauthenticated_per_client.to_string()),
        ("{inbound_per_client}", limits.inbound_per_client.to_string()),
    ];
    let mut table = String::from("| phase | time | bytes | count | at the limit |\n|---|---|---|---|---|\n");
    for Phase { name, time, bytes, count, answer } in PHASES {
        // Writing into a String can't fail.
        let _ = writeln!(table, "| {name} | {time} | {bytes} | {count} | {answer} |");
    }
    keys.iter().fold(table, |table, (key, value)| table.replace(key, value))
}
