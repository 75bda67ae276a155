//! What a route does to requests and responses, set from the CLI, one by one and in their order.

use std::fs;

use super::support::{Client, ask, get, route};
use crate::{
    gateway::Gateway,
    talk::Talk,
    target::{Target, ok},
};

const NAME: &str = "app.test";

fn set(gateway: &Gateway, flags: &[&str]) {
    gateway.cli(&[&["route", "set", NAME], flags].concat());
}

#[test]
fn each_action_does_what_it_says_from_the_next_request_on() {
    let origin =
        Target::http(|_| "HTTP/1.1 200 OK\r\nServer: app/1.0\r\nX-Powered-By: x\r\nContent-Length: 2\r\n\r\nhi".into());
    let api = Target::http(|_| ok("api"));
    let gateway = Gateway::start();
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &[]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    let mut get = |path: &str, fields: &str| ask(&mut client, get(NAME, path, fields));
    assert_eq!(get("/", "").body, "hi");

    set(&gateway, &["--path", &format!("/api=http://{}", api.address)]);
    for (path, body) in [("/api", "api"), ("/api/x?y", "api"), ("/apix", "hi"), ("/%61pi/x", "api"), ("//api/", "api")]
    {
        assert_eq!(get(path, "").body, body, "{path}");
    }

    set(
        &gateway,
        &[
            "--set-header",
            "X-Tenant=acme",
            "--remove-header",
            "X-Secret",
            "--remove-response-header",
            "X-Powered-By",
            "--set-response-header",
            "Server=moorgate",
        ],
    );
    let answer = get("/", "X-Secret: 1\r\nX-Tenant: forged\r\n");
    assert_eq!(answer.field("server"), Some("moorgate"));
    assert_eq!(answer.field("x-powered-by"), None);
    let request = origin.seen().requests.pop().unwrap().to_ascii_lowercase();
    assert!(
        request.contains("\r\nx-tenant: acme\r\n") && !request.contains("forged") && !request.contains("x-secret"),
        "{request}"
    );

    set(&gateway, &["--redirect", "/old/*=/new/*", "--redirect", "/gone=https://other.test/,301"]);
    let answer = get("/old/a/b?q=1", "");
    assert_eq!((answer.status, answer.field("location")), (308, Some("/new/a/b?q=1")));
    let answer = get("/gone", "");
    assert_eq!((answer.status, answer.field("location")), (301, Some("https://other.test/")));

    set(&gateway, &["--max-body", "10"]);
    assert_eq!(get("/", "Content-Length: 10\r\n\r\n0123456789").status, 200);

    let users = tempfile::NamedTempFile::new().unwrap();
    fs::write(users.path(), "ada:correct horse\nbob:secret\n").unwrap();
    set(&gateway, &["--basic-auth-file", users.path().to_str().unwrap()]);
    let answer = get("/", "");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.field("www-authenticate"), Some("Basic realm=\"app.test\", charset=\"UTF-8\""));
    // "ada:correct horse", then a wrong password.
    assert_eq!(get("/", "Authorization: Basic YWRhOmNvcnJlY3QgaG9yc2U=\r\n").status, 200);
    assert_eq!(get("/", "Authorization: Basic YWRhOndyb25n\r\n").status, 401);
    let shown = gateway.cli(&["route", "show", NAME]);
    assert!(shown.contains("ada") && !shown.contains("correct horse"), "{shown}");

    set(&gateway, &["--maintenance", "<h1>back soon</h1>"]);
    let answer = get("/", "");
    assert_eq!((answer.status, answer.body.as_str()), (503, "<h1>back soon</h1>"), "before basic auth");
    assert!(answer.field("content-type").unwrap().starts_with("text/html"));
    assert!(answer.field("proxy-status").unwrap().contains("code=\"maintenance\""), "{}", answer.head);
    let explained = gateway.cli(&["explain", NAME]);
    assert!(explained.contains("would be refused, maintenance: "), "{explained}");
    set(&gateway, &["--maintenance", ""]);
    assert_eq!(get("/", "").status, 401);
    set(&gateway, &["--basic-auth-file", ""]);
    assert_eq!(get("/", "").status, 200);
    let missing = gateway.try_cli(&["route", "set", NAME, "--maintenance", "no-such-page.html"]);
    assert!(!missing.status.success(), "the name of a file that is not there is no page");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-page.html"));
    assert_eq!(get("/", "").status, 200);

    set(&gateway, &["--deny-client", "127.0.0.0/8"]);
    let explained = gateway.cli(&["explain", NAME]);
    for said in ["127.0.0.0/8 may not come", "/old/* is sent to /new/*", "at most 10 bytes", "x-tenant set"] {
        assert!(explained.contains(said), "{said}: {explained}");
    }
    let answer = get("/", "");
    assert_eq!(answer.status, 403);
    assert!(answer.field("proxy-status").unwrap().contains("code=\"client_denied\""), "{}", answer.head);
    let flow = gateway.wait_flow(|flow| flow["outcome"] == "client_denied");
    assert!(flow["said"].as_str().unwrap().contains("127.0.0.0/8"), "an operator sees the rule: {flow}");
    assert!(!answer.body.contains("127.0.0.0/8"), "a stranger does not: {}", answer.body);
}

#[test]
fn a_body_that_turns_out_too_long_is_refused_whichever_way_it_comes() {
    let origin = Target::http(|_| ok("hi"));
    let gateway = Gateway::start();
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &["--max-body", "10"]);
    let client = Client::of(&gateway);
    for request in [
        format!("POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 11\r\n\r\n01234567890"),
        format!("POST / HTTP/1.1\r\nHost: {NAME}\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"),
    ] {
        let mut stream = client.connect(gateway.address("inbound_tls"), NAME);
        let answer = ask(&mut stream, request);
        assert_eq!(answer.status, 413, "{}", answer.body);
    }
    assert_eq!(origin.seen().requests.len(), 0, "no whole request reached the origin");
}

#[test]
fn plain_http_is_forwarded_when_the_route_says_so() {
    let origin = Target::http(|_| ok("hi"));
    let gateway = Gateway::start();
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &["--http", "forward"]);
    let mut talk = Talk::to(gateway.address("inbound_http"));
    for _ in 0..3 {
        talk.send(get(NAME, "/", ""));
        assert_eq!(talk.reply().body, "hi");
    }
    assert!(origin.seen().requests[0].to_ascii_lowercase().contains("x-forwarded-proto: http\r\n"));
    assert_eq!(origin.seen().peers.len(), 1, "the connection to the origin is used again");
    let flow = gateway.wait_flow(|flow| flow["listener"] == "inbound_http");
    assert_eq!(flow["exposure"]["wire_to_gateway"]["body"], true);
}

#[test]
fn the_origins_own_host_is_sent_to_platforms_that_route_by_it() {
    let origin = Target::http(|_| ok("hi"));
    let gateway = Gateway::start();
    let url = format!("http://localhost:{}", origin.address.port());
    route(&gateway, NAME, "terminate", &[&url], &["--origin-host", "origin"]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    assert_eq!(ask(&mut client, get(NAME, "/", "")).status, 200);
    let request = origin.seen().requests.pop().unwrap().to_ascii_lowercase();
    assert!(request.contains(&format!("\r\nhost: localhost:{}\r\n", origin.address.port())), "{request}");
    assert!(request.contains("\r\nx-forwarded-host: app.test\r\n"), "{request}");
}

#[test]
fn a_wrong_setting_is_refused_in_a_sentence_and_changes_nothing() {
    let gateway = Gateway::start();
    route(&gateway, "t.test", "terminate", &["http://127.0.0.1:9"], &[]);
    route(&gateway, "p.test", "passthrough", &["tls://127.0.0.1:9"], &[]);
    let own = format!("http://{}", gateway.address("inbound_http"));
    for (args, said) in [
        (&["route", "add", "t.test", "http://127.0.0.1:9", "--mode", "terminate"][..], "already"),
        (&["route", "add", "192.0.2.1", "http://127.0.0.1:9", "--mode", "terminate"], "is an address"),
        (&["route", "add", "x.test", "tls://127.0.0.1:9", "--mode", "terminate"], "write http:// or https://"),
        (&["route", "add", "x.test", "http://127.0.0.1:9", "--mode", "passthrough"], "write tls://HOST:PORT"),
        (&["route", "add", "x.test", "http://127.0.0.1:9/path", "--mode", "terminate"], "has a path"),
        (&["route", "add", "x.test", &own, "--mode", "terminate"], "listener of this gateway"),
        (&["route", "set", "p.test", "--max-body", "10"], "passthrough"),
        (&["route", "set", "t.test", "--set-header", "Host=other"], "the gateway writes it itself"),
        (&["route", "set", "t.test", "--path", "/a/../b=http://127.0.0.1:9"], "path"),
        (&["route", "set", "none.test", "--max-body", "10"], "no route"),
        (&["route", "set", "t.test"], "nothing was given to set"),
        (&["route", "set", "t.test", "--basic-auth-file", "/dev/null"], "names no user"),
        (&["route", "set", "t.test", "--set-header", "X-Forwarded-For=1"], "the gateway writes it itself"),
        (&["route", "show", "https://t.test/"], "write the name alone"),
        (&["explain", "t.test:443"], "write the name alone"),
        (&["explain", "t.test."], "leave the dot at the end out"),
    ] {
        let output = gateway.try_cli(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    assert_eq!(gateway.cli_json(&["route", "list"]).as_array().unwrap().len(), 2);
}
