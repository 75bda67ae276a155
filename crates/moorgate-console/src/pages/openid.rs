//! In by an identity provider: out to it, and back with a code.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use moorgate_control::ControlError;
use moorgate_wire::visible::visible_within;
use serde::Deserialize;

use super::{
    failed, nothing, now,
    sign_in::{Next, again, agent, asking, here, welcome_in},
};
use crate::{
    Console,
    form::Query,
    guard::{From, cookie_named},
    openid::Try,
};

/// Keeps what a try is known by in the browser that has begun it; a browser keeps one with that prefix to TLS and this host.
const SECURE_COOKIE: &str = "__Secure-moorgate-openid";
const COOKIE: &str = "moorgate-openid";
const PATH: &str = "/sign-in/openid";
/// How long a try may take, in seconds.
const TRY_TIME: u32 = 600;

/// Sends the browser to the provider.
pub(crate) async fn begin(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    Query(Next { next, .. }): Query<Next>,
) -> Response {
    let Some(provider) = &console.provider else { return nothing().await };
    let attempt = match new_try() {
        Ok(attempt) => attempt,
        Err(error) => return failed(&error),
    };
    match provider.authorization(&redirect(&console), &attempt).await {
        Ok(url) => {
            let Try { state, nonce, verifier } = attempt;
            let next = URL_SAFE_NO_PAD.encode(here(&next));
            let mut answer = Redirect::to(&url).into_response();
            set_cookie(&mut answer, &format!("{state}.{nonce}.{verifier}.{next}"), TRY_TIME, from.tls);
            answer
        }
        Err(error) => {
            tracing::error!(%error, "nobody can come in by the identity provider");
            again(&console, &headers, StatusCode::BAD_GATEWAY, sentence(&error.to_string()))
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Back {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// The provider has sent the browser back.
pub(crate) async fn back(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    Query(back): Query<Back>,
) -> Response {
    let Some(provider) = &console.provider else { return nothing().await };
    let mut answer = came_back(&console, provider, from, &headers, back).await;
    // A try ends, however it does.
    set_cookie(&mut answer, "", 0, from.tls);
    answer
}

async fn came_back(
    console: &Console,
    provider: &crate::openid::Provider,
    from: From,
    headers: &HeaderMap,
    back: Back,
) -> Response {
    let page = |status, said: &str| again(console, headers, status, sentence(said));
    let kept = cookie_named(headers, cookie(from.tls)).and_then(kept_try);
    let Some((attempt, next)) = kept.filter(|(attempt, _)| attempt.state == back.state) else {
        return page(StatusCode::BAD_REQUEST, "That took too long, or was begun in another browser. Try again");
    };
    if back.code.is_empty() {
        let said = format!("{} said no: {} {}", provider.label(), back.error, back.error_description);
        return page(StatusCode::UNAUTHORIZED, &visible_within(said.trim_end(), 300).to_string());
    }
    let named = match provider.named(&redirect(console), &back.code, &attempt, now().seconds()).await {
        Ok(named) => named,
        Err(error) => {
            tracing::warn!(client = %from.client, %error, "somebody did not get in by the identity provider");
            return page(StatusCode::UNAUTHORIZED, &error.to_string());
        }
    };
    let joining = provider.joining(&named.email);
    let control = asking(console, from);
    match control.sign_in_by_identity(&named.identity, &named.email, joining, agent(headers)).await {
        Ok(Some(made)) => welcome_in(&made, from, here(&next)),
        Ok(None) => {
            let said = format!("{} is nobody here yet. Ask an operator for an invitation", named.email);
            page(StatusCode::UNAUTHORIZED, &visible_within(&said, 300).to_string())
        }
        Err(error @ ControlError::StoreDown(_)) => failed(&error),
        Err(error) => page(StatusCode::UNAUTHORIZED, &error.to_string()),
    }
}

/// Where the provider sends the browser back to.
fn redirect(console: &Console) -> String {
    format!("{}{PATH}/back", console.url)
}

fn new_try() -> Result<Try, ControlError> {
    let random = || {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(|_| ControlError::Random)?;
        Ok::<_, ControlError>(URL_SAFE_NO_PAD.encode(bytes))
    };
    Ok(Try { state: random()?, nonce: random()?, verifier: random()? })
}

fn cookie(tls: bool) -> &'static str {
    if tls { SECURE_COOKIE } else { COOKIE }
}

fn set_cookie(answer: &mut Response, value: &str, age: u32, tls: bool) {
    let secure = if tls { "; Secure" } else { "" };
    // Lax: the provider's page leads back here by a link.
    let text = format!("{}={value}; Path={PATH}; Max-Age={age}; HttpOnly; SameSite=Lax{secure}", cookie(tls));
    if let Ok(text) = HeaderValue::from_str(&text) {
        answer.headers_mut().append(header::SET_COOKIE, text);
    }
}

fn kept_try(text: &str) -> Option<(Try, String)> {
    let mut parts = text.split('.').map(str::to_owned);
    let (state, nonce, verifier, next) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let next = String::from_utf8(URL_SAFE_NO_PAD.decode(next).ok()?).ok()?;
    let whole = [&state, &nonce, &verifier].iter().all(|part| part.len() == 43);
    whole.then_some((Try { state, nonce, verifier }, next))
}

/// With a capital and a full stop.
fn sentence(said: &str) -> String {
    let mut chars = said.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}
