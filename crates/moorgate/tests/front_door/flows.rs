//! Flows: one for each tunnel and exchange, whatever became of it; with what it moved and without any secret.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, MOORGATE, Setup, eventually},
    talk::{self, CONNECT, Said, Talk, api, authorization, get, socks, socks_name, socks_tunnel},
    target::{Target, ok},
};

const HTTP: &str = "outbound_http";
const SOCKS: &str = "outbound_socks";

#[test]
fn every_way_out_is_one_flow_refused_ones_included() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let (echo, web) = (Target::echo(), Target::http(|_| ok("fine")));
    let (echo, web) = (echo.address.to_string(), web.address.to_string());
    let mut wanted = Vec::new();

    drop(Talk::tunnel(gateway.address(HTTP), &credential, &echo).unwrap());
    wanted.push((HTTP, "tunnel", "ok"));
    drop(socks_tunnel(gateway.address(SOCKS), &credential, &echo).unwrap());
    wanted.push((SOCKS, "tunnel", "ok"));
    let mut talk = Talk::to(gateway.address(HTTP));
    for (target, outcome) in
        [(&*web, "ok"), ("echo.moorgate.internal", "ok"), ("10.0.0.1", "guard_denied"), (&*web, "ok")]
    {
        talk.send(get(&credential, target, "/", ""));
        talk.reply();
        wanted.push((HTTP, "exchange", outcome));
    }
    drop(talk);
    let (_, said) = socks(gateway.address(SOCKS), &credential, CONNECT, &socks_name(b"127.1"), 80);
    assert_eq!(said, Said::Reply(1));
    wanted.push((SOCKS, "tunnel", "host_not_canonical"));
    let mut stranger = Talk::to(gateway.address(HTTP));
    stranger.send(format!("CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n"));
    assert_eq!(stranger.reply().status, 407);
    wanted.push((HTTP, "tunnel", "credentials_missing"));
    // Left in the middle of a head; began no TLS where TLS is spoken; asked for a domain that is not there.
    for (listener, bytes, outcome) in [
        (HTTP, &b"GET http://exa"[..], "client_left"),
        (SOCKS, &[5, 2, 1], "client_left"),
        ("outbound_https", b"GET / HTTP/1.1\r\n\r\n", "handshake_failed"),
        ("outbound_socks_tls", &[5, 1, 2], "handshake_failed"),
        ("inbound_http", b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "domain_unknown"),
        ("inbound_tls", b"nonsense", "malformed"),
    ] {
        let mut talk = Talk::to(gateway.address(listener));
        talk.send(bytes);
        if outcome != "client_left" {
            talk.rest();
        }
        let kind = if listener == "inbound_http" { "exchange" } else { "tunnel" };
        wanted.push((listener, kind, outcome));
    }
    // A tunnel that one side breaks off.
    let breaking = Target::new("127.0.0.1:0", |mut conn| {
        conn.head();
        conn.reset();
    });
    let mut tunnel = Talk::tunnel(gateway.address(HTTP), &credential, &breaking.address.to_string()).unwrap();
    tunnel.send("go\r\n\r\n");
    tunnel.rest();
    wanted.push((HTTP, "tunnel", "reset_by_target"));
    // Who connects and says nothing, such as a health check, is none.
    for listener in [HTTP, SOCKS, "outbound_https", "inbound_tls"] {
        drop(Talk::to(gateway.address(listener)));
    }

    eventually("every flow", || (gateway.flows().len() >= wanted.len()).then_some(()));
    thread::sleep(Duration::from_millis(300));
    let flows = gateway.flows();
    let text = |flow: &Value, name: &str| flow[name].as_str().unwrap().to_owned();
    let mut recorded: Vec<_> =
        flows.iter().map(|flow| (text(flow, "listener"), text(flow, "kind"), text(flow, "outcome"))).collect();
    let mut wanted: Vec<_> = wanted.into_iter().map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())).collect();
    recorded.sort();
    wanted.sort();
    assert_eq!(recorded, wanted);
    let ids: BTreeSet<String> = flows.iter().map(|flow| text(flow, "id")).collect();
    assert_eq!(ids.len(), flows.len());
    // Every one of them was printed, in one line, when it ended.
    let out = gateway.stdout();
    for id in ids {
        assert_eq!(out.lines().filter(|line| line.contains(&id)).count(), 1, "{id}");
    }
}

#[test]
fn a_flow_says_who_where_from_and_exactly_how_many_bytes() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::new("127.0.0.1:0", |mut conn| {
        while conn.head().is_some() {
            conn.send("x".repeat(1000));
        }
    });
    let mut tunnel = Talk::tunnel(gateway.address(HTTP), &credential, &target.address.to_string()).unwrap();
    let client = tunnel.local();
    for _ in 0..3 {
        tunnel.send(format!("{}\r\n\r\n", "y".repeat(500)));
        tunnel.take(1000).unwrap();
    }
    thread::sleep(Duration::from_millis(50));
    drop(tunnel);
    let flow = gateway.wait_flow(|flow| flow["client"] == client.to_string());
    assert_eq!((&flow["bytes_up"], &flow["bytes_down"]), (&json!(target.seen().bytes), &json!(3000)));
    for (name, value) in [
        ("kind", json!("tunnel")),
        ("listener", json!(HTTP)),
        ("account", json!("default")),
        ("username", json!(credential.0)),
        ("target", json!(target.address)),
        ("address", json!(target.address)),
        ("egress", json!("127.0.0.1")),
        ("tries", json!(1)),
        ("status", json!(200)),
        ("outcome", json!("ok")),
        ("said", Value::Null),
    ] {
        assert_eq!(flow[name], value, "{name}");
    }
    assert!(flow["started"].as_str().unwrap().ends_with('Z'));
    assert!(flow["duration_us"].as_u64().unwrap() >= 50_000);
    let readable = |place: &str, what: &str| flow["exposure"][place][what].as_bool().unwrap();
    assert!(readable("wire_to_gateway", "credentials") && readable("wire_to_target", "body"));
    assert!(!readable("wire_to_target", "credentials"));

    // An exchange counts what went over the target's socket, heads included.
    let web = Target::http(|_| ok("0123456789"));
    let mut talk = Talk::to(gateway.address(HTTP));
    talk.send(
        get(&credential, &web.address.to_string(), "/", "Content-Length: 5\r\n").replacen("GET", "POST", 1) + "hello",
    );
    assert_eq!(talk.reply().body, "0123456789");
    let flow = gateway.wait_flow(|flow| flow["target"] == web.address.to_string());
    assert_eq!(flow["kind"], "exchange");
    assert_eq!((&flow["bytes_up"], &flow["bytes_down"]), (&json!(web.seen().bytes), &json!(ok("0123456789").len())));
}

#[test]
fn json_lines_on_standard_output_are_what_log_json_says() {
    let gateway = Setup::default().env("MOORGATE_LOG_FORMAT", "json").start();
    let credential = gateway.credential();
    for target in ["echo.moorgate.internal", "127.1", "10.0.0.1"] {
        let mut talk = Talk::to(gateway.address(HTTP));
        talk.send(get(&credential, target, "/", ""));
        talk.reply();
    }
    let printed = eventually("three lines", || {
        let out = gateway.stdout();
        let lines: Vec<Value> =
            out.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect();
        (lines.len() == 3).then_some(lines)
    });
    let logged = eventually("three flows", || Some(gateway.flows()).filter(|flows| flows.len() == 3));
    for (printed, logged) in printed.iter().zip(&logged) {
        for name in ["id", "outcome", "target", "listener", "client", "bytes_up", "duration_us", "started"] {
            assert!(!printed[name].is_null(), "{name}: {printed}");
            assert_eq!(printed[name], logged[name], "{name}");
        }
    }
}

#[test]
fn log_follows_tells_accounts_apart_and_knows_the_past_after_a_restart() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut gateway = Setup::default().data_dir(&data).start();
    gateway.cli(&["account", "add", "second"]);
    let added = gateway.cli_json(&["credential", "add", "second"]);
    let second = ["username", "password"].map(|name| added[name].as_str().unwrap().to_owned()).into();
    let first = gateway.credential();
    let ask = |gateway: &Gateway, credential, host: &str| {
        let mut talk = Talk::to(gateway.address(HTTP));
        talk.send(get(credential, host, "/", "Connection: close\r\n"));
        talk.reply();
    };
    ask(&gateway, &first, "127.1");
    gateway.wait_flow(|flow| flow["target"] == "127.1:80");

    let mut follow = Command::new(MOORGATE)
        .args(["log", "--follow", "--json", "--data-dir"])
        .arg(&data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut next =
        || serde_json::from_str::<Value>(&lines.next().unwrap()).unwrap()["target"].as_str().unwrap().to_owned();
    assert_eq!(next(), "127.1:80", "what was before");
    ask(&gateway, &second, "127.2");
    assert_eq!(next(), "127.2:80");
    ask(&gateway, &first, "127.3");
    assert_eq!(next(), "127.3:80");
    follow.kill().unwrap();
    follow.wait().unwrap();

    eventually("three flows", || (gateway.flows().len() == 3).then_some(()));
    let own = gateway.cli(&["log", "--account", "second", "--json"]);
    assert!(own.lines().count() == 1 && own.contains("127.2"), "{own}");
    let before = gateway.flows();
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    drop(gateway);
    let gateway = Setup::default().data_dir(&data).start();
    assert_eq!(gateway.flows(), before);

    let id = before[0]["id"].as_str().unwrap();
    let why = gateway.cli(&["why", id]);
    for said in [id, "127.1:80", "host_not_canonical", "write 127.0.0.1", "account default", "asked again now"] {
        assert!(why.contains(said), "{said}: {why}");
    }
    assert_eq!(gateway.cli_json(&["why", id])["flow"]["id"], id);
    let unknown = gateway.try_cli(&["why", "0000000000000"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(String::from_utf8(unknown.stderr).unwrap().lines().count(), 1);
    assert_eq!(gateway.try_cli(&["why", "not an id"]).status.code(), Some(2));
}

/// Every file below `dir` but those that are there to hold secrets, with its bytes.
fn files(dir: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() {
            files(&path, into);
        } else if !matches!(&*name, "default.env" | "operator.token") {
            into.push((name, fs::read(path).unwrap_or_default()));
        }
    }
}

#[test]
fn no_password_and_no_token_is_ever_written_down_or_said_again() {
    for format in ["text", "json"] {
        let dir = tempfile::TempDir::new().unwrap();
        let data = dir.path().join("data");
        let mut gateway = Setup::default().data_dir(&data).env("MOORGATE_LOG_FORMAT", format).start();
        let credential = gateway.credential();
        let mut secrets = vec![credential.1.clone(), gateway.operator_token()];
        let string = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
        let added = gateway.cli_json(&["credential", "add", "default"]);
        secrets.push(string(&added, "password"));
        let rotated =
            gateway.cli_json(&["credential", "rotate", "default", &string(&added, "username"), "--overlap", "1h"]);
        secrets.push(string(&rotated, "password"));
        secrets.push(string(&gateway.cli_json(&["token", "add", "default"]), "token"));

        // As they go by: used rightly and wrongly, in places where they belong and where they don't.
        let target = Target::http(|_| ok("fine"));
        let address = target.address.to_string();
        let wrong = (credential.0.clone(), "hunter2-is-wrong".to_owned());
        secrets.extend([
            wrong.1.clone(),
            "in-the-userinfo".into(),
            "in-the-query".into(),
            "in-a-cookie".into(),
            "as-bearer".into(),
        ]);
        secrets.extend(["in-a-socks-name".to_owned(), "in-a-broken-field".to_owned()]);
        for request in [
            get(
                &credential,
                &address,
                "/?key=in-the-query",
                "Cookie: in-a-cookie\r\nAuthorization: Bearer as-bearer\r\n",
            ),
            get(&wrong, &address, "/?key=in-the-query", ""),
            talk::connect(&wrong, &address),
            get(&credential, "somebody:in-the-userinfo@127.0.0.1", "/?key=in-the-query", ""),
            talk::connect(&credential, "somebody:in-the-userinfo@127.0.0.1:80"),
            format!("GET /?key=in-the-query HTTP/1.1\r\nHost: a\r\n{}\r\n", authorization(&credential)),
            format!(
                "GET http://{address}/ HTTP/1.1\r\nHost: a\r\nX : in-a-broken-field\r\n{}\r\n",
                authorization(&credential)
            ),
            format!(
                "GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\nProxy-Authorization: in-a-broken-field\r\n\r\n"
            ),
        ] {
            let mut talk = Talk::to(gateway.address(HTTP));
            talk.send(request);
            let reply = talk.reply();
            let said = reply.head + &reply.body;
            for secret in &secrets {
                assert!(!said.contains(&**secret), "{secret} in {said}");
            }
        }
        for (credential, host) in
            [(&wrong, &b"127.0.0.1"[..]), (&credential, b"somebody:in-a-socks-name@127.0.0.1"), (&credential, b"127.1")]
        {
            socks(gateway.address(SOCKS), credential, CONNECT, &socks_name(host), 80);
        }
        assert_eq!(talk::api_as(&gateway, "wrong-token-of-somebody", "GET", "/api/v1/accounts", None).0, 401);
        secrets.push("wrong-token-of-somebody".into());
        eventually("the flows", || (gateway.flows().len() >= 11).then_some(()));

        let mut said: Vec<(String, Vec<u8>)> = Vec::new();
        for path in [
            "/metrics",
            "/api/v1/flows",
            "/api/v1/accounts",
            "/api/v1/accounts/default/credentials",
            "/api/v1/tokens",
            "/healthz",
            "/readyz",
        ] {
            said.push((path.into(), api(&gateway, "GET", path, None).1.into_bytes()));
        }
        for command in
            [&["log"][..], &["credential", "list", "default"], &["token", "list"], &["account", "show", "default"]]
        {
            said.push((format!("{command:?}"), gateway.cli(command).into_bytes()));
        }
        files(&data, &mut said);
        gateway.signal("TERM");
        assert!(gateway.wait().success());
        files(&data, &mut said);
        said.push(("standard output".into(), gateway.stdout().into_bytes()));
        said.push(("standard error".into(), gateway.stderr().into_bytes()));
        let encoded = secrets.iter().map(|secret| BASE64_STANDARD.encode(secret)).collect::<Vec<_>>();
        let pair = BASE64_STANDARD.encode(format!("{}:{}", credential.0, credential.1));
        for secret in secrets.iter().chain(&encoded).chain([&pair]) {
            for (place, bytes) in &said {
                assert!(
                    !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                    "{secret} is in {place}"
                );
            }
        }
        assert!(said.iter().any(|(name, _)| name == "flows.sqlite"), "the store was looked through");
    }
}

#[test]
fn nothing_that_a_peer_sends_acts_on_a_terminal() {
    const EVIL: &str = "\x1b[2J\x1b]0;owned\x07\r\n\x08\u{9b}31m\u{202e}";
    for format in ["text", "json"] {
        let gateway = Setup::default().env("MOORGATE_LOG_FORMAT", format).start();
        let (user, password) = gateway.credential();
        let credential = (user.clone(), password);
        let evil_user = (format!("{user}{EVIL}"), EVIL.to_owned());
        let mut answers = Vec::new();
        socks(gateway.address(SOCKS), &credential, CONNECT, &socks_name(EVIL.as_bytes()), 80);
        socks(gateway.address(SOCKS), &credential, CONNECT, &socks_name(b"\xff\x1b[31m\x00.test"), 80);
        socks(gateway.address(SOCKS), &evil_user, CONNECT, &socks_name(b"a.test"), 80);
        for request in [
            talk::connect(&evil_user, "a.test:80"),
            get(&credential, "a\u{9b}31m\u{202e}.test", "/", ""),
            get(&credential, "%1b%5b2J.test", "/", ""),
            format!("GET http://a.test/ HTTP/1.1\r\nHost: a.test{EVIL}\r\n\r\n"),
            format!("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n{EVIL}: x\r\n\r\n"),
            "\x1b]0;owned\x07 HTTP/1.1\r\n\r\n".to_owned(),
        ] {
            let mut talk = Talk::to(gateway.address(HTTP));
            talk.send(request);
            let reply = talk.reply();
            answers.push(("the answer", reply.head.replace("\r\n", "\n") + &reply.body));
        }
        let mut talk = Talk::to(gateway.address("inbound_http"));
        talk.send("GET / HTTP/1.1\r\nHost: \u{9b}31m\u{202e}\r\n\r\n");
        answers.push(("inbound", talk.reply().body));
        eventually("the flows", || (gateway.flows().len() == 10).then_some(()));

        for flow in gateway.flows() {
            answers.push(("why", gateway.cli(&["why", flow["id"].as_str().unwrap()])));
        }
        answers.push(("log", gateway.cli(&["log"])));
        answers.push(("log --json", gateway.cli(&["log", "--json"])));
        answers.push(("the metrics", api(&gateway, "GET", "/metrics", None).1));
        answers.push(("standard output", gateway.stdout()));
        answers.push(("standard error", gateway.stderr()));
        for (place, text) in answers {
            let acts = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}');
            if let Some(at) = text.find(acts) {
                let _ = std::io::stderr().flush();
                panic!("{place} ({format}) holds {:?}", text[at..].chars().take(20).collect::<String>());
            }
        }
    }
}
