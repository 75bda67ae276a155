//! Processes that the benchmark starts: each on its cores, measured by the kernel's own accounting, ended with us.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::signal::{Signal, kill},
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

use super::error::BenchError;

/// How long a program may take to end when it is asked to.
const END: Duration = Duration::from_secs(3);
/// The kernel's unit of times in /proc/PID/stat, in seconds: USER_HZ is 100 on every architecture that we build for.
const TICK: f64 = 0.01;
/// How much of a program's log an error shows.
const LAST_WORDS: usize = 300;

/// A program that runs; ended, with all that it started, when this is dropped.
pub(super) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts it on these cores. Its standard error goes to `log`, its standard output too unless it is asked for.
    ///
    /// # Errors
    /// It can't be run, or not there.
    pub(super) fn start(name: &str, command: &mut Command, cores: &[usize], log: &Path) -> Result<Self, BenchError> {
        let file = |source| BenchError::File { path: log.into(), source };
        let errors = File::create(log).map_err(file)?;
        let output = errors.try_clone().map_err(file)?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        Self::spawn(name, command, cores, log)
    }

    /// Starts one whose standard input and output are ours.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub(super) fn start_talking(
        name: &str,
        command: &mut Command,
        cores: &[usize],
        log: &Path,
    ) -> Result<(Self, BufReader<ChildStdout>), BenchError> {
        let errors = File::create(log).map_err(|source| BenchError::File { path: log.into(), source })?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut process = Self::spawn(name, command, cores, log)?;
        match process.child.stdout.take() {
            Some(output) => Ok((process, BufReader::new(output))),
            None => Err(BenchError::Start { name: name.into(), source: io::ErrorKind::BrokenPipe.into() }),
        }
    }

    fn spawn(name: &str, command: &mut Command, cores: &[usize], log: &Path) -> Result<Self, BenchError> {
        let spawned =
            on_cores(cores, || command.spawn()).map_err(|source| BenchError::Pin { name: name.into(), source })?;
        let child = spawned.map_err(|source| BenchError::Start { name: name.into(), source })?;
        Ok(Self { child, name: name.into(), log: log.into() })
    }

    /// The next line that it prints.
    ///
    /// # Errors
    /// It ended before that.
    pub(super) fn line(&self, output: &mut BufReader<ChildStdout>) -> Result<String, BenchError> {
        let mut line = String::new();
        match output.read_line(&mut line) {
            Ok(count) if count > 0 => Ok(line.trim_end().to_owned()),
            _ => Err(self.gone()),
        }
    }

    /// Waits until it is ready, as `ready` says.
    ///
    /// # Errors
    /// It ends, or takes too long.
    pub(super) fn wait_for(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<(), BenchError> {
        let until = Instant::now() + limit;
        while !ready() {
            if self.has_ended() {
                return Err(self.gone());
            }
            if Instant::now() > until {
                let (seconds, last_words) = (limit.as_secs(), self.last_words());
                return Err(BenchError::NotReady { name: self.name.clone(), seconds, last_words });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether it is no longer there.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Says by closing its standard input that it may end, and waits for that.
    pub(super) fn let_go(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }

    /// Waits until it ends; what it printed.
    ///
    /// # Errors
    /// It says no.
    pub(super) fn printed(mut self, mut output: BufReader<ChildStdout>) -> Result<String, BenchError> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        let read = output.read_to_string(&mut text);
        let ended = self.child.wait();
        if read.is_ok() && ended.is_ok_and(|status| status.success()) { Ok(text) } else { Err(self.gone()) }
    }

    /// As an error, with what it wrote last.
    pub(super) fn gone(&self) -> BenchError {
        BenchError::Gone { name: self.name.clone(), last_words: self.last_words() }
    }

    /// The CPU that it has used since it started, with all its threads and children, ended ones included, in seconds.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn cpu_seconds(&self) -> Result<f64, BenchError> {
        let family = family(self.id());
        let clock = |pid: i32| {
            let time = clock_getcpuclockid(Pid::from_raw(pid)).and_then(clock_gettime).ok()?;
            Some(Duration::from(time).as_secs_f64())
        };
        if clock(self.id()).is_none() {
            return Err(self.gone());
        }
        // The clock of a process has its ended threads; its ended children are in its stat alone.
        Ok(family.iter().map(|(&pid, stat)| clock(pid).unwrap_or(0.0) + stat.ended_children).sum())
    }

    /// The memory that it takes, with its children, shared pages by their share, in bytes.
    ///
    /// # Errors
    /// It is gone, or the kernel does not say.
    pub(super) fn memory(&self) -> Result<u64, BenchError> {
        let share = |pid: i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        if share(self.id()).is_none() {
            return Err(self.gone());
        }
        Ok(family(self.id()).keys().filter_map(|&pid| share(pid)).sum())
    }

    fn id(&self) -> i32 {
        // The kernel's own ids are of this type; none is too large.
        i32::try_from(self.child.id()).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let words: Vec<char> = text.trim().chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
        match words.get(words.len().saturating_sub(LAST_WORDS)..) {
            Some(words) if !words.is_empty() => words.iter().collect(),
            _ => "none".to_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let id = self.id();
        let family = family(id);
        if !self.has_ended() {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            let until = Instant::now() + END;
            while !self.has_ended() && Instant::now() < until {
                thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // What it left behind: the same process still, not another one that got its id.
        for (&pid, stat) in family.iter().filter(|&(&pid, _)| pid != id) {
            if read_stat(pid).is_some_and(|now| now.started == stat.started) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// Does it with our thread on these cores, which a program that is started inherits; then puts our thread back.
fn on_cores<T>(cores: &[usize], action: impl FnOnce() -> T) -> nix::Result<T> {
    let ourselves = Pid::from_raw(0);
    let before = sched_getaffinity(ourselves)?;
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    sched_setaffinity(ourselves, &set)?;
    let done = action();
    sched_setaffinity(ourselves, &before)?;
    Ok(done)
}

/// The cores that we may use.
///
/// # Errors
/// The kernel does not say.
pub(super) fn our_cores() -> Result<Vec<usize>, BenchError> {
    let failed = |source| BenchError::Pin { name: "the benchmark".into(), source };
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(failed)?;
    Ok((0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect())
}

/// What /proc/PID/stat says of a process.
#[derive(Clone, Debug, PartialEq)]
struct Stat {
    parent: i32,
    /// CPU of children that have ended and were waited for, in seconds.
    ended_children: f64,
    /// Ticks after the system's start.
    started: u64,
}

fn read_stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc_pid_stat(5). The name in parentheses may hold anything, so fields count from behind the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        ended_children: (ticks(13)? + ticks(14)?) as f64 * TICK,
        started: ticks(19)?,
    })
}

/// A process and its living descendants.
fn family(of: i32) -> BTreeMap<i32, Stat> {
    let everyone = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = everyone.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let stats: BTreeMap<i32, Stat> = pids.filter_map(|pid| Some((pid, read_stat(pid)?))).collect();
    members(of, &stats)
}

fn members(of: i32, stats: &BTreeMap<i32, Stat>) -> BTreeMap<i32, Stat> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![of];
    while let Some(pid) = waiting.pop() {
        if let Some(stat) = stats.get(&pid)
            && found.insert(pid, stat.clone()).is_none()
        {
            waiting.extend(stats.iter().filter(|(_, stat)| stat.parent == pid).map(|(&pid, _)| pid));
        }
    }
    found
}

#[cfg(test)]
mod tests;
