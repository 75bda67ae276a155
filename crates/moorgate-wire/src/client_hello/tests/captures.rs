use super::{FRAGMENTS, capture, good, message, read, records};
use crate::client_hello::{ClientHello, HelloError, HelloReader, HelloStep, MAX_HELLO_WIRE_BYTES};

/// What is told of a hello, in one line.
fn told(hello: &ClientHello) -> String {
    let name = hello.server_name.as_ref().map_or("-", |name| name.as_str());
    let alpn: Vec<_> = hello.alpn().map(|protocol| protocol.escape_ascii().to_string()).collect();
    let tls13 = if hello.tls13 { " 1.3" } else { "" };
    let ech = if hello.ech { " ech" } else { "" };
    format!("{:04x}{tls13} {name} {}{ech}", hello.legacy_version, alpn.join(","))
}

/// The same however it is cut into segments and records.
fn check(client: &str, expected: &str) {
    let bytes = capture(client);
    let hello = good(&bytes);
    assert_eq!(told(&hello), expected, "{client}");
    assert_eq!(hello.consumed, bytes.len(), "{client}");
    for size in FRAGMENTS {
        let mut bytes = records(&message(&bytes), size);
        let cut = good(&bytes);
        assert_eq!(cut, ClientHello { consumed: bytes.len(), ..hello.clone() }, "{client} in records of {size}");
        // What comes behind the record is not looked at.
        bytes.extend(b"\x14\x03\x03\0\x01\x01");
        assert_eq!(good(&bytes), cut);
    }
}

#[test]
fn clients_are_understood_however_their_hello_is_cut() {
    let cases = [
        ("openssl_tls13", "0303 1.3 shop.example.com h2,http/1.1"),
        ("openssl_tls12", "0303 shop.example.com "),
        ("openssl_tls11", "0302 shop.example.com "),
        ("openssl_tls10", "0301 shop.example.com "),
        ("openssl_upper", "0303 1.3 shop.example.com "),
        ("openssl_no_name", "0303 1.3 - "),
        ("openssl_acme", "0303 1.3 shop.example.com acme-tls/1"),
        ("curl", "0303 1.3 shop.example.com h2,http/1.1"),
        ("curl_address", "0303 1.3 - h2,http/1.1"),
        ("python", "0303 1.3 shop.example.com http/1.1"),
        ("node", "0303 1.3 shop.example.com h2"),
        ("java", "0303 1.3 shop.example.com "),
        ("wget_gnutls", "0303 1.3 localhost "),
        ("curl_cffi_chrome", "0303 1.3 shop.example.com h2,http/1.1 ech"),
        ("curl_cffi_firefox", "0303 1.3 shop.example.com h2,http/1.1 ech"),
        ("curl_cffi_safari", "0303 1.3 shop.example.com h2,http/1.1"),
        ("curl_cffi_edge", "0303 1.3 shop.example.com h2,http/1.1"),
    ];
    for (client, expected) in cases {
        check(client, expected);
    }
}

#[test]
fn a_hello_that_comes_in_several_records_is_read_to_its_end() {
    let bytes = capture("openssl_fragments");
    assert_eq!(bytes.get(3..5), Some(&[2, 0][..]), "OpenSSL's records of 512 bytes");
    let hello = good(&bytes);
    assert_eq!(hello.alpn().count(), 60);
    assert!(hello.offers_alpn(b"proto-number-059") && !hello.offers_alpn(b"proto-number-05"));
    assert_eq!(hello.consumed, bytes.len());
}

#[test]
fn the_acme_protocol_is_told_from_others() {
    assert!(good(&capture("openssl_acme")).offers_alpn(b"acme-tls/1"));
    assert!(!good(&capture("curl_cffi_chrome")).offers_alpn(b"acme-tls/1"));
}

#[test]
fn a_hello_as_old_as_tls_1_0_needs_no_extensions() {
    let mut message = vec![1, 0, 0, 41, 3, 1];
    message.extend([7; 32]);
    message.extend([0, 0, 2, 0, 47, 1, 0]);
    let hello = good(&records(&message, 500));
    assert_eq!(told(&hello), "0301 - ");
    for size in FRAGMENTS {
        assert_eq!(told(&good(&records(&message, size))), "0301 - ");
    }
    // An empty list of extensions is one, too.
    message[3] += 2;
    message.extend([0, 0]);
    assert_eq!(told(&good(&records(&message, 500))), "0301 - ");
}

#[test]
fn a_hello_ends_within_64_kib_or_is_closed_without_an_alert() {
    let padded = message(&capture("padded"));
    assert!(padded.len() > 60_000);
    assert_eq!(told(&good(&records(&padded, 16_384))), "0303 1.3 shop.example.com ");
    // The same hello, with more heads of records than there is room for.
    let cut = records(&padded, 50);
    let mut reader = HelloReader::new();
    let end = (0..cut.len()).find(|&end| reader.feed(&cut[..end]) != HelloStep::NeedMore).unwrap();
    assert!(end <= MAX_HELLO_WIRE_BYTES && end > MAX_HELLO_WIRE_BYTES - 60, "{end}");
    assert_eq!(reader.feed(&cut), HelloStep::Refused(HelloError::TooLong));
    assert_eq!(HelloError::TooLong.alert(), None);
    // A length that cannot fit is refused before its content comes.
    let at_once = [22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf8];
    assert_eq!(HelloReader::new().feed(&at_once[..8]), HelloStep::NeedMore);
    assert_eq!(read(&at_once), HelloStep::Refused(HelloError::TooLong));
}

#[test]
fn bytes_that_were_seen_are_not_looked_at_again() {
    let bytes = records(&message(&capture("curl_cffi_chrome")), 1);
    let mut seen = Vec::new();
    let mut reader = HelloReader::new();
    for (at, &byte) in bytes.iter().enumerate() {
        assert_eq!(reader.feed(&seen), HelloStep::NeedMore, "{at}");
        seen.push(byte);
        // A record's head is looked at until it is whole.
        if at >= 5 {
            seen[at - 5] = 0xff;
        }
    }
    let HelloStep::Hello(hello) = reader.feed(&seen) else { panic!() };
    assert_eq!(hello, good(&bytes));
}

#[test]
fn the_last_word_is_repeated() {
    let mut reader = HelloReader::new();
    let refused = HelloStep::Refused(HelloError::NotTls(b'G'));
    assert_eq!(reader.feed(b"G"), refused);
    assert_eq!(reader.feed(&capture("curl")), refused);
    let mut reader = HelloReader::new();
    assert!(matches!(reader.feed(&capture("curl")), HelloStep::Hello(_)));
    assert_eq!(reader.feed(&capture("curl")), HelloStep::Refused(HelloError::Over));
}
