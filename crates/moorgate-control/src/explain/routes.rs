//! What a client of a domain would meet: the same decisions as traffic's, on the snapshot that is served.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use moorgate_contract::{
    admit::admit,
    decide::{Destination, Step, Witness as _},
    failure::Failure,
    flow::Flow,
    inbound::{self, Routed},
    listener::Listener,
    route::{Domain, DomainError, HeaderEdits, Mode, Origin, PathRedirect, Route},
    snapshot::Snapshot,
};
use moorgate_wire::{host::Asked, name::DomainName};

use super::{leave, list, refusal_view, steps_view};
use crate::{
    Control,
    control::{now, routes::shown_certificate},
    error::{Invalid, Result, short},
    route_views::{OriginExplanation, RouteExplanation},
};

/// How long the origins of one explanation are looked at.
const EXPLAIN_TIME: Duration = Duration::from_secs(8);
/// Seconds.
const DAY: u64 = 86_400;
/// Stands before the suffix of a wildcard that is asked for as it is.
const SAMPLE_LABEL: &str = "any-name";

impl Control {
    /// What an inbound flow would meet now, as [`explain_route`](Self::explain_route) has it. `None`: it named no domain.
    pub async fn explain_inbound_flow(&self, flow: &Flow) -> Option<RouteExplanation> {
        let asked = Asked::from_authority(flow.target.as_deref()?, Some(443)).ok()?;
        let domain = asked.host.as_ref().ok()?.to_string();
        self.explain_route(&domain, Some(flow.client.ip()), flow.listener).await.ok()
    }

    /// Decides as for a client (`None`: one that is let in) that comes for `domain` to `listener`, and as for a connection
    /// to each origin, without connecting. Names of origins are resolved as traffic does. `*.` and a name stands for one of its
    /// names.
    ///
    /// # Errors
    /// [`Invalid::Domain`]. A refusal is no error: it is part of the answer.
    pub async fn explain_route(
        &self,
        domain: &str,
        client: Option<IpAddr>,
        listener: Listener,
    ) -> Result<RouteExplanation> {
        let name = name_of(domain)?;
        let snapshot = self.snapshot();
        let mut steps = Vec::new();
        steps.saw("domain", format_args!("{name} is canonical"));
        self.inner.note_unserved(&snapshot, &name, &mut steps);
        let decided = decide(&snapshot, &name, client, listener, &mut steps)
            .inspect_err(|failure| steps.saw("refused", format_args!("{failure}")));
        let mut explanation = RouteExplanation {
            domain: domain.to_owned(),
            route: None,
            account: None,
            mode: None,
            steps: Vec::new(),
            origins: Vec::new(),
            answer: None,
            refusal: None,
        };
        if let Some((route, account)) = snapshot.route(&name) {
            explanation.route = Some(route.domain.to_string());
            explanation.account = Some(account.name.to_string());
            explanation.mode = Some(route.mode);
        }
        if let Ok(routed) = &decided
            && let Some(pool) = &routed.route.acme_pool
        {
            let origins: Vec<String> = pool.origins().iter().map(|origin| origin.url.to_string()).collect();
            let said = format_args!("on port 80 a CA's validation goes to {}", origins.join(" or "));
            steps.saw("challenge", said);
        }
        match decided {
            Ok(routed) if routed.route.sends_to_https(listener != Listener::InboundHttp) => {
                explanation.answer = Some("308 to https".to_owned());
            }
            Ok(routed) => {
                if routed.route.mode == Mode::Terminate {
                    self.inner.note_certificate(&routed.route.domain, &mut steps);
                }
                match self.look_for_room(&routed.account, &mut steps) {
                    Ok(()) => explanation.origins = self.explain_origins(&snapshot, &routed, &mut steps).await,
                    Err(failure) => explanation.refusal = Some(refusal_view(failure)),
                }
            }
            Err(failure) => explanation.refusal = Some(refusal_view(failure)),
        }
        explanation.steps = steps_view(steps);
        Ok(explanation)
    }

    async fn explain_origins(
        &self,
        snapshot: &Snapshot,
        routed: &Routed,
        steps: &mut Vec<Step>,
    ) -> Vec<OriginExplanation> {
        let prefixes = routed.route.settings.paths.iter().map(|path| Some(path.prefix.clone()));
        let pools = routed.route.pools().zip(std::iter::once(None).chain(prefixes));
        let mut explained = Vec::new();
        let since = Instant::now();
        for (pool, prefix) in pools {
            for origin in pool.origins() {
                // Each may wait for a resolver, and whoever asks waits for all of them.
                if since.elapsed() > EXPLAIN_TIME {
                    let left = "the rest was not looked at: names took too long to resolve";
                    steps.saw("origin", format_args!("{left}"));
                    return explained;
                }
                steps.saw("origin", format_args!("{}", origin.url));
                let reached = self.reach(snapshot, routed, origin, steps).await;
                let (reached, refusal) = match reached {
                    Ok(reached) => (reached, None),
                    Err(failure) => (Reached::default(), Some(refusal_view(failure))),
                };
                explained.push(OriginExplanation {
                    url: origin.url.to_string(),
                    prefix: prefix.clone(),
                    standing: origin.health.standing(self.inner.plane.clock()).into(),
                    admitted: reached.admitted,
                    egress: reached.egress,
                    refusal,
                });
            }
        }
        explained
    }

    async fn reach(
        &self,
        snapshot: &Snapshot,
        routed: &Routed,
        origin: &Origin,
        steps: &mut Vec<Step>,
    ) -> Result<Reached, Failure> {
        let plan = routed.plan(origin);
        let addresses = match &plan.destination {
            Destination::Address(address) => vec![*address],
            Destination::Name(name) => {
                let resolved = self.inner.plane.resolve(name.clone()).await;
                let addresses = resolved.inspect_err(|failure| steps.saw("refused", format_args!("{failure}")))?;
                steps.saw("resolve", format_args!("{name} is {}", list(&addresses)));
                addresses
            }
            // No origin is planned so.
            Destination::Echo => return Ok(Reached::default()),
        };
        let presence = self.inner.plane.presence();
        let admitted = admit(&snapshot.site.guard, &presence, &plan, &addresses, steps)?;
        let egress = leave(&plan, &presence, admitted.iter().map(SocketAddr::ip), steps)?;
        Ok(Reached { admitted, egress })
    }
}

#[derive(Default)]
struct Reached {
    admitted: Vec<SocketAddr>,
    egress: Vec<IpAddr>,
}

/// As traffic decides, without anything to send.
fn decide(
    snapshot: &Snapshot,
    name: &DomainName,
    client: Option<IpAddr>,
    listener: Listener,
    steps: &mut Vec<Step>,
) -> Result<Routed, Failure> {
    let routed = inbound::find(snapshot, Some(name), steps)?;
    match client {
        Some(client) => inbound::let_in(&routed, client, steps)?,
        None => steps.saw("client", format_args!("{}", routed.route.settings.actions.clients)),
    }
    note_actions(&routed.route, listener, steps)?;
    Ok(routed)
}

/// What a route does to requests, in the order in which it is done.
///
/// # Errors
/// [`Code::Maintenance`](moorgate_contract::failure::Code::Maintenance): none gets to an origin.
fn note_actions(route: &Route, listener: Listener, steps: &mut Vec<Step>) -> Result<(), Failure> {
    let plain = if route.sends_to_https(false) { "is sent to https (308)" } else { "goes on as https does" };
    steps.saw("plain HTTP", format_args!("{plain}"));
    if route.mode == Mode::Passthrough || route.sends_to_https(listener != Listener::InboundHttp) {
        return Ok(());
    }
    let actions = &route.settings.actions;
    if actions.maintenance.is_some() {
        return Err(route.under_maintenance());
    }
    for PathRedirect { from, to, status } in &actions.redirects {
        steps.saw("redirect", format_args!("{from} is sent to {to} ({status})"));
    }
    if !actions.basic_auth.is_empty() {
        let names: Vec<_> = actions.basic_auth.iter().map(|user| &*user.username).collect();
        steps.saw("basic auth", format_args!("asks for the password of {}", names.join(" or ")));
    }
    if let Some(most) = actions.max_body {
        steps.saw("body", format_args!("of at most {most} bytes"));
    }
    note_edits("request", &actions.request_headers, steps);
    note_edits("response", &actions.response_headers, steps);
    Ok(())
}

/// Names only: a value may be a secret.
fn note_edits(check: &'static str, edits: &HeaderEdits, steps: &mut Vec<Step>) {
    if !edits.remove.is_empty() {
        steps.saw(check, format_args!("{} taken away", edits.remove.join(", ")));
    }
    if !edits.set.is_empty() {
        let names: Vec<_> = edits.set.iter().map(|field| &*field.name).collect();
        steps.saw(check, format_args!("{} set", names.join(", ")));
    }
}

/// The name that a client would ask for.
fn name_of(domain: &str) -> Result<DomainName, Invalid> {
    match domain.parse::<Domain>()? {
        Domain::Exact(name) => Ok(name),
        Domain::Wildcard(suffix) => DomainName::parse(&format!("{SAMPLE_LABEL}.{suffix}"))
            .map_err(|error| DomainError::Name(short(domain).into(), error).into()),
    }
}

impl crate::control::Inner {
    /// What clients are shown, and for how long they take it.
    fn note_certificate(&self, domain: &Domain, steps: &mut Vec<Step>) {
        let shown = shown_certificate(&self.book(), &domain.to_string());
        let (issuer, now) = (shown.issuer, now());
        match shown.not_after {
            None => steps.saw("certificate", format_args!("{issuer}")),
            Some(end) if end > now => steps
                .saw("certificate", format_args!("of {issuer}, good for {} more days", end.since(now).as_secs() / DAY)),
            Some(_) => steps.saw(
                "certificate",
                format_args!("of {issuer}, EXPIRED: clients refuse it; give another with moorgate cert add"),
            ),
        }
    }

    /// A route that is stored but not served looks to traffic as if there were none.
    fn note_unserved(&self, snapshot: &Snapshot, name: &DomainName, steps: &mut Vec<Step>) {
        let book = self.book();
        let wildcard = || book.route(&format!("*.{}", name.parent()?));
        let Some(row) = book.route(name.as_str()).or_else(wildcard) else { return };
        if let Some(problem) = self.compiler.route_problem(snapshot, row, &book) {
            steps.saw("route", format_args!("{} is not served: {problem}", row.domain));
        } else if !self.compiler.is_proved(row) {
            let (domain, dns) = (&row.domain, row.dns.name());
            let what = format_args!(
                "{domain} is not served: its DNS is {dns}; moorgate route check {domain} says what to set"
            );
            steps.saw("route", what);
        }
    }
}

#[cfg(test)]
mod tests;
