//! What h2 writes, held until it has nothing more to say for now. The library flushes behind each frame of 256 bytes or more;
//! that would be a record of TLS and a system call for each of the answers that are there at once.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use moorgate_tls::TlsStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Rewound;

/// One record of TLS has no more (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;
/// Slices of one write; the library has two, and what is held is another.
const SLICES: usize = 4;

/// What takes bytes without sending them.
pub(crate) trait Hold: AsyncRead + AsyncWrite + Unpin {
    /// As [`TlsStream::poll_hold`].
    fn poll_hold(&mut self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
}

impl Hold for TlsStream {
    fn poll_hold(&mut self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Self::poll_hold(self, cx, bytes)
    }
}

impl<S: Hold> Hold for Rewound<S> {
    fn poll_hold(&mut self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.stream_mut().poll_hold(cx, bytes)
    }
}

/// A handle on a stream: one is the library's, another that of whoever knows when it has said all.
pub(super) struct Corked<S>(Arc<Mutex<Cork<S>>>);

struct Cork<S> {
    stream: S,
    /// What makes no whole record yet.
    held: Vec<u8>,
    holds: bool,
    /// Something was written since the last flush.
    is_dirty: bool,
}

impl<S> Clone for Corked<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Hold> Corked<S> {
    /// Holds nothing yet.
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Cork { stream, held: Vec::new(), holds: false, is_dirty: false })))
    }

    /// From here on a flush does nothing, and [`Corked::poll_out`] is to be called when all is said.
    pub(super) fn hold(&self) {
        self.lock().holds = true;
    }

    /// Writes and flushes what is held.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_out(cx)
    }

    fn lock(&self) -> MutexGuard<'_, Cork<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Hold> Cork<S> {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_dirty {
            return Poll::Ready(Ok(()));
        }
        while !self.held.is_empty() {
            let written = ready!(self.stream.poll_hold(cx, &[IoSlice::new(&self.held)]))?;
            self.let_go(some(written)?);
        }
        // A connection that waits holds no room.
        self.held = Vec::new();
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_dirty = false;
        Poll::Ready(Ok(()))
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        self.is_dirty |= length > 0;
        while self.held.len() + length > RECORD {
            // Whole records go as they are, and what is less waits for more: a frame is a record and nine bytes.
            let whole = (self.held.len() + length) / RECORD * RECORD;
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut left = whole;
            let all = [&*self.held].into_iter().chain(pieces.iter().map(|piece| &**piece));
            for (slice, piece) in slices.iter_mut().zip(all) {
                let piece = piece.get(..left).unwrap_or(piece);
                left -= piece.len();
                *slice = IoSlice::new(piece);
            }
            let written = some(ready!(self.stream.poll_hold(cx, &slices))?)?;
            let held = self.held.len();
            self.let_go(written.min(held));
            if written > held {
                return Poll::Ready(Ok(written - held));
            }
        }
        if self.held.capacity() == 0 {
            self.held = Vec::with_capacity(RECORD);
        }
        for piece in pieces {
            self.held.extend_from_slice(piece);
        }
        Poll::Ready(Ok(length))
    }

    fn let_go(&mut self, bytes: usize) {
        if bytes == self.held.len() {
            self.held.clear();
        } else {
            self.held.drain(..bytes);
        }
    }
}

/// A stream that takes nothing would be asked again and again.
fn some(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

impl<S: Hold> AsyncRead for Corked<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_read(cx, buf)
    }
}

impl<S: Hold> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_take(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_take(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut cork = self.lock();
        if cork.holds { Poll::Ready(Ok(())) } else { cork.poll_out(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut cork = self.lock();
        ready!(cork.poll_out(cx))?;
        Pin::new(&mut cork.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes of each write at most, nothing each other time.
    struct Slow {
        most: usize,
        waits: bool,
        writes: Vec<usize>,
        arrived: Vec<u8>,
    }

    impl Hold for Slow {
        fn poll_hold(&mut self, _: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            self.waits = !self.waits && self.most < usize::MAX;
            if self.waits {
                return Poll::Pending;
            }
            let all: Vec<u8> = bytes.iter().flat_map(|piece| piece.iter().copied()).collect();
            let taken = all.len().min(self.most);
            self.writes.push(taken);
            self.arrived.extend_from_slice(&all[..taken]);
            Poll::Ready(Ok(taken))
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            unreachable!("it is to hold")
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Slow {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    /// Writes frames of these lengths, then all that is held; each write, and what arrived of what was sent.
    fn written(most: usize, frames: &[usize]) -> (Vec<usize>, bool) {
        let mut corked = Corked::new(Slow { most, waits: false, writes: Vec::new(), arrived: Vec::new() });
        corked.hold();
        let mut cx = Context::from_waker(Waker::noop());
        let sent: Vec<u8> = (0..frames.iter().sum::<usize>()).map(|at| (at % 251) as u8).collect();
        let mut rest = &*sent;
        for length in frames {
            let (mut frame, after) = rest.split_at(*length);
            rest = after;
            while !frame.is_empty() {
                let (head, payload) = frame.split_at(frame.len().min(9));
                let pieces = [IoSlice::new(head), IoSlice::new(payload)];
                if let Poll::Ready(taken) = Pin::new(&mut corked).poll_write_vectored(&mut cx, &pieces) {
                    frame = &frame[taken.unwrap()..];
                }
            }
            assert!(Pin::new(&mut corked).poll_flush(&mut cx).is_ready());
        }
        while corked.poll_out(&mut cx).is_pending() {}
        let cork = corked.lock();
        (cork.stream.writes.clone(), cork.stream.arrived == sent)
    }

    #[test]
    fn what_is_said_at_once_goes_out_at_once_and_in_whole_records() {
        assert_eq!(written(usize::MAX, &[1_100; 10]), (vec![11_000], true));
        let frame = RECORD + 9;
        assert_eq!(written(usize::MAX, &[frame; 3]), (vec![RECORD, RECORD, RECORD, 27], true));
        assert_eq!(written(usize::MAX, &[5, 3 * RECORD, 9]), (vec![3 * RECORD, 14], true));
        assert_eq!(written(usize::MAX, &[]), (vec![], true));
    }

    #[test]
    fn a_slow_reader_gets_every_byte_in_order() {
        for most in [1, 7, RECORD - 1, RECORD, RECORD + 10] {
            let (writes, arrived) = written(most, &[1, 9, 300, RECORD, RECORD - 1, RECORD + 9, 70_000, 2]);
            assert!(arrived && writes.iter().all(|taken| *taken <= most), "{most}");
        }
    }
}
