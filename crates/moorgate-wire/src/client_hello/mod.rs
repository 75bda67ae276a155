//! The ClientHello at the front of a connection: where it wants to go, read without answering it
//! (RFC 8446 §4.1.2, §5.1; RFC 5246 §7.4.1.2; RFC 6066 §3).
//!
//! Nothing is decrypted, and nothing is changed: the caller keeps the bytes and forwards them as
//! they came. How a hello is cut into records and segments does not matter: today's do not fit one
//! segment, and who reads only the first piece sends them to the wrong route. With Encrypted
//! ClientHello (RFC 9849) the name is the outer one, in clear.

mod error;
mod extensions;
mod message;

pub use error::{Field, HelloError};

use crate::{
    client_hello::{
        extensions::Found,
        message::{Message, Progress},
    },
    name::DomainName,
};

/// Most bytes on the wire up to the end of a ClientHello, heads of records included. A real one
/// has 200 to 2,000; some clients pad.
pub const MAX_HELLO_WIRE_BYTES: usize = 64 * 1024;
/// Longest record before there are keys: 2^14 bytes (RFC 8446 §5.1, RFC 5246 §6.2.1).
pub const MAX_PLAINTEXT_BYTES: usize = 1 << 14;

/// Type, version, length (RFC 8446 §5.1).
const RECORD_HEAD_BYTES: usize = 5;
/// The record type of a handshake.
const HANDSHAKE: u8 = 22;

/// One per connection. It holds none of the bytes but the field it is in.
///
/// ```
/// use moorgate_wire::client_hello::{HelloReader, HelloStep};
///
/// let mut reader = HelloReader::new();
/// assert_eq!(reader.feed(&[22, 3, 1]), HelloStep::NeedMore);
/// assert!(matches!(HelloReader::new().feed(b"GET / HTTP/1.1"), HelloStep::Refused(_)));
/// ```
#[derive(Debug, Default)]
pub struct HelloReader {
    /// Bytes done with: whole heads, and any bytes behind them.
    at: usize,
    /// Bytes of the current record that are not done with; at 0 a head comes next.
    left: usize,
    message: Message,
    /// The last word, once it is spoken.
    over: Option<HelloError>,
}

/// What the bytes so far make.
#[derive(Debug, PartialEq, Eq)]
pub enum HelloStep {
    /// Right so far; feed again with more behind the same bytes.
    NeedMore,
    /// All of the hello.
    Hello(ClientHello),
    /// No byte that may follow makes it right: send [`HelloError::alert`] and close.
    Refused(HelloError),
}

/// What a ClientHello says about where it wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// `None` when there is no such extension, or no extension at all.
    pub server_name: Option<DomainName>,
    /// The version in the hello's head: 0x0303 for TLS 1.2 and 1.3.
    pub legacy_version: u16,
    /// Whether TLS 1.3 is among the versions that are offered (RFC 8446 §4.2.1).
    pub tls13: bool,
    /// Whether there is an `encrypted_client_hello`, real or GREASE (RFC 9849 §5, §6.2).
    pub ech: bool,
    /// Bytes on the wire up to the end of the record in which the hello ends.
    pub consumed: usize,
    /// A checked ProtocolNameList without its length (RFC 7301 §3.1).
    alpn: Box<[u8]>,
}

impl ClientHello {
    /// The protocols that are offered, in the client's order; none without the extension. At most
    /// what a hello has room for, each of 1 to 255 bytes, any.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        extensions::protocols(&self.alpn)
    }

    /// Whether this protocol is offered, e.g. `b"acme-tls/1"` (RFC 8737 §3).
    pub fn offers_alpn(&self, protocol: &[u8]) -> bool {
        self.alpn().any(|offered| offered == protocol)
    }
}

impl HelloReader {
    /// At the first byte of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at *all* the connection's bytes so far; what was seen before is not looked at again.
    /// It refuses at the first field that cannot be right, and the answer to the same bytes is the
    /// same however they arrived. After a refusal it repeats it; after a hello it is of no further use.
    pub fn feed(&mut self, buf: &[u8]) -> HelloStep {
        if let Some(why) = &self.over {
            return HelloStep::Refused(why.clone());
        }
        let (step, over) = match self.read(buf) {
            Ok(None) => return HelloStep::NeedMore,
            Ok(Some(hello)) => (HelloStep::Hello(hello), HelloError::Over),
            Err(why) => (HelloStep::Refused(why.clone()), why),
        };
        self.over = Some(over);
        step
    }

    fn read(&mut self, buf: &[u8]) -> Result<Option<ClientHello>, HelloError> {
        loop {
            let rest = buf.get(self.at..).unwrap_or_default();
            if self.left == 0 {
                let Some(len) = record_len(self.at, rest)? else { return Ok(None) };
                self.at += RECORD_HEAD_BYTES;
                self.left = len;
                continue;
            }
            if rest.is_empty() {
                return Ok(None);
            }
            let piece = rest.get(..self.left).unwrap_or(rest);
            self.at += piece.len();
            self.left -= piece.len();
            match self.message.push(piece)? {
                Progress::More => {}
                Progress::Whole { unread: 0 } if self.left == 0 => return Ok(Some(self.hello())),
                // Nothing that a client may send before our answer fits there, and rustls refuses it too.
                Progress::Whole { .. } => return Err(HelloError::Followed),
            }
        }
    }

    fn hello(&mut self) -> ClientHello {
        let Found { legacy_version, server_name, alpn, tls13, ech } = self.message.take_found();
        ClientHello { server_name, legacy_version, tls13, ech, consumed: self.at, alpn }
    }
}

/// The length in a record's head, judged byte by byte; `None` when it is not all there. `at` is
/// where in the connection the head begins.
fn record_len(at: usize, head: &[u8]) -> Result<Option<usize>, HelloError> {
    const LONGEST_HIGH: usize = MAX_PLAINTEXT_BYTES >> 8;
    let first = at + RECORD_HEAD_BYTES;
    if first >= MAX_HELLO_WIRE_BYTES {
        return Err(HelloError::TooLong);
    }
    match *head {
        [kind, ..] if kind != HANDSHAKE && at == 0 => Err(HelloError::NotTls(kind)),
        [kind, ..] if kind != HANDSHAKE => Err(HelloError::RecordType(kind)),
        [_, major, ..] if major != 3 => Err(HelloError::RecordVersion(major)),
        [_, _, minor, ..] if minor > 4 => Err(HelloError::RecordVersion(minor)),
        [_, _, _, high, ..] if usize::from(high) > LONGEST_HIGH => Err(HelloError::RecordTooLong),
        [_, _, _, high, low, ..] => match usize::from(u16::from_be_bytes([high, low])) {
            0 => Err(HelloError::EmptyRecord),
            len if len > MAX_PLAINTEXT_BYTES => Err(HelloError::RecordTooLong),
            len if first + len > MAX_HELLO_WIRE_BYTES => Err(HelloError::TooLong),
            len => Ok(Some(len)),
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
