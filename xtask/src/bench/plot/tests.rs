use super::*;
use crate::bench::table::tests::measured;

#[test]
fn a_plot_has_a_bar_for_each_figure_the_cheapest_first() {
    let svg = svg(Work::Connection, &measured(Unit::Operation)).unwrap();
    assert_eq!(svg.matches("<rect").count(), 3, "a background and two bars: {svg}");
    let place = |word: &str| svg.find(word).unwrap();
    assert!(place(">moorgate<") < place(">peer<"), "{svg}");
    assert!(svg.contains(OURS) && svg.ends_with("</svg>\n"));
}

#[test]
fn nothing_is_drawn_of_nothing() {
    let mut measured = measured(Unit::Held);
    measured.rows.clear();
    assert_eq!(svg(Work::Routes, &measured), None);
}
