//! Rows into routes.

use std::collections::HashSet;

use moorgate_contract::{
    route::{CnameTarget, Domain, DomainError, Mode, OnHttp, Route, RouteSettings},
    snapshot::Snapshot,
};
use thiserror::Error;

use super::{
    Compiler,
    certificates::UnusableCertificate,
    headers::{UnopenedHeader, open_values},
};
use crate::{
    book::{Book, CertificateRow, RouteRow},
    invalid::Invalid,
    limits::MAX_STORED_SETTINGS,
    route_change,
    route_views::DnsState,
};

/// The port that browsers go to for `https://`.
const HTTPS_PORT: u16 = 443;

/// Why a route can't be served.
#[derive(Debug, Error)]
pub(crate) enum UnservableRoute {
    #[error("its domain can't be read ({0}); remove the route and add it anew")]
    Domain(#[from] DomainError),
    #[error("its domain is not written as domains are stored, and would take another's place; remove the route")]
    Spelling,
    #[error("its mode {0:?} can't be read; remove the route and add it anew")]
    Mode(Box<str>),
    #[error("its settings have {bytes} bytes, more than a route may have; set its origins and all else anew")]
    TooLong { bytes: usize },
    #[error("its settings can't be read ({0}); set its origins and all else anew")]
    Settings(#[from] serde_json::Error),
    #[error("its settings can't be served: {0}")]
    Invalid(#[from] Invalid),
    #[error("the value of its header field {0} {1}; set that anew")]
    Header(String, UnopenedHeader),
    #[error("its certificate can't be used ({0}); add it anew, or remove it")]
    Certificate(#[from] UnusableCertificate),
    #[error("its account is not there; remove the route and add it anew")]
    NoAccount,
    #[error("its account is not served; set the account's policy and egress addresses anew")]
    Account,
}

impl Compiler {
    /// Every route of `book`, in the place of those that `previous` has.
    pub(super) fn all_routes(&self, snapshot: &mut Snapshot, previous: &Snapshot, book: &Book) {
        for route in previous.routes() {
            if book.route(&route.domain.to_string()).is_none() {
                snapshot.remove_route(&route.domain);
            }
        }
        let labels: HashSet<&str> = book.routes().map(|row| &*row.label).collect();
        for label in previous.targets().filter(|label| !labels.contains(&***label)) {
            snapshot.remove_target(label);
        }
        for row in book.routes() {
            if book.account_by_id(row.account).is_none() {
                tracing::error!(domain = %row.domain, problem = %UnservableRoute::NoAccount, "a route can't be served");
            }
            self.put_route(snapshot, row, book.certificate(&row.domain));
        }
    }

    /// `certificate` is the domain's row; what is to be shown of it is in `snapshot` already.
    pub(super) fn put_route(&self, snapshot: &mut Snapshot, row: &RouteRow, certificate: Option<&CertificateRow>) {
        let compiled = self.route(snapshot, row, certificate);
        self.put_target(snapshot, row, compiled.as_ref().ok());
        match compiled {
            // Nobody has proved whose it is. A wildcard of its account may go on serving it.
            Ok(route) if !self.is_proved(row) => snapshot.remove_route(&route.domain),
            // What is as it was keeps what traffic built from it.
            Ok(route) if snapshot.route_of(&route.domain).is_some_and(|old| is_same(old, &route)) => {}
            Ok(route) => snapshot.put_route(route),
            Err(problem) => {
                tracing::error!(domain = %row.domain, %problem, "a route can't be served");
                // What has no domain that can be read was never served.
                if let Ok(domain) = row.domain.parse::<Domain>()
                    && is_stored(&domain, &row.domain)
                {
                    snapshot.take_out_route(&domain);
                }
            }
        }
    }

    /// Whether the domain of `row` is served as far as its DNS goes.
    pub(crate) fn is_proved(&self, row: &RouteRow) -> bool {
        !self.has_zone || row.dns.serves()
    }

    /// The target is there before the route is served: what points at it is what makes the route be served.
    fn put_target(&self, snapshot: &mut Snapshot, row: &RouteRow, route: Option<&Route>) {
        if !self.has_zone || row.label.is_empty() || row.dns == DnsState::Released {
            return snapshot.remove_target(&row.label);
        }
        // Of an origin's own TLS nothing is known; and a browser that is told so goes to 443 and nowhere else.
        let https = snapshot.site.inbound_tls_port == Some(HTTPS_PORT)
            && route.is_some_and(|route| {
                route.mode == Mode::Terminate && route.settings.actions.on_http == OnHttp::Redirect
            });
        // What a CA looks for is the order's, not the route's.
        let challenge = snapshot.target(&row.label).and_then(|target| target.challenge);
        snapshot.put_target(&row.label, CnameTarget { https, challenge });
    }

    /// Shows a CA below the target of a route what it looks for.
    pub(super) fn set_target_challenge(&self, snapshot: &mut Snapshot, row: &RouteRow, challenge: Option<&str>) {
        if let Some(target) = snapshot.target(&row.label) {
            snapshot.put_target(&row.label, CnameTarget { challenge: challenge.map(Into::into), ..target });
        }
    }

    /// Why `snapshot` does not serve the route of `row`; `None`: it does.
    pub(crate) fn route_problem(&self, snapshot: &Snapshot, row: &RouteRow, book: &Book) -> Option<UnservableRoute> {
        let served = row.domain.parse().ok().and_then(|domain: Domain| snapshot.route_of(&domain));
        // Listings ask this of each route: what is served was found to be right.
        if served.is_some_and(|route| route.id == row.id && snapshot.account_of(route).is_some()) {
            return None;
        }
        match self.route(snapshot, row, book.certificate(&row.domain)) {
            Err(problem) => Some(problem),
            Ok(_) if book.account_by_id(row.account).is_none() => Some(UnservableRoute::NoAccount),
            Ok(route) => snapshot.account_of(&route).is_none().then_some(UnservableRoute::Account),
        }
    }

    fn route(
        &self,
        snapshot: &Snapshot,
        row: &RouteRow,
        certificate: Option<&CertificateRow>,
    ) -> Result<Route, UnservableRoute> {
        let route = self.read(row)?;
        // Another certificate in its place would not be what its clients were promised.
        if let Some(certificate) = certificate
            && route.mode == Mode::Terminate
            && snapshot.certificate(&route.domain).is_none()
        {
            self.certificate(certificate)?;
        }
        Ok(route)
    }

    fn read(&self, row: &RouteRow) -> Result<Route, UnservableRoute> {
        let mode = mode(&row.mode).ok_or_else(|| UnservableRoute::Mode(row.mode.as_str().into()))?;
        let domain: Domain = row.domain.parse()?;
        if !is_stored(&domain, &row.domain) {
            return Err(UnservableRoute::Spelling);
        }
        if row.settings.len() > MAX_STORED_SETTINGS {
            return Err(UnservableRoute::TooLong { bytes: row.settings.len() });
        }
        let mut settings = settings(row)?;
        open_values(self.store_key.key(), &mut settings)
            .map_err(|(name, problem)| UnservableRoute::Header(name, problem))?;
        // What was written by nothing of ours is held to the same.
        route_change::verify(&settings, mode)?;
        Ok(Route::new(row.id, row.account, domain, mode, settings))
    }
}

fn is_same(old: &Route, new: &Route) -> bool {
    (old.id, old.account, old.mode, &old.settings) == (new.id, new.account, new.mode, &new.settings)
}

/// Whether a row's text is how its domain is stored. Another spelling of it is another row, whose own is served.
pub(super) fn is_stored(domain: &Domain, text: &str) -> bool {
    domain.to_string() == text
}

/// Whether a route is to have a certificate with an RSA key too. One that can't be read wants nothing.
pub(crate) fn wants_rsa(row: &RouteRow) -> bool {
    settings(row).is_ok_and(|settings| settings.rsa)
}

/// The settings of a row.
pub(crate) fn settings(row: &RouteRow) -> Result<RouteSettings, serde_json::Error> {
    serde_json::from_str(&row.settings)
}

/// The mode of this name.
pub(crate) fn mode(name: &str) -> Option<Mode> {
    [Mode::Terminate, Mode::Passthrough].into_iter().find(|mode| mode.name() == name)
}

pub(super) fn remove_route(snapshot: &mut Snapshot, row: &RouteRow) {
    snapshot.remove_target(&row.label);
    // What can't be read was never served.
    if let Ok(read) = row.domain.parse::<Domain>()
        && is_stored(&read, &row.domain)
    {
        snapshot.remove_route(&read);
    }
}
