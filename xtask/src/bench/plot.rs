//! One picture for each work: horizontal bars of what a thing costs, shortest first, ours in colour.

use super::{
    result::{Figures, Measured},
    table::shown,
    works::{Unit, Work},
};

const WIDTH: f64 = 860.0;
const MARGIN: f64 = 24.0;
/// Above the first bar: title and what the bars are.
const HEAD: f64 = 74.0;
const STEP: f64 = 30.0;
const BAR: f64 = 18.0;
/// Below the last bar: where it was measured.
const FOOT: f64 = 40.0;
/// Names end here, bars begin a little to the right of it.
const NAMES: f64 = 250.0;
/// Room for the figures at the bars' ends.
const VALUES: f64 = 165.0;

const BACKGROUND: &str = "#ffffff";
const INK: &str = "#1c2430";
const MUTED: &str = "#69737f";
const LINE: &str = "#e4e8ec";
const OURS: &str = "#0b7a75";
const PEER: &str = "#b9c3cd";
const FLOOR: &str = "#e0e5ea";

/// The picture, or `None` when there is nothing to draw.
pub(super) fn svg(work: Work, measured: &Measured) -> Option<String> {
    let mut rows: Vec<(&Figures, f64)> =
        measured.rows.iter().filter_map(|row| Some((row, row.median.cost.filter(|&cost| cost > 0.0)?))).collect();
    rows.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let longest = rows.last()?.1;
    let height = HEAD + STEP * rows.len() as f64 + FOOT;
    let scale = (WIDTH - MARGIN - NAMES - 10.0 - VALUES) / longest;
    let unit = match measured.unit {
        Unit::Operation => "CPU µs each; beside it, how many a second. Shorter is better.",
        Unit::Gibibyte => "CPU seconds a GiB; beside it, GiB a second. Shorter is better.",
        Unit::Held => "KiB of the proxy's memory each. Shorter is better.",
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\" role=\"img\">\n\
         <title>{title}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"10\" fill=\"{BACKGROUND}\"/>\n\
         <text x=\"{MARGIN}\" y=\"36\" font-size=\"18\" font-weight=\"600\" fill=\"{INK}\">{title}</text>\n\
         <text x=\"{MARGIN}\" y=\"57\" font-size=\"12.5\" fill=\"{MUTED}\">{unit}</text>\n\
         <line x1=\"{axis}\" y1=\"{HEAD}\" x2=\"{axis}\" y2=\"{end}\" stroke=\"{LINE}\"/>\n",
        title = escaped(work.title()),
        axis = NAMES + 10.0,
        end = height - FOOT,
    );
    for (place, (row, cost)) in rows.iter().enumerate() {
        svg.push_str(&bar(row, HEAD + STEP * place as f64, cost * scale));
    }
    let foot = escaped(&foot(measured));
    svg.push_str(&format!(
        "<text x=\"{MARGIN}\" y=\"{y}\" font-size=\"11\" fill=\"{MUTED}\">{foot}</text>\n</svg>\n",
        y = height - 15.0
    ));
    Some(svg)
}

fn bar(row: &Figures, top: f64, length: f64) -> String {
    let is_floor = row.name == "floor";
    let (fill, ink, weight) = match (row.is_ours, is_floor) {
        (true, _) => (OURS, OURS, 600),
        (false, true) => (FLOOR, MUTED, 400),
        (false, false) => (PEER, INK, 400),
    };
    let length = length.max(1.5);
    let start = NAMES + 10.0;
    let middle = top + STEP / 2.0 + 4.5;
    let rate = row.median.rate.map(|rate| {
        format!(
            "<tspan dx=\"8\" font-weight=\"400\" font-size=\"11.5\" fill=\"{MUTED}\">{}/s</tspan>",
            shown(Some(rate))
        )
    });
    format!(
        "<text x=\"{NAMES}\" y=\"{middle}\" font-size=\"13\" font-weight=\"{weight}\" fill=\"{ink}\" \
         text-anchor=\"end\">{name}</text>\n\
         <rect x=\"{start}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"3\" fill=\"{fill}\"/>\n\
         <text x=\"{x:.1}\" y=\"{middle}\" font-size=\"13\" font-weight=\"600\" fill=\"{ink}\">{cost}{rate}</text>\n",
        name = escaped(&row.title),
        y = top + (STEP - BAR) / 2.0,
        x = start + length + 8.0,
        cost = shown(row.median.cost),
        rate = rate.unwrap_or_default(),
    )
}

fn foot(measured: &Measured) -> String {
    let run = &measured.run;
    format!("{}, {}, medians of {} rounds, {}", run.date, run.machine.processor, run.rounds, run.revision)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
