//! A TCP socket of which something was read already, or whose bytes are counted: what TLS and HTTP libraries are given.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use moorgate_contract::flow::Meter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{pace::poll_turn, runtime::TcpStream};

/// The counter of whichever flow uses a connection now: a kept one serves flow after flow.
#[derive(Clone, Debug, Default)]
pub struct MeterSlot(Arc<Mutex<Arc<Meter>>>);

impl MeterSlot {
    /// A slot for the bytes of the flow that uses a connection first.
    pub fn new(meter: Arc<Meter>) -> Self {
        Self(Arc::new(Mutex::new(meter)))
    }

    /// From here on it is this flow's.
    pub fn set(&self, meter: Arc<Meter>) {
        self.with(|slot| *slot = meter);
    }

    fn with<T>(&self, work: impl FnOnce(&mut Arc<Meter>) -> T) -> T {
        // Whoever sets it is seldom on another thread than the socket, and never for long.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A socket with what was peeked put back in front of it, counted where somebody wants to know.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    peeked: BytesMut,
    meter: Option<MeterSlot>,
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self { tcp, peeked: BytesMut::new(), meter: None }
    }
}

impl From<tokio::net::TcpStream> for Socket {
    fn from(tcp: tokio::net::TcpStream) -> Self {
        TcpStream::from(tcp).into()
    }
}

impl Socket {
    /// A socket that reads `peeked` again first.
    pub fn replaying(tcp: TcpStream, peeked: BytesMut) -> Self {
        Self { tcp, peeked, meter: None }
    }

    /// A socket toward a target: what is written counts as up, what is read as down.
    pub fn metered(tcp: TcpStream, meter: MeterSlot) -> Self {
        Self { tcp, peeked: BytesMut::new(), meter: Some(meter) }
    }

    /// The socket itself, for its addresses and options.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The bare socket, no longer counted, and what of it was to be read again.
    pub fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.tcp, self.peeked)
    }

    /// Whether the account's pace lets it move bytes.
    fn poll_turn(&self, cx: &Context<'_>) -> Poll<()> {
        self.meter.as_ref().map_or(Poll::Ready(()), |slot| slot.with(|meter| poll_turn(meter, cx).map(drop)))
    }

    fn count_up(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Some(slot), Poll::Ready(Ok(bytes))) = (&self.meter, &written) {
            slot.with(|meter| meter.add_up(*bytes as u64));
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.peeked.is_empty() {
            ready!(self.poll_turn(cx));
            let before = buf.filled().len();
            let read = Pin::new(&mut self.tcp).poll_read(cx, buf);
            let bytes = buf.filled().len() - before;
            if let (Some(slot), 1..) = (&self.meter, bytes) {
                slot.with(|meter| meter.add_down(bytes as u64));
            }
            return read;
        }
        let most = self.peeked.len().min(buf.remaining());
        buf.put_slice(self.peeked.get(..most).unwrap_or_default());
        self.peeked.advance(most);
        if self.peeked.is_empty() {
            // The room it took is not needed again.
            self.peeked = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.count_up(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // send(2) costs less than writev(2) of one piece.
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        ready!(self.poll_turn(cx));
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.count_up(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
