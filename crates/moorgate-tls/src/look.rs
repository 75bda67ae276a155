//! Looking at what a server shows: judged as a client would, and shown to people even where a client would turn away.

use std::sync::{Arc, Mutex, PoisonError};

use moorgate_keys::Facts;
use moorgate_net::socket::Socket;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    OriginateError, Originator, PROVIDER, SetupError, TlsStream, TrustRoots, VERSIONS,
    originate::{explain_certificate, load},
};

/// What a server showed.
#[derive(Debug)]
pub struct Look {
    /// The open connection. Whoever is there may be anybody: nothing secret goes over it.
    pub stream: TlsStream,
    /// What its certificate says; `None`: it can't be read.
    pub certificate: Option<Facts>,
    /// Why a client with the same roots would have turned away.
    pub problem: Option<OriginateError>,
}

/// Opens TLS toward a server to see what it shows. Only for what tells people how a server looks; everything else takes an
/// [`Originator`], which turns away.
#[derive(Clone, Debug)]
pub struct Looker {
    roots: TrustRoots,
    judge: Arc<WebPkiServerVerifier>,
}

impl Looker {
    /// Reads the roots.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(roots: TrustRoots) -> Result<Self, SetupError> {
        let store = Arc::new(load(&roots)?);
        let judge = WebPkiServerVerifier::builder_with_provider(store, PROVIDER.clone()).build();
        // All that can be wrong is a set of roots without any.
        let judge = judge.map_err(|_| SetupError::NoRoots { roots: roots.clone() })?;
        Ok(Self { roots, judge })
    }

    /// Does the handshake with whoever is at the other end of `stream`, by the name `name`. The caller bounds the time it
    /// may take.
    ///
    /// # Errors
    /// There is no TLS to be had, whatever the certificate.
    pub async fn look(&self, stream: impl Into<Socket>, name: &str) -> Result<Look, OriginateError> {
        let noting = Arc::new(Noting { judge: self.judge.clone(), found: Mutex::default() });
        let broken = |source| OriginateError::Handshake { name: name.to_owned(), source };
        let config = ClientConfig::builder_with_provider(PROVIDER.clone()).with_protocol_versions(VERSIONS);
        let mut config =
            config.map_err(broken)?.dangerous().with_custom_certificate_verifier(noting.clone()).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A session that is taken up shows no certificate.
        config.resumption = Resumption::disabled();
        let stream = Originator::with_config(config, self.roots.clone()).connect(stream, name).await?;
        let certificate = stream.peer_facts();
        let found = noting.found.lock().unwrap_or_else(PoisonError::into_inner).take();
        let problem = found.map(|error| explain_certificate(name, error, &self.roots, ""));
        Ok(Look { stream, certificate, problem })
    }
}

/// Judges a certificate and notes what is wrong with it. That the server has its key is asked of everybody.
#[derive(Debug)]
struct Noting {
    judge: Arc<WebPkiServerVerifier>,
    found: Mutex<Option<TlsError>>,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if let Err(error) = self.judge.verify_server_cert(leaf, chain, name, ocsp, now) {
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.judge.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.judge.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CertSource, Terminator,
        testing::{Ca, accepting},
    };

    #[tokio::test]
    async fn what_a_client_would_turn_away_from_is_shown_with_the_reason() {
        let (ca, other) = (Ca::new(), Ca::new());
        let look = async |roots: &Ca, name: &str| {
            let terminator = Terminator::new(CertSource::new(&ca.issue()).unwrap(), &[b"http/1.1"]).unwrap();
            let (client, accepted) = accepting(&terminator).await;
            let look = Looker::new(TrustRoots::Pem(roots.pem())).unwrap().look(client, name).await.unwrap();
            assert!(accepted.await.unwrap().is_ok(), "the handshake goes on");
            look
        };
        let well = look(&ca, "localhost").await;
        assert!(well.problem.is_none() && well.certificate.unwrap().names.contains(&"localhost".to_owned()));
        assert!(matches!(look(&other, "localhost").await.problem, Some(OriginateError::NotTrusted { .. })));
        let named = look(&ca, "app.example.com").await;
        assert!(matches!(named.problem, Some(OriginateError::NameMismatch { .. })));
        assert!(named.certificate.is_some());
    }
}
