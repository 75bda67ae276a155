use super::*;

fn check(bytes: &str, expected: &str) {
    let found = match head(bytes.as_bytes()) {
        Head::More => "more".to_owned(),
        Head::Malformed => "malformed".to_owned(),
        Head::Get { size, keep_alive, length } => format!("{size} {keep_alive} {length}"),
    };
    assert_eq!(found, expected, "{bytes:?}");
}

#[test]
fn a_head_says_how_many_bytes_and_whether_to_stay() {
    check("GET /64 HTTP/1.1\r\nHost: a\r\n\r\n", "64 true 29");
    check("GET /0 HTTP/1.1\r\n\r\nGET /1 HTTP/1.1\r\n\r\n", "0 true 19");
    check("GET /64 HTTP/1.1\r\nconnection: Close\r\n\r\n", "64 false 39");
    check("GET /64 HTTP/1.1\r\nConnection: te, close\r\n\r\n", "64 false 43");
    check("GET /64 HTTP/1.0\r\n\r\n", "64 false 20");
    check("GET /64 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "64 true 44");
    check("GET /65536x HTTP/1.1\r\n\r\n", "malformed");
    check("POST /64 HTTP/1.1\r\n\r\n", "malformed");
    check("GET 64 HTTP/1.1\r\n\r\n", "malformed");
    check("G\0T", "malformed");
}

#[test]
fn a_head_cut_at_any_byte_asks_for_more() {
    let whole = "GET /1024 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(head(&whole.as_bytes()[..end]), Head::More, "{end}");
    }
}

#[test]
fn a_head_without_end_is_malformed() {
    let long = format!("GET /1 HTTP/1.1\r\nA: {}", "a".repeat(HEAD_BYTES));
    assert_eq!(head(long.as_bytes()), Head::Malformed);
}
