use super::{MAX_DETAILS_CHARS, ProxyStatus};

#[test]
fn a_failure_is_said_as_rfc_9209_has_it() {
    let status = ProxyStatus {
        error: Some("http_request_denied"),
        details: Some("denied by rule 3 of \"acme\" \\ ü\r\nSet-Cookie: x"),
        received_status: Some(403),
        extra: &[("moorgate-code", "policy_denied"), ("No Key", "x"), ("", "y")],
        ..ProxyStatus::default()
    };
    assert_eq!(
        status.encode(),
        r#"moorgate; error=http_request_denied; received-status=403; details="denied by rule 3 of \"acme\" \\ ???Set-Cookie: x"; moorgate-code="policy_denied""#
    );
    assert_eq!(ProxyStatus::default().encode(), "moorgate");
    assert_eq!(ProxyStatus { name: "two words", ..ProxyStatus::default() }.encode(), "\"two words\"");
}

#[test]
fn details_are_bounded() {
    let long = "x".repeat(10_000);
    let value = ProxyStatus { details: Some(&long), ..ProxyStatus::default() }.encode();
    assert_eq!(value.len(), "moorgate; details=\"\"".len() + MAX_DETAILS_CHARS);
}
