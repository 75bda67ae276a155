//! Passkeys: an authenticator is asked, and its answer comes back in a form. Browsers ask one by a script only.

use std::time::Instant;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode};
use moorgate_control::{ControlError, MadePasskey, PasskeyQuestion, RelyingParty, ShownPasskey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    failed, refusal,
    sign_in::{self, Nothing, agent, asking, here, too_many, welcome_in},
    you::{self, Confirming},
};
use crate::{
    Console,
    form::{Form, OpenForm, Path},
    guard::{From, Visitor, party_of},
};

/// How long an authenticator is waited for, in milliseconds.
const WAIT: u32 = 300_000;
/// By how much of its name tries of a passkey are told apart.
const KEY_CHARS: usize = 64;
const NO_NAME: &str = "Browsers keep passkeys for names alone: open the console by its name, or as http://localhost.";

/// What the script asks an authenticator for.
fn question(party: &RelyingParty, asked: &PasskeyQuestion, more: Value) -> Response {
    let mut answer = json!({
        "step": asked.step,
        "challenge": asked.challenge,
        "party": party.id,
        "algorithms": asked.algorithms,
        "known": asked.known,
        "timeout": WAIT,
    });
    if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
        answer.extend(more);
    }
    Json(answer).into_response()
}

fn said(status: StatusCode, said: &str) -> Response {
    (status, Json(json!({ "said": said }))).into_response()
}

/// For whoever wants to come in.
pub(crate) async fn ask(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    OpenForm(_): OpenForm<Nothing>,
) -> Response {
    let Some(party) = party_of(&headers, from.tls) else { return said(StatusCode::BAD_REQUEST, NO_NAME) };
    match console.control.ask_passkey() {
        Ok(asked) => question(&party, &asked, json!({})),
        Err(error) => said(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

#[derive(Deserialize)]
pub(crate) struct Shown {
    #[serde(default)]
    step: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    client: String,
    #[serde(default)]
    authenticator: String,
    #[serde(default)]
    signature: String,
    #[serde(default)]
    next: String,
}

pub(crate) async fn enter(
    State(console): State<Console>,
    from: From,
    headers: HeaderMap,
    OpenForm(shown): OpenForm<Shown>,
) -> Response {
    let again = |status, said: String| sign_in::again(&console, &headers, status, said);
    let Some(party) = party_of(&headers, from.tls) else {
        return again(StatusCode::BAD_REQUEST, NO_NAME.to_owned());
    };
    // By the passkey: what strangers try with theirs keeps nobody else out.
    let key: String = shown.id.chars().take(KEY_CHARS).collect();
    if let Some(wait) = console.throttle.begin(&key, from.client, Instant::now()) {
        return again(StatusCode::TOO_MANY_REQUESTS, too_many(wait));
    }
    let answer = ShownPasskey {
        id: bytes(&shown.id),
        client: bytes(&shown.client),
        authenticator: bytes(&shown.authenticator),
        signature: bytes(&shown.signature),
    };
    match asking(&console, from).sign_in_by_passkey(&party, &shown.step, &answer, agent(&headers)).await {
        Ok(Some(made)) => {
            console.throttle.succeed(&key, from.client);
            welcome_in(&made, from, here(&shown.next))
        }
        Ok(None) => {
            tracing::warn!(client = %from.client, "a passkey of nobody's at the console's door");
            let said = "This passkey is nobody's here. Sign in with your password, and add it under your name.";
            again(StatusCode::UNAUTHORIZED, said.to_owned())
        }
        Err(error @ ControlError::StoreDown(_)) => failed(&error),
        Err(error) => again(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// For somebody who wants another passkey, and says their password.
pub(crate) async fn ask_new(
    State(console): State<Console>,
    visitor: Visitor,
    from: From,
    headers: HeaderMap,
    Form(Confirming { password }): Form<Confirming>,
) -> Response {
    let Some(party) = party_of(&headers, from.tls) else { return said(StatusCode::BAD_REQUEST, NO_NAME) };
    if let Err(wrong) = you::confirmed(&console, &visitor, from, &password).await {
        return said(StatusCode::FORBIDDEN, &wrong);
    }
    match console.control.begin_passkey(&visitor.person.id) {
        Ok(asked) => {
            let user = URL_SAFE_NO_PAD.encode(&visitor.person.id);
            question(&party, &asked, json!({ "user": user, "name": visitor.person.email }))
        }
        Err(error) => said(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

#[derive(Deserialize)]
pub(crate) struct Made {
    #[serde(default)]
    name: String,
    #[serde(default)]
    step: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    client: String,
    #[serde(default)]
    authenticator: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    algorithm: i64,
}

pub(crate) async fn add(
    State(console): State<Console>,
    visitor: Visitor,
    from: From,
    headers: HeaderMap,
    Form(made): Form<Made>,
) -> Response {
    let Some(party) = party_of(&headers, from.tls) else {
        return refusal(StatusCode::BAD_REQUEST, "Not by this address", NO_NAME);
    };
    let answer = MadePasskey {
        id: bytes(&made.id),
        client: bytes(&made.client),
        authenticator: bytes(&made.authenticator),
        key: bytes(&made.key),
        algorithm: made.algorithm,
    };
    let control = visitor.asks(&console, from, None);
    match control.add_passkey(&visitor.person.id, &party, &made.step, &made.name, &answer).await {
        Ok(()) => Redirect::to("/you").into_response(),
        Err(error @ ControlError::StoreDown(_)) => failed(&error),
        Err(error) => you::with_problem(&console, &visitor, &headers, error.to_string()),
    }
}

pub(crate) async fn remove(
    State(console): State<Console>,
    visitor: Visitor,
    from: From,
    Path(id): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    match visitor.asks(&console, from, None).remove_passkey(&visitor.person.id, &id).await {
        Ok(()) => Redirect::to("/you").into_response(),
        Err(error) => failed(&error),
    }
}

/// What can't be read is nothing, and nothing proves nothing.
fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
}
