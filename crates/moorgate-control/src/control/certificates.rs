//! Certificates that were added for domains.

use std::collections::BTreeSet;

use moorgate_contract::{
    account::AccountId,
    route::{Domain, Mode},
    time::Timestamp,
};
use moorgate_keys::{Facts, Uploaded};

use super::{
    Control, Inner, Session, now,
    routes::{missing, stored_domain},
};
use crate::{
    book::{Book, CertificateRow},
    compile,
    error::{ControlError, Invalid, Result, What},
    limits::{MAX_CERTIFICATE_BYTES, MAX_ROUTES},
    route_views::{CertificateSource, CertificateView},
};

impl Control {
    /// Adds the certificate that the route of `domain` shows, or replaces it: `chain` and `key` in PEM. There may be no
    /// route yet. `account` may be left out where the domain's route says whose it is, or where there is one account.
    ///
    /// # Errors
    /// [`ControlError::Invalid`], [`ControlError::NotFound`], [`ControlError::Seal`], [`ControlError::StoreDown`].
    pub async fn add_certificate(
        &self,
        account: Option<&str>,
        domain: &str,
        chain: &[u8],
        key: &[u8],
    ) -> Result<CertificateView> {
        let domain = domain.parse::<Domain>().map_err(Invalid::from)?.to_string();
        let bytes = chain.len().max(key.len());
        if bytes > MAX_CERTIFICATE_BYTES {
            return Err(Invalid::CertificateTooLong { bytes }.into());
        }
        let read =
            Uploaded::from_pem(chain, key).map_err(|error| Invalid::Certificate { problem: error.to_string() })?;
        if !read.facts().covers(&domain) {
            let names = crate::error::short(&read.facts().names.join(", "));
            return Err(Invalid::CertificateOfOthers { domain, names }.into());
        }
        let sealed = compile::seal_key(self.inner.store_key.key(), read.key_der()).map_err(ControlError::Seal)?;
        let (account, chain) = (account.map(str::to_owned), read.chain_pem());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let account = inner.owner_of_certificate(account.as_deref(), &domain)?;
            let row =
                CertificateRow { account, domain: domain.clone(), chain, key: sealed, created: now(), issued: false };
            let old = inner.book().certificate(&domain).cloned();
            session.put_certificate(&inner.account_name(account), old.as_ref(), row).await?;
            session.commit().await?;
            inner.certificate_view(&domain)
        };
        self.write(operation).await
    }

    /// The certificates of one account, or all there are, by domain.
    pub async fn list_certificates(&self, account: Option<&str>) -> Vec<CertificateView> {
        self.certificates_after(account, "", usize::MAX).await
    }

    /// At most `limit` certificates of one account, or of all there are, by domain, from the one behind `after` on.
    pub async fn certificates_after(&self, account: Option<&str>, after: &str, limit: usize) -> Vec<CertificateView> {
        let book = self.inner.book();
        let id = account.map(|name| book.account(name).map(|account| account.id));
        let is_theirs = |owner: Option<AccountId>| id.is_none_or(|id| id.is_some() && id == owner);
        let added = book.certificates().filter(|row| is_theirs(Some(row.account))).map(|row| &*row.domain);
        let ordered = book.issuances().filter(|row| is_theirs(row.account)).map(|row| &*row.domain);
        let all: BTreeSet<&str> = added.chain(ordered).filter(|domain| *domain > after).collect();
        all.into_iter().take(limit).filter_map(|domain| self.inner.view_certificate(&book, domain)).collect()
    }

    /// One certificate.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn certificate(&self, domain: &str) -> Result<CertificateView> {
        self.inner.certificate_view(domain)
    }

    /// Removes a certificate; its domain's route shows one of the local CA from now on.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn remove_certificate(&self, domain: &str) -> Result<()> {
        let domain = domain.to_owned();
        let operation = async move |mut session: Session| {
            let stored = stored_domain(&domain);
            let inner = session.inner.clone();
            let row = inner.book().certificate(&stored).cloned().ok_or_else(|| missing(What::Certificate, &domain))?;
            let account = inner.account_name(row.account);
            session.remove_certificate(&account, &row).await?;
            // One that the CA has issued is ordered anew.
            let issuance = inner.book().issuance(&stored).cloned();
            if let Some(old) = issuance {
                session.renew(Some(&account), "renew", &old, Timestamp(0)).await?;
            }
            session.commit().await
        };
        self.write(operation).await
    }
}

impl Inner {
    /// Whose the certificate of `domain` is to be: whoever has its route, and nobody else.
    fn owner_of_certificate(&self, account: Option<&str>, domain: &str) -> Result<AccountId> {
        let (of_route, passed_through, of_old, count) = {
            let book = self.book();
            let route = book.route(domain);
            let passed_through = route.is_some_and(|route| route.mode == Mode::Passthrough.name());
            let of_old = book.certificate(domain).map(|old| old.account);
            (route.map(|route| route.account), passed_through, of_old, book.certificates().len())
        };
        let account = match (account, of_route.or(of_old)) {
            (None, Some(owner)) => owner,
            (account, _) => self.owner(account)?,
        };
        let domain = || domain.to_owned();
        if of_route.is_some_and(|owner| owner != account) {
            return Err(Invalid::RouteOfAnother { domain: domain() }.into());
        }
        if passed_through {
            return Err(Invalid::NotForPassthrough { what: "a certificate" }.into());
        }
        if of_old.is_some_and(|owner| owner != account) {
            return Err(Invalid::CertificateOfAnother { domain: domain() }.into());
        }
        if of_old.is_none() && count >= MAX_ROUTES {
            return Err(Invalid::TooMany { what: What::Certificate, limit: MAX_ROUTES }.into());
        }
        Ok(account)
    }

    fn certificate_view(&self, domain: &str) -> Result<CertificateView> {
        let found = self.view_certificate(&self.book(), &stored_domain(domain));
        found.ok_or_else(|| missing(What::Certificate, domain))
    }

    fn view_certificate(&self, book: &Book, domain: &str) -> Option<CertificateView> {
        let issuance = book.issuance(domain);
        let own = issuance.and_then(|row| Some(row.own.as_ref()?.as_certificate(domain)));
        let certificate = book.certificate(domain).or(own.as_ref());
        let account = match (certificate, issuance) {
            (_, Some(row)) => row.account,
            (Some(row), None) => Some(row.account),
            (None, None) => return None,
        };
        // One that can't be read has nothing to show but why.
        let facts = certificate.and_then(|row| Facts::of_pem(row.chain.as_bytes()).ok());
        let text = |of: fn(&Facts) -> &String| facts.as_ref().map(of).cloned().unwrap_or_default();
        let source = match certificate {
            Some(row) if row.issued => CertificateSource::Issued,
            Some(_) => CertificateSource::Added,
            None => CertificateSource::Ordered,
        };
        let by_ca = issuance.filter(|_| source != CertificateSource::Added);
        let problem = certificate.and_then(|row| self.compiler.certificate_problem(row)).map(|it| it.to_string());
        let rsa = by_ca.and_then(|row| Facts::of_pem(row.rsa.as_ref()?.chain.as_bytes()).ok());
        let refused = by_ca.map(|row| row.error.clone()).filter(|error| !error.is_empty());
        // What waits for its DNS is not ordered, whatever was planned.
        let awaited = book.route(domain).filter(|route| by_ca.is_some() && !self.is_here(route));
        let awaited =
            awaited.map(|_| format!("its DNS is not here: moorgate route check {domain} says what is missing"));
        Some(CertificateView {
            domain: domain.to_owned(),
            account: account
                .and_then(|id| book.account_by_id(id))
                .map(|account| account.name.clone())
                .unwrap_or_default(),
            source,
            issuer: if source == CertificateSource::Ordered {
                "local CA".to_owned()
            } else {
                text(|facts| &facts.issuer)
            },
            not_before: facts.as_ref().map(|facts| facts.not_before.into()),
            not_after: facts.as_ref().map(|facts| facts.not_after.into()),
            fingerprint: text(|facts| &facts.fingerprint),
            key: text(|facts| &facts.key),
            rsa_fingerprint: rsa.map(|facts| facts.fingerprint),
            names: facts.as_ref().map(|facts| facts.names.clone()).unwrap_or_default(),
            renew_at: by_ca.map(|row| row.next).filter(|next| next.0 > 0),
            last_error: problem.or(awaited).or(refused),
        })
    }
}
