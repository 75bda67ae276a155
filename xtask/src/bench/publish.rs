//! What a run leaves behind: files below `target/bench/`, and with `--publish` those of `bench/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    error::BenchError,
    plot,
    result::{Measured, Results, Run},
    table::Grid,
};
use crate::{docs, error::XtaskError};

const BEGIN: &str = "<!-- bench: begin; made by `cargo xtask bench --publish` -->\n";
const END: &str = "<!-- bench: end -->\n";

/// Writes the figures and a plot of each work into a directory.
///
/// # Errors
/// It can't be written.
pub(super) fn write(results: &Results, directory: &Path) -> Result<(), BenchError> {
    let failed = |path: &Path| {
        let path = PathBuf::from(path);
        |source| BenchError::File { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    results.save(&directory.join("result.json"))?;
    for (work, measured) in &results.0 {
        if let Some(svg) = plot::svg(*work, measured) {
            let path = directory.join(format!("{}.svg", work.name()));
            fs::write(&path, svg).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// Brings the new figures into `bench/`; works that were not done now stay as they were, with their date.
///
/// # Errors
/// A file that can't be read or written, or a README without its marks.
pub(super) fn publish(new: &Results, bench: &Path) -> Result<(), XtaskError> {
    let mut results = Results::load(&bench.join("result.json"))?;
    results.0.extend(new.0.clone());
    write(&results, bench)?;
    docs::put_block(&bench.join("README.md"), (BEGIN, END), &markdown(&results))
}

/// What stands between the marks.
fn markdown(results: &Results) -> String {
    let mut text = String::new();
    let mut last: Option<&Run> = None;
    for (work, measured) in &results.0 {
        if last != Some(&measured.run) {
            text.push_str(&told(&measured.run));
            last = Some(&measured.run);
        }
        text.push_str(&format!("\n### {}: `{}`\n\n", work.title(), work.name()));
        if drawn(measured) {
            text.push_str(&format!("![{}]({}.svg)\n\n", work.title(), work.name()));
        }
        text.push_str(&Grid::of(measured).for_markdown());
    }
    text
}

fn drawn(measured: &Measured) -> bool {
    measured.rows.iter().any(|row| row.median.cost.is_some_and(|cost| cost > 0.0))
}

/// When, where and how, in a paragraph.
fn told(run: &Run) -> String {
    let machine = &run.machine;
    let peers: Vec<String> = machine.peers.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!(
        "\nMeasured on {date} with `{command}`: medians of {rounds} rounds of {seconds} s, on {cores} cores of {processor}, \
         Linux {kernel}, {system}. The benchmark is that of {revision}; Moorgate was {moorgate}. Debian's packages: {peers}.\n",
        date = run.date,
        command = run.command,
        rounds = run.rounds,
        seconds = run.seconds,
        cores = machine.cores,
        processor = machine.processor,
        kernel = machine.kernel,
        system = machine.system,
        revision = run.revision,
        moorgate = run.moorgate,
        peers = peers.join(", "),
    )
}

#[cfg(test)]
mod tests;
