//! The way up of an exchange over HTTP/1: the client's body, decoded piece by piece.

use std::sync::atomic::AtomicBool;

use bytes::{Buf, Bytes, BytesMut};
use moorgate_contract::{
    failure::{Code, Failure},
    limits::HEAD_BYTES,
};
use moorgate_net::buffer::{PIECE, read_some};
use moorgate_wire::http1::{BodyDecoder, BodyError, Framing};
use tokio::io::AsyncRead;

use super::{Stop, course::Source, framed::take_piece};
use crate::{client::left, inbound::too_large};

/// The client's side of the body.
pub(super) struct Uplink<R> {
    pub(super) reader: R,
    pub(super) buffer: BytesMut,
    decoder: BodyDecoder,
    /// Bytes of the body that may still come.
    room: Option<u64>,
}

impl<R: AsyncRead + Unpin> Uplink<R> {
    pub(super) fn new(reader: R, buffer: BytesMut, framing: Framing, most: Option<u64>) -> Self {
        Self { reader, buffer, decoder: BodyDecoder::new(framing), room: most }
    }

    async fn read(&mut self) -> Result<(), Stop> {
        match read_some(&mut self.reader, PIECE, &mut self.buffer).await {
            Ok(0) | Err(_) => Err(Stop::Client),
            Ok(_) => Ok(()),
        }
    }
}

impl<R: AsyncRead + Unpin + Send> Source for Uplink<R> {
    /// Resolves when the first data of a body in chunks is here, or its end, and all that is here is framed right. Before
    /// that the target hears nothing of the request: a head can't be taken back.
    async fn begin(&mut self) -> Result<(), Stop> {
        loop {
            let mut decoder = self.decoder.clone();
            let first = decoder.decode(&self.buffer).map_err(broken_framing)?;
            if !first.data.is_empty() || first.done {
                return check_framing(decoder, self.buffer.get(first.consumed..).unwrap_or_default());
            }
            // Framing without data is done with: whoever drips it must not have it read over and over.
            self.decoder = decoder;
            self.buffer.advance(first.consumed);
            self.read().await?;
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Stop> {
        loop {
            if let Some(piece) = take_piece(&mut self.decoder, &mut self.buffer).map_err(broken_framing)? {
                if let Some(room) = &mut self.room {
                    *room = room.checked_sub(piece.len() as u64).ok_or_else(too_large)?;
                }
                return Ok(Some(piece));
            }
            if self.decoder.is_done() {
                return Ok(None);
            }
            self.read().await?;
        }
    }

    async fn left(&mut self, is_leaving: &AtomicBool) -> Stop {
        left(&mut self.reader, &mut self.buffer, HEAD_BYTES, is_leaving).await;
        Stop::Client
    }

    async fn reason(&mut self) -> Stop {
        Stop::Client
    }
}

fn broken_framing(why: BodyError) -> Stop {
    Failure::new(Code::Malformed, format_args!("the request's body: {why}")).into()
}

/// Whether what has come of a body is framed right, as far as it goes.
fn check_framing(mut decoder: BodyDecoder, mut rest: &[u8]) -> Result<(), Stop> {
    while !rest.is_empty() && !decoder.is_done() {
        let decoded = decoder.decode(rest).map_err(broken_framing)?;
        rest = rest.get(decoded.consumed..).unwrap_or_default();
    }
    Ok(())
}
