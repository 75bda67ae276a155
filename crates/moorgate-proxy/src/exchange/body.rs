//! A request's body on its way to the target.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{mpsc, oneshot};

/// The client's body broke off: the target must not take it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the client's request body broke off")]
pub(crate) struct BrokeOff;

/// A body that is read from the client as the target takes it.
pub(crate) enum Body {
    /// There is none.
    Empty,
    /// Pieces that another part of the same task reads and sends here; a sender that is gone before `None` was sent broke off.
    Pieces { pieces: mpsc::Receiver<Option<Bytes>>, length: Option<u64> },
    /// The data of an h2 stream. `whole` goes when nothing more is to be read of it.
    Stream { stream: h2::RecvStream, length: Option<u64>, whole: Option<oneshot::Sender<()>> },
}

impl Body {
    /// Its length, when the client said it. `None` for chunked bodies and for none at all.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => None,
            Self::Pieces { length, .. } | Self::Stream { length, .. } => *length,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Pieces { pieces, .. } => pieces.poll_recv(cx).map(|piece| match piece {
                Some(Some(data)) => Some(Ok(Frame::data(data))),
                Some(None) => None,
                None => Some(Err(BrokeOff)),
            }),
            Self::Stream { stream, whole, .. } => match stream.poll_data(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => {
                    *whole = None;
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(BrokeOff))),
                Poll::Ready(Some(Ok(data))) => {
                    // Hyper holds one piece at a time, so the window can be given back as soon as it is taken.
                    let _ = stream.flow_control().release_capacity(data.len());
                    if stream.is_end_stream() {
                        *whole = None;
                    }
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            // Without the exact length hyper would frame a body of known length in chunks.
            Self::Pieces { length, .. } | Self::Stream { length, .. } => {
                length.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}
