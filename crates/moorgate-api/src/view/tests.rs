use super::*;

#[test]
fn times_are_written_as_rfc_3339_and_read_back() {
    let time = Time(Timestamp(1_700_000_000_123_456));
    assert_eq!(time.to_string(), "2023-11-14T22:13:20.123456Z");
    assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
    for text in ["2023-11-14T22:13:20.123456000000789Z", "2023-11-14t23:13:20.123456+01:00"] {
        assert_eq!(text.parse::<Time>().unwrap(), time, "{text}");
    }
    for text in ["", "soon", "2023-11-14", "2023-11-14T22:13:20.123456", "2023-13-14T22:13:20Z", "0.1234567890é"] {
        assert!(text.parse::<Time>().is_err(), "{text}");
    }
}

#[test]
fn a_secret_is_not_in_debug_output() {
    let credential = NewCredential { username: "mg_a".into(), password: "hunter2".into() };
    let token = NewToken { id: "t1".into(), token: "mgt_secret".into() };
    assert!(!format!("{credential:?} {token:?}").contains("hunter2"));
    assert!(!format!("{credential:?} {token:?}").contains("secret"));
}

#[test]
fn an_unknown_field_is_named() {
    let error = serde_json::from_str::<AddAccount>(r#"{"name":"a","tier":"big"}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `tier`"), "{error}");
}
