//! A PostgreSQL of a test's own: Debian's package, a data directory and a port that nobody else has, ended by its process
//! id. Whatever goes wrong here ends the test.

use std::{
    env,
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::{
        fs::{OpenOptionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, User},
};
use tempfile::TempDir;
use test_ports::Port;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end by itself.
const LEAVE: Duration = Duration::from_secs(3);

/// A server. Anybody on this machine is `postgres` there.
pub struct Postgres {
    server: Option<Child>,
    port: Port,
    programs: PathBuf,
    owner: Option<User>,
    directory: TempDir,
    /// Whether it speaks TLS, and with clients by TCP nothing else.
    tls: bool,
}

/// Who may connect to a server with TLS: what comes by TCP in the clear is turned away.
const TLS_ONLY: &str = "local all all trust\nhostssl all all 127.0.0.1/32 trust\nhostnossl all all 0.0.0.0/0 reject\n";

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        self.end(Signal::SIGINT);
    }
}

impl Postgres {
    /// Makes a data directory and starts a server on it.
    pub fn start() -> Self {
        let mut postgres = Self::made();
        postgres.run();
        postgres
    }

    /// The same with TLS by this certificate and key, in PEM, and without what comes by TCP in the clear.
    pub fn start_with_tls(certificate: &str, key: &str) -> Self {
        let mut postgres = Self::made();
        postgres.tls = true;
        for (name, text) in [("server.crt", certificate), ("server.key", key), ("pg_hba.conf", TLS_ONLY)] {
            postgres.write(name, text);
        }
        postgres.run();
        postgres
    }

    fn made() -> Self {
        let programs = programs();
        let directory = TempDir::new().unwrap();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        let owner = owner();
        if let Some(User { uid, gid, .. }) = &owner {
            for path in [directory.path(), &data] {
                chown(path, Some(uid.as_raw()), Some(gid.as_raw())).unwrap();
            }
        }
        let postgres = Self { server: None, port: Port::keep(), programs, owner, directory, tls: false };
        let mut initdb = postgres.program("initdb");
        initdb.args(["-A", "trust", "-U", "postgres", "--no-sync", "--locale=C", "-E", "UTF8", "-D"]).arg(&data);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        postgres
    }

    /// Puts a file into the data directory, its owner's alone: the server takes no key that others may read.
    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join("data").join(name);
        let _ = fs::remove_file(&path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        if let Some(User { uid, gid, .. }) = &self.owner {
            chown(&path, Some(uid.as_raw()), Some(gid.as_raw())).unwrap();
        }
    }

    /// Starts the server again, on the same data and port.
    pub fn run(&mut self) {
        assert!(self.server.is_none(), "it runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut server = self.program("postgres");
        server.arg("-D").arg(self.directory.path().join("data")).arg("-k").arg(self.directory.path());
        server.args(["-p", &self.port().to_string(), "-c", "listen_addresses=127.0.0.1"]);
        server.args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=200"]);
        server.args(["-c", if self.tls { "ssl=on" } else { "ssl=off" }]);
        // A group of its own: all its processes are stopped and continued together.
        let server = server.process_group(0).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.server = Some(server);
        let patience = Instant::now() + PATIENCE;
        while !self.is_ready() {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "PostgreSQL ended at its start: {}", self.said());
            assert!(Instant::now() < patience, "PostgreSQL does not start: {}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server at once, as a crash would.
    pub fn kill(&mut self) {
        self.thaw();
        self.end(Signal::SIGQUIT);
    }

    /// Stops every process of the server where it is: connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where a database is reached.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port())
    }

    /// Where everything is that it writes.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs statements; what they answer, a line for each row.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        sql(&self.url(database), statements)
    }

    /// Everything in a database, as pg_dump writes it.
    pub fn dump(&self, database: &str) -> String {
        let dump = clean(self.programs.join("pg_dump")).args(["-d", &self.url(database)]).output().unwrap();
        assert!(dump.status.success(), "pg_dump: {}", String::from_utf8_lossy(&dump.stderr));
        String::from_utf8(dump.stdout).unwrap()
    }

    fn program(&self, name: &str) -> Command {
        let mut command = clean(self.programs.join(name));
        if let Some(User { uid, gid, .. }) = &self.owner {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command.current_dir(self.directory.path()).env("LC_ALL", "C");
        command
    }

    fn is_ready(&self) -> bool {
        let mut ready = clean(self.programs.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port().to_string()]).status().unwrap().success()
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn pid(&self) -> Option<Pid> {
        self.server.as_ref().map(|server| Pid::from_raw(i32::try_from(server.id()).unwrap()))
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = self.pid() else { return };
        // Its workers are in groups of their own, each led by itself.
        for worker in children(pid) {
            let _ = kill(worker, signal);
        }
        let _ = killpg(pid, signal);
    }

    fn end(&mut self, signal: Signal) {
        let (Some(pid), Some(mut server)) = (self.pid(), self.server.take()) else { return };
        let _ = kill(pid, signal);
        let patience = Instant::now() + LEAVE;
        while server.try_wait().unwrap().is_none() {
            // It may wait for a client that has connected and says nothing.
            if Instant::now() > patience {
                let _ = kill(pid, Signal::SIGQUIT);
                let _ = server.wait();
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Runs statements on the database of a URL; what they answer, a line for each row.
pub fn sql(url: &str, statements: &str) -> String {
    let mut psql = clean(programs().join("psql"));
    psql.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", "-"]);
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // By its input: a statement may be longer than an argument.
    psql.stdin.take().unwrap().write_all(statements.as_bytes()).unwrap();
    let done = psql.wait_with_output().unwrap();
    assert!(done.status.success(), "{statements:.200}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The processes that a process has started.
fn children(of: Pid) -> Vec<Pid> {
    let listed = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    listed.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

/// Without what the machine's owner has set for clients.
fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("PG")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// It refuses to run as root.
fn owner() -> Option<User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let named = |name| User::from_name(name).unwrap();
    Some(named("postgres").or_else(|| named("nobody")).expect("a user who is not root"))
}

/// Debian keeps them out of the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin"));
    let path: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    let found = debian.chain(path).find(|directory: &PathBuf| Path::new(directory).join("initdb").is_file());
    found.expect("initdb is not installed (Debian package postgresql): run `cargo xtask test`, which installs it")
}
