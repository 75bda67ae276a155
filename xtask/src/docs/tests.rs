use super::*;

#[test]
fn a_block_is_replaced_and_nothing_else() {
    let text = format!("# Title\n\n{BEGIN}old\nlines\n{END}\nmore\n");
    let new = with_block(Path::new("a.md"), &text, "new\n").unwrap();
    assert_eq!(new, format!("# Title\n\n{BEGIN}new\n{END}\nmore\n"));
    assert_eq!(with_block(Path::new("a.md"), &new, "new\n").unwrap(), new);
}

#[test]
fn a_page_without_marks_is_refused() {
    for text in ["", BEGIN, END, &format!("{END}{BEGIN}")] {
        assert!(with_block(Path::new("a.md"), text, "").is_err(), "{text:?}");
    }
}

#[test]
fn every_cell_of_the_table_of_limits_is_filled() {
    for row in phases_as_markdown().lines() {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{row}");
        assert!(cells.iter().all(|cell| !cell.is_empty() && !cell.contains('{')), "{row}");
    }
}
