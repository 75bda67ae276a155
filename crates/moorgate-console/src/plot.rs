//! Plots as SVG, drawn on the server: no script, no style in the picture itself.

use std::fmt::Write as _;

/// Width and height of the drawing, in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;
/// Room below and at the left for what the axes say.
const BELOW: f64 = 18.0;
const LEFT: f64 = 56.0;

/// One column of a plot: what it says when pointed at, and its parts from below.
pub(crate) struct Column {
    /// What stands below it; empty: nothing.
    pub(crate) label: String,
    /// What it says when pointed at.
    pub(crate) title: String,
    /// The first stands at the bottom.
    pub(crate) parts: Vec<f64>,
}

/// Columns over time. `name`: what is shown, for who can't see it; `most`: how the top of the axis is written.
pub(crate) fn columns(name: &str, columns: &[Column], most: impl Fn(f64) -> String) -> String {
    let top = columns.iter().map(|column| column.parts.iter().sum::<f64>()).fold(0.0, f64::max);
    let mut svg =
        format!("<svg class=\"plot\" role=\"img\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" aria-label=\"{}\">", escape(name));
    let base = HEIGHT - BELOW;
    let _ = write!(svg, "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{base}\" x2=\"{WIDTH}\" y2=\"{base}\"/>");
    if top <= 0.0 {
        let _ =
            write!(svg, "<text class=\"none\" x=\"{}\" y=\"{}\">nothing yet</text></svg>", WIDTH / 2.0, HEIGHT / 2.0);
        return svg;
    }
    let _ = write!(svg, "<text class=\"most\" x=\"{}\" y=\"12\">{}</text>", LEFT - 6.0, escape(&most(top)));
    let _ = write!(svg, "<text class=\"most\" x=\"{}\" y=\"{base}\">0</text>", LEFT - 6.0);
    let step = (WIDTH - LEFT) / columns.len().max(1) as f64;
    for (place, column) in columns.iter().enumerate() {
        let x = LEFT + step * place as f64;
        let _ = write!(svg, "<g><title>{}</title>", escape(&column.title));
        let mut y = base;
        for (part, value) in column.parts.iter().enumerate() {
            let height = value / top * (base - 6.0);
            y -= height;
            if height > 0.0 {
                let _ = write!(
                    svg,
                    "<rect class=\"part{part}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                    x + step * 0.1,
                    step * 0.8
                );
            }
        }
        svg.push_str("</g>");
        if !column.label.is_empty() {
            let _ = write!(
                svg,
                "<text class=\"when\" x=\"{:.1}\" y=\"{}\">{}</text>",
                x + step / 2.0,
                HEIGHT - 4.0,
                escape(&column.label)
            );
        }
    }
    svg + "</svg>"
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_column_a_step_and_nothing_that_could_be_markup() {
        let column = |label: &str, parts: &[f64]| Column {
            label: label.to_owned(),
            title: format!("{label}: <b>"),
            parts: parts.to_vec(),
        };
        let drawn =
            columns("a \"name\"", &[column("1<", &[1.0, 1.0]), column("2", &[0.0, 0.5])], |most| format!("{most}"));
        assert_eq!((drawn.matches("<rect").count(), drawn.matches("<g>").count()), (3, 2));
        assert!(drawn.contains("a &quot;name&quot;") && drawn.contains("1&lt;: &lt;b&gt;") && !drawn.contains("<b>"));
        assert!(!drawn.contains("style="), "the policy of the pages allows none");
        assert!(columns("none", &[], |_| String::new()).contains("nothing yet"));
    }
}
