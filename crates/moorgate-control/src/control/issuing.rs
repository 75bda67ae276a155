//! Certificates from the CA of `[acme]`: ordered when a domain is here, renewed before they end, by one gateway each.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use moorgate_acme::{Ca, Issued, Kind, Problem, Show, Wanted};
use moorgate_contract::{
    certificate::{Challenge, ChallengeKind},
    route::{Domain, Mode},
    time::Timestamp,
};
use moorgate_keys::{Facts, Uploaded, chain, open, seal};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

use super::{
    Control, Inner, Session, changes, now,
    schedule::{DAY, MINUTE, back_off, part_of, renew_at, spread_of},
};
use crate::{
    book::{Book, CertificateRow, IssuanceRow, OwnCertificate, RouteRow},
    compile,
    error::{ControlError, Invalid, Result, chain as words},
    limits::{HOLD, ORDER_TIME, ORDERS_AT_ONCE, SHOWN_TIME},
    route_views::DnsState,
    settings::CaSettings,
};

/// What the account at the CA is sealed for.
const PURPOSE: &str = "ACME account";
/// How long nobody asks a CA again that did not say when a certificate is to be renewed.
const ASK_AGAIN: Duration = Duration::from_secs(6 * 3_600);

/// The CA, and the account there.
pub(crate) struct Issuing {
    settings: CaSettings,
    /// What is kept of the account, once it is known.
    account: Mutex<Option<Arc<Zeroizing<Vec<u8>>>>>,
    /// The names by which CAA records allow the CA.
    identity: Mutex<Option<String>>,
}

impl Issuing {
    pub(crate) fn new(settings: CaSettings) -> Self {
        Self { settings, account: Mutex::default(), identity: Mutex::default() }
    }

    fn ca(&self) -> &Ca {
        &self.settings.ca
    }
}

/// Has every domain a certificate that is to have one.
#[derive(Default)]
pub(crate) struct Watch {
    orders: JoinSet<String>,
    open: HashSet<String>,
    /// Nothing is due while what is stored has this version, and before this time.
    idle: Option<(u64, Timestamp)>,
    /// The same of what a CA is asked about.
    asked_all: Option<(u64, Timestamp)>,
    /// When a CA is asked next about each certificate.
    asked: HashMap<String, Instant>,
    /// When it was last said which certificates are about to end.
    warned: Option<Instant>,
    asking: JoinSet<(String, Duration)>,
}

impl Watch {
    pub(crate) fn go_on(&mut self, control: &Control) {
        while let Some(done) = self.orders.try_join_next() {
            if let Ok(domain) = done {
                self.open.remove(&domain);
            }
        }
        if self.orders.is_empty() {
            // What broke off has left its name behind.
            self.open.clear();
        }
        while let Some(done) = self.asking.try_join_next() {
            if let Ok((domain, again)) = done {
                self.asked.insert(domain, Instant::now() + again.clamp(MINUTE, DAY));
            }
        }
        let room = ORDERS_AT_ONCE.saturating_sub(self.orders.len());
        let version = control.inner.book().version();
        let due = if room == 0 || rests(self.idle, version) {
            Vec::new()
        } else {
            let (due, next) = control.inner.due_orders(room, &self.open);
            self.idle = due.is_empty().then_some((version, next));
            due
        };
        for domain in due {
            let control = control.clone();
            self.open.insert(domain.clone());
            self.orders.spawn(async move {
                control.issue(&domain).await;
                domain
            });
        }
        if control.inner.has_duty() {
            self.ask(control);
            self.warn(control);
        }
    }

    /// Asks the CA when it would have a certificate renewed, of one after the other (RFC 9773).
    fn ask(&mut self, control: &Control) {
        let version = control.inner.book().version();
        if !self.asking.is_empty() || rests(self.asked_all, version) {
            return;
        }
        let next = {
            let book = control.inner.book();
            let is_due = |domain: &str| self.asked.get(domain).is_none_or(|at| *at <= Instant::now());
            let mut issued = issued(&book);
            issued.find(|(domain, _)| is_due(domain)).map(|(domain, chain)| (domain.to_owned(), chain.to_owned()))
        };
        self.asked_all = next.is_none().then(|| (version, now().after(REST)));
        if let Some((domain, chain)) = next {
            let control = control.clone();
            self.asking.spawn(async move {
                let again = control.ask_window(&domain, &chain).await.unwrap_or(ASK_AGAIN);
                (domain, again)
            });
        }
    }

    /// Says so, once a day, where a certificate is about to end.
    fn warn(&mut self, control: &Control) {
        if self.warned.is_some_and(|at| at.elapsed() < DAY) {
            return;
        }
        self.warned = Some(Instant::now());
        for ending in control.inner.ending_soon() {
            tracing::warn!(
                domain = ending.domain,
                days = ending.left.as_secs() / 86_400,
                why = ending.why,
                "a certificate is about to end: less than a third of its life is left"
            );
        }
    }
}

/// What is about to end.
pub(crate) struct Ending {
    pub(crate) domain: String,
    pub(crate) left: Duration,
    pub(crate) why: String,
}

/// The longest that nothing is looked for where nothing was due.
const REST: Duration = Duration::from_secs(30);

fn rests(idle: Option<(u64, Timestamp)>, version: u64) -> bool {
    // A clock that was set back must not make it a long one.
    idle.is_some_and(|(seen, until)| seen == version && now() < until && until.since(now()) <= REST)
}

/// Every certificate that the CA has issued, by domain, with its chain.
fn issued(book: &Book) -> impl Iterator<Item = (&str, &str)> {
    let routes = book.certificates().filter(|row| row.issued).map(|row| (&*row.domain, &*row.chain));
    let own = book.issuances().filter_map(|row| Some((&*row.domain, &*row.own.as_ref()?.chain)));
    routes.chain(own)
}

impl Inner {
    /// Whether there is a CA.
    pub(crate) fn issues(&self) -> bool {
        self.issuing.is_some()
    }

    /// Whether the CA looks in DNS for what proves this route's domain.
    pub(super) fn validates_by_dns(&self, row: &RouteRow) -> bool {
        let is_wildcard = row.domain.starts_with("*.") && row.mode == Mode::Terminate.name();
        is_wildcard && self.issuing.as_ref().is_some_and(|issuing| issuing.settings.by_dns)
    }

    /// Whether the CA is to issue for this route's domain.
    fn is_for_ca(&self, book: &Book, row: &RouteRow) -> bool {
        let is_here = self.zone.is_none() || matches!(row.dns, DnsState::Unchecked | DnsState::Seen);
        let settings = self.issuing.as_ref().map(|issuing| &issuing.settings);
        // A wildcard is proved in DNS alone (RFC 8555 §7.1.3).
        let can = settings.is_some_and(|settings| !row.domain.starts_with("*.") || settings.by_dns);
        can && is_here
            && row.mode == Mode::Terminate.name()
            && row.domain.parse::<Domain>().is_ok()
            && book.certificate(&row.domain).is_none_or(|certificate| certificate.issued)
    }

    /// At most so many domains whose order is due, other than these; and until when none will be, if none is.
    fn due_orders(&self, most: usize, open: &HashSet<String>) -> (Vec<String>, Timestamp) {
        let (book, now) = (self.book(), now());
        let rest = now.after(REST);
        let Some(issuing) = &self.issuing else { return (Vec::new(), rest) };
        let is_due = |domain: &str| !open.contains(domain) && self.is_due(&book, domain, now);
        let own = issuing.settings.own.iter().map(ToString::to_string).filter(|name| is_due(name));
        let routes = book.routes().filter(|row| is_due(&row.domain) && self.is_for_ca(&book, row));
        let mut due: Vec<String> = own.chain(routes.map(|row| row.domain.clone())).collect();
        // Each gateway begins elsewhere.
        due.sort_by_key(|domain| spread_of(&format!("{domain} {}", self.gateway.name)));
        due.truncate(most);
        let later = book.issuances().map(|row| row.next).filter(|next| *next > now);
        (due, later.min().unwrap_or(rest).min(rest))
    }

    fn is_due(&self, book: &Book, domain: &str, now: Timestamp) -> bool {
        match book.issuance(domain) {
            None => true,
            // Whose claim has ended is seen when it is taken up.
            Some(row) => row.next <= now && (row.holder.is_empty() || row.until <= now || self.was_held_here(row)),
        }
    }

    /// Whether a run of this gateway before this one was at it: it is no more.
    fn was_held_here(&self, row: &IssuanceRow) -> bool {
        let before = row.holder.rsplit_once('/').is_some_and(|(name, _)| name == self.gateway.name);
        before && row.holder != self.counting.run
    }

    /// Every certificate of which less than a third of its life is left.
    pub(crate) fn ending_soon(&self) -> Vec<Ending> {
        let (book, now) = (self.book(), now());
        let uploaded = book.certificates().filter(|row| !row.issued).map(|row| (&*row.domain, &*row.chain));
        let mut ending = Vec::new();
        for (domain, chain) in issued(&book).chain(uploaded) {
            let Ok(facts) = Facts::of_pem(chain.as_bytes()) else { continue };
            let (from, to): (Timestamp, Timestamp) = (facts.not_before.into(), facts.not_after.into());
            let left = to.since(now);
            // With a tenth of grace: a renewal that is under way is no trouble.
            if left < to.since(from) * 3 / 10 {
                let issuance = book.issuance(domain);
                let why = issuance.map(|row| row.error.clone()).filter(|error| !error.is_empty());
                let why = why.unwrap_or_else(|| match issuance {
                    Some(_) => "its renewal is due".to_owned(),
                    None => "it was added by hand: add its successor with moorgate cert add".to_owned(),
                });
                ending.push(Ending { domain: domain.to_owned(), left, why });
            }
        }
        ending
    }
}

impl Control {
    /// Orders, shows and takes up a domain's certificate; what comes of it is written down.
    async fn issue(&self, domain: &str) {
        let claimed = self.claim_order(domain.to_owned()).await;
        let claim = match claimed {
            Ok(Some(claim)) => claim,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(error = words(&error), domain, "an order waits for the store");
                return sleep(MINUTE / 4).await;
            }
        };
        let ordered = timeout(ORDER_TIME, self.order(&claim)).await;
        let slow = || Problem { kind: Kind::Refused, said: "the order took too long".to_owned(), retry_after: None };
        let done = match ordered.unwrap_or_else(|_| Err(slow())) {
            Ok(issued) => self.take_up(&claim, issued).await,
            Err(problem) => self.note_failure(&claim, &problem).await,
        };
        if let Err(error) = done {
            // Nobody else takes it up until the claim ends; then it is ordered again.
            tracing::error!(error = words(&error), domain, "what came of an order could not be written down");
        }
    }

    /// Takes an order up, unless somebody else has or it is not due any more.
    async fn claim_order(&self, domain: String) -> Result<Option<IssuanceRow>> {
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let at = session.tx()?.now().await?;
            let (old, account) = {
                let book = inner.book();
                let is_own =
                    inner.issuing.as_ref().is_some_and(|it| it.settings.own.iter().any(|own| own.as_str() == domain));
                let route = book.route(&domain).filter(|row| inner.is_for_ca(&book, row));
                if !is_own && route.is_none() {
                    return Ok(None);
                }
                (book.issuance(&domain).cloned(), route.map(|row| row.account))
            };
            if let Some(old) = &old
                && (old.next > now() || !(old.holder.is_empty() || old.until <= at || inner.was_held_here(old)))
            {
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
        let old = self.inner.shown_chain(&claim.domain);
        let old = old.and_then(|pem| chain::certificates(pem.as_bytes()).ok()?.into_iter().next());
        let wanted = Wanted {
            name: claim.domain.clone(),
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

    /// What is kept of the account at the CA; registered now, if there is none.
    async fn ca_account(&self, issuing: Arc<Issuing>) -> Result<Arc<Zeroizing<Vec<u8>>>, Problem> {
        let mut known = issuing.account.lock().await;
        if let Some(account) = &*known {
            return Ok(account.clone());
        }
        let unwritten = |error: ControlError| Problem {
            kind: Kind::Unreachable,
            said: format!("what is kept of the account at the CA can't be read or written: {}", words(&error)),
            retry_after: None,
        };
        let directory = issuing.ca().directory.clone();
        if let Some(kept) = self.kept_ca_account(directory.clone(), None).await.map_err(unwritten)? {
            return Ok(known.insert(Arc::new(kept)).clone());
        }
        let made = issuing.ca().register().await?;
        // Another gateway may have registered meanwhile; the first one stays.
        let kept = self.kept_ca_account(directory, Some(made.clone())).await.map_err(unwritten)?;
        Ok(known.insert(Arc::new(kept.unwrap_or(made))).clone())
    }

    /// What the store keeps of the account at a CA; `made` is kept, if there is none.
    async fn kept_ca_account(
        &self,
        directory: String,
        made: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let key = inner.store_key.key();
            if let Some(sealed) = session.tx()?.ca_account(&directory).await? {
                // One that can't be opened is as good as none: another is registered.
                if let Ok(kept) = open(key, PURPOSE, &sealed) {
                    session.commit().await?;
                    return Ok(Some(kept));
                }
            }
            if let Some(made) = &made {
                let sealed = seal(key, PURPOSE, made).map_err(ControlError::Seal)?;
                session.tx()?.set_ca_account(&directory, Some(sealed)).await?;
                session.entries.push(changes::registered(&directory));
            }
            session.commit().await?;
            Ok(None)
        };
        self.write(operation).await
    }

    async fn forget_ca_account(&self, issuing: Arc<Issuing>) {
        *issuing.account.lock().await = None;
        let directory = issuing.ca().directory.clone();
        let operation = async move |mut session: Session| {
            session.tx()?.set_ca_account(&directory, None).await?;
            session.entries.push(changes::forgot(&directory));
            session.commit().await
        };
        if let Err(error) = self.write(operation).await {
            tracing::debug!(error = words(&error), "an account that the CA does not know is kept for now");
        }
    }

    /// Has every gateway show the CA what it looks for.
    async fn show(&self, claim: &IssuanceRow, challenge: &Challenge) -> Result<()> {
        let text = serde_json::to_string(challenge).unwrap_or_default();
        let (domain, holder) = (claim.domain.clone(), claim.holder.clone());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let held = inner.book().issuance(&domain).filter(|row| row.holder == holder).cloned();
            let old = held.ok_or(Invalid::OrderTaken { domain })?;
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

    /// Serves what was issued from now on.
    async fn take_up(&self, claim: &IssuanceRow, issued: Issued) -> Result<()> {
        let read = Uploaded::from_pem(issued.chain.as_bytes(), issued.key.as_bytes());
        let read = match read {
            Ok(read) if read.facts().covers(&claim.domain) => read,
            Ok(_) => return self.note_failure(claim, &unfit(&"it is for other names")).await,
            Err(error) => return self.note_failure(claim, &unfit(&error)).await,
        };
        let (from, to) = (read.facts().not_before.into(), read.facts().not_after.into());
        let next = renew_at(from, to, &claim.domain);
        let key = compile::seal_key(self.inner.store_key.key(), read.key_der()).map_err(ControlError::Seal)?;
        let (chain, domain, holder) = (read.chain_pem(), claim.domain.clone(), claim.holder.clone());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            // Whoever has removed the route, or added a certificate of their own, has the last word.
            let held = inner.book().issuance(&domain).filter(|row| row.holder == holder).cloned();
            let Some(old) = held else { return session.commit().await };
            let name = old.account.map(|account| inner.account_name(account));
            let own = match old.account {
                None => Some(OwnCertificate { chain, key }),
                Some(account) => {
                    let before = inner.book().certificate(&domain).cloned();
                    if before.as_ref().is_none_or(|before| before.issued) {
                        let row = CertificateRow {
                            account,
                            domain: domain.clone(),
                            chain,
                            key,
                            created: now(),
                            issued: true,
                        };
                        session.put_certificate(name.as_deref().unwrap_or_default(), before.as_ref(), row).await?;
                    }
                    None
                }
            };
            let row = IssuanceRow { domain, account: old.account, next, own, ..IssuanceRow::default() };
            session.put_issuance(name.as_deref(), "finish", Some(&old), row).await?;
            session.commit().await
        };
        self.write(operation).await?;
        tracing::info!(domain = claim.domain, issuer = read.facts().issuer, "a certificate was issued and is served");
        Ok(())
    }

    async fn note_failure(&self, claim: &IssuanceRow, problem: &Problem) -> Result<()> {
        let failures = claim.failures + 1;
        let spread = Duration::from_millis(spread_of(&format!("{}{failures}", claim.domain)) % 10_000);
        let pause = back_off(problem.kind, failures) + spread;
        let next = now().after(pause).max(problem.retry_after.unwrap_or_default());
        tracing::warn!(domain = claim.domain, failures, why = problem.said, again = ?pause, "a certificate could not be had");
        let (domain, holder, error) = (claim.domain.clone(), claim.holder.clone(), problem.said.clone());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let held = inner.book().issuance(&domain).filter(|row| row.holder == holder).cloned();
            let Some(old) = held else { return session.commit().await };
            let name = old.account.map(|account| inner.account_name(account));
            let free =
                IssuanceRow { holder: String::new(), until: Timestamp(0), challenge: String::new(), ..old.clone() };
            let row = IssuanceRow { failures, next, error, ..free };
            session.put_issuance(name.as_deref(), "fail", Some(&old), row).await?;
            session.commit().await
        };
        self.write(operation).await
    }

    /// Asks the CA when it would have a certificate renewed; answers with when to ask again.
    async fn ask_window(&self, domain: &str, pem: &str) -> Option<Duration> {
        let issuing = self.inner.issuing.clone()?;
        let certificate = chain::certificates(pem.as_bytes()).ok()?.into_iter().next()?;
        let account = self.ca_account(issuing.clone()).await.ok()?;
        let window = issuing.ca().window(&account, &certificate).await.ok()??;
        // Somewhere in it, the same place each time it is asked.
        let wanted = window.start.after(part_of(window.end.since(window.start), domain));
        let row = self.inner.book().issuance(domain).cloned()?;
        if wanted < row.next && row.holder.is_empty() && row.failures == 0 {
            let changed = self.plan_renewal(domain.to_owned(), wanted, "plan").await;
            if changed.is_ok() {
                tracing::info!(domain, "the CA would have a certificate renewed earlier than planned");
            }
        }
        Some(window.again)
    }

    /// Orders a domain's certificate anew, as soon as it can be.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`Invalid::NoCa`], [`Invalid::NotForCa`].
    pub async fn renew_certificate(&self, domain: &str) -> Result<()> {
        let issuing = self.inner.issuing.as_ref().ok_or(Invalid::NoCa)?;
        let domain = super::routes::stored_domain(domain);
        let is_own = issuing.settings.own.iter().any(|own| own.as_str() == domain);
        if !is_own {
            let row = self.inner.route_row(&domain)?;
            let book = self.inner.book();
            if !self.inner.is_for_ca(&book, &row) {
                return Err(Invalid::NotForCa { domain }.into());
            }
        }
        self.plan_renewal(domain, Timestamp(0), "renew").await
    }

    /// What failed before does not count against it.
    async fn plan_renewal(&self, domain: String, next: Timestamp, action: &'static str) -> Result<()> {
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let Some(old) = inner.book().issuance(&domain).cloned() else { return session.commit().await };
            let name = old.account.map(|account| inner.account_name(account));
            let row = IssuanceRow { next, failures: 0, ..old.clone() };
            session.put_issuance(name.as_deref(), action, Some(&old), row).await?;
            session.commit().await
        };
        self.write(operation).await
    }

    /// What time it is at the CA, if it says so. `None`: there is no CA.
    pub(super) async fn ca_clock(&self) -> Option<Result<Option<Timestamp>, Problem>> {
        let issuing = self.inner.issuing.clone()?;
        Some(issuing.ca().clock().await)
    }

    /// The name by which CAA records allow the CA, if it says so.
    pub(super) async fn ca_identity(&self) -> Option<String> {
        let issuing = self.inner.issuing.clone()?;
        let mut known = issuing.identity.lock().await;
        if known.is_none() {
            *known = issuing.ca().identities().await.ok()?.into_iter().next();
        }
        known.clone()
    }
}

impl Inner {
    /// The chain that is shown for a domain, if the CA has issued it.
    fn shown_chain(&self, domain: &str) -> Option<String> {
        let book = self.book();
        let own = book.issuance(domain).and_then(|row| row.own.as_ref()).map(|own| own.chain.clone());
        own.or_else(|| book.certificate(domain).filter(|row| row.issued).map(|row| row.chain.clone()))
    }

    /// Whether every other gateway that is up serves what this one does.
    fn have_applied(&self, version: u64) -> bool {
        let seen = super::lock(&self.seen);
        seen.rows.iter().filter(|row| row.id != self.id && self.is_up(row, &seen)).all(|row| row.applied >= version)
    }
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
