mod captures;
mod refusals;
mod rustls_agrees;

use std::{fs, path::Path};

use super::{ClientHello, HelloReader, HelloStep};

/// Sizes of records into which a hello is cut again.
const FRAGMENTS: [usize; 4] = [1, 2, 7, 100];

/// A file of the fuzzing corpus; the names say which client sent it. `curl_cffi_…` are not the browsers themselves:
/// curl_cffi 0.17 sent them, on BoringSSL, with a browser's choices. `padded` is OpenSSL's hello with 60,000 bytes of
/// padding put in, and what bears no client's name is made by hand.
fn capture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/client_hello").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The answer, which must be the same for bytes that come at once, one by one, or in odd pieces.
fn read(bytes: &[u8]) -> HelloStep {
    let whole = HelloReader::new().feed(bytes);
    for piece in [1, 3, 1460] {
        let mut reader = HelloReader::new();
        let ends = (0..=bytes.len()).step_by(piece).chain([bytes.len()]);
        let mut steps =
            ends.map(|end| (end, reader.feed(&bytes[..end]))).filter(|(_, step)| *step != HelloStep::NeedMore);
        let (end, step) = steps.next().unwrap_or((bytes.len(), HelloStep::NeedMore));
        assert_eq!(step, whole, "in pieces of {piece}, at {end}");
        if let HelloStep::Hello(hello) = &step {
            assert!(hello.consumed <= end && hello.consumed + piece > end, "hello of {} at {end}", hello.consumed);
        }
    }
    whole
}

fn good(bytes: &[u8]) -> ClientHello {
    match read(bytes) {
        HelloStep::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

/// The handshake bytes of whole records.
fn message(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = bytes {
        let (piece, behind) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        out.extend(piece);
        bytes = behind;
    }
    out
}

/// A message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message
        .chunks(size)
        .flat_map(|piece| [&[22, 3, 1], &(piece.len() as u16).to_be_bytes()[..], piece].concat())
        .collect()
}
