//! The way up, toward the target.

use std::{
    future::poll_fn,
    io::{self, Cursor},
    mem,
    sync::Arc,
};

use bytes::{Buf, Bytes};
use moorgate_contract::flow::Meter;
use moorgate_net::pace::poll_turn;
use moorgate_wire::http1::LAST_CHUNK;
use tokio::{
    io::{AsyncWriteExt as _, WriteHalf},
    sync::mpsc,
};

use super::{framed::write_piece, link::Link};

/// A request on its way to its target.
pub(super) enum Sending {
    /// Written as it comes. `ahead` is the head, until something goes with it.
    Http1 { writer: WriteHalf<Link>, ahead: Cursor<Vec<u8>>, chunked: bool },
    /// Its head is with hyper already, which takes the body piece by piece. `None` is its end.
    Http2 { pieces: mpsc::Sender<Option<Bytes>>, meter: Arc<Meter> },
}

/// The target wants no more of it, or is gone: its answer tells, if there is one.
#[derive(Debug)]
pub(super) struct Unwanted;

impl From<io::Error> for Unwanted {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Sending {
    /// Begins with this head, which goes with what comes next.
    pub(super) fn head(&mut self, head: Vec<u8>) {
        if let Self::Http1 { ahead, .. } = self {
            *ahead = Cursor::new(head);
        }
    }

    /// Sends the head, if nothing went with it yet.
    pub(super) async fn flush(&mut self) -> Result<(), Unwanted> {
        let Self::Http1 { writer, ahead, .. } = self else { return Ok(()) };
        writer.write_all_buf(ahead).await?;
        Ok(writer.flush().await?)
    }

    /// Waits until there is room for a piece. May be dropped and asked for again.
    pub(super) async fn ready(&mut self) -> Result<(), Unwanted> {
        match self {
            Self::Http1 { .. } => Ok(()),
            // Nobody else takes the room.
            Self::Http2 { pieces, .. } => pieces.reserve().await.map(drop).map_err(|_| Unwanted),
        }
    }

    /// Sends one piece of the body, which is never empty.
    pub(super) async fn piece(&mut self, piece: Bytes) -> Result<(), Unwanted> {
        match self {
            Self::Http1 { writer, ahead, chunked } => {
                write_piece(writer, mem::take(ahead), piece, *chunked).await?;
                Ok(writer.flush().await?)
            }
            Self::Http2 { pieces, meter } => {
                let length = piece.len() as u64;
                poll_fn(|cx| poll_turn(meter, cx)).await;
                pieces.send(Some(piece)).await.map_err(|_| Unwanted)?;
                meter.add_up(length);
                Ok(())
            }
        }
    }

    /// Says that the body is whole.
    pub(super) async fn end(&mut self) -> Result<(), Unwanted> {
        match self {
            Self::Http1 { writer, ahead, chunked } => {
                let last = if *chunked { LAST_CHUNK } else { &[] };
                writer.write_all_buf(&mut mem::take(ahead).chain(last)).await?;
                Ok(writer.flush().await?)
            }
            Self::Http2 { pieces, .. } => pieces.send(None).await.map_err(|_| Unwanted),
        }
    }
}
