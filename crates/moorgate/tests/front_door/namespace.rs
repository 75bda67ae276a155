//! Network namespaces of a test's own, made with iproute2 as root and removed at the end.

use std::{
    fs::{self, File},
    process::{self, Command},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use nix::sched::{CloneFlags, setns};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A namespace with its loopback up. Removed when dropped; processes in it should have ended by then.
pub struct Namespace {
    name: String,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

impl Namespace {
    pub fn new() -> Self {
        let name = format!("moorgate-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
        run(&format!("netns add {name}"));
        let namespace = Self { name };
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `ip` inside.
    pub fn ip(&self, args: &str) {
        run(&format!("-n {} {args}", self.name));
    }

    /// What to put in front of a command that shall run inside.
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Runs `work` on a thread inside. Threads, sockets and processes that it makes are inside too, and stay so.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(file, CloneFlags::CLONE_NEWNET).expect("a thread may enter a namespace: run the tests as root");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Sets a value below `/proc/sys/net`, inside.
    pub fn sysctl(&self, name: &str, value: &str) {
        self.enter(|| fs::write(format!("/proc/sys/net/{name}"), value).unwrap());
    }

    /// Joins two namespaces: `here` and `there` are the addresses of the two ends, with their prefix.
    pub fn join(&self, other: &Self, here: &str, there: &str) {
        self.ip(&format!("link add wire type veth peer name wire netns {}", other.name));
        for (namespace, address) in [(self, here), (other, there)] {
            namespace.ip(&format!("addr add {address} dev wire"));
            namespace.ip("link set wire up");
        }
    }
}

fn run(args: &str) {
    let output = Command::new("ip").args(args.split_whitespace()).output();
    let output = output.expect("this test needs `ip` (Debian package iproute2); cargo xtask test installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {args}: {said} (network namespaces need root)");
}
