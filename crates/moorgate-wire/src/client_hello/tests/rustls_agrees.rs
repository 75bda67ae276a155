//! rustls reads the same hellos: where both take one, they must see the same in it.

use rustls::server::Acceptor;

use super::{HelloReader, HelloStep};
use crate::{
    client_hello::ClientHello,
    fuzzing::tests::{corpus, mutations},
};

/// Name and protocols.
type Seen = (Option<String>, Vec<Vec<u8>>);

fn rustls_sees(mut bytes: &[u8]) -> Option<Seen> {
    let mut acceptor = Acceptor::default();
    loop {
        // Its buffer holds one record, so that it must be asked in between.
        let read = acceptor.read_tls(&mut bytes).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            let alpn = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
            return Some((hello.server_name().map(str::to_owned), alpn));
        }
        if read == 0 {
            return None;
        }
    }
}

fn we_see(hello: &ClientHello) -> Seen {
    (hello.server_name.as_ref().map(|name| name.as_str().to_owned()), hello.alpn().map(<[u8]>::to_vec).collect())
}

/// Whether both took it.
fn check(bytes: &[u8]) -> bool {
    let HelloStep::Hello(ours) = HelloReader::new().feed(bytes) else { return false };
    let Some(theirs) = rustls_sees(bytes) else { return false };
    assert_eq!(we_see(&ours), theirs, "{}", bytes.escape_ascii());
    true
}

/// How often both took a hello of which one byte is another.
fn every_byte_changed(file: &[u8]) -> usize {
    let mut mutant = file.to_vec();
    let mut agreed = 0;
    // Beyond is padding.
    for at in 0..file.len().min(2_000) {
        for byte in [0, 1, file[at].wrapping_add(1), b'.', b'A', 0xff] {
            mutant[at] = byte;
            agreed += usize::from(check(&mutant));
        }
        mutant[at] = file[at];
    }
    agreed
}

#[test]
fn where_rustls_takes_a_hello_too_it_sees_the_same_name_and_protocols() {
    let files = corpus("client_hello");
    let mut agreed = 0;
    for (seed, file) in files.iter().enumerate() {
        agreed += usize::from(check(file));
        for mutant in mutations(file, &files, seed).take(1_000) {
            agreed += usize::from(check(&mutant));
        }
        agreed += every_byte_changed(file);
    }
    assert!(agreed > 10_000, "only {agreed} hellos were taken by both");
}

#[test]
fn rustls_takes_the_captures_that_we_take() {
    let takes = |name: &str| check(&super::capture(name));
    for name in [
        "openssl_tls13",
        "openssl_tls12",
        "openssl_fragments",
        "curl",
        "python",
        "node",
        "java",
        "curl_cffi_chrome",
        "curl_cffi_firefox",
    ] {
        assert!(takes(name), "{name}");
    }
}
