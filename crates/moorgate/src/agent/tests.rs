use moorgate_keys::LocalCa;
use moorgate_tls::{CertSource, Terminator, TlsStream, TrustRoots};
use moorgate_wire::{
    basic,
    http1::{HeadStep, Target, parse_request},
    socks5::{Reply, Server, Step, encode_reply},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{error::UrlError, *};

const USERNAME: &str = "mg_user";
const PASSWORD: &str = "secret";

/// A gateway's TLS listener that knows three destinations: `echo.test` repeats what it gets, `origin.test` answers a
/// request with its head, and everything else is refused.
struct FakeGateway {
    address: SocketAddr,
    directory: TempDir,
}

impl FakeGateway {
    async fn start(via: Via) -> Self {
        let ca = LocalCa::create("Test CA").unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), ca.cert_pem()).unwrap();
        let chain = ca.issue(&["localhost".parse().unwrap()]).unwrap();
        let terminator = Terminator::new(CertSource::new(&chain).unwrap(), &[b"http/1.1"]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let terminator = terminator.clone();
                tokio::spawn(async move {
                    let Ok(stream) = terminator.accept(stream).await else { return };
                    if via.is_socks() { socks_gateway(stream).await } else { http_gateway(stream).await }
                });
            }
        });
        Self { address, directory }
    }

    fn ca(&self) -> TrustRoots {
        TrustRoots::Pem(self.directory.path().join("ca.pem"))
    }

    /// An agent in front of it; returns its proxy port and the ports of `maps`.
    async fn agent(&self, via: Via, roots: TrustRoots, password: &str, maps: &[&str]) -> Vec<SocketAddr> {
        self.start_agent(via, roots, password, maps).1
    }

    fn start_agent(&self, via: Via, roots: TrustRoots, password: &str, maps: &[&str]) -> (Arc<Agent>, Vec<SocketAddr>) {
        let gateway = Gateway {
            via,
            address: format!("localhost:{}", self.address.port()).parse_host_port(),
            username: USERNAME.into(),
            password: basic::Secret::new(password.into()),
            roots,
        };
        let agent = Agent::new(gateway).unwrap();
        let mut ports = Ports::open(&AgentArgs {
            via,
            listen: Some("127.0.0.1:0".parse().unwrap()),
            maps: maps.iter().map(|map| Map::parse(map).unwrap()).collect(),
            command: vec!["true".into()],
        })
        .unwrap();
        ports.quiet = true;
        let addresses = ports.all.iter().map(|(listener, _)| listener.local_addr().unwrap()).collect();
        ports.start(&agent).unwrap();
        (agent, addresses)
    }
}

trait ParseHostPort {
    fn parse_host_port(&self) -> HostPort;
}

impl ParseHostPort for String {
    fn parse_host_port(&self) -> HostPort {
        HostPort::parse(self).unwrap()
    }
}

const DENIED: &str = "moorgate: policy_denied: denied by policy rule 3 of account acme\n";

async fn http_gateway(mut stream: TlsStream) {
    let mut buf = Vec::new();
    loop {
        let (consumed, head) = match parse_request(&buf) {
            HeadStep::Head { consumed, head } => (consumed, head),
            HeadStep::NeedMore if stream.read_buf(&mut buf).await.unwrap_or(0) > 0 => continue,
            HeadStep::NeedMore => return stream.shutdown().await.unwrap(),
            HeadStep::Malformed(_) | HeadStep::TooLong => {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap();
                return stream.shutdown().await.unwrap();
            }
        };
        let given = head.headers.get("proxy-authorization").and_then(basic::parse);
        if given.is_none_or(|given| given.username != USERNAME || given.password.as_str() != PASSWORD) {
            let answer =
                b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            return stream.shutdown().await.unwrap();
        }
        let shown = buf[..consumed].to_vec();
        buf.drain(..consumed);
        match &head.target {
            Target::Authority(asked) if asked.text() == "echo.test:7" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhi!").await.unwrap();
                return echo(stream, buf).await;
            }
            Target::Absolute { asked, .. } if asked.text() == "origin.test:80" => {
                stream
                    .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", shown.len()).as_bytes())
                    .await
                    .unwrap();
                stream.write_all(&shown).await.unwrap();
                stream.flush().await.unwrap();
            }
            _ => {
                let answer = format!(
                    "HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\nproxy-status: moorgate; error=http_request_denied; \
                     details=\"x\"; code=\"policy_denied\"\r\nconnection: close\r\n\r\n{DENIED}",
                    DENIED.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                return stream.shutdown().await.unwrap();
            }
        }
    }
}

async fn socks_gateway(mut stream: TlsStream) {
    let (mut server, mut buf) = (Server::new(), Vec::new());
    let unknown = "0.0.0.0:0".parse().unwrap();
    loop {
        match server.feed(&buf) {
            Step::NeedMore => assert_ne!(stream.read_buf(&mut buf).await.unwrap(), 0),
            Step::Send { consumed, bytes } => {
                buf.drain(..consumed);
                stream.write_all(&bytes).await.unwrap();
                stream.flush().await.unwrap();
            }
            Step::Authenticate { consumed, username, password } => {
                buf.drain(..consumed);
                let ok = *username == *USERNAME.as_bytes() && *password == *PASSWORD.as_bytes();
                stream.write_all(&Server::auth_reply(ok)).await.unwrap();
                stream.flush().await.unwrap();
                if !ok {
                    return;
                }
            }
            Step::Request { consumed, asked, .. } => {
                buf.drain(..consumed);
                let known = matches!(asked.text(), "echo.test:7" | "origin.test:80");
                let reply = if known { Reply::Succeeded } else { Reply::ConnectionRefused };
                stream.write_all(&encode_reply(reply, unknown)).await.unwrap();
                stream.flush().await.unwrap();
                match asked.text() {
                    "echo.test:7" => {
                        stream.write_all(b"hi!").await.unwrap();
                        return echo(stream, buf).await;
                    }
                    "origin.test:80" => return http_origin(stream, buf).await,
                    _ => return stream.shutdown().await.unwrap(),
                }
            }
            odd => panic!("{odd:?}"),
        }
    }
}

async fn echo(mut stream: TlsStream, mut buf: Vec<u8>) {
    loop {
        stream.write_all(&buf).await.unwrap();
        stream.flush().await.unwrap();
        buf.clear();
        match stream.read_buf(&mut buf).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    // Said after the client's end: it must still get there.
    stream.write_all(b"bye").await.unwrap();
    stream.shutdown().await.unwrap();
}

async fn http_origin(mut stream: TlsStream, mut buf: Vec<u8>) {
    while !buf.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut buf).await.unwrap(), 0);
    }
    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", buf.len()).as_bytes()).await.unwrap();
    stream.write_all(&buf).await.unwrap();
    stream.shutdown().await.unwrap();
}

/// Sends `first`, and once `expected` has come, `then` and the end; returns all that came.
async fn talk(agent: SocketAddr, first: &[u8], expected: &[u8], then: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(agent).await.unwrap();
    client.write_all(first).await.unwrap();
    let mut got = Vec::new();
    while got.len() < expected.len() && client.read_buf(&mut got).await.unwrap() > 0 {}
    assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
    client.write_all(then).await.unwrap();
    client.shutdown().await.unwrap();
    client.read_to_end(&mut got).await.unwrap();
    got.split_off(expected.len())
}

/// Sends `request` and returns the whole answer.
async fn ask(agent: SocketAddr, request: &[u8]) -> String {
    let mut client = TcpStream::connect(agent).await.unwrap();
    client.write_all(request).await.unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    String::from_utf8_lossy(&got).into_owned()
}

fn socks(target: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0, 5, 1, 0, 3, u8::try_from(target.len()).unwrap()];
    bytes.extend(target.bytes());
    bytes.extend(port.to_be_bytes());
    bytes
}

const SOCKS_OK: &[u8] = &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

/// Bytes sent together with the request are not lost, both ends keep their half, and the end is an end.
async fn check_tunnels(via: Via, connected: &str) {
    let gateway = FakeGateway::start(via).await;
    let ports = gateway.agent(via, gateway.ca(), PASSWORD, &["0=echo.test:7"]).await;
    let [proxy, map] = ports[..] else { panic!("{ports:?}") };

    let connect = b"CONNECT echo.test:7 HTTP/1.1\r\nHost: echo.test:7\r\n\r\nearly ";
    let expected = format!("{connected}hi!early ");
    assert_eq!(talk(proxy, connect, expected.as_bytes(), b"late").await, b"latebye");

    let mut request = socks("echo.test", 7);
    request.extend(b"early ");
    let expected = [SOCKS_OK, b"hi!early "].concat();
    assert_eq!(talk(proxy, &request, &expected, b"late").await, b"latebye");

    assert_eq!(talk(map, b"early ", b"hi!early ", b"late").await, b"latebye");
}

#[tokio::test]
async fn shield_tunnels_connect_socks_and_maps() {
    check_tunnels(Via::Shield, "HTTP/1.1 200 OK\r\n\r\n").await;
}

#[tokio::test]
async fn shield_socks_tunnels_connect_socks_and_maps() {
    check_tunnels(Via::ShieldSocks, "HTTP/1.1 200 Connection established\r\n\r\n").await;
}

#[tokio::test]
async fn a_plain_request_reaches_the_origin_either_way() {
    let get = b"GET http://origin.test/path HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n";
    let gateway = FakeGateway::start(Via::ShieldSocks).await;
    let [proxy] = gateway.agent(Via::ShieldSocks, gateway.ca(), PASSWORD, &[]).await[..] else { panic!() };
    let answer = ask(proxy, get).await;
    assert!(answer.ends_with("GET /path HTTP/1.1\r\nhost: origin.test\r\nconnection: close\r\n\r\n"), "{answer}");

    let gateway = FakeGateway::start(Via::Shield).await;
    let [proxy] = gateway.agent(Via::Shield, gateway.ca(), PASSWORD, &[]).await[..] else { panic!() };
    let twice = b"GET http://origin.test/a HTTP/1.1\r\nHost: origin.test\r\n\r\nGET http://origin.test/b HTTP/1.1\r\nHost: origin.test\r\n\r\n";
    let mut client = TcpStream::connect(proxy).await.unwrap();
    client.write_all(twice).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert!(
        answers.contains("GET http://origin.test:80/a ") && answers.contains("GET http://origin.test:80/b "),
        "{answers}"
    );
    assert_eq!(answers.matches("proxy-authorization: Basic ").count(), 2);
}

#[tokio::test]
async fn the_gateways_refusals_reach_the_client() {
    let connect = b"CONNECT denied.test:443 HTTP/1.1\r\nHost: denied.test:443\r\n\r\n";
    let gateway = FakeGateway::start(Via::Shield).await;
    let [proxy] = gateway.agent(Via::Shield, gateway.ca(), PASSWORD, &[]).await[..] else { panic!() };
    let answer = ask(proxy, connect).await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n") && answer.ends_with(DENIED), "{answer}");
    // Its code says which reply that is.
    assert_eq!(ask(proxy, &socks("denied.test", 443)).await.as_bytes(), [5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
    // What is malformed is the gateway's to refuse.
    assert!(ask(proxy, b"GET  / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    // A wrong password is said as it is.
    let [proxy] = gateway.agent(Via::Shield, gateway.ca(), "wrong", &[]).await[..] else { panic!() };
    assert!(ask(proxy, connect).await.starts_with("HTTP/1.1 407 "));

    let gateway = FakeGateway::start(Via::ShieldSocks).await;
    let [proxy] = gateway.agent(Via::ShieldSocks, gateway.ca(), PASSWORD, &[]).await[..] else { panic!() };
    assert_eq!(ask(proxy, &socks("denied.test", 443)).await.as_bytes(), [5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
    let answer = ask(proxy, connect).await;
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("connection refused by the destination"),
        "{answer}"
    );
    let [proxy] = gateway.agent(Via::ShieldSocks, gateway.ca(), "wrong", &[]).await[..] else { panic!() };
    assert!(ask(proxy, connect).await.contains("refused the username and password"));
}

#[tokio::test]
async fn a_gateway_that_cannot_prove_itself_gets_no_credential() {
    let (gateway, stranger) = (FakeGateway::start(Via::Shield).await, FakeGateway::start(Via::Shield).await);
    for via in [Via::Shield, Via::ShieldSocks] {
        let [proxy] = gateway.agent(via, stranger.ca(), PASSWORD, &[]).await[..] else { panic!() };
        let answer = ask(proxy, b"CONNECT echo.test:7 HTTP/1.1\r\nHost: echo.test:7\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("MOORGATE_CA"), "{answer}");
    }
}

#[tokio::test]
async fn a_mapped_port_resets_when_its_target_is_refused() {
    let gateway = FakeGateway::start(Via::Shield).await;
    let ports = gateway.agent(Via::Shield, gateway.ca(), PASSWORD, &["0=denied.test:5432"]).await;
    let mut client = TcpStream::connect(ports[1]).await.unwrap();
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn socks_clients_that_ask_for_something_else_are_answered() {
    let gateway = FakeGateway::start(Via::Shield).await;
    let [proxy] = gateway.agent(Via::Shield, gateway.ca(), PASSWORD, &[]).await[..] else { panic!() };
    let bind = [5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 80];
    assert_eq!(ask(proxy, &bind).await.as_bytes(), [5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0]);
    let odd_type = [5, 1, 0, 5, 1, 0, 9];
    assert_eq!(ask(proxy, &odd_type).await.as_bytes(), [5, 0, 5, 8, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ask(proxy, &socks("127.1", 80)).await.as_bytes(), [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    let mut client = TcpStream::connect(proxy).await.unwrap();
    client.write_all(&[5, 1, 2]).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [5, 0xff]);
}

/// The gateway that these variables and this `default.env` name, or the error as people see it.
fn find(via: Via, variables: &[(&str, &str)], default_env: Option<&str>) -> Result<Gateway, String> {
    let directory = tempfile::tempdir().unwrap();
    if let Some(text) = default_env {
        std::fs::write(directory.path().join("default.env"), text).unwrap();
    }
    let env = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    Gateway::find(via, Some(directory.path().into()), &env).map_err(|error| error.to_string())
}

#[test]
fn the_gateway_comes_from_the_environment_else_from_default_env() {
    let file = "MOORGATE_STATIC_URL=http://a:b@127.0.0.1:9293\nMOORGATE_SHIELD_URL='https://a:b@localhost:9294'\n\
                MOORGATE_SHIELD_SOCKS_URL=socks5s://a:b@localhost:1081\nMOORGATE_CA=\"/data/ca.pem\"\n";
    let from_file = find(Via::ShieldSocks, &[], Some(file)).unwrap();
    assert_eq!(
        (from_file.address.to_string(), from_file.roots),
        ("localhost:1081".into(), TrustRoots::Pem("/data/ca.pem".into()))
    );
    assert_eq!(find(Via::Shield, &[], Some(file)).unwrap().address.to_string(), "localhost:9294");
    assert_eq!(find(Via::Static, &[], Some(file)).unwrap().address.to_string(), "127.0.0.1:9293");

    let url = ("MOORGATE_SHIELD_URL", "https://us%65r:p%40ss@proxy.example.com:9294/");
    let from_env = find(Via::Shield, &[url], Some(file)).unwrap();
    assert_eq!((&*from_env.username, from_env.password.as_str()), ("user", "p@ss"));
    // Another gateway's CA proves nothing about this one.
    assert_eq!(from_env.roots, TrustRoots::System);
    assert!(!format!("{from_env:?}{from_env}").contains("p@ss"));
}

#[test]
fn without_a_gateway_the_agent_says_what_to_set() {
    let error = find(Via::Shield, &[], None).unwrap_err();
    assert!(error.contains("MOORGATE_SHIELD_URL is not set") && error.contains("default.env"), "{error}");
}

#[test]
fn a_wrong_url_is_said_without_its_password() {
    for (url, why) in [
        ("http://u:secret@h:1", UrlError::Scheme),
        ("secret", UrlError::Scheme),
        ("https://secret@h:1", UrlError::NoCredential),
        ("https://h:1", UrlError::NoCredential),
        ("https://u:secret%4@h:1", UrlError::Encoding),
        ("https://u:secret@127.1:1", UrlError::Host(HostPort::parse("127.1:1").unwrap_err())),
        ("https://u:secret@h", UrlError::Host(HostPort::parse("h").unwrap_err())),
    ] {
        let error = find(Via::Shield, &[("MOORGATE_SHIELD_URL", url)], None).unwrap_err();
        assert!(error.ends_with(&why.to_string()) && !error.contains("secret"), "{url}: {error}");
    }
}

#[test]
fn a_map_is_a_port_and_a_destination() {
    let map = Map::parse("15432=db.example.com:5432").unwrap();
    assert_eq!((map.port, map.target.to_string()), (15432, "db.example.com:5432".into()));
    for wrong in ["15432", "x=db.example.com:5432", "1=db.example.com", "99999=a:1", "1=127.1:5"] {
        assert!(Map::parse(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn what_is_open_at_the_end_finishes_and_nothing_new_is_accepted() {
    let gateway = FakeGateway::start(Via::Shield).await;
    let (agent, ports) = gateway.start_agent(Via::Shield, gateway.ca(), PASSWORD, &["0=echo.test:7"]);
    let mut open = TcpStream::connect(ports[1]).await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'h');
    // Accepted by the kernel only: the agent gets no turn before its end.
    let mut waiting = std::net::TcpStream::connect(ports[1]).unwrap();
    std::io::Write::write_all(&mut waiting, b"just in time").unwrap();
    waiting.shutdown(std::net::Shutdown::Write).unwrap();
    waiting.set_nonblocking(true).unwrap();
    let draining = tokio::spawn(async move { agent.drain(Duration::from_secs(60), Told::listen().unwrap()).await });
    let mut got = String::new();
    TcpStream::from_std(waiting).unwrap().read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "hi!just in timebye");
    assert!(TcpStream::connect(ports[0]).await.is_err() && TcpStream::connect(ports[1]).await.is_err());
    assert!(!draining.is_finished());
    open.write_all(b"late").await.unwrap();
    open.shutdown().await.unwrap();
    got.clear();
    open.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "i!latebye");
    draining.await.unwrap();
}

#[tokio::test]
async fn what_never_finishes_does_not_keep_the_agent() {
    let gateway = FakeGateway::start(Via::Shield).await;
    let (agent, ports) = gateway.start_agent(Via::Shield, gateway.ca(), PASSWORD, &["0=echo.test:7"]);
    let mut open = TcpStream::connect(ports[1]).await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'h');
    agent.drain(Duration::from_millis(50), Told::listen().unwrap()).await;
}

#[tokio::test]
async fn maps_alone_open_no_proxy_port() {
    let args = |listen: Option<&str>, maps: &[&str], command: &[&str]| AgentArgs {
        via: Via::Shield,
        listen: listen.map(|listen| listen.parse().unwrap()),
        maps: maps.iter().map(|map| Map::parse(map).unwrap()).collect(),
        command: command.iter().map(OsString::from).collect(),
    };
    for (args, proxy) in [
        (args(None, &["0=echo.test:7"], &[]), false),
        (args(None, &["0=echo.test:7"], &["true"]), true),
        (args(Some("127.0.0.1:0"), &["0=echo.test:7"], &[]), true),
    ] {
        let ports = Ports::open(&args).unwrap();
        assert_eq!((ports.proxy.is_some(), ports.all.len()), (proxy, usize::from(proxy) + 1), "{args:?}");
    }
}

async fn run_shell(script: &str) -> String {
    let arguments = ["-c".into(), script.into()];
    let code = child::run("/bin/sh".as_ref(), &arguments, "127.0.0.1:4711".parse().unwrap()).await.unwrap();
    format!("{code:?}")
}

#[tokio::test]
async fn the_command_gets_the_proxy_and_its_exit_code_is_passed_on() {
    let exit = |code: u8| format!("{:?}", ExitCode::from(code));
    assert_eq!(run_shell("exit 7").await, exit(7));
    assert_eq!(run_shell("kill -TERM $$").await, exit(128 + 15));
    let all = "for v in \"$HTTP_PROXY\" \"$HTTPS_PROXY\" \"$ALL_PROXY\" \"$http_proxy\" \"$https_proxy\" \"$all_proxy\"; \
               do [ \"$v\" = http://127.0.0.1:4711 ] || exit 1; done";
    assert_eq!(run_shell(all).await, exit(0));
    let missing = child::run("/nowhere/program".as_ref(), &[], "127.0.0.1:1".parse().unwrap()).await.unwrap_err();
    assert_eq!(missing.to_string(), "cannot run \"/nowhere/program\"");
}

#[test]
fn an_address_of_everywhere_is_not_what_the_command_is_told() {
    for (bound, told) in [("0.0.0.0:5", "127.0.0.1:5"), ("[::]:5", "[::1]:5"), ("192.0.2.1:5", "192.0.2.1:5")] {
        assert_eq!(child::reachable(bound.parse().unwrap()), told.parse().unwrap());
    }
}

#[test]
fn a_refusals_line_is_shown_without_its_frame() {
    assert_eq!(&*dial::line_of(DENIED.as_bytes()), "policy_denied: denied by policy rule 3 of account acme");
    assert_eq!(&*dial::line_of(b""), "no reason was given");
}
