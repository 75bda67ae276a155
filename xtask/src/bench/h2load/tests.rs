use super::*;

const REPORT: &str = "\
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Server Temp Key: X25519 253 bits
Application protocol: h2

finished in 1.00s, 42000.00 req/s, 43.21MB/s
requests: 42000 total, 42040 started, 42000 done, 41998 succeeded, 2 failed, 1 errored, 0 timeout
status codes: 42000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 43.21MB (45312345) total, 123KB (123) headers (space savings 95.00%), 41.02MB (43008000) data
";

fn requests(http2: bool) -> Requests {
    Requests { size: 1024, http2, clients: 4, streams: 10 }
}

#[test]
fn a_report_is_read() {
    let times = "1\t200\t100\n2\t200\t300\n3\t200\t200\n";
    let sample = parse(REPORT, times, requests(true), 1.0).unwrap();
    assert_eq!((sample.done, sample.bytes, sample.errors), (41998, 45_312_345, 3));
    assert_eq!((sample.p50_us, sample.p99_us), (200.0, 300.0));
}

#[test]
fn what_is_spoken_instead_is_an_error() {
    let sample = parse(REPORT, "", requests(false), 1.0).unwrap();
    assert_eq!(sample.last_error.as_deref(), Some("Application protocol: h2 instead of http/1.1"));
    let plain = REPORT.lines().skip(4).collect::<Vec<_>>().join("\n");
    let sample = parse(&plain, "", requests(true), 1.0).unwrap();
    assert_eq!(sample.last_error.as_deref(), Some("no TLS: nothing is said of TLS Protocol"));
}

#[test]
fn another_output_is_refused_with_what_is_missing() {
    let error = parse("h2load: no", "", requests(true), 1.0).unwrap_err();
    assert_eq!(error.to_string(), "h2load printed no line of \"requests: \"");
}
