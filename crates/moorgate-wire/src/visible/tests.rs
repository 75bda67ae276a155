use super::{MAX_CHARS, visible, visible_within};

#[test]
fn no_byte_of_a_peer_reaches_a_terminal() {
    let cases: &[(&[u8], &str)] = &[
        (b"example.com", "example.com"),
        (b"\x1b[2J\x07", "\\x1b[2J\\x07"),
        (b"a\r\nb\tc\0\x7f", "a\\x0d\\x0ab\\x09c\\x00\\x7f"),
        ("\u{9b}2J".as_bytes(), "\\u{9b}2J"),
        (b"\x9b2J\xff", "\\x9b2J\\xff"),
        ("a\u{202e}moc".as_bytes(), "a\\u{202e}moc"),
        ("\u{2066}\u{200b}\u{feff}\u{2028}".as_bytes(), "\\u{2066}\\u{200b}\\u{feff}\\u{2028}"),
        ("bücher.例え".as_bytes(), "bücher.例え"),
        (br"C:\x1b", r"C:\\x1b"),
        (b"\xf0\x9f\x92", "\\xf0\\x9f\\x92"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(visible(*bytes).to_string(), *expected, "{bytes:?}");
    }
}

#[test]
fn every_byte_and_every_escape_is_safe() {
    for c in (0..=0x10_ffff).filter_map(char::from_u32) {
        let shown = visible(c.encode_utf8(&mut [0; 4]).as_bytes()).to_string();
        assert!(!shown.chars().any(char::is_control), "{c:?}");
    }
    for byte in 0..=u8::MAX {
        assert!(!visible(&[byte]).to_string().chars().any(char::is_control), "{byte}");
    }
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let long = "ä".repeat(MAX_CHARS + 1);
    assert_eq!(visible(&long).to_string(), "ä".repeat(MAX_CHARS) + "…");
    assert_eq!(visible(&"ä".repeat(MAX_CHARS)).to_string(), "ä".repeat(MAX_CHARS));
    assert_eq!(visible_within(b"\x1b\x1b\x1b", 2).to_string(), "\\x1b\\x1b…");
    assert_eq!(format!("{:?}", visible("a\n")), "\"a\\x0a\"");
}
