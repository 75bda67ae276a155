//! Why a key, a certificate or one of their files could not be had.

use std::{io, path::PathBuf};

use rustls_pki_types::pem;
use x509_parser::error::X509Error;

/// What failed, on what, and what to do. The cause is the `source`.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: "read", "write", "create".
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file that holds a secret can be read by others than its owner.
    #[error("{} holds a secret but others may read it (mode {mode:04o}): chmod 600 {}", path.display(), path.display())]
    LooseFile {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory for secrets can be written by others than its owner.
    #[error("{} is to hold secrets but others may write to it (mode {mode:04o}): chmod 700 {}", path.display(), path.display())]
    LooseDirectory {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A text that should be a master key is not.
    #[error("this is not a master key: it must be 64 hexadecimal digits")]
    NotAMasterKey,
    /// A file that should hold a master key does not.
    #[error(
        "{} is not a master key (64 hexadecimal digits): restore it from your backup; without it \
         what was sealed with it is lost", path.display()
    )]
    NotAMasterKeyFile {
        /// The file.
        path: PathBuf,
    },
    /// The system's random generator failed.
    #[error("the system's random generator gives no bytes")]
    Random,
    /// A certificate's PEM could not be read.
    #[error("the certificate is not PEM (-----BEGIN CERTIFICATE-----)")]
    CertificatePem(#[source] pem::Error),
    /// A certificate's contents could not be read.
    #[error("the certificate is not X.509")]
    NotX509(#[source] X509Error),
    /// A private key could not be read.
    #[error("the private key is neither PEM nor DER of a kind we know (PKCS#8, SEC 1, PKCS#1)")]
    PrivateKey,
    /// A certificate that should issue others may not (RFC 5280 §4.2.1.9).
    #[error("the certificate is not a CA's (basic constraints lack CA:TRUE)")]
    NotACa,
    /// A private key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A chain without a certificate, or a certificate asked for without a name.
    #[error("a certificate needs at least one {0}")]
    Missing(&'static str),
    /// Neither an IP address nor a DNS name, perhaps with `*.` in front.
    #[error("{name:?} is neither an IP address nor a DNS name")]
    BadName {
        /// What was given.
        name: String,
    },
    /// A certificate could not be made.
    #[error("cannot issue a certificate")]
    Issue(#[source] rcgen::Error),
}
