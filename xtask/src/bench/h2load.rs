//! What h2load is told, and what it says.

use std::{net::SocketAddr, path::Path, process::Command};

use super::{error::BenchError, lab::ENDED, result::Sample};

/// The cipher suite of all works with TLS, as `moorgate-load` has it.
const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// Requests of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requests {
    pub(super) size: u32,
    pub(super) http2: bool,
    pub(super) clients: u32,
    pub(super) streams: u32,
}

/// The command; each request's time goes to `times`.
pub(super) fn command(proxy: SocketAddr, requests: Requests, seconds: f64, times: &Path) -> Command {
    let Requests { size, http2, clients, streams } = requests;
    let mut command = Command::new("h2load");
    command.args(["--clients", &clients.to_string(), "--max-concurrent-streams", &streams.to_string()]);
    command.args(["--duration", &format!("{}ms", (seconds * 1000.0).round())]);
    command.args(["--groups=X25519", &format!("--tls13-ciphers={CIPHER}")]);
    command.arg(if http2 { "--npn-list=h2" } else { "--h1" });
    // Wide enough that the client's window does not hold answers up.
    command.args(["--window-bits=20", "--connection-window-bits=24"]);
    command.arg(format!("--log-file={}", times.display())).arg(format!("--connect-to={proxy}"));
    command.arg(format!("https://{ENDED}:{}/{size}", proxy.port()));
    command
}

/// Reads its report, and the times of its log.
///
/// # Errors
/// A line that we don't know.
pub(super) fn parse(report: &str, times: &str, requests: Requests, seconds: f64) -> Result<Sample, BenchError> {
    let line = |what: &'static str| {
        report.lines().find_map(|line| line.trim().strip_prefix(what)).ok_or(BenchError::H2load { what })
    };
    let counts = line("requests: ")?;
    let done = number_before(counts, "succeeded").ok_or(BenchError::H2load { what: "requests: " })?;
    let failed: u64 = ["failed", "errored", "timeout"].iter().filter_map(|word| number_before(counts, word)).sum();
    let traffic = line("traffic: ")?;
    let bytes = traffic.split_once('(').and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    let bytes = bytes.ok_or(BenchError::H2load { what: "traffic: " })?;
    let wanted = [
        ("TLS Protocol: ", "TLSv1.3"),
        ("Cipher: ", CIPHER),
        ("Server Temp Key: ", "X25519 253 bits"),
        ("Application protocol: ", if requests.http2 { "h2" } else { "http/1.1" }),
    ];
    let spoken = wanted.iter().find_map(|&(what, wanted)| match line(what) {
        Ok(found) if found.trim() == wanted => None,
        Ok(found) => Some(format!("{what}{found} instead of {wanted}")),
        Err(_) => Some(format!("no TLS: nothing is said of {}", what.trim_end_matches([':', ' ']))),
    });
    let mut micros: Vec<u64> = times.lines().filter_map(|line| line.split('\t').nth(2)?.trim().parse().ok()).collect();
    micros.sort_unstable();
    Ok(Sample {
        seconds,
        done,
        bytes,
        p50_us: percentile(&micros, 50),
        p99_us: percentile(&micros, 99),
        errors: failed + u64::from(spoken.is_some()),
        key_exchange: Some("X25519".to_owned()),
        last_error: spoken.or_else(|| (failed > 0).then(|| counts.to_owned())),
        ..Sample::default()
    })
}

/// The number before a word, as in `12 failed, 0 errored`.
fn number_before(text: &str, word: &str) -> Option<u64> {
    let part = text.split(", ").find(|part| part.ends_with(word))?;
    part.split(' ').next()?.parse().ok()
}

/// Nearest rank; 0 without any.
fn percentile(sorted: &[u64], hundredths: usize) -> f64 {
    let rank = (sorted.len() * hundredths).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default() as f64
}

#[cfg(test)]
mod tests;
