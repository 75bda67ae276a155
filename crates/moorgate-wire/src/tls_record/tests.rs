use super::{ALERT_DECODE_ERROR, ALERT_INTERNAL_ERROR, ALERT_UNRECOGNIZED_NAME, First, first};

#[test]
fn tls_is_told_from_anything_else_at_the_first_byte_that_differs() {
    let cases: &[(&[u8], First)] = &[
        (&[], First::NeedMore),
        (&[22], First::NeedMore),
        (&[22, 3, 1, 2, 0], First::NeedMore),
        (&[22, 3, 1, 2, 0, 1], First::Handshake),
        (&[22, 3, 4, 0, 1, 1, 9], First::Handshake),
        (&[22, 3, 1, 0x48, 0, 1], First::Handshake),
        (&[22, 3, 1, 0x48, 1, 1], First::NotTls),
        (&[22, 3, 1, 0x49], First::NotTls),
        (&[22, 3, 1, 0, 0], First::NotTls),
        (&[22, 3, 1, 2, 0, 2], First::NotTls),
        (&[22, 3, 5], First::NotTls),
        (&[22, 2], First::NotTls),
        (&[21, 3, 3], First::NotTls),
        (b"GET / HTTP/1.1", First::NotTls),
        (&[0x80, 0x2e, 1, 0, 2], First::NotTls),
    ];
    for (bytes, expected) in cases {
        assert_eq!(first(bytes), *expected, "{bytes:?}");
        for cut in 0..bytes.len() {
            let early = first(&bytes[..cut]);
            assert!(early == First::NeedMore || early == *expected, "{bytes:?} cut at {cut}");
        }
    }
}

#[test]
fn alerts_are_fatal_and_readable_by_every_version() {
    assert_eq!(ALERT_UNRECOGNIZED_NAME, [21, 3, 3, 0, 2, 2, 112]);
    assert_eq!(ALERT_DECODE_ERROR, [21, 3, 3, 0, 2, 2, 50]);
    assert_eq!(ALERT_INTERNAL_ERROR, [21, 3, 3, 0, 2, 2, 80]);
}
