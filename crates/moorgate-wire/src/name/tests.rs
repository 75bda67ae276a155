use super::{DomainName, NameError};

#[test]
fn names_are_lower_case_and_say_what_is_wrong() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    let cases: &[(&str, Result<&str, NameError>)] = &[
        ("example.com", Ok("example.com")),
        ("EXAMPLE.Com", Ok("example.com")),
        ("_dmarc.x-y.example", Ok("_dmarc.x-y.example")),
        ("localhost", Ok("localhost")),
        ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
        ("1.2.3.4.example", Ok("1.2.3.4.example")),
        ("4chan.org", Ok("4chan.org")),
        (&longest, Ok(&longest)),
        ("", Err(NameError::Empty)),
        (".", Err(NameError::EmptyLabel)),
        ("a..b", Err(NameError::EmptyLabel)),
        (".a", Err(NameError::EmptyLabel)),
        ("a.", Err(NameError::TrailingDot)),
        ("-a.example", Err(NameError::HyphenAtEdge)),
        ("a-.example", Err(NameError::HyphenAtEdge)),
        ("a b", Err(NameError::BadCharacter(' '))),
        ("a\0b", Err(NameError::BadCharacter('\0'))),
        ("a/b", Err(NameError::BadCharacter('/'))),
        ("*.example.com", Err(NameError::BadCharacter('*'))),
        ("bücher.example", Err(NameError::NotAscii)),
        ("127.1", Err(NameError::EndsInNumber)),
        ("a.1", Err(NameError::EndsInNumber)),
        ("a.0x", Err(NameError::EndsInNumber)),
        ("0X7F", Err(NameError::EndsInNumber)),
    ];
    for (text, expected) in cases {
        assert_eq!(DomainName::parse(text).as_ref().map(DomainName::as_str), expected.as_ref().copied(), "{text:?}");
    }
    assert_eq!(DomainName::parse(&format!("{longest}a")), Err(NameError::TooLong(254)));
    assert_eq!(DomainName::parse(&format!("{label}a.example")), Err(NameError::LabelTooLong(64)));
}

#[test]
fn a_wildcard_stands_for_exactly_one_label() {
    let name = DomainName::parse("a.example.com").unwrap();
    assert_eq!(name.parent(), Some("example.com"));
    assert!(name.matches_wildcard("example.com"));
    for suffix in ["com", "a.example.com", "xample.com", ""] {
        assert!(!name.matches_wildcard(suffix), "{suffix}");
    }
    assert!(!DomainName::parse("example.com").unwrap().matches_wildcard("example.com"));
    assert!(!DomainName::parse("b.a.example.com").unwrap().matches_wildcard("example.com"));
    assert_eq!(DomainName::parse("localhost").unwrap().parent(), None);
}

#[test]
fn a_table_keyed_by_names_is_asked_with_text() {
    let table = std::collections::HashMap::from([(DomainName::parse("A.example").unwrap(), 1)]);
    assert_eq!(table.get("a.example"), Some(&1));
}
