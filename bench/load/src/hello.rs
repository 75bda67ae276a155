//! A ClientHello that no key stands behind: what a passthrough proxy reads of TLS, and an origin drops. RFC 8446 §4.1.2.

/// What a ClientHello of today's browsers takes on the wire, its record's head included.
const SIZE: usize = 517;
/// The bytes of a record's head.
pub(crate) const RECORD_HEAD: usize = 5;
/// A record's first byte when it carries a handshake.
pub(crate) const HANDSHAKE: u8 = 22;

/// A TLS 1.3 ClientHello with this server name, padded to 517 bytes (longer names make it longer).
pub(crate) fn client_hello(name: &str) -> Vec<u8> {
    let unpadded = with_padding(name, 0).len();
    with_padding(name, SIZE.saturating_sub(unpadded))
}

fn with_padding(name: &str, padding: usize) -> Vec<u8> {
    let name = [&[0][..], &sized(name.as_bytes())].concat();
    let share = [&[0, 0x1d][..], &sized(&[7; 32])].concat();
    let extensions = [
        extension(0, &sized(&name)),
        // supported_versions: 1.3 alone.
        extension(43, &[2, 3, 4]),
        // supported_groups: X25519.
        extension(10, &sized(&[0, 0x1d])),
        // signature_algorithms: ecdsa_secp256r1_sha256, rsa_pss_rsae_sha256.
        extension(13, &sized(&[4, 3, 8, 4])),
        // key_share: some 32 bytes.
        extension(51, &sized(&share)),
        // ALPN, as nearly every client has it.
        extension(16, &sized(b"\x08http/1.1")),
        extension(21, &vec![0; padding]),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[9; 32],
        // A session id, as clients send it for the sake of middleboxes.
        &[32],
        &[5; 32],
        &sized(&[0x13, 1, 0x13, 2, 0x13, 3]),
        &[1, 0],
        &sized(&extensions),
    ]
    .concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &sized(&message)].concat()
}

/// Bytes behind their length, in two bytes. Nothing here is near 64 KiB.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(content)].concat()
}

#[cfg(test)]
mod tests;
