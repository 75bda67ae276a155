//! All that speaks TLS: terminate, originate, tickets. Knows no routes and no accounts.
//!
//! The only crate that names rustls. TLS 1.2 and 1.3, no early data (RFC 8470), hybrid post-quantum key exchange first.

use std::sync::{Arc, LazyLock};

use rustls::{SupportedProtocolVersion, crypto::CryptoProvider};
use rustls_pki_types::pem;

pub mod leg;
pub mod look;
pub mod originate;
mod stream;
pub mod terminate;

pub use leg::TlsLeg;
pub use look::{Look, Looker};
pub use moorgate_keys::Facts;
pub use originate::{OriginateError, Originator, TrustRoots};
pub use stream::TlsStream;
pub use terminate::{CertSource, Der, LocalIssuer, TerminateError, Terminator};

/// What one leg may hold that its peer has not taken yet, in bytes before encryption: two full records, so that bulk goes
/// out two records a system call, and a blocked leg stays within the 60 KiB it is allowed.
const BUFFER_LIMIT: usize = 32 * 1024;

static VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// Why TLS could not be set up, before any connection.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The certificate and its key don't match, or are of a kind that cannot serve TLS.
    #[error("the certificate and its private key cannot serve TLS")]
    Certificate(#[source] rustls::Error),
    /// The TLS library refused its configuration, or has no randomness for a ticket key.
    #[error("the TLS library cannot be set up")]
    Library(#[source] rustls::Error),
    /// The local CA could not issue a certificate.
    #[error("the local CA cannot issue a certificate")]
    Local(#[source] moorgate_keys::KeyError),
    /// CA certificates cannot be read.
    #[error("cannot read CA certificates (PEM) from {roots}")]
    RootsUnreadable {
        /// Where they should be.
        roots: TrustRoots,
        /// Why.
        source: pem::Error,
    },
    /// Among CA certificates is something that cannot be trusted as one.
    #[error("{roots} holds a certificate that cannot be used as a CA's")]
    BadRoot {
        /// Where it is.
        roots: TrustRoots,
        /// Why.
        source: rustls::Error,
    },
    /// There is no CA certificate where some should be.
    #[error("{roots} holds no CA certificate: give a PEM file such as a gateway's ca.pem")]
    NoRoots {
        /// Where they should be.
        roots: TrustRoots,
    },
    /// The system has no store of CA certificates.
    #[error(
        "this system has no CA certificates: install them (Debian: ca-certificates) or set MOORGATE_CA to a gateway's ca.pem"
    )]
    NoSystemRoots,
}

#[cfg(test)]
mod testing;
