//! Heads as real clients sent them to a proxy at 127.0.0.1.

use super::{super::*, good, lines};

fn check(head: &[&str], method: &str, asked: &str, keep_alive: bool) -> RequestHead {
    let head = good(&lines(head));
    assert_eq!(head.method.as_str(), method);
    assert_eq!(head.target.asked().and_then(|asked| asked.canonical()).unwrap().to_string(), asked);
    assert_eq!(head.keep_alive, keep_alive);
    head
}

#[test]
fn curl_is_understood() {
    let get = check(
        &[
            "GET http://example.com/a?b=c HTTP/1.1",
            "Host: example.com",
            "Proxy-Authorization: Basic dXNlcjpwYXNz",
            "User-Agent: curl/7.88.1",
            "Accept: */*",
            "Proxy-Connection: Keep-Alive",
        ],
        "GET",
        "example.com:80",
        true,
    );
    assert!(matches!(&get.target, Target::Absolute { scheme: Scheme::Http, path, .. } if &**path == "/a?b=c"));
    assert_eq!(get.headers.get("proxy-authorization"), Some(&b"Basic dXNlcjpwYXNz"[..]));
    let old = ["GET http://example.com/ HTTP/1.0", "Host: example.com", "Proxy-Connection: Keep-Alive"];
    check(&old, "GET", "example.com:80", false);
    let post = [
        "POST http://example.com/ HTTP/1.1",
        "Host: example.com",
        "Content-Length: 3",
        "Content-Type: application/x-www-form-urlencoded",
    ];
    assert_eq!(check(&post, "POST", "example.com:80", true).framing, Framing::Length(3));
    let upload =
        ["PUT http://example.com/ HTTP/1.1", "Host: example.com", "Transfer-Encoding: chunked", "Expect: 100-continue"];
    let upload = check(&upload, "PUT", "example.com:80", true);
    assert!(upload.framing == Framing::Chunked && upload.expect_continue);
}

#[test]
fn git_is_understood() {
    let connect = [
        "CONNECT example.com:443 HTTP/1.1",
        "Host: example.com:443",
        "Proxy-Authorization: Basic dXNlcjpwYXNz",
        "User-Agent: git/2.47.3",
        "Proxy-Connection: Keep-Alive",
    ];
    assert_eq!(check(&connect, "CONNECT", "example.com:443", true).framing, Framing::None);
}

#[test]
fn python_requests_is_understood() {
    let get = [
        "GET http://example.com/r?x=1 HTTP/1.1",
        "Host: example.com",
        "User-Agent: python-requests/2.34.2",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
        "Proxy-Authorization: Basic dXNlcjpwYXNz",
    ];
    check(&get, "GET", "example.com:80", true);
    let connect = ["CONNECT example.com:443 HTTP/1.0", "Proxy-Authorization: Basic dXNlcjpwYXNz"];
    check(&connect, "CONNECT", "example.com:443", false);
}

#[test]
fn java_is_understood() {
    // Its Host leaves out the port of https, which is not the default of anything a CONNECT says.
    let connect = [
        "CONNECT example.com:443 HTTP/1.1",
        "User-Agent: Java/17.0.15",
        "Host: example.com",
        "Accept: text/html, image/gif, image/jpeg, */*; q=0.2",
        "Proxy-Connection: keep-alive",
    ];
    check(&connect, "CONNECT", "example.com:443", true);
    let get = [
        "GET http://example.com/j HTTP/1.1",
        "Content-Length: 0",
        "Host: example.com",
        "User-Agent: Java-http-client/17.0.15",
    ];
    assert_eq!(check(&get, "GET", "example.com:80", true).framing, Framing::Length(0));
}

#[test]
fn node_undici_is_understood() {
    // It tunnels plain HTTP too, and its "close" is about the proxy connection after the tunnel.
    let connect = |target, host| {
        let head = [target, host, "connection: close", "proxy-authorization: Basic dXNlcjpwYXNz"];
        check(&head, "CONNECT", target.split(' ').nth(1).unwrap(), false);
    };
    connect("CONNECT example.com:8443 HTTP/1.1", "host: example.com:8443");
    connect("CONNECT example.com:80 HTTP/1.1", "host: example.com");
}

#[test]
fn the_form_of_gos_client_is_understood() {
    let connect = [
        "CONNECT example.com:443 HTTP/1.1",
        "Host: example.com:443",
        "User-Agent: Go-http-client/1.1",
        "Proxy-Authorization: Basic dXNlcjpwYXNz",
    ];
    check(&connect, "CONNECT", "example.com:443", true);
}
