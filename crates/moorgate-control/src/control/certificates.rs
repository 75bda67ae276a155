//! Certificates that were added for domains.

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
    route_views::CertificateView,
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
            let row = CertificateRow { account, domain: domain.clone(), chain, key: sealed, created: now() };
            let old = inner.book().certificate(&domain).cloned();
            session.put_certificate(&inner.account_name(account), old.as_ref(), row).await?;
            session.commit().await?;
            inner.certificate_view(&domain)
        };
        self.write(operation).await
    }

    /// The certificates of one account, or all there are, by domain.
    pub async fn list_certificates(&self, account: Option<&str>) -> Vec<CertificateView> {
        let book = self.inner.book();
        let view = |row| self.inner.view_certificate(&book, row);
        match account {
            None => book.certificates().map(view).collect(),
            Some(name) => {
                let id = book.account(name).map(|account| account.id);
                id.into_iter().flat_map(|id| book.certificates_of(id)).map(view).collect()
            }
        }
    }

    /// At most `limit` certificates of one account, or of all there are, by domain, from the one behind `after` on.
    pub async fn certificates_after(&self, account: Option<&str>, after: &str, limit: usize) -> Vec<CertificateView> {
        let book = self.inner.book();
        let is_next = |row: &&CertificateRow| *row.domain > *after;
        let view = |row| self.inner.view_certificate(&book, row);
        match account {
            None => book.certificates().filter(is_next).take(limit).map(view).collect(),
            Some(name) => {
                let id = book.account(name).map(|account| account.id);
                id.into_iter().flat_map(|id| book.certificates_of(id)).filter(is_next).take(limit).map(view).collect()
            }
        }
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
            session.remove_certificate(&inner.account_name(row.account), &row).await?;
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
        let book = self.book();
        let row = book.certificate(&stored_domain(domain)).ok_or_else(|| missing(What::Certificate, domain))?;
        Ok(self.view_certificate(&book, row))
    }

    fn view_certificate(&self, book: &Book, row: &CertificateRow) -> CertificateView {
        // One that can't be read has nothing to show but why.
        let facts = Facts::of_pem(row.chain.as_bytes()).ok();
        let time =
            |at: fn(&Facts) -> std::time::SystemTime| facts.as_ref().map_or(Timestamp(0), |facts| at(facts).into());
        let text = |of: fn(&Facts) -> &String| facts.as_ref().map(of).cloned().unwrap_or_default();
        CertificateView {
            domain: row.domain.clone(),
            account: book.account_by_id(row.account).map(|account| account.name.clone()).unwrap_or_default(),
            issuer: text(|facts| &facts.issuer),
            not_before: time(|facts| facts.not_before),
            not_after: time(|facts| facts.not_after),
            fingerprint: text(|facts| &facts.fingerprint),
            key: text(|facts| &facts.key),
            names: facts.as_ref().map(|facts| facts.names.clone()).unwrap_or_default(),
            renew_at: None,
            last_error: self.compiler.certificate_problem(row).map(|problem| problem.to_string()),
        }
    }
}
