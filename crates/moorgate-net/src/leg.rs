//! A leg: one side of a tunnel. Bare TCP lives here; TLS and h2 streams are legs in their own crates.
//!
//! A leg ends in one of three ways: *Fin* (an orderly end: `poll_read` gives 0), *Reset* and *Truncated* ([`Cut`]).
//! A leg can be finished (we sent our end) and still be aborted later.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite as _;

use crate::runtime::TcpStream;

/// How a leg broke off: anything but an orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// TCP RST, h2 RST_STREAM, or the connection under the leg died.
    Reset,
    /// TLS: end of stream without close_notify (RFC 8446 §6.1).
    Truncated,
}

/// One side of a tunnel, as the relay needs it.
///
/// All methods follow the usual poll contract: `Pending` means the waker is registered.
pub trait Leg: Unpin + Send + 'static {
    /// Reads into `buf` (never empty). `Ok(0)` is Fin.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Cut>>;

    /// Writes some of `buf` (never empty); returns how many bytes were taken, at least 1.
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, Cut>>;

    /// Pushes what was taken toward the peer. Bare TCP has nothing to push.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>>;

    /// Sends our Fin; reading goes on.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>>;

    /// As [`poll_finish`](Self::poll_finish), of a leg that has ended on its side and is dropped as soon as this is done.
    fn poll_finish_last(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        self.poll_finish(cx)
    }

    /// Whether the peer has cut the leg while nobody reads it (it sent Fin before, or a slow reader on the
    /// other side holds us back). Checked by the sweep; may also register the waker where the transport can.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Cut>;

    /// Whether [`poll_cut`](Self::poll_cut) registers the waker. Where it does not, it is asked only when the sweep says so:
    /// for TCP each time is a system call.
    fn announces_cuts(&self) -> bool {
        true
    }

    /// Ends the leg so that the peer sees an abort, never a clean end. Idempotent; drops nothing by itself.
    fn abort(&mut self);
}

/// Reads a [`Cut`] out of an I/O error of a TCP or TLS stream.
pub fn cut_from(error: &io::Error) -> Cut {
    if error.kind() == io::ErrorKind::UnexpectedEof { Cut::Truncated } else { Cut::Reset }
}

/// A bare TCP leg.
#[derive(Debug)]
pub struct TcpLeg(TcpStream);

impl TcpLeg {
    /// Wraps a connected stream.
    pub fn new(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl Leg for TcpLeg {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Cut>> {
        self.0.poll_read_into(cx, buf).map_err(|error| cut_from(&error))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, Cut>> {
        Pin::new(&mut self.0).poll_write(cx, buf).map_err(|error| cut_from(&error))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        Pin::new(&mut self.0).poll_shutdown(cx).map_err(|error| cut_from(&error))
    }

    fn poll_finish_last(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        // With nothing left to read, close(2) sends our Fin.
        Poll::Ready(Ok(()))
    }

    fn poll_cut(&mut self, _: &mut Context<'_>) -> Poll<Cut> {
        tcp_cut(&self.0)
    }

    fn announces_cuts(&self) -> bool {
        false
    }

    fn abort(&mut self) {
        reset_on_drop(&self.0);
    }
}

/// [`Leg::poll_cut`] for anything over TCP: the socket's pending error. Registers no waker.
pub fn tcp_cut(stream: &TcpStream) -> Poll<Cut> {
    match stream.take_error() {
        Ok(None) => Poll::Pending,
        Ok(Some(_)) | Err(_) => Poll::Ready(Cut::Reset),
    }
}

/// Makes the later close of `stream` an RST instead of a FIN (RFC 9293 §3.10.5, abort).
pub fn reset_on_drop(stream: &TcpStream) {
    // A socket that is already gone has nothing left to reset.
    let _ = stream.set_zero_linger();
}
