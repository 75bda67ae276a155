//! The ClientHello: cut into any segments and any records it says the same.

use crate::client_hello::{ClientHello, HelloError, HelloReader, HelloStep, MAX_HELLO_WIRE_BYTES};

/// Longest input that is cut at every byte; beyond it pieces grow.
const MAX_FINE_BYTES: usize = 2_048;

/// Cuts into segments do not matter, and neither do cuts into records.
pub fn client_hello(data: &[u8]) {
    let whole = HelloReader::new().feed(data);
    let fine = (data.len() / MAX_FINE_BYTES).max(1);
    assert_eq!(whole, in_pieces(data, fine), "cut at every byte");
    assert_eq!(whole, in_pieces(data, 1_460), "cut into segments");
    match &whole {
        HelloStep::NeedMore => assert!(data.len() < MAX_HELLO_WIRE_BYTES, "waits beyond its limit"),
        HelloStep::Hello(hello) => {
            let wire = data.get(..hello.consumed);
            assert!(wire.is_some_and(|wire| wire.len() <= MAX_HELLO_WIRE_BYTES), "took more than it may");
            let wire = wire.unwrap_or_default();
            assert_eq!(HelloReader::new().feed(wire), whole, "what comes behind it was read");
            for size in [1, 7, 700] {
                same_in_records(hello, wire, size);
            }
        }
        HelloStep::Refused(why) => {
            assert!(!why.to_string().contains(char::is_control), "a peer's control byte reaches the reader");
        }
    }
}

/// The answer to bytes that come `piece` at a time.
fn in_pieces(data: &[u8], piece: usize) -> HelloStep {
    let mut reader = HelloReader::new();
    let mut end = 0;
    loop {
        let step = reader.feed(data.get(..end).unwrap_or_default());
        if step != HelloStep::NeedMore || end == data.len() {
            return step;
        }
        end = data.len().min(end + piece);
    }
}

fn same_in_records(hello: &ClientHello, wire: &[u8], size: usize) {
    let cut = records(&message(wire), size);
    match HelloReader::new().feed(&cut) {
        HelloStep::Hello(mut again) => {
            assert_eq!(again.consumed, cut.len());
            again.consumed = hello.consumed;
            assert_eq!(again, *hello, "in records of {size}");
        }
        other => {
            assert_eq!(other, HelloStep::Refused(HelloError::TooLong), "in records of {size}");
            assert!(cut.len() > MAX_HELLO_WIRE_BYTES);
        }
    }
}

/// The content of whole records.
fn message(mut wire: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = wire {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (content, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        out.extend_from_slice(content);
        wire = behind;
    }
    out
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for content in message.chunks(size) {
        out.extend_from_slice(&[22, 3, 1]);
        out.extend_from_slice(&u16::try_from(content.len()).unwrap_or_default().to_be_bytes());
        out.extend_from_slice(content);
    }
    out
}
