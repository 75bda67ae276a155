//! The ClientHello as a handshake message, in pieces of any size: each field is judged as soon as
//! it is whole, and only those that are wanted are kept meanwhile.

use std::{collections::BTreeSet, mem};

use super::{
    MAX_HELLO_WIRE_BYTES, RECORD_HEAD_BYTES,
    error::{Field, HelloError},
    extensions::{Found, is_wanted},
};

const CLIENT_HELLO: u8 = 1;
/// Type and length (RFC 8446 §4).
const MESSAGE_HEAD_BYTES: usize = 4;
const MAX_SESSION_ID_BYTES: usize = 32;
/// TLS 1.0.
const LOWEST_VERSION: u16 = 0x0301;
/// A client may name a version of the future (RFC 5246 §E.1), but not another protocol.
const HIGHEST_VERSION: u16 = 0x03ff;

/// Where in the message, and what of it is known.
#[derive(Debug)]
pub(super) struct Message {
    part: Part,
    /// Bytes of the part, and how many of them have come.
    want: usize,
    have: usize,
    /// Those that have come, unless the part is skipped.
    item: Vec<u8>,
    /// Bytes of the message behind the part.
    left: usize,
    /// Types of extensions.
    seen: BTreeSet<u16>,
    found: Found,
}

/// What one more piece made of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    /// It ended `unread` bytes before the piece did.
    Whole {
        unread: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Type,
    Length,
    Version,
    /// The random, and the length of the session id.
    Random,
    SessionId,
    CipherSuitesLength,
    CipherSuites,
    CompressionLength,
    Compression,
    ExtensionsLength,
    ExtensionHead,
    Extension(u16),
    Whole,
}

impl Default for Message {
    fn default() -> Self {
        Self {
            part: Part::Type,
            want: 1,
            have: 0,
            item: Vec::new(),
            left: MESSAGE_HEAD_BYTES - 1,
            seen: BTreeSet::new(),
            found: Found::default(),
        }
    }
}

impl Message {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<Progress, HelloError> {
        while self.part != Part::Whole {
            let (now, later) = piece.split_at_checked(self.want - self.have).unwrap_or((piece, &[]));
            if self.part.is_kept() {
                self.item.extend_from_slice(now);
            }
            self.have += now.len();
            piece = later;
            if self.have < self.want {
                return Ok(Progress::More);
            }
            let mut item = mem::take(&mut self.item);
            self.judge(&item)?;
            item.clear();
            self.item = item;
        }
        Ok(Progress::Whole { unread: piece.len() })
    }

    /// What was found, of a whole message.
    pub(super) fn take_found(&mut self) -> Found {
        mem::take(&mut self.found)
    }

    /// Judges the part that has come, and says what comes next.
    fn judge(&mut self, item: &[u8]) -> Result<(), HelloError> {
        let number = item.iter().fold(0, |number, &byte| (number << 8) | usize::from(byte));
        match self.part {
            Part::Type => match item {
                [CLIENT_HELLO] => self.next(Part::Length, 3, Field::Message),
                _ => Err(HelloError::NotClientHello(item.first().copied().unwrap_or_default())),
            },
            Part::Length if number + MESSAGE_HEAD_BYTES + RECORD_HEAD_BYTES > MAX_HELLO_WIRE_BYTES => {
                Err(HelloError::TooLong)
            }
            Part::Length => {
                self.left = number;
                self.next(Part::Version, 2, Field::Message)
            }
            Part::Version => {
                let version = u16::try_from(number).unwrap_or_default();
                if !(LOWEST_VERSION..=HIGHEST_VERSION).contains(&version) {
                    return Err(HelloError::Version(version));
                }
                self.found.legacy_version = version;
                self.next(Part::Random, 32 + 1, Field::Message)
            }
            Part::Random => match item.last().copied().unwrap_or_default().into() {
                len if len > MAX_SESSION_ID_BYTES => Err(HelloError::Length(Field::SessionId)),
                len => self.next(Part::SessionId, len, Field::SessionId),
            },
            Part::SessionId => self.next(Part::CipherSuitesLength, 2, Field::CipherSuites),
            Part::CipherSuitesLength => match number {
                0 => Err(HelloError::Empty(Field::CipherSuites)),
                len if len % 2 != 0 => Err(HelloError::Length(Field::CipherSuites)),
                len => self.next(Part::CipherSuites, len, Field::CipherSuites),
            },
            Part::CipherSuites => self.next(Part::CompressionLength, 1, Field::Compression),
            Part::CompressionLength => match number {
                0 => Err(HelloError::Empty(Field::Compression)),
                len => self.next(Part::Compression, len, Field::Compression),
            },
            Part::Compression if self.left == 0 => self.whole(),
            Part::Compression => self.next(Part::ExtensionsLength, 2, Field::Extensions),
            Part::ExtensionsLength if number != self.left => Err(HelloError::Length(Field::Extensions)),
            Part::ExtensionsLength => self.next_extension(),
            Part::ExtensionHead => self.extension_head(item),
            Part::Extension(kind) => {
                self.found.read(kind, item)?;
                self.next_extension()
            }
            Part::Whole => Ok(()),
        }
    }

    fn extension_head(&mut self, item: &[u8]) -> Result<(), HelloError> {
        let &[a, b, c, d] = item else { return Err(HelloError::Length(Field::Extensions)) };
        let kind = u16::from_be_bytes([a, b]);
        if !self.seen.insert(kind) {
            return Err(HelloError::DuplicateExtension(kind));
        }
        self.next(Part::Extension(kind), u16::from_be_bytes([c, d]).into(), Field::Extension(kind))
    }

    fn next_extension(&mut self) -> Result<(), HelloError> {
        if self.left == 0 { self.whole() } else { self.next(Part::ExtensionHead, 4, Field::Extensions) }
    }

    /// Waits for `want` bytes more, which the message must have room for; if not, `field` is to blame.
    fn next(&mut self, part: Part, want: usize, field: Field) -> Result<(), HelloError> {
        self.left = self.left.checked_sub(want).ok_or(HelloError::Length(field))?;
        (self.part, self.want, self.have) = (part, want, 0);
        Ok(())
    }

    fn whole(&mut self) -> Result<(), HelloError> {
        self.next(Part::Whole, 0, Field::Message)
    }
}

impl Part {
    fn is_kept(self) -> bool {
        match self {
            Self::SessionId | Self::CipherSuites | Self::Compression | Self::Whole => false,
            Self::Extension(kind) => is_wanted(kind),
            Self::Type
            | Self::Length
            | Self::Version
            | Self::Random
            | Self::CipherSuitesLength
            | Self::CompressionLength
            | Self::ExtensionsLength
            | Self::ExtensionHead => true,
        }
    }
}
