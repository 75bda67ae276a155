//! `apply` and `export`: a deployment as a text.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use moorgate_control::Applied;

use super::Answer;
use crate::{
    server::{
        ApiState,
        extract::{Acting, Flag, Json, Query, TEXT_BYTES},
    },
    view::{AppliedText, ApplyText},
};

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    #[serde(default)]
    dry_run: Flag,
    #[serde(default)]
    prune: Flag,
}

/// Makes tiers, accounts and routes as a text (TOML) says, all at once; says what that changes.
#[utoipa::path(post, path = "/api/v1/apply", tag = "deployment", request_body = ApplyText,
    params(("dry_run" = Option<bool>, Query, description = "Only say what would change"),
        ("prune" = Option<bool>, Query, description = "Remove what is there and not in the text")),
    responses((status = OK, body = AppliedText)))]
pub(super) async fn apply_text(
    Acting(api): Acting,
    Query(how): Query<How>,
    Json(apply): Json<ApplyText, TEXT_BYTES>,
) -> Answer<Applied> {
    Ok(axum::Json(api.control.apply(&apply.text, how.dry_run.0, how.prune.0).await?))
}

/// Tiers, accounts and routes as a text (TOML) that applied changes nothing. No secret is in it.
#[utoipa::path(get, path = "/api/v1/export", tag = "deployment",
    responses((status = OK, body = String, content_type = "application/toml")))]
pub(super) async fn export_text(State(api): State<ApiState>) -> Response {
    ([(header::CONTENT_TYPE, "application/toml")], api.control.export().await).into_response()
}
