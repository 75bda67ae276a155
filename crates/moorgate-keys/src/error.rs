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
    /// What a CA is to be shown is no digest.
    #[error("a digest must be 64 hexadecimal digits")]
    Digest,
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
    /// A private key that can be read and not be used: RSA of 1024 bits, secp256k1.
    #[error(
        "the private key is damaged, or of a kind that is not used here: take ECDSA (P-256, P-384, P-521), RSA (2048 to 8192 bits) or Ed25519"
    )]
    UnusableKey,
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
    /// A text without a certificate.
    #[error("there is no certificate in it; give the chain in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// A text without a private key.
    #[error("there is no private key in it; give it in PEM (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// More than one private key.
    #[error("there are {count} private keys in it; give the certificate's alone")]
    SeveralKeys {
        /// How many.
        count: usize,
    },
    /// A private key under a passphrase.
    #[error("the private key is encrypted; decrypt it first: openssl pkey -in KEY -out PLAIN_KEY")]
    EncryptedKey,
    /// A private key whose certificate was not given.
    #[error("the private key belongs to none of the {count} certificates given; give the key of the certificate")]
    KeyOfNone {
        /// How many were given.
        count: usize,
    },
    /// A certificate that has ended.
    #[error("the certificate ended on {at}; give one that still holds")]
    Expired {
        /// The day on which it ended (UTC).
        at: String,
    },
    /// A certificate that does not hold yet.
    #[error("the certificate holds from {at} on; give one that holds now")]
    NotYet {
        /// The day on which it begins (UTC).
        at: String,
    },
    /// A certificate that is for no DNS name.
    #[error(
        "the certificate is for no DNS name (its subjectAltName has none, and clients look nowhere else); get one that is"
    )]
    NoDnsNames,
    /// A certificate could not be made.
    #[error("cannot issue a certificate")]
    Issue(#[source] rcgen::Error),
}
