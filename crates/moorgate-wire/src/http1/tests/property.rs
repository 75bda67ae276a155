use proptest::prelude::*;

use crate::fuzzing;

/// A head that is often right, with parts that often are not.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let host = prop_oneof![
        "[a-z0-9_.-]{1,12}",
        "[A-Z]{1,3}\\.test",
        Just("[::1]".to_owned()),
        "[0-9.x]{1,9}",
        "[a-z]{1,3}@[a-z]{1,3}"
    ];
    let port = prop_oneof![Just(String::new()), (0..70_000_u32).prop_map(|port| format!(":{port}"))];
    let method = prop_oneof![Just("GET".to_owned()), Just("CONNECT".to_owned()), "[A-Za-z!-]{1,8}"];
    let path = prop_oneof![Just(String::new()), "[/?a-z%.]{0,10}", "/[ -~]{0,10}"];
    let name = prop_oneof![
        Just("Content-Length".to_owned()),
        Just("Transfer-Encoding".to_owned()),
        Just("Connection".to_owned()),
        "[!-~]{1,6}"
    ];
    let value = prop_oneof![Just("chunked".to_owned()), "[0-9]{1,3}", "[\\t -~]{0,10}"];
    let fields = proptest::collection::vec((name, value), 0..4);
    let eol = prop_oneof![20 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\n ")];
    (method, host, port, path, fields, eol, any::<bool>()).prop_map(
        |(method, host, port, path, fields, eol, with_host)| {
            let target =
                if method == "CONNECT" { format!("{host}{port}") } else { format!("http://{host}{port}{path}") };
            let mut out = format!("{method} {target} HTTP/1.1\r\n");
            if with_host {
                out += &format!("Host: {host}{port}\r\n");
            }
            for (name, value) in fields {
                out += &format!("{name}: {value}{eol}");
            }
            out += "\r\n";
            out.into_bytes()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_head_reads_the_same_however_it_comes_and_however_often(bytes in heads()) {
        fuzzing::http1_request(&bytes);
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::http1_request(&bytes);
        fuzzing::http1_body(&bytes);
        fuzzing::socks5_server(&bytes);
        fuzzing::socks5_client(&bytes);
        fuzzing::host(&bytes);
        fuzzing::basic(&bytes);
        fuzzing::client_hello(&bytes);
        fuzzing::proxy_protocol(&bytes);
    }

    #[test]
    fn every_short_text_is_a_host_or_refused_in_safe_words(text in "[0-9a-fx.:%@\\[\\]-]{0,16}|\\PC{0,20}") {
        fuzzing::host(text.as_bytes());
    }
}
