//! Columns over time, in 80 characters.

use std::io::{self, IsTerminal};

use crate::output::bytes;

/// Lines of a column.
const HEIGHT: u64 = 6;
/// Steps of a line: eighths of a block.
const STEPS: u64 = 8;
/// Characters for all columns together.
const WIDTH: usize = 64;
/// Characters before them.
const MARGIN: usize = 12;

/// With what it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Unicode's blocks.
    Blocks,
    /// What every terminal and file has.
    Ascii,
}

impl Ink {
    /// What standard output takes: blocks where it is a terminal that says UTF-8.
    pub(super) fn here() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        // The first that is set decides (POSIX).
        let charset = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
        let charset = charset.to_ascii_lowercase();
        let is_utf8 = charset.contains("utf-8") || charset.contains("utf8");
        if is_utf8 && io::stdout().is_terminal() { Self::Blocks } else { Self::Ascii }
    }

    /// The part of a column within one line, that is `steps` high there.
    fn cell(self, steps: u64) -> char {
        match (self, steps) {
            (_, 0) => ' ',
            (Self::Blocks, 1..STEPS) => {
                u32::try_from(steps).ok().and_then(|steps| char::from_u32(0x2580 + steps)).unwrap_or(' ')
            }
            (Self::Blocks, _) => '\u{2588}',
            (Self::Ascii, 1..5) => '.',
            (Self::Ascii, _) => '#',
        }
    }
}

/// Columns as high as their values, with the first's and the last's name below. Where there are more than fit, neighbours
/// stand together.
pub(super) fn text(bars: &[(String, u64)], ink: Ink) -> String {
    let together = bars.len().div_ceil(WIDTH).max(1);
    let columns: Vec<u64> = bars.chunks(together).map(sum).collect();
    let most = columns.iter().copied().max().unwrap_or_default();
    let wide = (WIDTH / columns.len().max(1)).clamp(1, 2);
    let mut text = String::new();
    for line in (0..HEIGHT).rev() {
        let scale = match line {
            0 => bytes(0),
            _ if line + 1 == HEIGHT => bytes(most),
            _ => String::new(),
        };
        let cells: String = columns
            .iter()
            .flat_map(|value| std::iter::repeat_n(ink.cell(steps(*value, most).saturating_sub(line * STEPS)), wide))
            .collect();
        text.push_str(format!("{scale:>width$}  {}", cells, width = MARGIN - 2).trim_end());
        text.push('\n');
    }
    let (first, last) = (bars.first(), bars.last());
    let ends = |bar: Option<&(String, u64)>| bar.map(|(name, _)| name.clone()).unwrap_or_default();
    let gap = (columns.len() * wide).saturating_sub(ends(first).chars().count());
    if bars.len() > 1 {
        text.push_str(&format!("{:MARGIN$}{}  {:>width$}\n", "", ends(first), ends(last), width = gap.max(2) - 2));
    } else {
        text.push_str(&format!("{:MARGIN$}{}\n", "", ends(first)));
    }
    if together > 1 {
        text.push_str(&format!("{:MARGIN$}{together} in each column\n", ""));
    }
    text
}

fn sum(bars: &[(String, u64)]) -> u64 {
    bars.iter().fold(0, |sum, (_, value)| sum.saturating_add(*value))
}

/// How many steps high: whoever moved anything is seen.
fn steps(value: u64, most: u64) -> u64 {
    let steps = (u128::from(value) * u128::from(HEIGHT * STEPS)).div_ceil(u128::from(most.max(1)));
    u64::try_from(steps).unwrap_or(HEIGHT * STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(values: &[u64]) -> Vec<(String, u64)> {
        values.iter().zip(10..).map(|(value, hour): (_, u32)| (format!("2026-11-28 {hour}:00"), *value)).collect()
    }

    #[test]
    fn columns_are_as_high_as_what_was_moved() {
        let text = text(&bars(&[0, 1, 48, 24, 3]), Ink::Blocks);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "      48 B      ██");
        assert_eq!(lines[3], "                ████");
        assert_eq!(lines[5], "       0 B    ▁▁████▃▃");
        assert_eq!(lines[6], "            2026-11-28 10:00  2026-11-28 14:00");
    }

    #[test]
    fn it_fits_eighty_columns_of_ascii_however_much_there_is() {
        for count in [1, 2, 25, 73, 400, 10_000] {
            let values: Vec<u64> = (0..count).map(|value| value * (u64::MAX / 20_000)).collect();
            let text = text(&bars(&values), Ink::Ascii);
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
            assert!(text.is_ascii(), "{text}");
        }
        assert!(text(&bars(&[0, 0]), Ink::Ascii).lines().take(6).all(|line| !line.contains('#')));
    }
}
