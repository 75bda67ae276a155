//! The commands about a whole deployment: texts, secrets, backups.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A file of TOML as `moorgate export` writes it; - for standard input
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Remove what is there and not in the file
    #[arg(long)]
    pub(crate) prune: bool,
    #[command(flatten)]
    pub(crate) json: super::Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Seal the store's key under the master key in use (see [secrets] previous_master_key_file)
    Rewrap,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// A file that is not there yet
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// What `moorgate backup` wrote
    pub(crate) file: PathBuf,
    /// The gateway's file (TOML), as for `moorgate up`
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}
