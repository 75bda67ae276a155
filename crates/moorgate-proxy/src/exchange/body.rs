//! A request's body on its way to the target.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body as _, Frame, SizeHint};
use moorgate_contract::{flow::Meter, limits::REFUSAL_LINGER};
use tokio::{
    sync::{
        mpsc,
        oneshot::{self, error::TryRecvError},
    },
    time::timeout,
};

use crate::refuse::let_out;

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
    /// Until its end: what is read, and who is told of it.
    open: Option<(h2::RecvStream, oneshot::Sender<Ended>)>,
    length: Option<u64>,
    /// Bytes that may still come.
    left: Option<u64>,
    /// Counts what is read, where the connection to the target can't tell whose its bytes are.
    meter: Option<Arc<Meter>>,
}

/// How a streamed body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All of it came.
    Whole,
    /// It was longer than it may be.
    TooLarge,
    /// The target does not want the rest.
    Unwanted,
    /// It is not as its head or HTTP/2 says; the library has reset the stream.
    Malformed,
}

/// With the end comes what was read: a stream that has not ended is reset as soon as that is dropped, and an answer that
/// was not given whole before is thrown away by the client (RFC 9113 §8.1).
type Ended = (End, h2::RecvStream);

/// What is known of a streamed body that another part of the gateway reads.
#[derive(Default)]
pub(crate) struct Watch {
    /// Until it has ended.
    told: Option<oneshot::Receiver<Ended>>,
    ended: Option<Ended>,
}

impl Watch {
    /// Resolves when the body has ended, and at once from then on. `None`: it broke off, or there was none.
    pub(crate) async fn ended(&mut self) -> Option<End> {
        if let Some(told) = &mut self.told {
            self.ended = told.await.ok();
            self.told = None;
        }
        self.ended.as_ref().map(|(how, _)| *how)
    }

    /// Whether it ended as [`End::Malformed`].
    pub(crate) fn was_malformed(&self) -> bool {
        matches!(self.ended, Some((End::Malformed, _)))
    }

    /// After the answer: lets go of what still comes, gently.
    pub(crate) async fn let_out(mut self) {
        // Hyper, which had it in hand, gives it back in its own time.
        let _ = timeout(REFUSAL_LINGER, self.ended()).await;
        if let Some((End::TooLarge | End::Unwanted, stream)) = self.ended {
            let_out(stream).await;
        }
    }

    /// Whether the target may still be waiting for more of it.
    pub(crate) fn is_open(&mut self) -> bool {
        let Some(told) = &mut self.told else { return false };
        let ended = told.try_recv();
        if matches!(ended, Err(TryRecvError::Empty)) {
            return true;
        }
        (self.told, self.ended) = (None, ended.ok());
        false
    }
}

impl Body {
    /// Its length, when the client said it. `None` for chunked bodies and for none at all.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => None,
            Self::Pieces { length, .. } | Self::Stream(StreamBody { length, .. }) => *length,
        }
    }

    /// Reads what is left of it, for nothing but how it ends.
    pub(crate) async fn read_out(mut self) {
        while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {}
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
    /// At most `most` bytes of what comes on `stream`, counted by `meter` if there is one.
    pub(crate) fn new(
        stream: h2::RecvStream,
        length: Option<u64>,
        most: Option<u64>,
        meter: Option<Arc<Meter>>,
    ) -> (Self, Watch) {
        let (teller, told) = oneshot::channel();
        (Self { open: Some((stream, teller)), length, left: most, meter }, Watch { told: Some(told), ended: None })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let Some((stream, teller)) = &mut self.open else { return Poll::Ready(None) };
        // Whoever waited for its end is gone, and the exchange with them.
        if teller.poll_closed(cx).is_ready() {
            return Poll::Ready(Some(Err(BrokeOff)));
        }
        let data = match stream.poll_data(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => {
                self.ended(End::Whole);
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => {
                if error.is_library() {
                    self.ended(End::Malformed);
                }
                self.open = None;
                return Poll::Ready(Some(Err(BrokeOff)));
            }
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
        let _ = stream.flow_control().release_capacity(data.len());
        if stream.is_end_stream() {
            self.ended(End::Whole);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn ended(&mut self, how: End) {
        if let Some((stream, teller)) = self.open.take() {
            // Whoever waited may have gone with the exchange.
            let _ = teller.send((how, stream));
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.ended(End::Unwanted);
    }
}
