//! Programs that tests run: from the system, or as `cargo xtask test` installed them.

use std::{
    env,
    ffi::OsStr,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Once,
    thread,
};

use crate::gateway::MOORGATE;

/// What a client may take, in seconds. Only there to end one that hangs.
const PATIENCE: &str = "120";
/// What `timeout` exits with when there is no such program, and when it had to end it.
const MISSING: i32 = 127;
const HUNG: i32 = 124;

/// A program of the system's, without the proxies and certificates of whoever runs the tests.
pub fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = clean("timeout");
    command.args(["--kill-after=5", PATIENCE]).arg(program);
    command
}

/// Beginnings of variables by which a machine's owner changes what clients do: proxies are dealt with apart.
const OWNERS: [&str; 5] = ["MOORGATE_", "GIT_", "SSL_CERT_", "CURL_", "REQUESTS_"];

/// As [`tool`], for a program that the test itself ends.
pub fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars() {
        let is_proxy = name.to_ascii_lowercase().ends_with("_proxy");
        if is_proxy || OWNERS.iter().any(|beginning| name.starts_with(beginning)) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Where `cargo xtask test` installs clients.
fn clients() -> PathBuf {
    let found = Path::new(MOORGATE).ancestors().map(|directory| directory.join("clients")).find(|path| path.is_dir());
    found.expect("the clients of these tests are not installed: run `cargo xtask test`, which installs them")
}

/// A script of ours.
pub fn script(name: &str) -> PathBuf {
    scripts().join(name)
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/front_door/clients")
}

/// Python with its clients, running a script of ours.
pub fn python(script: &str) -> Command {
    python_at(&scripts().join(script))
}

/// Python with its clients, running the script at a path.
pub fn python_at(script: &Path) -> Command {
    running(tool(clients().join("venv/bin/python")), script)
}

/// The same for a server, which the test itself ends.
pub fn python_server(script: &Path) -> Command {
    running(clean(clients().join("venv/bin/python")), script)
}

fn running(mut python: Command, script: &Path) -> Command {
    // Nothing is left beside the sources.
    python.arg(script).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// Where Node's packages are.
pub fn packages() -> PathBuf {
    clients().join("node")
}

/// Node with its clients, running a script of ours.
pub fn node(script: &str) -> Command {
    let mut command = tool("node");
    command.arg(scripts().join(script)).env("CLIENTS", clients().join("node"));
    command
}

/// Our program in Go, compiled once.
pub fn go() -> Command {
    static BUILD: Once = Once::new();
    let directory = clients().join("go");
    let program = directory.join("client");
    BUILD.call_once(|| {
        let mut build = tool("go");
        build.args(["build", "-o"]).arg(&program).arg("main.go").current_dir(scripts());
        build.env("GOFLAGS", "-mod=mod").env("GOPROXY", "off").env("GO111MODULE", "off");
        build.env("GOCACHE", directory.join("cache")).env("GOPATH", directory.join("path"));
        run(&mut build);
    });
    tool(program)
}

/// Runs it to its end.
pub fn outcome(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    ended(command, output)
}

fn ended(command: &Command, output: Output) -> Output {
    let said = both(&output);
    let program = command.get_args().nth(2).unwrap_or_else(|| command.get_program()).display();
    let code = output.status.code();
    assert!(code != Some(HUNG), "{command:?} still ran after {PATIENCE} s: {said}");
    assert!(code != Some(MISSING), "{program} is not installed: run `cargo xtask test`, which installs it ({said})");
    output
}

/// Runs it; it must succeed. Its standard output.
pub fn run(command: &mut Command) -> String {
    let output = outcome(command);
    succeeded(command, output)
}

/// As [`run`], with something to read.
pub fn run_with(command: &mut Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    // Its input stays open: some programs take its end for the end of everything.
    let writing = thread::spawn(move || stdin.write_all(input.as_bytes()).map(|()| stdin));
    let output = ended(command, child.wait_with_output().unwrap());
    writing.join().unwrap().expect("it reads what it is given");
    succeeded(command, output)
}

fn succeeded(command: &Command, output: Output) -> String {
    assert!(output.status.success(), "{command:?} ended with {}:\n{}", output.status, both(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything it said.
pub fn both(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
