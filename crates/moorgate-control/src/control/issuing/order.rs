//! An order's course: claimed for all gateways, shown to the CA, and taken up or noted as failed.

use std::{pin::Pin, time::Duration};

use moorgate_acme::{Issued, Kind, Problem, Show, Wanted};
use moorgate_contract::{
    certificate::{Challenge, ChallengeKind},
    time::Timestamp,
};
use moorgate_keys::{Facts, Uploaded, chain, request::KeyKind};
use tokio::time::{sleep, timeout};

use super::words;
use crate::{
    book::{CertificateRow, IssuanceRow, SealedCertificate},
    compile,
    control::{
        Control, Inner, Session, lock, now,
        schedule::{MINUTE, back_off, next_order, spread_of},
    },
    error::{ControlError, Invalid, Result},
    limits::{HOLD, ORDER_TIME, SHOWN_TIME},
    settings::CaSettings,
};

impl Control {
    /// Orders, shows and takes up a domain's certificate, and the one with an RSA key where that is wanted; what comes of
    /// it is written down.
    pub(super) async fn issue(&self, domain: &str) {
        let claimed = self.claim_order(domain.to_owned()).await;
        let mut claim = match claimed {
            Ok(Some(claim)) => claim,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(error = words(&error), domain, "an order waits for the store");
                return sleep(MINUTE / 4).await;
            }
        };
        loop {
            let ordered = timeout(ORDER_TIME, self.order(&claim)).await;
            let slow =
                || Problem { kind: Kind::Refused, said: "the order took too long".to_owned(), retry_after: None };
            let done = match ordered.unwrap_or_else(|_| Err(slow())) {
                Ok(issued) => self.take_up(&claim, issued).await,
                Err(problem) => self.note_failure(&claim, &problem).await.map(|()| None),
            };
            match done {
                Ok(Some(next)) => claim = next,
                Ok(None) => return,
                Err(error) => {
                    // Nobody else takes it up until the claim ends; then it is ordered again.
                    return tracing::error!(
                        error = words(&error),
                        domain,
                        "what came of an order could not be written down"
                    );
                }
            }
        }
    }

    /// Takes an order up, unless somebody else has or it is not due any more.
    async fn claim_order(&self, domain: String) -> Result<Option<IssuanceRow>> {
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let at = session.tx()?.now().await?;
            let (old, account) = {
                let book = inner.book();
                let is_own = inner.issuing.as_ref().is_some_and(|issuing| issuing.is_own(&domain));
                let route = book.route(&domain).filter(|row| inner.is_for_ca(&book, row));
                if !is_own && route.is_none() {
                    return Ok(None);
                }
                (book.issuance(&domain).cloned(), route.map(|row| row.account))
            };
            if old.as_ref().is_some_and(|old| !inner.can_be_claimed(old, at)) {
                return Ok(None);
            }
            let base = old.clone().unwrap_or_else(|| IssuanceRow { domain, account, ..IssuanceRow::default() });
            let (holder, until) = (inner.counting.run.clone(), at.after(HOLD));
            let row = IssuanceRow { holder, until, challenge: String::new(), ..base };
            let name = account.map(|account| inner.account_name(account));
            session.put_issuance(name.as_deref(), "order", old.as_ref(), row.clone()).await?;
            session.commit().await?;
            Ok(Some(row))
        };
        self.write(operation).await
    }

    async fn order(&self, claim: &IssuanceRow) -> Result<Issued, Problem> {
        let Some(issuing) = self.inner.issuing.clone() else {
            return Err(Problem { kind: Kind::Refused, said: "there is no CA".to_owned(), retry_after: None });
        };
        let account = self.ca_account(issuing.clone()).await?;
        let key = kind_of(claim);
        let old = match key {
            KeyKind::Ecdsa => self.inner.shown_chain(&claim.domain),
            KeyKind::Rsa => claim.rsa.as_ref().map(|rsa| rsa.chain.clone()),
        };
        let old = old.and_then(|pem| chain::certificates(pem.as_bytes()).ok()?.into_iter().next());
        let wanted = Wanted {
            name: claim.domain.clone(),
            key,
            kinds: kinds(&issuing.settings, claim),
            replaces: old.as_ref().map(|certificate| certificate.as_ref()),
        };
        let shown = Shown { control: self.clone(), claim: claim.clone() };
        let ordered = issuing.ca().order(&account, &wanted, &shown).await;
        if let Err(Problem { kind: Kind::NoAccount, .. }) = &ordered {
            self.forget_ca_account(issuing).await;
        }
        ordered
    }

    /// Has every gateway show the CA what it looks for.
    async fn show(&self, claim: &IssuanceRow, challenge: &Challenge) -> Result<()> {
        let text = serde_json::to_string(challenge).unwrap_or_default();
        let (domain, holder) = (claim.domain.clone(), claim.holder.clone());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let old = inner.held(&domain, &holder).ok_or(Invalid::OrderTaken { domain })?;
            let row = IssuanceRow { challenge: text, ..old.clone() };
            let name = old.account.map(|account| inner.account_name(account));
            session.put_issuance(name.as_deref(), "validate", Some(&old), row).await?;
            session.commit().await?;
            Ok(inner.book().version())
        };
        let version = self.write(operation).await?;
        // A gateway that is slow to hear of it must not have the CA come too early; one that hears nothing is lost soon.
        let _ = timeout(SHOWN_TIME, async {
            while !self.inner.have_applied(version) {
                sleep(Duration::from_millis(200)).await;
                let _ = self.beat().await;
            }
        })
        .await;
        Ok(())
    }

    /// Serves what was issued from now on. Answers with the claim on what is to be ordered beside it.
    async fn take_up(&self, claim: &IssuanceRow, issued: Issued) -> Result<Option<IssuanceRow>> {
        let read = Uploaded::from_pem(issued.chain.as_bytes(), issued.key.as_bytes());
        let unfit = match &read {
            Ok(read) if read.facts().covers(&claim.domain) => None,
            Ok(_) => Some(unfit(&"it is for other names")),
            Err(error) => Some(unfit(error)),
        };
        let read = match (read, unfit) {
            (Ok(read), None) => read,
            (_, problem) => {
                let problem = problem.unwrap_or_else(|| self::unfit(&"it can't be read"));
                return self.note_failure(claim, &problem).await.map(|()| None);
            }
        };
        let key = compile::seal_key(self.inner.store_key.key(), read.key_der()).map_err(ControlError::Seal)?;
        let sealed = SealedCertificate { chain: read.chain_pem(), key };
        let (domain, holder, kind) = (claim.domain.clone(), claim.holder.clone(), kind_of(claim));
        let next = renewal_of(read.facts(), &domain);
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let at = session.tx()?.now().await?;
            // Whoever has removed the route, or added a certificate of their own, has the last word.
            let Some(old) = inner.held(&domain, &holder) else {
                session.commit().await?;
                return Ok(None);
            };
            let name = old.account.map(|account| inner.account_name(account));
            let mut row = IssuanceRow {
                domain: domain.clone(),
                account: old.account,
                next,
                own: old.own.clone(),
                rsa: old.rsa.clone(),
                ..IssuanceRow::default()
            };
            match (kind, old.account) {
                (KeyKind::Rsa, _) => {
                    row.rsa = Some(sealed);
                    // Both are renewed together.
                    let first = inner.shown_chain(&domain).and_then(|chain| Facts::of_pem(chain.as_bytes()).ok());
                    row.next = first.map_or(next, |first| renewal_of(&first, &domain).min(next));
                }
                (KeyKind::Ecdsa, None) => row.own = Some(sealed),
                (KeyKind::Ecdsa, Some(account)) => {
                    let before = inner.book().certificate(&domain).cloned();
                    if before.as_ref().is_none_or(|before| before.issued) {
                        let SealedCertificate { chain, key } = sealed;
                        let (domain, created) = (domain.clone(), now());
                        let row = CertificateRow { account, domain, chain, key, created, issued: true };
                        session.put_certificate(name.as_deref().unwrap_or_default(), before.as_ref(), row).await?;
                    }
                }
            }
            let goes_on = kind == KeyKind::Ecdsa && inner.book().route(&domain).is_some_and(compile::wants_rsa);
            if goes_on {
                let (holder, until) = (old.holder.clone(), at.after(HOLD));
                row = IssuanceRow { holder, until, next: old.next, rsa_only: true, ..row };
            }
            let action = if goes_on { "go on" } else { "finish" };
            session.put_issuance(name.as_deref(), action, Some(&old), row.clone()).await?;
            session.commit().await?;
            Ok(goes_on.then_some(row))
        };
        let next = self.write(operation).await?;
        tracing::info!(
            domain = claim.domain,
            issuer = read.facts().issuer,
            key = read.facts().key,
            "a certificate was issued and is served"
        );
        Ok(next)
    }

    async fn note_failure(&self, claim: &IssuanceRow, problem: &Problem) -> Result<()> {
        let failures = claim.failures + 1;
        let spread = Duration::from_millis(spread_of(&format!("{}{failures}", claim.domain)) % 10_000);
        let pause = back_off(problem.kind, failures) + spread;
        let next = now().after(pause).max(problem.retry_after.unwrap_or_default());
        tracing::warn!(domain = claim.domain, failures, why = problem.said, again = ?pause, "a certificate could not be had");
        let error = match kind_of(claim) {
            KeyKind::Ecdsa => problem.said.clone(),
            KeyKind::Rsa => format!("with an RSA key: {}", problem.said),
        };
        let (domain, holder) = (claim.domain.clone(), claim.holder.clone());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let Some(old) = inner.held(&domain, &holder) else { return session.commit().await };
            let name = old.account.map(|account| inner.account_name(account));
            let free =
                IssuanceRow { holder: String::new(), until: Timestamp(0), challenge: String::new(), ..old.clone() };
            let row = IssuanceRow { failures, next, error, ..free };
            session.put_issuance(name.as_deref(), "fail", Some(&old), row).await?;
            session.commit().await
        };
        self.write(operation).await
    }
}

impl Inner {
    /// The chain that is shown for a domain, if the CA has issued it.
    fn shown_chain(&self, domain: &str) -> Option<String> {
        let book = self.book();
        let own = book.issuance(domain).and_then(|row| row.own.as_ref()).map(|own| own.chain.clone());
        own.or_else(|| book.certificate(domain).filter(|row| row.issued).map(|row| row.chain.clone()))
    }

    /// What this gateway is at, if it still is.
    fn held(&self, domain: &str, holder: &str) -> Option<IssuanceRow> {
        self.book().issuance(domain).filter(|row| row.holder == holder).cloned()
    }

    /// Whether every other gateway that is up serves what this one does.
    fn have_applied(&self, version: u64) -> bool {
        let seen = lock(&self.seen);
        seen.rows.iter().filter(|row| row.id != self.id && self.is_up(row, &seen)).all(|row| row.applied >= version)
    }
}

/// What is ordered now.
fn kind_of(claim: &IssuanceRow) -> KeyKind {
    if claim.rsa_only { KeyKind::Rsa } else { KeyKind::Ecdsa }
}

fn renewal_of(facts: &Facts, domain: &str) -> Timestamp {
    next_order(facts.not_before.into(), facts.not_after.into(), domain, now())
}

fn unfit(why: &dyn std::fmt::Display) -> Problem {
    let said = format!("the CA issued a certificate that can't be used: {why}");
    Problem { kind: Kind::Refused, said, retry_after: None }
}

/// Where the CA may look. After a failure another place comes first: the way to one of them may be what is broken.
fn kinds(settings: &CaSettings, claim: &IssuanceRow) -> Vec<ChallengeKind> {
    if claim.domain.starts_with("*.") {
        return vec![ChallengeKind::Dns];
    }
    let mut kinds = settings.kinds.clone();
    if !kinds.is_empty() {
        let by = usize::try_from(claim.failures).unwrap_or_default() % kinds.len();
        kinds.rotate_left(by);
    }
    if settings.by_dns && claim.account.is_some() {
        kinds.push(ChallengeKind::Dns);
    }
    kinds
}

/// An order's challenge, shown by every gateway.
struct Shown {
    control: Control,
    claim: IssuanceRow,
}

impl Show for Shown {
    fn show(&self, challenge: Challenge) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            let shown = self.control.show(&self.claim, &challenge).await;
            shown.map_err(|error| format!("what the CA looks for can't be shown: {}", words(&error)))
        })
    }
}
