//! A webhook's secret and what is signed with it, as Standard Webhooks has it: HMAC-SHA-256 over `ID.TIMESTAMP.BODY`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What the text of a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret: the specification asks for 24 to 64.
const BYTES: usize = 32;

/// What a webhook is signed with. Hidden from `Debug`, zeroized when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

impl WebhookSecret {
    /// A new one. `None`: the system's random generator failed.
    pub fn random() -> Option<Self> {
        let mut bytes = Zeroizing::new(vec![0; BYTES]);
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// One that was kept.
    pub fn of_bytes(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// What is to be kept of it, sealed.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As whoever verifies is given it: `whsec_…`.
    pub fn text(&self) -> Zeroizing<String> {
        // Room for all of it now: growing would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + self.0.len().div_ceil(3) * 4));
        text.push_str(PREFIX);
        STANDARD.encode_string(&*self.0, &mut text);
        text
    }

    /// The header `webhook-signature`. `at`: seconds since 1970, as in the header `webhook-timestamp`.
    pub fn sign(&self, id: &str, at: u64, body: &str) -> String {
        // Takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(body.as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_openssl_computes_of_the_same() {
        // printf '%s' 'msg_1.1700000000.{"a":1}' | openssl dgst -sha256 -hmac '01234567890123456789012345678901' -binary | base64
        let secret = WebhookSecret::of_bytes(b"01234567890123456789012345678901".to_vec().into());
        assert_eq!(secret.sign("msg_1", 1_700_000_000, "{\"a\":1}"), EXPECTED);
        assert_eq!(&*secret.text(), "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    }

    #[test]
    fn a_secret_is_new_each_time_and_never_printed() {
        let (one, other) = (WebhookSecret::random().unwrap(), WebhookSecret::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(format!("{one:?}"), "WebhookSecret(…)");
        assert_eq!(one.text().len(), "whsec_".len() + 44);
    }

    const EXPECTED: &str = "v1,1l34d9U9bSaAVQFy2uVdg3CHHT+o7pMzi59Vrub2gOE=";
}
