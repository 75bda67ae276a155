//! The egress pair, between two network namespaces: the gateway's, where addresses come and go, and the world's, where
//! clients, names and targets are, and where every SYN is seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    dns::Dns,
    gateway::{Gateway, Setup, eventually},
    namespace::Namespace,
    talk::{Credential, Talk, get, metric},
    target::{Target, ok},
};

const HTTP: &str = "outbound_http";
const WORLD: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);
const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 0, 10));
const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 0, 11));

/// The sources of every SYN that reached this namespace.
struct Syns(Arc<Mutex<Vec<IpAddr>>>);

impl Syns {
    fn watch() -> Self {
        const ETH_P_IP: u16 = 0x0800;
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(ETH_P_IP.to_be()))));
        let mut socket = socket.expect("a packet socket: run the tests as root");
        let seen: Arc<Mutex<Vec<IpAddr>>> = Arc::default();
        let sink = seen.clone();
        thread::spawn(move || {
            let mut packet = [0; 2048];
            while let Ok(size) = socket.read(&mut packet) {
                let packet = &packet[..size];
                let header = usize::from(packet[0] & 0x0f) * 4;
                // TCP, with SYN and without ACK.
                if packet.len() > header + 13 && packet[9] == 6 && packet[header + 13] & 0x12 == 0x02 {
                    let source = [packet[12], packet[13], packet[14], packet[15]];
                    sink.lock().unwrap().push(source.into());
                }
            }
        });
        Self(seen)
    }

    /// Those of the gateway's namespace, as clients in the world connect too.
    fn of_the_gateway(&self) -> BTreeSet<IpAddr> {
        let own = IpAddr::V4(WORLD);
        self.0.lock().unwrap().iter().copied().filter(|source| *source != own && !source.is_loopback()).collect()
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// Gateway and world. The gateway has a third address, which it must never leave from.
struct Net {
    gateway: Namespace,
    world: Namespace,
}

impl Net {
    fn new() -> Self {
        let (gateway, world) = (Namespace::new(), Namespace::new());
        gateway.join(&world, &format!("{GATEWAY}/24"), &format!("{WORLD}/24"));
        let net = Self { gateway, world };
        net.add(ONE);
        net.add(TWO);
        net
    }

    fn add(&self, address: IpAddr) {
        self.gateway.ip(&format!("addr add {address}/24 dev wire"));
    }

    fn del(&self, address: IpAddr) {
        self.gateway.ip(&format!("addr del {address}/24 dev wire"));
    }

    fn start(&self, dns: &Dns) -> Gateway {
        Setup::default()
            .behind(&self.gateway.prefix())
            .env("MOORGATE_OUTBOUND_HTTP", format!("{GATEWAY}:0"))
            .env("MOORGATE_EGRESS_ADDRESSES", format!("{ONE},{TWO}"))
            .env("MOORGATE_EGRESS_ALLOW_PRIVATE_DESTINATIONS", "true")
            .env("MOORGATE_RESOLVER_SERVERS", dns.address.to_string())
            .env("MOORGATE_LIMITS_CONNECT", "5s")
            .start()
    }
}

/// `six.test` has IPv6 only, `dual.test` both, every other name is the world.
fn names() -> Dns {
    Dns::start(WORLD.into(), |question| {
        let (four, six) = (IpAddr::V4(WORLD), "fd00:200::1".parse().unwrap());
        Some(match question.name {
            "six.test" => vec![six],
            "dual.test" => vec![six, four],
            _ => vec![four],
        })
    })
}

/// Says who asks.
fn mirror() -> Target {
    Target::new(&format!("{WORLD}:0"), |mut conn| {
        let peer = conn.stream.peer_addr().unwrap().ip().to_string();
        while conn.request().is_some() {
            conn.send(ok(&peer));
        }
    })
}

/// One request over a connection of its own: the address it was seen to come from, or what was said instead.
fn seen_from(proxy: SocketAddr, credential: &Credential, target: &str) -> Result<IpAddr, String> {
    let stream = TcpStream::connect(proxy).map_err(|error| error.to_string())?;
    let mut talk = Talk::over(stream);
    talk.send(get(credential, target, "/", "Connection: close\r\n"));
    // What was on its way when its address went hears nothing more.
    talk.tcp.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    if talk.tcp.peek(&mut [0]).is_err() {
        return Err("no answer".to_owned());
    }
    let reply = talk.reply();
    if reply.status == 200 { Ok(reply.body.parse().unwrap()) } else { Err(reply.body) }
}

fn new_account(gateway: &Gateway, name: &str) -> Credential {
    gateway.cli(&["account", "add", name]);
    let added = gateway.cli_json(&["credential", "add", name]);
    ["username", "password"].map(|name| added[name].as_str().unwrap().to_owned()).into()
}

#[test]
fn connections_leave_from_the_pair_only_sticky_for_an_account_and_host_and_spread_over_hosts() {
    const HOSTS: usize = 40;
    let net = Net::new();
    net.world.enter(|| {
        let (dns, mirror, syns) = (names(), mirror(), Syns::watch());
        let gateway = net.start(&dns);
        let proxy = gateway.address(HTTP);
        let accounts = [gateway.credential(), new_account(&gateway, "second")];
        let mut chosen: BTreeMap<(usize, usize), IpAddr> = BTreeMap::new();
        for _round in 0..3 {
            for (account, credential) in accounts.iter().enumerate() {
                for host in 0..HOSTS {
                    let target = format!("host{host}.test:{}", mirror.address.port());
                    let from = seen_from(proxy, credential, &target).unwrap();
                    assert_eq!(*chosen.entry((account, host)).or_insert(from), from, "{target}");
                }
            }
        }
        for account in 0..accounts.len() {
            let ones = (0..HOSTS).filter(|host| chosen[&(account, *host)] == ONE).count();
            assert!((HOSTS / 5..=HOSTS * 4 / 5).contains(&ones), "{ones} of {HOSTS} hosts leave from {ONE}");
        }
        assert_eq!(syns.of_the_gateway(), BTreeSet::from([ONE, TWO]));
        let flows = gateway.flows();
        let by_host = |flow: &Value| (flow["account"] == "second").then(|| flow["target"].as_str().unwrap().to_owned());
        for flow in flows.iter().filter(|flow| by_host(flow).is_some()) {
            let host: usize = by_host(flow).unwrap()["host".len()..].split('.').next().unwrap().parse().unwrap();
            assert_eq!(flow["egress"], chosen[&(1, host)].to_string());
        }
        // An account with an address of its own leaves from that one alone.
        let own = new_account(&gateway, "own");
        gateway.cli(&["account", "set", "own", "--egress", &TWO.to_string()]);
        for host in 0..HOSTS {
            let target = format!("host{host}.test:{}", mirror.address.port());
            assert_eq!(seen_from(proxy, &own, &target), Ok(TWO));
        }
        let listed = gateway.cli_json(&["egress", "list"]);
        let present: Vec<bool> =
            listed.as_array().unwrap().iter().map(|row| row["present"].as_bool().unwrap()).collect();
        assert_eq!(present, [true, true]);
    });
}

#[test]
fn source_ports_are_shared_between_destinations() {
    let net = Net::new();
    net.gateway.sysctl("ipv4/ip_local_port_range", "40000 40031");
    net.world.enter(|| {
        let dns = names();
        let gateway = net.start(&dns);
        let keep = || Target::new(&format!("{WORLD}:0"), |conn| std::mem::forget(conn.stream));
        let targets = [keep(), keep(), keep()];
        // One host, so one egress address; most of its 32 ports toward each of three destinations. Some are the listeners'.
        let tunnels: Vec<Talk> = targets
            .iter()
            .flat_map(|target| (0..20).map(move |_| format!("host.test:{}", target.address.port())))
            .map(|target| Talk::tunnel(gateway.address(HTTP), &gateway.credential(), &target).unwrap())
            .collect();
        assert_eq!(tunnels.len(), 60);
        let peers: BTreeSet<IpAddr> =
            targets.iter().flat_map(|target| target.seen().peers).map(|peer| peer.ip()).collect();
        assert_eq!(peers.len(), 1);
        // An address whose ports are in use is still there: longer than the gateway needs to look.
        thread::sleep(Duration::from_secs(1));
        let listed = net.gateway.enter(|| gateway.cli_json(&["egress", "list"]));
        assert!(listed.as_array().unwrap().iter().all(|row| row["present"] == true), "{listed}");
        drop(tunnels);
    });
}

/// What one request of the load met.
struct Met {
    host: usize,
    began: Instant,
    from: Result<IpAddr, String>,
}

#[test]
fn an_address_that_goes_is_left_within_a_second_and_without_any_nothing_leaves_at_all() {
    const HOSTS: usize = 16;
    let net = Net::new();
    net.world.enter(|| {
        let (dns, mirror, syns) = (names(), mirror(), Syns::watch());
        let gateway = net.start(&dns);
        let (proxy, credential, port) = (gateway.address(HTTP), gateway.credential(), mirror.address.port());
        let target = |host: usize| format!("host{host}.test:{port}");
        let home: Vec<IpAddr> = (0..HOSTS).map(|host| seen_from(proxy, &credential, &target(host)).unwrap()).collect();
        assert!(home.contains(&ONE) && home.contains(&TWO));
        // A client that keeps its connection: the next request must not go out by the address that went.
        let on_one = home.iter().position(|home| *home == ONE).unwrap();
        let mut patient = Talk::to(proxy);
        patient.send(get(&credential, &target(on_one), "/", ""));
        assert_eq!(patient.reply().body, ONE.to_string());

        let (stop, met) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let gone = thread::scope(|scope| {
            for worker in 0..4 {
                let (stop, met, credential, target) = (&stop, &met, &credential, &target);
                scope.spawn(move || {
                    for round in 0.. {
                        if stop.load(Relaxed) {
                            return;
                        }
                        let (host, began) = ((worker + 4 * round) % HOSTS, Instant::now());
                        let from = seen_from(proxy, credential, &target(host));
                        met.lock().unwrap().push(Met { host, began, from });
                    }
                });
            }
            thread::sleep(Duration::from_secs(1));
            let gone = Instant::now();
            net.del(ONE);
            thread::sleep(Duration::from_secs(3));
            stop.store(true, Relaxed);
            gone
        });
        let met = met.into_inner().unwrap();
        let after = |met: &&Met| met.began > gone + Duration::from_secs(1);
        assert!(met.iter().filter(after).count() > 50, "{} requests", met.len());
        for Met { host, from, .. } in met.iter().filter(after) {
            assert_eq!(*from, Ok(TWO), "host {host}, a second after {ONE} went");
        }
        for Met { host, from, began } in met.iter().filter(|met| home[met.host] == TWO) {
            assert_eq!(*from, Ok(TWO), "host {host}, {:?} before or after", began.checked_duration_since(gone));
        }
        patient.send(get(&credential, &target(on_one), "/", ""));
        assert_eq!(patient.reply().body, TWO.to_string(), "a kept connection");
        let up = |address: IpAddr| metric(&gateway, "moorgate_egress_address_up", &[&format!("\"{address}\"")]);
        net.gateway.enter(|| assert_eq!((up(ONE), up(TWO)), (0, 1)));

        net.del(TWO);
        thread::sleep(Duration::from_secs(1));
        syns.forget();
        for host in 0..HOSTS {
            let said = seen_from(proxy, &credential, &target(host)).unwrap_err();
            assert!(said.starts_with("moorgate: no_egress_left: "), "{said}");
        }
        let echo = seen_from_echo(proxy, &credential);
        assert!(echo.starts_with("moorgate: no_egress_left: "), "{echo}");
        thread::sleep(Duration::from_millis(300));
        assert_eq!(syns.of_the_gateway(), BTreeSet::new(), "not one SYN from any address");

        net.add(TWO);
        let back = eventually("the address", || seen_from(proxy, &credential, &target(0)).ok());
        assert_eq!(back, TWO);
        net.add(ONE);
        let back = || (seen_from(proxy, &credential, &target(on_one)) == Ok(ONE)).then_some(());
        eventually("the first choice", back);
        // Who watches may be a little behind.
        eventually("both", || (syns.of_the_gateway() == BTreeSet::from([ONE, TWO])).then_some(()));
    });
}

/// What the gateway's own echo says.
fn seen_from_echo(proxy: SocketAddr, credential: &Credential) -> String {
    let mut talk = Talk::to(proxy);
    talk.send(get(credential, "echo.moorgate.internal", "/", "Connection: close\r\n"));
    talk.reply().body
}

#[test]
fn only_the_pairs_families_are_used_and_a_name_of_another_is_refused_by_its_family() {
    let net = Net::new();
    for (namespace, address) in [(&net.gateway, "fd00:200::2/64"), (&net.world, "fd00:200::1/64")] {
        namespace.ip(&format!("addr add {address} dev wire nodad"));
    }
    net.world.enter(|| {
        let (dns, mirror) = (names(), mirror());
        let trap = Target::new(&format!("[fd00:200::1]:{}", mirror.address.port()), drop);
        let gateway = net.start(&dns);
        let (proxy, credential, port) = (gateway.address(HTTP), gateway.credential(), mirror.address.port());
        for target in [format!("six.test:{port}"), format!("[fd00:200::1]:{port}")] {
            let refused = Talk::tunnel(proxy, &credential, &target).err().unwrap();
            assert_eq!(refused.status, 502);
            assert!(refused.body.starts_with("moorgate: no_address_of_family: "), "{}", refused.body);
            assert!(refused.body.contains("has only IPv6 addresses"), "{}", refused.body);
        }
        let from = seen_from(proxy, &credential, &format!("dual.test:{port}")).unwrap();
        assert!([ONE, TWO].contains(&from));
        assert_eq!(trap.seen().peers.len(), 0);
        let explained = gateway.cli_json(&["explain", "default", &format!("six.test:{port}")]);
        assert_eq!(explained["refusal"]["code"], "no_address_of_family");
    });
}
