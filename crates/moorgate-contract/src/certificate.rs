//! Certificates as the data plane is given them: DER and a key, already matched by whoever compiled the snapshot.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use serde::{Deserialize, Serialize};

use crate::{route::Domain, time::Timestamp};

/// Where plain HTTP shows that a domain's certificate is ordered by who serves it (RFC 8555 §8.3).
const ACME_PATH: &str = "/.well-known/acme-challenge/";
/// The longest token that is looked at; CAs' have 43 characters.
const MOST_TOKEN: usize = 256;

/// The one protocol of the validation over TLS (RFC 8737 §6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// What a CA looks for while an order of ours for a domain is open (RFC 8555 §8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Where it looks.
    pub kind: ChallengeKind,
    /// How the CA calls it.
    pub token: String,
    /// What it finds there: the key authorization (HTTP), the TXT record (DNS), or the digest in hexadecimal (TLS).
    pub answer: String,
}

/// Where a CA looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChallengeKind {
    /// At a path of port 80 (RFC 8555 §8.3).
    Http,
    /// In a certificate on port 443 (RFC 8737).
    TlsAlpn,
    /// In a TXT record of `_acme-challenge` (RFC 8555 §8.4).
    Dns,
}

/// The token that a path without a query asks for, if it is one of a CA's and nothing else.
pub fn acme_token(path: &str) -> Option<&str> {
    let token = path.strip_prefix(ACME_PATH)?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    ((1..=MOST_TOKEN).contains(&token.len()) && token.bytes().all(good)).then_some(token)
}

/// A certificate for one domain's terminate route.
#[derive(Clone)]
pub struct Certificate {
    /// Which domain shows it.
    pub domain: Domain,
    /// What is shown to whoever can read it.
    pub first: KeyedChain,
    /// What is shown to clients that know no key of that kind.
    pub rsa: Option<KeyedChain>,
    /// When the first one ends.
    pub not_after: Timestamp,
}

/// A certificate, those that signed it, and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyedChain {
    /// DER, the end entity's first, then each one's issuer.
    pub chain: Vec<Arc<[u8]>>,
    /// PKCS #8, PKCS #1 or SEC 1, DER.
    pub key: Arc<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for KeyedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedChain").finish_non_exhaustive()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, not_after, .. } = self;
        f.debug_struct("Certificate").field("domain", domain).field("not_after", not_after).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_well_formed_token_is_a_challenge_and_nothing_else_is() {
        let long = format!("{ACME_PATH}{}", "a".repeat(MOST_TOKEN));
        for (path, token) in [("/.well-known/acme-challenge/aZ09-_", "aZ09-_"), (&long, &long[ACME_PATH.len()..])] {
            assert_eq!(acme_token(path), Some(token));
        }
        let too_long = format!("{long}a");
        for path in [
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge",
            "/.well-known/acme-challenge/a/b",
            "/.well-known/acme-challenge/a?b",
            "/.well-known/acme-challenge/../a",
            "/.well-known/acme-challenge/%61",
            "/.well-known/acme-challenge/a.b",
            "/.WELL-KNOWN/acme-challenge/a",
            "/x/.well-known/acme-challenge/a",
            "//.well-known/acme-challenge/a",
            &too_long,
        ] {
            assert_eq!(acme_token(path), None, "{path}");
        }
    }
}
