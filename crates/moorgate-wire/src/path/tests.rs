use proptest::prelude::*;

use super::{CanonicalPath, PathError};
use crate::fuzzing;

/// The canonical form, or why there is none.
fn check(text: &str, expected: Result<&str, PathError>) {
    let read = CanonicalPath::parse(text);
    assert_eq!(read.as_ref().map(CanonicalPath::as_str).map_err(|why| *why), expected, "{text:?}");
    fuzzing::path(text.as_bytes());
}

#[test]
fn a_path_has_one_spelling() {
    for (text, expected) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("/%61%2D%2e%5f%7Eb", "/a-._~b"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%5cb", "/a%5Cb"),
        ("/%e2%82%ac", "/%E2%82%AC"),
        ("/%20%3f%23%25", "/%20%3F%23%25"),
        ("/%2561", "/%2561"),
        ("//a///b//", "/a/b/"),
        ("//", "/"),
        ("/a/%2F/b", "/a/%2F/b"),
        ("/...", "/..."),
        ("/a..b/.c/d./..e", "/a..b/.c/d./..e"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a;../b", "/a;../b"),
        ("/!$&'()*+,=:@[]{}|^`\"<>", "/!$&'()*+,=:@[]{}|^`\"<>"),
        ("/a?", "/a?"),
        ("/a?b=%61&c=/../%zz//?", "/a?b=%61&c=/../%zz//?"),
        ("/?%00", "/?%00"),
    ] {
        check(text, Ok(expected));
    }
}

#[test]
fn a_step_upwards_is_refused_in_any_reading() {
    for text in [
        "/.",
        "/..",
        "/./a",
        "/a/../b",
        "/a/..",
        "/%2e%2e/x",
        "/.%2E/x",
        "/a/..%2fadmin",
        "/a/..%2Fadmin",
        "/a%2f..",
        "/a%2f.%2fb",
        "/a/..%5Cb",
        "/a%5c..%5cb",
        "/..;/x",
        "/..;a=b/x",
        "/a/.;",
        "/..%3b/x",
        "/%252e%252e/x",
        "/%25252e./x",
        "/a/..%252fadmin",
        "/a%25255c../x",
        "/%25%32%65%25%32%65/",
        "/a/..?q",
        "//..//a",
    ] {
        check(text, Err(PathError::DotSegment));
    }
}

#[test]
fn what_no_url_sends_is_refused() {
    for (text, why) in [
        ("", PathError::NotAbsolute),
        ("a", PathError::NotAbsolute),
        ("*", PathError::NotAbsolute),
        ("?/", PathError::NotAbsolute),
        ("%2Fa", PathError::NotAbsolute),
        ("http://a.test/", PathError::NotAbsolute),
        ("/a#b", PathError::Byte('#')),
        ("/a?b#c", PathError::Byte('#')),
        ("/a\\b", PathError::Byte('\\')),
        ("/a?\\", PathError::Byte('\\')),
        ("/a b", PathError::Byte(' ')),
        ("/a\0", PathError::Byte('\0')),
        ("/a\r\nb", PathError::Byte('\r')),
        ("/\u{7f}", PathError::Byte('\u{7f}')),
        ("/ü", PathError::Byte('ü')),
        ("/a%", PathError::Escape),
        ("/a%2", PathError::Escape),
        ("/a%2/b", PathError::Escape),
        ("/a%%32e", PathError::Escape),
        ("/a%+1", PathError::Escape),
        ("/%u002e", PathError::Escape),
        ("/a%00.png", PathError::Nul),
    ] {
        check(text, Err(why));
    }
}

#[test]
fn a_prefix_is_made_of_whole_segments() {
    let has = |path: &str, prefix: &str| CanonicalPath::parse(path).unwrap().has_prefix(prefix);
    for path in ["/api", "/api/", "/api/x", "//api", "/api//", "/%61pi/x?q", "/api?"] {
        assert!(has(path, "/api") && has(path, "/api/") && has(path, "/"), "{path}");
    }
    for path in ["/apix", "/ap", "/", "/API", "/x/api", "/api%2Fx", "/?/api"] {
        assert!(!has(path, "/api") && !has(path, "/api/"), "{path}");
    }
    assert!(has("/a/b/c", "/a/b") && !has("/a/bc", "/a/b"));
    for no_prefix in ["", "api", "//api", "/%61pi", "/api//"] {
        assert!(!has("/api/x", no_prefix), "{no_prefix:?}");
    }
}

#[test]
fn a_path_that_readers_split_differently_says_so() {
    let plain = |path: &str| CanonicalPath::parse(path).unwrap().is_plain();
    for path in ["/", "/a/b", "/a%20b", "/%252", "/?a;b=%2f"] {
        assert!(plain(path), "{path}");
    }
    for path in ["/a%2fb", "/a%5cb", "/a%252Fb", "/admin;x", "/admin%3bx"] {
        assert!(!plain(path), "{path}");
    }
}

#[test]
fn a_query_is_not_shown() {
    let path = CanonicalPath::parse("/a?key=secret").unwrap();
    assert_eq!((path.path(), path.query()), ("/a", Some("key=secret")));
    assert_eq!(format!("{path:?}"), "/a?…");
    assert_eq!(CanonicalPath::parse("/a").unwrap().query(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_canonical_form_is_stable_and_takes_no_step_upwards(
        parts in proptest::collection::vec("/|\\.|%2e|%2E|%252e|%25|2[eEfF]|%2f|%5c|;|%3b|[a-c]|%6[1-3]|\\?|%[0-9a-f]{2}", 0..12)
    ) {
        fuzzing::path(format!("/{}", parts.concat()).as_bytes());
    }

    #[test]
    fn any_text_is_a_path_or_refused(text in "/\\PC{0,20}") {
        fuzzing::path(text.as_bytes());
    }
}
