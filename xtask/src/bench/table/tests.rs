use super::*;
use crate::bench::result::{Median, Run, Sample};

fn row(name: &str, cost: f64, rate: f64) -> Figures {
    Figures {
        name: name.into(),
        title: name.into(),
        is_ours: name.starts_with("moorgate"),
        in_tls: false,
        left_out: None,
        median: Median { cost: Some(cost), rate: Some(rate), p50_us: Some(1234.0), ..Median::default() },
        samples: vec![Sample::default()],
    }
}

pub(in crate::bench) fn measured(unit: Unit) -> Measured {
    let mut peer = row("peer", 50.0, 1000.0);
    peer.samples.push(Sample::failed("closed".into()));
    let mut gone = row("gone", 1.0, 1.0);
    gone.left_out = Some("not installed".into());
    gone.median = Median::default();
    let machine = crate::bench::machine::describe(2);
    let run = Run {
        date: "2026-01-02".into(),
        revision: "abc".into(),
        moorgate: "built".into(),
        command: "cargo xtask bench".into(),
        rounds: 7,
        seconds: 1.0,
        machine,
    };
    Measured { run, unit, rows: vec![peer, row("moorgate", 40.0, 1100.0), gone], lines: Vec::new() }
}

#[test]
fn the_table_has_our_ratio_to_each_peer_and_says_what_went_wrong() {
    assert_eq!(
        Grid::of(&measured(Unit::Operation)).for_markdown(),
        "\
|  | CPU µs | a second | p50 µs | p99 µs | errors | moorgate ÷ this |
|---|--:|--:|--:|--:|--:|--:|
| peer | 50.0 | 1,000 | 1,234 | – | 1 | 0.80× / 1.10× |
| **moorgate** | **40.0** | **1,100** | **1,234** | **–** | **0** | **–** |
| gone | – | – | – | – | – | – |

- peer: 1 errors, the last: closed
- gone is left out: not installed
"
    );
}

#[test]
fn figures_have_the_digits_that_they_deserve() {
    let shown = [0.456, 9.994, 10.04, 99.9, 100.4, 12_345.6, 1_234_567.0].map(|value| shown(Some(value)));
    assert_eq!(shown, ["0.46", "9.99", "10.0", "99.9", "100", "12,346", "1,234,567"]);
}

#[test]
fn the_terminal_has_the_same_rows() {
    let text = Grid::of(&measured(Unit::Held)).for_terminal();
    for word in ["KiB each", "peer", "moorgate", "gone is left out: not installed"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}
