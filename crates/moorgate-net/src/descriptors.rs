//! File descriptors: how many we may have, and so how many connections.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kept back for the store, the console, logs, resolver sockets and refusals.
const RESERVED: u64 = 96;
/// What one connection takes: the client's and the target's.
const PER_CONNECTION: u64 = 2;

/// Raises the soft limit to the hard one and returns how many connections fit under it, at least 1.
pub fn connections() -> usize {
    // Without the limit's value the traditional default is the safe guess.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    // Small limits keep back less, or nothing would be left.
    let reserved = RESERVED.min(limit / 2);
    usize::try_from((limit - reserved) / PER_CONNECTION)
        .unwrap_or(usize::MAX)
        .clamp(1, tokio::sync::Semaphore::MAX_PERMITS)
}
