//! A PostgreSQL of a test's own, ended by its process id.

use std::{
    env, fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::unistd::User;
use tempfile::TempDir;

use crate::{
    gateway::eventually,
    tools::{clean, run, tool},
};

/// A running server. Anybody on this machine is `postgres` there.
pub struct Postgres {
    server: Child,
    port: u16,
    _directory: TempDir,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // INT is its fast shutdown: the processes it started end with it.
        let _ = Command::new("kill").args(["-s", "INT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }
}

impl Postgres {
    pub fn start() -> Self {
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
        let become_owner = |mut command: Command| {
            if let Some(User { uid, gid, .. }) = &owner {
                command.uid(uid.as_raw()).gid(gid.as_raw());
            }
            command.current_dir(directory.path()).env("LC_ALL", "C");
            command
        };
        let mut initdb = become_owner(tool(programs.join("initdb")));
        run(initdb.args(["-A", "trust", "-U", "postgres", "--no-sync", "--locale=C", "-E", "UTF8", "-D"]).arg(&data));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = become_owner(clean(programs.join("postgres")));
        server.arg("-D").arg(&data).arg("-k").arg(directory.path()).args(["-p", &port.to_string()]);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=8MB"]);
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut postgres = Self { server, port, _directory: directory };
        eventually("PostgreSQL", || {
            assert!(postgres.server.try_wait().unwrap().is_none(), "PostgreSQL ended at its start");
            let mut ready = Command::new(programs.join("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status().unwrap().success().then_some(())
        });
        postgres
    }

    pub fn port(&self) -> u16 {
        self.port
    }
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
