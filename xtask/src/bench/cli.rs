//! The arguments of `cargo xtask bench`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::works::Work;

/// Measure Moorgate and its peers, in turn, on this machine
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench")]
pub(super) struct Arguments {
    /// What to measure; everything if none is named
    #[arg(value_enum, value_name = "WORK")]
    works: Vec<Work>,
    /// How often every proxy has its turn; the medians are reported
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
    /// How long a turn is
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub(super) seconds: f64,
    /// Only rows of these names, or of these programs (moorgate, haproxy, nginx …)
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(super) only: Vec<String>,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "PATH")]
    pub(super) moorgate: Option<PathBuf>,
    /// How many tunnels the work `idle` holds
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) idle: u32,
    /// Install no peer that is missing; its rows are left out
    #[arg(long)]
    pub(super) no_install: bool,
    /// Also write the figures and plots into bench/ and its README
    #[arg(long)]
    pub(super) publish: bool,
}

impl Arguments {
    /// The works to do, in the order of the table.
    pub(super) fn works(&self) -> Vec<Work> {
        let all = Work::value_variants().iter().copied();
        all.filter(|work| self.works.is_empty() || self.works.contains(work)).collect()
    }

    /// Whether a row is wanted.
    pub(super) fn wants(&self, name: &str, program: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name || only == program)
    }
}

/// A turn that is too short measures its own beginning.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0.1 to 60".to_owned()),
    }
}
