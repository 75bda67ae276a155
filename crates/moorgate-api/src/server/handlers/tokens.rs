//! `tokens`: bearer tokens of this API. A token is in the answer that made it, and never again.

use axum::{Extension, extract::State, response::Response};
use http::{StatusCode, Uri};
use moorgate_control::{self as control, ControlError, NewToken, TokenView, What};

use super::{Answer, owned::Part};
use crate::{
    problem::Problem,
    server::{
        ApiState,
        access::Caller,
        extract::{Acting, Json, Path, Query},
        page::{Listing, by_time},
    },
    view::{self, AddToken, Scope, Time, Token},
};

/// Lists the tokens that the caller may see, without their secrets: an operator all, an account its own.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens",
    responses((status = OK, body = Vec<Token>)))]
pub(super) async fn list_tokens(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    Query(part): Query<Part>,
) -> Result<Response, Problem> {
    let page = part.page(Listing::Tokens)?;
    let tokens = api.control.list_tokens(caller.account()).await?;
    let rows: Vec<Token> =
        page.choose(tokens, |token| by_time(token.created, &token.id)).into_iter().map(view).collect();
    page.answer(&uri, &rows, |token| by_time(token.created.0, &token.id))
}

fn view(token: TokenView) -> Token {
    Token {
        id: token.id,
        account: token.account,
        scope: match token.scope {
            control::Scope::Read => Scope::Read,
            control::Scope::Write => Scope::Write,
        },
        created: Time(token.created),
    }
}

/// Shows one token, without its secret.
#[utoipa::path(get, path = "/api/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "The token's id, as listed")),
    responses((status = OK, body = Token)))]
pub(super) async fn show_token(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer<Token> {
    Ok(axum::Json(view(seen(&api, &caller, id).await?)))
}

/// A token, if the caller may see it. Another's is answered like one that is not there.
async fn seen(api: &ApiState, caller: &Caller, id: String) -> Result<TokenView, Problem> {
    let token = api.control.token(&id).await?;
    let is_theirs = token.account.as_deref().map_or(caller.is_operator(), |account| caller.sees(account));
    if is_theirs { Ok(token) } else { Err(ControlError::NotFound { what: What::Token, name: id }.into()) }
}

/// Makes a token, shown this once. An account can make tokens for itself only.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = AddToken,
    responses((status = CREATED, body = view::NewToken)))]
pub(super) async fn add_token(
    Acting(api): Acting,
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
    responses((status = NO_CONTENT)))]
pub(super) async fn revoke_token(
    Acting(api): Acting,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = seen(&api, &caller, id).await?.id;
    api.control.revoke_token(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
