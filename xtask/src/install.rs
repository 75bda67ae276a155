//! What the tests and the benchmark need: clients to try the gateway with, peers to measure it beside, and cargo's own
//! helpers.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::XtaskError,
    step::{cargo, run, works},
};

/// A program of the system's.
struct Tool {
    /// What is there when it is installed.
    found: fn() -> bool,
    /// Debian's package.
    package: &'static str,
    /// Without it what needs it says so and the rest runs: not every mirror has it.
    optional: bool,
}

/// Debian starts these when they are installed; here they are only tried with and measured. Each with its program.
const SERVICES: &[(&str, &str)] = &[
    ("haproxy", "haproxy"),
    ("nginx", "nginx"),
    ("squid", "squid"),
    ("danted", "danted"),
    ("microsocks", "microsocks"),
    ("tinyproxy", "tinyproxy"),
    ("knot", "knotd"),
    ("named", "named"),
    ("mariadb", "mariadbd"),
    ("ssh", "sshd"),
];

const fn tool(package: &'static str, found: fn() -> bool) -> Tool {
    Tool { found, package, optional: false }
}

const TOOLS: &[Tool] = &[
    tool("curl", || works("curl", &["--version"])),
    tool("git", || works("git", &["--version"])),
    tool("openssl", || works("openssl", &["version"])),
    tool("nginx-light", || works("nginx", &["-v"])),
    tool("sslscan", || works("sslscan", &["--version"])),
    tool("chromium", || works("chromium", &["--version"])),
    tool("iproute2", || works("ip", &["-V"])),
    tool("strace", || works("strace", &["-V"])),
    tool("python3-venv", || works("python3", &["-c", "import ensurepip, venv"])),
    tool("nodejs", || works("node", &["--version"])),
    tool("npm", || works("npm", &["--version"])),
    tool("postgresql-client", || works("psql", &["--version"])),
    tool("postgresql", has_postgres_server),
    tool("knot", || program("knotd").is_some()),
    tool("knot-dnsutils", || works("kdig", &["--version"])),
    tool("bind9", || program("named").is_some()),
    tool("faketime", || works("faketime", &["--version"])),
    tool("pebble", || program("pebble").is_some()),
    tool("certbot", || works("certbot", &["--version"])),
    tool("python3-acme", || works("/usr/bin/python3", &["-c", "import acme.standalone"])),
    tool("ruby", || works("ruby", &["--version"])),
    tool("php-cli", || works("php", &["--version"])),
    tool("php-curl", || works("php", &["-r", "exit(extension_loaded('curl') ? 0 : 1);"])),
    tool("default-jdk-headless", || works("javac", &["--version"])),
    tool("mariadb-server", || program("mariadbd").is_some()),
    tool("mariadb-client", || works("mysql", &["--version"])),
    tool("openssh-client", || works("ssh", &["-V"])),
    tool("openssh-server", || program("sshd").is_some()),
    Tool { found: || works("go", &["version"]), package: "golang-go", optional: true },
];

/// What the benchmark measures beside the gateway, and with.
const PEERS: &[Tool] = &[
    tool("openssl", || works("openssl", &["version"])),
    peer("haproxy", || program("haproxy").is_some()),
    peer("nginx-light", || program("nginx").is_some()),
    peer("libnginx-mod-stream", || Path::new("/usr/lib/nginx/modules/ngx_stream_module.so").is_file()),
    peer("squid-openssl", || program("squid").is_some()),
    peer("dante-server", || program("danted").is_some()),
    peer("microsocks", || program("microsocks").is_some()),
    peer("tinyproxy-bin", || program("tinyproxy").is_some()),
    peer("nghttp2-client", || program("h2load").is_some()),
];

const fn peer(package: &'static str, found: fn() -> bool) -> Tool {
    Tool { found, package, optional: true }
}

/// Python's clients, for a virtual environment.
const PYTHON: &[&str] = &[
    "requests==2.32.5",
    "httpx[socks]==0.28.1",
    "PySocks==1.7.1",
    "aiohttp==3.14.5",
    "aiosmtpd==1.4.6",
    "pymongo==4.20.1",
    "h2==4.3.0",
    "hpack==4.1.0",
    "hyperframe==6.1.0",
    "grpcio==1.85.3",
    "schemathesis==4.32.5",
    "openapi-spec-validator==0.9.0",
];
/// Node's clients, as they run on Debian's Node too.
const NODE: &[&str] = &[
    "undici@6.29.1",
    "http-proxy-agent@7.0.2",
    "https-proxy-agent@7.0.6",
    "socks-proxy-agent@8.0.5",
    "axios@1.21.1",
    "playwright-core@1.65.1",
    "axe-core@4.11.0",
    "mongosh@2.3.9",
];
/// Says which clients were installed, so that a second run has nothing to do.
const STAMP: &str = "moorgate-clients";

/// Installs what is missing, or without `install` only says what is.
///
/// # Errors
/// Something that can't be had.
pub(crate) fn all(target: &Path, install: bool) -> Result<(), XtaskError> {
    without_services(|| tools(TOOLS, install, "its tests will say so"))?;
    let clients = target.join("clients");
    python(&clients.join("venv"), install)?;
    node(&clients.join("node"), install)?;
    cargo_deny(install)?;
    if !has_nextest() {
        say("cargo-nextest is not here; cargo's own test runner does the same, more slowly");
    }
    Ok(())
}

fn say(what: &str) {
    eprintln!("   {what}");
}

fn left_out(what: &str) {
    say(&format!("{what} is not installed, and --no-install was given: what needs it will fail"));
}

/// Installs the peers that are missing, or without `install` only says which are. One that can't be had is left out by
/// the benchmark.
///
/// # Errors
/// What the benchmark can't do without.
pub(crate) fn peers(install: bool) -> Result<(), XtaskError> {
    without_services(|| tools(PEERS, install, "its rows are left out"))
}

/// Stops the services that came with what was installed: whoever asked for tests or figures asked for no server on their
/// ports.
fn without_services(install: impl FnOnce() -> Result<(), XtaskError>) -> Result<(), XtaskError> {
    let is_here = |(_, of): &&(&str, &str)| program(of).is_some();
    let before: Vec<_> = SERVICES.iter().filter(is_here).collect();
    install()?;
    for (service, _) in SERVICES.iter().filter(is_here).filter(|service| !before.contains(service)) {
        if works("service", &[service, "stop"]) {
            say(&format!("stopped {service}, which Debian starts when it is installed"));
        }
    }
    Ok(())
}

/// Where a program is: in the path, or where Debian has what administrators run.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    let directories = path.into_iter().chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Installs what is missing of these. `without` says what becomes of an optional one that can't be had.
fn tools(tools: &[Tool], install: bool, without: &str) -> Result<(), XtaskError> {
    let (optional, needed): (Vec<_>, Vec<_>) =
        tools.iter().filter(|tool| !(tool.found)()).partition(|tool| tool.optional);
    let packages = |tools: &[&Tool]| tools.iter().map(|tool| tool.package).collect::<Vec<_>>();
    let (optional, needed) = (packages(&optional), packages(&needed));
    if optional.is_empty() && needed.is_empty() {
        return Ok(());
    }
    if !install {
        needed.iter().chain(&optional).for_each(|package| left_out(package));
        return Ok(());
    }
    if !works("apt-get", &["--version"]) {
        optional.iter().for_each(|package| say(&format!("{package} is not here; {without}")));
        return if needed.is_empty() { Ok(()) } else { Err(XtaskError::NoInstaller(needed)) };
    }
    // Without fresh lists an old mirror's names would be asked for; a list that can't be had shows at the install.
    let _ = apt(&["update", "-q=2"]);
    if !needed.is_empty() {
        say(&format!("installing {}", needed.join(", ")));
        apt(&[&["install", "-y", "-q=2", "--no-install-recommends"], &*needed].concat())?;
    }
    for package in optional {
        say(&format!("installing {package}"));
        if apt(&["install", "-y", "-q=2", "--no-install-recommends", package]).is_err() {
            say(&format!("{package} cannot be had here; {without}"));
        }
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<(), XtaskError> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    let mut command = if is_root { Command::new("apt-get") } else { Command::new("sudo") };
    if !is_root {
        command.args(["-n", "apt-get"]);
    }
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut command, &format!("apt-get {}", arguments.join(" ")))
}

/// Debian keeps the server's programs out of the path.
fn has_postgres_server() -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin"));
    let path: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    debian.chain(path).any(|directory| directory.join("initdb").is_file())
}

/// Whether exactly these clients were installed there.
fn is_stamped(directory: &Path, clients: &[&str]) -> bool {
    fs::read_to_string(directory.join(STAMP)).is_ok_and(|stamp| stamp == clients.join("\n"))
}

fn stamp(directory: &Path, clients: &[&str]) -> Result<(), XtaskError> {
    let path = directory.join(STAMP);
    fs::write(&path, clients.join("\n")).map_err(|source| XtaskError::File { path, source })
}

fn python(directory: &Path, install: bool) -> Result<(), XtaskError> {
    if is_stamped(directory, PYTHON) {
        return Ok(());
    }
    if !install {
        left_out(&PYTHON.join(", "));
        return Ok(());
    }
    say(&format!("installing {} into {}", PYTHON.join(", "), directory.display()));
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory), "python3 -m venv")?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(directory.join("bin/python")).args(pip).args(PYTHON), "pip install")?;
    stamp(directory, PYTHON)
}

fn node(directory: &Path, install: bool) -> Result<(), XtaskError> {
    if is_stamped(directory, NODE) {
        return Ok(());
    }
    if !install {
        left_out(&NODE.join(", "));
        return Ok(());
    }
    say(&format!("installing {} into {}", NODE.join(", "), directory.display()));
    fs::create_dir_all(directory).map_err(|source| XtaskError::File { path: directory.into(), source })?;
    let npm = ["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"];
    run(Command::new("npm").args(npm).arg(directory).args(NODE), "npm install")?;
    stamp(directory, NODE)
}

/// Installs cargo-deny when it is missing.
///
/// # Errors
/// It can't be had.
pub(crate) fn cargo_deny(install: bool) -> Result<(), XtaskError> {
    if works("cargo", &["deny", "--version"]) {
        return Ok(());
    }
    if !install {
        left_out("cargo-deny");
        return Ok(());
    }
    say("installing cargo-deny (some minutes)");
    cargo(&["install", "--locked", "--quiet", "cargo-deny"])
}

/// Whether cargo-nextest is there.
pub(crate) fn has_nextest() -> bool {
    works("cargo", &["nextest", "--version"])
}
