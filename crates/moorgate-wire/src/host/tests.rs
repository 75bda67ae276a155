use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Asked, Host, HostPort, HostPortError, NotCanonical, PortError};
use crate::name::DomainName;

#[test]
fn canonical_hosts_are_read() {
    let name = |text| Host::Name(DomainName::parse(text).unwrap());
    let v6 = |text: &str| Host::V6(text.parse().unwrap());
    let cases = [
        ("Example.COM", name("example.com")),
        ("127.0.0.1", Host::V4(Ipv4Addr::LOCALHOST)),
        ("[::1]", Host::V6(Ipv6Addr::LOCALHOST)),
        ("::1", Host::V6(Ipv6Addr::LOCALHOST)),
        ("2001:DB8:0:0::1", v6("2001:db8::1")),
        ("::ffff:127.0.0.1", v6("::ffff:7f00:1")),
        ("[64:ff9b::192.0.2.1]", v6("64:ff9b::c000:201")),
    ];
    for (text, expected) in cases {
        assert_eq!(Host::parse(text), Ok(expected), "{text:?}");
    }
    // An address inside another stays as written: to unwrap it is the guard's work.
    assert!(matches!(Host::parse("::ffff:127.0.0.1"), Ok(Host::V6(_))));
}

#[test]
fn other_spellings_are_refused_with_what_to_write() {
    let canonical = |text, write| format!("\"{text}\" is not a canonical address; write {write}");
    let cases = [
        ("127.1", canonical("127.1", "127.0.0.1")),
        ("0x7f.1", canonical("0x7f.1", "127.0.0.1")),
        ("0X7F000001", canonical("0X7F000001", "127.0.0.1")),
        ("2130706433", canonical("2130706433", "127.0.0.1")),
        ("0177.0.0.1", canonical("0177.0.0.1", "127.0.0.1")),
        ("127.0.0.01", canonical("127.0.0.01", "127.0.0.1")),
        ("1.2.3.4.", canonical("1.2.3.4.", "1.2.3.4")),
        ("0", canonical("0", "0.0.0.0")),
        ("169.254.43518", canonical("169.254.43518", "169.254.169.254")),
        ("1.2.3.256", "\"1.2.3.256\" is neither a name nor an IPv4 address; write four numbers from 0 to 255".into()),
        ("1.2.3.4.5", "\"1.2.3.4.5\" is neither a name nor an IPv4 address; write four numbers from 0 to 255".into()),
        ("4294967296", "\"4294967296\" is neither a name nor an IPv4 address; write four numbers from 0 to 255".into()),
        ("example.com.", "\"example.com.\" is not canonical; write it without the dot at the end".into()),
        ("user:pw@a.test", "\"…@a.test\" has a username in front of its '@'; write the host alone".into()),
        ("fe80::1%eth0", "\"fe80::1%eth0\" has a zone id; write the address without '%' and what follows".into()),
        ("[fe80::1%25eth0]", "\"fe80::1%25eth0\" has a zone id; write the address without '%' and what follows".into()),
        ("127%2e0.0.1", "\"127%2e0.0.1\" is percent-encoded; write the host in plain characters".into()),
        ("", "the host is missing".into()),
        ("[::1", "\"[::1\" is not an IPv6 address".into()),
        ("::g", "\"::g\" is not an IPv6 address".into()),
        ("[127.0.0.1]", "\"127.0.0.1\" is not an IPv6 address".into()),
        ("a.test:80", "\"a.test:80\" is not an IPv6 address".into()),
        ("bücher.test", "\"bücher.test\" is not ASCII; write the name's xn-- form".into()),
        ("１２７.0.0.1", "\"１２７.0.0.1\" is not ASCII; write the name's xn-- form".into()),
        (
            "127.0.0.1 ",
            "\"127.0.0.1 \" is no host name: ' ' cannot stand in a name: letters, digits, hyphens and dots can".into(),
        ),
        (
            "a\x1b[2J",
            "\"a\\x1b[2J\" is no host name: '\\u{1b}' cannot stand in a name: letters, digits, hyphens and dots can"
                .into(),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(Host::parse(text).unwrap_err().to_string(), expected, "{text:?}");
    }
    let long = Host::parse(&"a".repeat(30_000)).unwrap_err();
    assert!(matches!(long, NotCanonical::TooLong { bytes: 30_000, .. }));
    assert!(long.to_string().len() < 500, "a whole head in a log line");
}

#[test]
fn what_was_asked_for_is_shown_without_its_userinfo() {
    let cases = [
        (Asked::new("Example.com", 443), "Example.com:443", true),
        (Asked::new("::1", 443), "[::1]:443", true),
        (Asked::new("[::1]", 443), "[::1]:443", true),
        (Asked::new("0x7f.1", 80), "0x7f.1:80", false),
        (Asked::new("a.test", 0), "a.test:0", false),
        (Asked::new("user:secret@a.test", 80), "…@a.test:80", false),
        (Asked::from_bytes(b"\xff.test", 80), "\u{fffd}.test:80", false),
        (Asked::from_bytes(b"", 80), ":80", false),
        (Asked::from_ip("2001:db8::1".parse().unwrap(), 22), "[2001:db8::1]:22", true),
        (Asked::from_authority("a.test", Some(80)).unwrap(), "a.test:80", true),
        (Asked::from_authority("[::1]:8080", Some(80)).unwrap(), "[::1]:8080", true),
        (Asked::from_authority("::1:443", Some(80)).unwrap(), "::1:443", false),
        (Asked::from_authority("u:p@w:secret@a.test:81", Some(80)).unwrap(), "…@a.test:81", false),
        (Asked::from_authority("u:secret@a:b:c", Some(80)).unwrap(), "…@a:b:c", false),
    ];
    for (asked, text, canonical) in cases {
        assert_eq!(asked.text(), text);
        assert_eq!(asked.host.is_ok(), canonical, "{asked:?}");
        assert!(!format!("{asked:?}").contains("secret"), "{asked:?}");
        assert!(!asked.host.is_err_and(|why| why.to_string().contains("secret")));
    }
    assert_eq!(Asked::new("a.test", 0).host, Err(NotCanonical::PortZero));
}

#[test]
fn a_port_is_one_to_five_digits() {
    let port = |text| HostPort::parse(text);
    assert_eq!(port("A.test:5432").unwrap().to_string(), "a.test:5432");
    assert_eq!(port("[2001:DB8::1]:443").unwrap().to_string(), "[2001:db8::1]:443");
    for text in ["a.test", "[::1]", "127.0.0.1"] {
        assert_eq!(port(text), Err(HostPortError::Port(PortError::Missing)), "{text}");
    }
    for text in ["a.test:", "a.test:+80", "a.test:080", "a.test:65536", "a.test:80x", "[::1]80", "a.test: 80"] {
        assert_eq!(port(text), Err(HostPortError::Port(PortError::Invalid)), "{text}");
    }
    assert_eq!(port("a.test:0"), Err(HostPortError::Host(NotCanonical::PortZero)));
    assert!(matches!(port("::1:443"), Err(HostPortError::Host(NotCanonical::BracketsNeeded { .. }))));
}
