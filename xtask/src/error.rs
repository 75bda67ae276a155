//! What can go red.

use std::{error::Error, io, path::PathBuf};

use thiserror::Error;

use crate::{arrows::Wrong, bench::BenchError};

/// Why a task failed.
#[derive(Debug, Error)]
pub(crate) enum XtaskError {
    /// cargo could not describe the workspace.
    #[error("cannot read the workspace's metadata")]
    Metadata(#[source] cargo_metadata::Error),
    /// A program could not be started.
    #[error("cannot run {program}")]
    NotRun {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program said no.
    #[error("{command} failed")]
    Failed {
        /// The whole command.
        command: String,
    },
    /// The crates depend on each other in another way than ARCHITECTURE.md draws.
    #[error("the crates and the drawing in ARCHITECTURE.md disagree:{}", listed(.0))]
    Arrows(Vec<Wrong>),
    /// A file of the documentation can't be read or written.
    #[error("cannot read or write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the documentation has lost its marks.
    #[error("{} has no block between {begin:?} and {end:?}", path.display())]
    NoBlock {
        /// The file.
        path: PathBuf,
        /// The line before the block.
        begin: &'static str,
        /// The line behind it.
        end: &'static str,
    },
    /// A table of the documentation is not what the code says.
    #[error("{} is not what the code says; run: cargo xtask docs", path.display())]
    Stale {
        /// The file.
        path: PathBuf,
    },
    /// A page leaves failures out.
    #[error("{} does not say what each means and what to do: {}", path.display(), codes.join(", "))]
    Unexplained {
        /// The page.
        path: PathBuf,
        /// The failures' codes.
        codes: Vec<&'static str>,
    },
    /// The benchmark ended early.
    #[error("no figures")]
    Bench(#[from] BenchError),
    /// There is no way to install what is missing.
    #[error("missing: {}; only Debian's apt-get is known here, so install them and run again", .0.join(", "))]
    NoInstaller(Vec<&'static str>),
}

impl XtaskError {
    /// With its causes, on one line.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line = format!("{line}: {error}");
            cause = error.source();
        }
        line
    }
}

fn listed(wrong: &[Wrong]) -> String {
    wrong.iter().map(|wrong| format!("\n  {wrong}")).collect()
}
