//! Conditions (RFC 9110 §13): a representation has an `ETag`, by which a reader is spared what it has, and a writer is
//! kept from undoing what it has not seen.
//!
//! A tag has two halves, `"SET-ALL"`: SHA-256 of the representation without what is measured (open connections, the
//! standing of origins, what was spent), and of all of it. `If-None-Match` compares the whole tag, so a reader misses nothing.
//! `If-Match` compares the first half: traffic alone must not keep a writer from its change.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use moorgate_control::{Call, Control, ControlError};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

use super::{access::Caller, extract::TEXT_BYTES};
use crate::problem::{Case, Overtaken, Problem};

/// The longest representation that gets a tag, in bytes: a route with every setting at its limit, escaped.
const REPRESENTATION_BYTES: usize = 8 << 20;
/// How often a write that was overtaken is judged anew.
const TRIES: usize = 10;
/// Fields that are measured, not set, wherever they stand.
const MEASURED: [&str; 8] = ["open", "standing", "spent", "last_used", "last_client", "seen", "last", "waiting"];

/// What conditions are judged by.
#[derive(Clone)]
pub(super) struct Conditions {
    /// The handlers, to ask what a write would meet.
    current: Router,
    control: Control,
}

impl Conditions {
    /// Judges by what these handlers answer.
    pub(super) fn new(current: Router, control: Control) -> Self {
        Self { current, control }
    }
}

/// Tags what is read and judges what is written.
pub(super) async fn check(State(conditions): State<Conditions>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    match *request.method() {
        Method::GET | Method::HEAD if is_one(&path) => {
            let headers = request.headers().clone();
            tagged(next.run(request).await, &headers).await
        }
        Method::POST if is_whole_answer(&path) => tagged(next.run(request).await, &HeaderMap::new()).await,
        Method::PUT | Method::PATCH | Method::DELETE => write(&conditions, request, next).await,
        _ => next.run(request).await,
    }
}

/// Whether what is made here is answered as a GET of it would be.
pub(super) fn is_whole_answer(path: &str) -> bool {
    matches!(path, "/api/v1/accounts" | "/api/v1/routes")
}

/// Whether one thing is there, rather than a list or an answer to a question.
pub(super) fn is_one(path: &str) -> bool {
    path.ends_with('}') || path.ends_with("/policy") || path.ends_with("/status")
}

async fn write(conditions: &Conditions, request: Request, next: Next) -> Response {
    let (must, must_not) = (wanted(&request, header::IF_MATCH), wanted(&request, header::IF_NONE_MATCH));
    if must.is_none() && must_not.is_none() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    // Bounded where it was read.
    let Ok(body) = to_bytes(body, TEXT_BYTES).await else {
        return Problem::new(Case::BadBody, "the body broke off").into_response();
    };
    for _ in 0..TRIES {
        let version = conditions.control.snapshot().version;
        let current = match current(conditions, look(&parts)).await {
            Ok(tag) => Some(tag),
            // What is not there yet is made by PUT alone; else its own answer is better than ours (§13.2.1).
            Err(StatusCode::NOT_FOUND) if parts.method == Method::PUT => None,
            Err(_) => return next.run(Request::from_parts(parts, Body::from(body))).await,
        };
        let is = |tags: &Wanted| current.as_ref().is_some_and(|tag| tags.names_what_was_set(tag));
        if must.as_ref().is_some_and(|tags| !is(tags)) || must_not.as_ref().is_some_and(is) {
            let said = "it has changed since it was read; read it again and decide anew";
            return Problem::new(Case::Changed, said).into_response();
        }
        // Done only if nobody, by whichever gateway, has written anything since that look.
        let mut attempt = parts.clone();
        attempt.extensions.get_or_insert_default::<Call>().upon = Some(version);
        let response = next.clone().run(Request::from_parts(attempt, Body::from(body.clone()))).await;
        if response.extensions().get::<Overtaken>().is_none() {
            // PATCH answers what a GET would; a PUT's answer may be another thing.
            let is_patch = parts.method == Method::PATCH;
            return if is_patch { tagged(response, &HeaderMap::new()).await } else { response };
        }
    }
    Problem::from(ControlError::Overtaken).into_response()
}

/// The GET of what a request is about to write, by the same caller.
fn look(parts: &Parts) -> Request {
    let mut look = Request::new(Body::empty());
    *look.uri_mut() = Uri::try_from(parts.uri.path()).unwrap_or_default();
    if let Some(caller) = parts.extensions.get::<Caller>() {
        look.extensions_mut().insert(caller.clone());
    }
    look
}

/// The tag of what a write would meet, or how looking at it is refused.
async fn current(conditions: &Conditions, look: Request) -> Result<Tag, StatusCode> {
    let Ok(response) = conditions.current.clone().oneshot(look).await;
    if response.status() != StatusCode::OK {
        return Err(response.status());
    }
    let body = to_bytes(response.into_body(), REPRESENTATION_BYTES).await;
    body.map(|body| Tag::of(&body)).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// The answer with its tag, or only that what the reader has still is what there is.
async fn tagged(response: Response, asked: &HeaderMap) -> Response {
    if !matches!(response.status(), StatusCode::OK | StatusCode::CREATED) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, REPRESENTATION_BYTES).await else {
        return super::handlers::internal("an answer is too long to be tagged").into_response();
    };
    let tag = Tag::of(&body);
    if let Ok(value) = HeaderValue::try_from(tag.text()) {
        parts.headers.insert(header::ETAG, value);
    }
    let has_it = Wanted::of(asked, header::IF_NONE_MATCH).is_some_and(|tags| tags.names_all(&tag));
    if !has_it {
        return Response::from_parts(parts, Body::from(body));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}

/// What a representation is known by.
struct Tag {
    set: String,
    all: String,
}

impl Tag {
    fn of(body: &[u8]) -> Self {
        let set = serde_json::from_slice(body).ok().map(|mut value| {
            leave_out_measured(&mut value);
            value.to_string()
        });
        Self { set: digest(set.as_deref().map_or(body, str::as_bytes)), all: digest(body) }
    }

    fn text(&self) -> String {
        format!("\"{}-{}\"", self.set, self.all)
    }
}

fn leave_out_measured(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(leave_out_measured),
        Value::Object(fields) => {
            fields.retain(|name, _| !MEASURED.contains(&&**name));
            fields.values_mut().for_each(leave_out_measured);
        }
        _ => {}
    }
}

/// Half of SHA-256, in hexadecimal: 128 bits are not met by chance.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The tags of a condition.
enum Wanted {
    Any,
    /// As they stand, quotes and `W/` included.
    These(Vec<String>),
}

fn wanted(request: &Request, name: HeaderName) -> Option<Wanted> {
    Wanted::of(request.headers(), name)
}

impl Wanted {
    /// `None` where there is no such condition. What is no tag matches nothing. No tag of ours has a comma inside.
    fn of(headers: &HeaderMap, name: HeaderName) -> Option<Self> {
        let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
        if values.is_empty() {
            return None;
        }
        let values = values.into_iter().filter_map(|value| value.to_str().ok());
        let tags: Vec<String> = values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect();
        Some(if tags == ["*"] { Self::Any } else { Self::These(tags) })
    }

    /// By weak comparison (RFC 9110 §13.1.2).
    fn names_all(&self, tag: &Tag) -> bool {
        let text = tag.text();
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|named| named.strip_prefix("W/").unwrap_or(named) == text),
        }
    }

    /// By strong comparison (§13.1.1) of what was set.
    fn names_what_was_set(&self, tag: &Tag) -> bool {
        let begins = format!("\"{}-", tag.set);
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|named| named.starts_with(&begins)),
        }
    }
}
