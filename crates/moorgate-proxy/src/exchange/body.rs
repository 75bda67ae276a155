//! A request's body on its way to the target.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Frame, SizeHint};
use moorgate_contract::flow::Meter;
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
    /// The data of an h2 stream.
    Stream(StreamBody),
}

/// The body of a request that came on an h2 stream.
pub(crate) struct StreamBody {
    pub(crate) stream: h2::RecvStream,
    pub(crate) length: Option<u64>,
    /// Is told whether it was whole; goes when nothing more is to be read.
    pub(crate) end: Option<oneshot::Sender<End>>,
    /// Bytes that may still come.
    pub(crate) left: Option<u64>,
    /// Counts what is read, where the connection to the target can't tell whose its bytes are.
    pub(crate) meter: Option<Arc<Meter>>,
}

/// How a streamed body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All of it came.
    Whole,
    /// It was longer than it may be.
    TooLarge,
}

impl Body {
    /// Its length, when the client said it. `None` for chunked bodies and for none at all.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => None,
            Self::Pieces { length, .. } | Self::Stream(StreamBody { length, .. }) => *length,
        }
    }

    /// Says in a head of HTTP/1.1 how it is framed. What is not said there hyper leaves out where the method is GET or HEAD.
    pub(crate) fn frame(&self, fields: &mut HeaderMap) {
        match self.length() {
            Some(length) => drop(fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
            None if matches!(self, Self::Empty) => {}
            None => drop(fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
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
            Self::Stream(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            // Without the exact length hyper would frame a body of known length in chunks.
            Self::Pieces { length, .. } | Self::Stream(StreamBody { length, .. }) => {
                length.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

impl StreamBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        // Whoever waited for its end is gone, and the exchange with them.
        if self.end.as_mut().is_some_and(|end| end.poll_closed(cx).is_ready()) {
            return Poll::Ready(Some(Err(BrokeOff)));
        }
        let data = match self.stream.poll_data(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => {
                self.ended(End::Whole);
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(BrokeOff))),
            Poll::Ready(Some(Ok(data))) => data,
        };
        if let Some(left) = &mut self.left {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => {
                    self.ended(End::TooLarge);
                    return Poll::Ready(Some(Err(BrokeOff)));
                }
            }
        }
        if let Some(meter) = &self.meter {
            meter.add_up(data.len() as u64);
        }
        // Hyper holds one piece at a time, so the window can be given back as soon as it is taken.
        let _ = self.stream.flow_control().release_capacity(data.len());
        if self.stream.is_end_stream() {
            self.ended(End::Whole);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn ended(&mut self, end: End) {
        if let Some(told) = self.end.take() {
            // Whoever waited may have gone with the exchange.
            let _ = told.send(end);
        }
    }
}
