use super::{FRAGMENTS, HelloStep, read, records};
use crate::tls_record::{ALERT_DECODE_ERROR, ALERT_UNRECOGNIZED_NAME};

/// A hello that is right, in parts that a case changes.
struct Draft {
    version: Vec<u8>,
    session: Vec<u8>,
    suites: Vec<u8>,
    compression: Vec<u8>,
    extensions: Vec<u8>,
    /// Added to the length of the extensions, and of the message.
    lie: i32,
    message_lie: i32,
    /// Behind the message, in its last record.
    behind: Vec<u8>,
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn counted(len_bytes: usize, bytes: &[u8], lie: i32) -> Vec<u8> {
    let len = (bytes.len() as i32 + lie) as u32;
    [&len.to_be_bytes()[4 - len_bytes..], bytes].concat()
}

fn extension(kind: &str, content: &[u8]) -> Vec<u8> {
    [&hex(kind)[..], &counted(2, content, 0)].concat()
}

fn named(name: &[u8]) -> Vec<u8> {
    counted(2, &[&[0], &counted(2, name, 0)[..]].concat(), 0)
}

impl Draft {
    /// `part value; part value`, e.g. `suites 1301; ext 0010 0003026832`. A name's bytes may be escaped as `\x00`.
    fn parse(text: &str) -> Self {
        let mut draft = Self {
            version: vec![3, 3],
            session: vec![7; 32],
            suites: vec![0x13, 1],
            compression: vec![0],
            extensions: Vec::new(),
            lie: 0,
            message_lie: 0,
            behind: Vec::new(),
        };
        for part in text.split(';').map(str::trim_start).filter(|part| !part.is_empty()) {
            let (what, value) = part.split_once(' ').unwrap_or((part, ""));
            match what {
                "version" => draft.version = hex(value),
                "session" => draft.session = vec![7; value.parse().unwrap()],
                "suites" => draft.suites = hex(value),
                "compression" => draft.compression = hex(value),
                "ext" => {
                    let (kind, content) = value.split_once(' ').unwrap_or((value, ""));
                    draft.extensions.extend(extension(kind, &hex(content)));
                }
                "name" => draft.extensions.extend(extension("0000", &named(&unescape(value)))),
                "raw" => draft.extensions.extend(hex(value)),
                "lie" => draft.lie = value.parse().unwrap(),
                "message_lie" => draft.message_lie = value.parse().unwrap(),
                "behind" => draft.behind = hex(value),
                other => panic!("{other}?"),
            }
        }
        draft
    }

    fn message(&self) -> Vec<u8> {
        let body = [
            &self.version[..],
            &[9; 32],
            &counted(1, &self.session, 0),
            &counted(2, &self.suites, 0),
            &counted(1, &self.compression, 0),
            &counted(2, &self.extensions, self.lie),
        ];
        [&[1], &counted(3, &body.concat(), self.message_lie)[..], &self.behind].concat()
    }
}

fn unescape(text: &str) -> Vec<u8> {
    match text.split_once("\\x") {
        Some((before, rest)) => [before.as_bytes(), &hex(&rest[..2]), &unescape(&rest[2..])].concat(),
        None => text.as_bytes().to_vec(),
    }
}

/// The alert and the words.
fn refusal(bytes: &[u8]) -> String {
    match read(bytes) {
        HelloStep::Refused(why) => match why.alert() {
            Some(&ALERT_DECODE_ERROR) => format!("decode_error: {why}"),
            Some(&ALERT_UNRECOGNIZED_NAME) => format!("unrecognized_name: {why}"),
            Some(other) => panic!("{other:?}"),
            None => format!("close: {why}"),
        },
        other => format!("{other:?}"),
    }
}

/// `expected` is the alert and the words, the same for every cut into records; a `behind` is in one with the hello.
fn check(hello: &str, expected: &str) {
    let draft = Draft::parse(hello);
    let message = draft.message();
    assert_eq!(refusal(&records(&message, 16_384)), expected, "{hello}");
    for size in FRAGMENTS {
        if draft.behind.is_empty() {
            assert_eq!(refusal(&records(&message, size)), expected, "{hello} in records of {size}");
        }
    }
}

#[test]
fn what_is_no_hello_is_refused_at_the_first_byte_that_differs() {
    let http = "decode_error: the connection begins with 0x47 (plain HTTP; the URL must begin with https://), and TLS \
                is spoken here";
    let proxy = "decode_error: the connection begins with 0x50 (plain HTTP, or a PROXY header that is not expected \
                 from this address), and TLS is spoken here";
    let proxy2 = "decode_error: the connection begins with 0x0d (a PROXY header that is not expected from this \
                  address), and TLS is spoken here";
    let ssl2 =
        "decode_error: the connection begins with 0x80 (SSL 2, which is no longer spoken), and TLS is spoken here";
    let late = |n| {
        format!(
            "decode_error: the connection begins with 0x{n} (TLS, but not from its beginning), and TLS is spoken here"
        )
    };
    let cases: &[(&[u8], &str)] = &[
        (b"GET / HTTP/1.1\r\n", http),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n", proxy),
        (b"\r\n\r\n\0\r\nQUIT\n", proxy2),
        (&[0x80, 0x2e, 1, 0, 2], ssl2),
        (&[21, 3, 1, 0, 2, 1, 0], &late("15")),
        (&[20, 3, 3, 0, 1, 1], &late("14")),
        (&[0], "decode_error: the connection begins with 0x00, and TLS is spoken here"),
        (&[22, 2], "decode_error: there is 0x02 in a record's version, which TLS does not have"),
        (&[22, 3, 5], "decode_error: there is 0x05 in a record's version, which TLS does not have"),
        (&[22, 3, 1, 0, 0], "decode_error: a record is empty"),
        (&[22, 3, 1, 0x41], "decode_error: a record has more than 16384 bytes"),
        (&[22, 3, 1, 0x40, 1], "decode_error: a record has more than 16384 bytes"),
        (&[22, 3, 1, 0, 9, 2], "decode_error: the handshake begins with message type 2, not with a ClientHello"),
        (&[22, 3, 1, 0, 1, 1, 21, 3], "decode_error: a record of type 21 comes before the ClientHello is over"),
        (&[22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 0], "decode_error: a record is empty"),
        (&[22, 3, 1, 0, 4, 1, 1, 0, 0], "close: the ClientHello does not end within 64 KiB"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(refusal(bytes), *expected, "{}", bytes.escape_ascii());
    }
    for right in [&[][..], &[22], &[22, 3], &[22, 3, 4], &[22, 3, 1, 0x40], &[22, 3, 1, 0x40, 0]] {
        assert_eq!(read(right), HelloStep::NeedMore, "{right:?}");
    }
}

#[test]
fn a_hello_whose_parts_do_not_add_up_is_answered_with_decode_error() {
    let length = |what| format!("decode_error: a length in the ClientHello does not add up: that of its {what}");
    let empty = |what| format!("decode_error: the ClientHello has an empty list: that of its {what}");
    let version = |v| format!("decode_error: the ClientHello has version 0x{v}; use TLS 1.2 or 1.3");
    check("version 0300", &version("0300"));
    check("version 0200", &version("0200"));
    check("version 7f1c", &version("7f1c"));
    check("session 33", &length("session id"));
    check("suites 13", &length("cipher suites"));
    check("suites 130113", &length("cipher suites"));
    check("suites", &empty("cipher suites"));
    check("compression", &empty("compression methods"));
    check("name a.test; lie 1", &length("extensions"));
    check("name a.test; lie -1", &length("extensions"));
    check("name a.test; message_lie -1", &length("extensions"));
    check("lie 4", &length("extensions"));
    check("name a.test; raw 00", &length("extensions"));
    check("name a.test; raw 00170001", &length("extension 23"));
    check("ext 0017; ext 002b 020304; ext 0017", "decode_error: the ClientHello has two extensions of type 23");
    check("name a.test; name a.test", "decode_error: the ClientHello has two extensions of type 0");
    check("ext 002b", &length("supported versions"));
    check("ext 002b 00", &empty("supported versions"));
    check("ext 002b 0103", &length("supported versions"));
    check("ext 002b 04 0304", &length("supported versions"));
    check("ext 0010", &length("ALPN protocols"));
    check("ext 0010 0000", &empty("ALPN protocols"));
    check("ext 0010 0001 00", &length("ALPN protocols"));
    check("ext 0010 0003 03 6832", &length("ALPN protocols"));
    check("ext 0010 0003 02 6832 00", &length("ALPN protocols"));
    check("ext 0010 0004 02 6832 00", &length("ALPN protocols"));
    for (short, what) in [(1, "message"), (34, "message"), (66, "session id"), (68, "cipher suites")] {
        let mut message = Draft::parse("").message();
        message[1..4].copy_from_slice(&[0, 0, short]);
        assert_eq!(refusal(&records(&message, 7)), length(what), "{short}");
    }
    let followed = "decode_error: the ClientHello is followed by something else in the same record";
    check("name a.test; behind 00", followed);
    check("name a.test; behind 01000000", followed);
}

#[test]
fn a_server_name_that_names_no_host_is_refused() {
    let length = "decode_error: a length in the ClientHello does not add up: that of its server name";
    let empty = "decode_error: the ClientHello has an empty list: that of its server name";
    let two = "decode_error: the ClientHello has more than one server name; send one";
    check("ext 0000", length);
    check("ext 0000 0000", empty);
    check("ext 0000 0001 00", length);
    check("ext 0000 0003 00 0000", empty);
    check("ext 0000 0005 00 0003 6161", length);
    check("ext 0000 0004 00 0001 61 00", length);
    check("ext 0000 0008 00 0001 61 00 0001 62", two);
    check("ext 0000 0005 00 0001 61 00", two);
    check(
        "ext 0000 0004 01 0001 61",
        "decode_error: the ClientHello has a server name of type 1, which TLS does not have",
    );
    let name = |why: &str| format!("unrecognized_name: the server name is not right: {why}");
    check("name a.test.", &name(r#""a.test." is not canonical; write it without the dot at the end"#));
    check("name 127.1", &name(r#""127.1" is not a canonical address; write 127.0.0.1"#));
    check("name 127.0.0.1", "unrecognized_name: the server name is an address (127.0.0.1); connect to a name");
    check("name ::1", "unrecognized_name: the server name is an address (::1); connect to a name");
    check("name [::1]", "unrecognized_name: the server name is an address (::1); connect to a name");
    check("name b\\xc3\\xbccher.test", &name("\"bücher.test\" is not ASCII; write the name's xn-- form"));
    check("name a\\xff.test", &name("\"a\u{fffd}.test\" is not ASCII; write the name's xn-- form"));
    let holds = |text, c| {
        name(&format!("\"{text}\" is no host name: {c} cannot stand in a name: letters, digits, hyphens and dots can"))
    };
    check("name a.test\\x00.evil.test", &holds("a.test\\x00.evil.test", "'\\0'"));
    check("name *.test", &holds("*.test", "'*'"));
    check("name a/b", &holds("a/b", "'/'"));
    check("name a..test", &name(r#""a..test" is no host name: there is nothing between two dots"#));
    check("name a.test:443", &name(r#""a.test:443" is not an IPv6 address"#));
    let long = format!("name {}", "a.".repeat(127) + "aa");
    assert!(refusal(&records(&Draft::parse(&long).message(), 99)).ends_with("it has 256 bytes, a name at most 253"));
}

#[test]
fn no_words_of_a_refusal_act_on_a_terminal() {
    let message = Draft::parse("name \\x1b[2J\\x07").message();
    assert!(!refusal(&records(&message, 99)).contains(char::is_control));
}
