use fast_socks5::{
    AuthenticationMethod, Socks5Command,
    client::{Config, Socks5Stream},
    util::target_addr::TargetAddr,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Client, ClientStep, Command, MAX_HANDSHAKE_BYTES, Reply, Server, SocksError, Step, encode_reply};
use crate::host::{Asked, HostPort};

/// Every step for bytes that arrive `cut` at a time; credentials are taken for right.
fn run(bytes: &[u8], cut: usize) -> Vec<Step> {
    let (mut server, mut steps) = (Server::new(), Vec::new());
    let (mut from, mut to) = (0, 0);
    loop {
        let step = server.feed(&bytes[from..to]);
        let consumed = match &step {
            Step::NeedMore if to == bytes.len() => return steps,
            Step::NeedMore => {
                to = bytes.len().min(to + cut);
                continue;
            }
            Step::Send { consumed, .. } | Step::Authenticate { consumed, .. } => *consumed,
            _ => {
                steps.push(step);
                return steps;
            }
        };
        from += consumed;
        steps.push(step);
    }
}

fn check(bytes: &[u8], expected: Vec<Step>) {
    for cut in 1..=bytes.len() {
        assert_eq!(run(bytes, cut), expected, "{} in pieces of {cut}", bytes.escape_ascii());
    }
}

fn hello() -> Vec<u8> {
    b"\x05\x02\x00\x02\x01\x04user\x04pass".to_vec()
}

/// What [`hello`] makes, and then `last`.
fn after_hello(last: Step) -> Vec<Step> {
    let credentials = Step::Authenticate { consumed: 11, username: (*b"user").into(), password: (*b"pass").into() };
    vec![Step::Send { consumed: 4, bytes: vec![5, 2] }, credentials, last]
}

fn request(consumed: usize, command: Command, asked: Asked) -> Step {
    Step::Request { consumed, command, asked }
}

#[test]
fn a_request_is_the_same_however_its_bytes_arrive() {
    let v4 = Asked::from_ip([127, 0, 0, 1].into(), 443);
    let v6 = Asked::from_ip("2001:db8::1".parse().unwrap(), 80);
    let mut v6_bytes = b"\x05\x01\x00\x04\x20\x01\x0d\xb8".to_vec();
    v6_bytes.extend([0; 11]);
    v6_bytes.extend([1, 0, 80]);
    let cases: [(&[u8], Step); 10] = [
        (b"\x05\x01\x00\x03\x0bexample.com\x01\xbb", request(18, Command::Connect, Asked::new("example.com", 443))),
        (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb", request(10, Command::Connect, v4)),
        (&v6_bytes, request(22, Command::Connect, v6)),
        (b"\x05\x01\x00\x03\x09127.0.0.1\x00\x50", request(16, Command::Connect, Asked::new("127.0.0.1", 80))),
        (b"\x05\x01\x00\x03\x00\x00\x50", request(7, Command::Connect, Asked::new("", 80))),
        (b"\x05\x01\x00\x03\x02\xff\xfe\x00\x50", request(9, Command::Connect, Asked::from_bytes(b"\xff\xfe", 80))),
        (b"\x05\x02\x00\x03\x01a\x00\x50", request(8, Command::Bind, Asked::new("a", 80))),
        (b"\x05\x03\x00\x03\x01a\x00\x50", request(8, Command::UdpAssociate, Asked::new("a", 80))),
        (b"\x05\x09\x00\x03\x01a\x00\x50", request(8, Command::Other(9), Asked::new("a", 80))),
        (b"\x05\x01\x00\x05", Step::UnsupportedAddressType { consumed: 4 }),
    ];
    for (bytes, last) in cases {
        check(&[&hello(), bytes].concat(), after_hello(last));
    }
}

#[test]
fn early_bytes_of_the_tunnel_are_not_taken() {
    let bytes = [&hello()[..], b"\x05\x01\x00\x03\x01a\x00\x50early"].concat();
    let steps = run(&bytes, bytes.len());
    assert_eq!(steps.last(), Some(&request(8, Command::Connect, Asked::new("a", 80))));
}

#[test]
fn an_address_as_a_name_is_the_address() {
    let (name, ip) = (Asked::new("127.0.0.1", 80), Asked::from_ip([127, 0, 0, 1].into(), 80));
    assert_eq!(name, ip);
    assert!(Asked::new("0x7f.1", 80).host.is_err());
}

#[test]
fn what_is_no_handshake_is_refused_at_the_byte_that_shows_it() {
    let malformed = |why| vec![Step::Malformed(why)];
    check(b"\x05\x00", vec![Step::NoAcceptableMethod { consumed: 2, bytes: [5, 0xff] }]);
    check(b"\x05\x02\x00\x01", vec![Step::NoAcceptableMethod { consumed: 4, bytes: [5, 0xff] }]);
    check(b"\x04\x01", malformed(SocksError::NotSocks5(4)));
    check(b"GET /", malformed(SocksError::NotSocks5(b'G')));
    check(b"\x16\x03\x01", malformed(SocksError::NotSocks5(22)));
    let greeted = |why| vec![Step::Send { consumed: 3, bytes: vec![5, 2] }, Step::Malformed(why)];
    check(b"\x05\x01\x02\x05", greeted(SocksError::AuthVersion(5)));
    check(&[&hello()[..], b"\x04"].concat(), after_hello(Step::Malformed(SocksError::Version(4))));
    assert_eq!(
        SocksError::NotSocks5(b'G').to_string(),
        "the connection begins with 0x47 (HTTP), and SOCKS5 is spoken here"
    );
}

#[test]
fn the_longest_handshake_fits_its_buffer() {
    let mut bytes = [&[5, 255][..], &[2; 255], &[1, 255], &[b'u'; 255], &[255], &[b'p'; 255]].concat();
    bytes.extend([&[5, 1, 0, 3, 255][..], &[b'a'; 255], &[1, 187]].concat());
    assert_eq!(bytes.len(), MAX_HANDSHAKE_BYTES);
    assert!(matches!(run(&bytes, 1).last(), Some(Step::Request { consumed: 262, asked, .. }) if asked.host.is_err()));
}

#[test]
fn a_password_is_not_in_debug_output() {
    let steps = run(b"\x05\x01\x02\x01\x04user\x07hunter2", 1);
    assert_eq!(format!("{steps:?}"), "[Send(3, [5, 2]), Authenticate(14, \"user\", …)]");
    let target = HostPort::parse("a.test:1").unwrap();
    assert!(!format!("{:?}", Client::new("user", "hunter2", &target)).contains("hunter2"));
}

#[test]
fn replies_have_the_codes_of_rfc_1928() {
    assert_eq!(encode_reply(Reply::Succeeded, ([192, 0, 2, 1], 443).into()), [5, 0, 0, 1, 192, 0, 2, 1, 1, 187]);
    let v6 = encode_reply(Reply::CommandNotSupported, "[::1]:80".parse().unwrap());
    assert_eq!((&v6[..4], v6.len()), (&[5, 7, 0, 4][..], 22));
    for code in 0..=8 {
        assert_eq!(Reply::from_code(code).map(Reply::code), Some(code));
    }
    assert_eq!(Reply::from_code(9), None);
    assert_eq!((Server::auth_reply(true), Server::auth_reply(false)), ([1, 0], [1, 1]));
}

/// What the proxy says before, what it says last, and what the agent makes of that.
type Answer<'a> = (&'a [&'a [u8]], &'a [u8], ClientStep);

#[test]
fn the_agent_understands_every_answer() {
    let target = HostPort::parse("a.test:80").unwrap();
    let ok: [&[u8]; 2] = [b"\x05\x02", b"\x01\x00"];
    let cases: [Answer<'_>; 9] = [
        (&ok, b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00banner", ClientStep::Done { consumed: 10 }),
        (&ok, b"\x05\x00\x00\x03\x01a\x00\x00x", ClientStep::Done { consumed: 8 }),
        (&ok, b"\x05\x05", ClientStep::Refused { reply: 5 }),
        (&ok, b"\x05\x00\x00\x09", ClientStep::Malformed(SocksError::ReplyAddressType(9))),
        (&ok, b"\x01", ClientStep::Malformed(SocksError::Version(1))),
        (&ok[..1], b"\x01\x01", ClientStep::AuthFailed),
        (&[], b"\x05\xff", ClientStep::Malformed(SocksError::Method(0xff))),
        (&[], b"HTTP", ClientStep::Malformed(SocksError::NotSocks5(b'H'))),
        (&[], b"\x05\x02\x01", ClientStep::Malformed(SocksError::Unasked)),
    ];
    for (before, last, expected) in cases {
        let mut client = Client::new("user", "pass", &target);
        assert_eq!(client.feed(&[]), ClientStep::Send(vec![5, 1, 2]));
        for bytes in before {
            assert_eq!(client.feed(&bytes[..1]), ClientStep::NeedMore);
            assert!(matches!(client.feed(bytes), ClientStep::Send(_)));
        }
        assert_eq!(client.feed(last), expected, "{}", last.escape_ascii());
        assert_eq!(client.feed(last), ClientStep::Malformed(SocksError::Over));
    }
    let mut mute = Client::new("user", "", &target);
    assert_eq!(mute.feed(&[]), ClientStep::Malformed(SocksError::CredentialLength));
}

/// A handshake of fast-socks5's client with our server.
async fn with_fast_socks5(target: TargetAddr) -> (Vec<Step>, String) {
    let (mut ours, theirs) = tokio::io::duplex(4096);
    let auth = AuthenticationMethod::Password { username: "user".into(), password: "pass".into() };
    let client = tokio::spawn(async move {
        let mut stream = Socks5Stream::use_stream(theirs, Some(auth), Config::default()).await.unwrap();
        stream.request(Socks5Command::TCPConnect, target).await.unwrap().to_string()
    });
    let (mut server, mut steps, mut buf) = (Server::new(), Vec::new(), Vec::new());
    loop {
        let step = server.feed(&buf);
        let (consumed, answer) = match &step {
            Step::NeedMore => {
                assert_ne!(ours.read_buf(&mut buf).await.unwrap(), 0);
                continue;
            }
            Step::Send { consumed, bytes } => (*consumed, bytes.clone()),
            Step::Authenticate { consumed, .. } => (*consumed, Server::auth_reply(true).into()),
            Step::Request { consumed, .. } => {
                (*consumed, encode_reply(Reply::Succeeded, ([192, 0, 2, 1], 40000).into()))
            }
            other => panic!("{other:?}"),
        };
        buf.drain(..consumed);
        ours.write_all(&answer).await.unwrap();
        steps.push(step);
        if steps.len() == 3 {
            return (steps, client.await.unwrap());
        }
    }
}

#[tokio::test]
async fn another_projects_client_gets_through() {
    let cases = [
        (TargetAddr::Domain("example.com".into(), 443), request(18, Command::Connect, Asked::new("example.com", 443))),
        (TargetAddr::Ip("[::1]:80".parse().unwrap()), request(22, Command::Connect, Asked::new("::1", 80))),
    ];
    for (target, expected) in cases {
        let (steps, bound) = with_fast_socks5(target).await;
        assert_eq!(steps, after_hello(expected));
        assert_eq!(bound, "192.0.2.1:40000");
    }
}
