//! What a form sends: read within bounds, and only where it was drawn for whoever sends it.

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Request},
    response::Response,
};
use http::{StatusCode, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{guard::Visitor, pages};

/// The longest form, in bytes: a certificate with its key fits.
const MOST: usize = 256 << 10;

/// A form of somebody who is signed in.
pub(crate) struct Form<T>(pub(crate) T);

/// What stands behind the `?` of a link. What can't be read is answered with a page.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let said = "Something in this link can't be read. Go back to the page that it is on.";
        let wrong = |_| pages::refusal(StatusCode::BAD_REQUEST, "A broken link", said);
        serde_urlencoded::from_str(parts.uri.query().unwrap_or_default()).map(Self).map_err(wrong)
    }
}

/// What stands in the path. What can't be read is nothing.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(_) => Err(pages::nothing().await),
        }
    }
}

/// A form before anybody is. [`from_ourselves`](crate::guard::from_ourselves) is what keeps other sites out.
pub(crate) struct OpenForm<T>(pub(crate) T);

#[derive(Deserialize)]
struct Proof {
    #[serde(default)]
    csrf: String,
}

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Form<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let wanted = request.extensions().get::<Visitor>().map(|visitor| visitor.csrf.clone());
        let body = body(request).await?;
        let proof: Proof = serde_urlencoded::from_bytes(&body).map_err(|_| unreadable())?;
        // Of two digests: how far they agree says nothing of what they are made of.
        if wanted.is_none_or(|wanted| wanted != proof.csrf) {
            let said = "This form was drawn before you signed in. Go back, load the page again and send it once more.";
            return Err(pages::refusal(StatusCode::FORBIDDEN, "An old form", said));
        }
        serde_urlencoded::from_bytes(&body).map(Self).map_err(|_| unreadable())
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for OpenForm<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        serde_urlencoded::from_bytes(&body(request).await?).map(Self).map_err(|_| unreadable())
    }
}

async fn body(request: Request) -> Result<axum::body::Bytes, Response> {
    to_bytes(request.into_body(), MOST).await.map_err(|_| {
        pages::refusal(StatusCode::PAYLOAD_TOO_LARGE, "Too much", "This form is longer than any that is drawn here.")
    })
}

fn unreadable() -> Response {
    pages::refusal(
        StatusCode::BAD_REQUEST,
        "An incomplete form",
        "Something that the form asks for is missing. Go back and try again.",
    )
}
