//! The first five minutes: `moorgate up` on a fresh machine, and what it prints.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    gateway::{Gateway, MOORGATE, Setup, eventually, on_free_ports},
    tools::{both, clean, outcome, run, tool},
};

/// Columns that every printed line fits.
const COLUMNS: usize = 100;

/// A home directory in which nothing is yet.
fn fresh() -> (TempDir, PathBuf) {
    let home = TempDir::new().unwrap();
    let data_dir = home.path().join(".local/state/moorgate");
    (home, data_dir)
}

/// A start without anything, and the page it prints, as soon as it is whole.
fn first_page(home: &Path) -> (Gateway, String) {
    let gateway = Setup::default().home(home).start();
    let page = wait_page(&gateway, "Ctrl-C drains.");
    (gateway, page)
}

fn wait_page(gateway: &Gateway, end: &str) -> String {
    eventually("the page", || Some(gateway.stdout()).filter(|page| page.contains(end)))
}

/// The command lines below "TRY IT", as they are printed.
fn commands(page: &str) -> Vec<String> {
    let section = page.split_once("\nTRY IT").expect("a section TRY IT").1;
    let lines = section.lines().skip(1).take_while(|line| !line.is_empty());
    lines.filter(|line| !line.starts_with("   ")).map(|line| line.trim_start().to_owned()).collect()
}

/// One shell session of a user with this home directory.
fn shell(home: &Path, script: &str) -> Command {
    let mut shell = tool("sh");
    shell.args(["-e", "-c", script]).env("HOME", home).env_remove("XDG_STATE_HOME");
    shell
}

fn moorgate(args: &[&str]) -> Output {
    outcome(tool(MOORGATE).args(args))
}

#[test]
fn a_first_start_needs_nothing_and_says_what_there_is() {
    let (home, data_dir) = fresh();
    let (gateway, page) = first_page(home.path());
    let first = page.lines().next().unwrap();
    assert!(first.starts_with("moorgate ") && first.contains("loopback profile (no --config)"), "{first}");
    assert!(page.contains("created   ~/.local/state/moorgate "), "{page}");
    let ready = page.lines().find_map(|line| line.trim().strip_prefix("ready in")).unwrap();
    assert!(ready.trim().strip_suffix(" ms").is_some_and(|millis| millis.parse::<u64>().is_ok()), "{ready}");
    for listener in
        ["inbound_http", "inbound_tls", "outbound_http", "outbound_socks", "outbound_https", "outbound_socks_tls"]
    {
        let address = gateway.address(listener);
        assert!(address.ip().is_loopback(), "{listener}");
        assert!(page.contains(&address.to_string()), "{listener} is not on the page: {page}");
    }
    assert!(page.contains(gateway.api()), "{page}");
    assert!(!page.contains('\x1b'), "no colour in a pipe: {page:?}");
    assert_eq!(gateway.stderr(), "");
    assert_eq!(data_dir, gateway.data_dir());
}

#[test]
fn what_a_start_creates_only_its_user_can_read_whatever_the_umask() {
    let (home, data_dir) = fresh();
    let open = ["sh", "-c", "umask 0; exec \"$@\"", "sh"];
    let gateway = Setup::default().home(home.path()).behind(&open).start();
    gateway.cli(&["account", "list"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&data_dir), 0o700);
    // It may be a second behind.
    eventually("the sealed snapshot", || data_dir.join("snapshot.sealed").exists().then_some(()));
    for private in ["default.env", "operator.token", "master.key", "snapshot.sealed"] {
        assert_eq!(mode(&data_dir.join(private)), 0o600, "{private}");
    }
    for entry in fs::read_dir(&data_dir).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        // What everybody may know, should the directory ever be opened.
        let wanted = match &*name {
            "ca.pem" | "gateway.json" => 0o644,
            _ => 0o600,
        };
        assert_eq!(mode(&entry), wanted, "{name} is {:o}", mode(&entry));
    }
    let variables = ["STATIC_URL", "STATIC_SOCKS_URL", "SHIELD_URL", "SHIELD_SOCKS_URL", "CA"];
    let env = gateway.env();
    assert!(variables.iter().all(|name| env.contains_key(&format!("MOORGATE_{name}"))), "{:?}", env.keys());
    assert_eq!(env["MOORGATE_CA"], data_dir.join("ca.pem").display().to_string());
    // Keys are in its memory: a crash must not write that down.
    let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().collect::<Vec<_>>()[4..6], ["1", "1"], "{cores}");
}

#[test]
fn every_printed_command_works_pasted_unchanged_in_one_shell() {
    let (home, _) = fresh();
    let (_gateway, page) = first_page(home.path());
    let commands = commands(&page);
    assert_eq!(commands.len(), 5, "{commands:?}");
    let said = run(&mut shell(home.path(), &commands.join("\n")));
    let mut products = said.lines().filter_map(|line| line.split_once("through moorgate (")).map(|(_, way)| way);
    for way in ["Static, HTTP proxy", "Static, SOCKS5", "Shield, HTTPS proxy", "Shield, SOCKS5 over TLS"] {
        let next = products.next().unwrap_or_default();
        assert!(next.starts_with(&format!("{way}, account default)")), "{way}: {said}");
    }
    assert_eq!(products.next(), None, "{said}");
}

#[test]
fn a_relative_binary_and_an_odd_directory_are_printed_so_that_a_shell_takes_them() {
    let (home, _) = fresh();
    let data_dir = home.path().join("it's a $HOME (really)");
    let root = Path::new(MOORGATE).parent().unwrap();
    let relative = ["sh", "-c", "cd \"$0\" && shift && exec ./moorgate \"$@\"", root.to_str().unwrap()];
    let gateway =
        Setup::default().data_dir(&data_dir).env("HOME", home.path().to_str().unwrap()).behind(&relative).start();
    let page = wait_page(&gateway, "Ctrl-C drains.");
    let commands = commands(&page);
    assert!(commands.iter().any(|line| line.starts_with("./moorgate agent ")), "{commands:?}");
    let said = run(shell(home.path(), &commands.join("\n")).current_dir(root));
    assert_eq!(said.matches("You came from").count(), 4, "{said}");
}

#[test]
fn a_second_start_keeps_account_credential_and_ca_and_is_brief() {
    let (home, data_dir) = fresh();
    let kept = ["ca.pem", "ca.key.sealed", "master.key", "operator.token"];
    let read = || kept.map(|name| fs::read(data_dir.join(name)).unwrap());
    let (mut gateway, page) = first_page(home.path());
    let (files, credential, accounts) = (read(), gateway.credential(), gateway.cli(&["account", "list"]));
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    assert!(!data_dir.join("gateway.json").exists(), "a gateway that is gone leaves no address behind");

    let again = Setup::default().home(home.path()).start();
    let brief = wait_page(&again, "console: ");
    assert!(brief.contains("  inbound  127.0.0.1:") && brief.contains(" (HTTP proxy), "), "{brief}");
    assert!(brief.lines().count() <= 6 && brief.lines().count() < page.lines().count() / 3, "{brief}");
    assert!(brief.contains("~/.local/state/moorgate: 1 account") && brief.contains("default.env"), "{brief}");
    assert!(!brief.contains("TRY IT"), "{brief}");
    assert!(read() == files, "the same CA, keys and token");
    assert_eq!(again.credential(), credential);
    assert_eq!(again.cli(&["account", "list"]), accounts);
    // Ports may be others; the file has them.
    let said = run(&mut shell(home.path(), &commands(&page).join("\n")));
    assert_eq!(said.matches("You came from").count(), 4, "{said}");
}

#[test]
fn a_gateway_that_is_told_to_stop_as_soon_as_it_is_seen_ends_in_order() {
    for signal in ["TERM", "INT"].repeat(3) {
        let mut gateway = Gateway::start();
        gateway.signal(signal);
        assert_eq!(gateway.wait().code(), Some(0), "{signal}");
        assert!(!gateway.data_dir().join("gateway.json").exists(), "{signal}");
    }
}

#[test]
fn without_a_terminal_nothing_of_a_password_is_printed() {
    let (home, data_dir) = fresh();
    let (gateway, page) = first_page(home.path());
    let (user, password) = gateway.credential();
    run(&mut shell(home.path(), &commands(&page).join("\n")));
    eventually("four flows", || Some(()).filter(|()| gateway.flows().len() >= 4));
    let printed = gateway.stdout() + &gateway.stderr();
    assert!(printed.contains(&format!("{user}:…@")), "{printed}");
    for secret in [&password[..4], &gateway.operator_token(), &fs::read_to_string(data_dir.join("master.key")).unwrap()]
    {
        assert!(!printed.contains(secret.trim()), "{printed}");
    }
}

/// A gateway on a terminal. Ended when dropped.
struct OnTerminal {
    script: Child,
    facts: PathBuf,
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        self.stop();
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

impl OnTerminal {
    fn stop(&self) {
        let facts = fs::read(&self.facts).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        if let Some(pid) = facts.and_then(|facts| facts["pid"].as_u64()) {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
    }
}

#[test]
fn on_a_terminal_the_beginning_of_the_password_is_shown_and_every_line_fits() {
    let (home, data_dir) = fresh();
    // As `cargo run --release -- up` starts it.
    let target = Path::new(MOORGATE).parent().and_then(Path::parent).and_then(Path::parent).unwrap();
    let binary = Path::new(MOORGATE).strip_prefix(target).unwrap();
    let mut script = clean("script");
    script.args(["--quiet", "--return", "--flush", "--command", &format!("{} up", binary.display()), "/dev/null"]);
    on_free_ports(&mut script);
    script.current_dir(target).env("HOME", home.path()).env_remove("XDG_STATE_HOME").env("TERM", "xterm");
    let script = script.stdout(Stdio::piped()).spawn();
    let script = script.expect("this test needs `script` (Debian package bsdutils): run `cargo xtask test`");
    let mut terminal = OnTerminal { script, facts: data_dir.join("gateway.json") };
    let env = eventually("default.env", || {
        fs::read_to_string(data_dir.join("default.env")).ok().filter(|_| terminal.facts.exists())
    });
    terminal.stop();
    let mut page = String::new();
    terminal.script.stdout.take().unwrap().read_to_string(&mut page).unwrap();
    assert!(terminal.script.wait().unwrap().success(), "{page}");

    let page = without_colour(&page);
    for line in page.lines() {
        assert!(line.chars().count() <= COLUMNS, "{} columns: {line}", line.chars().count());
    }
    let url = env.lines().find_map(|line| line.strip_prefix("MOORGATE_STATIC_URL=http://")).unwrap();
    let (user, rest) = url.split_once(':').unwrap();
    let password = rest.split('@').next().unwrap();
    assert!(page.contains(&format!("http://{user}:{}…@", &password[..4])), "{page}");
    assert!(!page.contains(&password[..5]), "{page}");
    assert!(page.contains(&format!("{} agent --via shield-socks", binary.display())), "{page}");
}

fn without_colour(page: &str) -> String {
    assert!(page.contains("\x1b[1m"), "headings are bold on a terminal: {page:?}");
    let mut plain = String::new();
    for (at, part) in page.replace('\r', "").split("\x1b[").enumerate() {
        plain += if at == 0 { part } else { part.split_once('m').unwrap().1 };
    }
    assert!(!plain.contains('\x1b'), "{plain:?}");
    plain
}

/// An `up` that must fail: exit code 1, and what it says.
fn fails(set_up: impl FnOnce(&mut Command)) -> String {
    let (home, _) = fresh();
    let mut up = tool(MOORGATE);
    on_free_ports(&mut up);
    set_up(up.arg("up").env("HOME", home.path()).env_remove("XDG_STATE_HOME"));
    let output = outcome(&mut up);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert_eq!(output.stdout, b"");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_taken_port_names_who_has_it_and_the_variable_that_moves_it() {
    for variable in
        ["OUTBOUND_HTTP", "OUTBOUND_SOCKS", "OUTBOUND_HTTPS", "OUTBOUND_SOCKS_TLS", "INBOUND_TLS", "CONSOLE_LISTEN"]
    {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let variable = format!("MOORGATE_{variable}");
        let said = fails(|up| {
            up.env(&variable, address.to_string());
        });
        let process = fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap();
        for needed in [
            format!("cannot listen on {address} ("),
            format!("address in use by \"{}\" (pid {})", process.trim(), std::process::id()),
        ] {
            assert!(said.contains(&needed), "{needed}: {said}");
        }
        // The last line ends with what can be pasted in front of the command.
        let (_, setting) = said.trim_end().rsplit_once("start with").unwrap();
        let (named, other) = setting.trim().split_once('=').unwrap();
        assert_eq!(named, variable);
        assert_ne!(other.parse::<std::net::SocketAddr>().unwrap(), address, "{said}");
    }
}

#[test]
fn a_second_start_is_told_of_the_gateway_that_runs_and_not_of_its_ports() {
    let gateway = Gateway::start();
    let said = fails(|up| {
        up.args(["--data-dir", gateway.data_dir().to_str().unwrap()]);
        up.env("MOORGATE_OUTBOUND_HTTP", gateway.address("outbound_http").to_string());
    });
    assert!(said.contains(&format!("already (pid {})", gateway.pid())), "{said}");
    assert!(!said.contains("address in use"), "{said}");
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let (home, data_dir) = fresh();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    fails(|up| {
        up.env("HOME", home.path()).env("MOORGATE_OUTBOUND_HTTPS", taken.local_addr().unwrap().to_string());
    });
    assert!(!data_dir.exists());
}

#[test]
fn a_directory_whose_master_key_is_gone_gets_no_other_one() {
    let home = TempDir::new().unwrap();
    let mut gateway = Setup::default().data_dir(home.path()).start();
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let key = home.path().join("master.key");
    let aside = home.path().join("aside");
    fs::rename(&key, &aside).unwrap();
    let refused = fails(|up| {
        up.arg("--data-dir").arg(home.path());
    });
    assert!(refused.contains("there is no master key") && refused.contains("put it back at"), "{refused}");
    assert!(!key.exists(), "a wrong one would be in the way");
    fs::rename(&aside, &key).unwrap();
    drop(Setup::default().data_dir(home.path()).start());
}

#[test]
fn a_second_gateway_on_the_same_directory_is_refused() {
    let gateway = Gateway::start();
    let said = fails(|up| {
        up.arg("--data-dir").arg(gateway.data_dir());
    });
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(gateway.data_dir().to_str().unwrap()), "{said}");
    // The first one never noticed.
    assert!(gateway.cli(&["account", "list"]).contains("default"));
}

#[test]
fn with_a_file_the_first_line_names_the_production_profile_and_no_account_is_made() {
    let gateway = Setup::default().config("[limits]\nhead = \"5s\"\n").start();
    let page = wait_page(&gateway, "Ctrl-C drains.");
    let first = page.lines().next().unwrap();
    assert!(first.contains("production profile (--config)"), "{page}");
    assert!(!page.contains("loopback profile") && !page.contains("TRY IT"), "{page}");
    assert!(!gateway.data_dir().join("default.env").exists());
    assert_eq!(gateway.cli_json(&["account", "list"]).as_array().map(Vec::len), Some(0));
    // What it says to do instead works, as printed.
    gateway.cli(&["account", "add", "acme"]);
    let made = gateway.cli_json(&["credential", "add", "acme"]);
    assert!(made["env"]["MOORGATE_SHIELD_URL"].as_str().unwrap().starts_with("https://"), "{made}");
}

#[test]
fn a_wrong_file_says_where_what_and_the_nearest_right_key() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("moorgate.toml");
    for (text, says) in [
        ("[outbound]\nhtp = [\"127.0.0.1:0\"]\n", "line 2: there is no key outbound.htp; did you mean outbound.http?"),
        (
            "[limits]\n\nidle_tunel = \"1h\"\n",
            "line 3: there is no key limits.idle_tunel; did you mean limits.idle_tunnel?",
        ),
        ("[egres]\n", "line 1: there is no section [egres]; did you mean [egress]?"),
        ("[limits]\nhead = 10\n", "line 2: limits.head is 10, but must be a time with its unit"),
        ("[outbound\n", "line 1 is not valid TOML"),
    ] {
        fs::write(&file, text).unwrap();
        let wanted = format!("moorgate: {} {says}", file.display());
        let said = fails(|up| {
            up.arg("--config").arg(&file);
        });
        assert!(said.starts_with(&wanted) && said.lines().count() == 1, "{wanted}\n{said}");
        let checked = moorgate(&["config", "check", file.to_str().unwrap()]);
        assert_eq!(checked.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&checked.stderr), said, "check says what up says");
    }
    let missing = directory.path().join("nowhere.toml");
    let said = fails(|up| {
        up.arg("--config").arg(&missing);
    });
    assert!(said.contains("cannot read the gateway's file") && said.contains("nowhere.toml"), "{said}");
}

#[test]
fn a_right_file_is_said_to_be_right() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("moorgate.toml");
    fs::write(
        &file,
        "data_dir = \"/var/lib/moorgate\"\n[outbound]\nhttp = [\"127.0.0.1:9293\"]\nhostname = \"proxy.example.com\"\n",
    )
    .unwrap();
    let output = moorgate(&["config", "check", file.to_str().unwrap()]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{}", both(&output));
    assert!(both(&output).contains(file.to_str().unwrap()), "{}", both(&output));
}

#[test]
fn completions_load_in_bash_and_every_shell_has_some() {
    for name in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(tool(MOORGATE).args(["completions", name])).contains("moorgate"), "{name}");
    }
    let script = format!(
        "source <({MOORGATE} completions bash); complete -p moorgate; \
         COMP_WORDS=(moorgate ag); COMP_CWORD=1; _moorgate moorgate ag moorgate; echo \"${{COMPREPLY[@]}}\""
    );
    let said = run(tool("bash").args(["--norc", "-c", &script]));
    assert!(said.lines().last() == Some("agent"), "{said}");
}

#[test]
fn the_manual_page_has_every_command() {
    let page = run(tool(MOORGATE).arg("man"));
    assert!(page.contains(".TH moorgate 1"), "{page}");
    for command in
        ["up", "account", "credential", "token", "policy", "egress", "explain", "why", "log", "config", "agent"]
    {
        assert!(
            page.contains(&format!("moorgate\\-{command}")) || page.contains(&format!("moorgate {command}")),
            "{command}"
        );
    }
}

#[test]
fn explain_says_step_by_step_what_traffic_would_meet() {
    let gateway = Gateway::start();
    gateway.cli(&["policy", "set", "default", "--deny", "*.example.com", "--deny", "127.0.0.2/32"]);
    for (target, says) in [
        ("echo.moorgate.internal:80", "would be allowed"),
        ("127.0.0.1:80", "would be allowed"),
        ("www.example.com:443", "rule 1"),
        ("127.0.0.2:443", "rule 2"),
        ("192.0.2.1:443", "guard_denied"),
        ("127.1:80", "write 127.0.0.1"),
        ("169.254.169.254:80", "would be refused"),
    ] {
        let said = gateway.cli(&["explain", "default", target, "--no-dns"]);
        assert!(said.contains(says), "{target}: {said}");
    }
    let own = gateway.address("outbound_http").to_string();
    assert!(gateway.cli(&["explain", "default", &own]).contains("would be refused"));
    assert!(gateway.flows().is_empty(), "nothing was sent");
    assert_eq!(gateway.try_cli(&["explain", "nobody", "example.com:80"]).status.code(), Some(1));
}

#[test]
fn wrong_usage_ends_with_2_and_a_gateway_that_is_not_there_with_1() {
    let empty = TempDir::new().unwrap();
    let directory = empty.path().to_str().unwrap();
    for wrong in [
        &[][..],
        &["bogus"],
        &["up", "--bogus"],
        &["account"],
        &["account", "add"],
        &["explain", "default", "no-port"],
        &["completions", "tcsh-ish"],
        &["token", "add", "--scope", "everything"],
        &["config", "check"],
    ] {
        let output = moorgate(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", both(&output));
        assert_eq!(output.stdout, b"", "{wrong:?}");
    }
    for asking in [&["account", "list"][..], &["log"], &["explain", "default", "example.com:80"]] {
        let output = moorgate(&[asking, &["--data-dir", directory]].concat());
        assert_eq!(output.status.code(), Some(1), "{asking:?}: {}", both(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.lines().count() == 1 && said.contains("moorgate up"), "{asking:?}: {said}");
    }
    for fine in [&["--help"][..], &["--version"], &["up", "--help"]] {
        assert_eq!(moorgate(fine).status.code(), Some(0), "{fine:?}");
    }
}
