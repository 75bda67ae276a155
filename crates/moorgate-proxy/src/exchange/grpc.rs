//! The body of a gRPC request, as hyper's HTTP/2 client takes it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// The client's body broke off: the target must not take it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the client's request body broke off")]
pub(crate) struct BrokeOff;

/// What the exchange reads of the client, piece by piece. A sender that is gone before it sent `None` broke off.
#[derive(Debug)]
pub(crate) struct Body {
    /// `None`: there is nothing, or nothing more.
    pub(crate) pieces: Option<mpsc::Receiver<Option<Bytes>>>,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        pieces.poll_recv(cx).map(|piece| match piece {
            Some(Some(data)) => Some(Ok(Frame::data(data))),
            Some(None) => None,
            None => Some(Err(BrokeOff)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.pieces.is_none() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
