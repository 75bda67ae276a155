use std::net::SocketAddr;

use super::{
    Fields, MAX_V1_BYTES, MAX_V2_BYTES, ProxyHeader, ProxyHeaderError, ProxyStep, encode_v1, encode_v2, parse,
};
use crate::{
    fuzzing::tests::{corpus, mutations},
    name::DomainName,
};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The answer, which must be the same however the bytes arrive.
fn read(bytes: &[u8]) -> ProxyStep {
    let whole = parse(bytes);
    let used = if let ProxyStep::Header { consumed, .. } = &whole { *consumed } else { bytes.len() };
    for cut in 0..used {
        let early = parse(&bytes[..cut]);
        let same = early == whole && !matches!(whole, ProxyStep::Header { .. });
        assert!(early == ProxyStep::NeedMore || same, "{} cut at {cut}: {early:?}", bytes.escape_ascii());
    }
    whole
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// In words: `client listener`, `own` for the connection's addresses, or why not.
fn told(bytes: &[u8]) -> String {
    match read(bytes) {
        ProxyStep::NeedMore => "more".into(),
        ProxyStep::Header { consumed, header: ProxyHeader { addresses } } => {
            let said = addresses.map_or("own".into(), |(client, listener)| format!("{client} {listener}"));
            let rest = &bytes[consumed..];
            if rest.is_empty() { said } else { format!("{said}, then {}", rest.escape_ascii()) }
        }
        ProxyStep::Malformed(why) => why.to_string(),
    }
}

fn v2(head: &[u8], content: &[u8]) -> Vec<u8> {
    [SIGNATURE, head, &(content.len() as u16).to_be_bytes(), content].concat()
}

const FOUR: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 1, 0xbb];

#[test]
fn version_1_is_read_as_it_is_written_and_no_other_way() {
    let byte = |n| format!("the PROXY header holds 0x{n}, which it cannot");
    let parts = r#"the PROXY header is not "PROXY protocol client listener port port" with one space between"#;
    let protocol = "the PROXY header is for none of TCP4, TCP6 and UNKNOWN";
    let address = "the PROXY header has an address that is none of its protocol";
    let port = "the PROXY header has a port that is no number from 0 to 65535";
    let missing = "there is no PROXY header; the sender is to send one first on every connection";
    let cases: &[(&[u8], &str)] = &[
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET /", "192.0.2.1:56324 192.0.2.2:443, then GET /"),
        (b"PROXY TCP6 2001:DB8::1 ::1 1 0\r\n", "[2001:db8::1]:1 [::1]:0"),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2\r\n", "192.0.2.1:1 192.0.2.2:2"),
        (b"PROXY UNKNOWN\r\n\x16", "own, then \\x16"),
        (b"PROXY UNKNOWN ffff::1 what ever 1\r\n", "own"),
        (b"", "more"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r", "more"),
        (b"POST / HTTP/1.1\r\n", missing),
        (b"PROXYTCP4", missing),
        (b"proxy TCP4", missing),
        (b"\x16\x03\x01", missing),
        (b"PROXY UNKNOWNS\r\n", protocol),
        (b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", protocol),
        (b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", protocol),
        (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", protocol),
        (b"PROXY \r\n", protocol),
        (b"PROXY TCP4\r\n", parts),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", parts),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", parts),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", parts),
        (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", parts),
        (b"PROXY TCP4 192.0.2.1  1 2\r\n", address),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", address),
        (b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", address),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", address),
        (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", address),
        (b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", address),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", port),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", port),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", port),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n", port),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", &byte("0a")),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rGET", &byte("0d")),
        (b"PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n", &byte("09")),
        (b"PROXY TCP4 192.0.2.1\0", &byte("00")),
        (b"PROXY UNKNOWN \xff\r\n", &byte("ff")),
    ];
    for (bytes, expected) in cases {
        assert_eq!(told(bytes), *expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn version_2_carries_tcp_and_nothing_else() {
    let command = |n| format!("the PROXY header has version and command 0x{n}, which version 2 does not have");
    let transport = |n| format!("the PROXY header is for transport 0x{n}; only TCP over IPv4 or IPv6 is carried");
    let short = "the PROXY header's length leaves no room for its addresses";
    let fields = "the fields behind the PROXY header's addresses do not add up to its length";
    let six = [&[0; 15][..], &[1], &[0x20, 1, 0xd, 0xb8], &[0; 11], &[2, 0, 1, 0, 2]].concat();
    let mapped = [&[0; 10][..], &[255, 255, 192, 0, 2, 1], &[0; 10], &[255, 255, 192, 0, 2, 2], &[0, 1, 0, 2]].concat();
    let with = |more: &[u8]| v2(b"\x21\x11", &[FOUR, more].concat());
    let cases: &[(Vec<u8>, &str)] = &[
        (v2(b"\x21\x11", FOUR), "192.0.2.1:56324 192.0.2.2:443"),
        ([with(b"\x04\0\x01x\x03\0\0"), b"GET".to_vec()].concat(), "192.0.2.1:56324 192.0.2.2:443, then GET"),
        (v2(b"\x21\x21", &six), "[::1]:1 [2001:db8::2]:2"),
        (v2(b"\x21\x21", &mapped), "192.0.2.1:1 192.0.2.2:2"),
        (v2(b"\x20\0", b""), "own"),
        (v2(b"\x20\x11", FOUR), "own"),
        (v2(b"\x20\x31", b"what"), "own"),
        (v2(b"\x21\0", b"ever"), "own"),
        (v2(b"\x11\x11", FOUR), &command("11")),
        (v2(b"\x22\x11", FOUR), &command("22")),
        (v2(b"\x21\x12", FOUR), &transport("12")),
        (v2(b"\x21\x22", &six), &transport("22")),
        (v2(b"\x21\x31", &[b'/'; 216]), &transport("31")),
        (v2(b"\x21\x10", FOUR), &transport("10")),
        (v2(b"\x21\x11", &FOUR[..11]), short),
        (v2(b"\x21\x21", &six[..35]), short),
        (with(b"\x04"), fields),
        (with(b"\x04\0"), fields),
        (with(b"\x04\0\x02x"), fields),
        (with(b"\x04\0\0\x04\xff\xff"), fields),
        (SIGNATURE.to_vec(), "more"),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), &ProxyHeaderError::Missing.to_string()),
    ];
    for (bytes, expected) in cases {
        assert_eq!(told(bytes), *expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_header_is_bounded() {
    let line = |len: usize| [b"PROXY UNKNOWN ", &vec![b'x'; len - 16][..], b"\r\n"].concat();
    assert_eq!(told(&line(MAX_V1_BYTES)), "own");
    assert_eq!(read(&line(MAX_V1_BYTES + 1)), ProxyStep::Malformed(ProxyHeaderError::TooLong));
    assert_eq!(parse(&line(MAX_V1_BYTES + 1)[..MAX_V1_BYTES - 2]), ProxyStep::NeedMore);
    assert_eq!(told(&v2(b"\x20\0", &vec![0; MAX_V2_BYTES - 16])), "own");
    // Refused by its length, before there is any more of it.
    let head = v2(b"\x20\0", &vec![0; MAX_V2_BYTES - 15]);
    assert_eq!(read(&head[..16]), ProxyStep::Malformed(ProxyHeaderError::TooLong));
}

#[test]
fn what_is_written_is_read_and_two_families_become_ipv6() {
    let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    let cases = [
        ("192.0.2.1:1", "192.0.2.2:65535", "TCP4 192.0.2.1 192.0.2.2 1 65535"),
        ("[2001:db8::1]:1", "[::1]:2", "TCP6 2001:db8::1 ::1 1 2"),
        ("192.0.2.1:1", "[2001:db8::1]:2", "TCP6 ::ffff:c000:201 2001:db8::1 1 2"),
        ("[2001:db8::1]:1", "0.0.0.0:0", "TCP6 2001:db8::1 ::ffff:0:0 1 0"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.2:2", "TCP4 192.0.2.1 192.0.2.2 1 2"),
        (longest, longest, ""),
    ];
    for (client, listener, expected) in cases {
        let (client, listener) = (addr(client), addr(listener));
        let text = encode_v1(client, listener);
        assert!(text.len() <= MAX_V1_BYTES);
        assert!(expected.is_empty() || text == format!("PROXY {expected}\r\n").as_bytes(), "{}", text.escape_ascii());
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let said = format!("{} {}", canonical(client), canonical(listener));
        assert_eq!(told(&text), said);
        assert_eq!(told(&encode_v2(client, listener, Fields::default())), said);
    }
}

#[test]
fn version_2_says_the_server_name_and_the_protocol_agreed_on() {
    let name = DomainName::parse("shop.example.com").unwrap();
    let (client, listener) = (addr("192.0.2.1:56324"), addr("192.0.2.2:443"));
    let bytes = encode_v2(client, listener, Fields { authority: Some(&name), alpn: Some(b"h2") });
    assert_eq!(bytes, v2(b"\x21\x11", &[FOUR, b"\x01\0\x02h2\x02\0\x10shop.example.com"].concat()));
    let longest = DomainName::parse(&format!("{}a", "a.".repeat(126))).unwrap();
    let fullest = encode_v2(client, addr("[::1]:1"), Fields { authority: Some(&longest), alpn: Some(&[b'x'; 255]) });
    assert_eq!(fullest.len(), 16 + 36 + 2 * 3 + 253 + 255);
    assert_eq!(told(&fullest), "192.0.2.1:56324 [::1]:1");
    for no_protocol in [&[][..], &[b'x'; 256]] {
        let fields = Fields { authority: None, alpn: Some(no_protocol) };
        assert_eq!(encode_v2(client, listener, fields), v2(b"\x21\x11", FOUR));
    }
}

/// The addresses that ppp reads, and how many bytes the header has.
fn ppp_reads(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr, usize)> {
    use ppp::{HeaderResult, v1, v2};
    match ppp::HeaderResult::parse(bytes) {
        HeaderResult::V1(Ok(header)) => match header.addresses {
            v1::Addresses::Tcp4(ips) => Some((
                (ips.source_address, ips.source_port).into(),
                (ips.destination_address, ips.destination_port).into(),
                header.header.len(),
            )),
            v1::Addresses::Tcp6(ips) => Some((
                (ips.source_address, ips.source_port).into(),
                (ips.destination_address, ips.destination_port).into(),
                header.header.len(),
            )),
            v1::Addresses::Unknown => None,
        },
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Proxy => match header.addresses {
            v2::Addresses::IPv4(ips) => Some((
                (ips.source_address, ips.source_port).into(),
                (ips.destination_address, ips.destination_port).into(),
                header.len(),
            )),
            v2::Addresses::IPv6(ips) => Some((
                (ips.source_address, ips.source_port).into(),
                (ips.destination_address, ips.destination_port).into(),
                header.len(),
            )),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn whatever_addresses_we_read_ppp_reads_too() {
    let files = corpus("proxy_protocol");
    let mut agreed = 0;
    for (seed, file) in files.iter().enumerate() {
        for bytes in std::iter::once(file.clone()).chain(mutations(file, &files, seed).take(2_000)) {
            let ProxyStep::Header { consumed, header } = parse(&bytes) else { continue };
            let Some((client, listener)) = header.addresses else { continue };
            let (theirs, to, len) = ppp_reads(&bytes).unwrap_or_else(|| panic!("{}", bytes.escape_ascii()));
            let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
            assert_eq!(
                (client, listener, consumed),
                (canonical(theirs), canonical(to), len),
                "{}",
                bytes.escape_ascii()
            );
            agreed += 1;
        }
    }
    assert!(agreed > 1_000, "only {agreed} headers");
}
