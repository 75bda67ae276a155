//! Bodies of HTTP/1, piece by piece, whoever sends them: out of a buffer and into a writer, in their framing.

use std::{
    io::{self, Cursor},
    mem,
};

use bytes::{Buf, Bytes, BytesMut};
use moorgate_net::buffer::{PIECE, SMALL, take_small};
use moorgate_wire::http1::{BodyDecoder, BodyError, CHUNK_END, encode_chunk_head};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Takes the next piece of a body out of its framing and out of `buffer`; never an empty one. `None`: the body is over, or
/// no more of it is here.
pub(super) fn take_piece(decoder: &mut BodyDecoder, buffer: &mut BytesMut) -> Result<Option<Bytes>, BodyError> {
    while !decoder.is_done() && !buffer.is_empty() {
        let is_small_rest = buffer.len() <= SMALL && decoder.left() == Some(buffer.len() as u64);
        let window = buffer.get(..buffer.len().min(PIECE)).unwrap_or_default();
        let decoded = decoder.decode(window)?;
        let mut piece = match buffer.len() {
            all if all > decoded.consumed => buffer.split_to(decoded.consumed),
            _ if is_small_rest => take_small(mem::take(buffer)),
            // The last part of a buffer takes the buffer along.
            _ => mem::take(buffer),
        };
        piece.truncate(decoded.data.end);
        piece.advance(decoded.data.start.min(piece.len()));
        if !piece.is_empty() {
            return Ok(Some(piece.freeze()));
        }
    }
    Ok(None)
}

/// Writes one piece in its framing, behind what is `ahead` of it: one write for both.
pub(super) async fn write_piece<W: AsyncWrite + Unpin>(
    writer: &mut W,
    ahead: Cursor<Vec<u8>>,
    piece: Bytes,
    chunked: bool,
) -> io::Result<()> {
    if chunked {
        let line = encode_chunk_head(piece.len());
        writer.write_all_buf(&mut ahead.chain(Buf::chain(&*line, piece)).chain(CHUNK_END)).await
    } else {
        writer.write_all_buf(&mut ahead.chain(piece)).await
    }
}
