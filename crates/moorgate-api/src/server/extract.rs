//! Bodies and queries, bounded in bytes and time, whose every unknown field is an error that names it.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
};
use bytes::Bytes;
use http::{header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use moorgate_control::Call;
use moorgate_wire::visible::visible;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::timeout;

use super::ApiState;
use crate::problem::{Case, Problem};

/// The longest body that is read, in bytes, where nothing else is said.
pub(super) const BODY_BYTES: usize = 64 << 10;
/// The longest body with files in it: a maintenance page of 64 KiB with every character escaped, a chain of that length
/// with its key.
pub(super) const FILES_BYTES: usize = 512 << 10;
/// The longest body with a whole deployment in it.
pub(super) const TEXT_BYTES: usize = 64 << 20;
/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);

/// A JSON body. Nothing at all is read as `{}`.
pub(super) struct Json<T, const BYTES: usize = BODY_BYTES>(pub(super) T);

impl<T: DeserializeOwned, const BYTES: usize, S: Send + Sync> FromRequest<S> for Json<T, BYTES> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = read_body(body, BYTES).await?;
        if body.is_empty() {
            return read(b"{}").map(Self);
        }
        // Pages of other sites can post forms and plain text without asking; not this.
        if !is_json(&parts) {
            return Err(Problem::new(Case::NotJson, "send the body as JSON, with Content-Type: application/json"));
        }
        read(&body).map(Self)
    }
}

/// All of a body, within its bounds.
pub(super) async fn read_body(body: Body, most: usize) -> Result<Bytes, Problem> {
    let body = timeout(BODY_TIME, Limited::new(body, most).collect());
    let slow =
        |_| Problem::new(Case::BodyTooSlow, format_args!("the body did not come within {} s", BODY_TIME.as_secs()));
    let body = body.await.map_err(slow)?.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Problem::new(Case::BodyTooLong, format_args!("the body is longer than {most} bytes"))
        } else {
            Problem::new(Case::BadBody, "the body broke off")
        }
    })?;
    Ok(body.to_bytes())
}

fn is_json(parts: &Parts) -> bool {
    let value = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).or_else(|error| {
        let problem =
            || Problem::new(Case::BadBody, format_args!("the body can't be read: {}", visible(&error.to_string())));
        // To JSON Schema 5.0 is an integer, and some languages write it so; to serde it is none.
        let mut value: Value = serde_json::from_slice(body).map_err(|_| problem())?;
        if !whole_numbers(&mut value) {
            return Err(problem());
        }
        serde_json::from_value(value).map_err(|_| problem())
    })
}

/// Writes whole numbers as integers; whether there were any that were not.
fn whole_numbers(value: &mut Value) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().fold(false, |found, item| whole_numbers(item) | found),
        Value::Object(fields) => fields.values_mut().fold(false, |found, field| whole_numbers(field) | found),
        Value::Number(number) if number.is_f64() => {
            // Beyond that a float stands for several integers.
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15);
            let Some(whole) = whole.and_then(|whole| format!("{whole:.0}").parse::<i64>().ok()) else { return false };
            *value = whole.into();
            true
        }
        _ => false,
    }
}

/// The query of the request's URI.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        query.map(|axum::extract::Query(query)| Self(query)).map_err(|error| {
            let said = error.body_text();
            let why = said.strip_prefix("Failed to deserialize query string: ").unwrap_or(&said);
            Problem::new(Case::BadQuery, format_args!("the query can't be read: {}", visible(why)))
        })
    }
}

/// What stands in the holes of a path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        // Bytes that are no text name nothing.
        path.map(|axum::extract::Path(path)| Self(path)).map_err(|_| Problem::no_page())
    }
}

/// What the handlers work with, on the caller's behalf: what is changed through it is known to be theirs.
pub(super) struct Acting(pub(super) ApiState);

impl FromRequestParts<ApiState> for Acting {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Infallible> {
        let call = parts.extensions.get::<Call>().cloned().unwrap_or_default();
        Ok(Self(ApiState { control: state.control.on_behalf(call), ..state.clone() }))
    }
}

/// A switch in a query: `?cut`, `?cut=true`, `?cut=false`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match &*<std::borrow::Cow<'de, str>>::deserialize(deserializer)? {
            "" | "true" | "1" => Ok(Self(true)),
            "false" | "0" => Ok(Self(false)),
            _ => Err(serde::de::Error::custom("a switch is true or false")),
        }
    }
}
