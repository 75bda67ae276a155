//! Terminate: TLS ends at the gateway, HTTP/1.1 and h2 are forwarded to origins in the clear or over verified TLS.

use std::{
    io::{Read, Write},
    net::Shutdown,
    thread,
    time::Duration,
};

use super::support::{Client, TlsOrigin, Uploaded, answer, ask, certificate, chunk, get, route};
use crate::{
    gateway::Gateway,
    site::{HELLO, Site, noise},
    target::{Conn, Target, ok},
    tools::{outcome, run, tool},
};

const NAME: &str = "app.test";

/// A gateway with one terminate route to `origin`.
fn with_origin(url: &str, flags: &[&str]) -> Gateway {
    let gateway = Gateway::start();
    route(&gateway, NAME, "terminate", &[url], flags);
    gateway
}

fn curl(gateway: &Gateway, arguments: &[&str]) -> std::process::Command {
    let mut curl = tool("curl");
    let to = gateway.address("inbound_tls");
    curl.args(["-sS", "--cacert"]).arg(gateway.ca());
    curl.args(["--connect-to", &format!("{NAME}:443:{to}")]).args(arguments);
    curl
}

#[test]
fn curl_reaches_the_app_over_both_versions_of_http() {
    let site = Site::start();
    let gateway = with_origin(&site.http(), &[]);
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let said = run(&mut curl(&gateway, &[flag, "-w", "%{http_version}", &format!("https://{NAME}/hello")]));
        assert_eq!(said, format!("{HELLO}{version}"));
        let flow = gateway.wait_flow(|flow| flow["alpn"] == if version == "2" { "h2" } else { "http/1.1" });
        assert_eq!((flow["route"].as_str(), flow["mode"].as_str()), (Some(NAME), Some("terminate")));
        assert_eq!(flow["origin"], site.http());
        assert_eq!(flow["status"], 200);
        assert_eq!(flow["exposure"]["wire_to_gateway"]["path"], false);
        assert_eq!(flow["exposure"]["gateway"]["body"], true);
        assert_eq!(flow["exposure"]["wire_to_target"]["path"], true, "the origin is http://");
    }
    let (up, down) = (noise(3 << 20), noise(5 << 20));
    let directory = site.directory();
    std::fs::write(directory.join("up"), &up).unwrap();
    for flag in ["--http1.1", "--http2"] {
        let upload = format!("@{}", directory.join("up").display());
        let said = run(&mut curl(&gateway, &[flag, "--data-binary", &upload, &format!("https://{NAME}/upload")]));
        assert_eq!(said, crate::site::digest(&up));
        let file = directory.join("down");
        let url = format!("https://{NAME}/bytes/{}", down.len());
        run(&mut curl(&gateway, &[flag, "-o", file.to_str().unwrap(), &url]));
        assert_eq!(std::fs::read(&file).unwrap(), down);
    }
}

#[test]
fn what_the_origin_hears_of_the_client_is_ours() {
    let origin = Target::http(|_| ok("hi"));
    let gateway = with_origin(&format!("http://{}", origin.address), &[]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\n\
                  Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nConnection: X-Forwarded-Proto, Keep-Alive\r\n\
                  Keep-Alive: 5\r\nTE: trailers\r\nX-App: kept\r\n";
    assert_eq!(ask(&mut client, get(NAME, "/a%2Fb?q=%20", forged)).status, 200);
    let request = origin.seen().requests.pop().unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /a%2fb?q=%20 http/1.1\r\nhost: app.test\r\n"), "{request}");
    for line in [
        "forwarded: for=127.0.0.1;host=\"app.test\";proto=https",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: app.test",
        "x-forwarded-proto: https",
        "x-app: kept",
    ] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line}: {request}");
    }
    assert!(request.contains("\r\nvia: 1.1 moorgate-"), "{request}");
    for gone in ["6.6.6.6", "gopher", "keep-alive", "x-real-ip", "te: "] {
        assert!(!request.contains(gone), "{gone}: {request}");
    }
}

#[test]
fn an_https_origin_is_verified_and_sees_no_byte_of_http_unless_it_is_trusted() {
    let origin = TlsOrigin::start(&["127.0.0.1"], |mut stream| {
        let mut head = vec![0; 4096];
        if matches!(stream.read(&mut head), Ok(1..)) {
            let _ = stream.write_all(ok("secret").as_bytes());
            let _ = stream.flush();
        }
    });
    let url = format!("https://{}", origin.address);
    let gateway = with_origin(&url, &[]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    let refused = ask(&mut client, get(NAME, "/", ""));
    assert_eq!(refused.status, 502);
    assert!(refused.field("proxy-status").unwrap().contains("code=\"origin_untrusted\""), "{}", refused.head);
    assert!(!refused.body.contains("127.0.0.1"), "strangers learn nothing of what is behind: {}", refused.body);
    let flow = gateway.wait_flow(|flow| flow["outcome"] == "origin_untrusted");
    assert_eq!(flow["exposure"]["wire_to_target"]["headers"], false);
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), origin.ca.cert_pem()).unwrap();
    gateway.cli(&["route", "set", NAME, "--origin-ca", ca.path().to_str().unwrap()]);
    let answer = ask(&mut client, get(NAME, "/", ""));
    assert_eq!((answer.status, answer.body.as_str()), (200, "secret"));
}

#[test]
fn the_certificate_is_the_one_that_was_added_and_the_local_cas_until_then() {
    let origin = Target::http(|_| ok("hi"));
    let gateway = with_origin(&format!("http://{}", origin.address), &[]);
    let address = gateway.address("inbound_tls");
    Client::of(&gateway).connect(address, NAME);
    let uploaded = Uploaded::for_names(&[NAME]);
    let said = uploaded.add_to(&gateway, NAME);
    assert!(said.contains("expire"), "{said}");
    let client = Client::trusting(uploaded.ca.cert_pem().as_bytes());
    let mut stream = client.connect(address, NAME);
    assert_eq!(ask(&mut stream, get(NAME, "/", "")).status, 200);
    let shown = gateway.cli_json(&["cert", "show", NAME]);
    assert_eq!((shown["domain"].as_str(), shown["names"][0].as_str()), (Some(NAME), Some(NAME)));
    assert!(shown.get("key").is_none_or(|key| !key.to_string().contains("PRIVATE")));
    let first = certificate(&stream);
    gateway.cli(&["cert", "remove", NAME]);
    assert_eq!(ask(&mut stream, get(NAME, "/", "")).status, 200, "what is open is not touched");
    assert_ne!(certificate(&Client::of(&gateway).connect(address, NAME)), first);
    // A chain for another name is refused, and nothing changes.
    let other = Uploaded::for_names(&["other.test"]);
    let (chain, key) = (other.chain(), other.key());
    let args = ["cert", "add", NAME, "--chain", chain.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let refused = gateway.try_cli(&args);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("other.test"), "{refused:?}");
    // Nor is one taken that nobody would ever be shown.
    route(&gateway, "other.test", "passthrough", &["tls://127.0.0.1:4443"], &[]);
    let refused = gateway.try_cli(&["cert", "add", "other.test", args[3], args[4], args[5], args[6]]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a passthrough route can't have a certificate"));
}

#[test]
fn another_name_in_host_is_421_on_every_request_of_a_connection() {
    let origin = Target::http(|_| ok("hi"));
    let url = format!("http://{}", origin.address);
    let gateway = with_origin(&url, &[]);
    route(&gateway, "other.test", "terminate", &[&url], &[]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    for (host, status) in [(NAME, 200), ("other.test", 421), ("APP.test:8443", 200), ("unknown.test", 421), (NAME, 200)]
    {
        let answer = ask(&mut client, get(host, "/", ""));
        assert_eq!(answer.status, status, "{host}: {}", answer.body);
    }
    assert_eq!(origin.seen().requests.len(), 3);
    for host in ["other.test", "app.test.evil.test"] {
        let authority = format!("Host: {host}");
        let said = run(&mut curl(
            &gateway,
            &["--http2", "-o", "/dev/null", "-w", "%{http_code}", "-H", &authority, &format!("https://{NAME}/")],
        ));
        assert_eq!(said, "421", "{host} over h2");
    }
    let flow = gateway.wait_flow(|flow| flow["outcome"] == "name_mismatch");
    assert_eq!((flow["route"].as_str(), flow["account"].as_str()), (Some(NAME), Some("default")), "{flow}");
}

#[test]
fn a_websocket_is_switched_to_and_bytes_flow_both_ways() {
    let origin = Target::new("127.0.0.1:0", |mut conn: Conn| {
        let head = conn.head().unwrap().to_ascii_lowercase();
        assert!(head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nfirst");
        let mut stream = conn.stream;
        let mut piece = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            stream.write_all(&piece[..read]).unwrap();
        }
        let _ = stream.shutdown(Shutdown::Write);
    });
    let gateway = with_origin(&format!("http://{}", origin.address), &[]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    // What comes together with the request belongs to the WebSocket.
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n";
    let answer = ask(&mut client, get(NAME, "/ws", upgrade) + "early");
    assert_eq!(answer.status, 101, "{}", answer.head);
    assert_eq!(answer.field("sec-websocket-accept"), Some("x"));
    let mut echoed = [0; 10];
    client.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"firstearly");
    for _ in 0..3 {
        client.write_all(b"0123456789").unwrap();
        client.read_exact(&mut echoed).unwrap();
        assert_eq!(&echoed, b"0123456789");
    }
    client.conn.send_close_notify();
    client.flush().unwrap();
    assert_eq!(client.read(&mut echoed).unwrap(), 0, "an orderly end");
    let flow = gateway.wait_flow(|flow| flow["status"] == 101);
    assert_eq!(flow["outcome"], "ok");
    // No other protocol is switched to: it would go by unseen.
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    client
        .write_all(
            get(NAME, "/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")
                .as_bytes(),
        )
        .unwrap();
    drop(client);
}

#[test]
fn events_arrive_as_they_are_sent() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Target::new("127.0.0.1:0", move |mut conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n");
            wait.lock().unwrap().recv().unwrap();
            conn.send("8\r\ndata: 2\n\r\n0\r\n\r\n");
        }
    });
    let gateway = with_origin(&format!("http://{}", origin.address), &[]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    client.write_all(get(NAME, "/events", "").as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert_eq!(chunk(&mut client).unwrap().unwrap(), b"data: 1\n", "before the second is sent");
    go.send(()).unwrap();
    assert_eq!(chunk(&mut client).unwrap().unwrap(), b"data: 2\n");
    assert_eq!(chunk(&mut client).unwrap(), None);
}

#[test]
fn an_origin_that_dies_in_mid_body_is_no_clean_end() {
    let origin = Target::new("127.0.0.1:0", |mut conn| {
        let path = conn.request().unwrap_or_default();
        if path.contains("/chunked") {
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        } else {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
        }
        thread::sleep(Duration::from_millis(100));
        conn.reset();
    });
    let gateway = with_origin(&format!("http://{}", origin.address), &[]);
    for path in ["/chunked", "/length"] {
        let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
        let answer = ask(&mut client, get(NAME, path, ""));
        assert!(!answer.whole, "{path}: {answer:?}");
        let failed = outcome(&mut curl(&gateway, &["--http2", &format!("https://{NAME}{path}")]));
        assert!(!failed.status.success(), "{path} over h2");
    }
    let flow = gateway.wait_flow(|flow| flow["outcome"] == "response_incomplete");
    assert_eq!(flow["status"], 200);
}

#[test]
fn a_client_that_waits_for_100_gets_it_and_its_body_goes_on() {
    let origin = Target::http(|request| ok(request.rsplit("\r\n\r\n").next().unwrap()));
    let gateway = with_origin(&format!("http://{}", origin.address), &[]);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    let head = format!("POST / HTTP/1.1\r\nHost: {NAME}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 25];
    client.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").unwrap();
    let answer = answer(&mut client);
    assert_eq!((answer.status, answer.body.as_str()), (200, "body"));
    assert!(!origin.seen().requests[0].to_ascii_lowercase().contains("expect"), "that was for us");
}

#[test]
fn old_and_new_tls_are_spoken_and_post_quantum_is_preferred() {
    let origin = Target::http(|_| ok("hi"));
    let gateway = with_origin(&format!("http://{}", origin.address), &[]);
    let address = gateway.address("inbound_tls").to_string();
    let session = |arguments: &[&str]| {
        let mut openssl = tool("openssl");
        openssl
            .args(["s_client", "-connect", &address, "-servername", NAME, "-CAfile"])
            .arg(gateway.ca())
            .args(arguments);
        let output = outcome(&mut openssl);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(session(&["-tls1_2"]).contains("TLSv1.2"));
    let new = session(&["-tls1_3"]);
    assert!(new.contains("TLSv1.3") && new.contains("Verify return code: 0"), "{new}");
    assert!(!session(&["-tls1_1"]).contains("Verify return code: 0 (ok)\n---\nread"), "TLS 1.1 is over");
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    assert_eq!(ask(&mut client, get(NAME, "/", "")).status, 200);
    let group = client.conn.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn a_session_is_resumed_under_its_own_name_only() {
    let origin = Target::http(|_| ok("hi"));
    let url = format!("http://{}", origin.address);
    let gateway = with_origin(&url, &[]);
    route(&gateway, "other.test", "terminate", &[&url], &[]);
    let (client, address) = (Client::of(&gateway), gateway.address("inbound_tls"));
    let kind = |name: &str| {
        let mut stream = client.connect(address, name);
        // The tickets come with the first answer.
        assert_eq!(ask(&mut stream, get(name, "/", "")).status, 200);
        stream.conn.handshake_kind().unwrap()
    };
    assert_eq!(kind(NAME), rustls::HandshakeKind::Full);
    assert_eq!(kind(NAME), rustls::HandshakeKind::Resumed);
    assert_eq!(kind("other.test"), rustls::HandshakeKind::Full);
    // A ticket of one name, shown under another: OpenSSL takes what it is told to.
    let directory = tempfile::tempdir().unwrap();
    let ticket = directory.path().join("ticket");
    let s_client = |name: &str, flag: &str| {
        let mut openssl = tool("openssl");
        openssl.args(["s_client", "-tls1_2", "-connect", &address.to_string(), "-servername", name, flag]).arg(&ticket);
        String::from_utf8_lossy(&outcome(&mut openssl).stdout).into_owned()
    };
    s_client(NAME, "-sess_out");
    assert!(s_client(NAME, "-sess_in").contains("Reused, "));
    assert!(s_client("other.test", "-sess_in").contains("New, "));
}

#[test]
fn a_client_that_leaves_a_silent_response_is_seen_over_h2() {
    let origin = Target::new("127.0.0.1:0", |mut conn| {
        conn.head();
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        // Says nothing more, until it is left.
        conn.head();
    });
    let gateway = with_origin(&format!("http://{}", origin.address), &[]);
    let left = curl(&gateway, &["--http2", "-m", "1", &format!("https://{NAME}/events")]).output().unwrap();
    assert_eq!(left.status.code(), Some(28), "{left:?}");
    gateway.wait_flow(|flow| flow["outcome"] == "reset_by_client" && flow["status"] == 200);
}

#[test]
fn a_connection_on_which_a_body_is_still_going_up_serves_nobody_else() {
    let origin = Target::new("127.0.0.1:0", |mut conn| {
        while conn.head().is_some() {
            conn.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let gateway = with_origin(&format!("http://{}", origin.address), &[]);
    let mut stranger = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    let post = format!("POST /a HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 1000\r\n\r\nten bytes.");
    assert_eq!(ask(&mut stranger, post).status, 401);
    let mut client = Client::of(&gateway).connect(gateway.address("inbound_tls"), NAME);
    assert_eq!(ask(&mut client, get(NAME, "/b", "")).status, 401);
    drop(stranger);
    assert_eq!(origin.seen().peers.len(), 2);
}

#[test]
fn an_answer_of_our_own_reaches_a_client_that_sends_a_body_over_h2() {
    // Held, so that nobody else listens there meanwhile.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    held.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let closed = held.local_addr().unwrap().as_socket().unwrap();
    let gateway = with_origin(&format!("http://{closed}"), &["--max-body", "100"]);
    let post = |body: &str, status: &str| {
        for _ in 0..10 {
            let url = format!("https://{NAME}/");
            let said =
                run(&mut curl(&gateway, &["--http2", "-d", body, "-o", "/dev/null", "-w", "%{http_code}", &url]));
            assert_eq!(said, status);
        }
    };
    post("1234567", "502");
    post(&"7".repeat(200), "413");
    gateway.cli(&["route", "set", NAME, "--deny-client", "127.0.0.1"]);
    post("1234567", "403");
    // Whoever runs the route finds the refusal in its log, and what would be met now.
    let flow = gateway.wait_flow(|flow| flow["outcome"] == "client_denied");
    assert_eq!((flow["account"].as_str(), flow["route"].as_str()), (Some("default"), Some(NAME)));
    let why = gateway.cli(&["why", flow["id"].as_str().unwrap()]);
    assert!(why.contains(&format!("asked again now, a client that asks for {NAME}")), "{why}");
    assert!(why.contains("would now be refused, client_denied"), "{why}");
}

#[test]
fn an_answer_that_comes_half_way_through_a_long_body_reaches_the_client() {
    let origin = Target::new("127.0.0.1:0", |mut conn| {
        if conn.head().is_some_and(|head| head.starts_with("POST /full ")) {
            conn.send("HTTP/1.1 507 Insufficient Storage\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfull");
        }
        // Takes in the rest, as a server does that wants its answer read.
        conn.head();
    });
    let gateway = with_origin(&format!("http://{}", origin.address), &["--max-body", "300000"]);
    route(&gateway, "open.test", "terminate", &[&format!("http://{}", origin.address)], &[]);
    let mut body = tempfile::NamedTempFile::new().unwrap();
    body.write_all(&noise(2 << 20)).unwrap();
    let body = format!("@{}", body.path().display());
    let to = format!("open.test:443:{}", gateway.address("inbound_tls"));
    let said = ["-o", "/dev/null", "-w", "%{http_code}", "--connect-to", &to, "--data-binary", &body];
    for version in ["--http1.1", "--http2"] {
        for framing in ["Content-Length: 2097152", "Transfer-Encoding: chunked"] {
            for (url, status) in [("https://app.test/", "413"), ("https://open.test/full", "507")] {
                for _ in 0..5 {
                    let mut upload = curl(&gateway, &said);
                    // Some versions of curl, once they have the answer, end the rest of the stream badly by themselves.
                    let ended = outcome(upload.args([version, "-m", "5", "-H", framing, url]));
                    assert_eq!(String::from_utf8_lossy(&ended.stdout), status, "{version} {framing} {url}");
                }
            }
        }
    }
}

#[test]
fn a_client_that_speaks_http_1_0_alone_is_served() {
    let origin = Target::http(|_| crate::target::ok("hi"));
    let gateway = with_origin(&format!("http://{}", origin.address), &[]);
    let said = run(&mut curl(&gateway, &["--http1.0", &format!("https://{NAME}/")]));
    assert_eq!(said, "hi");
}
