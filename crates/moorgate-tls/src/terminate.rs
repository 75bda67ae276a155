//! Terminating TLS on a listener of ours: certificate, tickets, handshake.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use moorgate_keys::{CertifiedChain, LocalCa, SubjectName};
use moorgate_net::{farewell::answer_and_close, runtime::TcpStream, socket::Socket};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroize as _;

use crate::{BUFFER_LIMIT, PROVIDER, SetupError, TlsStream, VERSIONS};

/// The content type of a handshake record, so the first byte of every TLS connection (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// A record with the fatal alert decode_error (RFC 8446 §5.1, §6.2).
const DECODE_ERROR: [u8; 7] = [21, 3, 1, 0, 2, 2, 50];

/// Why a TLS handshake with a client came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum TerminateError {
    /// The client does not speak TLS; it was answered with the alert decode_error.
    #[error(
        "the client does not speak TLS (its first byte is {first:#04x}): give it a TLS proxy URL, or use the listener without TLS"
    )]
    NotTls {
        /// The first byte it sent.
        first: u8,
    },
    /// The client went away before the handshake was done.
    #[error("the client left during the TLS handshake")]
    Left,
    /// Client and gateway could not agree; where the failure is ours to tell, the client was sent the alert for it.
    #[error("TLS handshake with the client failed")]
    Handshake(#[source] rustls::Error),
    /// The connection broke.
    #[error("connection to the client broke during the TLS handshake")]
    Io(#[source] io::Error),
}

/// The certificate that listeners show. Clones share it, and replacing it changes what new connections get.
#[derive(Clone, Debug)]
pub struct CertSource(Arc<ArcSwap<Shown>>);

/// A certificate in DER, the end entity's first, with its key (PKCS #8, PKCS #1 or SEC 1).
#[derive(Clone, Copy)]
pub struct Der<'a> {
    /// The certificate, then each one's issuer.
    pub chain: &'a [Arc<[u8]>],
    /// The end entity's key.
    pub key: &'a [u8],
}

/// What there is to show.
#[derive(Debug)]
struct Shown {
    first: Arc<CertifiedKey>,
    /// For clients that can't verify the first one's signature.
    rsa: Option<Arc<CertifiedKey>>,
}

impl CertSource {
    /// A source of `first`, and of `rsa` for clients that can't verify its signature. Fails when a chain and its key don't
    /// belong together.
    pub fn from_der(first: Der<'_>, rsa: Option<Der<'_>>) -> Result<Self, SetupError> {
        let rsa = rsa.map(from_der).transpose()?;
        Ok(Self::showing(from_der(first)?, rsa))
    }

    /// A source of this certificate. Fails when its key is not its own or is of an unknown kind.
    pub fn new(chain: &CertifiedChain) -> Result<Self, SetupError> {
        Ok(Self::showing(certified(chain)?, None))
    }

    fn showing(first: CertifiedKey, rsa: Option<CertifiedKey>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Shown { first: Arc::new(first), rsa: rsa.map(Arc::new) })))
    }

    /// Shows what `other` shows now.
    pub fn replace_with(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// Shows `chain` from now on; open connections stay as they are. On failure the old certificate stays.
    pub fn replace(&self, chain: &CertifiedChain) -> Result<(), SetupError> {
        self.0.store(Arc::new(Shown { first: Arc::new(certified(chain)?), rsa: None }));
        Ok(())
    }
}

/// The local CA, as far as listeners need it: certificates for names that have no other yet.
#[derive(Clone)]
pub struct LocalIssuer(Arc<ArcSwap<LocalCa>>);

impl LocalIssuer {
    /// Issues with this CA.
    pub fn new(ca: Arc<LocalCa>) -> Self {
        Self(Arc::new(ArcSwap::new(ca)))
    }

    /// Issues with this CA from now on; so do all clones.
    pub fn replace(&self, ca: Arc<LocalCa>) {
        self.0.store(ca);
    }

    /// A fresh certificate for `name` (`*.` may stand in front), valid for 90 days.
    ///
    /// # Errors
    /// When no certificate can have that name, or the system has no randomness.
    pub fn issue(&self, name: &str) -> Result<CertSource, SetupError> {
        let issue = || self.0.load().issue(&[name.parse::<SubjectName>()?]);
        CertSource::new(&issue().map_err(SetupError::Local)?)
    }
}

fn from_der(Der { chain, key }: Der<'_>) -> Result<CertifiedKey, SetupError> {
    let unfit = |why: &'static str| SetupError::Certificate(rustls::Error::General(why.to_owned()));
    let mut key = PrivateKeyDer::try_from(key).map_err(unfit)?.clone_key();
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.to_vec())).collect();
    let made = CertifiedKey::from_der(chain, key.clone_key(), &PROVIDER).map_err(SetupError::Certificate);
    key.zeroize();
    made
}

fn certified(chain: &CertifiedChain) -> Result<CertifiedKey, SetupError> {
    CertifiedKey::from_der(chain.chain.clone(), chain.key.clone_key(), &PROVIDER).map_err(SetupError::Certificate)
}

impl ResolvesServerCert for CertSource {
    /// One identity whatever name is asked for: a proxy is often reached by address, without a name.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.load();
        // Those that go with a cipher suite of the client's (RFC 5246 §7.4.2).
        let can_read = |key: &CertifiedKey| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let rsa = shown.rsa.as_ref().filter(|rsa| !can_read(&shown.first) && can_read(rsa));
        Some(rsa.unwrap_or(&shown.first).clone())
    }
}

/// Opens TLS for one listener. Cheap to clone; clones share ticket keys, and no other Terminator takes their tickets.
#[derive(Clone)]
pub struct Terminator(TlsAcceptor);

impl Terminator {
    /// A terminator that shows `source`'s certificate and speaks one of `alpn`, the best first. A client that offers
    /// protocols but none of these is refused (no_application_protocol, RFC 7301 §3.2); an empty list takes any client.
    pub fn new(source: CertSource, alpn: &[&[u8]]) -> Result<Self, SetupError> {
        let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(VERSIONS)
            .map_err(SetupError::Library)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(source));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.ticketer = Ticketer::new().map_err(SetupError::Library)?;
        // Resumption is by ticket alone: a cache would be memory that clients fill.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// A terminator that shows a CA the certificate by which it validates an order for `name` (RFC 8737 §3), to whoever
    /// speaks that protocol. `digest`: SHA-256 of the key authorization, hexadecimal.
    ///
    /// # Errors
    /// When no certificate can have that name, the digest is none, or the system has no randomness.
    pub fn for_challenge(name: &str, digest: &str, protocol: &[u8]) -> Result<Self, SetupError> {
        let shown = moorgate_keys::challenge::certificate(name, digest).map_err(SetupError::Local)?;
        // Put together without a look: its critical extension is one that rustls does not know.
        let key = PROVIDER.key_provider.load_private_key(shown.key.clone_key()).map_err(SetupError::Certificate)?;
        Self::new(CertSource::showing(CertifiedKey::new(shown.chain.clone(), key), None), &[protocol])
    }

    /// Does the handshake. The caller bounds the time it may take; a refused client is kept for a
    /// moment longer ([`answer_and_close`]), so that it reads why.
    pub async fn accept(&self, stream: impl Into<TcpStream>) -> Result<TlsStream, TerminateError> {
        let mut stream = stream.into();
        // Looked at first because a SOCKS greeting is shorter than a record's head: rustls would wait for more.
        let mut first = [0];
        let seen = stream.peek(&mut first).await.map_err(TerminateError::Io)?;
        let [first] = first;
        if seen == 0 {
            return Err(TerminateError::Left);
        }
        if first != HANDSHAKE {
            answer_and_close(&mut stream, &DECODE_ERROR).await;
            return Err(TerminateError::NotTls { first });
        }
        self.accept_peeked(stream.into()).await
    }

    /// As [`accept`](Self::accept), for a client whose first bytes have been read and found to be a ClientHello.
    ///
    /// # Errors
    /// As there.
    pub async fn accept_peeked(&self, stream: Socket) -> Result<TlsStream, TerminateError> {
        let limited = |session: &mut rustls::ServerConnection| session.set_buffer_limit(Some(BUFFER_LIMIT));
        let (error, mut stream) = match self.0.accept_with(stream, limited).into_fallible().await {
            Ok(stream) => return Ok(TlsStream::new(stream)),
            Err(failed) => failed,
        };
        match error.downcast::<rustls::Error>() {
            Ok(source) => {
                // The alert is in the socket already: tokio-rustls writes it when the handshake fails.
                answer_and_close(&mut stream, &[]).await;
                Err(TerminateError::Handshake(source))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(TerminateError::Left),
            Err(error) => Err(TerminateError::Io(error)),
        }
    }
}

impl Terminator {
    /// Does the handshake inside another stream: for a TLS server that lives behind a tunnel in this process.
    ///
    /// # Errors
    /// When the handshake fails or the stream breaks.
    pub async fn accept_within<S>(&self, stream: S) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.0.accept(stream).await
    }
}

#[cfg(test)]
mod tests;
