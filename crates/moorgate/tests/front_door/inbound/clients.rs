//! Real clients and real origins: gRPC, Python's ssl, nginx behind both modes, PostgreSQL's direct TLS passed through.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Child, Stdio},
};

use super::support::{Uploaded, route};
use crate::{
    gateway::{Gateway, eventually},
    tools::{clean, python, run, tool},
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
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
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
