//! `accounts`: tenants.

use axum::{Extension, extract::State, response::Response};
use http::{StatusCode, Uri};
use moorgate_control::{AccountChange, AccountView};

use super::{Answer, owned::Part};
use crate::{
    problem::Problem,
    server::{
        ApiState,
        access::Caller,
        extract::{Acting, Json, Path, Query},
        page::Listing,
    },
    view::{Account, AddAccount, ChangeAccount, Time},
};

/// An account with what the snapshot knows of it.
fn view(api: &ApiState, account: AccountView) -> Account {
    let served = api.control.snapshot().account(&account.name).cloned();
    Account {
        created: Time(account.created),
        egress: account.egress,
        egress_is_own: account.own_egress,
        credentials: account.credentials,
        rules: served.as_ref().map_or(0, |served| served.policy.rules().len()),
        open: served.as_ref().map_or(0, |served| api.control.open_of(served)),
        served: account.served,
        tier: account.tier,
        quota: account.quota.map(Into::into),
        name: account.name,
    }
}

/// Lists the accounts that the token may see, by name.
#[utoipa::path(get, path = "/api/v1/accounts", tag = "accounts",
    responses((status = OK, body = Vec<Account>)))]
pub(super) async fn list_accounts(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    Query(part): Query<Part>,
) -> Result<Response, Problem> {
    let page = part.page(Listing::Accounts)?;
    let accounts = match caller.account() {
        Some(own) => vec![api.control.account(own).await?],
        None => api.control.list_accounts().await,
    };
    let rows = page.choose(accounts, |account| account.name.clone());
    let rows: Vec<Account> = rows.into_iter().map(|account| view(&api, account)).collect();
    page.answer(&uri, &rows, |account| account.name.clone())
}

/// Makes an account.
#[utoipa::path(post, path = "/api/v1/accounts", tag = "accounts", request_body = AddAccount,
    responses((status = CREATED, body = Account)))]
pub(super) async fn add_account(
    Acting(api): Acting,
    Json(add): Json<AddAccount>,
) -> Result<(StatusCode, axum::Json<Account>), Problem> {
    let account = api.control.add_account(&add.name).await?;
    Ok((StatusCode::CREATED, axum::Json(view(&api, account))))
}

/// Shows one account.
#[utoipa::path(get, path = "/api/v1/accounts/{account}", tag = "accounts",
    params(("account" = String, Path, description = "The account's name")),
    responses((status = OK, body = Account)))]
pub(super) async fn show_account(State(api): State<ApiState>, Path(name): Path<String>) -> Answer<Account> {
    let account = api.control.account(&name).await?;
    Ok(axum::Json(view(&api, account)))
}

/// Changes an account: its egress addresses, its tier. New connections follow at once; open ones stay.
#[utoipa::path(patch, path = "/api/v1/accounts/{account}", tag = "accounts", request_body = ChangeAccount,
    params(("account" = String, Path, description = "The account's name")),
    responses((status = OK, body = Account)))]
pub(super) async fn change_account(
    Acting(api): Acting,
    Path(name): Path<String>,
    Json(change): Json<ChangeAccount>,
) -> Answer<Account> {
    let account = api.control.set_account(&name, AccountChange { egress: change.egress, tier: change.tier }).await?;
    Ok(axum::Json(view(&api, account)))
}

/// Removes an account with its credentials and tokens; its open flows are cut.
#[utoipa::path(delete, path = "/api/v1/accounts/{account}", tag = "accounts",
    params(("account" = String, Path, description = "The account's name")),
    responses((status = NO_CONTENT)))]
pub(super) async fn remove_account(Acting(api): Acting, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    api.control.remove_account(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
