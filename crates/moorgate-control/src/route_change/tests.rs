use moorgate_contract::route::HeaderField;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Made, change};

const ORIGIN: &str = "http://127.0.0.1:3000";

fn given(mode: Mode, more: Value) -> Result<RouteSettings, Invalid> {
    let url = if mode == Mode::Terminate { ORIGIN } else { "tls://127.0.0.1:3000" };
    let mut all = json!({ "origins": [{ "url": url }] });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    apply(RouteSettings::default(), change(all), mode, &Pepper::new([7; 32]))
}

/// What is said of a terminate route with this; `None`: nothing is wrong.
fn check(more: Value, expected: Option<&str>) {
    let said = given(Mode::Terminate, more.clone()).err().map(|error| error.to_string());
    match (&said, expected) {
        (None, None) => {}
        (Some(said), Some(part)) => assert!(said.contains(part) && !said.contains(char::is_control), "{said}"),
        _ => panic!("{more}: {said:?}"),
    }
}

#[test]
fn origins_are_checked() {
    let origins = |count: usize| json!({ "origins": vec![json!({ "url": ORIGIN }); count] });
    check(origins(0), Some("the route needs at least one origin"));
    check(origins(64), None);
    check(origins(65), Some("at most 64 origins, not 65"));
    let weight = |weight: u16| json!({ "origins": [{ "url": ORIGIN, "weight": weight }] });
    check(weight(0), Some("is 0; give it one of 1 to 1000"));
    check(weight(1_000), None);
    check(weight(1_001), Some("is 1001"));
    check(json!({ "origins": [{ "url": "tls://127.0.0.1:1" }] }), Some("write http:// or https://"));
    let plain = json!({ "origins": [{ "url": ORIGIN }] });
    assert!(given(Mode::Passthrough, plain).unwrap_err().to_string().contains("write tls://HOST:PORT"));
}

#[test]
fn path_prefixes_are_checked() {
    let path = |prefix: &str| json!({ "paths": [{ "prefix": prefix, "origins": [{ "url": ORIGIN }] }] });
    check(path("/api"), None);
    check(path("/"), None);
    check(path("/a%2Fb"), None);
    check(path("api"), Some("does not begin with a slash"));
    check(path("/%61pi"), Some("write \"/api\""));
    check(path("//api"), Some("write \"/api\""));
    check(path("/api?x"), Some("write \"/api\""));
    check(path("/../api"), Some(". or .. segment"));
    check(path("/a\u{1b}"), Some("\"/a\\u{1b}\" can't be used"));
    check(json!({ "paths": [{ "prefix": "/api", "origins": [] }] }), Some("the path /api needs at least one origin"));
    let twice = ["/api", "/api/"].map(|prefix| json!({ "prefix": prefix, "origins": [{ "url": ORIGIN }] }));
    check(json!({ "paths": twice }), Some("named twice"));
    let many = |count| (0..count).map(|n| json!({ "prefix": format!("/{n}"), "origins": [{ "url": ORIGIN }] }));
    check(json!({ "paths": many(200).collect::<Value>() }), None);
    check(json!({ "paths": many(201).collect::<Value>() }), Some("at most 200 path prefixes, not 201"));
}

#[test]
fn redirects_are_checked() {
    let redirect =
        |from: &str, to: &str, status: u16| json!({ "redirects": [{ "from": from, "to": to, "status": status }] });
    for to in ["/new", "/new/*", "https://www.example.com/*", "http://127.0.0.1:8080", "https://[2001:db8::1]/?a#b"] {
        check(redirect("/old/*", to, 308), None);
    }
    for to in ["", "new", "//evil.example", "/a\\b", "/a b", "/a\r\nset-cookie: x", "/ä", "https://", "https:///a"] {
        check(redirect("/old", to, 308), Some("can't lead to"));
    }
    for to in ["javascript:alert(1)", "ftp://a.example", "https://user:pass@a.example", "https://a.example:99999"] {
        check(redirect("/old", to, 308), Some("can't lead to"));
    }
    check(redirect("old", "/new", 308), Some("does not begin with a slash"));
    check(redirect("/%6fld", "/new", 308), Some("write \"/old\""));
    for status in [301, 302, 303, 307, 308] {
        check(redirect("/old", "/new", status), None);
    }
    for (from, to) in
        [("/a", "/a"), ("/a", "/a?b=c"), ("/a/*", "/a/b"), ("/a/*", "/a/b/*"), ("/*", "/new/*"), ("/a/*", "/a")]
    {
        check(redirect(from, to, 308), Some("leads round in a circle"));
    }
    let chain = |pairs: &[(&str, &str)]| {
        let redirects: Vec<_> = pairs.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        json!({ "redirects": redirects })
    };
    check(chain(&[("/a", "/b"), ("/b", "/c"), ("/c", "/a?x=1")]), Some("from /a to /b leads round in a circle"));
    check(chain(&[("/a/*", "/b/*"), ("/b/*", "/a/*")]), Some("leads round in a circle"));
    // The first that fits is taken, and a chain may have an end.
    check(chain(&[("/a/b", "/end"), ("/a/*", "/a/b")]), None);
    check(chain(&[("/a", "/b"), ("/b", "/c"), ("/x/*", "/*")]), None);
    check(chain(&[("/a", "/b"), ("/b", "https://app.example.com/a")]), None);
    for from in ["/s*", "/a/*/b", "/*/*"] {
        check(redirect(from, "/new", 308), Some("stands for nothing"));
    }
    check(redirect("/a", "https://app.example.com/a", 308), None);
    check(redirect("/a/*", "/ab/*", 308), None);
    check(redirect("/old", "/new", 200), Some("use 301, 302, 303, 307 or 308"));
    let many = vec![json!({ "from": "/a", "to": "/b" }); 201];
    check(json!({ "redirects": many }), Some("at most 200 redirects, not 201"));
}

#[test]
fn a_change_shows_no_secret() {
    let change: RouteChange = serde_json::from_value(json!({
        "basic_auth": [{ "username": "alice", "password": "open-sesame" }],
        "request_headers": { "set": [{ "name": "x-key", "value": "s3cret" }] }
    }))
    .unwrap();
    let shown = format!("{change:?}");
    assert!(shown.contains("alice") && shown.contains("x-key"), "{shown}");
    assert!(!shown.contains("sesame") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn header_fields_are_checked_and_put_in_lower_case() {
    let set = |name: &str, value: &str| json!({ "request_headers": { "set": [{ "name": name, "value": value }] } });
    check(set("X-App", "é and all that"), None);
    check(set("x app", "1"), Some("no name of a header field"));
    check(set("", "1"), Some("no name of a header field"));
    check(set("x-app:", "1"), Some("no name of a header field"));
    check(set("x-app", "1\r\nhost: evil"), Some("x-app has a control byte"));
    let ours = OURS
        .iter()
        .chain(&["proxy-authorization", "proxy-status", "x_forwarded_for", "proxy_authorization"])
        .map(|name| name.to_uppercase());
    for name in ours {
        check(set(&name, "1"), Some("can't be edited"));
        check(json!({ "response_headers": { "remove": [name] } }), Some("can't be edited"));
    }
    check(json!({ "request_headers": { "remove": vec!["a"; 201] } }), Some("at most 200 header fields to remove"));
    let edits = json!({ "response_headers": { "remove": ["Server"], "set": [{ "name": "X-App", "value": "Yes" }] } });
    let edits = given(Mode::Terminate, edits).unwrap().actions.response_headers;
    assert_eq!(edits.remove, ["server"]);
    assert_eq!(edits.set, [HeaderField { name: "x-app".into(), value: "Yes".into() }]);
}

#[test]
fn usernames_and_passwords_are_checked_and_hashed() {
    let user =
        |username: &str, password: &str| json!({ "basic_auth": [{ "username": username, "password": password }] });
    check(user("", "secret"), Some("no username for HTTP Basic"));
    check(user("a:b", "secret"), Some("no username for HTTP Basic"));
    check(user("a\n", "secret"), Some("no username for HTTP Basic"));
    check(user("alice", ""), Some("the password of \"alice\" is empty"));
    let many = vec![json!({ "username": "a", "password": "b" }); 201];
    check(json!({ "basic_auth": many }), Some("at most 200 usernames"));
    let users = given(Mode::Terminate, user("alice", "open sesame")).unwrap().actions.basic_auth;
    assert_eq!(users[0].hash, Pepper::new([7; 32]).hash("alice", b"open sesame"), "as a snapshot compares it");
}

#[test]
fn the_rest_is_checked() {
    check(json!({ "maintenance": { "page": "x".repeat(65_536) } }), None);
    check(json!({ "maintenance": { "page": "x".repeat(65_537) } }), Some("this one has 65537"));
    let nets = vec!["192.0.2.0/24"; 201];
    check(json!({ "clients": { "allow": nets } }), Some("that may come, not 201"));
    check(json!({ "clients": { "deny": nets } }), Some("that may not come, not 201"));
    check(json!({ "origin_ca": Made::of(&["a.example"]).chain }), None);
    check(json!({ "origin_ca": "" }), Some("there is no certificate in it"));
    check(json!({ "origin_ca": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }), Some("not X.509"));
    for (every, expected) in
        [(0, Some("every 0 s")), (1, None), (3_600, None), (3_601, Some("whole seconds, 1 to 3600"))]
    {
        check(json!({ "check": { "every": every } }), expected);
    }
    for (path, expected) in
        [("/health?deep", None), ("health", Some("does not begin with a slash")), ("/a b", Some("the path of a check"))]
    {
        check(json!({ "check": { "every": 5, "path": path } }), expected);
    }
    check(json!({ "check": { "path": "/health" } }), Some("give its interval too"));
}

#[test]
fn a_passthrough_route_takes_what_it_can_do_and_nothing_else() {
    let allowed = json!({ "proxy_protocol": "v2", "check": { "every": 5 }, "clients": { "deny": ["192.0.2.0/24"] } });
    given(Mode::Passthrough, allowed).unwrap();
    for (more, part) in [
        (json!({ "paths": [{ "prefix": "/", "origins": [] }] }), "origins by path"),
        (json!({ "origin_ca": "x" }), "CA certificates"),
        (json!({ "origin_host": "origin" }), "a Host"),
        (json!({ "check": { "path": "/" } }), "a path to check"),
        (json!({ "on_http": "forward" }), "plain HTTP"),
        (json!({ "maintenance": { "page": "" } }), "a maintenance page"),
        (json!({ "redirects": [{ "from": "/a", "to": "/b" }] }), "redirects"),
        (json!({ "basic_auth": [{ "username": "a", "password": "b" }] }), "HTTP Basic"),
        (json!({ "max_body": 1 }), "a bound on bodies"),
        (json!({ "request_headers": { "remove": ["a"] } }), "header fields"),
        (json!({ "response_headers": { "set": [{ "name": "a", "value": "b" }] } }), "header fields"),
    ] {
        let said = given(Mode::Passthrough, more).unwrap_err().to_string();
        assert!(said.contains(part) && said.contains("passthrough route can't have"), "{said}");
    }
}

#[test]
fn what_is_not_named_stays_and_null_takes_away() {
    let first = given(Mode::Terminate, json!({ "max_body": 5, "proxy_protocol": "v1" })).unwrap();
    let pepper = Pepper::new([7; 32]);
    let next = |json| apply(first.clone(), change(json), Mode::Terminate, &pepper).unwrap();
    assert_eq!(next(json!({})), first);
    let less = next(json!({ "max_body": null }));
    assert_eq!((less.actions.max_body, less.proxy_protocol), (None, first.proxy_protocol));
    assert_eq!(less.origins, first.origins);
}
