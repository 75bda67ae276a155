//! What every request passes: who may ask at all, and what browsers are told about the answer.

use std::{convert::Infallible, net::IpAddr};

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use moorgate_api::server::Arrival;
use moorgate_control::{Call, Caller, Control, Once, PersonView, RelyingParty, Role, Scope, SignedIn};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::{Console, form::Path, pages};

/// A browser keeps the first one from plain HTTP and from other hosts of the domain (RFC 6265bis §4.1.3).
const SECURE_COOKIE: &str = "__Host-moorgate";
const COOKIE: &str = "moorgate";
/// What a page may load and where its forms go: this gateway alone, and nothing that stands in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// What of a path stays as it is in a link.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Tells browsers what to keep to.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let tls = is_tls(request.extensions());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: header::HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_FRAME_OPTIONS, "DENY");
    // The link of an invitation is a secret.
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(header::HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()");
    if tls {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

/// Refuses what a page of another site would have a browser send. Every browser of today says where a form is from.
pub(crate) async fn from_ourselves(request: Request, next: Next) -> Response {
    let harmless = matches!(*request.method(), Method::GET | Method::HEAD);
    if harmless || is_from_ourselves(request.headers(), is_tls(request.extensions())) {
        return next.run(request).await;
    }
    let said = "This form was sent by another site, or by a program that does not say where it is from. Go back and try again.";
    pages::refusal(StatusCode::FORBIDDEN, "Not sent from here", said)
}

fn is_from_ourselves(headers: &HeaderMap, tls: bool) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    origin.strip_prefix(if tls { "https://" } else { "http://" }) == Some(host)
}

fn is_tls(extensions: &http::Extensions) -> bool {
    extensions.get::<Arrival>().is_some_and(|arrival| arrival.tls)
}

/// Lets in who is signed in, and sends everybody else to the door.
pub(crate) async fn signed_in(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let tls = is_tls(request.extensions());
    let Some(visitor) = visitor_of(&console, request.headers(), tls) else {
        let back = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let to = match (request.method(), back) {
            (&Method::GET, "/") => "/sign-in".to_owned(),
            (&Method::GET, back) => format!("/sign-in?next={}", utf8_percent_encode(back, KEPT)),
            // What a form sent is not kept here: the browser has it still.
            _ => "/sign-in?lost=1".to_owned(),
        };
        return Redirect::to(&to).into_response();
    };
    request.extensions_mut().insert(visitor);
    next.run(request).await
}

/// Who is signed in with this browser.
pub(crate) fn visitor_of(console: &Console, headers: &HeaderMap, tls: bool) -> Option<Visitor> {
    let cookie = cookie_of(headers, tls)?;
    let SignedIn { person, sign_in } = console.control.signed_in(cookie)?;
    Some(Visitor { person, sign_in, csrf: csrf_of(cookie) })
}

/// What proves that a form was drawn for this sign-in.
fn csrf_of(cookie: &str) -> String {
    // The cookie has 238 bits that nobody else knows.
    Sha256::digest(format!("form of {cookie}")).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cookie_of(headers: &HeaderMap, tls: bool) -> Option<&str> {
    cookie_named(headers, if tls { SECURE_COOKIE } else { COOKIE })
}

/// What the browser keeps by this name.
pub(crate) fn cookie_named<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// The header that signs a browser in (`Some`) or out.
pub(crate) fn set_cookie(token: Option<&str>, tls: bool) -> String {
    let (name, secure) = if tls { (SECURE_COOKIE, "; Secure") } else { (COOKIE, "") };
    let ends = if token.is_none() { "; Max-Age=0" } else { "" };
    format!("{name}={}; Path=/; HttpOnly; SameSite=Lax{secure}{ends}", token.unwrap_or_default())
}

/// Whether the console was reached by a name: browsers keep passkeys for names alone.
pub(crate) fn has_name(headers: &HeaderMap) -> bool {
    party_of(headers, false).is_some()
}

/// Whom a browser keeps a passkey for; `None`: an address.
pub(crate) fn party_of(headers: &HeaderMap, tls: bool) -> Option<RelyingParty> {
    let host = headers.get(header::HOST)?.to_str().ok()?.to_ascii_lowercase();
    let (name, _) = host.split_once(':').unwrap_or((&host, ""));
    let is_name = name.contains(|c: char| c.is_ascii_alphabetic()) && !host.starts_with('[');
    let origin = format!("{}://{host}", if tls { "https" } else { "http" });
    is_name.then(|| RelyingParty { id: name.to_owned(), origin })
}

/// From where somebody asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From {
    pub(crate) client: IpAddr,
    pub(crate) tls: bool,
}

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let arrival = parts.extensions.get::<Arrival>();
        let client = arrival.map_or(IpAddr::from([0, 0, 0, 0]), |arrival| arrival.peer.ip().to_canonical());
        Ok(Self { client, tls: is_tls(&parts.extensions) })
    }
}

/// Who asks. Only behind [`signed_in`].
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) person: PersonView,
    /// Which of their browsers it is.
    pub(crate) sign_in: String,
    /// Stands in every form that they are shown.
    pub(crate) csrf: String,
}

impl Visitor {
    /// The control plane as they ask it: the audit log says who it was.
    pub(crate) fn asks(&self, console: &Console, from: From, account: Option<&str>) -> Control {
        console.control.on_behalf(self.call(from, account))
    }

    /// See [`Inside::asks_once`].
    pub(crate) fn asks_once(&self, console: &Console, from: From, account: Option<&str>, once: &str) -> Control {
        let key: [u8; 32] = Sha256::digest(format!("form {once} of {}", self.person.id)).into();
        // What was not drawn here comes as often as it likes.
        let once = (!once.is_empty()).then_some(Once { key, asked: key });
        console.control.on_behalf(Call { once, ..self.call(from, account) })
    }

    fn call(&self, from: From, account: Option<&str>) -> Call {
        let account = account.filter(|_| !self.person.operator).map(str::to_owned);
        let by = Caller { account, scope: Scope::Write, token_id: self.person.email.clone() };
        Call { by: Some(by), from: Some(from.client), ..Call::default() }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        // Without the guard before it a page has no visitor.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Redirect::to("/sign-in").into_response())
    }
}

/// An operator. Everybody else is told that there is no such page.
pub(crate) struct Operator(pub(crate) Visitor);

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let visitor = Visitor::from_request_parts(parts, state).await?;
        if visitor.person.operator { Ok(Self(visitor)) } else { Err(pages::nothing().await) }
    }
}

/// Somebody in an account that they may see: the `{account}` of the path.
pub(crate) struct Inside {
    pub(crate) visitor: Visitor,
    pub(crate) account: String,
    pub(crate) role: Role,
}

impl Inside {
    /// The control plane as they ask it.
    pub(crate) fn asks(&self, console: &Console, from: From) -> Control {
        self.visitor.asks(console, from, Some(&self.account))
    }

    /// The same for what a form does once: sent again, by a page that is loaded anew, it is refused. `once`: the form's.
    pub(crate) fn asks_once(&self, console: &Console, from: From, once: &str) -> Control {
        self.visitor.asks_once(console, from, Some(&self.account), once)
    }

    /// Whether they may change what the account has.
    pub(crate) fn may_change(&self) -> bool {
        self.role >= Role::Member
    }
}

/// Somebody who may change what the account has. Who may only look is refused.
pub(crate) struct Changing(pub(crate) Inside);

/// Somebody who may say who else may come. Everybody else is refused.
pub(crate) struct Owning(pub(crate) Inside);

impl FromRequestParts<Console> for Changing {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let inside = Inside::from_request_parts(parts, console).await?;
        if inside.may_change() {
            Ok(Self(inside))
        } else {
            Err(not_allowed("You may look at this account, not change it."))
        }
    }
}

impl FromRequestParts<Console> for Owning {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let inside = Inside::from_request_parts(parts, console).await?;
        let is_owner = inside.role == Role::Owner;
        if is_owner { Ok(Self(inside)) } else { Err(not_allowed("Only an owner of the account may do that.")) }
    }
}

fn not_allowed(said: &str) -> Response {
    pages::refusal(StatusCode::FORBIDDEN, "Not allowed", &format!("{said} Ask one of its owners."))
}

impl FromRequestParts<Console> for Inside {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let visitor = Visitor::from_request_parts(parts, console).await?;
        let Path(path) = Path::<std::collections::HashMap<String, String>>::from_request_parts(parts, console).await?;
        let account = path.get("account").cloned().unwrap_or_default();
        // Whoever may not see it hears what they would hear of one that does not exist.
        let may_see = console.control.may_see(&visitor.person.id, &account);
        match visitor.person.role_in(&account).filter(|_| may_see) {
            Some(role) => Ok(Self { visitor, account, role }),
            None => Err(pages::nothing().await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_site_is_known_by_its_headers() {
        let check = |headers: &[(&str, &str)], tls: bool| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            is_from_ourselves(&map, tls)
        };
        let host = ("host", "console.example.com");
        assert!(check(&[("sec-fetch-site", "same-origin")], true));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!check(&[("sec-fetch-site", site), ("origin", "https://console.example.com"), host], true));
        }
        assert!(check(&[("origin", "https://console.example.com"), host], true));
        assert!(check(&[("origin", "http://127.0.0.1:7070"), ("host", "127.0.0.1:7070")], false));
        for origin in
            ["http://console.example.com", "https://evil.example.com", "null", "https://console.example.com.evil"]
        {
            assert!(!check(&[("origin", origin), host], true), "{origin}");
        }
        assert!(!check(&[host], true), "what says nothing is not believed");
    }

    #[test]
    fn passkeys_are_kept_for_names() {
        let party = |host: &str, tls| party_of(&HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]), tls);
        let localhost = RelyingParty { id: "localhost".into(), origin: "http://localhost:7070".into() };
        assert_eq!(party("LocalHost:7070", false), Some(localhost));
        let named = RelyingParty { id: "console.example.com".into(), origin: "https://console.example.com".into() };
        assert_eq!(party("console.example.com", true), Some(named));
        for address in ["127.0.0.1:7070", "127.0.0.1", "[::1]:7070", "[fe80::a]", ""] {
            assert_eq!(party(address, false), None, "{address}");
        }
    }

    #[test]
    fn only_the_cookie_of_the_door_counts() {
        let headers = |cookie: &str| HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())]);
        assert_eq!(cookie_of(&headers("a=b; __Host-moorgate=mgc_1; c=d"), true), Some("mgc_1"));
        assert_eq!(cookie_of(&headers("moorgate=mgc_1"), true), None, "one that plain HTTP could have set");
        assert_eq!(cookie_of(&headers("moorgate=mgc_1"), false), Some("mgc_1"));
        assert_eq!(cookie_of(&headers("moorgate"), false), None);
    }
}
