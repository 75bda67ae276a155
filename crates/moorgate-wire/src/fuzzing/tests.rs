//! Replays the corpora of this crate's targets.

use super::corpus::replay;
pub(crate) use super::corpus::{corpus, mutations};

#[test]
fn client_hello_corpus_holds() {
    replay("client_hello", super::client_hello);
}

#[test]
fn path_corpus_holds() {
    replay("path", super::path);
}

#[test]
fn proxy_protocol_corpus_holds() {
    replay("proxy_protocol", super::proxy_protocol);
}

#[test]
fn socks5_server_corpus_holds() {
    replay("socks5_server", super::socks5_server);
}

#[test]
fn socks5_client_corpus_holds() {
    replay("socks5_client", super::socks5_client);
}

#[test]
fn http1_request_corpus_holds() {
    replay("http1_request", super::http1_request);
}

#[test]
fn http1_body_corpus_holds() {
    replay("http1_body", super::http1_body);
}

#[test]
fn host_corpus_holds() {
    replay("host", super::host);
}

#[test]
fn basic_corpus_holds() {
    replay("basic", super::basic);
}
