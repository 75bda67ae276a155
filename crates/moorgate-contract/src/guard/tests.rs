use super::*;

fn check(address: &str, expected: Option<Class>) {
    assert_eq!(classify(address.parse().unwrap()), expected, "{address}");
}

#[test]
fn every_special_purpose_network_is_closed() {
    for (address, class) in [
        ("0.0.0.0", UNSPECIFIED),
        ("0.1.2.3", UNSPECIFIED),
        ("10.255.0.1", PRIVATE),
        ("100.64.0.1", SHARED),
        ("100.127.255.255", SHARED),
        ("127.0.0.1", LOOPBACK),
        ("127.255.255.255", LOOPBACK),
        ("169.254.169.254", LINK_LOCAL),
        ("172.31.255.255", PRIVATE),
        ("192.0.0.192", RESERVED),
        ("192.168.0.1", PRIVATE),
        ("198.19.0.1", "a benchmarking address"),
        ("203.0.113.9", DOCUMENTATION),
        ("224.0.0.1", MULTICAST),
        ("255.255.255.255", RESERVED),
        ("::", UNSPECIFIED),
        ("::1", LOOPBACK),
        ("fe80::1", LINK_LOCAL),
        ("fd00:ec2::254", PRIVATE),
        ("fec0::1", PRIVATE),
        ("ff02::1", MULTICAST),
        ("2001:db8::1", DOCUMENTATION),
        ("3fff::1", DOCUMENTATION),
        ("100::1", RESERVED),
        ("4000::1", RESERVED),
    ] {
        check(address, Some(class));
    }
}

#[test]
fn every_way_to_write_ipv4_in_ipv6_is_seen_through() {
    for (address, class) in [
        ("::ffff:169.254.169.254", LINK_LOCAL),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("::127.0.0.1", LOOPBACK),
        ("::ffff:0:10.0.0.1", PRIVATE),
        ("64:ff9b::10.0.0.1", PRIVATE),
        ("64:ff9b:1::1", TRANSITION),
        ("2002:7f00:1::", LOOPBACK),
        ("2002:808:808::1", TRANSITION),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", LOOPBACK),
        ("2001:0:4136:e378:8000:63bf:f7f7:f7f7", TRANSITION),
        ("2a00:1450::5efe:192.168.0.1", PRIVATE),
        ("2a00:1450::200:5efe:8.8.8.8", TRANSITION),
    ] {
        check(address, Some(class));
    }
}

#[test]
fn the_public_internet_is_open() {
    for address in
        ["8.8.8.8", "100.63.255.255", "172.32.0.1", "2a00:1450:4001::200e", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
    {
        check(address, None);
    }
}

#[test]
fn an_allowed_network_is_open_in_canonical_form_only() {
    let guard = Guard { allowed: Guard::loopback_profile(), ..Guard::default() };
    let presence = Presence::default();
    let judge = |address: &str| guard.judge(SocketAddr::new(address.parse().unwrap(), 80), &presence);
    assert_eq!(judge("127.0.0.1"), Sight::Open);
    assert_eq!(judge("::1"), Sight::Open);
    assert_eq!(judge("::ffff:127.0.0.1"), Sight::Special(LOOPBACK));
    assert_eq!(judge("169.254.169.254"), Sight::Special(LINK_LOCAL));
    assert_eq!(judge("10.0.0.1"), Sight::Special(PRIVATE));
}

#[test]
fn own_listeners_are_seen_behind_every_local_address() {
    let own = ["127.0.0.1:9293", "0.0.0.0:1080", "[::]:9294"].map(|own| own.parse().unwrap()).to_vec();
    let guard = Guard { allowed: Guard::loopback_profile(), own, ..Guard::default() };
    let presence = Presence { local: vec!["198.51.100.7".parse().unwrap()], ..Presence::default() };
    let judge = |address: &str| guard.judge(address.parse().unwrap(), &presence);
    assert_eq!(judge("127.0.0.1:9293"), Sight::OwnListener);
    assert_eq!(judge("[::ffff:127.0.0.1]:9293"), Sight::OwnListener);
    assert_eq!(judge("127.0.0.2:9293"), Sight::Open);
    assert_eq!(judge("127.0.0.2:1080"), Sight::OwnListener);
    assert_eq!(judge("198.51.100.7:1080"), Sight::OwnListener);
    assert_eq!(judge("198.51.100.7:9294"), Sight::OwnListener);
    assert_eq!(judge("[::1]:9294"), Sight::OwnListener);
    assert_eq!(judge("0.0.0.0:1080"), Sight::OwnListener);
}

fn addresses(texts: &[&str]) -> BTreeSet<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn other_gateways_are_refused_whatever_is_allowed_and_in_every_spelling() {
    let allowed = [Guard::loopback_profile(), Guard::private_networks()].concat();
    let others = addresses(&["127.0.0.1:7070", "10.0.0.5:9293", "198.41.0.4:443", "[fd00::5]:9293", "0.0.0.0:1080"]);
    let guard = Guard { allowed, others, ..Guard::default() };
    let presence = Presence { local: vec!["10.0.0.1".parse().unwrap()], ..Presence::default() };
    for refused in [
        "127.0.0.1:7070",
        "[::ffff:127.0.0.1]:7070",
        "10.0.0.5:9293",
        "[::ffff:10.0.0.5]:9293",
        "[64:ff9b::10.0.0.5]:9293",
        "[fd00::5]:9293",
        "198.41.0.4:443",
        "[64:ff9b::198.41.0.4]:443",
        // The wildcard's, on this machine.
        "127.0.0.9:1080",
        "[::1]:1080",
        "10.0.0.1:1080",
    ] {
        assert_eq!(guard.judge(refused.parse().unwrap(), &presence), Sight::Kept(OTHER_GATEWAY), "{refused}");
    }
    for open in ["127.0.0.1:7071", "127.0.0.2:7070", "10.0.0.5:443", "10.0.0.5:1080", "198.41.0.4:80", "[::1]:7070"] {
        assert_eq!(guard.judge(open.parse().unwrap(), &presence), Sight::Open, "{open}");
    }
    let own = vec!["127.0.0.1:7070".parse().unwrap()];
    let both = Guard { own, ..guard };
    assert_eq!(both.judge("127.0.0.1:7070".parse().unwrap(), &presence), Sight::OwnListener, "rather a loop");
}

#[test]
fn the_store_is_refused_and_behind_every_local_address_if_it_is_here() {
    let allowed = [Guard::loopback_profile(), Guard::private_networks()].concat();
    let guard = |store: &str| Guard { allowed: allowed.clone(), store: addresses(&[store]), ..Guard::default() };
    let presence = Presence { local: vec!["10.0.0.1".parse().unwrap()], ..Presence::default() };
    let judge = |guard: &Guard, address: &str| guard.judge(address.parse().unwrap(), &presence);
    for here in [guard("127.0.0.1:5432"), guard("10.0.0.1:5432"), guard("[::1]:5432")] {
        for refused in ["127.0.0.1:5432", "127.0.0.9:5432", "[::1]:5432", "10.0.0.1:5432", "[::ffff:10.0.0.1]:5432"] {
            assert_eq!(judge(&here, refused), Sight::Kept(STORE), "{refused}");
        }
        assert_eq!(judge(&here, "127.0.0.1:5433"), Sight::Open);
        assert_eq!(judge(&here, "10.0.0.2:5432"), Sight::Open);
    }
    let elsewhere = guard("10.0.0.2:5432");
    assert_eq!(judge(&elsewhere, "10.0.0.2:5432"), Sight::Kept(STORE));
    for open in ["10.0.0.1:5432", "127.0.0.1:5432"] {
        assert_eq!(judge(&elsewhere, open), Sight::Open, "{open}");
    }
}
