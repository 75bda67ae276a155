//! HTTP/1 heads and body framing (RFC 9110, RFC 9112) over httparse, stricter than it: what two
//! readers could read differently is refused, and what goes on is written anew from the value.

mod body;
mod error;
mod head;
mod headers;
mod lines;
mod request;
mod response;
mod target;
mod trailers;

pub use body::{
    BodyDecoder, BodyError, CHUNK_END, ChunkHead, Decoded, LAST_CHUNK, MAX_CHUNK_EXTENSION_BYTES, MAX_TRAILER_BYTES,
    encode_chunk_head,
};
pub use error::HeadError;
pub use head::{HeadStep, parse_request};
pub use headers::Headers;
pub use request::{Framing, Method, RequestHead, Version};
pub use response::{
    ResponseFraming, ResponseHead, ResponseStep, encode_connect, encode_request, may_end_head, parse_response,
    parse_target_response, reason, response_framing, response_keeps_alive,
};
pub use target::{Scheme, Target};
pub use trailers::{accepts_trailers, encode_last_chunk, may_trail};

/// Longest head, in bytes, from the first of the request line to the empty line's last.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most fields in a head.
pub const MAX_HEADERS: usize = 100;
/// Longest method, in bytes.
pub const MAX_METHOD_BYTES: usize = 32;

/// For each byte, whether it may stand in a token.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let (mut rest, mut byte) = (table.as_mut_slice(), 0_u8);
    while let [place, after @ ..] = rest {
        *place = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte = byte.wrapping_add(1);
        rest = after;
    }
    table
};

/// A byte of a token (RFC 9110 §5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).is_some_and(|&is_token| is_token)
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

#[cfg(test)]
mod tests;
