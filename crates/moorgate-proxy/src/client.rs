//! The client's side before it becomes a leg: bare TCP or TLS, and the bytes that were read of it.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use moorgate_net::{
    buffer::read_some,
    leg::{Leg, TcpLeg, reset_on_drop},
    runtime::TcpStream,
};
use moorgate_tls::{TlsLeg, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that a head is read from and that may become a leg.
pub(crate) trait ClientStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What it becomes.
    type Leg: Leg;

    /// Becomes a leg of a tunnel.
    fn into_leg(self) -> Self::Leg;

    /// Makes its end an abort instead of an orderly close.
    fn abort(&self);

    /// Where the client connected to.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl ClientStream for TcpStream {
    type Leg = TcpLeg;

    fn into_leg(self) -> TcpLeg {
        TcpLeg::new(self)
    }

    fn abort(&self) {
        reset_on_drop(self);
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpStream::local_addr(self)
    }
}

impl ClientStream for TlsStream {
    type Leg = TlsLeg;

    fn into_leg(self) -> TlsLeg {
        TlsLeg::new(self)
    }

    fn abort(&self) {
        reset_on_drop(self.tcp());
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }
}

/// A client's stream with what was read of it and not yet used.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    pub(crate) buffer: BytesMut,
}

/// One read's worth.
const READ: usize = 4 * 1024;

impl<S: AsyncRead + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Reads once more; 0 is the end.
    pub(crate) async fn read_more(&mut self) -> io::Result<usize> {
        read_some(&mut self.stream, READ, &mut self.buffer).await
    }

    /// Waits for the first byte of the next request. Holds no buffer while it waits.
    pub(crate) async fn wait_for_more(&mut self) -> io::Result<usize> {
        if !self.buffer.is_empty() {
            return Ok(self.buffer.len());
        }
        self.buffer = BytesMut::new();
        self.read_more().await
    }

    /// Throws away what was used.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.buffer.advance(bytes.min(self.buffer.len()));
    }

    /// The stream as it was before anything was read of it.
    pub(crate) fn rewind(self) -> Rewound<S> {
        Rewound { read: self.buffer, stream: self.stream }
    }

    /// What came after the head: it belongs to the tunnel.
    pub(crate) fn take_early(&mut self) -> Bytes {
        std::mem::take(&mut self.buffer).freeze()
    }
}

/// Resolves when the client breaks off while it waits for its answer; what it sends meanwhile is kept, up to `most` bytes.
/// Where its end `is_leaving`, an orderly one counts as that too.
pub(crate) async fn left<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut BytesMut,
    most: usize,
    is_leaving: &AtomicBool,
) {
    while buffer.len() < most {
        match read_some(reader, READ, buffer).await {
            Ok(1..) => {}
            // It has finished its side, and may still wait for the answer. Whoever polls this knows when that changes.
            Ok(0) => return poll_fn(|_| if is_leaving.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }).await,
            Err(_) => return,
        }
    }
    // It has sent as much as we keep: it may still wait for the answer.
    std::future::pending().await
}

/// A stream of which something was read, to be read again.
pub(crate) struct Rewound<S> {
    read: BytesMut,
    stream: S,
}

impl<S> Rewound<S> {
    /// The stream, to write to.
    pub(crate) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let most = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read.split_to(most));
        if self.read.is_empty() {
            // The room it took is not needed again.
            self.read = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
