//! A fresh key, and the request that a CA signs it by.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use zeroize::Zeroizing;

use crate::KeyError;

/// The kinds of keys that certificates are ordered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA P-256.
    Ecdsa,
    /// RSA with 2048 bits, for clients that know no other.
    Rsa,
}

/// A key for one name, and its certificate signing request.
pub struct KeyRequest {
    /// The request (PKCS #10), DER.
    pub csr: Vec<u8>,
    /// The key (PKCS #8), PEM.
    pub key: Zeroizing<String>,
}

impl KeyRequest {
    /// A fresh one of this kind for `name`, before which `*.` may stand.
    ///
    /// # Errors
    /// When no certificate can have that name, or the system has no randomness.
    pub fn new(name: &str, kind: KeyKind) -> Result<Self, KeyError> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(KeyError::Issue)?;
        params.distinguished_name = DistinguishedName::new();
        let key = match kind {
            KeyKind::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyKind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let key = key.map_err(KeyError::Issue)?;
        let csr = params.serialize_request(&key).map_err(KeyError::Issue)?;
        Ok(Self { csr: csr.der().to_vec(), key: Zeroizing::new(key.serialize_pem()) })
    }
}
