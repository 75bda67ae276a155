//! What the first bytes of a TLS connection are, and the alerts that are sent before any TLS
//! library has seen a byte (RFC 8446 §5.1, §6). Reads nothing of a ClientHello.

/// Longest record a client may begin with: 2^14 of content and 2,048 of expansion, which only TLS
/// up to 1.2 allows (RFC 5246 §6.2.3).
pub const MAX_RECORD_BYTES: u16 = 16_384 + 2_048;

/// Fatal `unrecognized_name`: no route has this server name, or there was none (RFC 6066 §3).
pub const ALERT_UNRECOGNIZED_NAME: [u8; 7] = fatal(112);
/// Fatal `decode_error`: what came is not a TLS handshake.
pub const ALERT_DECODE_ERROR: [u8; 7] = fatal(50);
/// Fatal `internal_error`: the gateway cannot serve this connection now.
pub const ALERT_INTERNAL_ERROR: [u8; 7] = fatal(80);

/// What a connection's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// TLS so far; six bytes decide.
    NeedMore,
    /// A handshake record whose first message is a ClientHello.
    Handshake,
    /// Something else: plain HTTP, SSL 2, a scanner's guess.
    NotTls,
}

/// Looks at the first bytes, and refuses at the first one that TLS cannot begin with.
pub fn first(buf: &[u8]) -> First {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let tests: [fn(u8) -> bool; 3] = [|b| b == HANDSHAKE, |b| b == 3, |b| b <= 4];
    if buf.iter().zip(tests).any(|(&b, test)| !test(b)) {
        return First::NotTls;
    }
    match *buf {
        // The high byte alone tells a length beyond the limit.
        [_, _, _, high] if u16::from(high) > MAX_RECORD_BYTES >> 8 => First::NotTls,
        [_, _, _, high, low, ref rest @ ..] => {
            let len = u16::from_be_bytes([high, low]);
            if len == 0 || len > MAX_RECORD_BYTES {
                return First::NotTls;
            }
            match rest.first() {
                None => First::NeedMore,
                Some(&CLIENT_HELLO) => First::Handshake,
                Some(_) => First::NotTls,
            }
        }
        _ => First::NeedMore,
    }
}

/// A fatal alert in a record of version 3.3, which every version of TLS reads.
const fn fatal(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

#[cfg(test)]
mod tests;
