//! Rows into what CAs look for, and into certificates of the gateways' own names.

use moorgate_contract::{
    certificate::{Challenge, ChallengeKind},
    route::Domain,
    snapshot::Snapshot,
};

use super::Compiler;
use crate::book::{Book, CertificateRow, IssuanceRow};

impl Compiler {
    pub(super) fn put_issuance(&self, snapshot: &mut Snapshot, row: &IssuanceRow, book: &Book) {
        let Ok(domain) = row.domain.parse::<Domain>() else { return };
        let challenge = serde_json::from_str::<Challenge>(&row.challenge).ok();
        let by_dns = challenge.as_ref().filter(|challenge| challenge.kind == ChallengeKind::Dns);
        if let Some(route) = book.route(&row.domain) {
            self.set_target_challenge(snapshot, route, by_dns.map(|challenge| challenge.answer.as_str()));
        }
        snapshot.set_challenge(&domain, challenge.filter(|challenge| challenge.kind != ChallengeKind::Dns));
        let own = row.own.as_ref().map(|own| own.as_certificate(&row.domain));
        if let Some(issued) = own.as_ref().or_else(|| book.certificate(&row.domain).filter(|known| known.issued)) {
            self.put_certificate(snapshot, issued, row.rsa.as_ref());
        }
    }

    pub(super) fn remove_issuance(&self, snapshot: &mut Snapshot, row: &IssuanceRow, book: &Book) {
        let Ok(domain) = row.domain.parse::<Domain>() else { return };
        if let Some(route) = book.route(&row.domain) {
            self.set_target_challenge(snapshot, route, None);
        }
        snapshot.set_challenge(&domain, None);
        if row.own.is_some() {
            snapshot.remove_certificate(&domain);
        }
    }
}

impl crate::book::SealedCertificate {
    /// As a route's.
    pub(crate) fn as_certificate(&self, domain: &str) -> CertificateRow {
        CertificateRow {
            account: moorgate_contract::account::AccountId(0),
            domain: domain.to_owned(),
            chain: self.chain.clone(),
            key: self.key.clone(),
            created: Default::default(),
            issued: true,
        }
    }
}
