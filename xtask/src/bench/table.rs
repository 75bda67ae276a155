//! The table of a work, for a terminal and for Markdown.

use super::{
    result::{Figures, Measured, ratio},
    works::Unit,
};

/// Rows of cells; the first has the heads.
pub(super) struct Grid {
    rows: Vec<Vec<String>>,
    /// What stands below: why something is left out, what the last errors were.
    notes: Vec<String>,
    /// The rows that are ours, by their place among all rows.
    ours: Vec<usize>,
}

/// Nothing there.
const NONE: &str = "–";

impl Grid {
    /// Of one work.
    pub(super) fn of(measured: &Measured) -> Self {
        let unit = measured.unit;
        let ours: Vec<&Figures> = measured.rows.iter().filter(|row| row.is_ours && row.left_out.is_none()).collect();
        let resumes = measured.rows.iter().any(|row| row.samples.iter().any(|sample| sample.resumed > 0));
        let mut heads: Vec<String> = vec![String::new()];
        heads.extend(
            match unit {
                Unit::Operation => ["CPU µs", "a second", "p50 µs", "p99 µs"].as_slice(),
                Unit::Gibibyte => ["CPU s/GiB", "GiB/s"].as_slice(),
                Unit::Held => ["KiB each"].as_slice(),
            }
            .iter()
            .map(|head| (*head).to_owned()),
        );
        if resumes {
            heads.push("resumed".to_owned());
        }
        heads.push("errors".to_owned());
        heads.extend(ours.iter().map(|row| format!("{} ÷ this", row.name.trim_start_matches("moorgate-"))));
        let mut rows = vec![heads];
        for row in &measured.rows {
            let mut cells = vec![row.title.clone()];
            cells.extend(figures(row, unit));
            if resumes {
                cells.push(row.median.resumed.map_or(NONE.to_owned(), |share| format!("{:.1} %", share * 100.0)));
            }
            cells.push(if row.left_out.is_some() { NONE.to_owned() } else { row.errors().to_string() });
            cells.extend(ours.iter().map(|ours| ratios(ours, row)));
            rows.push(cells);
        }
        let place = |(place, row): (usize, &Figures)| row.is_ours.then_some(place);
        Self { rows, notes: notes(measured), ours: measured.rows.iter().enumerate().filter_map(place).collect() }
    }

    /// For a terminal: names to the left, figures to the right.
    pub(super) fn for_terminal(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in self.rows.iter().filter(|_| self.rows.len() > 1) {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.chars().count());
                text.push_str(&if column == 0 { format!("   {cell}{padding}") } else { format!("  {padding}{cell}") });
            }
            text.push('\n');
        }
        self.notes.iter().fold(text, |text, note| format!("{text}   {note}\n"))
    }

    /// For a page.
    pub(super) fn for_markdown(&self) -> String {
        let mut text = String::new();
        if let Some((heads, rows)) = self.rows.split_first().filter(|(_, rows)| !rows.is_empty()) {
            text.push_str(&line(heads));
            text.push_str(&format!("|---|{}\n", "--:|".repeat(heads.len().saturating_sub(1))));
            for (place, row) in rows.iter().enumerate() {
                let bold = |cell: &String| format!("**{cell}**");
                let is_ours = self.ours.contains(&place);
                let row: Vec<String> = row.iter().map(|cell| if is_ours { bold(cell) } else { cell.clone() }).collect();
                text.push_str(&line(&row));
            }
        }
        if !self.notes.is_empty() {
            let lines: String = self.notes.iter().map(|note| format!("- {}\n", note.replace('|', "\\|"))).collect();
            text = format!("{text}\n{lines}");
        }
        text
    }
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn figures(row: &Figures, unit: Unit) -> Vec<String> {
    let median = &row.median;
    match unit {
        Unit::Operation => {
            vec![shown(median.cost), shown(median.rate), shown(median.p50_us), shown(median.p99_us)]
        }
        Unit::Gibibyte => vec![shown(median.cost), shown(median.rate)],
        Unit::Held => vec![shown(median.cost)],
    }
}

/// A figure with as many digits as it deserves.
pub(super) fn shown(value: Option<f64>) -> String {
    match value {
        None => NONE.to_owned(),
        Some(value) if value.abs() < 10.0 => format!("{value:.2}"),
        Some(value) if value.abs() < 100.0 => format!("{value:.1}"),
        Some(value) => grouped(value),
    }
}

/// With a comma at each thousand.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{sign}{text}")
}

/// Our cost and rate over this row's: below 1 in cost, above 1 in rate is better for us.
fn ratios(ours: &Figures, row: &Figures) -> String {
    if ours.name == row.name || ours.in_tls != row.in_tls {
        return NONE.to_owned();
    }
    let over = |ours: Option<f64>, its: Option<f64>| Some(format!("{:.2}×", ratio(ours?, its?)?));
    match (over(ours.median.cost, row.median.cost), over(ours.median.rate, row.median.rate)) {
        (Some(cost), Some(rate)) => format!("{cost} / {rate}"),
        (Some(cost), None) => cost,
        (None, _) => NONE.to_owned(),
    }
}

fn notes(measured: &Measured) -> Vec<String> {
    let mut notes = measured.lines.clone();
    for row in &measured.rows {
        if let Some(why) = &row.left_out {
            notes.push(format!("{} is left out: {why}", row.title));
        } else if row.errors() > 0 {
            notes.push(format!(
                "{}: {} errors, the last: {}",
                row.title,
                row.errors(),
                row.last_error().unwrap_or(NONE)
            ));
        }
    }
    notes
}

#[cfg(test)]
pub(super) mod tests;
