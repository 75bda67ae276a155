use std::time::{Duration, SystemTime};

use moorgate_keys::CertifiedChain;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    CertSource, Terminator,
    testing::{Ca, accepting, tcp_pair},
};

async fn connect(originator: &Originator, chain: &CertifiedChain, name: &str) -> Result<TlsStream, OriginateError> {
    let terminator = Terminator::new(CertSource::new(chain).unwrap(), &[b"h2"]).unwrap();
    let (client, accepted) = accepting(&terminator).await;
    let connected = originator.connect(client, name).await;
    // The alert reaches the server, who is then done at once.
    assert_eq!(accepted.await.unwrap().is_ok(), connected.is_ok());
    connected
}

#[tokio::test]
async fn a_trusted_server_is_reached_by_name_and_by_address() {
    let ca = Ca::new();
    let originator = ca.originator().with_alpn(&[b"http/1.1", b"h2"]);
    for name in ["localhost", "127.0.0.1"] {
        let stream = connect(&originator, &ca.issue(), name).await.unwrap();
        assert_eq!(stream.alpn(), Some(&b"h2"[..]));
    }
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_and_whom_we_trust_is_named() {
    let (ca, other) = (Ca::new(), Ca::new());
    // Both CAs have one name, as when a data directory was made anew.
    let error = connect(&other.originator(), &ca.issue(), "localhost").await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OriginateError::NotTrusted { .. }), "{error:?}");
    assert!(text.contains(&other.pem().display().to_string()), "{text}");

    let stranger = moorgate_keys::LocalCa::create("Another CA").unwrap();
    let chain = stranger.issue(&["localhost".parse().unwrap()]).unwrap();
    let error = connect(&ca.originator(), &chain, "localhost").await.unwrap_err();
    assert!(matches!(error, OriginateError::NotTrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_for_other_names_is_refused_and_they_are_named() {
    let ca = Ca::new();
    for name in ["proxy.example.com", "127.0.0.2"] {
        let text = connect(&ca.originator(), &ca.issue(), name).await.unwrap_err().to_string();
        assert!(text.contains(name) && text.contains("localhost"), "{text}");
        assert!(!text.contains("DnsName"), "a library's word: {text}");
    }
}

#[tokio::test]
async fn a_server_that_shows_a_cas_own_certificate_is_told_so() {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    let chain = CertifiedChain::new(vec![own.der().clone()], key.serialize_der().try_into().unwrap()).unwrap();
    let originator = Originator::new(TrustRoots::Given(own.pem().into())).unwrap();
    let error = connect(&originator, &chain, "localhost").await.unwrap_err();
    assert!(matches!(error, OriginateError::CaShown { .. }), "{error:?}");
    assert!(error.is_untrusted());
}

#[tokio::test]
async fn an_expired_certificate_and_one_of_the_future_are_refused_as_such() {
    let ca = Ca::new();
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let issue = |now| ca.ca.issue_at(&["localhost".parse().unwrap()], now).unwrap();
    let now = SystemTime::now();
    let error = connect(&ca.originator(), &issue(now - year), "localhost").await.unwrap_err();
    assert!(matches!(error, OriginateError::Expired { .. }), "{error:?}");
    let error = connect(&ca.originator(), &issue(now + year), "localhost").await.unwrap_err();
    assert!(matches!(error, OriginateError::NotYetValid { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_or_just_closes_is_told_apart() {
    for (answer, not_tls) in [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], true), (b"", false)] {
        let (client, mut server) = tcp_pair().await;
        let server = tokio::spawn(async move {
            let _ = server.read(&mut [0; 4096]).await;
            server.write_all(answer).await.unwrap();
            server.shutdown().await.unwrap();
            let _ = server.read_to_end(&mut Vec::new()).await;
        });
        let error = Ca::new().originator().connect(client, "localhost").await.unwrap_err();
        assert_eq!(matches!(error, OriginateError::NotTls { .. }), not_tls, "{error:?}");
        assert_eq!(matches!(error, OriginateError::Closed { .. }), !not_tls, "{error:?}");
        server.await.unwrap();
    }
}

#[test]
fn roots_that_cannot_be_had_are_told_with_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let load = || Originator::new(TrustRoots::Pem(path.clone())).unwrap_err();
    assert!(matches!(load(), SetupError::RootsUnreadable { .. }));
    std::fs::write(&path, "nothing").unwrap();
    assert!(matches!(load(), SetupError::NoRoots { .. }));
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&path, bad).unwrap();
    assert!(matches!(load(), SetupError::BadRoot { .. }));
}
