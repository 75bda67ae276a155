//! The thread's one buffer. Whatever is read goes there first, so that nobody who waits holds room for what may come.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use moorgate_contract::limits::RELAY_BUFFER;
use tokio::io::{AsyncRead, ReadBuf};

/// Spare buffers of a thread, small ones and rooms. They are for those who read at once, not for those who wait.
const SPARES: usize = 16;
const ROOMS: usize = 32;
/// The most bytes of a small buffer.
pub const SMALL: usize = 4 * 1024;
/// The most bytes of one piece of a body.
pub const PIECE: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; RELAY_BUFFER].into_boxed_slice());
    static SPARE: RefCell<VecDeque<BytesMut>> = const { RefCell::new(VecDeque::new()) };
    static ROOM: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer, with the room of one that was put by where there is one. malloc keeps nothing of more than a kilobyte at
/// hand, which most small answers are.
pub fn spare() -> BytesMut {
    let mut spare = SPARE.with_borrow_mut(VecDeque::pop_front).unwrap_or_default();
    // One that a long head has made large is not kept for the sake of small ones.
    if spare.try_reclaim(2 * SMALL) { BytesMut::new() } else { spare }
}

/// Takes all of a buffer that has no more than [`SMALL`], whose room is for [`spare`] as soon as nobody needs what was taken.
pub fn take_small(mut buffer: BytesMut) -> BytesMut {
    let taken = buffer.split();
    SPARE.with_borrow_mut(|spares| {
        if spares.len() < SPARES {
            spares.push_back(buffer);
        }
    });
    taken
}

/// Room for a piece, which goes back to the thread when nobody needs what is in it. malloc would give pages of that size back
/// to the system, and take them anew.
struct Room {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Room {
    fn new() -> Self {
        let bytes = ROOM.with_borrow_mut(Vec::pop);
        Self { bytes: bytes.unwrap_or_else(|| vec![0; PIECE].into_boxed_slice()), filled: 0 }
    }

    /// What is in it. Little takes the room of little: it may wait for a slow reader.
    fn into_bytes(self) -> Bytes {
        if self.filled < PIECE / 2 { Bytes::copy_from_slice(self.as_ref()) } else { Bytes::from_owner(self) }
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        // Not while the thread ends.
        let _ = ROOM.try_with(|rooms| {
            let mut rooms = rooms.borrow_mut();
            if rooms.len() < ROOMS {
                rooms.push(bytes);
            }
        });
    }
}

/// Reads once behind `ahead`, without a copy of what is read: one piece of `most` bytes at most ([`PIECE`] holds too), which
/// begins with what was `ahead`, which is shorter. Empty: the end, and `ahead` is as it was.
///
/// # Errors
/// The reader's.
pub fn poll_read_piece<R: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    reader: &mut R,
    most: usize,
    ahead: &mut BytesMut,
) -> Poll<io::Result<Bytes>> {
    let mut room = Room::new();
    let begun = ahead.len();
    let all = room.bytes.get_mut(..most.min(PIECE)).unwrap_or_default();
    let Some((first, rest)) = all.split_at_mut_checked(begun) else { return Poll::Ready(Ok(Bytes::new())) };
    let mut rest = ReadBuf::new(rest);
    ready!(Pin::new(reader).poll_read(cx, &mut rest))?;
    let read = rest.filled().len();
    if read == 0 {
        return Poll::Ready(Ok(Bytes::new()));
    }
    first.copy_from_slice(ahead);
    ahead.clear();
    room.filled = begun + read;
    Poll::Ready(Ok(room.into_bytes()))
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn piece<R: AsyncRead + Unpin>(mut reader: R, most: usize, ahead: &mut BytesMut) -> Poll<Bytes> {
        let mut cx = Context::from_waker(Waker::noop());
        poll_read_piece(&mut cx, &mut reader, most, ahead).map(Result::unwrap)
    }

    #[test]
    fn a_piece_begins_with_what_was_ahead_and_takes_nothing_before_something_was_read() {
        let (_silent, waits) = tokio::io::duplex(64);
        for (most, expected) in [(5, "abcde"), (64, "abcdefgh"), (PIECE + 1, "abcdefgh")] {
            let mut ahead = BytesMut::from("ab");
            assert_eq!(piece(&b"cdefgh"[..], most, &mut ahead), Poll::Ready(expected.into()));
            assert!(ahead.is_empty());
        }
        let mut ahead = BytesMut::from("ab");
        assert_eq!(piece(waits, 64, &mut ahead), Poll::Pending);
        assert_eq!(piece(&b""[..], 64, &mut ahead), Poll::Ready(Bytes::new()));
        assert_eq!(ahead, "ab");
    }

    #[test]
    fn the_room_of_a_large_piece_is_for_the_next_one_and_a_little_one_keeps_none() {
        let all = vec![7; PIECE];
        let first = piece(&*all, PIECE, &mut BytesMut::new()).map(|piece| (piece.as_ptr(), piece.len()));
        let Poll::Ready(second) = piece(&*all, PIECE, &mut BytesMut::new()) else { unreachable!() };
        assert_eq!(first, Poll::Ready((second.as_ptr(), PIECE)));
        let (held, little) = (second, piece(&all[..100], PIECE, &mut BytesMut::new()));
        ROOM.with_borrow(|rooms| assert_eq!(rooms.len(), 1, "that of the little one"));
        drop((held, little));
        ROOM.with_borrow(|rooms| assert_eq!(rooms.len(), 2));
    }

    #[test]
    fn a_small_buffer_is_for_the_next_one_once_nobody_needs_it() {
        let taken = take_small(BytesMut::from(&[1; 2_000][..]));
        let at = taken.as_ptr();
        drop(taken);
        let mut next = spare();
        next.extend_from_slice(&[2; 2_000]);
        assert_eq!(next.as_ptr(), at);
        let held = take_small(next);
        let mut other = spare();
        other.extend_from_slice(&[3; 2_000]);
        assert_eq!((held[0], other[0]), (2, 3));
    }

    #[test]
    fn what_a_long_head_took_is_not_kept() {
        let mut long = BytesMut::from(&[1; 400 * 1024][..]);
        bytes::Buf::advance(&mut long, 400 * 1024 - 100);
        drop(take_small(long));
        let mut next = spare();
        assert!(!next.try_reclaim(2 * SMALL) && next.capacity() == 0);
    }
}
