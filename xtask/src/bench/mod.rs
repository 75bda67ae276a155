//! `cargo xtask bench`: Moorgate and its peers at the same work, in turn, on this machine.
//!
//! Each proxy has one core, the load and the origin another. Rounds alternate between the proxies, so that a machine's
//! mood hits all alike, and medians are reported. CPU is what the kernel accounts to a proxy's processes, ended threads
//! and children included; memory is their proportional set size. Everything that is started ends with the run.

mod cli;
mod error;
mod gateway;
mod h2load;
mod lab;
mod machine;
mod measure;
mod peers;
mod plot;
mod process;
mod publish;
mod result;
mod table;
mod works;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use cargo_metadata::Metadata;
use clap::Parser;

use crate::{
    error::XtaskError,
    install,
    step::{Steps, cargo},
};
use cli::Arguments;
pub(crate) use error::BenchError;
use lab::Lab;
use measure::Measuring;
use peers::Program;
use result::{Measured, Results, Run};
use table::Grid;

/// Measures what the arguments ask for, prints tables, and writes figures and plots.
///
/// # Errors
/// What is ours can't be built, started or measured. A peer that can't is left out.
pub(crate) fn run(arguments: &[&str], metadata: &Metadata) -> Result<(), XtaskError> {
    let parsed = Arguments::try_parse_from(std::iter::once("bench").chain(arguments.iter().copied()));
    let parsed = parsed.unwrap_or_else(|error| error.exit());
    let root = metadata.workspace_root.as_std_path();
    let target = metadata.target_directory.as_std_path();

    let mut steps = Steps::start();
    steps.run("install", || install::peers(!parsed.no_install))?;
    steps.run("build", || build(&parsed))?;
    let (moorgate, load) = binaries(&parsed, target);
    let lab = Lab::new(moorgate, load)?;
    let run = described(&parsed, arguments, &lab);
    let mut measuring = Measuring::new(&lab, &parsed, &root.join("bench/peers"), missing());
    let mut results = Results::default();
    let directory = target.join("bench");
    for work in parsed.works() {
        steps.run(&work.name(), || {
            let (rows, lines) = measuring.measure(work, root)?;
            let measured = Measured { run: run.clone(), unit: work.unit(), rows, lines };
            println!("\n{}\n{}", work.title(), Grid::of(&measured).for_terminal());
            results.0.insert(work, measured);
            // After each work: what was measured is there even if the next one fails.
            Ok(publish::write(&results, &directory)?)
        })?;
    }
    if parsed.publish {
        steps.run("publish", || publish::publish(&results, &root.join("bench")))?;
    }
    steps.end();
    println!("figures and plots are in {}", directory.display());
    Ok(())
}

/// Builds both in one go; with a binary that is given, the load alone.
fn build(arguments: &Arguments) -> Result<(), XtaskError> {
    match arguments.moorgate {
        Some(_) => cargo(&["build", "--release", "--package", "moorgate-load"]),
        None => cargo(&["build", "--profile", "dist", "--package", "moorgate", "--package", "moorgate-load"]),
    }
}

/// The gateway's and the load's.
fn binaries(arguments: &Arguments, target: &Path) -> (PathBuf, PathBuf) {
    match &arguments.moorgate {
        Some(path) => {
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            (path, target.join("release/moorgate-load"))
        }
        None => (target.join("dist/moorgate"), target.join("dist/moorgate-load")),
    }
}

/// The peers that are not installed.
fn missing() -> BTreeMap<Program, String> {
    let is_missing = |peer: &Program| peer.installed_as().filter(|(name, _)| install::program(name).is_none());
    let missing = Program::PEERS.into_iter().filter_map(|peer| Some((peer, is_missing(&peer)?)));
    missing.map(|(peer, (_, package))| (peer, format!("not installed; Debian's package is {package}"))).collect()
}

/// Arguments as they are published: where somebody keeps a binary is nobody's business.
fn shown<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut before = "";
    let shown = |argument: &&'a str| match std::mem::replace(&mut before, argument) {
        "--moorgate" => "PATH",
        _ if argument.starts_with("--moorgate=") => "--moorgate=PATH",
        _ => argument,
    };
    arguments.iter().map(shown).collect()
}

fn described(parsed: &Arguments, arguments: &[&str], lab: &Lab) -> Run {
    let moorgate = match &parsed.moorgate {
        Some(_) => "given with --moorgate, of a revision that is not known",
        None => "built with --profile dist",
    };
    Run {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        revision: machine::revision(),
        moorgate: moorgate.to_owned(),
        command: ["cargo xtask bench", &shown(arguments).join(" ")].join(" ").trim_end().to_owned(),
        rounds: parsed.rounds,
        seconds: parsed.seconds,
        machine: machine::describe(lab.cores.len()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_is_not_published() {
        let shown = super::shown(&["ping", "--moorgate", "/home/me/moorgate", "--publish", "--moorgate=/home/me"]);
        assert_eq!(shown, ["ping", "--moorgate", "PATH", "--publish", "--moorgate=PATH"]);
    }
}
