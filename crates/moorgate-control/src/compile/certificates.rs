//! Rows into certificates.

use std::sync::Arc;

use moorgate_contract::{
    certificate::Certificate,
    route::{Domain, DomainError},
    snapshot::Snapshot,
};
use moorgate_keys::{KeyError, MasterKey, SealError, Uploaded, open, seal};
use thiserror::Error;

use super::{Compiler, routes::is_stored};
use crate::book::{Book, CertificateRow};

/// What a certificate's key is sealed for.
const PURPOSE: &str = "certificate key";

/// Why a certificate can't be shown.
#[derive(Debug, Error)]
pub(crate) enum UnusableCertificate {
    #[error("its domain can't be read: {0}")]
    Domain(#[from] DomainError),
    #[error("its domain is not written as domains are stored")]
    Spelling,
    #[error("its key is {0}")]
    Sealed(#[from] SealError),
    #[error("{0}")]
    Read(#[from] KeyError),
}

impl Compiler {
    /// Every certificate of `book`, in the place of those that `previous` has.
    pub(super) fn all_certificates(&self, snapshot: &mut Snapshot, previous: &Snapshot, book: &Book) {
        for certificate in previous.certificates() {
            let domain = certificate.domain.to_string();
            if book.certificate(&domain).is_none() && book.issuance(&domain).is_none_or(|row| row.own.is_none()) {
                snapshot.remove_certificate(&certificate.domain);
            }
        }
        for row in book.certificates() {
            self.put_certificate(snapshot, row);
        }
    }

    pub(super) fn put_certificate(&self, snapshot: &mut Snapshot, row: &CertificateRow) {
        match self.certificate(row) {
            // One that is as it was leaves its route as it is, and what traffic built from that.
            Ok(new) if snapshot.certificate(&new.domain).is_some_and(|old| is_same(old, &new)) => {}
            Ok(new) => snapshot.put_certificate(new),
            Err(problem) => {
                tracing::error!(domain = %row.domain, %problem, "a certificate can't be used; add it anew, or remove it");
                remove_certificate(snapshot, &row.domain);
            }
        }
    }

    /// What a row says, ready to be shown.
    pub(super) fn certificate(&self, row: &CertificateRow) -> Result<Certificate, UnusableCertificate> {
        let domain = row.domain.parse::<Domain>()?;
        if !is_stored(&domain, &row.domain) {
            return Err(UnusableCertificate::Spelling);
        }
        let key = open(self.store_key.key(), PURPOSE, &row.key)?;
        let read = Uploaded::stored(row.chain.as_bytes(), key)?;
        Ok(Certificate {
            domain,
            chain: read.chain().iter().map(|der| der.as_ref().into()).collect(),
            key: Arc::new(read.key_der().clone()),
            not_after: read.facts().not_after.into(),
        })
    }

    /// Why the certificate of a row can't be shown.
    pub(crate) fn certificate_problem(&self, row: &CertificateRow) -> Option<UnusableCertificate> {
        self.certificate(row).err()
    }
}

fn is_same(old: &Certificate, new: &Certificate) -> bool {
    old.chain == new.chain && old.key == new.key
}

/// How a key stands in a row.
pub(crate) fn seal_key(store_key: &MasterKey, key: &[u8]) -> Result<Vec<u8>, SealError> {
    seal(store_key, PURPOSE, key)
}

pub(super) fn remove_certificate(snapshot: &mut Snapshot, domain: &str) {
    // What can't be read was never shown.
    if let Ok(read) = domain.parse::<Domain>()
        && is_stored(&read, domain)
    {
        snapshot.remove_certificate(&read);
    }
}
