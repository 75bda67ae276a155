//! What pages are drawn with: compiled in, named after their content, kept by browsers for ever.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

use crate::form::Path;

const STYLE: &str = include_str!("../assets/console.css");
const SCRIPT: &str = include_str!("../assets/console.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// The name of the style sheet.
pub(crate) static STYLE_NAME: LazyLock<String> = LazyLock::new(|| format!("console.{}.css", digest(STYLE)));
/// The name of the script.
pub(crate) static SCRIPT_NAME: LazyLock<String> = LazyLock::new(|| format!("console.{}.js", digest(SCRIPT)));

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// One of them.
pub(crate) async fn file(Path(file): Path<String>) -> Response {
    if file == *STYLE_NAME {
        kept("text/css; charset=utf-8", STYLE)
    } else if file == *SCRIPT_NAME {
        kept("text/javascript; charset=utf-8", SCRIPT)
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

/// The picture in the browser's tab.
pub(crate) async fn icon() -> Response {
    kept("image/svg+xml", ICON)
}

fn kept(media_type: &'static str, text: &'static str) -> Response {
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    ([(header::CONTENT_TYPE, HeaderValue::from_static(media_type)), (header::CACHE_CONTROL, kept)], text)
        .into_response()
}
