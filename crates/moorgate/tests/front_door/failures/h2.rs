//! The same failures through every door, and what h2 has of its own: one stream fails, the others go on.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::Value;

use crate::{
    dns::Dns,
    doors::{Destination, Door, Doors, Early, H2, Refused, write_h2},
    gateway::{Gateway, Setup, eventually},
    target::{Conn, Target, ok},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_has_the_same_code_through_every_door() {
    let dns = Dns::start([127, 0, 0, 1].into(), |_| None);
    let gateway = Setup::default().env("MOORGATE_RESOLVER_SERVERS", dns.address.to_string()).start();
    let doors = Doors::of(&gateway);
    gateway.cli(&["policy", "set", "default", "--deny", "127.0.0.66"]);
    let refusing = Destination::bind().await.address;
    let own = gateway.address("outbound_https");
    for (target, code, status, reply) in [
        ("127.0.0.66:1".to_owned(), "policy_denied", 403, 0x02),
        ("169.254.169.254:80".to_owned(), "guard_denied", 403, 0x02),
        ("[fe80::1]:80".to_owned(), "guard_denied", 403, 0x02),
        ("0x7f.1:80".to_owned(), "host_not_canonical", 400, 0x01),
        ("nowhere.test:80".to_owned(), "name_not_resolved", 502, 0x04),
        (refusing.to_string(), "connection_refused", 502, 0x05),
        (own.to_string(), "loop", 508, 0x02),
    ] {
        for door in Door::ALL {
            let refused = doors.open(door, &target).await.err();
            let wanted = if door.is_socks() { Refused::Socks(reply) } else { Refused::Http(status, code.into()) };
            assert_eq!(refused, Some(wanted), "{door:?} {target}");
        }
        let fits = |flow: &&Value| flow["target"] == *target && flow["outcome"] == code;
        eventually("five flows", || (gateway.flows().iter().filter(fits).count() == 5).then_some(()));
    }
    let nobody = doors.with_credential(&("nobody".into(), "wrong".into()));
    for door in [Door::Http, Door::HttpsH1, Door::HttpsH2] {
        let refused = nobody.open(door, "127.0.0.1:80").await.err();
        assert_eq!(refused, Some(Refused::Http(407, "credentials_wrong".into())), "{door:?}");
    }
}

/// A request without a body; the response, and its body or how that broke.
async fn get(h2: &H2, method: Method, uri: &str) -> (Response<()>, Result<String, h2::Error>) {
    let request = h2.request(method, uri).body(()).unwrap();
    let mut requests = h2.requests.clone().ready().await.unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let (parts, mut body) = response.await.unwrap().into_parts();
    let mut text = Vec::new();
    let whole = loop {
        match body.data().await {
            None => break Ok(String::from_utf8(text).unwrap()),
            Some(Err(error)) => break Err(error),
            Some(Ok(data)) => {
                text.extend_from_slice(&data);
                let _ = body.flow_control().release_capacity(data.len());
            }
        }
    };
    (Response::from_parts(parts, ()), whole)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_dies_within_a_body_resets_its_stream_and_no_other() {
    let gateway = Gateway::start();
    let doors = Doors::of(&gateway);
    let h2 = doors.h2().await.unwrap();
    let echo = Destination::bind().await.echo();
    let mut other = h2.open(&echo.to_string(), Early::default()).await.unwrap();
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this",
    ] {
        let target = Target::new("127.0.0.1:0", move |mut conn: Conn| {
            conn.head();
            conn.send(response);
        });
        let (head, body) = get(&h2, Method::GET, &format!("http://{}/", target.address)).await;
        assert_eq!(head.status(), 200);
        assert!(body.as_ref().is_err_and(h2::Error::is_reset), "{response:?}: {body:?}");
        let asked = target.address.to_string();
        gateway.wait_flow(|flow| flow["target"] == *asked && flow["outcome"] == "response_incomplete");
    }
    other.writer.write_all(b"still").await.unwrap();
    assert_eq!(other.reader.exactly(5).await.unwrap(), b"still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_over_h2_are_the_targets_and_refusals_say_why() {
    let gateway = Gateway::start();
    let h2 = Doors::of(&gateway).h2().await.unwrap();
    let target = Target::http(|request| match request.split(' ').nth(1).unwrap() {
        "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n".to_owned(),
        "/hop" => "HTTP/1.1 200 OK\r\nConnection: X-Down\r\nX-Down: 1\r\nKeep-Alive: 5\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        path => ok(path),
    });
    let url = |path: &str| format!("http://{}{path}", target.address);
    for (path, status, body) in
        [("/path?query", 200, "/path?query"), ("/204", 204, ""), ("/304", 304, ""), ("/", 200, "/")]
    {
        let (head, whole) = get(&h2, Method::GET, &url(path)).await;
        assert_eq!((head.status().as_u16(), &*whole.unwrap()), (status, body), "{path}");
    }
    let (head, whole) = get(&h2, Method::HEAD, &url("/length")).await;
    assert_eq!((head.headers()["content-length"].to_str().unwrap(), &*whole.unwrap()), ("7", ""));
    let (head, _) = get(&h2, Method::GET, &url("/hop")).await;
    assert!(!head.headers().contains_key("x-down") && !head.headers().contains_key("keep-alive"), "{head:?}");

    for (url, status, code) in [
        (format!("https://{}/", target.address), 400, "not_supported"),
        ("http://127.1/".to_owned(), 400, "host_not_canonical"),
        ("http://10.0.0.1/".to_owned(), 403, "guard_denied"),
    ] {
        let (head, body) = get(&h2, Method::GET, &url).await;
        assert_eq!(head.status(), status, "{url}");
        let said = head.headers()["proxy-status"].to_str().unwrap();
        assert!(said.starts_with("moorgate; error=") && said.contains(&format!("code=\"{code}\"")), "{said}");
        assert!(body.unwrap().starts_with(&format!("moorgate: {code}: ")), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_over_h2_that_breaks_off_or_lies_about_its_length_is_no_whole_request() {
    let gateway = Gateway::start();
    let h2 = Doors::of(&gateway).h2().await.unwrap();
    let target = Target::http(|_| ok("never"));
    for length in [None, Some("100"), Some("3")] {
        let mut request = h2.request(Method::POST, &format!("http://{}/", target.address));
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let mut requests = h2.requests.clone().ready().await.unwrap();
        let before = target.seen().bytes;
        let (response, mut send) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        write_h2(&mut send, b"hello").await.unwrap();
        match length {
            Some("3") => {}
            Some(_) => {
                eventually("the body's begin", || (target.seen().bytes > before + 20).then_some(()));
                // The end of the stream, 95 bytes early.
                send.send_data(Bytes::new(), true).unwrap();
            }
            None => {
                eventually("the body's begin", || (target.seen().bytes > before + 20).then_some(()));
                send.send_reset(h2::Reason::CANCEL);
            }
        }
        let answer = response.await;
        assert!(answer.as_ref().map_or(true, |answer| answer.status() != 200), "{length:?}: {answer:?}");
    }
    assert_eq!(target.seen().requests.len(), 0);
    let (head, body) = get(&h2, Method::GET, &format!("http://{}/", target.address)).await;
    assert_eq!((head.status().as_u16(), &*body.unwrap()), (200, "never"));
}
