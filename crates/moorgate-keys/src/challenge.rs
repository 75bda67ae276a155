//! The certificate by which a CA validates over TLS that a domain is ours (RFC 8737 §3).

use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{CertifiedChain, KeyError};

/// A certificate for `name`, signed by itself, with `digest` in it: SHA-256 of the key authorization, hexadecimal.
///
/// # Errors
/// When no certificate can have that name, the digest is none, or the system has no randomness.
pub fn certificate(name: &str, digest: &str) -> Result<CertifiedChain, KeyError> {
    let digest = bytes(digest).ok_or(KeyError::Digest)?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(KeyError::Issue)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(KeyError::Issue)?;
    let certificate = params.self_signed(&key).map_err(KeyError::Issue)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertifiedChain::new(vec![certificate.der().clone()], key)
}

/// 32 bytes, hexadecimal.
fn bytes(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_in_a_critical_extension() {
        let digest = "0123456789abcdef".repeat(4);
        let made = certificate("app.example.com", &digest).unwrap();
        let (_, read) = x509_parser::parse_x509_certificate(&made.chain[0]).unwrap();
        let found = read.extensions().iter().find(|it| it.oid.to_id_string() == "1.3.6.1.5.5.7.1.31").unwrap();
        assert!(found.critical);
        assert_eq!(found.value[..2], [4, 32], "an OCTET STRING of 32 bytes");
        assert_eq!(found.value[2..4], [0x01, 0x23]);
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert!(certificate("app.example.com", bad).is_err(), "{bad}");
        }
    }
}
