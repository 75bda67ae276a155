use std::collections::BTreeMap;

use super::*;
use crate::bench::{
    table::tests::measured,
    works::{Unit, Work},
};

#[test]
fn a_work_that_was_not_done_now_stays_with_its_date() {
    let bench = tempfile::tempdir().unwrap();
    let page = bench.path().join("README.md");
    fs::write(&page, format!("before\n{BEGIN}old\n{END}behind\n")).unwrap();
    let first = Results(BTreeMap::from([(Work::Connection, measured(Unit::Operation))]));
    publish(&first, bench.path()).unwrap();
    let mut later = measured(Unit::Gibibyte);
    later.run.date = "2026-03-04".into();
    publish(&Results(BTreeMap::from([(Work::Down, later)])), bench.path()).unwrap();
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.starts_with("before\n") && text.ends_with("behind\n") && !text.contains("old"), "{text}");
    for part in ["2026-01-02", "2026-03-04", "(connection.svg)", "(down.svg)", "CPU µs", "CPU s/GiB"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(bench.path().join("connection.svg").is_file());
    assert_eq!(Results::load(&bench.path().join("result.json")).unwrap().0.len(), 2);
}
