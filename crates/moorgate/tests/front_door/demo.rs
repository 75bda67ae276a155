//! `moorgate demo`: what it finds when all is as promised, and that it can come out wrong.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    gateway::{MOORGATE, eventually},
    tools::both,
};

/// The columns of a terminal.
const WIDTH: usize = 80;

/// Runs it with a temporary directory of its own, of which nothing may be left.
fn demo(arguments: &[&str]) -> Output {
    let temp = TempDir::new().unwrap();
    let mut command = Command::new(MOORGATE);
    command.arg("demo").args(arguments).env("TMPDIR", temp.path()).stdin(Stdio::null());
    // What a user has set for a gateway of their own must not reach the demo's.
    command.env("MOORGATE_EGRESS_ADDRESSES", "192.0.2.1").env("MOORGATE_OUTBOUND_HTTP", "192.0.2.1:1");
    let output = command.output().unwrap();
    let left: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
    output
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", both(output)))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name}: {value}"))
}

/// `row party secret` of the cells that `fit`.
fn cells(document: &Value, fit: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let cells = document["cells"].as_array().unwrap().iter().filter(|cell| fit(cell));
    cells.map(|cell| ["row", "party", "secret"].map(|name| text(cell, name)).join(" ")).collect()
}

#[test]
fn the_demo_finds_every_cell_as_promised_and_leaves_nothing_behind() {
    let output = demo(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let document = document(&output);
    assert_eq!(cells(&document, |_| true).len(), 6 * 3 * 5);
    assert_eq!(cells(&document, |cell| cell["found"] != cell["expected"]), BTreeSet::new());
    let absent = cells(&document, |cell| cell["found"].is_null());
    assert!(absent.len() == 6 && absent.iter().all(|cell| cell.starts_with("inbound") && cell.ends_with("password")));
    assert_eq!(cells(&document, |cell| cell["claimed_by_gateway"] != cell["expected"]), BTreeSet::new());
    for cell in document["cells"].as_array().unwrap() {
        let found = cell["found"] == true;
        assert!(found == cell["form"].is_string() && found == cell["offset"].is_u64(), "{cell}");
        assert_eq!(found, cell["leg"].as_str().is_some_and(|leg| leg.starts_with(text(cell, "row"))), "{cell}");
    }
    assert_eq!((&document["control"]["found"], &document["control"]["of"]), (&28.into(), &28.into()));
    assert_eq!(document["passthrough"]["identical"], true);
    assert!(document["origin_key"]["found_in"].is_null() && document["origin_key"]["files_searched"] != 0);
    let key = |way: &str, product: &str, by: &str| {
        let all = document["certificates"].as_array().unwrap();
        let mut fit = all
            .iter()
            .filter(|own| (text(own, "way"), text(own, "product"), text(own, "shown_by")) == (way, product, by));
        text(fit.next().unwrap(), "key").to_owned()
    };
    assert_eq!(key("inbound", "static", "the domain"), "gateway");
    assert_eq!(key("inbound", "shield", "the domain"), "own");
    assert_eq!(key("outbound-https", "static", "the destination"), "own");
    assert_eq!(key("outbound-https", "shield", "the proxy"), "gateway");
    let seen: BTreeSet<_> = document["egress"]["seen"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((seen, &document["egress"]["other"]), (BTreeSet::from(["127.0.0.2", "127.0.0.3"]), &0.into()));
}

#[test]
fn shield_through_the_listener_of_static_flips_exactly_what_shield_hides() {
    let output = demo(&["--json", "--shield-through", "static"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let document = document(&output);
    let wire = |row: &str, secrets: &[&str]| -> BTreeSet<String> {
        secrets.iter().map(|secret| format!("{row} wire_to_gateway {secret}")).collect()
    };
    let https = wire("outbound-https-shield", &["name", "password"]);
    let http = wire("outbound-http-shield", &["name", "password", "path", "header", "body"]);
    assert_eq!(cells(&document, |cell| cell["found"] != cell["expected"]), &https | &http);
    assert_eq!(cells(&document, |cell| cell["found"] == true && cell["expected"] == false), &https | &http);
    assert_eq!(document["broken"].as_array().unwrap().len(), 7, "{}", document["broken"]);
}

#[test]
fn what_people_read_fits_a_terminal_and_says_what_broke_and_where() {
    for (arguments, code) in [(&[][..], 0), (&["--shield-through", "static"], 1)] {
        let output = demo(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", both(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let wide: Vec<_> = text.lines().filter(|line| line.chars().count() > WIDTH).collect();
        assert!(wide.is_empty(), "{wide:#?}");
        assert!(!text.contains('\x1b') && !text.lines().any(|line| line.ends_with(' ')), "{text}");
        assert_eq!(text.contains("READ!"), code == 1, "{text}");
        assert_eq!(text.contains("IN WORDS"), code == 0, "{text}");
        let located = text.lines().filter(|line| line.contains(".to-gateway.up.bin")).count();
        assert_eq!(located, if code == 1 { 7 } else { 0 }, "{text}");
    }
}

#[test]
fn kept_recordings_show_with_other_tools_what_the_table_says() {
    let kept = TempDir::new().unwrap();
    let dir = kept.path().join("recordings");
    let output = demo(&["--json", "--keep", dir.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let document = document(&output);
    let path = text(&document["planted"], "path").rsplit('/').next().unwrap().to_owned();
    let have = |name: &str| contains(&dir.join(name), path.as_bytes());
    assert!(have("outbound-http-static.to-gateway.up.bin") && have("outbound-http-shield.to-target.up.bin"));
    assert!(!have("outbound-http-shield.to-gateway.up.bin") && !have("inbound-shield.gateway.up.bin"));
    for cell in
        document["cells"].as_array().unwrap().iter().filter(|cell| cell["form"] == "raw" && cell["secret"] == "path")
    {
        let bytes = fs::read(dir.join(format!("{}.bin", text(cell, "leg")))).unwrap();
        let offset = usize::try_from(cell["offset"].as_u64().unwrap()).unwrap();
        assert!(bytes[offset..].starts_with(path.as_bytes()), "{cell}");
    }
    let again = demo(&["--keep", dir.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("is not empty: name a directory") && said.lines().count() == 1, "{said}");
}

fn contains(path: &Path, wanted: &[u8]) -> bool {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_demo_that_is_interrupted_leaves_no_gateway_and_no_file() {
    // Before its gateway is ready, and while it measures.
    for wait in [30, 400] {
        let temp = TempDir::new().unwrap();
        let mut command = Command::new(MOORGATE);
        command.args(["demo", "--json"]).env("TMPDIR", temp.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let gateway = eventually("the gateway's directory", || fs::read_dir(temp.path()).unwrap().next());
        let gateway = gateway.unwrap().path().join("gateway");
        thread::sleep(Duration::from_millis(wait));
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        let status = eventually("the demo's end", || child.try_wait().unwrap());
        // A quick machine may be done by then.
        assert!(status.code().is_some(), "{status}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        assert!(!runs_in(&gateway), "the gateway still runs");
    }
}

/// Whether a process has this path among its arguments.
fn runs_in(path: &Path) -> bool {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok());
    let wanted = path.as_os_str().as_encoded_bytes();
    processes.into_iter().any(|line| line.split(|byte| *byte == 0).any(|argument| argument == wanted))
}
