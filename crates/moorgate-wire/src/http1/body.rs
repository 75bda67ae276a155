//! Message bodies taken out of their framing (RFC 9112 §6, §7.1), byte by byte, so that nothing has
//! to be buffered. Chunk extensions are checked, bounded and dropped; trailers too, unless they are
//! wanted.

use std::ops::{Deref, Range};

use thiserror::Error;

use super::{Framing, Headers, is_token_byte, trailers::Trailers};

/// Most bytes of extensions on one chunk's line.
pub const MAX_CHUNK_EXTENSION_BYTES: usize = 1024;
/// Most bytes of trailers.
pub const MAX_TRAILER_BYTES: usize = 8 * 1024;
/// Most digits of a chunk's size: what fits 60 bits cannot overflow.
const MAX_SIZE_DIGITS: u8 = 15;

/// What ends a body in chunks that has no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// What ends each chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Takes one body out of its framing.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    trailers: Option<Trailers>,
}

/// What [`BodyDecoder::decode`] made of the fed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// How many of the fed bytes are done with.
    pub consumed: usize,
    /// Where in the fed bytes the body's own bytes are; may be empty. Never beyond `consumed`.
    pub data: Range<usize>,
    /// Whether the body is over; what follows `consumed` is the next message.
    pub done: bool,
}

/// Why a body's framing is broken. The connection cannot be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Neither a hex digit, nor what may follow the digits.
    #[error("a chunk's size holds 0x{0:02x}, which is no hex digit")]
    SizeByte(u8),
    /// No digit at all.
    #[error("a chunk has no size")]
    NoSize,
    /// More than 15 digits.
    #[error("a chunk's size has more than 15 digits")]
    SizeTooLong,
    /// A control byte in an extension.
    #[error("a chunk's extension holds a control byte (0x{0:02x})")]
    ExtensionByte(u8),
    /// More than [`MAX_CHUNK_EXTENSION_BYTES`].
    #[error("a chunk's extensions have more than {MAX_CHUNK_EXTENSION_BYTES} bytes")]
    ExtensionTooLong,
    /// Something else where CR LF must be.
    #[error("there is 0x{0:02x} where a chunk's line or data must end in CR LF")]
    LineEnd(u8),
    /// A trailer that is no field.
    #[error("a trailer field holds 0x{0:02x} where it cannot")]
    TrailerByte(u8),
    /// More than [`MAX_TRAILER_BYTES`].
    #[error("the trailers have more than {MAX_TRAILER_BYTES} bytes")]
    TrailersTooLong,
    /// More than [`MAX_HEADERS`](super::MAX_HEADERS), of a decoder that keeps them.
    #[error("there are more than {} trailers", super::MAX_HEADERS)]
    TooManyTrailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Plain bytes, so many left.
    Plain(u64),
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        len: usize,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    Trailer {
        part: TrailerPart,
        len: usize,
    },
    Done,
}

/// Where in the trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrailerPart {
    LineStart,
    Name,
    Value,
    ValueLf,
    LastLf,
}

impl BodyDecoder {
    /// At the first byte behind the head.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Plain(length),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
        };
        Self { state, trailers: None }
    }

    /// The same decoder, which keeps the trailers for [`Self::take_trailers`]: some 8 KiB at most.
    #[must_use]
    pub fn keeping_trailers(mut self) -> Self {
        self.trailers = Some(Trailers::default());
        self
    }

    /// The trailers, once, when the body is over; none before that, or of a decoder that does not keep them.
    /// No field is among them that says how a message is framed, routed, authenticated or understood (RFC 9110 §6.5.1).
    /// Others may mean something to whoever merges them: pass on only what is known to be harmless.
    pub fn take_trailers(&mut self) -> Headers {
        match &mut self.trailers {
            Some(trailers) if self.state == State::Done => trailers.take(),
            _ => Headers::new(),
        }
    }

    /// Whether the body is over. A connection that ends before that has cut it short.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes are still to come of a body whose length was said; `None` of one in chunks.
    pub fn left(&self) -> Option<u64> {
        match self.state {
            State::Plain(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Looks at the bytes that are there: answers at the first run of data, at the end of the body, or when
    /// all of them are used up. Call again with what is not consumed. Nothing consumed and not done means that `buf` was empty.
    ///
    /// # Errors
    /// The framing is broken; the decoder is of no further use.
    pub fn decode(&mut self, buf: &[u8]) -> Result<Decoded, BodyError> {
        let mut at = 0;
        while let Some(&byte) = buf.get(at) {
            if let State::Plain(left) | State::Data { left } = self.state {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len() - at);
                self.state = self.state.after_data(left, len);
                return Ok(Decoded { consumed: at + len, data: at..at + len, done: self.is_done() });
            }
            if self.is_done() {
                break;
            }
            let before = self.state;
            self.state = before.after(byte)?;
            if let (State::Trailer { part, .. }, Some(trailers)) = (before, &mut self.trailers) {
                trailers.push(part, byte)?;
            }
            at += 1;
        }
        Ok(Decoded { consumed: at, data: at..at, done: self.is_done() })
    }
}

impl State {
    fn after_data(self, left: u64, len: usize) -> Self {
        let left = left.saturating_sub(len as u64);
        match self {
            Self::Plain(_) if left == 0 => Self::Done,
            Self::Plain(_) => Self::Plain(left),
            _ if left == 0 => Self::DataCr,
            _ => Self::Data { left },
        }
    }

    /// One byte of the framing itself.
    fn after(self, byte: u8) -> Result<Self, BodyError> {
        Ok(match (self, byte) {
            (Self::Size { size, digits }, _) => return Self::after_size(size, digits, byte),
            (Self::Extension { size, .. }, b'\r') => Self::SizeLf { size },
            (Self::Extension { len: MAX_CHUNK_EXTENSION_BYTES.., .. }, _) => return Err(BodyError::ExtensionTooLong),
            (Self::Extension { .. }, b) if b.is_ascii_control() && b != b'\t' => {
                return Err(BodyError::ExtensionByte(b));
            }
            (Self::Extension { size, len }, _) => Self::Extension { size, len: len + 1 },
            (Self::SizeLf { size: 0 }, b'\n') => Self::Trailer { part: TrailerPart::LineStart, len: 0 },
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::SizeLf { .. } | Self::DataCr | Self::DataLf, b) => return Err(BodyError::LineEnd(b)),
            (Self::Trailer { part, len }, b) => return Self::after_trailer(part, len, b),
            (Self::Plain(_) | Self::Data { .. } | Self::Done, _) => self,
        })
    }

    /// Hex digits only: no sign, no `0x`, no underscore, no space (THREATS: what other readers let pass here).
    fn after_size(size: u64, digits: u8, byte: u8) -> Result<Self, BodyError> {
        match (char::from(byte).to_digit(16), byte) {
            (Some(_), _) if digits == MAX_SIZE_DIGITS => Err(BodyError::SizeTooLong),
            (Some(digit), _) => Ok(Self::Size { size: (size << 4) | u64::from(digit), digits: digits + 1 }),
            (None, b'\r' | b';') if digits == 0 => Err(BodyError::NoSize),
            (None, b'\r') => Ok(Self::SizeLf { size }),
            (None, b';') => Ok(Self::Extension { size, len: 1 }),
            (None, other) => Err(BodyError::SizeByte(other)),
        }
    }

    fn after_trailer(part: TrailerPart, len: usize, byte: u8) -> Result<Self, BodyError> {
        if len == MAX_TRAILER_BYTES {
            return Err(BodyError::TrailersTooLong);
        }
        let part = match (part, byte) {
            (TrailerPart::LineStart, b'\r') => TrailerPart::LastLf,
            (TrailerPart::LastLf, b'\n') => return Ok(Self::Done),
            (TrailerPart::LineStart | TrailerPart::Name, b) if is_token_byte(b) => TrailerPart::Name,
            (TrailerPart::Name, b':') => TrailerPart::Value,
            (TrailerPart::Value, b'\r') => TrailerPart::ValueLf,
            (TrailerPart::Value, b) if b == b'\t' || !b.is_ascii_control() => TrailerPart::Value,
            (TrailerPart::ValueLf, b'\n') => TrailerPart::LineStart,
            (_, b) => return Err(BodyError::TrailerByte(b)),
        };
        Ok(Self::Trailer { part, len: len + 1 })
    }
}

/// A chunk's size line, to be written before its data; made by [`encode_chunk_head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    bytes: [u8; 18],
    start: usize,
}

impl Deref for ChunkHead {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

impl AsRef<[u8]> for ChunkHead {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The line before `len` bytes of data, which [`CHUNK_END`] follows. It is empty for a `len` of 0: an empty
/// chunk would end the body.
pub fn encode_chunk_head(len: usize) -> ChunkHead {
    let mut head = ChunkHead { bytes: [b'\r'; 18], start: 18 };
    if len == 0 {
        return head;
    }
    let mut left = len;
    let mut place = head.bytes.iter_mut().enumerate().rev();
    if let Some((_, last)) = place.next() {
        *last = b'\n';
    }
    place.next();
    while left > 0 {
        let Some((at, byte)) = place.next() else { break };
        let digit = u32::try_from(left & 0xf).unwrap_or_default();
        *byte = char::from_digit(digit, 16).and_then(|c| u8::try_from(c).ok()).unwrap_or(b'0');
        left >>= 4;
        head.start = at;
    }
    head
}
