//! What the API says when it says no: problem details (RFC 9457).
//!
//! `type` is `about:blank`, so `title` is the status in words; `code` tells our cases apart. Nothing in here comes from
//! the inside of the gateway: causes go to its log.

use std::fmt::Display;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use moorgate_control::{ControlError, Invalid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Marks an answer: nothing was done, and another try may do it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overtaken;

/// One problem, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` tells cases apart.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed, on what, and what to do.
    pub detail: String,
    /// Which case, for programs.
    pub code: String,
}

macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal;)*) => {
        /// The cases.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Case { $($(#[$doc])* $name,)* }

        impl Case {
            /// Its HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// Its code.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

cases! {
    /// No token was given.
    TokenMissing = UNAUTHORIZED, "token_missing";
    /// No such token, or one that was revoked.
    TokenUnknown = UNAUTHORIZED, "token_unknown";
    /// The token may read but not write.
    ScopeInsufficient = FORBIDDEN, "scope_insufficient";
    /// Its own, but only an operator may change it.
    OperatorOnly = FORBIDDEN, "operator_only";
    /// No such thing, or none that this token may see.
    NotFound = NOT_FOUND, "not_found";
    /// The path is there, the method is not.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed";
    /// It exists already, or something else stands in the way.
    Conflict = CONFLICT, "conflict";
    /// A value that can't be.
    Invalid = UNPROCESSABLE_ENTITY, "invalid";
    /// The query has a parameter that is unknown or can't be read.
    BadQuery = BAD_REQUEST, "bad_query";
    /// The body can't be read.
    BadBody = BAD_REQUEST, "bad_body";
    /// The body is no JSON.
    NotJson = UNSUPPORTED_MEDIA_TYPE, "not_json";
    /// The body is longer than we read.
    BodyTooLong = PAYLOAD_TOO_LARGE, "body_too_long";
    /// The body did not come in time.
    BodyTooSlow = REQUEST_TIMEOUT, "body_too_slow";
    /// An Idempotency-Key that can't be read.
    BadKey = BAD_REQUEST, "bad_idempotency_key";
    /// An Idempotency-Key that was used for another request.
    KeyReused = UNPROCESSABLE_ENTITY, "idempotency_key_reused";
    /// The first request of an Idempotency-Key is not done yet.
    StillRunning = CONFLICT, "still_running";
    /// The request of an Idempotency-Key was done; its answer is gone, with the gateway that gave it.
    AlreadyDone = CONFLICT, "already_done";
    /// While a condition was judged, something else was changed, again and again.
    Overtaken = CONFLICT, "overtaken";
    /// What a condition speaks of is not what there is now.
    Changed = PRECONDITION_FAILED, "changed";
    /// The request names a host that this listener is not.
    Misdirected = MISDIRECTED_REQUEST, "misdirected";
    /// The store can't be reached; traffic is served on.
    StoreDown = SERVICE_UNAVAILABLE, "store_down";
    /// Too many connections.
    Full = SERVICE_UNAVAILABLE, "full";
    /// Something of ours failed.
    Internal = INTERNAL_SERVER_ERROR, "internal";
}

impl Problem {
    /// A problem with its line.
    pub fn new(case: Case, detail: impl Display) -> Self {
        Self {
            kind: "about:blank".into(),
            title: case.status().canonical_reason().unwrap_or_default().into(),
            status: case.status().as_u16(),
            detail: detail.to_string(),
            code: case.code().into(),
        }
    }

    /// No such page.
    pub(crate) fn no_page() -> Self {
        Self::new(Case::NotFound, "there is nothing here; the resources are listed in /api/v1/openapi.json")
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let case = match &error {
            ControlError::NotFound { .. } => Case::NotFound,
            ControlError::Exists { .. }
            | ControlError::NotServed { .. }
            | ControlError::CredentialNotServed { .. }
            | ControlError::Invalid(Invalid::TierInUse { .. } | Invalid::ReceiverTwice { .. } | Invalid::TestTooSoon) => {
                Case::Conflict
            }
            ControlError::Invalid(_) | ControlError::Text(_) => Case::Invalid,
            ControlError::StoreDown(_) => Case::StoreDown,
            ControlError::Overtaken => Case::Overtaken,
            ControlError::AlreadyDone { .. } => Case::AlreadyDone,
            ControlError::KeyReused => Case::KeyReused,
            _ => Case::Internal,
        };
        if !matches!(case, Case::StoreDown | Case::Internal) {
            return Self::new(case, error);
        }
        // Paths and causes are for whoever reads the log, not for whoever has a token.
        tracing::error!(error = &error as &dyn std::error::Error, "an API call failed");
        match case {
            Case::StoreDown => Self::new(case, error),
            _ => Self::new(case, "something in the gateway failed; its log says what"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if self.code == Case::Overtaken.code() {
            response.extensions_mut().insert(Overtaken);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.status == StatusCode::SERVICE_UNAVAILABLE
            || [Case::StillRunning.code(), Case::Overtaken.code()].contains(&&*self.code)
        {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3: an error code only when a token was given.
            let challenge = if self.code == Case::TokenUnknown.code() {
                HeaderValue::from_static("Bearer realm=\"moorgate\", error=\"invalid_token\"")
            } else {
                HeaderValue::from_static("Bearer realm=\"moorgate\"")
            };
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
