//! What a route may be set to: a change, carried over to settings and checked with all that was there before.

use moorgate_contract::{
    account::Pepper,
    route::{
        Actions, BasicUser, Check, HeaderEdits, HeaderField, HostFor, MAX_ACTION_ITEMS, MAX_PAGE_BYTES, Mode, OnHttp,
        OriginScheme, OriginSpec, PathOrigins, PathRedirect, RouteSettings,
    },
};
use moorgate_wire::{host::Asked, path::CanonicalPath};

use crate::{
    error::short,
    invalid::Invalid,
    limits::{MAX_CHECK_EVERY, MAX_ORIGINS},
    route_views::{HeaderChange, NewBasicUser, NewHeaderField, RouteChange},
};

/// Fields that say where a message ends, which connection it is for or where it goes: ours to write. Beside them, all
/// that begin with `proxy-`. What is said of the client (Forwarded and its kin) is ours as well. Via and CDN-Loop are how
/// loops are found (RFC 9110 §7.6.3, RFC 8586).
const OURS: [&str; 16] = [
    "cdn-loop",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Carries `change` over to `settings` and checks the whole. Passwords are hashed under `pepper`.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn apply(
    mut settings: RouteSettings,
    change: RouteChange,
    mode: Mode,
    pepper: &Pepper,
) -> Result<RouteSettings, Invalid> {
    let RouteChange { origins, paths, proxy_protocol, origin_ca, origin_host, check, acme_origin, rsa, .. } = change;
    set(&mut settings.origins, origins);
    set(&mut settings.paths, paths);
    set(&mut settings.proxy_protocol, proxy_protocol);
    set(&mut settings.origin_ca, origin_ca);
    set(&mut settings.acme_origin, acme_origin);
    set(&mut settings.rsa, rsa);
    set(&mut settings.origin_host, origin_host);
    set(&mut settings.check, check);
    let actions = &mut settings.actions;
    let basic_auth = change.basic_auth.map(|users| hashed(&users, &actions.basic_auth, pepper)).transpose()?;
    set(&mut actions.clients, change.clients);
    set(&mut actions.on_http, change.on_http);
    set(&mut actions.maintenance, change.maintenance);
    set(&mut actions.redirects, change.redirects);
    set(&mut actions.basic_auth, basic_auth);
    set(&mut actions.max_body, change.max_body);
    edit(&mut actions.request_headers, change.request_headers)?;
    edit(&mut actions.response_headers, change.response_headers)?;
    verify(&settings, mode)?;
    Ok(settings)
}

fn set<T>(at: &mut T, to: Option<T>) {
    if let Some(to) = to {
        *at = to;
    }
}

fn hashed(users: &[NewBasicUser], old: &[BasicUser], pepper: &Pepper) -> Result<Vec<BasicUser>, Invalid> {
    at_most(MAX_ACTION_ITEMS, users.len(), "usernames for HTTP Basic")?;
    let hashed = |user: &NewBasicUser| {
        let username = || short(&user.username);
        if user.username.is_empty() || user.username.contains(|c: char| c == ':' || c.is_control()) {
            return Err(Invalid::BasicUsername { username: username() });
        }
        let Some(password) = &user.password else {
            let old = old.iter().find(|old| old.username == user.username).cloned();
            return old.ok_or_else(|| Invalid::NoBasicPassword { username: username() });
        };
        if password.reveal().is_empty() {
            return Err(Invalid::BasicPassword { username: username() });
        }
        let hash = pepper.hash(&user.username, password.reveal().as_bytes());
        Ok(BasicUser { username: user.username.clone(), hash })
    };
    users.iter().map(hashed).collect()
}

fn edit(edits: &mut HeaderEdits, change: Option<HeaderChange>) -> Result<(), Invalid> {
    let Some(HeaderChange { remove, set }) = change else { return Ok(()) };
    self::set(&mut edits.remove, remove);
    edits.remove.iter_mut().for_each(|name| name.make_ascii_lowercase());
    let field = |NewHeaderField { mut name, value }: NewHeaderField| {
        name.make_ascii_lowercase();
        let has = || edits.set.iter().find(|field| field.name == name).map(|field| field.value.clone());
        match value.or_else(has) {
            Some(value) => Ok(HeaderField { name, value }),
            None => Err(Invalid::NoHeaderValue { name: short(&name) }),
        }
    };
    let set = set.map(|fields| fields.into_iter().map(field).collect::<Result<Vec<_>, _>>()).transpose()?;
    self::set(&mut edits.set, set);
    Ok(())
}

/// What the settings of a route in this mode have to fulfil.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn verify(settings: &RouteSettings, mode: Mode) -> Result<(), Invalid> {
    if mode == Mode::Passthrough {
        fits_passthrough(settings)?;
    }
    pool(&settings.origins, "the route", mode)?;
    match &settings.acme_origin {
        Some(_) if mode == Mode::Terminate => {
            return Err(Invalid::NotForTerminate { what: "an origin for ACME challenges" });
        }
        Some(url) if url.scheme != OriginScheme::Http => return Err(Invalid::AcmeOrigin { url: url.clone() }),
        _ => {}
    }
    paths(&settings.paths, mode)?;
    if let Some(pem) = &settings.origin_ca {
        let problem = |error: moorgate_keys::KeyError| Invalid::OriginCa { problem: error.to_string() };
        moorgate_keys::chain::certificates(pem.as_bytes()).map_err(problem)?;
    }
    check(&settings.check)?;
    actions(&settings.actions)
}

/// Refuses what needs a route that reads HTTP.
fn fits_passthrough(settings: &RouteSettings) -> Result<(), Invalid> {
    let RouteSettings {
        origins: _,
        paths,
        proxy_protocol: _,
        origin_ca,
        origin_host,
        check,
        acme_origin: _,
        rsa,
        actions,
    } = settings;
    let Actions {
        clients: _,
        on_http,
        maintenance,
        redirects,
        basic_auth,
        max_body,
        request_headers,
        response_headers,
    } = actions;
    let set = [
        ("origins by path", !paths.is_empty()),
        ("CA certificates for its origins", origin_ca.is_some()),
        ("a Host for its origins", *origin_host != HostFor::default()),
        ("a path to check its origins by", check.path.is_some()),
        ("a certificate with an RSA key", *rsa),
        ("a rule for plain HTTP", *on_http != OnHttp::default()),
        ("a maintenance page", maintenance.is_some()),
        ("redirects", !redirects.is_empty()),
        ("usernames for HTTP Basic", !basic_auth.is_empty()),
        ("a bound on bodies", max_body.is_some()),
        ("edits of header fields", !request_headers.is_empty() || !response_headers.is_empty()),
    ];
    match set.into_iter().find(|(_, set)| *set) {
        Some((what, _)) => Err(Invalid::NotForPassthrough { what }),
        None => Ok(()),
    }
}

fn pool(origins: &[OriginSpec], of: &str, mode: Mode) -> Result<(), Invalid> {
    if origins.is_empty() {
        return Err(Invalid::NoOrigin { pool: of.to_owned() });
    }
    if origins.len() > MAX_ORIGINS {
        return Err(Invalid::TooManyOrigins { pool: of.to_owned(), count: origins.len() });
    }
    for OriginSpec { url, weight } in origins {
        url.check_mode(mode)?;
        if !(1..=OriginSpec::MAX_WEIGHT).contains(weight) {
            return Err(Invalid::Weight { url: url.clone(), weight: *weight });
        }
    }
    Ok(())
}

fn paths(paths: &[PathOrigins], mode: Mode) -> Result<(), Invalid> {
    at_most(MAX_ACTION_ITEMS, paths.len(), "path prefixes")?;
    let mut seen = std::collections::HashSet::new();
    for PathOrigins { prefix, origins } in paths {
        canonical("the path prefix", prefix)?;
        // A slash at its end changes nothing of what it matches.
        if !seen.insert(prefix.trim_end_matches('/')) {
            return Err(Invalid::PrefixTwice { prefix: short(prefix) });
        }
        pool(origins, &format!("the path {}", short(prefix)), mode)?;
    }
    Ok(())
}

/// Refuses what is not the one spelling of a path that requests are matched in.
fn canonical(what: &'static str, path: &str) -> Result<(), Invalid> {
    let read = CanonicalPath::parse(path);
    let read = read.map_err(|error| Invalid::NotAPath { what, path: short(path), error })?;
    if read.path() == path {
        return Ok(());
    }
    Err(Invalid::NotCanonicalPath { what, path: short(path), canonical: short(read.path()) })
}

fn check(check: &Check) -> Result<(), Invalid> {
    if let Some(seconds) = check.every
        && !(1..=MAX_CHECK_EVERY).contains(&seconds)
    {
        return Err(Invalid::CheckEvery { seconds });
    }
    let Some(path) = &check.path else { return Ok(()) };
    if check.every.is_none() {
        return Err(Invalid::CheckPathAlone { path: short(path) });
    }
    let what = "the path of a check";
    CanonicalPath::parse(path).map(drop).map_err(|error| Invalid::NotAPath { what, path: short(path), error })
}

fn actions(actions: &Actions) -> Result<(), Invalid> {
    at_most(MAX_ACTION_ITEMS, actions.clients.allow.len(), "networks of clients that may come")?;
    at_most(MAX_ACTION_ITEMS, actions.clients.deny.len(), "networks of clients that may not come")?;
    if let Some(maintenance) = &actions.maintenance
        && maintenance.page.len() > MAX_PAGE_BYTES
    {
        return Err(Invalid::PageTooLong { bytes: maintenance.page.len() });
    }
    at_most(MAX_ACTION_ITEMS, actions.redirects.len(), "redirects")?;
    actions.redirects.iter().try_for_each(redirect)?;
    if let Some(PathRedirect { from, to, .. }) = actions.circle() {
        return Err(Invalid::RedirectCircle { from: short(from), to: short(to) });
    }
    headers(&actions.request_headers)?;
    headers(&actions.response_headers)
}

fn redirect(redirect: &PathRedirect) -> Result<(), Invalid> {
    let PathRedirect { from, to, status } = redirect;
    canonical("the path of a redirect", from)?;
    if from.strip_suffix("/*").unwrap_or(from).contains('*') {
        return Err(Invalid::RedirectStar { from: short(from) });
    }
    if !leads_somewhere(to) {
        return Err(Invalid::RedirectTarget { to: short(to) });
    }
    match status {
        301 | 302 | 303 | 307 | 308 => Ok(()),
        _ => Err(Invalid::RedirectStatus { status: *status }),
    }
}

fn leads_somewhere(to: &str) -> bool {
    // Some clients read a backslash as a slash, and two of them as the beginning of a host.
    if to.contains(|c: char| !c.is_ascii_graphic() || c == '\\') {
        return false;
    }
    let Some(rest) = to.strip_prefix("https://").or_else(|| to.strip_prefix("http://")) else {
        return to.starts_with('/') && !to.starts_with("//");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Asked::from_authority(authority, Some(443)).is_ok_and(|asked| asked.host.is_ok())
}

fn headers(edits: &HeaderEdits) -> Result<(), Invalid> {
    at_most(MAX_ACTION_ITEMS, edits.remove.len(), "header fields to remove")?;
    at_most(MAX_ACTION_ITEMS, edits.set.len(), "header fields to set")?;
    edits.remove.iter().chain(edits.set.iter().map(|field| &field.name)).try_for_each(|name| header(name))?;
    match edits.set.iter().find(|field| field.value.contains(char::is_control)) {
        Some(field) => Err(Invalid::HeaderValue { name: short(&field.name) }),
        None => Ok(()),
    }
}

fn header(name: &str) -> Result<(), Invalid> {
    // RFC 9110 §5.6.2.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Invalid::HeaderName { name: short(name) });
    }
    // Some readers take `_` for `-`.
    let plain = name.replace('_', "-");
    if OURS.contains(&&*plain) || plain.starts_with("proxy-") {
        return Err(Invalid::HeaderNotEditable { name: short(name) });
    }
    Ok(())
}

fn at_most(most: usize, count: usize, what: &'static str) -> Result<(), Invalid> {
    if count > most { Err(Invalid::TooManyItems { what, count }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
