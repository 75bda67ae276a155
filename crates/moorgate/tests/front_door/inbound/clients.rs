//! Real clients and real origins: gRPC, Python's ssl, nginx behind both modes, Node, Chromium, OpenSSL, sslscan, and
//! PostgreSQL's direct TLS passed through.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Stdio},
    sync::Arc,
};

use moorgate_keys::LocalCa;
use test_ports::Port;
use test_postgres::Postgres;
use tokio_rustls::TlsAcceptor;

use super::support::{Client, TlsOrigin, Uploaded, route};
use crate::{
    gateway::{Gateway, eventually},
    site::tls,
    target::{Target, ok},
    tools::{clean, node, python, run, run_with, tool},
};

/// A server of the test's own, ended with it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn grpc_goes_through_with_its_trailers_and_both_streams() {
    let gateway = Gateway::start();
    let mut server = python("use_grpc.py");
    let mut server = Server(server.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    route(&gateway, "grpc.test", "terminate", &[&format!("http://127.0.0.1:{}", port.trim())], &[]);
    let address = gateway.address("inbound_tls").to_string();
    let said = run(python("use_grpc.py").args(["call", &address, "grpc.test"]).arg(gateway.ca()));
    assert_eq!(said.trim(), "ok");
    let flow = gateway.wait_flow(|flow| flow["route"] == "grpc.test" && flow["bytes_up"].as_u64() > Some(400_000));
    assert_eq!((flow["alpn"].as_str(), flow["status"].as_u64()), (Some("h2"), Some(200)));
}

#[test]
fn pythons_own_tls_verifies_and_reads_what_the_app_said() {
    let site = crate::site::Site::start();
    let gateway = Gateway::start();
    route(&gateway, "app.test", "terminate", &[&site.http()], &[]);
    let program = "import socket, ssl, sys\n\
        context = ssl.create_default_context(cafile=sys.argv[2])\n\
        host, port = sys.argv[1].rsplit(':', 1)\n\
        with socket.create_connection((host, int(port))) as tcp:\n\
        \x20   with context.wrap_socket(tcp, server_hostname='app.test') as tls:\n\
        \x20       tls.sendall(b'GET /hello HTTP/1.1\\r\\nHost: app.test\\r\\nConnection: close\\r\\n\\r\\n')\n\
        \x20       data = b''\n\
        \x20       while piece := tls.recv(4096): data += piece\n\
        \x20       print(tls.version(), data.split(b'\\r\\n\\r\\n', 1)[1].decode().strip())\n";
    let mut client = tool("python3");
    client.args(["-c", program, &gateway.address("inbound_tls").to_string()]).arg(gateway.ca());
    assert_eq!(run(&mut client).trim(), format!("TLSv1.3 {}", crate::site::HELLO.trim()));
}

#[test]
fn nginx_keeps_its_own_key_behind_passthrough_and_is_verified_behind_terminate() {
    let gateway = Gateway::start();
    let directory = tempfile::tempdir().unwrap();
    let own = Uploaded::for_names(&["bank.test", "127.0.0.1"]);
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, own.ca.cert_pem()).unwrap();
    let kept = Port::keep();
    let port = kept.number();
    let at = directory.path().display();
    let config = format!(
        "pid {at}/pid; error_log {at}/error.log; daemon off; master_process off; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {}; ssl_certificate_key {};\n\
         location / {{ add_header X-For \"$http_x_forwarded_for\"; return 200 \"nginx $server_protocol $ssl_server_name\"; }} }} }}\n",
        own.chain().display(),
        own.key().display(),
    );
    fs::write(directory.path().join("nginx.conf"), config).unwrap();
    let mut nginx = clean("nginx");
    nginx.arg("-c").arg(directory.path().join("nginx.conf")).arg("-e").arg(directory.path().join("error.log"));
    let _nginx = Server(nginx.spawn().expect("nginx is not installed: run `cargo xtask test`, which installs it"));
    eventually("nginx", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let inbound = gateway.address("inbound_tls");
    let curl = |name: &str, ca: &std::path::Path, arguments: &[&str]| {
        let mut curl = tool("curl");
        curl.args(["-sS", "--connect-to", &format!("{name}:443:{inbound}"), "--cacert"]).arg(ca);
        run(curl.args(arguments).arg(format!("https://{name}/")))
    };
    route(&gateway, "bank.test", "passthrough", &[&format!("tls://127.0.0.1:{port}")], &[]);
    assert_eq!(curl("bank.test", &ca, &["--http2"]), "nginx HTTP/2.0 bank.test", "TLS is nginx's own");
    let flags = ["--origin-ca", ca.to_str().unwrap()];
    route(&gateway, "app.test", "terminate", &[&format!("https://127.0.0.1:{port}")], &flags);
    let said = curl("app.test", &gateway.ca(), &["--http2", "-i"]);
    assert!(said.contains("nginx HTTP/1.1") && said.to_ascii_lowercase().contains("x-for: 127.0.0.1"), "{said}");
}

/// Debian's PostgreSQL speaks TLS only after a question in the clear; direct TLS came with version 17. So both ends get it
/// from a relay of the test's, with the protocol's own ALPN: between them is what a version 17 would send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresqls_direct_tls_goes_by_unread_to_a_server_with_its_own_key() {
    let postgres = Postgres::start();
    let ca = LocalCa::create("the database's own CA").unwrap();
    let mut config = rustls::ServerConfig::clone(&tls(&ca, &["db.test"]));
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let to = postgres.port();
    let server = relay(move |client| {
        let acceptor = acceptor.clone();
        async move {
            let mut client = acceptor.accept(client).await?;
            let mut server = tokio::net::TcpStream::connect(("127.0.0.1", to)).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        }
    })
    .await;
    let gateway = Gateway::start();
    route(&gateway, "db.test", "passthrough", &[&format!("tls://127.0.0.1:{server}")], &[]);
    let (client, at) =
        (Client::trusting(ca.cert_pem().as_bytes()).alpn(&["postgresql"]), gateway.address("inbound_tls"));
    let local = relay(move |mut program| {
        let client = client.clone();
        async move {
            let mut wire = client.wire(at, "db.test").await;
            tokio::io::copy_bidirectional(&mut program, &mut wire.stream).await
        }
    })
    .await;
    let ask = |query: &str| {
        let mut psql = tool("psql");
        let url = format!("postgresql://postgres@127.0.0.1:{local}/postgres?sslmode=disable");
        run(psql.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", query, &url]))
    };
    let said = tokio::task::block_in_place(|| {
        ask("CREATE TABLE kept AS SELECT n, repeat('x', 1000) AS text FROM generate_series(1, 5000) AS n");
        assert_eq!(ask("SELECT text FROM kept").len(), 5_000 * 1_001);
        ask("SELECT count(*), sum(length(text)) FROM kept")
    });
    assert_eq!(said.trim(), "5000|5000000");
    let flow = gateway.wait_flow(|flow| flow["route"] == "db.test" && flow["bytes_down"].as_u64() > Some(5_000_000));
    assert_eq!((flow["alpn"].as_str(), flow["mode"].as_str()), (Some("postgresql"), Some("passthrough")));
    assert_eq!(flow["exposure"]["gateway"]["body"], false);
}

/// Serves each connection to a port of its own.
async fn relay<F>(serve: impl Fn(tokio::net::TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = std::io::Result<(u64, u64)>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // How it ends is seen by the program at its end.
            tokio::spawn(serve(stream));
        }
    });
    port
}

#[test]
fn openssl_sees_the_origins_own_key_behind_passthrough() {
    let gateway = Gateway::start();
    let origin = TlsOrigin::start(&["bank.test"], |mut stream| {
        let mut line = [0; 7];
        if stream.read_exact(&mut line).is_ok() && stream.write_all(&line).is_ok() {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    route(&gateway, "bank.test", "passthrough", &[&format!("tls://{}", origin.address)], &[]);
    let ca = tempfile::NamedTempFile::new().unwrap();
    fs::write(ca.path(), origin.ca.cert_pem()).unwrap();
    for flags in [&["-tls1_3"][..], &["-tls1_2"], &["-tls1_3", "-alpn", "http/1.1"]] {
        let mut openssl = tool("openssl");
        openssl.args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", "bank.test", "-CAfile"]);
        openssl.arg(ca.path()).args(["-servername", "bank.test", "-connect"]);
        let output = run_with(openssl.arg(gateway.address("inbound_tls").to_string()).args(flags), "echoed\n");
        assert_eq!(output, "echoed\n", "{flags:?}");
    }
    assert_eq!(origin.accepted(), 3);
}

/// The app that browsers meet, in Node.
fn app() -> (Server, String) {
    let mut app = node("app.mjs");
    let mut app = Server(app.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut port = String::new();
    BufReader::new(app.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    (app, format!("http://127.0.0.1:{}", port.trim()))
}

#[test]
fn nodes_https_http2_and_websocket_reach_the_app() {
    let (gateway, (_app, url)) = (Gateway::start(), app());
    route(&gateway, "app.test", "terminate", &[&url], &[]);
    let port = gateway.address("inbound_tls").port().to_string();
    let mut client = node("use_app.mjs");
    let said = run(client.args(["app.test", &port]).env("NODE_EXTRA_CA_CERTS", gateway.ca()));
    let digest = crate::site::digest(&[b'u'; 1_000_000]);
    let hello = "hello over https";
    assert_eq!(
        said,
        format!("1.1 200 {hello}\n1.1 200 {hello}\n2 200 {hello}\n2 200 {digest}\nover the socket true\n")
    );
    gateway.wait_flow(|flow| flow["status"] == 101 && flow["outcome"] == "ok");
}

#[test]
fn chromium_loads_the_app_over_h2_and_keeps_a_websocket_to_it() {
    let (gateway, (_app, url)) = (Gateway::start(), app());
    route(&gateway, "app.test", "terminate", &[&url], &[]);
    let port = gateway.address("inbound_tls").port().to_string();
    let said = run(node("use_chromium.mjs").args(["app.test", &port]).arg(gateway.ca()));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let expected = serde_json::json!({
        "page": "h2",
        "hello": [200, "hello over https"],
        "upload": crate::site::digest(&[b'u'; 1_000_000]),
        "together": 20,
        "event": "first",
        "socket": [true, true],
        "closed": true,
    });
    assert_eq!(said, expected);
    let flow = gateway.wait_flow(|flow| flow["status"] == 101);
    assert_eq!(flow["alpn"], "http/1.1", "{flow}");
}

/// Protocols, ciphers, groups and the old holes, as sslscan sees them. A change here changes what clients can do.
#[test]
fn sslscan_finds_what_is_written_down_and_nothing_old() {
    let gateway = Gateway::start();
    let origin = Target::http(|_| ok("hi"));
    route(&gateway, "app.test", "terminate", &[&format!("http://{}", origin.address)], &[]);
    let mut sslscan = tool("sslscan");
    sslscan.args(["--no-colour", "--no-check-certificate", "--sni-name=app.test"]);
    let said = run(sslscan.arg(gateway.address("inbound_tls").to_string()));
    let (_, found) = said.split_once("  SSL/TLS Protocols:\n").unwrap_or_else(|| panic!("{said}"));
    // Debian's sslscan can't compress, so it finds out nothing of that; TLS 1.3 has none, and our TLS library neither.
    let sections = found.split("\n\n").filter(|section| !section.trim_start().starts_with("TLS Compression:"));
    let sections: Vec<&str> = sections.map(str::trim_end).collect();
    assert_eq!(sections.join("\n\n").trim_end(), include_str!("sslscan.txt").trim_end(), "{said}");
}
