use rustls::{AlertDescription, ClientConfig, HandshakeKind, ProtocolVersion, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsConnector, client::TlsStream as ClientStream};

use super::*;
use crate::{
    originate::{TrustRoots, load},
    testing::{Ca, accepting},
};

type Outcome = (io::Result<ClientStream<tokio::net::TcpStream>>, Result<TlsStream, TerminateError>);

async fn handshake(terminator: &Terminator, config: &Arc<ClientConfig>) -> Outcome {
    let (client, accepted) = accepting(terminator).await;
    let name = ServerName::try_from("localhost").unwrap();
    let connected = TlsConnector::from(config.clone()).connect(name, client).await;
    (connected, accepted.await.unwrap())
}

/// What a client that sends `bytes` and then only reads gets, and what we make of it.
async fn raw(bytes: &[u8]) -> (Vec<u8>, TerminateError) {
    let (mut client, accepted) = accepting(&Ca::new().terminator()).await;
    client.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("a clean end after the alert");
    drop(client);
    (answer, accepted.await.unwrap().unwrap_err())
}

/// A ClientHello of the version it names and no other. `extensions` may be none at all.
fn old_hello(minor: u8, extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    body.extend(extensions);
    let len = body.len() as u8;
    [&[22, 3, 1, 0, len + 4, 1, 0, 0, len][..], &body].concat()
}

fn client(ca: &Ca, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(load(&TrustRoots::Pem(ca.pem())).unwrap())
        .with_no_client_auth()
}

#[tokio::test]
async fn the_issued_certificate_is_trusted_in_tls_12_and_13_and_key_exchange_is_post_quantum() {
    let ca = Ca::new();
    let terminator = ca.terminator();
    for (version, expected) in VERSIONS.iter().zip([ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2]) {
        let (client, accepted) = handshake(&terminator, &Arc::new(client(&ca, &[version]))).await;
        let (client, accepted) = (client.unwrap(), accepted.unwrap());
        let session = client.get_ref().1;
        assert_eq!(session.protocol_version(), Some(expected));
        assert_eq!(accepted.is_tls13(), expected == ProtocolVersion::TLSv1_3);
        assert_eq!(accepted.server_name(), Some("localhost"));
        if accepted.is_tls13() {
            let group = session.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        }
    }
}

#[tokio::test]
async fn tls_11_and_older_are_refused_with_an_alert() {
    // Without signature_algorithms, which came with TLS 1.2, rustls says handshake_failure: also a fatal alert.
    let signature_algorithms = [0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    for minor in [0, 1, 2] {
        for (extensions, alert) in [(&signature_algorithms[..], 70), (&[], 40)] {
            let (answer, error) = raw(&old_hello(minor, extensions)).await;
            assert_eq!(answer.last_chunk(), Some(&[2, alert]), "3.{minor}: {answer:?}");
            assert!(matches!(error, TerminateError::Handshake(_)), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_tls_gets_decode_error_and_a_clean_close() {
    let big = [b"POST / HTTP/1.1\r\n\r\n".to_vec(), vec![b'x'; 30_000]].concat();
    for bytes in [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", &big[..], b"\x05", b"\x05\x01\x02"] {
        let (answer, error) = raw(bytes).await;
        assert_eq!(answer, DECODE_ERROR);
        assert!(matches!(error, TerminateError::NotTls { first } if first == bytes[0]), "{error:?}");
    }
}

#[tokio::test]
async fn a_malformed_hello_gets_its_alert_too() {
    let mut bytes = old_hello(3, &[]);
    // The session id claims to be longer than the message.
    bytes[43] = 200;
    bytes.extend([0; 20_000]);
    let (answer, error) = raw(&bytes).await;
    assert_eq!(answer.last_chunk(), Some(&[2, 50]), "{answer:?}");
    assert!(matches!(error, TerminateError::Handshake(_)), "{error:?}");
}

#[tokio::test]
async fn a_client_that_leaves_is_no_failure_of_ours() {
    for bytes in [&b""[..], &old_hello(3, &[])[..20]] {
        let (mut client, accepted) = accepting(&Ca::new().terminator()).await;
        client.write_all(bytes).await.unwrap();
        drop(client);
        assert!(matches!(accepted.await.unwrap(), Err(TerminateError::Left)));
    }
}

#[tokio::test]
async fn a_client_without_a_protocol_of_ours_is_refused_and_one_with_none_is_taken() {
    let ca = Ca::new();
    let terminator = ca.terminator_for(&[b"h2", b"http/1.1"]);
    for (offered, agreed) in
        [(vec!["http/1.1"], Some("http/1.1")), (vec!["http/1.1", "h2"], Some("h2")), (vec![], None)]
    {
        let mut config = client(&ca, VERSIONS);
        config.alpn_protocols = offered.into_iter().map(Into::into).collect();
        let (_client, accepted) = handshake(&terminator, &Arc::new(config)).await;
        assert_eq!(accepted.unwrap().alpn(), agreed.map(str::as_bytes));
    }
    let mut config = client(&ca, VERSIONS);
    config.alpn_protocols = vec![b"smtp".to_vec()];
    let (connected, accepted) = handshake(&terminator, &Arc::new(config)).await;
    let alert = connected.unwrap_err().downcast::<rustls::Error>().unwrap();
    assert_eq!(alert, rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol));
    assert!(matches!(accepted, Err(TerminateError::Handshake(_))));
}

#[tokio::test]
async fn a_ticket_is_taken_up_by_its_own_listener_and_by_no_other() {
    let ca = Ca::new();
    let (own, other) = (ca.terminator(), ca.terminator());
    for version in VERSIONS {
        let config = Arc::new(client(&ca, &[version]));
        for (terminator, resumed) in [(&own, false), (&own, true), (&other, false)] {
            let (client, accepted) = handshake(terminator, &config).await;
            let (mut client, mut accepted) = (client.unwrap(), accepted.unwrap());
            // Tickets of TLS 1.3 come after the handshake, in front of the first byte.
            accepted.write_all(b"x").await.unwrap();
            client.read_u8().await.unwrap();
            assert_eq!(accepted.resumed(), resumed, "{version:?}");
            let kind = client.get_ref().1.handshake_kind();
            assert_eq!(kind == Some(HandshakeKind::Resumed), resumed, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_to_new_clients_and_one_with_a_foreign_key_never() {
    let ca = Ca::new();
    let (old, new) = (ca.issue(), ca.issue());
    let source = CertSource::new(&old).unwrap();
    let terminator = Terminator::new(source.clone(), &[]).unwrap();
    let foreign = CertifiedChain::new(new.chain.clone(), old.key.clone_key()).unwrap();
    for (replacement, shown) in [(None, &old), (Some(&foreign), &old), (Some(&new), &new)] {
        if let Some(chain) = replacement {
            let matches = std::ptr::eq(chain, &new);
            assert_eq!(source.replace(chain).is_ok(), matches);
        }
        let (connected, accepted) = handshake(&terminator, &Arc::new(client(&ca, VERSIONS))).await;
        accepted.unwrap();
        assert_eq!(connected.unwrap().get_ref().1.peer_certificates().unwrap(), shown.chain);
    }
}

#[test]
fn a_ca_is_shown_what_it_looks_for_by_its_protocol_alone() {
    let digest = "0123456789abcdef".repeat(4);
    assert!(Terminator::for_challenge("app.example.com", &digest, b"acme-tls/1").is_ok());
    assert!(Terminator::for_challenge("app.example.com", "no digest", b"acme-tls/1").is_err());
}
