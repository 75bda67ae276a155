use super::*;

#[test]
fn values_are_found_behind_their_keys() {
    let text = "processor\t: 0\nmodel name\t: A fast one\nmodel name\t: another\n";
    assert_eq!(value(text, "model name", ':').as_deref(), Some("A fast one"));
    assert_eq!(value("ID=debian\nPRETTY_NAME=\"Debian 12\"\n", "PRETTY_NAME", '=').as_deref(), Some("Debian 12"));
    assert_eq!(value(text, "PRETTY_NAME", '='), None);
}
