//! What is wrong with this gateway, in words: everything that can be looked at without traffic.

use std::time::Duration;

use futures_util::future::join_all;
use moorgate_contract::time::Timestamp;
use moorgate_dns::{
    check::Level,
    client::{Asked, Unsaid},
    look::{leads, top},
};
use serde::{Deserialize, Serialize};

use super::{Control, now};
use crate::{
    book::CredentialRow,
    compile,
    route_views::{DnsState, RouteState, RouteView},
    views::{GatewayHealth, PortsView},
};

/// Clocks that differ by more are wrong.
const SKEW: Duration = Duration::from_secs(5);
/// A CA's clock is read over the network, in whole seconds.
const CA_SKEW: Duration = Duration::from_secs(60);
/// Things of one kind that are named one by one.
const NAMED: usize = 10;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Which.
    pub check: String,
    /// How much it matters.
    pub level: Level,
    /// What was found, in one sentence.
    pub said: String,
}

struct Chart(Vec<Diagnosis>);

impl Chart {
    fn note(&mut self, check: &str, level: Level, said: impl Into<String>) {
        self.0.push(Diagnosis { check: check.to_owned(), level, said: said.into() });
    }

    /// Notes what holds of some of `all`, if of any.
    fn name(&mut self, check: &str, level: Level, mut names: Vec<&str>, all: usize, what: &str) {
        let count = names.len();
        if count == 0 {
            return;
        }
        names.truncate(NAMED);
        let more = if count > NAMED { ", …" } else { "" };
        self.note(check, level, format!("{count} of {all} {what}: {}{more}", names.join(", ")));
    }
}

/// What certificates there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertificateCounts {
    /// Added by somebody.
    pub added: usize,
    /// Issued by the CA.
    pub issued: usize,
    /// Ordered, with none yet.
    pub ordered: usize,
    /// Whose last order failed.
    pub failing: usize,
    /// When the next one ends; `None`: there is none.
    pub next_end: Option<Timestamp>,
}

impl Control {
    /// What certificates there are. Fast.
    pub fn certificate_counts(&self) -> CertificateCounts {
        let (book, snapshot) = (self.inner.book(), self.snapshot());
        let added = book.certificates().filter(|row| !row.issued).count();
        let own = book.issuances().filter(|row| row.own.is_some()).count();
        let is_ordered = |domain: &str| book.certificate(domain).is_none();
        CertificateCounts {
            added,
            issued: book.certificates().len() - added + own,
            ordered: book.issuances().filter(|row| row.own.is_none() && is_ordered(&row.domain)).count(),
            failing: book.issuances().filter(|row| row.failures > 0).count(),
            next_end: snapshot.certificates().map(|certificate| certificate.not_after).min(),
        }
    }

    /// Looks at everything. Takes as long as resolvers and the CA take to answer.
    pub async fn doctor(&self) -> Vec<Diagnosis> {
        let mut chart = Chart(Vec::new());
        self.look_at_store(&mut chart).await;
        self.look_at_gateways(&mut chart).await;
        self.look_at_egress(&mut chart);
        self.look_at_dns(&mut chart).await;
        self.look_at_accounts(&mut chart);
        self.look_at_routes(&mut chart).await;
        self.look_at_certificates(&mut chart);
        self.look_at_ca(&mut chart).await;
        chart.0
    }

    async fn look_at_store(&self, chart: &mut Chart) {
        let status = self.status();
        match &status.store_problem {
            None => chart.note("store", Level::Ok, "the store can be used"),
            Some(problem) => {
                chart.note(
                    "store",
                    Level::Problem,
                    format!("the store can't be used, and the last rules are served: {problem}"),
                );
            }
        }
        if status.flows_lost > 0 {
            let lost = status.flows_lost;
            chart.note("store", Level::Note, format!("{lost} flows could not be kept since the start"));
        }
        let theirs = self
            .aside(async |mut store| {
                let at = store.now().await?;
                Ok((store, at))
            })
            .await;
        if let Ok(theirs) = theirs {
            clock(chart, "the store's", theirs, SKEW);
        }
    }

    async fn look_at_gateways(&self, chart: &mut Chart) {
        let all = self.list_gateways().await;
        for gateway in &all {
            match gateway.health {
                GatewayHealth::Lost => {
                    let said = format!("gateway {} gives no sign of life", gateway.name);
                    chart.note("gateways", Level::Problem, said);
                }
                GatewayHealth::Unknown | GatewayHealth::Up | GatewayHealth::Stopped => {}
            }
            if gateway.has_twin {
                let said = format!("another gateway is called {} too; give each its own [cluster] name", gateway.name);
                chart.note("gateways", Level::Problem, said);
            }
        }
        let up = all.iter().filter(|gateway| gateway.health == GatewayHealth::Up).count();
        chart.note("gateways", Level::Ok, if up == 1 { "one is up".to_owned() } else { format!("{up} are up") });
    }

    fn look_at_egress(&self, chart: &mut Chart) {
        let all = self.egress();
        if all.is_empty() {
            let said = "no [egress] addresses are set: connections leave from whatever the kernel picks";
            return chart.note("egress", Level::Note, said);
        }
        for egress in all {
            let address = egress.address;
            let scarce = egress.ports.filter(PortsView::is_scarce);
            match (egress.present, scarce) {
                (false, _) => {
                    let said = format!("{address} is not an address of this machine: nothing leaves from it");
                    chart.note("egress", Level::Problem, said);
                }
                (true, Some(ports)) => {
                    let said = format!("{address} has {} source ports left toward {}", ports.free(), ports.destination);
                    chart.note("egress", Level::Problem, said);
                }
                (true, None) => chart.note("egress", Level::Ok, format!("{address} can be left from")),
            }
        }
    }

    async fn look_at_dns(&self, chart: &mut Chart) {
        let Some(zone) = &self.inner.zone else {
            let said = "no [dns] zone is set: routes are served as soon as they are added, whoever's their domains are";
            return chart.note("dns", Level::Note, said);
        };
        let facts = self.inner.zone_facts();
        if facts.addresses.is_empty() {
            let said =
                "no public address of this gateway is known; list those that clients reach it by in [dns] addresses";
            chart.note("dns", Level::Problem, said);
        }
        let ask = async |by: &std::net::SocketAddr| {
            let by = Asked::Resolver(*by);
            let found = if facts.servers.is_empty() { leads(by, &zone.name).await } else { top(by, &zone.name).await };
            (by, found)
        };
        for (by, found) in join_all(zone.resolvers.iter().map(ask)).await {
            let name = &zone.name;
            match found {
                Ok(found) if found.iter().any(|it| facts.is(it)) => {
                    chart.note("dns", Level::Ok, format!("{by} finds the zone {name} here"));
                }
                Ok(_) => {
                    let said =
                        format!("{by} does not find the zone {name} here: make the records of `moorgate dns records`");
                    chart.note("dns", Level::Problem, said);
                }
                Err(Unsaid::Silent) => chart.note("dns", Level::Problem, format!("the resolver {by} does not answer")),
                Err(Unsaid::Refused(code)) => {
                    let said = format!("{by} has no answer about the zone {name} ({code}): look at its delegation");
                    chart.note("dns", Level::Problem, said);
                }
            }
        }
    }

    /// Those of which what is stored can't be used.
    fn look_at_accounts(&self, chart: &mut Chart) {
        let (book, snapshot) = (self.inner.book(), self.snapshot());
        let unserved = book.accounts().filter(|row| snapshot.account(&row.name).is_none());
        let said = "can't be served, the gateway's log says why";
        chart.name("accounts", Level::Problem, unserved.map(|row| &*row.name).collect(), book.accounts().len(), said);
        let is_refused = |row: &&CredentialRow| {
            compile::credential_problem(row).is_some() || book.account_by_id(row.account).is_none()
        };
        let refused = book.credentials().filter(is_refused).map(|row| &*row.username).collect();
        let said = "can't be served (moorgate credential list ACCOUNT)";
        chart.name("credentials", Level::Problem, refused, book.credentials().count(), said);
    }

    async fn look_at_routes(&self, chart: &mut Chart) {
        let all = self.list_routes(None).await;
        let missing = |it: &RouteView| it.dns == Some(DnsState::Missing);
        type Is<'a> = &'a dyn Fn(&RouteView) -> bool;
        let states: [(Level, Is<'_>, &str); 4] = [
            (Level::Problem, &|it| it.state == RouteState::Failed, "can't be served (moorgate route list)"),
            (Level::Note, &|it| it.state == RouteState::Pending, "wait for their DNS (moorgate route check DOMAIN)"),
            (Level::Problem, &missing, "are served though their DNS is not here (moorgate route check DOMAIN)"),
            (Level::Note, &|it| it.state == RouteState::Released, "are released: their DNS was not here for a week"),
        ];
        for (level, is, what) in states {
            let names = all.iter().filter(|route| is(route)).map(|route| &*route.domain).collect();
            chart.name("routes", level, names, all.len(), what);
        }
        let active = all.iter().filter(|route| route.state == RouteState::Active).count();
        chart.note("routes", Level::Ok, format!("{active} of {} are active", all.len()));
    }

    fn look_at_certificates(&self, chart: &mut Chart) {
        let ending = self.inner.ending_soon();
        for one in ending.iter().take(NAMED) {
            let days = one.left.as_secs() / 86_400;
            let said = format!("that of {} ends in {days} days: {}", one.domain, one.why);
            chart.note("certificates", Level::Problem, said);
        }
        let book = self.inner.book();
        let mut failing = book.issuances().filter(|row| row.failures > 0).peekable();
        for row in failing.by_ref().take(NAMED) {
            chart.note(
                "certificates",
                Level::Problem,
                format!("that of {} could not be had: {}", row.domain, row.error),
            );
        }
        let more = failing.count() + ending.len().saturating_sub(NAMED);
        if more > 0 {
            chart.note("certificates", Level::Problem, format!("{more} more have trouble (moorgate cert list)"));
        }
        drop(book);
        let counts = self.certificate_counts();
        let said = format!("{} issued, {} added, {} on their way", counts.issued, counts.added, counts.ordered);
        chart.note("certificates", Level::Ok, said);
    }

    async fn look_at_ca(&self, chart: &mut Chart) {
        match self.ca_clock().await {
            None => {
                chart.note("ca", Level::Note, "no [acme] directory is set: certificates are the local CA's or added")
            }
            Some(Err(problem)) => chart.note("ca", Level::Problem, problem.to_string()),
            Some(Ok(theirs)) => {
                chart.note("ca", Level::Ok, "the CA answers");
                if let Some(theirs) = theirs {
                    clock(chart, "the CA's", theirs, CA_SKEW);
                }
            }
        }
    }
}

fn clock(chart: &mut Chart, whose: &str, theirs: Timestamp, most: Duration) {
    let ours = now();
    let apart = ours.since(theirs).max(theirs.since(ours));
    if apart > most {
        let which = if ours > theirs { "ahead of" } else { "behind" };
        let said = format!("this machine's clock is {} s {which} {whose}; set it right", apart.as_secs());
        chart.note("clock", Level::Problem, said);
    } else {
        chart.note("clock", Level::Ok, format!("this machine's clock agrees with {whose}"));
    }
}
