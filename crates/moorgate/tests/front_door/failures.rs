//! What clients get when it goes wrong: the table of INTERFACE.md, outbound, row by row. Each row says the same code in
//! the answer, the flow and the metric.

mod exchange;
mod full;
mod h2;
mod strict;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use test_ports::Port;

use crate::{
    dns::Dns,
    gateway::{Gateway, Setup, eventually},
    namespace::Namespace,
    talk::{self, CONNECT, Credential, End, Reply, Said, Talk, authorization, get, socks, socks_host, socks_name},
    target::{Conn, Target, ok},
};

const HTTP: &str = "outbound_http";
const SOCKS: &str = "outbound_socks";

/// What was asked of a gateway, by the client's address: how it must be recorded.
pub(super) struct Expected<'a> {
    gateway: &'a Gateway,
    outcomes: Vec<(SocketAddr, &'static str, &'static str)>,
}

impl<'a> Expected<'a> {
    pub(super) fn of(gateway: &'a Gateway) -> Self {
        Self { gateway, outcomes: Vec::new() }
    }

    pub(super) fn note(&mut self, client: SocketAddr, listener: &'static str, code: &'static str) {
        self.outcomes.push((client, listener, code));
    }

    /// Each conversation is one flow with its code, in the order of each client's, and each code's metric counts its flows.
    pub(super) fn check(&self) {
        let mut wanted: BTreeMap<String, Vec<(&str, &str)>> = BTreeMap::new();
        for (client, listener, code) in &self.outcomes {
            wanted.entry(client.to_string()).or_default().push((listener, code));
        }
        let flows = eventually("every flow", || {
            let flows = self.gateway.flows();
            let ours = |flow: &&Value| wanted.contains_key(flow["client"].as_str().unwrap());
            (flows.iter().filter(ours).count() >= self.outcomes.len()).then_some(flows)
        });
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut recorded: BTreeMap<String, Vec<(&str, &str)>> = BTreeMap::new();
        for flow in &flows {
            let text = |name: &str| flow[name].as_str().unwrap();
            *counts.entry((text("listener"), text("outcome"))).or_default() += 1;
            recorded.entry(text("client").into()).or_default().push((text("listener"), text("outcome")));
        }
        for (client, outcomes) in &wanted {
            assert_eq!(recorded.get(client), Some(outcomes), "flows of {client}");
        }
        for ((listener, outcome), count) in counts {
            let labels = [&*format!("listener=\"{listener}\""), &*format!("outcome=\"{outcome}\"")];
            assert_eq!(talk::metric(self.gateway, "moorgate_flows_total", &labels), count, "{labels:?}");
        }
    }
}

/// A refusal over HTTP says its code in Proxy-Status and in a body of one line, and what else its status asks for.
#[track_caller]
pub(super) fn check_refusal(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{code}: {reply:?}");
    let proxy_status = reply.field("proxy-status").unwrap_or_else(|| panic!("{code} without Proxy-Status: {reply:?}"));
    assert!(proxy_status.starts_with("moorgate; error="), "{proxy_status}");
    assert!(proxy_status.contains(&format!("; code=\"{code}\"")), "{code}: {proxy_status}");
    assert!(reply.body.starts_with(&format!("moorgate: {code}: ")), "{code}: {:?}", reply.body);
    assert!(reply.body.ends_with('\n') && reply.body.lines().count() == 1, "{code}: {:?}", reply.body);
    assert_eq!(
        reply.field("proxy-authenticate").is_some_and(|field| field.starts_with("Basic ")),
        status == 407,
        "{reply:?}"
    );
    let retry_after = reply.field("retry-after").map(|seconds| seconds.parse::<u32>().unwrap());
    assert_eq!(retry_after.is_some(), matches!(status, 429 | 503), "{reply:?}");
}

/// A gateway in a namespace without a way out, with clients inside.
struct Bench {
    gateway: Gateway,
    credential: Credential,
}

impl Bench {
    fn http(&self) -> SocketAddr {
        self.gateway.address(HTTP)
    }

    fn socks(&self) -> SocketAddr {
        self.gateway.address(SOCKS)
    }

    /// One row: the same failure for CONNECT, for a request in absolute form, and over SOCKS.
    #[track_caller]
    fn check(&self, expected: &mut Expected<'_>, target: &str, code: &'static str, status: u16, socks_reply: u8) {
        self.check_as(expected, &self.credential, target, (code, status, socks_reply));
    }

    #[track_caller]
    fn check_as(
        &self,
        expected: &mut Expected<'_>,
        credential: &Credential,
        target: &str,
        (code, status, socks_reply): (&'static str, u16, u8),
    ) {
        for request in [talk::connect(credential, target), get(credential, target, "/", "")] {
            let mut talk = Talk::to(self.http());
            talk.send(&request);
            check_refusal(&talk.reply(), status, code);
            expected.note(talk.local(), HTTP, code);
        }
        let (host, port) = target.rsplit_once(':').unwrap();
        let (mut talk, said) = socks(self.socks(), credential, CONNECT, &socks_host(host), port.parse().unwrap());
        assert_eq!(said, Said::Reply(socks_reply), "{code} over SOCKS");
        assert_eq!(talk.rest(), (Vec::new(), End::Fin), "{code}: a refused SOCKS client is closed in good order");
        expected.note(talk.local(), SOCKS, code);
    }

    /// A failure that only HTTP has a word for.
    #[track_caller]
    fn check_http(&self, expected: &mut Expected<'_>, request: &str, code: &'static str, status: u16) {
        let mut talk = Talk::to(self.http());
        talk.send(request);
        check_refusal(&talk.reply(), status, code);
        expected.note(talk.local(), HTTP, code);
    }

    #[track_caller]
    fn check_socks(&self, expected: &mut Expected<'_>, bytes: &[u8], answer: &[u8], code: &'static str) {
        let mut talk = Talk::to(self.socks());
        talk.send(bytes);
        let (said, end) = talk.rest();
        assert_eq!((&*said, end), (answer, End::Fin), "{code}");
        expected.note(talk.local(), SOCKS, code);
    }
}

/// A listener that never takes another connection: its queue is full, so a SYN is left without an answer.
fn deaf() -> (Socket, Vec<Socket>, SocketAddr) {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting = (0..4)
        .map(|_| {
            let client = socket();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&address);
            client
        })
        .collect();
    (listener, waiting, address.as_socket().unwrap())
}

fn bench(namespace: &Namespace, resolver: SocketAddr) -> Bench {
    let gateway = Setup::default()
        .behind(&namespace.prefix())
        .env("MOORGATE_EGRESS_ADDRESSES", "127.0.0.2,127.0.0.3,10.254.254.254")
        .env("MOORGATE_RESOLVER_SERVERS", resolver.to_string())
        .env("MOORGATE_LIMITS_CONNECT", "1s")
        .env("MOORGATE_LIMITS_HEAD", "1s")
        .env("MOORGATE_LIMITS_RESPONSE", "1s")
        .env("MOORGATE_LIMITS_BODY", "1s")
        .start();
    let credential = gateway.credential();
    Bench { gateway, credential }
}

#[test]
fn every_failure_on_the_way_to_a_target_has_one_code_in_answer_flow_and_metric() {
    let namespace = Namespace::new();
    // An address of the public internet that the kernel refuses to route, beside all those it has no route for.
    namespace.ip("route add unreachable 198.41.0.4/32");
    namespace.enter(|| {
        let dns = Dns::start([127, 0, 0, 1].into(), |question| match question.name {
            "six.test" => Some(vec![IpAddr::V6(Ipv6Addr::LOCALHOST)]),
            "metadata.test" => Some(vec![[169, 254, 169, 254].into()]),
            "far.test" => Some(vec![[192, 203, 230, 10].into()]),
            _ => None,
        });
        let bench = bench(&namespace, dns.address);
        let mut expected = Expected::of(&bench.gateway);
        let own = bench.http().to_string();
        let kept = Port::keep();
        let refusing = kept.address();
        let (_listener, _waiting, deaf) = deaf();
        bench.gateway.cli(&["policy", "set", "default", "--deny", "denied.test", "--deny", "127.0.0.66"]);

        for (target, code, status, reply) in [
            ("denied.test:443", "policy_denied", 403, 0x02),
            ("127.0.0.66:443", "policy_denied", 403, 0x02),
            ("far.test:25", "policy_denied", 403, 0x02),
            ("169.254.169.254:80", "guard_denied", 403, 0x02),
            ("metadata.test:80", "guard_denied", 403, 0x02),
            ("10.0.0.1:80", "guard_denied", 403, 0x02),
            ("127.1:80", "host_not_canonical", 400, 0x01),
            ("0x7f.1:80", "host_not_canonical", 400, 0x01),
            ("nowhere.test:80", "name_not_resolved", 502, 0x04),
            ("six.test:80", "no_address_of_family", 502, 0x04),
            ("[::1]:80", "no_address_of_family", 502, 0x04),
            (&*refusing.to_string(), "connection_refused", 502, 0x05),
            ("far.test:80", "network_unreachable", 502, 0x03),
            ("198.41.0.4:80", "host_unreachable", 502, 0x04),
            (&*deaf.to_string(), "connect_timeout", 504, 0x06),
            (&*own, "loop", 508, 0x02),
        ] {
            bench.check(&mut expected, target, code, status, reply);
        }

        bench.gateway.cli(&["account", "add", "stranded"]);
        bench.gateway.cli(&["account", "set", "stranded", "--egress", "10.254.254.254"]);
        let added = bench.gateway.cli_json(&["credential", "add", "stranded"]);
        let stranded = ["username", "password"].map(|name| added[name].as_str().unwrap().to_owned());
        let [user, password] = stranded;
        let row = ("no_egress_left", 503, 0x01);
        bench.check_as(&mut expected, &(user, password), &refusing.to_string(), row);
        expected.check();
    });
}

#[test]
fn every_source_port_in_use_is_said_as_503_and_not_as_the_targets_fault() {
    let namespace = Namespace::new();
    namespace.sysctl("ipv4/ip_local_port_range", "40000 40063");
    namespace.enter(|| {
        let target = Target::new("127.0.0.1:0", |conn| std::mem::forget(conn.stream));
        let dns = Dns::start([127, 0, 0, 1].into(), |_| None);
        let bench = bench(&namespace, dns.address);
        let mut expected = Expected::of(&bench.gateway);
        // Both egress addresses' ports toward the target, taken by somebody else.
        let taken: Vec<Socket> = (2..=3_u8)
            .flat_map(|last| (0..70).map(move |_| SocketAddr::from(([127, 0, 0, last], 0))))
            .filter_map(|from| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                // A port that bind(2) chose would be taken toward everybody.
                setsockopt(&socket, IpBindAddressNoPort, &true).unwrap();
                socket.bind(&from.into()).unwrap();
                socket.connect(&target.address.into()).is_ok().then_some(socket)
            })
            .collect();
        assert!(taken.len() >= 64, "{}", taken.len());
        // An address whose ports are in use is still there: longer than the gateway needs to look.
        std::thread::sleep(Duration::from_secs(1));
        bench.check(&mut expected, &target.address.to_string(), "ports_exhausted", 503, 0x01);
        expected.check();
    });
}

#[test]
fn credentials_that_are_missing_or_wrong_are_said_in_each_protocols_own_words() {
    let gateway = Gateway::start();
    let bench = Bench { credential: gateway.credential(), gateway };
    let mut expected = Expected::of(&bench.gateway);
    let (user, password) = &bench.credential;
    let target = "echo.moorgate.internal:80";

    for request in [
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"),
        format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n"),
    ] {
        bench.check_http(&mut expected, &request, "credentials_missing", 407);
    }
    bench.check_socks(&mut expected, &[5, 1, 0], &[5, 0xff], "credentials_missing");

    for wrong in
        [(user.clone(), "wrong".to_owned()), ("nobody".to_owned(), password.clone()), (user.clone(), String::new())]
    {
        for request in [talk::connect(&wrong, target), get(&wrong, target, "/", "")] {
            bench.check_http(&mut expected, &request, "credentials_wrong", 407);
        }
        if wrong.1.is_empty() {
            continue;
        }
        let (mut talk, said) = socks(bench.socks(), &wrong, CONNECT, &socks_host("echo.moorgate.internal"), 80);
        assert_eq!(said, Said::AuthFailed);
        assert_eq!(talk.rest(), (Vec::new(), End::Fin));
        expected.note(talk.local(), SOCKS, "credentials_wrong");
    }
    for field in ["Basic !!!", "Bearer abc", "Basic"] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {field}\r\n\r\n");
        bench.check_http(&mut expected, &request, "credentials_wrong", 407);
    }
    expected.check();
}

#[test]
fn what_a_proxy_does_not_do_is_refused_with_what_to_do_instead() {
    let gateway = Gateway::start();
    let bench = Bench { credential: gateway.credential(), gateway };
    let mut expected = Expected::of(&bench.gateway);
    let credential = &bench.credential;
    let authorization = authorization(credential);
    let (user, password) = credential;

    for request in [
        format!("GET https://example.com/ HTTP/1.1\r\nHost: example.com\r\n{authorization}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: example.com\r\n{authorization}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\nHost: example.com\r\n{authorization}\r\n"),
    ] {
        bench.check_http(&mut expected, &request, "not_supported", 400);
    }
    for (command, code) in [(2, "not_supported"), (3, "not_supported"), (9, "not_supported")] {
        let (talk, said) = socks(bench.socks(), credential, command, &socks_host("127.0.0.1"), 80);
        assert_eq!(said, Said::Reply(0x07), "command {command}");
        expected.note(talk.local(), SOCKS, code);
    }
    let (talk, said) = socks(bench.socks(), credential, CONNECT, &[9, 1, 2, 3, 4], 80);
    assert_eq!(said, Said::Reply(0x08));
    expected.note(talk.local(), SOCKS, "address_type_not_supported");
    let (talk, said) = socks(bench.socks(), credential, CONNECT, &socks_name(b"user@127.0.0.1"), 80);
    assert_eq!(said, Said::Reply(0x01));
    expected.note(talk.local(), SOCKS, "host_not_canonical");

    bench.check_socks(&mut expected, b"GET / HTTP/1.1\r\n\r\n", b"", "malformed");
    bench.check_socks(&mut expected, &[4, 1, 0, 80, 127, 0, 0, 1, 0], b"", "malformed");
    let auth =
        [&[5, 1, 2, 1, user.len() as u8], user.as_bytes(), &[password.len() as u8], password.as_bytes()].concat();
    // A version of 4 in the request; a name of no bytes.
    let said = [&[5, 2, 1, 0][..], &[]].concat();
    bench.check_socks(&mut expected, &[&*auth, &[4, 1, 0, 1, 127, 0, 0, 1, 0, 80]].concat(), &said, "malformed");
    expected.check();
}

#[test]
fn heads_and_bodies_that_are_too_slow_or_too_long_are_told_so() {
    let gateway = Setup::default().env("MOORGATE_LIMITS_HEAD", "1s").env("MOORGATE_LIMITS_BODY", "1s").start();
    let bench = Bench { credential: gateway.credential(), gateway };
    let mut expected = Expected::of(&bench.gateway);
    let target = Target::http(|_| ok("ready"));
    let address = target.address.to_string();

    bench.check_http(&mut expected, "GET http://exa", "head_too_slow", 408);
    let mut late = Talk::to(bench.http());
    late.send(get(&bench.credential, &address, "/", ""));
    assert_eq!(late.reply().body, "ready");
    late.send("GET http://exa");
    check_refusal(&late.reply(), 408, "head_too_slow");
    expected.note(late.local(), HTTP, "ok");
    expected.note(late.local(), HTTP, "head_too_slow");
    bench.check_socks(&mut expected, &[5, 1], b"", "head_too_slow");

    let long = format!("X-Long: {}\r\n", "x".repeat(40_000));
    let many: String = (0..101).map(|n| format!("X-{n}: x\r\n")).collect();
    for fields in [long, many] {
        let request = get(&bench.credential, &address, "/", &fields);
        bench.check_http(&mut expected, &request, "head_too_long", 431);
        let mut late = Talk::to(bench.http());
        late.send(get(&bench.credential, &address, "/", ""));
        assert_eq!(late.reply().body, "ready");
        late.send(request);
        check_refusal(&late.reply(), 431, "head_too_long");
        expected.note(late.local(), HTTP, "ok");
        expected.note(late.local(), HTTP, "head_too_long");
    }

    for framing in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
        let request = get(&bench.credential, &address, "/", framing).replacen("GET", "POST", 1) + "5\r\nhe";
        bench.check_http(&mut expected, &request, "body_too_slow", 408);
    }
    expected.check();
    assert_eq!(target.seen().requests.len(), 3, "only a whole request is one");
}

/// What a target does once it has a request's head, and what its client gets.
type Misbehaviour = (fn(Conn), &'static str, u16);

#[test]
fn a_target_that_answers_nothing_or_nonsense_is_told_apart() {
    let gateway = Setup::default().env("MOORGATE_LIMITS_RESPONSE", "1s").start();
    let bench = Bench { credential: gateway.credential(), gateway };
    let mut expected = Expected::of(&bench.gateway);
    let misbehaving = |how: fn(Conn)| {
        Target::new("127.0.0.1:0", move |mut conn| {
            conn.head();
            how(conn);
        })
    };
    let rows: [Misbehaviour; 7] = [
        (drop, "response_incomplete", 502),
        (Conn::reset, "response_incomplete", 502),
        (|mut conn| conn.send("HTTP/1.1 200 OK\r\nContent-"), "response_incomplete", 502),
        (|mut conn| conn.send("I am no HTTP server\r\n\r\n"), "response_malformed", 502),
        (|mut conn| conn.send("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), "response_malformed", 502),
        (
            |mut conn| conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            "response_malformed",
            502,
        ),
        (|_conn| std::thread::sleep(Duration::from_secs(8)), "response_timeout", 504),
    ];
    for (how, code, status) in rows {
        let target = misbehaving(how);
        bench.check_http(&mut expected, &get(&bench.credential, &target.address.to_string(), "/", ""), code, status);
    }
    expected.check();
}

#[test]
fn a_request_that_has_been_through_this_gateway_is_a_loop() {
    let gateway = Gateway::start();
    let bench = Bench { credential: gateway.credential(), gateway };
    let mut expected = Expected::of(&bench.gateway);
    let target = Target::http(|_| ok(""));
    let address = target.address.to_string();
    let mut talk = Talk::to(bench.http());
    talk.send(get(&bench.credential, &address, "/", "Via: 1.1 somebody\r\n"));
    let reply = talk.reply();
    assert_eq!(reply.status, 200, "another proxy's Via is no loop");
    let via = reply.field("via").unwrap();
    expected.note(talk.local(), HTTP, "ok");
    let forwarded = target.seen().requests.remove(0).to_ascii_lowercase();
    assert!(forwarded.contains("via: 1.1 somebody") && forwarded.contains(via), "{forwarded}");

    let request = get(&bench.credential, &address, "/", &format!("Via: 1.0 a, {via}, 1.1 b\r\n"));
    bench.check_http(&mut expected, &request, "loop", 508);
    expected.check();
    assert_eq!(target.seen().peers.len(), 1);
}
