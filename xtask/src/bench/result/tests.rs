use super::*;

#[test]
fn a_median_is_the_middle() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    assert_eq!(median(vec![7.0]), Some(7.0));
    assert_eq!(median(Vec::new()), None);
}

#[test]
fn figures_are_of_what_was_done() {
    let sample = Sample { seconds: 2.0, done: 1000, bytes: 1 << 31, cpu_seconds: 0.05, ..Sample::default() };
    assert_eq!((sample.cost(Unit::Operation), sample.rate(Unit::Operation)), (Some(50.0), Some(500.0)));
    assert_eq!((sample.cost(Unit::Gibibyte), sample.rate(Unit::Gibibyte)), (Some(0.025), Some(1.0)));
    let held = Sample { held: 100, memory_before: 1024, memory_with: 1024 + 300 * 1024, ..Sample::default() };
    assert_eq!((held.cost(Unit::Held), held.rate(Unit::Held)), (Some(3.0), None));
}

#[test]
fn a_turn_that_came_to_nothing_has_no_figure_and_an_error() {
    let good = Sample { seconds: 1.0, done: 10, cpu_seconds: 0.001, ..Sample::default() };
    let median = Median::of(&[good, Sample::failed("gone".into())], Unit::Operation);
    assert_eq!((median.cost, median.rate), (Some(100.0), Some(10.0)));
    assert_eq!(Median::of(&[Sample::failed("gone".into())], Unit::Gibibyte), Median::default());
}
