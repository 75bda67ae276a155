//! Finds a secret in recorded bytes: as it is, in base64 wherever it may begin, and percent-coded.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// How a secret was written where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Byte for byte; a name in any case.
    Raw,
    /// At least one byte as `%XX` (RFC 3986 §2.1), in either case.
    Percent,
    /// Base64 (RFC 4648 §4 or §5), beginning so many bytes (0, 1, 2) into a group of three.
    Base64 {
        /// Those bytes.
        offset: usize,
    },
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::Percent => f.write_str("percent-coded"),
            Self::Base64 { offset } => write!(f, "base64+{offset}"),
        }
    }
}

/// Whether a secret's letters may come in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// As it was drawn only.
    Exact,
    /// Either, as names are (RFC 4343).
    Any,
}

/// One secret, to be looked for in all its forms.
pub(super) struct Needle {
    secret: Vec<u8>,
    case: Case,
    /// What of its base64 is the same whatever stands before and behind it.
    base64: Vec<(usize, Vec<u8>)>,
}

impl Needle {
    /// Prepares the search for `secret`.
    pub(super) fn new(secret: impl AsRef<[u8]>, case: Case) -> Self {
        let secret = secret.as_ref();
        let spellings = match case {
            Case::Exact => vec![secret.to_vec()],
            Case::Any => vec![secret.to_ascii_lowercase(), secret.to_ascii_uppercase()],
        };
        let mut base64: Vec<(usize, Vec<u8>)> = Vec::new();
        for spelling in &spellings {
            for offset in 0..3 {
                base64.extend(stable_base64(spelling, offset).map(|core| (offset, core)));
            }
        }
        base64.dedup();
        Self { secret: secret.to_vec(), case, base64 }
    }

    /// The first place where it stands in `bytes`, and how it is written there.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<(Form, usize)> {
        let plain = (0..bytes.len()).find_map(|at| Some((self.written_at(bytes.get(at..)?)?, at)));
        let coded = self.base64.iter().filter_map(|(offset, core)| {
            let at = bytes.windows(core.len()).position(|window| window == core)?;
            Some((Form::Base64 { offset: *offset }, at))
        });
        plain.into_iter().chain(coded).min_by_key(|(_, at)| *at)
    }

    /// Whether `bytes` begin with it, each byte as it is or as `%XX`.
    fn written_at(&self, bytes: &[u8]) -> Option<Form> {
        let (mut rest, mut form) = (bytes, Form::Raw);
        for wanted in &self.secret {
            let (byte, behind) = rest.split_first()?;
            if self.same(*byte, *wanted) {
                rest = behind;
            } else {
                let (high, low) = (hex_digit(*behind.first()?)?, hex_digit(*behind.get(1)?)?);
                if *byte != b'%' || !self.same(high << 4 | low, *wanted) {
                    return None;
                }
                (rest, form) = (behind.get(2..)?, Form::Percent);
            }
        }
        Some(form)
    }

    fn same(&self, byte: u8, wanted: u8) -> bool {
        match self.case {
            Case::Exact => byte == wanted,
            Case::Any => byte.eq_ignore_ascii_case(&wanted),
        }
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The characters that depend on `secret` alone when it begins `offset` bytes into a group of three, in both alphabets.
fn stable_base64(secret: &[u8], offset: usize) -> impl Iterator<Item = Vec<u8>> {
    let padded: Vec<u8> = std::iter::repeat_n(0, offset).chain(secret.iter().copied()).collect();
    let stable = (offset * 8).div_ceil(6)..(padded.len() * 8) / 6;
    let codes = [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)];
    codes.into_iter().filter_map(move |code| code.as_bytes().get(stable.clone()).map(<[u8]>::to_vec))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "q7f3kd82ma?>";

    fn check(bytes: &[u8], expected: Option<(Form, usize)>) {
        assert_eq!(Needle::new(SECRET, Case::Exact).find(bytes), expected, "{}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn a_secret_is_found_in_every_form_and_at_every_alignment() {
        check(b"GET /q7f3kd82ma?> HTTP", Some((Form::Raw, 5)));
        check(b"..q7%663kd82ma%3F%3e", Some((Form::Percent, 2)));
        let all: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        check(all.as_bytes(), Some((Form::Percent, 0)));
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            for before in 0..7 {
                for behind in ["", "x", "yz"] {
                    let text = "-".repeat(before) + SECRET + behind;
                    let coded = format!("Basic {}", engine.encode(text));
                    let found = Needle::new(SECRET, Case::Exact).find(coded.as_bytes());
                    let Some((Form::Base64 { offset }, at)) = found else { panic!("{coded}: {found:?}") };
                    assert_eq!((offset, at), (before % 3, "Basic ".len() + (before * 8).div_ceil(6)));
                }
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for bytes in [&b""[..], b"q7f3kd82ma?", b"Q7f3kd82ma?>", b"q7f3kd82ma%3", b"q7f3kd82ma%3f%3", b"q7f3kd82ma%zz>"]
        {
            check(bytes, None);
        }
    }

    #[test]
    fn a_name_is_found_in_any_case() {
        let needle = Needle::new("q7f3kd82ma", Case::Any);
        assert_eq!(needle.find(b"host: Q7F3kd82MA.test"), Some((Form::Raw, 6)));
        assert_eq!(needle.find(b"%51%37f3kd82ma"), Some((Form::Percent, 0)));
        assert!(needle.find(STANDARD_NO_PAD.encode("xQ7F3KD82MA").as_bytes()).is_some());
    }
}
