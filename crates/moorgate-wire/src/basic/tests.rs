use super::{encode, parse};

/// A field value, and the username and password in it.
type Case = (&'static [u8], Option<(&'static str, &'static str)>);

#[test]
fn credentials_are_read_in_every_form_clients_write() {
    let cases: &[Case] = &[
        (b"Basic dXNlcjpwYXNz", Some(("user", "pass"))),
        (b"basic   dXNlcjpwYXNz", Some(("user", "pass"))),
        (b"BASIC dTpwOng=", Some(("u", "p:x"))),
        (b"Basic dTpwOng", Some(("u", "p:x"))),
        (b"Basic Og==", Some(("", ""))),
        (b"Basic dXNlcg==", None),
        (b"Basic dTpwOng==", None),
        (b"Basic dTpwOnh=", None),
        (b"Basic dXNl cjpwYXNz", None),
        (b"Basic dXNlcjpwYXNz,", None),
        (b"BasicdXNlcjpwYXNz", None),
        (b"Basic", None),
        (b"Basic ", None),
        (b"Bearer dXNlcjpwYXNz", None),
        (b"Basic /zov", None),
        (b"Basic dToKcA==", None),
        (b"", None),
    ];
    for (value, expected) in cases {
        let read = parse(value);
        let read = read.as_ref().map(|read| (read.username.as_str(), read.password.as_str()));
        assert_eq!(read, *expected, "{}", value.escape_ascii());
    }
    assert!(parse(encode("u", &"p".repeat(2_000)).as_bytes()).is_none(), "a value beyond the limit");
}

#[test]
fn a_password_is_not_in_debug_output() {
    let read = parse(encode("user", "hunter2").as_bytes()).unwrap();
    assert_eq!(format!("{read:?}"), "Basic { username: \"user\", password: … }");
    assert_eq!(encode("user", "pass"), "Basic dXNlcjpwYXNz");
}
