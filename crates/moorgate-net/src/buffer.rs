//! The thread's one buffer. Whatever is read goes there first, so that nobody who waits holds room for what may come.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use moorgate_contract::limits::RELAY_BUFFER;
use tokio::io::{AsyncRead, ReadBuf};

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; RELAY_BUFFER].into_boxed_slice());
}

/// Lends the buffer for as long as `work` runs, which must not ask for it again.
pub(crate) fn with<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| work(buffer))
}

/// Reads once, `most` bytes at most, and puts them behind `bytes`. Resolves with how many there were; 0 is the end.
///
/// # Errors
/// The reader's.
pub async fn read_some<R: AsyncRead + Unpin>(reader: &mut R, most: usize, bytes: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| poll_read_some(cx, reader, most, bytes)).await
}

/// [`read_some`] as it is polled.
///
/// # Errors
/// The reader's.
pub fn poll_read_some<R: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    reader: &mut R,
    most: usize,
    bytes: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    poll_once(cx, reader, most, |read| bytes.extend_from_slice(read))
}

/// Reads once, `most` bytes at most, and throws them away. Resolves with how many there were; 0 is the end.
///
/// # Errors
/// The reader's.
pub async fn discard_some<R: AsyncRead + Unpin>(reader: &mut R, most: usize) -> io::Result<usize> {
    poll_fn(|cx| poll_once(cx, reader, most, |_| {})).await
}

fn poll_once<R: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    reader: &mut R,
    most: usize,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    with(|buffer| {
        let most = most.min(buffer.len());
        let (buffer, _) = buffer.split_at_mut(most);
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(reader).poll_read(cx, &mut buffer))?;
        take(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}
