//! Where nobody may go through a gateway: special addresses in every spelling, names that lead there, ourselves.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use crate::{
    dns::Dns,
    gateway::{Gateway, Setup, eventually},
    talk::{self, CONNECT, Credential, Said, Talk, get, socks, socks_host, socks_name},
    target::Target,
};

const HTTP: &str = "outbound_http";
const SOCKS: &str = "outbound_socks";

/// With `--config`: nothing special is allowed. Leaves from a loopback address, so that the kernel refuses to connect to
/// the public internet at once (EINVAL) and not a packet leaves this machine.
fn production(resolver: SocketAddr) -> (Gateway, Credential) {
    let config = format!("[egress]\naddresses = [\"127.0.0.2\"]\n\n[resolver]\nservers = [\"{resolver}\"]\n");
    let gateway = Setup::default().config(&config).start();
    gateway.cli(&["account", "add", "acme"]);
    let added = gateway.cli_json(&["credential", "add", "acme"]);
    let credential = ["username", "password"].map(|name| added[name].as_str().unwrap().to_owned()).into();
    (gateway, credential)
}

fn no_names() -> Dns {
    Dns::start(Ipv4Addr::LOCALHOST.into(), |_| None)
}

/// What a request for `target` is refused with, over CONNECT and in absolute form: status and code.
fn refusals(gateway: &Gateway, credential: &Credential, target: &str) -> [(u16, String); 2] {
    [talk::connect(credential, target), get(credential, target, "/", "")].map(|request| {
        let mut talk = Talk::to(gateway.address(HTTP));
        talk.send(request);
        let reply = talk.reply();
        (reply.status, reply.body.split(": ").nth(1).unwrap_or_default().to_owned())
    })
}

/// As [`refusals`], which must be the same.
#[track_caller]
fn refused_with(gateway: &Gateway, credential: &Credential, target: &str) -> (u16, String) {
    let [connect, absolute] = refusals(gateway, credential, target);
    assert_eq!(connect, absolute, "{target}");
    connect
}

#[track_caller]
fn socks_refused(gateway: &Gateway, credential: &Credential, host: &[u8], port: u16, reply: u8) {
    let (_, said) = socks(gateway.address(SOCKS), credential, CONNECT, host, port);
    assert_eq!(said, Said::Reply(reply), "{:?}", String::from_utf8_lossy(host));
}

/// Every way in which IPv6 can write an IPv4 address.
fn spellings(address: Ipv4Addr) -> Vec<Ipv6Addr> {
    let [a, b, c, d] = address.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    vec![
        address.to_ipv6_mapped(),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, !high, !low),
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x5efe, high, low),
        Ipv6Addr::new(0x2a00, 1, 2, 3, 0x200, 0x5efe, high, low),
    ]
}

#[test]
fn special_addresses_are_refused_in_every_spelling_of_ipv6() {
    let (gateway, credential) = production(no_names().address);
    let trap = Target::echo();
    let port = trap.address.port();
    let inner = [[127, 0, 0, 1], [169, 254, 169, 254], [10, 0, 0, 1], [192, 168, 1, 1], [100, 64, 0, 1], [0, 0, 0, 0]];
    let mut special: Vec<IpAddr> = inner.into_iter().map(IpAddr::from).collect();
    special.extend(inner.into_iter().flat_map(|inner| spellings(inner.into())).map(IpAddr::V6));
    let further = [
        "127.255.255.254",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "0.1.2.3",
        "::",
        "::1",
        "100::1",
        "2001:2::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
    ];
    special.extend(further.iter().map(|address| address.parse::<IpAddr>().unwrap()));
    for address in special {
        let target = SocketAddr::new(address, port).to_string();
        assert_eq!(refused_with(&gateway, &credential, &target), (403, "guard_denied".into()), "{target}");
        socks_refused(&gateway, &credential, &socks_host(&address.to_string()), port, 0x02);
        // The same as text in a domain name of SOCKS.
        socks_refused(&gateway, &credential, &socks_name(address.to_string().as_bytes()), port, 0x02);
    }
    assert_eq!(trap.seen().peers.len(), 0);
}

#[test]
fn the_loopback_profile_opens_loopback_in_canonical_form_and_nothing_else() {
    let gateway = Gateway::start();
    let credential = gateway.credential();
    let target = Target::echo();
    let port = target.address.port();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::1]"] {
        let tunnel = Talk::tunnel(gateway.address(HTTP), &credential, &format!("{host}:{port}"));
        let opened = tunnel.map_err(|reply| (reply.status, reply.body.contains("guard_denied"))).map(|_| ());
        assert_eq!(opened, if host == "127.0.0.1" { Ok(()) } else { Err((403, true)) }, "{host}");
    }
    for target in ["169.254.169.254:80", "[fe80::1]:80", "10.0.0.1:80", "192.168.0.1:80", "0.0.0.0:80"] {
        assert_eq!(refused_with(&gateway, &credential, target).1, "guard_denied", "{target}");
    }
    // The target takes its time to see whom it was connected to.
    eventually("its one client", || (target.seen().peers.len() == 1).then_some(()));
}

#[test]
fn hosts_that_are_not_canonical_are_refused_before_anything_is_asked_or_dialled() {
    let dns = no_names();
    let gateway = Setup::default().env("MOORGATE_RESOLVER_SERVERS", dns.address.to_string()).start();
    let credential = gateway.credential();
    let trap = Target::echo();
    let port = trap.address.port();
    for host in [
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "localhost.",
        "0",
        "1",
        "127.0.0.256",
        "127.0.0.1.2.3",
        "1.2.3",
        "user@127.0.0.1",
        "user:pw@127.0.0.1",
        "127.0.0.1%25eth0",
        "%31%32%37.0.0.1",
        "exa_mple..test",
        "-a.test",
        "a-.test",
        "a..test",
        ".test",
        "[::1%25lo]",
        "[fe80::1%eth0]",
        "[::1",
        "[127.0.0.1]",
        "[v1.a]",
        "a.test.0x1",
        "a.b.1",
    ] {
        let target = format!("{host}:{port}");
        for (status, code) in refusals(&gateway, &credential, &target) {
            // What cannot even be taken apart into host and port is malformed.
            assert!(status == 400 && matches!(&*code, "host_not_canonical" | "malformed"), "{target}: {status} {code}");
        }
        socks_refused(&gateway, &credential, &socks_name(host.as_bytes()), port, 0x01);
    }
    for host in [
        &b"127.0.0.1\0.example.com"[..],
        b"a b",
        b"\xff\xfe",
        "ｅxample.test".as_bytes(),
        b"127.0.0.1\n",
        b"a/b",
        b"a:b",
    ] {
        socks_refused(&gateway, &credential, &socks_name(host), port, 0x01);
    }
    assert_eq!(refused_with(&gateway, &credential, "127.0.0.1:0"), (400, "host_not_canonical".into()));
    assert_eq!(trap.seen().peers.len(), 0);
    for name in ["127.1", "0x7f.1", "2130706433", "a.b.1"] {
        assert_eq!(dns.asked(name), 0, "{name}");
    }
}

/// Public, and nobody's to reach from a loopback address.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 41, 0, 4);

#[test]
fn a_name_that_changes_its_mind_between_public_and_loopback_never_gets_through() {
    const CONNECTS: usize = 10_000;
    const AT_ONCE: usize = 16;
    // What was checked must be what is dialled: each name answers public first and loopback ever after, or the other way
    // round, or both at once; "turning.test" goes on turning.
    let dns = Dns::start(Ipv4Addr::LOCALHOST.into(), |question| {
        let (public, loopback) = (IpAddr::V4(PUBLIC), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let first = question.before == 0;
        Some(match question.name.split(['.', '-']).next().unwrap() {
            "late" => vec![if first { public } else { loopback }],
            "early" => vec![if first { loopback } else { public }],
            "both" => vec![loopback, public, six],
            "mapped" => vec![public, Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()],
            _ => vec![if question.before % 2 == 0 { public } else { loopback }, six],
        })
    });
    let (gateway, credential) = production(dns.address);
    let trap = Target::echo();
    let trap6 = Target::new(&format!("[::1]:{}", trap.address.port()), drop);
    let port = trap.address.port();

    let next = AtomicUsize::new(0);
    let tally: [AtomicUsize; 2] = Default::default();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Relaxed);
                    if n >= CONNECTS {
                        return;
                    }
                    let host = match n % 6 {
                        0 => format!("late-{n}.test"),
                        // Asked a second time: the first answer is in the cache, or it is not.
                        1 => format!("late-{}.test", n.saturating_sub(601)),
                        2 => format!("early-{n}.test"),
                        3 => format!("both-{n}.test"),
                        4 => format!("mapped-{n}.test"),
                        _ => "turning.test".to_owned(),
                    };
                    let reply = Talk::tunnel(gateway.address(HTTP), &credential, &format!("{host}:{port}"));
                    let Err(reply) = reply else { panic!("{host} got through") };
                    match reply.field("proxy-status") {
                        Some(said) if said.contains("\"guard_denied\"") => tally[0].fetch_add(1, Relaxed),
                        Some(said) if said.contains("\"host_unreachable\"") => tally[1].fetch_add(1, Relaxed),
                        other => panic!("{host}: {other:?}"),
                    };
                }
            });
        }
    });
    assert_eq!((trap.seen().peers.len(), trap6.seen().peers.len()), (0, 0));
    // Both answers were met, many times.
    assert!(tally.iter().all(|count| count.load(Relaxed) > CONNECTS / 10), "{tally:?}");
    assert!(dns.asked("turning.test") >= 2);
}

#[test]
fn the_trap_of_the_test_above_would_have_snapped() {
    let dns = Dns::start(Ipv4Addr::LOCALHOST.into(), |_| Some(vec![Ipv4Addr::LOCALHOST.into()]));
    let config = format!(
        "[egress]\naddresses = [\"127.0.0.2\"]\nallow_private_destinations = [\"127.0.0.0/8\"]\n[resolver]\nservers = [\"{}\"]\n",
        dns.address
    );
    let gateway = Setup::default().config(&config).start();
    gateway.cli(&["account", "add", "acme"]);
    let added = gateway.cli_json(&["credential", "add", "acme"]);
    let credential = ["username", "password"].map(|name| added[name].as_str().unwrap().to_owned()).into();
    let trap = Target::echo();
    let mut tunnel =
        Talk::tunnel(gateway.address(HTTP), &credential, &format!("late-1.test:{}", trap.address.port())).unwrap();
    tunnel.send("snap");
    assert_eq!(tunnel.take(4).unwrap(), b"snap");
    assert_eq!(trap.seen().peers[0].ip(), IpAddr::from([127, 0, 0, 2]));
}

#[test]
fn the_way_back_to_the_gateway_itself_is_a_loop_by_every_spelling() {
    let dns = Dns::start(Ipv4Addr::LOCALHOST.into(), |_| Some(vec![Ipv4Addr::LOCALHOST.into()]));
    let gateway = Setup::default()
        .env("MOORGATE_RESOLVER_SERVERS", dns.address.to_string())
        .env("MOORGATE_OUTBOUND_HTTP", "127.0.0.1:0,0.0.0.0:0")
        .start();
    let credential = gateway.credential();
    let listeners = ["inbound_http", "inbound_tls", HTTP, SOCKS, "outbound_https", "outbound_socks_tls"];
    let console: SocketAddr = gateway.api().trim_start_matches("http://").split('/').next().unwrap().parse().unwrap();
    let ports = listeners.iter().map(|listener| gateway.address(listener).port()).chain([console.port()]);
    for port in ports {
        for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "me.test"] {
            assert_eq!(
                refused_with(&gateway, &credential, &format!("{host}:{port}")),
                (508, "loop".into()),
                "{host}:{port}"
            );
        }
        socks_refused(&gateway, &credential, &socks_host("127.0.0.1"), port, 0x02);
        socks_refused(&gateway, &credential, &socks_host("::ffff:127.0.0.1"), port, 0x02);
        socks_refused(&gateway, &credential, &socks_name(b"me.test"), port, 0x02);
    }
    // The one that is bound to every address is ours at each of them.
    let facts = std::fs::read_to_string(gateway.data_dir().join("gateway.json")).unwrap();
    let facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
    let wildcard: SocketAddr = facts["listeners"][HTTP][1].as_str().unwrap().parse().unwrap();
    for host in ["127.0.0.1", "127.0.0.9", "127.255.255.254", "0.0.0.0", "[::ffff:127.0.0.9]", "me.test"] {
        let target = format!("{host}:{}", wildcard.port());
        assert_eq!(refused_with(&gateway, &credential, &target), (508, "loop".into()), "{target}");
    }
}
