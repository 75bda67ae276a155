//! What of an account somebody should look at: found without reading what is well.

use moorgate_contract::route::Domain;

use super::Control;
use crate::route_views::{DnsState, RouteState};

/// What is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwell {
    /// Domains of routes, with how they are and what is known of their DNS.
    pub routes: Vec<(String, RouteState, DnsState)>,
    /// Domains whose certificates could not be had.
    pub certificates: Vec<String>,
}

impl Control {
    /// At most so many of each. Nothing where there is no such account.
    pub fn unwell(&self, account: &str, most: usize) -> Unwell {
        let (book, snapshot) = (self.inner.book(), self.snapshot());
        let Some(id) = book.account(account).map(|row| row.id) else { return Unwell::default() };
        let served = |domain: &str| domain.parse::<Domain>().is_ok_and(|domain| snapshot.route_of(&domain).is_some());
        let routes = book.routes_of(id).filter_map(|row| {
            let state = match (self.inner.compiler.is_proved(row), row.dns) {
                (false, DnsState::Released) => RouteState::Released,
                (false, _) => RouteState::Pending,
                (true, _) if !served(&row.domain) => RouteState::Failed,
                (true, DnsState::Missing) if self.inner.zone.is_some() => RouteState::Active,
                (true, _) => return None,
            };
            Some((row.domain.clone(), state, row.dns))
        });
        let failing = book.issuances().filter(|row| row.account == Some(id) && row.failures > 0);
        Unwell {
            routes: routes.take(most).collect(),
            certificates: failing.map(|row| row.domain.clone()).take(most).collect(),
        }
    }
}
