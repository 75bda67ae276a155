//! What changes something is read whole first, and then done to its end: a client that leaves while it is done neither
//! undoes half of it nor lets go of what waits for its end.

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::Method;

use super::extract::{FILES_BYTES, TEXT_BYTES, read_body};
use crate::problem::{Case, Problem};

/// Passes on requests whose bodies are there. Of what only looks, nothing is read.
pub(super) async fn whole(request: Request, next: Next) -> Result<Response, Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    let is_text = parts.extensions.get::<MatchedPath>().is_some_and(|path| path.as_str() == "/api/v1/apply");
    let body = read_body(body, if is_text { TEXT_BYTES } else { FILES_BYTES }).await?;
    let done = tokio::spawn(next.run(Request::from_parts(parts, Body::from(body))));
    let interrupted = "the request ended before it was done; list what there is, then try again";
    Ok(done.await.unwrap_or_else(|_| Problem::new(Case::Internal, interrupted).into_response()))
}
