//! Two readers of the same bytes: what could be read in two ways is refused with an answer and a flow, and no byte of it
//! reaches an origin.

use std::io::Write;

use super::support::{Client, answer, ask, get, rest, route};
use crate::{
    gateway::Gateway,
    target::{Target, ok},
};

const NAME: &str = "app.test";

#[test]
fn what_can_be_read_in_two_ways_is_refused_as_first_and_as_later_request() {
    let origin = Target::http(|_| ok("hi"));
    let gateway = Gateway::start();
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &[]);
    let cases: &[(&str, String, u16)] = &[
        ("TE and CL", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 400),
        ("CL and TE", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400),
        ("two lengths", post("Content-Length: 1\r\nContent-Length: 1\r\n", "x"), 400),
        ("a list of lengths", post("Content-Length: 1, 1\r\n", "x"), 400),
        ("chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), 400),
        ("another coding", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400),
        ("a folded line", post("X: a\r\n b\r\n", ""), 400),
        ("LF alone", format!("GET / HTTP/1.1\nHost: {NAME}\n\n"), 400),
        ("NUL in a value", get(NAME, "/", "X: a\0b\r\n"), 400),
        ("two Hosts", get(NAME, "/", &format!("Host: {NAME}\r\n")), 400),
        ("a size with 0x", post("Transfer-Encoding: chunked\r\n", "0x1\r\nx\r\n0\r\n\r\n"), 400),
        ("a size with a plus", post("Transfer-Encoding: chunked\r\n", "+1\r\nx\r\n0\r\n\r\n"), 400),
        ("a fragment", get(NAME, "/a#b", ""), 400),
        ("a backslash", get(NAME, "/a\\b", ""), 400),
        ("dot segments", get(NAME, "/a/../b", ""), 400),
        ("escaped dot segments", get(NAME, "/a/%2e%2e/b", ""), 400),
        ("dot segments behind an escaped slash", get(NAME, "/a/..%2fadmin", ""), 400),
        ("an escaped NUL", get(NAME, "/a%00", ""), 400),
        ("CONNECT", format!("CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n"), 400),
        ("target and Host differ", format!("GET http://other.test/ HTTP/1.1\r\nHost: {NAME}\r\n\r\n"), 400),
        ("a Host with userinfo", get("user@app.test", "/", ""), 400),
        ("HTTP/2 in the clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 400),
    ];
    for (what, request, status) in cases {
        for later in [false, true] {
            let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
            let before = origin.seen().requests.len();
            if later {
                assert_eq!(ask(&mut client, get(NAME, "/first", "")).status, 200);
            }
            let before_bytes = origin.seen().bytes;
            client.write_all(request.as_bytes()).unwrap();
            let refused = answer(&mut client);
            assert_eq!(refused.status, *status, "{what}: {}", refused.body);
            assert!(refused.field("proxy-status").is_some(), "{what}: {}", refused.head);
            assert_eq!(origin.seen().bytes, before_bytes, "{what}: 0 bytes forwarded");
            assert_eq!(origin.seen().requests.len(), before + usize::from(later));
        }
    }
}

#[test]
fn a_smuggled_second_request_is_never_answered_for_somebody_else() {
    let origin = Target::http(|request| ok(request.split(' ').nth(1).unwrap()));
    let gateway = Gateway::start();
    route(&gateway, NAME, "terminate", &[&format!("http://{}", origin.address)], &[]);
    // The body of the first looks like a request: it stays a body.
    let inner = get(NAME, "/inner", "");
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    let outer = format!("POST /outer HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
    assert_eq!(ask(&mut client, outer).body, "/outer");
    assert_eq!(ask(&mut client, get(NAME, "/next", "Connection: close\r\n")).body, "/next");
    assert_eq!(rest(&mut client), b"");
    assert!(origin.seen().requests.iter().all(|request| !request.starts_with("GET /inner")));
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: {NAME}\r\n{fields}\r\n{body}")
}
