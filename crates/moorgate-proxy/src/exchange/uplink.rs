//! The way up of an exchange over HTTP/1: the client's body, decoded and handed on piece by piece.

use bytes::{Buf, BytesMut};
use moorgate_contract::{
    failure::{Code, Failure},
    limits::HEAD_BYTES,
};
use moorgate_net::buffer::read_some;
use moorgate_wire::http1::{BodyDecoder, BodyError, Framing};
use tokio::io::AsyncRead;

use super::{Stop, http1::Pieces};
use crate::{client::left, inbound::too_large};

/// The most bytes of one piece.
const PIECE: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Sending,
    /// The body is with the target; the client is only watched.
    Done,
    /// The target does not want the rest.
    Abandoned,
}

/// The client's side of the body. Every wait in it may be dropped and taken up again.
pub(super) struct Uplink<R> {
    pub(super) reader: R,
    pub(super) buffer: BytesMut,
    decoder: BodyDecoder,
    pub(super) pieces: Option<Pieces>,
    state: Up,
    /// Bytes of the body that may still come.
    room: Option<u64>,
    /// Whether a client that finishes its side has gone. Some do so as soon as they have asked; nobody does who waits for
    /// events without end, and such a stream may have nothing to say for long.
    pub(super) end_is_leaving: bool,
}

impl<R: AsyncRead + Unpin> Uplink<R> {
    pub(super) fn new(
        reader: R,
        buffer: BytesMut,
        pieces: Option<Pieces>,
        framing: Framing,
        most: Option<u64>,
    ) -> Self {
        let state = if pieces.is_some() { Up::Sending } else { Up::Done };
        Self { reader, buffer, decoder: BodyDecoder::new(framing), pieces, state, room: most, end_is_leaving: false }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == Up::Done
    }

    /// Resolves when the first data of a body in chunks is here, or its end, and all that is here is framed right. Before
    /// that the target hears nothing of the request: a head can't be taken back.
    pub(super) async fn begin(&mut self) -> Result<(), Stop> {
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

    async fn read(&mut self) -> Result<(), Stop> {
        match read_some(&mut self.reader, PIECE, &mut self.buffer).await {
            Ok(0) | Err(_) => Err(Stop::Client),
            Ok(_) => Ok(()),
        }
    }

    /// Resolves once, when the body has ended or is no longer wanted; afterwards only when the client breaks off.
    pub(super) async fn step(&mut self) -> Result<(), Stop> {
        while self.state == Up::Sending {
            let Some(pieces) = &self.pieces else { break };
            let most = self.buffer.len().min(PIECE);
            let window = self.buffer.get(..most).unwrap_or_default();
            // A copy of the decoder: the wait for room may be dropped, and the bytes are decoded again then.
            let mut decoder = self.decoder.clone();
            let decoded = decoder.decode(window).map_err(broken_framing)?;
            if decoded.data.is_empty() && decoded.consumed == 0 && !decoded.done {
                self.read().await?;
                continue;
            }
            let Ok(room) = pieces.reserve().await else {
                // Hyper takes no further piece of a body whose length it knows: then this is the end that nobody waits for.
                self.state = if self.decoder.is_done() { Up::Done } else { Up::Abandoned };
                return Ok(());
            };
            self.decoder = decoder;
            let mut piece = self.buffer.split_to(decoded.consumed);
            piece.truncate(decoded.data.end);
            piece.advance(decoded.data.start.min(piece.len()));
            let done = decoded.done;
            if let Some(room) = &mut self.room {
                *room = room.checked_sub(piece.len() as u64).ok_or_else(too_large)?;
            }
            if !piece.is_empty() {
                // The end needs a place of its own; the decoder stays done until it has one.
                room.send(Some(piece.freeze()));
            } else if done {
                room.send(None);
                self.pieces = None;
                self.state = Up::Done;
                return Ok(());
            }
        }
        if self.state == Up::Abandoned {
            return std::future::pending().await;
        }
        left(&mut self.reader, &mut self.buffer, HEAD_BYTES, self.end_is_leaving).await;
        Err(Stop::Client)
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
