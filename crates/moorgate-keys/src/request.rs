//! A fresh key, and the request that a CA signs it by.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroizing;

use crate::KeyError;

/// A key for one name, ECDSA P-256, and its certificate signing request.
pub struct KeyRequest {
    /// The request (PKCS #10), DER.
    pub csr: Vec<u8>,
    /// The key (PKCS #8), PEM.
    pub key: Zeroizing<String>,
}

impl KeyRequest {
    /// A fresh one for `name`, before which `*.` may stand.
    ///
    /// # Errors
    /// When no certificate can have that name, or the system has no randomness.
    pub fn new(name: &str) -> Result<Self, KeyError> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(KeyError::Issue)?;
        params.distinguished_name = DistinguishedName::new();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(KeyError::Issue)?;
        let csr = params.serialize_request(&key).map_err(KeyError::Issue)?;
        Ok(Self { csr: csr.der().to_vec(), key: Zeroizing::new(key.serialize_pem()) })
    }
}
