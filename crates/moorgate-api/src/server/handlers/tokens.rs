//! `tokens`: bearer tokens of this API. A token is in the answer that made it, and never again.

use axum::{
    Extension,
    extract::{Path, State},
};
use http::StatusCode;
use moorgate_control::{self as control, ControlError, NewToken, What};

use super::Answer;
use crate::{
    problem::Problem,
    server::{ApiState, access::Caller, extract::Json},
    view::{self, AddToken, Scope, Time, Token},
};

/// Lists the tokens that the caller may see, without their secrets: an operator all, an account its own.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens",
    responses((status = OK, body = Vec<Token>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list_tokens(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Answer<Vec<Token>> {
    let tokens = api.control.list_tokens(caller.account()).await?.into_iter().map(|token| Token {
        id: token.id,
        account: token.account,
        scope: match token.scope {
            control::Scope::Read => Scope::Read,
            control::Scope::Write => Scope::Write,
        },
        created: Time(token.created),
    });
    Ok(axum::Json(tokens.collect()))
}

/// Makes a token, shown this once. An account can make tokens for itself only.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = AddToken,
    responses((status = CREATED, body = view::NewToken), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn add_token(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Json(add): Json<AddToken>,
) -> Result<(StatusCode, axum::Json<NewToken>), Problem> {
    // Left out, it means an operator's token to an operator, and the account's own to an account.
    let account = add.account.as_deref().or(caller.account());
    if let Some(account) = account {
        caller.must_see(account)?;
    }
    let scope = match add.scope {
        Scope::Read => control::Scope::Read,
        Scope::Write => control::Scope::Write,
    };
    Ok((StatusCode::CREATED, axum::Json(api.control.add_token(account, scope).await?)))
}

/// Revokes a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "The token's id, as listed")),
    responses((status = NO_CONTENT), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn revoke_token(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let is_theirs = match api.control.token(&id).await?.account {
        Some(account) => caller.sees(&account),
        None => caller.is_operator(),
    };
    if !is_theirs {
        // As of one that does not exist.
        return Err(ControlError::NotFound { what: What::Token, name: id }.into());
    }
    api.control.revoke_token(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
