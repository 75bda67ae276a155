//! Certificates from the CA of `[acme]`: ordered when a domain is here, renewed before they end, by one gateway each.

mod account;
mod order;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use moorgate_acme::{Ca, Problem};
use moorgate_contract::{
    account::AccountId,
    route::{Domain, Mode},
    time::Timestamp,
};
use moorgate_keys::{Facts, chain, request::KeyKind};
use tokio::{sync::Mutex, task::JoinSet};
use zeroize::Zeroizing;

use super::{
    Control, Inner, Session, now,
    schedule::{DAY, MINUTE, part_of, spread_of},
};
use crate::{
    book::{Book, IssuanceRow, RouteRow},
    error::{Invalid, Result, chain as words},
    limits::ORDERS_AT_ONCE,
    route_views::DnsState,
    settings::CaSettings,
};

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

    /// Whether this is one of the gateways' own names.
    fn is_own(&self, domain: &str) -> bool {
        self.settings.own.iter().any(|own| own.as_str() == domain)
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
    asked: HashMap<Asked, Instant>,
    /// When it was last said which certificates are about to end.
    warned: Option<Instant>,
    asking: JoinSet<(Asked, Duration)>,
    /// The time of the last look, by two clocks: only the second one can be set.
    looked: Option<(Instant, Timestamp)>,
}

/// A certificate that a CA is asked about.
type Asked = (String, KeyKind);

impl Watch {
    pub(crate) fn go_on(&mut self, control: &Control) {
        if let Some(back) = self.set_back() {
            let control = control.clone();
            tokio::spawn(async move { control.follow_clock(back).await });
        }
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
            if let Ok((which, again)) = done {
                self.asked.insert(which, Instant::now() + again.clamp(MINUTE, DAY));
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

    /// By how much the clock was set back since the last look.
    fn set_back(&mut self) -> Option<Duration> {
        let (before, now) = (self.looked, now());
        self.looked = Some((Instant::now(), now));
        let (at, then) = before?;
        Some(then.after(at.elapsed()).since(now)).filter(|back| *back > MINUTE)
    }

    /// Asks the CA when it would have a certificate renewed, of one after the other (RFC 9773).
    fn ask(&mut self, control: &Control) {
        let version = control.inner.book().version();
        if !self.asking.is_empty() || rests(self.asked_all, version) {
            return;
        }
        let next = {
            let book = control.inner.book();
            let is_due = |which: &Asked| self.asked.get(which).is_none_or(|at| *at <= Instant::now());
            let mut issued = issued(&book).map(|(domain, kind, chain)| ((domain.to_owned(), kind), chain));
            issued.find(|(which, _)| is_due(which)).map(|(which, chain)| (which, chain.to_owned()))
        };
        self.asked_all = next.is_none().then(|| (version, now().after(REST)));
        if let Some((which, chain)) = next {
            let control = control.clone();
            self.asking.spawn(async move {
                let again = control.ask_window(&which.0, &chain).await.unwrap_or(ASK_AGAIN);
                (which, again)
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

/// Whether the certificates of a domain are this account's.
fn owns(book: &Book, account: AccountId, domain: &str) -> bool {
    let added = book.certificate(domain).map(|row| row.account);
    let ordered = book.issuance(domain).and_then(|row| row.account);
    added.or(ordered) == Some(account)
}

/// The longest that nothing is looked for where nothing was due.
const REST: Duration = Duration::from_secs(30);

fn rests(idle: Option<(u64, Timestamp)>, version: u64) -> bool {
    // A clock that was set back must not make it a long one.
    idle.is_some_and(|(seen, until)| seen == version && now() < until && until.since(now()) <= REST)
}

/// Every certificate that the CA has issued: its domain, its key, its chain.
fn issued(book: &Book) -> impl Iterator<Item = (&str, KeyKind, &str)> {
    let routes = book.certificates().filter(|row| row.issued).map(|row| (&*row.domain, KeyKind::Ecdsa, &*row.chain));
    let own = book.issuances().filter_map(|row| Some((&*row.domain, KeyKind::Ecdsa, &*row.own.as_ref()?.chain)));
    let rsa = book.issuances().filter_map(|row| Some((&*row.domain, KeyKind::Rsa, &*row.rsa.as_ref()?.chain)));
    routes.chain(own).chain(rsa)
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

    /// Whether a CA that looks for the route's domain comes here, as far as is known.
    pub(super) fn is_here(&self, row: &RouteRow) -> bool {
        self.zone.is_none() || matches!(row.dns, DnsState::Unchecked | DnsState::Seen)
    }

    /// Whether the CA is to issue for this route's domain.
    fn is_for_ca(&self, book: &Book, row: &RouteRow) -> bool {
        let settings = self.issuing.as_ref().map(|issuing| &issuing.settings);
        // A wildcard is proved in DNS alone (RFC 8555 §7.1.3).
        let can = settings.is_some_and(|settings| !row.domain.starts_with("*.") || settings.by_dns);
        // No CA puts an underscore into a certificate (CA/Browser Forum's baseline requirements, 7.1.4.2).
        can && self.is_here(row)
            && !row.domain.contains('_')
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
        // Whose claim has ended by the store's clock is seen when it is taken up.
        book.issuance(domain).is_none_or(|row| self.can_be_claimed(row, now))
    }

    /// Whether an order is due and nobody is at it. `at`: now, by the clock that claims go by.
    fn can_be_claimed(&self, row: &IssuanceRow, at: Timestamp) -> bool {
        row.next <= now() && (row.holder.is_empty() || row.until <= at || self.was_held_here(row))
    }

    /// Whether a run of this gateway before this one was at it: it is no more.
    fn was_held_here(&self, row: &IssuanceRow) -> bool {
        let before = row.holder.rsplit_once('/').is_some_and(|(name, _)| name == self.gateway.name);
        before && row.holder != self.counting.run
    }

    /// Every certificate of which less than a third of its life is left.
    pub(crate) fn ending_soon(&self) -> Vec<Ending> {
        self.ending_soon_of(None)
    }

    /// The same of one account's.
    pub(crate) fn ending_soon_of(&self, account: Option<AccountId>) -> Vec<Ending> {
        let (book, now) = (self.book(), now());
        let is_theirs = |domain: &str| account.is_none_or(|account| owns(&book, account, domain));
        let uploaded = book.certificates().filter(|row| !row.issued).map(|row| (&*row.domain, &*row.chain));
        let issued = issued(&book).map(|(domain, _, chain)| (domain, chain));
        let mut ending = Vec::new();
        for (domain, chain) in issued.chain(uploaded).filter(|(domain, _)| is_theirs(domain)) {
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
        if !issuing.is_own(&domain) {
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
            session.renew(name.as_deref(), action, &old, next).await?;
            session.commit().await
        };
        self.write(operation).await
    }

    /// Orders that failed are not tried again later than they would have been, had the clock never been ahead.
    async fn follow_clock(&self, back: Duration) {
        let waits = |row: &IssuanceRow| row.failures > 0 && row.holder.is_empty() && row.next > now();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let waiting: Vec<IssuanceRow> = inner.book().issuances().filter(|row| waits(row)).cloned().collect();
            for old in waiting {
                let name = old.account.map(|account| inner.account_name(account));
                let row = IssuanceRow { next: old.next.before(back), ..old.clone() };
                session.put_issuance(name.as_deref(), "plan", Some(&old), row).await?;
            }
            session.commit().await
        };
        match self.write(operation).await {
            Ok(()) => {
                tracing::warn!(?back, "the clock was set back; orders that failed are tried again by the new one")
            }
            Err(error) => tracing::warn!(
                error = words(&error),
                "the clock was set back, and orders that failed wait by the old one"
            ),
        }
    }

    /// What time it is at the CA, if it says so. `None`: there is no CA.
    pub(super) async fn ca_clock(&self) -> Option<Result<Option<Timestamp>, Problem>> {
        let issuing = self.inner.issuing.clone()?;
        Some(issuing.ca().clock().await)
    }

    /// Whether there is a CA that certificates are ordered from.
    pub fn orders_certificates(&self) -> bool {
        self.inner.issuing.is_some()
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
