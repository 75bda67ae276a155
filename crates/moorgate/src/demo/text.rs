//! The result as people read it: 80 columns, colour on a terminal only, and nothing that needs colour to be understood.

use std::{
    io::{IsTerminal as _, stdout},
    path::Path,
};

use super::{
    gateway::EGRESS,
    measure::{Cell, Row},
    promise::{Party, Promise, Way},
    report::{Broken, Report, Seen, Whose},
    secrets::{Planted, Secret},
};
use crate::{commands::CommandError, output, shell::quote};

/// Columns of a terminal.
const WIDTH: usize = 80;
/// Columns before the first cell: indent, product, party.
const PARTY: usize = 34;
/// Columns of each cell, in the order of the secrets.
const CELLS: [usize; 5] = [7, 10, 7, 9, 7];
/// Shown bytes of a certificate's SHA-256.
const FINGERPRINT: usize = 6;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const ALARM: &str = "\x1b[1;97;41m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";
/// To the start of the line, and nothing left on it.
const AGAIN: &str = "\r\x1b[K";

const INTRODUCTION: &str = "  Five secrets, drawn for this run, are sent through each product. A relay on
  every leg records every byte. Each cell below is a search in what it recorded:
  raw, base64 at three offsets, percent-coded. READ: found. –: not found.
";

/// Where it is printed.
pub(super) struct Page {
    /// Otherwise a program reads the answer, as JSON.
    on: bool,
    colour: bool,
    terminal: bool,
}

impl Page {
    /// A page that is printed, or is not.
    pub(super) fn new(on: bool) -> Self {
        Self { on, colour: output::colour(), terminal: stdout().is_terminal() }
    }

    /// What is done, before it is done.
    pub(super) fn begin(&self, planted: &Planted) -> Result<(), CommandError> {
        let label = |secret: Secret| self.paint(DIM, &format!("{:9}", secret.name()));
        let one = |secret| format!("  {}{}\n", label(secret), planted.shown(secret));
        let two = |left, right| {
            format!("  {}{:38}{}{}\n", label(left), planted.shown(left), label(right), planted.shown(right))
        };
        self.print(&format!(
            "{}  who can read what, measured now, on this machine\n\n{INTRODUCTION}\n{}{}{}",
            self.paint(BOLD, "moorgate demo"),
            two(Secret::Name, Secret::Password),
            two(Secret::Path, Secret::Body),
            one(Secret::Header),
        ))
    }

    /// What is measured now: on a terminal, and gone with the next.
    pub(super) fn progress(&self, doing: &str) -> Result<(), CommandError> {
        if !self.terminal {
            return Ok(());
        }
        self.print(&format!("{AGAIN}{}", self.paint(DIM, &format!("  …        {doing}"))))
    }

    /// Nothing is measured any more.
    pub(super) fn clear(&self) -> Result<(), CommandError> {
        if self.terminal { self.print(AGAIN) } else { Ok(()) }
    }

    /// The result.
    pub(super) fn end(&self, report: &Report, planted: &Planted, kept: Option<&Path>) -> Result<(), CommandError> {
        self.clear()?;
        let mut text = format!("{}\n{}", self.control(report), self.table(report));
        let broken = report.broken();
        text += &self.broken(&broken);
        text += &self.certificates(report);
        text += &self.egress(report);
        // Each of them is in the table, or it is not said.
        if broken.is_empty() {
            text += &self.words();
        }
        text += &self.tail(report, kept, planted);
        self.print(&text)
    }

    fn control(&self, report: &Report) -> String {
        let (found, of) = report.controlled();
        let label = self.paint(DIM, "control  ");
        let verdict = self.verdict(found == of);
        let (agreed, claims) = report.claims();
        let (records, agree) = (self.paint(DIM, "records  "), self.verdict(agreed == claims));
        format!(
            "  {label}each was found in plaintext where it had to arrive: {found} of {of}  {verdict}\n  \
             {records}the gateway's own flow records claim what was found: {agreed} of {claims}  {agree}\n"
        )
    }

    fn table(&self, report: &Report) -> String {
        let heads: String =
            Secret::ALL.iter().zip(CELLS).map(|(secret, width)| format!("{:width$}", secret.name())).collect();
        let mut text = self.paint(DIM, &format!("{:PARTY$}{heads} bytes", "")) + "\n";
        for way in Way::ALL {
            let mut rows = report.rows.iter().filter(|row| row.way == way).peekable();
            if rows.peek().is_some() {
                text += &heading(self, way);
            }
            for row in rows {
                text += &self.row(row);
            }
        }
        let (kept, all) = report.kept();
        let verdict = self.paint(BOLD, &format!("{kept} of {all} cells are as promised"));
        text + &format!("  {verdict}  {}\n\n", self.verdict(kept == all))
    }

    fn row(&self, row: &Row) -> String {
        let product = if row.party == Party::WireToGateway { row.product.name() } else { "" };
        let product = self.paint(BOLD, &format!("{product:8}"));
        let cells: String = row.cells.iter().zip(CELLS).map(|(cell, width)| self.cell(cell, width)).collect();
        let party = row.party.words(row.way);
        let searched = self.paint(DIM, &format!("{:>6}", thousands(row.searched())));
        format!("  {product}{party:width$}{cells}{searched}\n", width = PARTY - 10)
    }

    fn cell(&self, cell: &Cell, width: usize) -> String {
        let word = match (cell.promise, cell.found()) {
            (Promise::None, _) => "n/a",
            (_, None) => "?",
            (_, Some(true)) => "READ",
            (_, Some(false)) => "–",
        };
        // A broken one must be seen without colour too.
        let word = if cell.kept() || word == "?" { word.to_owned() } else { format!("{word}!") };
        let colour = match (cell.kept(), cell.found()) {
            (false, _) => ALARM,
            _ if cell.promise == Promise::None => DIM,
            (true, Some(true)) => YELLOW,
            (true, _) => GREEN,
        };
        let room = " ".repeat(width.saturating_sub(word.chars().count()));
        self.paint(colour, &word) + &room
    }

    fn broken(&self, broken: &[Broken]) -> String {
        let (mut text, mut last) = (String::new(), "");
        for own in broken {
            if last != own.promise {
                text += &self.paint(RED, &wrapped("", &format!("NOT AS PROMISED  {}", own.promise)));
                last = &own.promise;
            }
            text += &format!("  {} {}\n", self.paint(ALARM, "✗"), own.found);
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }

    fn certificates(&self, report: &Report) -> String {
        let mut text = self.section("KEYS", "whose certificate each client saw (SHA-256)");
        let mut shown: Vec<(&str, &Seen)> = Vec::new();
        for seen in &report.certificates {
            let way = if seen.way == Way::Inbound { "inbound" } else { "outbound" };
            let before = shown.iter().rev().find(|(own, other)| (*own, other.product) == (way, seen.product));
            // Both outbound trials of Shield meet the same proxy.
            if before.is_some() && shown.iter().any(|(_, other)| same(other, seen)) {
                continue;
            }
            let said = if before.is_some() { String::new() } else { format!("{way:10}{}", seen.product.name()) };
            text += &self.certificate(&said, seen);
            shown.push((way, seen));
        }
        let key = &report.key;
        let verdict = self.verdict(key.found.is_none());
        let places = format!("{} recordings, {} files of the gateway", key.recordings, key.files);
        text += &format!(
            "  the origin's key, sought in {places}: in {}  {verdict}\n",
            key.found.as_ref().map_or("none", |_| "one")
        );
        if let Some(passed) = &report.passed {
            let verdict = self.verdict(passed.identical);
            let same = if passed.identical { "identical" } else { "different" };
            let (up, down) = (thousands(passed.up), thousands(passed.down));
            text += &format!("  Shield inbound, bytes of the two legs: {same}, {up} up and {down} down  {verdict}\n");
        }
        text + "\n"
    }

    fn certificate(&self, said: &str, seen: &Seen) -> String {
        let shown: Vec<String> = seen.sha256.iter().take(FINGERPRINT).map(|byte| format!("{byte:02x}")).collect();
        let (colour, whose) = match (seen.whose, seen.way) {
            _ if seen.whose != seen.promised => (ALARM, "not as promised"),
            (Whose::Gateway, Way::Inbound) => (YELLOW, "the gateway's"),
            (Whose::Own, Way::Inbound) => (GREEN, "the origin's own"),
            (Whose::Gateway, _) => (YELLOW, "the gateway's"),
            (Whose::Own, _) => (GREEN, "the destination's own"),
        };
        format!("  {said:18}{:17}{}…  {}\n", seen.by, shown.join(":"), self.paint(colour, whose))
    }

    fn egress(&self, report: &Report) -> String {
        let count = |address: &str| {
            let seen = report.egress.iter().find(|(own, _)| own.to_string() == address);
            seen.map_or(0, |(_, count)| *count)
        };
        let [one, two] = EGRESS.map(|address| format!("{address} ×{}", count(address)));
        let strays = report.strays();
        let verdict = self.verdict(strays == 0);
        self.section("EGRESS", "addresses that the destinations saw")
            + &format!("  {one}   {two}   any other ×{strays}  {verdict}\n\n")
    }

    fn words(&self) -> String {
        let said = [
            "Shield hides the destination and your password from the network on the way to the gateway, not from the gateway.",
            "Without https to the destination, the gateway and the network behind it read everything but your password.",
            "Inbound, Shield cannot read your traffic; the domain stays visible (SNI).",
            "Inbound, Static reads everything: that is what lets it act on it.",
        ];
        let words: String = said.iter().map(|line| wrapped("  · ", line)).collect();
        self.section("IN WORDS", "") + &words + "\n"
    }

    fn tail(&self, report: &Report, kept: Option<&Path>, planted: &Planted) -> String {
        let not = "timing and sizes of packets; DNS lookups of app and gateway";
        let kept = match kept {
            None => "not kept; with  moorgate demo --keep DIR  they are".to_owned(),
            Some(dir) => format!(
                "{}; look yourself:\n  grep -lai {} {}/*.bin",
                dir.display(),
                planted.value(Secret::Path),
                quote(&dir.display().to_string())
            ),
        };
        let took = report.took.as_secs_f32();
        self.paint(DIM, &format!("Not measured  {not}"))
            + "\n"
            + &self.paint(DIM, &format!("Took          {took:.1} s"))
            + "\n"
            + &self.paint(DIM, "Recordings    ")
            + &kept
            + "\n"
    }

    fn section(&self, head: &str, more: &str) -> String {
        format!("{}  {more}", self.paint(BOLD, head)).trim_end().to_owned() + "\n"
    }

    fn verdict(&self, good: bool) -> String {
        if good { self.paint(GREEN, "✓") } else { self.paint(ALARM, "✗") }
    }

    fn paint(&self, with: &str, text: &str) -> String {
        if self.colour && !with.is_empty() && !text.trim().is_empty() {
            format!("{with}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }

    fn print(&self, text: &str) -> Result<(), CommandError> {
        if self.on { output::print(text) } else { Ok(()) }
    }
}

fn same(one: &Seen, other: &Seen) -> bool {
    (one.product, one.by, one.sha256) == (other.product, other.by, other.sha256)
}

fn heading(page: &Page, way: Way) -> String {
    let (head, more) = match way {
        Way::OutboundHttps => ("OUTBOUND", "to an https destination, by HTTP proxy and by SOCKS5"),
        Way::OutboundHttp => ("OUTBOUND", "to a plain http destination, by HTTP proxy and by SOCKS5"),
        Way::Inbound => ("INBOUND", "to an https origin"),
    };
    page.section(head, more)
}

/// `12,345`.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `text` in lines of at most [`WIDTH`] columns, behind `first` and below it.
fn wrapped(first: &str, text: &str) -> String {
    let indent = first.chars().count();
    let (mut lines, mut line, mut room) = (String::new(), first.to_owned(), WIDTH - indent);
    for word in text.split(' ') {
        let length = word.chars().count() + 1;
        if length > room + 1 && room < WIDTH - indent {
            lines += line.trim_end();
            lines.push('\n');
            (line, room) = (" ".repeat(indent), WIDTH - indent);
        }
        line += word;
        line.push(' ');
        room = room.saturating_sub(length);
    }
    lines + line.trim_end() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let text = wrapped("  ✗ ", &"twelve chars of words ".repeat(20));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("    ") && !line.ends_with(' ')));
        assert_eq!(
            (thousands(7), thousands(12_345), thousands(1_234_567)),
            ("7".into(), "12,345".into(), "1,234,567".into())
        );
    }
}
