//! Certificates as the data plane is given them: DER and a key, already matched by whoever compiled the snapshot.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use crate::{route::Domain, time::Timestamp};

/// A certificate for one domain's terminate route.
#[derive(Clone)]
pub struct Certificate {
    /// Which domain shows it.
    pub domain: Domain,
    /// DER, the end entity's first, then each one's issuer.
    pub chain: Vec<Arc<[u8]>>,
    /// PKCS #8, PKCS #1 or SEC 1, DER.
    pub key: Arc<Zeroizing<Vec<u8>>>,
    /// When it ends.
    pub not_after: Timestamp,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, not_after, .. } = self;
        f.debug_struct("Certificate").field("domain", domain).field("not_after", not_after).finish_non_exhaustive()
    }
}
