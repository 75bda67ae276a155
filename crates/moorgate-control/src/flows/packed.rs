//! Lines of flows as they are kept in the file: packed, since one flow is much like the next. What is written and later made
//! room for is a fifth, which spares more than the packing takes.

use lz4_flex::block::{compress_into, decompress, get_maximum_output_size};

/// First byte of what is packed: an LZ4 block behind the length that it unpacks to (4 bytes, little-endian). Lines of JSON
/// begin with a brace.
const LZ4: u8 = 1;
const HEAD: usize = 5;
/// More than a row's flows can take: their texts are bounded.
const MAX_BYTES: usize = 64 << 20;

/// Packs lines, where that makes them shorter.
pub(super) fn pack(lines: &str) -> Vec<u8> {
    let plain = || lines.as_bytes().to_vec();
    let Some(length) = u32::try_from(lines.len()).ok().filter(|length| *length as usize <= MAX_BYTES) else {
        return plain();
    };
    let mut packed = vec![0; HEAD + get_maximum_output_size(lines.len())];
    let (head, block) = packed.split_at_mut(HEAD);
    let Ok(taken) = compress_into(lines.as_bytes(), block) else { return plain() };
    if HEAD + taken >= lines.len() {
        return plain();
    }
    head.copy_from_slice(&[&[LZ4], length.to_le_bytes().as_slice()].concat());
    packed.truncate(HEAD + taken);
    packed
}

/// The lines again, packed or as they were kept before they were. `None` when the file is damaged there.
pub(super) fn unpack(kept: Vec<u8>) -> Option<String> {
    let lines = match kept.split_first_chunk::<HEAD>() {
        Some(([LZ4, length @ ..], block)) => {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= MAX_BYTES);
            length.and_then(|length| decompress(block, length).ok())
        }
        _ => Some(kept),
    };
    let lines = lines.and_then(|lines| String::from_utf8(lines).ok());
    if lines.is_none() {
        tracing::warn!("some kept flows can't be read: the file is damaged there");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_or_kept_before_is_unpacked_and_what_is_damaged_is_left_out() {
        let line = r#"{"id":"1234567890abc","said":"ä"}"#;
        let many = [line; 500].join("\n");
        let packed = pack(&many);
        assert!(packed.len() * 5 < many.len(), "{} bytes of {}", packed.len(), many.len());
        assert_eq!(unpack(packed.clone()), Some(many));
        for short in [line, ""] {
            assert_eq!(unpack(pack(short)).as_deref(), Some(short));
            assert_eq!(unpack(short.into()).as_deref(), Some(short));
        }
        for damaged in [&packed[..9], &[LZ4, 255, 255, 255, 255, 0], &[LZ4, 9, 0, 0, 0, 0x10, 0xff], b"\xff"] {
            assert_eq!(unpack(damaged.to_vec()), None, "{damaged:?}");
        }
    }
}
