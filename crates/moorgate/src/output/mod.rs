//! What commands print: plain aligned text, colour only on a terminal, no control byte of a peer's.

pub(crate) mod flow;
mod table;

use std::{
    error::Error,
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use moorgate_api::view::{FlowView, Time};
use moorgate_contract::flow::Flow;
use moorgate_wire::visible::visible_within;
use serde::Serialize;

use crate::{cli::Json, commands::CommandError};
pub(crate) use flow::{bytes, count, duration, flow_line, size};
pub(crate) use table::Table;

/// The longest line of a peer's that is shown whole, in characters.
const LINE: usize = 1_000;

/// Prints `value` as JSON if that was asked for, else `text`.
pub(crate) fn answer<T: Serialize>(json: Json, value: &T, text: impl FnOnce() -> String) -> Result<(), CommandError> {
    if json.json { print(&json_line(value)?) } else { print(&text()) }
}

/// Writes to standard output, at once.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    write(text.as_bytes())
}

/// Writes to standard output, at once.
pub(crate) fn write(bytes: &[u8]) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(CommandError::Output)
}

/// One line on standard error: what a person should know beside an answer that a program may read.
pub(crate) fn note(line: impl Display) {
    // Whoever closed it does not want to know.
    let _ = writeln!(io::stderr(), "{line}");
}

/// A flow as one line of JSON, without its end; as `moorgate log --json` and the API write it.
pub(crate) fn flow_json(flow: &Flow) -> String {
    json_line(&FlowView::from(flow)).unwrap_or_default().trim_end().to_owned()
}

/// `value` as one line of JSON in ASCII: a peer's text in it can neither act on a terminal nor hide.
pub(crate) fn json_line(value: &impl Serialize) -> Result<String, CommandError> {
    let json = serde_json::to_string(value).map_err(CommandError::Json)?;
    let mut line = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        match character {
            ' '..='~' => line.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    line.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    line.push('\n');
    Ok(line)
}

/// An error and its causes in one line. One that has further lines of its own says its cause in them.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    if said.contains('\n') {
        return said.lines().map(shown).collect::<Vec<_>>().join("\n");
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Libraries repeat their causes; once is enough.
        if !said.ends_with(&next) {
            said.push_str(": ");
            said.push_str(&next);
        }
        cause = error.source();
    }
    shown(&said.replace('\n', " "))
}

/// A line that may hold a peer's text. What was escaped before is not escaped twice, and nothing in it acts.
pub(crate) fn shown(text: &str) -> String {
    visible_within(text, LINE).to_string().replace("\\\\", "\\")
}

/// A credential by its username, with its name where it has one.
pub(crate) fn called(username: &str, name: &str) -> String {
    if name.is_empty() { username.to_owned() } else { format!("{username} ({})", shown(name)) }
}

/// Whether standard output takes colour: a terminal, and nobody said `NO_COLOR`.
pub(crate) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A time as people here read it.
pub(crate) fn when(time: Time) -> String {
    local(time).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The day of a time, here.
pub(crate) fn day(time: Time) -> Date {
    local(time).date()
}

/// So many of something, by its names for one and for several.
pub(crate) fn counted<N: Display + PartialEq + From<u8>>(count: N, one: &str, several: &str) -> String {
    let name = if count == N::from(1) { one } else { several };
    format!("{count} {name}")
}

/// When something ends, or that it has.
pub(crate) fn end(time: Time) -> String {
    let left = local(time).timestamp().duration_since(Timestamp::now());
    match left {
        over if over.is_negative() => format!("EXPIRED {}", day(time)),
        // Today or tomorrow: by then one wants to know the hour.
        soon if soon < SignedDuration::from_hours(36) => when(time),
        _ => day(time).to_string(),
    }
}

/// The day it is here.
pub(crate) fn today() -> Date {
    Timestamp::now().to_zoned_datetime(TimeZone::system()).date()
}

fn local(time: Time) -> jiff::ZonedDateTime {
    let micros = i64::try_from(time.0.0).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX).to_zoned_datetime(TimeZone::system())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_peers_acts_on_a_terminal() {
        let evil = "a\x1b[2J\u{9b}31m\u{202e}b\x7f";
        let json = json_line(&evil).unwrap();
        assert!(json.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{json:?}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), evil);
        assert_eq!(shown(evil), "a\\x1b[2J\\u{9b}31m\\u{202e}b\\x7f");
        assert_eq!(shown(&shown(evil)), shown(evil));
    }

    #[test]
    fn an_error_is_one_line_with_its_causes() {
        let cause = io::Error::other("disk\nfull");
        assert_eq!(chain(&CommandError::Output(cause)), "cannot write to standard output: disk full");
    }
}
