//! Rows into certificates.

use std::sync::Arc;

use moorgate_contract::{
    certificate::{Certificate, KeyedChain},
    route::{Domain, DomainError},
    snapshot::Snapshot,
    time::Timestamp,
};
use moorgate_keys::{KeyError, MasterKey, SealError, Uploaded, open, seal};
use thiserror::Error;

use super::{Compiler, routes::is_stored};
use crate::book::{Book, CertificateRow, SealedCertificate};

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
            self.put_certificate(snapshot, row, rsa_of(row, book));
        }
    }

    /// `rsa`: the one with an RSA key that was issued beside it.
    pub(super) fn put_certificate(
        &self,
        snapshot: &mut Snapshot,
        row: &CertificateRow,
        rsa: Option<&SealedCertificate>,
    ) {
        match self.certificate(row).map(|first| Certificate { rsa: self.rsa(rsa, &row.domain), ..first }) {
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
        let (first, not_after) = self.keyed(&row.chain, &row.key)?;
        Ok(Certificate { domain, first, rsa: None, not_after })
    }

    /// The other one, ready to be shown. Without it the first serves all who can read it.
    fn rsa(&self, rsa: Option<&SealedCertificate>, domain: &str) -> Option<KeyedChain> {
        let rsa = rsa?;
        let read = self.keyed(&rsa.chain, &rsa.key);
        let read = read.inspect_err(|problem| {
            tracing::error!(domain, %problem, "a certificate with an RSA key can't be used; have it issued anew with moorgate cert renew");
        });
        read.ok().map(|(keyed, _)| keyed)
    }

    fn keyed(&self, chain: &str, sealed: &[u8]) -> Result<(KeyedChain, Timestamp), UnusableCertificate> {
        let key = open(self.store_key.key(), PURPOSE, sealed)?;
        let read = Uploaded::stored(chain.as_bytes(), key)?;
        let chain = read.chain().iter().map(|der| der.as_ref().into()).collect();
        let keyed = KeyedChain { chain, key: Arc::new(read.key_der().clone()) };
        Ok((keyed, read.facts().not_after.into()))
    }

    /// Why the certificate of a row can't be shown.
    pub(crate) fn certificate_problem(&self, row: &CertificateRow) -> Option<UnusableCertificate> {
        self.certificate(row).err()
    }
}

fn is_same(old: &Certificate, new: &Certificate) -> bool {
    old.first == new.first && old.rsa == new.rsa
}

/// What was issued beside a certificate. Beside one that somebody has added, nothing was.
pub(super) fn rsa_of<'a>(row: &CertificateRow, book: &'a Book) -> Option<&'a SealedCertificate> {
    book.issuance(&row.domain).filter(|_| row.issued)?.rsa.as_ref()
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
