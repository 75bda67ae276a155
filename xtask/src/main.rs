//! Everything a developer runs, and nothing that ships: `cargo xtask test | bench | soak | docs | audit`.

mod arrows;
mod bench;
mod docs;
mod error;
mod install;
mod step;

use std::process::{Command, ExitCode};

use cargo_metadata::{Metadata, MetadataCommand};

use error::XtaskError;
use step::{Steps, cargo, run};

const USAGE: &str = "\
usage: cargo xtask test [--no-install]   everything that must be green, after installing what that needs (Debian)
       cargo xtask install               only the installing of it
       cargo xtask bench [WORK…]         measures the gateway and its peers, in turn; --help says more
       cargo xtask soak                  half an hour of two-minute certificates under load
       cargo xtask docs                  rewrites the tables of docs/ that come from the code
       cargo xtask audit                 looks for known vulnerabilities in what we depend on (needs their database)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments {
        ["test"] => test(true),
        ["test", "--no-install"] => test(false),
        ["install"] => metadata().and_then(|metadata| install::all(metadata.target_directory.as_std_path(), true)),
        ["bench", ref arguments @ ..] => metadata().and_then(|metadata| bench::run(arguments, &metadata)),
        ["soak"] => soak(),
        ["docs"] => metadata().and_then(|metadata| docs::rewrite(root(&metadata))),
        ["audit"] => audit(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

fn metadata() -> Result<Metadata, XtaskError> {
    MetadataCommand::new().exec().map_err(XtaskError::Metadata)
}

fn root(metadata: &Metadata) -> &std::path::Path {
    metadata.workspace_root.as_std_path()
}

/// What is quick to say no comes first.
fn test(install: bool) -> Result<(), XtaskError> {
    let metadata = metadata()?;
    let mut steps = Steps::start();
    steps.run("install", || install::all(metadata.target_directory.as_std_path(), install))?;
    steps.run("format", || cargo(&["fmt", "--all", "--check"]))?;
    steps.run("arrows", || arrows::check(&metadata))?;
    steps.run("docs", || docs::check(root(&metadata)))?;
    steps.run("deny", || cargo(&["deny", "check", "bans", "licenses", "sources"]))?;
    steps.run("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    if install::has_nextest() {
        steps.run("tests", || cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]))?;
        // nextest leaves these out.
        steps.run("doctests", || cargo(&["test", "--workspace", "--doc", "--quiet"]))?;
    } else {
        steps.run("tests", || cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    }
    steps.end();
    Ok(())
}

/// The test of certificates that live shortly, for as long as a person has patience.
fn soak() -> Result<(), XtaskError> {
    let metadata = metadata()?;
    let mut steps = Steps::start();
    steps.run("install", || install::all(metadata.target_directory.as_std_path(), true))?;
    steps.run("soak", || {
        let mut test = Command::new("cargo");
        test.args(["test", "-p", "moorgate", "--test", "front_door", "--", "--nocapture", SOAK]);
        run(test.env("SOAK_SECONDS", "1800").env("SOAK_LIFE", "120"), "the soak")
    })?;
    steps.end();
    Ok(())
}

/// What soaks.
const SOAK: &str = "certificates_that_live_shortly_are_renewed_under_load_without_a_failed_handshake";

fn audit() -> Result<(), XtaskError> {
    let mut steps = Steps::start();
    steps.run("install", || install::cargo_deny(true))?;
    steps.run("advisories", || cargo(&["deny", "check", "advisories"]))?;
    steps.end();
    Ok(())
}
