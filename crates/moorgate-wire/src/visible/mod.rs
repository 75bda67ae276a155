//! Text of a peer's, made safe to show: on a terminal, in a log line, in a refusal's body.

use std::fmt::{self, Write as _};

/// What [`visible`] shows at most, in characters before escaping.
pub const MAX_CHARS: usize = 300;

/// `text` with everything escaped that could act on a terminal or hide from a reader: control
/// bytes, DEL, C1, what is not UTF-8, characters without a width or that turn the direction.
/// A backslash is doubled, so that no text can be mistaken for an escape. Shows at most
/// [`MAX_CHARS`] characters, then `…`.
pub fn visible<T: AsRef<[u8]> + ?Sized>(text: &T) -> Visible<'_> {
    visible_within(text, MAX_CHARS)
}

/// As [`visible`], with a bound of the caller's in characters.
pub fn visible_within<T: AsRef<[u8]> + ?Sized>(text: &T, max_chars: usize) -> Visible<'_> {
    Visible { bytes: text.as_ref(), max_chars }
}

/// Displays as escaped text; made by [`visible`].
#[derive(Clone, Copy)]
pub struct Visible<'a> {
    bytes: &'a [u8],
    max_chars: usize,
}

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most texts are names and reasons of which nothing is to be hidden.
        if self.bytes.len() <= self.max_chars
            && self.bytes.iter().all(|&byte| matches!(byte, b' '..=b'~') && byte != b'\\')
            && let Ok(plain) = str::from_utf8(self.bytes)
        {
            return f.write_str(plain);
        }
        let mut left = self.max_chars;
        for chunk in self.bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                if spend(&mut left).is_none() {
                    return f.write_char('…');
                }
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c if acts(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                if spend(&mut left).is_none() {
                    return f.write_char('…');
                }
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

fn spend(left: &mut usize) -> Option<()> {
    *left = left.checked_sub(1)?;
    Some(())
}

/// Whether a character beyond ASCII does something other than being seen.
fn acts(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}'         // C1
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'   // no width; direction marks
        | '\u{2028}'..='\u{202e}'   // line and paragraph ends; embeddings, overrides
        | '\u{2060}'..='\u{206f}'   // isolates
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fe00}'..='\u{fe0f}'   // variation selectors
        | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' // tags
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' // private use: drawn as the font likes
    )
}

#[cfg(test)]
mod tests;
