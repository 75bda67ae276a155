//! Routes.

use std::net::{IpAddr, SocketAddr};

use moorgate_contract::{
    account::AccountId,
    balance::Pool,
    guard::Sight,
    route::{Actions, Domain, HeaderEdits, Mode, OriginSpec, RouteId, RouteSettings},
    snapshot::Snapshot,
};
use moorgate_keys::Facts;
use moorgate_wire::host::Host;

use super::{Control, Inner, Session, now};
use crate::{
    book::{Book, RouteRow},
    compile,
    error::{ControlError, Invalid, Result, What},
    limits::{MAX_ROUTES, MAX_SETTINGS_BYTES},
    names::check_domain,
    route_change,
    route_views::{
        ActionsView, DnsState, HeaderNames, OriginView, PathView, RouteChange, RouteState, RouteView, ShownCertificate,
    },
    secret::random_label,
};

impl Control {
    /// Makes a route for `domain`, which nobody else may have one for. `account` may be left out where there is one.
    ///
    /// # Errors
    /// [`ControlError::Invalid`], [`ControlError::NotFound`], [`ControlError::Exists`], [`ControlError::StoreDown`].
    pub async fn add_route(
        &self,
        account: Option<&str>,
        domain: &str,
        mode: Mode,
        change: RouteChange,
    ) -> Result<RouteView> {
        let domain: Domain = domain.parse().map_err(Invalid::from)?;
        let settings = self.inner.changed(RouteSettings::default(), change, mode)?;
        check_domain(&domain, self.inner.zone.as_ref().map(|zone| &zone.name))?;
        let over = self.contest(self.inner.owner(account)?, &domain).await?;
        let account = account.map(str::to_owned);
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let (account, domain) = (inner.owner(account.as_deref())?, domain.to_string());
            let held = inner.book().route(&domain).filter(|row| Some(&row.label) == over.as_ref()).cloned();
            if let Some(held) = &held {
                let holder = inner.account_name(held.account);
                session.remove_route(&holder, held, "hand over").await?;
                // A proof beats what was added without one.
                let added = inner.book().certificate(&domain).filter(|added| !added.issued).cloned();
                if let Some(added) = added.filter(|added| added.account == held.account) {
                    session.remove_certificate(&holder, &added).await?;
                }
            }
            inner.refuse_new_route(account, &domain, held.is_some())?;
            let row = inner.new_route(account, &domain, mode, settings)?;
            session.add_route(&inner.account_name(account), row).await?;
            session.commit().await?;
            inner.route_view(&domain)
        };
        self.write(operation).await
    }

    /// The routes of one account, or all there are, by domain.
    pub async fn list_routes(&self, account: Option<&str>) -> Vec<RouteView> {
        let (book, snapshot) = (self.inner.book(), self.snapshot());
        let view = |row| self.inner.view_route(&book, &snapshot, row);
        match account {
            None => book.routes().map(view).collect(),
            Some(name) => {
                let id = book.account(name).map(|account| account.id);
                id.into_iter().flat_map(|id| book.routes_of(id)).map(view).collect()
            }
        }
    }

    /// At most `limit` routes of one account, or of all there are, by domain, from the one behind `after` on.
    pub async fn routes_after(&self, account: Option<&str>, after: &str, limit: usize) -> Vec<RouteView> {
        let (book, snapshot) = (self.inner.book(), self.snapshot());
        let is_next = |row: &&RouteRow| *row.domain > *after;
        let view = |row| self.inner.view_route(&book, &snapshot, row);
        match account {
            None => book.routes().filter(is_next).take(limit).map(view).collect(),
            Some(name) => {
                let id = book.account(name).map(|account| account.id);
                id.into_iter().flat_map(|id| book.routes_of(id)).filter(is_next).take(limit).map(view).collect()
            }
        }
    }

    /// One route.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn route(&self, domain: &str) -> Result<RouteView> {
        self.inner.route_view(domain)
    }

    /// Changes a route. What comes from now on is served by it; what is open is not touched.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::Invalid`], [`ControlError::StoreDown`].
    pub async fn set_route(&self, domain: &str, change: RouteChange) -> Result<RouteView> {
        let domain = domain.to_owned();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let row = inner.route_row(&domain)?;
            // What can't be read is not served either: it is set anew from the beginning.
            let old = compile::settings(&row).unwrap_or_default();
            let mode = compile::mode(&row.mode).unwrap_or(Mode::Terminate);
            let settings = inner.changed(old, change, mode)?;
            let account = inner.account_name(row.account);
            session.set_route(&account, &row, RouteRow { settings, ..row.clone() }).await?;
            session.commit().await?;
            inner.route_view(&domain)
        };
        self.write(operation).await
    }

    /// Removes a route: its domain is refused from now on, and what came by it is cut. A certificate of the domain stays.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn remove_route(&self, domain: &str) -> Result<()> {
        let domain = domain.to_owned();
        let operation = async move |mut session: Session| {
            let row = session.inner.route_row(&domain)?;
            let account = session.inner.account_name(row.account);
            session.remove_route(&account, &row, "remove").await?;
            session.commit().await
        };
        self.write(operation).await
    }
}

/// A domain as it stands in rows; a text that is none stays as it is, so that a row that can't be read is found.
pub(crate) fn stored_domain(domain: &str) -> String {
    domain.parse::<Domain>().map_or_else(|_| domain.to_owned(), |domain| domain.to_string())
}

/// Why nothing is found under `domain`: it is none, or there is nothing.
pub(crate) fn missing(what: What, domain: &str) -> ControlError {
    match domain.parse::<Domain>() {
        Ok(_) => ControlError::not_found(what, domain),
        Err(error) => Invalid::from(error).into(),
    }
}

impl Inner {
    /// Whose something new is to be.
    pub(crate) fn owner(&self, account: Option<&str>) -> Result<AccountId> {
        if let Some(name) = account {
            return self.account_id(name);
        }
        let book = self.book();
        let mut accounts = book.accounts();
        let count = accounts.len();
        match accounts.next() {
            Some(only) if count == 1 => Ok(only.id),
            _ => Err(Invalid::NameAnAccount { count }.into()),
        }
    }

    /// `taken_over`: from another account, which has not proved that it has the domain.
    fn refuse_new_route(&self, account: AccountId, domain: &str, taken_over: bool) -> Result<()> {
        let book = self.book();
        if book.route(domain).is_some() && !taken_over {
            return Err(ControlError::Exists { what: What::Route, name: domain.to_owned() });
        }
        // An exact name beats a wildcard, so it would take over what is somebody else's.
        let wildcard = domain.split_once('.').and_then(|(_, parent)| book.route(&format!("*.{parent}")));
        // One that nobody has proved stands for nothing.
        let proved = wildcard.filter(|wildcard| self.compiler.is_proved(wildcard));
        if let Some(wildcard) = proved.filter(|wildcard| wildcard.account != account) {
            let (domain, wildcard) = (domain.to_owned(), wildcard.domain.clone());
            return Err(Invalid::UnderWildcard { domain, wildcard }.into());
        }
        // Whoever's route it were would show a certificate that was not given to them.
        if !taken_over && book.certificate(domain).is_some_and(|certificate| certificate.account != account) {
            return Err(Invalid::CertificateOfAnother { domain: domain.to_owned() }.into());
        }
        if book.routes().len() >= MAX_ROUTES {
            return Err(Invalid::TooMany { what: What::Route, limit: MAX_ROUTES }.into());
        }
        Ok(())
    }

    /// A route as it begins. Its account may not be known yet.
    pub(crate) fn new_route(&self, account: AccountId, domain: &str, mode: Mode, settings: String) -> Result<RouteRow> {
        let created = now();
        Ok(RouteRow {
            id: RouteId(0),
            account,
            domain: domain.to_owned(),
            mode: mode.name().to_owned(),
            settings,
            created,
            label: random_label()?,
            dns: if self.zone.is_some() { DnsState::Pending } else { DnsState::Unchecked },
            dns_since: created,
        })
    }

    /// The name that a route's domain is to point at.
    pub(crate) fn target_of(&self, row: &RouteRow) -> Option<String> {
        let zone = self.zone.as_ref().filter(|_| !row.label.is_empty())?;
        Some(format!("{}.{}", row.label, zone.name))
    }

    pub(crate) fn route_row(&self, domain: &str) -> Result<RouteRow> {
        self.book().route(&stored_domain(domain)).cloned().ok_or_else(|| missing(What::Route, domain))
    }

    /// `old`, as it is stored, with `change`, checked and as it is to be stored.
    pub(crate) fn changed(&self, mut old: RouteSettings, change: RouteChange, mode: Mode) -> Result<String, Invalid> {
        let key = self.store_key.key();
        let stored = old.actions.request_headers.set.clone();
        if let Err((name, _)) = compile::open_values(key, &mut old) {
            // Left out by an edit of something else, it would be missed by nobody but the origin.
            if change.request_headers.as_ref().is_none_or(|edit| edit.set.is_none()) {
                return Err(Invalid::HeaderUnopened { name });
            }
            old.actions.request_headers.set.clear();
        }
        let before = old.actions.request_headers.set.clone();
        let mut settings = route_change::apply(old, change, mode, self.compiler.pepper())?;
        let pools = settings.paths.iter().map(|path| &path.origins).chain([&settings.origins]);
        pools.flatten().try_for_each(|origin| self.refuse_gateways_own(origin))?;
        // Texts, numbers and lists: nothing in them can fail to be JSON. What could not be read again would take out
        // this one route.
        let text = serde_json::to_string(&settings).unwrap_or_default();
        if text.len() > MAX_SETTINGS_BYTES {
            return Err(Invalid::SettingsTooLong { bytes: text.len() });
        }
        if settings.actions.request_headers.set.is_empty() {
            return Ok(text);
        }
        compile::seal_values(key, &mut settings, &before, &stored).map_err(|_| Invalid::Unsealable)?;
        Ok(serde_json::to_string(&settings).unwrap_or_default())
    }

    fn refuse_gateways_own(&self, origin: &OriginSpec) -> Result<(), Invalid> {
        let ip: IpAddr = match &origin.url.target.host {
            // Judged when it is resolved.
            Host::Name(_) => return Ok(()),
            Host::V4(address) => (*address).into(),
            Host::V6(address) => (*address).into(),
        };
        let address = SocketAddr::new(ip, origin.url.target.port);
        match self.current.load().site.guard.judge(address, &self.plane.presence()) {
            Sight::OwnListener => Err(Invalid::OwnListener { url: origin.url.clone() }),
            Sight::Kept(class) => Err(Invalid::Kept { url: origin.url.clone(), class }),
            Sight::Open | Sight::Special(_) => Ok(()),
        }
    }

    fn route_view(&self, domain: &str) -> Result<RouteView> {
        let book = self.book();
        let row = book.route(&stored_domain(domain)).ok_or_else(|| missing(What::Route, domain))?;
        Ok(self.view_route(&book, &self.current.load(), row))
    }

    fn view_route(&self, book: &Book, snapshot: &Snapshot, row: &RouteRow) -> RouteView {
        let domain = row.domain.parse::<Domain>().ok();
        let served = domain.and_then(|domain| snapshot.route_of(&domain)).filter(|route| route.id == row.id);
        let problem = self.compiler.route_problem(snapshot, row, book).map(|problem| problem.to_string());
        let read;
        let (settings, pool, path_pools) = match served {
            Some(route) => (&*route.settings, route.pool.clone(), route.path_pools.clone()),
            None => {
                read = compile::settings(row).unwrap_or_default();
                let paths = read.paths.iter().map(|path| Pool::new(&path.origins)).collect();
                (&read, Pool::new(&read.origins), paths)
            }
        };
        let mode = compile::mode(&row.mode).unwrap_or(Mode::Terminate);
        let paths = settings.paths.iter().zip(&path_pools);
        RouteView {
            domain: row.domain.clone(),
            account: book.account_by_id(row.account).map(|account| account.name.clone()).unwrap_or_default(),
            mode,
            state: match (&problem, row.dns) {
                (Some(_), _) => RouteState::Failed,
                (None, _) if self.compiler.is_proved(row) => RouteState::Active,
                (None, DnsState::Released) => RouteState::Released,
                (None, _) => RouteState::Pending,
            },
            problem,
            cname: self.target_of(row),
            dns: self.zone.as_ref().map(|_| row.dns),
            dns_since: self.zone.as_ref().map(|_| row.dns_since),
            created: row.created,
            origins: self.view_pool(&pool),
            paths: paths
                .map(|(path, pool)| PathView { prefix: path.prefix.clone(), origins: self.view_pool(pool) })
                .collect(),
            proxy_protocol: settings.proxy_protocol,
            origin_ca: settings.origin_ca.as_ref().map(|pem| {
                moorgate_keys::chain::certificates(pem.as_bytes()).map_or(0, |certificates| certificates.len())
            }),
            origin_host: settings.origin_host,
            acme_origin: settings.acme_origin.clone(),
            rsa: settings.rsa,
            check: settings.check.clone(),
            actions: view_actions(&settings.actions),
            certificate: (mode == Mode::Terminate).then(|| shown_certificate(book, &row.domain)),
        }
    }

    fn view_pool(&self, pool: &Pool) -> Vec<OriginView> {
        let now = self.plane.clock();
        let view = |origin: &moorgate_contract::route::Origin| OriginView {
            url: origin.url.to_string(),
            weight: origin.weight,
            standing: origin.health.standing(now).into(),
            open: origin.health.open(),
        };
        pool.origins().iter().map(view).collect()
    }
}

pub(crate) fn shown_certificate(book: &Book, domain: &str) -> ShownCertificate {
    let Some(row) = book.certificate(domain) else {
        return ShownCertificate { issuer: "local CA".to_owned(), not_after: None };
    };
    match Facts::of_pem(row.chain.as_bytes()) {
        Ok(facts) => ShownCertificate { issuer: facts.issuer, not_after: Some(facts.not_after.into()) },
        Err(_) => ShownCertificate { issuer: "unreadable".to_owned(), not_after: None },
    }
}

fn view_actions(actions: &Actions) -> ActionsView {
    let names = |edits: &HeaderEdits| HeaderNames {
        remove: edits.remove.clone(),
        set: edits.set.iter().map(|field| field.name.clone()).collect(),
    };
    ActionsView {
        clients: actions.clients.clone(),
        on_http: actions.on_http,
        maintenance: actions.maintenance.clone(),
        redirects: actions.redirects.clone(),
        basic_auth: actions.basic_auth.iter().map(|user| user.username.clone()).collect(),
        max_body: actions.max_body,
        request_headers: names(&actions.request_headers),
        response_headers: actions.response_headers.clone(),
    }
}
