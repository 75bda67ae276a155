//! What a terminate route does to requests and responses, in the one order of
//! [`Actions`](moorgate_contract::route::Actions). Which clients may come is decided with the route.

use moorgate_contract::{
    failure::{Code, Failure},
    route::{Actions, HeaderEdits, Route},
    snapshot::Snapshot,
};
use moorgate_wire::{basic, http1::Headers, path::CanonicalPath};
use subtle::ConstantTimeEq as _;

use crate::refuse::Refusal;

/// A request as actions see it.
pub(super) struct Request<'a> {
    pub(super) route: &'a Route,
    pub(super) snapshot: &'a Snapshot,
    /// What the client asked for: a name, and the port if it said one.
    pub(super) authority: &'a str,
    /// Whether it came over TLS.
    pub(super) secure: bool,
    pub(super) path: &'a CanonicalPath,
    pub(super) headers: &'a Headers,
    /// The body's length, where the client said it.
    pub(super) length: Option<u64>,
}

/// What becomes of a request without its origin.
pub(super) enum Own {
    /// It is answered, as the route wants it.
    Answer(Refusal),
    /// It is refused; with this answer, or the failure's own.
    Refuse(Failure, Option<Refusal>),
}

impl From<Failure> for Own {
    fn from(failure: Failure) -> Self {
        Self::Refuse(failure, None)
    }
}

/// Takes the request's actions in their order. `Ok`: it goes on to an origin.
///
/// # Errors
/// The answer of whichever action keeps it.
pub(super) fn before(request: &Request<'_>) -> Result<(), Own> {
    let actions = &request.route.settings.actions;
    to_https(request)?;
    maintenance(actions, request)?;
    redirect(actions, request)?;
    basic_auth(actions, request)?;
    body_size(actions, request.length)?;
    Ok(())
}

fn to_https(request: &Request<'_>) -> Result<(), Own> {
    if !request.route.sends_to_https(request.secure) {
        return Ok(());
    }
    Err(Own::Answer(https(request.snapshot, request.authority, request.path.as_str())))
}

/// 308 to the same URL over https (RFC 9110 §15.4.9). A client that came by port 80, as far as it can tell, finds https at
/// 443, whatever stands between: the listener's own port is for those who named one.
fn https(snapshot: &Snapshot, authority: &str, path: &str) -> Refusal {
    let (name, asked) = authority.split_once(':').unwrap_or((authority, "80"));
    let port = match snapshot.site.inbound_tls_port {
        Some(port) if asked != "80" && port != 443 => format!(":{port}"),
        _ => String::new(),
    };
    moved(308, format!("https://{name}{port}{path}"))
}

fn moved(status: u16, location: String) -> Refusal {
    let body = format!("moved to {location}\n");
    Refusal::answer(status, "text/plain; charset=utf-8", body).with("location", location)
}

fn maintenance(actions: &Actions, request: &Request<'_>) -> Result<(), Own> {
    let Some(maintenance) = &actions.maintenance else { return Ok(()) };
    let failure = request.route.under_maintenance();
    let kind = if maintenance.page.trim_start().starts_with('<') {
        "text/html; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    };
    let mut answer = Refusal::page(&failure, kind, maintenance.page.clone());
    answer = answer.with("cache-control", "no-store".to_owned());
    if let Some(seconds) = maintenance.retry_after {
        answer = answer.with("retry-after", seconds.to_string());
    }
    Err(Own::Refuse(failure, Some(answer)))
}

fn redirect(actions: &Actions, request: &Request<'_>) -> Result<(), Own> {
    let found = actions.redirected(request.path.path(), request.path.query());
    found.map_or(Ok(()), |(status, location)| Err(Own::Answer(moved(status, location))))
}

fn basic_auth(actions: &Actions, request: &Request<'_>) -> Result<(), Own> {
    if actions.basic_auth.is_empty() {
        return Ok(());
    }
    let given = request.headers.get("authorization").and_then(basic::parse);
    let known = given.is_some_and(|given| {
        let hash = request.snapshot.hash(&given.username, given.password.as_bytes());
        // The hash is of username and password both. Every one is looked at, so that time tells nothing of which it is.
        actions.basic_auth.iter().filter(|user| bool::from(user.hash.0.ct_eq(&hash.0))).count() > 0
    });
    if known {
        return Ok(());
    }
    let domain = &request.route.domain;
    Err(Failure::new(Code::Unauthorized, format_args!("the route {domain} wants a username and password")).into())
}

fn body_size(actions: &Actions, length: Option<u64>) -> Result<(), Failure> {
    match (actions.max_body, length) {
        (Some(most), Some(length)) if length > most => Err(too_large()),
        _ => Ok(()),
    }
}

/// The refusal of a body that is longer than the route takes.
pub(crate) fn too_large() -> Failure {
    Failure::new(Code::BodyTooLarge, "the request's body is longer than this route takes")
}

/// Removes, then sets.
pub(crate) fn edit(headers: &mut Headers, edits: &HeaderEdits) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for field in &edits.set {
        headers.set(&field.name, &field.value);
    }
}
