//! Originating TLS: toward a gateway's TLS listener (the agent) or a target, always verified.

use std::{fmt, io, path::PathBuf, sync::Arc};

use moorgate_net::socket::Socket;
use rustls::{
    CertificateError, ClientConfig, Error as TlsError, InvalidMessage, OtherError, RootCertStore, client::Resumption,
};
use rustls_pki_types::{
    CertificateDer, ServerName,
    pem::{self, PemObject as _},
};
use tokio_rustls::TlsConnector;

use crate::{BUFFER_LIMIT, PROVIDER, SetupError, TlsStream, VERSIONS};

/// Servers whose sessions a configuration of its own remembers.
const SESSIONS: usize = 32;

/// Whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustRoots {
    /// What the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace that.
    System,
    /// The CA certificates of this PEM file, and no others.
    Pem(PathBuf),
    /// These CA certificates (PEM), and no others: a route's own.
    Given(Arc<str>),
}

impl fmt::Display for TrustRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("this system"),
            Self::Pem(path) => path.display().fmt(f),
            Self::Given(_) => f.write_str("the route's origin CA"),
        }
    }
}

/// Why TLS with a server could not be opened. No byte of ours beyond the handshake was sent.
#[derive(Debug, thiserror::Error)]
pub enum OriginateError {
    /// What was to be verified is neither a DNS name nor an IP address.
    #[error("{name:?} is neither a DNS name nor an IP address")]
    BadName {
        /// What was given.
        name: String,
    },
    /// The certificate leads to no CA that we trust.
    #[error("the certificate of {name} is not signed by a CA that {roots} trusts{advice}")]
    NotTrusted {
        /// Whom we meant to reach.
        name: String,
        /// Whom we trust.
        roots: TrustRoots,
        /// What to do, as [`Originator::advising`] was told it.
        advice: &'static str,
    },
    /// The certificate is for other names.
    #[error("the certificate shown for {name} is for {}: use a name that it is for", Names(presented))]
    NameMismatch {
        /// Whom we meant to reach.
        name: String,
        /// The certificate's own names.
        presented: Vec<String>,
    },
    /// The certificate's time is over.
    #[error("the certificate of {name} has expired: renew it there, or check this machine's clock")]
    Expired {
        /// Whom we meant to reach.
        name: String,
    },
    /// The certificate's time has not begun.
    #[error("the certificate of {name} is not valid yet: check this machine's clock")]
    NotYetValid {
        /// Whom we meant to reach.
        name: String,
    },
    /// The server shows a CA's certificate as its own.
    #[error(
        "the certificate of {name} is a CA's own (CA:TRUE), which no server may show: make one for the server, signed by \
         that CA or by itself without CA:TRUE"
    )]
    CaShown {
        /// Whom we meant to reach.
        name: String,
    },
    /// The certificate is unfit in another way.
    #[error("the certificate of {name} can't be accepted")]
    Unfit {
        /// Whom we meant to reach.
        name: String,
        /// Why.
        source: TlsError,
    },
    /// The other side answered, but not in TLS.
    #[error("{name} does not speak TLS on this port: check the port and the URL's scheme")]
    NotTls {
        /// Whom we meant to reach.
        name: String,
    },
    /// The other side closed the connection without an answer.
    #[error("{name} closed the connection during the TLS handshake")]
    Closed {
        /// Whom we meant to reach.
        name: String,
    },
    /// We could not agree.
    #[error("TLS handshake with {name} failed")]
    Handshake {
        /// Whom we meant to reach.
        name: String,
        /// Why.
        source: TlsError,
    },
    /// The connection broke.
    #[error("connection to {name} broke during the TLS handshake")]
    Io {
        /// Whom we meant to reach.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl OriginateError {
    /// Whether the server showed a certificate that is not to be trusted, rather than none.
    pub fn is_untrusted(&self) -> bool {
        match self {
            Self::NotTrusted { .. }
            | Self::NameMismatch { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::CaShown { .. }
            | Self::Unfit { .. } => true,
            Self::BadName { .. }
            | Self::NotTls { .. }
            | Self::Closed { .. }
            | Self::Handshake { .. }
            | Self::Io { .. } => false,
        }
    }
}

struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("another name"),
            names => f.write_str(&names.join(", ")),
        }
    }
}

/// Opens TLS toward servers, verifying each against one set of roots. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Originator {
    config: Arc<ClientConfig>,
    roots: TrustRoots,
    advice: &'static str,
}

impl Originator {
    /// Reads the roots. ALPN is off until [`with_alpn`](Self::with_alpn).
    pub fn new(roots: TrustRoots) -> Result<Self, SetupError> {
        let config = ClientConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(VERSIONS)
            .map_err(SetupError::Library)?
            .with_root_certificates(load(&roots)?)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), roots, advice: "" })
    }

    /// Ends the error of a CA that is not trusted with `advice`, which begins with its own punctuation.
    pub fn advising(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }

    /// Offers these protocols, the best first (RFC 7301).
    pub fn with_alpn(mut self, protocols: &[&[u8]]) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        self
    }

    /// The same, with a memory of its own for sessions: none that another's connection was given is taken up.
    pub fn with_own_sessions(mut self) -> Self {
        Arc::make_mut(&mut self.config).resumption = Resumption::in_memory_sessions(SESSIONS);
        self
    }

    /// The rustls configuration, for clients that take one.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// Does the handshake with the server at the other end of `stream`, which must prove to be `name`: a DNS name or an
    /// IP address (without brackets). The caller bounds the time it may take.
    pub async fn connect(&self, stream: impl Into<Socket>, name: &str) -> Result<TlsStream, OriginateError> {
        let server =
            ServerName::try_from(name.to_owned()).map_err(|_| OriginateError::BadName { name: name.to_owned() })?;
        TlsConnector::from(self.config.clone())
            .connect_with(server, stream.into(), |session| session.set_buffer_limit(Some(BUFFER_LIMIT)))
            .await
            .map(TlsStream::new)
            .map_err(|error| self.explain(name.to_owned(), error))
    }

    /// One by a configuration that is not built from the roots alone.
    pub(crate) fn with_config(config: ClientConfig, roots: TrustRoots) -> Self {
        Self { config: Arc::new(config), roots, advice: "" }
    }

    fn explain(&self, name: String, error: io::Error) -> OriginateError {
        let source = match error.downcast::<TlsError>() {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return OriginateError::Closed { name };
            }
            Err(source) => return OriginateError::Io { name, source },
        };
        match source {
            TlsError::InvalidCertificate(_) => explain_certificate(&name, source, &self.roots, self.advice),
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
                OriginateError::NotTls { name }
            }
            source => OriginateError::Handshake { name, source },
        }
    }
}

/// What is wrong with a certificate that was shown for `name`.
pub(crate) fn explain_certificate(
    name: &str,
    source: TlsError,
    roots: &TrustRoots,
    advice: &'static str,
) -> OriginateError {
    use CertificateError as C;
    let name = name.to_owned();
    match source {
        // A bad signature is what a CA made anew under its old name looks like to those who trust the old one.
        TlsError::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
            OriginateError::NotTrusted { name, roots: roots.clone(), advice }
        }
        TlsError::InvalidCertificate(C::NotValidForName) => {
            OriginateError::NameMismatch { name, presented: Vec::new() }
        }
        TlsError::InvalidCertificate(C::NotValidForNameContext { presented, .. }) => {
            OriginateError::NameMismatch { name, presented: presented.iter().map(|one| bare(one)).collect() }
        }
        TlsError::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => OriginateError::Expired { name },
        TlsError::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            OriginateError::NotYetValid { name }
        }
        TlsError::InvalidCertificate(C::Other(OtherError(why)))
            if why.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            OriginateError::CaShown { name }
        }
        source => OriginateError::Unfit { name, source },
    }
}

/// A name without the library's word for its kind: `DnsName("a.test")` is `a.test`.
fn bare(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(presented, |inner| inner.trim_matches('"')).to_owned()
}

pub(crate) fn load(roots: &TrustRoots) -> Result<RootCertStore, SetupError> {
    let mut store = RootCertStore::empty();
    match roots {
        TrustRoots::System => {
            // Old stores hold a few roots that webpki cannot read; the others still count.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err(SetupError::NoSystemRoots);
            }
        }
        TrustRoots::Pem(path) => add_all(&mut store, roots, CertificateDer::pem_file_iter(path))?,
        TrustRoots::Given(text) => add_all(&mut store, roots, Ok(CertificateDer::pem_slice_iter(text.as_bytes())))?,
    }
    Ok(store)
}

fn add_all(
    store: &mut RootCertStore,
    roots: &TrustRoots,
    certificates: Result<impl Iterator<Item = Result<CertificateDer<'static>, pem::Error>>, pem::Error>,
) -> Result<(), SetupError> {
    let unreadable = |source| SetupError::RootsUnreadable { roots: roots.clone(), source };
    for certificate in certificates.map_err(unreadable)? {
        let bad = |source| SetupError::BadRoot { roots: roots.clone(), source };
        store.add(certificate.map_err(unreadable)?).map_err(bad)?;
    }
    if store.is_empty() { Err(SetupError::NoRoots { roots: roots.clone() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
