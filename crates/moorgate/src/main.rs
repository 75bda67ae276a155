//! The moorgate binary: commands, the gateway's file, wiring.

mod agent;
mod cli;
mod commands;
mod config;
mod demo;
mod output;
mod proxy_urls;
mod shell;
mod up;

use std::process::ExitCode;

use clap::Parser;

const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    // Wrong usage that clap sees ends in here, with the same code.
    let cli = cli::Cli::parse();
    commands::run(cli).unwrap_or_else(|error| {
        if error.is_closed_pipe() {
            // Whoever read our output has seen enough.
            return ExitCode::SUCCESS;
        }
        eprintln!("moorgate: {}", output::chain(&error));
        if error.is_usage() { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
    })
}
