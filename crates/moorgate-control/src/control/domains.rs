//! Domains as their DNS has them: what the resolvers see decides when a route is served, and whose a domain is.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use moorgate_contract::{
    account::AccountId,
    guard::Sight as Judged,
    route::{Domain, Mode, RouteId},
};
use moorgate_dns::{
    DnsRecord,
    check::{Known, findings},
    claim::{Claim, Sight, Standing, challenge_name, judge},
    client::{Asked, Unsaid},
    look::{look, observe, proofs},
};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Control, Inner, Session, hex, now};
use crate::{
    book::{Book, RouteRow},
    error::{ControlError, Invalid, Result, What, chain},
    limits::{CHECKS_AT_ONCE, LOOKS_AT_ONCE, RELEASE, SWEEP, WATCH},
    route_views::{DnsState, RouteCheck, SeenBy},
    secret::random_label,
};

/// Checks that are asked for.
#[derive(Debug)]
pub(crate) struct Checks(Semaphore);

impl Default for Checks {
    fn default() -> Self {
        Self(Semaphore::new(CHECKS_AT_ONCE))
    }
}

/// What becomes of what is known of a domain's DNS, after it was as it is for `since`. `standing`: what was seen just now;
/// `None`: nothing that counts. Without an answer it stays.
fn next(state: DnsState, since: Duration, standing: Option<Standing>) -> Option<DnsState> {
    let (proved, here) = standing.map_or((false, false), |standing| (standing.proved, standing.here));
    match state {
        DnsState::Seen if here => None,
        _ if here => Some(DnsState::Seen),
        DnsState::Pending | DnsState::Released if proved => Some(DnsState::Missing),
        DnsState::Seen if standing.is_some() => Some(DnsState::Missing),
        DnsState::Pending | DnsState::Missing if since >= RELEASE => Some(DnsState::Released),
        _ => None,
    }
}

/// How long after a look a domain is looked at again that is as it is for `since`: often while somebody waits for it.
fn again(since: Duration) -> Duration {
    const MINUTE: u64 = 60;
    Duration::from_secs(match since.as_secs() / MINUTE {
        ..10 => 5,
        10..60 => 30,
        60..1_440 => 5 * MINUTE,
        _ => 60 * MINUTE,
    })
}

/// Looks at domains: at those that are waited for, and now and then at all others.
#[derive(Default)]
pub(crate) struct Watch {
    /// When those that are waited for were looked at last.
    looked: HashMap<RouteId, Instant>,
    open: HashSet<RouteId>,
    looks: JoinSet<RouteId>,
    /// The sweep over all others is behind this domain.
    cursor: String,
}

impl Watch {
    pub(crate) fn go_on(&mut self, control: &Control) {
        while let Some(done) = self.looks.try_join_next() {
            // A look that broke off has its id forgotten with all others, when nothing is open any more.
            match done {
                Ok(id) => drop(self.open.remove(&id)),
                Err(_) if self.looks.is_empty() => self.open.clear(),
                Err(_) => {}
            }
        }
        for row in self.due(control) {
            if self.looks.len() >= LOOKS_AT_ONCE {
                return;
            }
            let (id, control) = (row.id, control.clone());
            self.looked.insert(id, Instant::now());
            self.open.insert(id);
            self.looks.spawn(async move {
                control.look_at(&row).await;
                id
            });
        }
    }

    fn due(&mut self, control: &Control) -> Vec<RouteRow> {
        let (book, now) = (control.inner.book(), now());
        let waiting: HashSet<RouteId> = book.waiting().map(|row| row.id).collect();
        self.looked.retain(|id, _| waiting.contains(id));
        let is_due = |row: &&RouteRow| {
            let looked = self.looked.get(&row.id);
            looked.is_none_or(|at| at.elapsed() >= again(now.since(row.dns_since))) && !self.open.contains(&row.id)
        };
        let mut due: Vec<RouteRow> = book.waiting().filter(is_due).cloned().collect();
        // Whoever has waited for a look the longest comes first.
        due.sort_by_key(|row| self.looked.get(&row.id).copied());
        if control.inner.has_duty() {
            due.extend(self.sweep(&book));
        }
        due
    }

    /// So many of those that nobody waits for that all have had their turn after [`SWEEP`].
    fn sweep(&mut self, book: &Book) -> Vec<RouteRow> {
        let turns = (SWEEP.as_secs() / WATCH.as_secs()).max(1);
        let share = u64::try_from(book.routes().len()).unwrap_or(u64::MAX).div_ceil(turns);
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        let rows: Vec<RouteRow> = book.routes_behind(&self.cursor).take(share).cloned().collect();
        self.cursor = rows.last().map(|row| row.domain.clone()).unwrap_or_default();
        rows.into_iter().filter(|row| matches!(row.dns, DnsState::Seen | DnsState::Unchecked)).collect()
    }
}

impl Control {
    /// What a client of a route's domain would find in DNS, and what to set there. What is seen counts at once.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`Invalid::NoZone`], [`Invalid::Domain`].
    pub async fn check_route(&self, domain: &str) -> Result<RouteCheck> {
        let row = self.inner.route_row(domain)?;
        let zone = self.inner.zone.as_ref().ok_or(Invalid::NoZone)?;
        let claim = self.inner.claim(&row).ok_or_else(|| ControlError::not_found(What::Route, domain))?;
        // It is never closed.
        let _place = self.inner.checks.0.acquire().await;
        let may_ask = |address: SocketAddr| self.inner.may_ask(address);
        let observed = observe(&claim, &zone.resolvers, &may_ask).await;
        if let Err(error) = self.conclude(&row, &claim, &observed.sights).await {
            tracing::debug!(error = chain(&error), "what was seen of a domain is not written for now");
        }
        let row = self.inner.route_row(domain)?;
        let view = self.route(domain).await?;
        // Another label than a moment ago: what was seen of the old one says nothing any more.
        let claim = self.inner.claim(&row).unwrap_or(claim);
        let ca = self.ca_identity().await.filter(|_| row.mode == Mode::Terminate.name());
        let by_dns = self.inner.validates_by_dns(&row);
        let known = Known { ours: self.inner.zone_facts().addresses, ca: ca.as_deref(), by_dns, now: now() };
        let seen = |sight: &Sight| SeenBy { by: sight.by.to_string(), says: says(sight) };
        let servers = observed.zone.iter().flat_map(|zone| &zone.servers);
        let servers = servers.map(|(name, sight)| SeenBy { by: name.clone(), says: says(sight) });
        Ok(RouteCheck {
            domain: row.domain.clone(),
            state: view.state,
            target: claim.target(),
            dns: row.dns,
            dns_since: row.dns_since,
            findings: findings(&claim, &observed, &known),
            seen: observed.sights.iter().map(seen).chain(servers).collect(),
        })
    }

    async fn look_at(&self, row: &RouteRow) {
        let (Some(zone), Some(claim)) = (&self.inner.zone, self.inner.claim(row)) else { return };
        let sights = join_all(zone.resolvers.iter().map(|by| look(Asked::Resolver(*by), &claim))).await;
        if let Err(error) = self.conclude(row, &claim, &sights).await {
            tracing::debug!(
                error = chain(&error),
                domain = row.domain,
                "what was seen of a domain is not written for now"
            );
        }
    }

    /// Has what was seen of a route's domain count: written once, whichever gateways have seen it.
    async fn conclude(&self, seen: &RouteRow, claim: &Claim, sights: &[Sight]) -> Result<()> {
        let standing = judge(sights, claim, &self.inner.zone_facts().addresses);
        let Some(state) = next(seen.dns, now().since(seen.dns_since), standing) else { return Ok(()) };
        let seen = seen.clone();
        let operation = async move |mut session: Session| {
            let row = session.inner.book().route(&seen.domain).cloned();
            // Meanwhile another gateway may have said so, or somebody has removed it.
            let is_as_seen = |row: &RouteRow| (row.id, row.dns, &row.label) == (seen.id, seen.dns, &seen.label);
            if let Some(row) = row.filter(is_as_seen) {
                let account = session.inner.account_name(row.account);
                // A claim that begins anew has its own proof.
                let label = if state == DnsState::Released { random_label()? } else { row.label.clone() };
                let new = RouteRow { dns: state, dns_since: now(), label, ..row.clone() };
                session.set_dns(&account, &row, new).await?;
                say(&row, state);
            }
            session.commit().await
        };
        self.write(operation).await
    }

    /// Which claim on `domain` the account may take over: that of another account which has not proved it. Answers with its
    /// label.
    ///
    /// # Errors
    /// [`Invalid::Held`], with the record that lets the account take it over.
    pub(super) async fn contest(&self, account: AccountId, domain: &Domain) -> Result<Option<String>> {
        let Some(zone) = &self.inner.zone else { return Ok(None) };
        let held = self.inner.book().route(&domain.to_string()).filter(|row| row.account != account).cloned();
        let Some(held) = held else { return Ok(None) };
        match held.dns {
            DnsState::Unchecked | DnsState::Seen => return Ok(None),
            DnsState::Released => return Ok(Some(held.label)),
            DnsState::Pending | DnsState::Missing => {}
        }
        let word = self.inner.word(account, &held);
        let said = join_all(zone.resolvers.iter().map(|by| proofs(Asked::Resolver(*by), domain))).await;
        let said: Vec<bool> = said.into_iter().flatten().map(|said| said.contains(&word)).collect();
        if !said.is_empty() && said.iter().all(|proves| *proves) {
            return Ok(Some(held.label));
        }
        let record = DnsRecord::new(challenge_name(domain), "TXT", word);
        Err(Invalid::Held { domain: domain.to_string(), record: record.to_string() }.into())
    }
}

impl Inner {
    /// What the DNS of a route's domain would say if its account were right. `None`: there is no zone, or no domain that
    /// can be read.
    pub(crate) fn claim(&self, row: &RouteRow) -> Option<Claim> {
        let zone = self.zone.as_ref().filter(|_| !row.label.is_empty())?;
        let domain = row.domain.parse::<Domain>().ok()?;
        let book = self.book();
        let wildcard = match &domain {
            Domain::Exact(name) => name.parent().and_then(|parent| book.route(&format!("*.{parent}"))),
            Domain::Wildcard(_) => None,
        };
        let wildcard = wildcard.filter(|wildcard| wildcard.account == row.account).map(|row| row.label.clone());
        Some(Claim { domain, label: row.label.clone(), wildcard, zone: zone.name.clone() })
    }

    /// What proves that an account has a domain which another holds: its own, and another against each claim.
    fn word(&self, account: AccountId, held: &RouteRow) -> String {
        let hash = self.token_pepper.hash("claim", format!("{}/{}", account.0, held.label).as_bytes());
        hex(hash.0.get(..16).unwrap_or_default())
    }

    /// Whether somebody whom others have named may be asked there: as for traffic.
    fn may_ask(&self, address: SocketAddr) -> bool {
        let snapshot = self.current.load();
        snapshot.site.guard.judge(address, &self.plane.presence()) == Judged::Open
    }
}

fn say(row: &RouteRow, state: DnsState) {
    let (domain, before) = (&row.domain, row.dns.name());
    match state {
        DnsState::Seen => tracing::info!(%domain, before, "a domain's DNS is here, and its route is served"),
        DnsState::Missing => tracing::warn!(
            %domain,
            before,
            "a domain's DNS does not lead here; its route is served all the same until it is released in {} days",
            RELEASE.as_secs() / 86_400
        ),
        _ => tracing::warn!(%domain, before, "a domain's DNS was not here for too long: its route is released"),
    }
}

/// What a server said, in a few words.
fn says(sight: &Sight) -> String {
    match &sight.said {
        Err(Unsaid::Silent) => "no answer".to_owned(),
        Err(Unsaid::Refused(code)) => code.clone(),
        Ok(said) if !said.exists => "no such name".to_owned(),
        Ok(said) => {
            let addresses: Vec<String> = said.addresses.iter().map(ToString::to_string).collect();
            let addresses = (!addresses.is_empty()).then(|| addresses.join(", "));
            let all: Vec<String> = said.aliases.iter().cloned().chain(addresses).collect();
            if all.is_empty() { "nothing".to_owned() } else { all.join(" → ") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_decides_what_is_served() {
        use DnsState::{Missing, Pending, Released, Seen, Unchecked};
        let (young, old) = (Duration::from_secs(60), RELEASE);
        let standing = |proved, here| Some(Standing { proved, here });
        let (here, early, gone) = (standing(true, true), standing(true, false), standing(false, false));
        for (state, since, seen, expected) in [
            (Pending, young, here, Some(Seen)),
            (Pending, young, early, Some(Missing)),
            (Pending, young, gone, None),
            (Pending, young, None, None),
            (Pending, old, gone, Some(Released)),
            (Pending, old, None, Some(Released)),
            (Pending, old, here, Some(Seen)),
            (Seen, old, here, None),
            (Seen, old, None, None),
            (Seen, young, early, Some(Missing)),
            (Seen, young, gone, Some(Missing)),
            (Missing, young, gone, None),
            (Missing, young, here, Some(Seen)),
            (Missing, old, early, Some(Released)),
            (Missing, old, None, Some(Released)),
            (Released, old, gone, None),
            (Released, old, here, Some(Seen)),
            (Unchecked, old, gone, None),
            (Unchecked, old, here, Some(Seen)),
        ] {
            assert_eq!(next(state, since, seen), expected, "{state:?} {since:?} {seen:?}");
        }
    }

    #[test]
    fn a_domain_is_looked_at_often_while_somebody_waits() {
        let minutes = |minutes: u64| again(Duration::from_secs(minutes * 60)).as_secs();
        assert_eq!([0, 9, 10, 59, 60, 1_439, 1_440].map(minutes), [5, 5, 30, 30, 300, 300, 3_600]);
    }
}
