//! OpenID Connect: somebody comes in by their company's identity provider (OpenID Connect Core 1.0 §3.1, the code flow, with
//! PKCE: RFC 7636). Bytes in, an answer out: who fetches is [`Provider`], who decides is here.

use std::{fmt, sync::Arc};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, Uri, header};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use moorgate_control::{Identity, Joining};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// What fetches: it says why not, in words.
pub type Ask = Arc<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, String>> + Send + Sync>;

/// How much later than it says a token is still taken, in seconds: two machines' clocks.
const LEEWAY: u64 = 60;
/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 64 << 10;
/// How a token may be signed: never by what the client itself could make (`none`, `HS256`).
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// What the operator's file says of the identity provider.
pub struct OpenId {
    /// Its `https://` URL, as it names itself.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// What only it and we know.
    pub client_secret: Zeroizing<String>,
    /// What people call it.
    pub label: String,
    /// Whether an address counts as theirs where the provider doesn't say that it was confirmed.
    pub trust_email: bool,
    /// Whose addresses may come in as somebody new: the parts behind the `@`.
    pub domains: Vec<String>,
    /// As what.
    pub joining: Option<Joining>,
}

impl fmt::Debug for OpenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenId").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Why nobody came in.
#[derive(Debug, Error)]
pub(crate) enum OpenIdProblem {
    #[error("the identity provider could not be asked: {0}")]
    Fetch(String),
    #[error("the identity provider answered {status} at {path}{said}")]
    Status { status: u16, path: String, said: String },
    #[error("the identity provider's {0} can't be read")]
    Unreadable(&'static str),
    #[error("the identity provider calls itself {named}; write that as openid.issuer")]
    Issuer { named: String },
    #[error("the identity provider's {0} is no https URL")]
    Insecure(&'static str),
    #[error("the identity provider's token is not for us, or not by it: {0}")]
    Token(&'static str),
    #[error("the identity provider says no address of yours; the client there needs the scope email")]
    NoEmail,
    #[error(
        "the identity provider does not say that {0} was confirmed as yours; the operator may set openid.trust_email"
    )]
    Unconfirmed(String),
}

/// What the provider says of itself (OpenID Connect Discovery 1.0 §3).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What one try is known by: random, and kept by the browser that it was begun with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Try {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
}

/// Whom the provider names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) identity: Identity,
    pub(crate) email: String,
}

#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    #[serde(default)]
    iat: u64,
    #[serde(default)]
    nonce: String,
    #[serde(default)]
    azp: Option<String>,
    #[serde(flatten)]
    address: Address,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Address {
    #[serde(default)]
    email: Option<String>,
    /// A boolean; some providers say it as a text.
    #[serde(default)]
    email_verified: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    #[serde(flatten)]
    address: Address,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    #[serde(default)]
    access_token: String,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Metadata {
    fn parse(issuer: &str, json: &[u8]) -> Result<Self, OpenIdProblem> {
        let metadata: Self = serde_json::from_slice(json).map_err(|_| OpenIdProblem::Unreadable("configuration"))?;
        if metadata.issuer != issuer {
            return Err(OpenIdProblem::Issuer { named: metadata.issuer });
        }
        for (what, url) in [
            ("authorization_endpoint", &metadata.authorization_endpoint),
            ("token_endpoint", &metadata.token_endpoint),
            ("jwks_uri", &metadata.jwks_uri),
        ] {
            let is_https = url.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https"));
            if !is_https {
                return Err(OpenIdProblem::Insecure(what));
            }
        }
        Ok(metadata)
    }

    /// Where the browser goes (§3.1.2.1).
    fn authorization(&self, client_id: &str, redirect: &str, attempt: &Try) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&attempt.verifier));
        let query = form(&[
            ("response_type", "code"),
            ("scope", "openid email"),
            ("client_id", client_id),
            ("redirect_uri", redirect),
            ("state", &attempt.state),
            ("nonce", &attempt.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let joint = if self.authorization_endpoint.contains('?') { '&' } else { '?' };
        format!("{}{joint}{query}", self.authorization_endpoint)
    }

    /// What is asked with the code that the browser has brought (§3.1.3.1).
    fn token_request(
        &self,
        settings: &OpenId,
        redirect: &str,
        code: &str,
        attempt: &Try,
    ) -> Result<Request<Bytes>, OpenIdProblem> {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", &attempt.verifier),
        ];
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        // Basic is what a provider takes that does not say (Discovery §3).
        let basic = methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        let mut request = Request::post(&self.token_endpoint)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        if basic {
            // RFC 6749 §2.3.1: both as in a form, then as RFC 7617.
            let pair = Zeroizing::new(format!("{}:{}", encoded(&settings.client_id), encoded(&settings.client_secret)));
            request = request.header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        } else {
            fields.extend([("client_id", &*settings.client_id), ("client_secret", &**settings.client_secret)]);
        }
        request.body(form(&fields).into()).map_err(|_| OpenIdProblem::Unreadable("token_endpoint"))
    }
}

/// A provider, and what fetches from it.
pub(crate) struct Provider {
    pub(crate) settings: OpenId,
    ask: Ask,
    /// What it has said of itself, once it was asked.
    metadata: Mutex<Option<Metadata>>,
}

impl Provider {
    pub(crate) fn new(settings: OpenId, ask: Ask) -> Self {
        Self { settings, ask, metadata: Mutex::default() }
    }

    pub(crate) fn label(&self) -> &str {
        &self.settings.label
    }

    /// Where the browser goes to say who somebody is.
    pub(crate) async fn authorization(&self, redirect: &str, attempt: &Try) -> Result<String, OpenIdProblem> {
        Ok(self.metadata().await?.authorization(&self.settings.client_id, redirect, attempt))
    }

    /// Whom the code that a browser has brought names. `at`: now, in seconds.
    pub(crate) async fn named(
        &self,
        redirect: &str,
        code: &str,
        attempt: &Try,
        at: u64,
    ) -> Result<Named, OpenIdProblem> {
        let metadata = self.metadata().await?;
        let answer = self.fetch(metadata.token_request(&self.settings, redirect, code, attempt)?).await?;
        let tokens: Tokens = serde_json::from_slice(&answer).map_err(|_| OpenIdProblem::Unreadable("token answer"))?;
        let keys = self.get(&metadata.jwks_uri, None).await?;
        let keys: JwkSet = serde_json::from_slice(&keys).map_err(|_| OpenIdProblem::Unreadable("keys"))?;
        let claims = verified(&tokens.id_token, &keys, &self.settings, &attempt.nonce, at)?;
        let address = match (&claims.address.email, &metadata.userinfo_endpoint) {
            (None, Some(url)) => {
                let answer = self.get(url, Some(&tokens.access_token)).await?;
                let info: UserInfo =
                    serde_json::from_slice(&answer).map_err(|_| OpenIdProblem::Unreadable("user info"))?;
                if info.sub != claims.sub {
                    return Err(OpenIdProblem::Token("it is somebody else's"));
                }
                info.address
            }
            _ => claims.address,
        };
        let email = confirmed(address, self.settings.trust_email)?;
        Ok(Named { identity: Identity { issuer: self.settings.issuer.clone(), subject: claims.sub }, email })
    }

    /// What somebody new with this address becomes; `None`: they need an invitation.
    pub(crate) fn joining(&self, email: &str) -> Option<&Joining> {
        let (_, domain) = email.rsplit_once('@')?;
        let is_ours = self.settings.domains.iter().any(|own| own.eq_ignore_ascii_case(domain));
        self.settings.joining.as_ref().filter(|_| is_ours)
    }

    async fn metadata(&self) -> Result<Metadata, OpenIdProblem> {
        let mut known = self.metadata.lock().await;
        if let Some(metadata) = &*known {
            return Ok(metadata.clone());
        }
        let issuer = &self.settings.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let metadata = Metadata::parse(issuer, &self.get(&url, None).await?)?;
        Ok(known.insert(metadata).clone())
    }

    async fn get(&self, url: &str, bearer: Option<&str>) -> Result<Bytes, OpenIdProblem> {
        let mut request = Request::get(url).header(header::ACCEPT, "application/json");
        if let Some(token) = bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.fetch(request.body(Bytes::new()).map_err(|_| OpenIdProblem::Unreadable("URL"))?).await
    }

    async fn fetch(&self, request: Request<Bytes>) -> Result<Bytes, OpenIdProblem> {
        let path = request.uri().path().to_owned();
        let answer = (self.ask)(request).await.map_err(OpenIdProblem::Fetch)?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let said = serde_json::from_slice::<Refused>(answer.body()).ok().map(|it| {
            let words = format!(": {} {}", it.error, it.error_description);
            moorgate_wire::visible::visible_within(words.trim_end(), 200).to_string()
        });
        Err(OpenIdProblem::Status { status: answer.status().as_u16(), path, said: said.unwrap_or_default() })
    }
}

/// The claims of a token that the provider made for us, for this try, and that has not ended (§3.1.3.7).
fn verified(token: &str, keys: &JwkSet, settings: &OpenId, nonce: &str, at: u64) -> Result<Claims, OpenIdProblem> {
    if token.len() > MAX_TOKEN {
        return Err(OpenIdProblem::Unreadable("token"));
    }
    let head = decode_header(token).map_err(|_| OpenIdProblem::Unreadable("token"))?;
    if !ALGORITHMS.contains(&head.alg) {
        return Err(OpenIdProblem::Token("it is signed in a way that is not taken"));
    }
    let mut validation = Validation::new(head.alg);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.client_id]);
    // The time is given, not looked up.
    validation.validate_exp = false;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let signs = |key: &&Jwk| {
        let named = head.kid.is_none() || key.common.key_id == head.kid;
        named && key.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature)
    };
    let claims = keys.keys.iter().filter(signs).find_map(|key| {
        let key = DecodingKey::from_jwk(key).ok()?;
        decode::<Claims>(token, &key, &validation).ok()
    });
    let claims = claims.ok_or(OpenIdProblem::Token("its signature, issuer or audience is another"))?.claims;
    if claims.nonce != nonce || nonce.is_empty() {
        return Err(OpenIdProblem::Token("it answers another try"));
    }
    if claims.azp.as_ref().is_some_and(|party| *party != settings.client_id) {
        return Err(OpenIdProblem::Token("it was given to another client"));
    }
    if claims.exp.saturating_add(LEEWAY) <= at || claims.iat > at.saturating_add(LEEWAY) {
        return Err(OpenIdProblem::Token("its time is over, or this machine's clock is wrong"));
    }
    Ok(claims)
}

fn confirmed(address: Address, trust: bool) -> Result<String, OpenIdProblem> {
    let email = address.email.filter(|email| !email.is_empty()).ok_or(OpenIdProblem::NoEmail)?;
    let said = address.email_verified.map(|said| said == true || said == "true");
    if said.unwrap_or(trust) { Ok(email) } else { Err(OpenIdProblem::Unconfirmed(email)) }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests;
