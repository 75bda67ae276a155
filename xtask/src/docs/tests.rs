use super::*;

const BEGIN: &str = "<!-- begin -->\n";
const END: &str = "<!-- end -->\n";
const BLOCK: Block = Block { page: "a.md", begin: BEGIN, end: END, made: || "new\n".into() };

#[test]
fn a_block_is_replaced_and_nothing_else() {
    let text = format!("# Title\n\n{BEGIN}old\nlines\n{END}\nmore\n");
    let new = BLOCK.put(Path::new("a.md"), &text).unwrap();
    assert_eq!(new, format!("# Title\n\n{BEGIN}new\n{END}\nmore\n"));
    assert_eq!(BLOCK.put(Path::new("a.md"), &new).unwrap(), new);
}

#[test]
fn a_page_without_marks_is_refused() {
    for text in ["", BEGIN, END, &format!("{END}{BEGIN}")] {
        assert!(BLOCK.put(Path::new("a.md"), text).is_err(), "{text:?}");
    }
}

#[test]
fn a_failure_that_is_only_in_the_table_of_the_code_is_missed() {
    let table = table_as_markdown();
    assert_eq!(table.lines().count(), Code::ALL.len() + 2);
    assert_eq!(unexplained(&format!("<!-- failures: end -->\n{table}")), Vec::<&str>::new());
    let words = table.replace("| `loop` |", "| loop |");
    assert_eq!(unexplained(&format!("{table}<!-- failures: end -->\n{words}")), ["loop"]);
}

#[test]
fn every_cell_of_the_table_of_limits_is_filled() {
    for row in phases_as_markdown().lines() {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{row}");
        assert!(cells.iter().all(|cell| !cell.is_empty() && !cell.contains('{')), "{row}");
    }
}
