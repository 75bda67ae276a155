//! What was measured: each turn as it was, and the medians.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    error::BenchError,
    machine::Machine,
    works::{Unit, Work},
};

const GIB: f64 = (1u64 << 30) as f64;

/// All that is known, by work; what was measured at another time keeps its own date.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Results(pub(super) BTreeMap<Work, Measured>);

/// One work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) run: Run,
    pub(super) unit: Unit,
    pub(super) rows: Vec<Figures>,
    /// What a work without rows says, or why there are none.
    #[serde(default)]
    pub(super) lines: Vec<String>,
}

/// When, where and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    /// In UTC.
    pub(super) date: String,
    /// Of this repository.
    pub(super) revision: String,
    /// How the gateway was built, or where it was found.
    pub(super) moorgate: String,
    pub(super) command: String,
    pub(super) rounds: u32,
    pub(super) seconds: f64,
    pub(super) machine: Machine,
}

/// One proxy at one work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) name: String,
    pub(super) title: String,
    /// Whether it is Moorgate.
    pub(super) is_ours: bool,
    /// Whether TLS ends at the proxy: what does that is compared with its like alone.
    pub(super) in_tls: bool,
    /// Why there is nothing, when there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) left_out: Option<String>,
    pub(super) median: Median,
    pub(super) samples: Vec<Sample>,
}

/// One turn. What a work does not have is 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    /// Connections, messages, requests or uploads.
    pub(super) done: u64,
    /// Bytes of bulk.
    pub(super) bytes: u64,
    /// Of the proxy.
    pub(super) cpu_seconds: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) errors: u64,
    pub(super) last_error: Option<String>,
    /// TLS handshakes that resumed a session.
    pub(super) resumed: u64,
    /// Those that did not, where they could have.
    pub(super) not_resumed: u64,
    /// The key exchange of the TLS handshakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_exchange: Option<String>,
    /// Tunnels that were held.
    pub(super) held: u64,
    /// The proxy's memory before they came, and with them.
    pub(super) memory_before: u64,
    pub(super) memory_with: u64,
}

/// The medians of a row's turns; `None` where there is nothing to take one of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Median {
    /// CPU µs each, CPU seconds a GiB, or KiB each.
    pub(super) cost: Option<f64>,
    /// So many a second, or GiB a second.
    pub(super) rate: Option<f64>,
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    /// Of 1, where sessions were to be resumed.
    pub(super) resumed: Option<f64>,
}

impl Sample {
    /// A turn that came to nothing.
    pub(super) fn failed(why: String) -> Self {
        Self { errors: 1, last_error: Some(why), ..Self::default() }
    }

    fn cost(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::Operation => ratio(self.cpu_seconds * 1e6, self.done as f64),
            Unit::Gibibyte => ratio(self.cpu_seconds, self.bytes as f64 / GIB),
            Unit::Held => ratio((self.memory_with as f64 - self.memory_before as f64) / 1024.0, self.held as f64),
        }
    }

    fn rate(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::Operation => ratio(self.done as f64, self.seconds),
            Unit::Gibibyte => ratio(self.bytes as f64 / GIB, self.seconds),
            Unit::Held => None,
        }
    }
}

impl Median {
    pub(super) fn of(samples: &[Sample], unit: Unit) -> Self {
        let of = |value: &dyn Fn(&Sample) -> Option<f64>| median(samples.iter().filter_map(value).collect());
        let time = |value: f64| (value > 0.0).then_some(value);
        Self {
            cost: of(&|sample| sample.cost(unit)),
            rate: of(&|sample| sample.rate(unit)),
            p50_us: of(&|sample| time(sample.p50_us)),
            p99_us: of(&|sample| time(sample.p99_us)),
            resumed: of(&|sample| ratio(sample.resumed as f64, (sample.resumed + sample.not_resumed) as f64)),
        }
    }
}

impl Figures {
    pub(super) fn errors(&self) -> u64 {
        self.samples.iter().map(|sample| sample.errors).sum()
    }

    pub(super) fn last_error(&self) -> Option<&str> {
        self.samples.iter().rev().find_map(|sample| sample.last_error.as_deref())
    }
}

impl Results {
    /// Those of a file; none when it is not there.
    ///
    /// # Errors
    /// A file that is not of this version.
    pub(super) fn load(path: &Path) -> Result<Self, BenchError> {
        match fs::read(path) {
            Err(_) => Ok(Self::default()),
            Ok(text) => serde_json::from_slice(&text).map_err(|source| BenchError::Json { path: path.into(), source }),
        }
    }

    /// # Errors
    /// It can't be written.
    pub(super) fn save(&self, path: &Path) -> Result<(), BenchError> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|source| BenchError::Json { path: path.into(), source })?;
        fs::write(path, text + "\n").map_err(|source| BenchError::File { path: path.into(), source })
    }
}

/// `None` when there is nothing to divide by.
pub(super) fn ratio(of: f64, by: f64) -> Option<f64> {
    (by > 0.0).then(|| of / by)
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied()?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values.get(values.len() / 2 - 1).map(|lower| (lower + upper) / 2.0)
}

#[cfg(test)]
mod tests;
