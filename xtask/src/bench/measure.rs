//! Every work, round by round, proxy by proxy.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use super::{
    cli::Arguments,
    error::BenchError,
    h2load::{self, Requests},
    lab::{ENDED, Lab, PASSED},
    peers::{Door, Program, Proxy},
    process::Process,
    result::{Figures, Median, Sample},
    works::{Held, Kind, Row, Unit, Work},
};

/// What a proxy gets to finish what a turn left behind, before its CPU is read.
const SETTLE: Duration = Duration::from_millis(50);
/// The same for memory: allocators give back, and origins' answers arrive.
const SETTLE_MEMORY: Duration = Duration::from_millis(300);
/// A turn before the first round, which does not count: libraries set themselves up at their first use. In seconds.
const WARM_UP: f64 = 0.2;
/// Stalled downloads that are held.
const STALLED: u32 = 1000;
/// Memory hardly differs from round to round, and each needs a new process.
const ROUNDS_OF_MEMORY: u32 = 3;
/// Two for the gateway, and two at least that ask and answer.
const CORES_FOR_TWO: usize = 4;

/// Proxies that run, and how they are measured.
pub(super) struct Measuring<'a> {
    lab: &'a Lab,
    arguments: &'a Arguments,
    /// Where the peers' configurations are.
    peers: PathBuf,
    running: BTreeMap<Program, Proxy>,
    /// Why a program is left out.
    left_out: BTreeMap<Program, String>,
}

impl<'a> Measuring<'a> {
    /// With nothing started yet. `left_out`: the programs that can't be had.
    pub(super) fn new(
        lab: &'a Lab,
        arguments: &'a Arguments,
        peers: &Path,
        left_out: BTreeMap<Program, String>,
    ) -> Self {
        Self { lab, arguments, peers: peers.into(), running: BTreeMap::new(), left_out }
    }

    /// Every row of a work, and lines to say beside them.
    ///
    /// # Errors
    /// What is ours fails; a peer that fails is left out.
    pub(super) fn measure(&mut self, work: Work, root: &Path) -> Result<(Vec<Figures>, Vec<String>), BenchError> {
        match work.kind() {
            Kind::Script(name) => Ok((Vec::new(), self.script(root, name)?)),
            Kind::Cores => self.cores(work),
            kind => Ok((self.rows(work, kind)?, Vec::new())),
        }
    }

    fn rows(&mut self, work: Work, kind: Kind) -> Result<Vec<Figures>, BenchError> {
        let rows: Vec<Row> =
            work.rows().into_iter().filter(|row| self.arguments.wants(row.name, row.program.name())).collect();
        let is_fresh = matches!(kind, Kind::Held(_));
        for row in &rows {
            self.have(row.program, is_fresh)?;
        }
        let rounds = if is_fresh { self.arguments.rounds.min(ROUNDS_OF_MEMORY) } else { self.arguments.rounds };
        let there: Vec<&Row> = rows.iter().filter(|row| !self.left_out.contains_key(&row.program)).collect();
        if !is_fresh {
            eprintln!("   warming up");
            for row in &there {
                self.turn(work, kind, row, WARM_UP)?;
            }
        }
        let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
        for round in 1..=rounds {
            eprintln!("   round {round} of {rounds}");
            for row in &there {
                samples.entry(row.name).or_default().push(self.turn(work, kind, row, self.arguments.seconds)?);
            }
        }
        let of = |row: &Row| {
            let samples = samples.remove(row.name).unwrap_or_default();
            figures(row, work.unit(), samples, self.left_out.get(&row.program).cloned())
        };
        Ok(rows.iter().map(of).collect())
    }

    /// Starts a program that is not there yet. One that is to be started anew each time is only tried.
    fn have(&mut self, program: Program, is_fresh: bool) -> Result<(), BenchError> {
        if self.left_out.contains_key(&program) || self.running.contains_key(&program) && !is_fresh {
            return Ok(());
        }
        match program.start(self.lab, &self.peers, &[self.lab.proxy_core]) {
            Ok(_) if is_fresh => {}
            Ok(proxy) => drop(self.running.insert(program, proxy)),
            Err(error) if program.installed_as().is_none() => return Err(error),
            Err(error) => {
                eprintln!("   {} is left out: {error}", program.name());
                self.left_out.insert(program, error.to_string());
            }
        }
        Ok(())
    }

    fn turn(&self, work: Work, kind: Kind, row: &Row, seconds: f64) -> Result<Sample, BenchError> {
        if let Kind::Held(held) = kind {
            return self.hold(row, held);
        }
        let Some(proxy) = self.running.get(&row.program) else {
            return Ok(Sample::failed("not running".to_owned()));
        };
        let before = proxy.process.cpu_seconds()?;
        let mut sample = match kind {
            Kind::Requests { size, http2, clients, streams } => {
                self.requests(proxy, row, Requests { size, http2, clients, streams }, seconds)?
            }
            Kind::Drive { work: name, connections } => {
                let mut command = self.drive(proxy, row, name);
                command.args(["--seconds", &seconds.to_string()]);
                command.args(["--connections", &connections.to_string()]);
                if work.resumes() {
                    command.arg("--resume");
                }
                self.driven(&mut command, &[self.lab.load_core])?
            }
            Kind::Held(_) | Kind::Cores | Kind::Script(_) => Sample::default(),
        };
        thread::sleep(SETTLE);
        sample.cpu_seconds = proxy.process.cpu_seconds()? - before;
        Ok(sample)
    }

    /// `moorgate-load drive` through a door; without how long or how many.
    fn drive(&self, proxy: &Proxy, row: &Row, work: &str) -> Command {
        let (via, tls) = row.door.via();
        let mut command = Command::new(&self.lab.load);
        command.args(["drive", "--work", work, "--via", via, "--groups", row.groups]);
        command.args(["--proxy", &address(proxy, row), "--target", &self.lab.origin.to_string()]);
        command.args(["--name", if row.door == Door::Https { ENDED } else { PASSED }]);
        if tls {
            command.arg("--tls");
        }
        if let (Door::Connect | Door::TlsConnect | Door::Socks, Some(auth)) = (row.door, &proxy.auth) {
            command.args(["--auth", auth]);
        }
        command
    }

    /// Runs it; what it reports. One that fails is a turn that came to nothing.
    fn driven(&self, command: &mut Command, cores: &[usize]) -> Result<Sample, BenchError> {
        let log = self.lab.directory("load")?.join("output.log");
        let (process, output) = Process::start_talking("moorgate-load drive", command, cores, &log)?;
        match process.printed(output) {
            Err(error) => Ok(Sample::failed(error.to_string())),
            Ok(report) => {
                let path = self.lab.load.clone();
                serde_json::from_str(&report).map_err(|source| BenchError::Json { path, source })
            }
        }
    }

    fn requests(&self, proxy: &Proxy, row: &Row, requests: Requests, seconds: f64) -> Result<Sample, BenchError> {
        let Some(&door) = proxy.doors.get(&row.door) else { return Ok(Sample::failed("no such door".to_owned())) };
        let directory = self.lab.directory("h2load")?;
        let times = directory.join("times");
        let mut command = h2load::command(door, requests, seconds, &times);
        let log = directory.join("output.log");
        let (process, output) = Process::start_talking("h2load", &mut command, &[self.lab.load_core], &log)?;
        match process.printed(output) {
            Err(error) => Ok(Sample::failed(error.to_string())),
            Ok(report) => {
                let times = fs::read_to_string(&times).unwrap_or_default();
                h2load::parse(&report, &times, requests, seconds)
            }
        }
    }

    /// The memory of a new process, before and with what is held.
    fn hold(&self, row: &Row, held: Held) -> Result<Sample, BenchError> {
        let (work, count) = match held {
            Held::Idle => ("idle", self.arguments.idle),
            Held::Stalled => ("stalled", STALLED),
        };
        if u64::from(count) > self.lab.connections() {
            return Err(BenchError::Files { count, files: self.lab.files, most: self.lab.connections() });
        }
        let proxy = row.program.start(self.lab, &self.peers, &[self.lab.proxy_core])?;
        thread::sleep(SETTLE_MEMORY);
        let memory_before = proxy.process.memory()?;
        let mut command = self.drive(&proxy, row, work);
        command.args(["--count", &count.to_string()]);
        let log = self.lab.directory("load")?.join("output.log");
        let core = [self.lab.load_core];
        let (load, mut output) = Process::start_talking("moorgate-load drive", &mut command, &core, &log)?;
        if let Err(error) = load.line(&mut output) {
            return Ok(Sample::failed(error.to_string()));
        }
        thread::sleep(SETTLE_MEMORY);
        let memory_with = proxy.process.memory()?;
        load.let_go();
        Ok(Sample { held: count.into(), memory_before, memory_with, ..Sample::default() })
    }

    /// Moorgate alone, on one core and on two, driven from the others.
    fn cores(&self, work: Work) -> Result<(Vec<Figures>, Vec<String>), BenchError> {
        let [one, load, two, ref others @ ..] = *self.lab.cores else {
            return Ok((Vec::new(), vec![too_few(self.lab.cores.len())]));
        };
        if others.is_empty() {
            return Ok((Vec::new(), vec![too_few(self.lab.cores.len())]));
        }
        // The origin is on the second core, beside a part of the load.
        let loads: Vec<usize> = [&[load], others].concat();
        let mut all = Vec::new();
        for (name, title, cores) in
            [("one-core", "Moorgate on one core", vec![one]), ("two-cores", "Moorgate on two cores", vec![one, two])]
        {
            let samples = (0..self.arguments.rounds).map(|_| self.on_cores(&cores, &loads));
            let samples = samples.collect::<Result<Vec<_>, _>>()?;
            for row in work.rows() {
                all.push(figures(&Row { name, title, ..row }, work.unit(), samples.clone(), None));
            }
        }
        Ok((all, vec![format!("Driven from {} cores.", loads.len())]))
    }

    /// One turn of short connections from every core of the load at once.
    fn on_cores(&self, cores: &[usize], loads: &[usize]) -> Result<Sample, BenchError> {
        let Some(row) = Work::Cores.rows().pop() else { return Ok(Sample::default()) };
        let proxy = row.program.start(self.lab, &self.peers, cores)?;
        let before = proxy.process.cpu_seconds()?;
        let seconds = self.arguments.seconds.to_string();
        let mut sample = thread::scope(|scope| {
            let runs = loads.iter().map(|&core| {
                let mut command = self.drive(&proxy, &row, "connection");
                command.args(["--seconds", &seconds, "--connections", "16"]);
                scope.spawn(move || self.driven(&mut command, &[core]))
            });
            let runs: Vec<_> = runs.collect();
            let mut all = Sample::default();
            for run in runs {
                let sample = run.join().unwrap_or_else(|_| Ok(Sample::failed("a thread panicked".to_owned())))?;
                all.done += sample.done;
                all.errors += sample.errors;
                all.last_error = sample.last_error.or(all.last_error);
                all.seconds = all.seconds.max(sample.seconds);
                all.p50_us = all.p50_us.max(sample.p50_us);
                all.p99_us = all.p99_us.max(sample.p99_us);
            }
            Ok::<_, BenchError>(all)
        })?;
        thread::sleep(SETTLE);
        sample.cpu_seconds = proxy.process.cpu_seconds()? - before;
        Ok(sample)
    }

    /// The script does all by itself; its last lines are the figures.
    fn script(&self, root: &Path, name: &'static str) -> Result<Vec<String>, BenchError> {
        let mut command = Command::new("python3");
        command.arg(root.join("bench").join(name)).arg(&self.lab.moorgate);
        command.args(["--rounds", &self.arguments.rounds.to_string()]);
        let log = self.lab.directory(name.trim_end_matches(".py"))?.join("output.log");
        let (process, output) = Process::start_talking(name, &mut command, &self.lab.cores, &log)?;
        Ok(process.printed(output)?.lines().map(str::to_owned).collect())
    }
}

fn too_few(cores: usize) -> String {
    format!("Not measured: needs {CORES_FOR_TWO} cores, two for the gateway and two for the load; here are {cores}.")
}

fn address(proxy: &Proxy, row: &Row) -> String {
    proxy.doors.get(&row.door).map(ToString::to_string).unwrap_or_default()
}

fn figures(row: &Row, unit: Unit, samples: Vec<Sample>, left_out: Option<String>) -> Figures {
    Figures {
        name: row.name.to_owned(),
        title: row.title.to_owned(),
        is_ours: row.program == Program::Moorgate,
        in_tls: row.door.via().1,
        left_out,
        median: Median::of(&samples, unit),
        samples,
    }
}
