//! Steps with names and times, and the programs they run.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use crate::error::XtaskError;

/// A run of steps.
pub(crate) struct Steps {
    began: Instant,
    done: usize,
}

impl Steps {
    /// At the first step.
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), done: 0 }
    }

    /// Runs one step; says its name before and its seconds behind.
    ///
    /// # Errors
    /// The step's.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<(), XtaskError>) -> Result<(), XtaskError> {
        eprintln!("== {name}");
        let began = Instant::now();
        let done = step();
        let word = if done.is_ok() { "ok" } else { "FAILED" };
        eprintln!("== {name}: {word}, {:.1} s", began.elapsed().as_secs_f64());
        self.done += 1;
        done
    }

    /// Says that all is well.
    pub(crate) fn end(self) {
        eprintln!("== all {} steps ok, {:.1} s", self.done, self.began.elapsed().as_secs_f64());
    }
}

/// Runs cargo, its output in view.
///
/// # Errors
/// It can't be run, or ends with anything but 0.
pub(crate) fn cargo(arguments: &[&str]) -> Result<(), XtaskError> {
    run(Command::new(cargo_program()).args(arguments), &format!("cargo {}", arguments.join(" ")))
}

/// Runs cargo and returns what it prints.
///
/// # Errors
/// It can't be run, or ends with anything but 0.
pub(crate) fn output(arguments: &[&str]) -> Result<String, XtaskError> {
    let shown = || format!("cargo {}", arguments.join(" "));
    let done = Command::new(cargo_program()).args(arguments).stderr(Stdio::inherit()).output();
    let done = done.map_err(|source| XtaskError::NotRun { program: shown(), source })?;
    if !done.status.success() {
        return Err(XtaskError::Failed { command: shown() });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The cargo that runs us, so that a toolchain chosen by hand stays chosen.
fn cargo_program() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Runs a program, its output in view; `shown` names it in errors.
///
/// # Errors
/// It can't be run, or ends with anything but 0.
pub(crate) fn run(command: &mut Command, shown: &str) -> Result<(), XtaskError> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.map_err(|source| XtaskError::NotRun { program: shown.to_owned(), source })?;
    if status.success() { Ok(()) } else { Err(XtaskError::Failed { command: shown.to_owned() }) }
}

/// Whether a program runs and ends with 0; its output is not shown.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    let quiet =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}
