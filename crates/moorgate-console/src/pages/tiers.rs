//! Tiers: what accounts may have bought, and who has which.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::StatusCode;
use moorgate_contract::quota::Quotas;
use moorgate_control::{AccountChange, ControlError};
use serde::Deserialize;

use super::{Frame, drawn_as, failed, sign_in::Nothing};
use crate::{
    Console,
    form::{Form, Path},
    guard::{From, Operator, Visitor},
    shown,
};

/// Bytes.
const GIGABYTE: u64 = 1_000_000_000;

#[derive(Template)]
#[template(path = "tiers.html")]
struct TiersPage {
    frame: Frame,
    /// Its name, what it allows, and how many accounts have it.
    tiers: Vec<(String, String, usize)>,
    /// Accounts and the tier of each.
    accounts: Vec<(String, String)>,
    problem: Option<String>,
}

async fn shown_with(console: &Console, visitor: &Visitor, problem: Option<String>) -> Response {
    let tiers =
        console.control.list_tiers().await.into_iter().map(|tier| (tier.name, words(&tier.quotas), tier.accounts));
    let accounts = console.control.list_accounts().await.into_iter();
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = TiersPage {
        frame: Frame::of(visitor, "/tiers"),
        tiers: tiers.collect(),
        accounts: accounts.map(|account| (account.name, account.tier.unwrap_or_default())).collect(),
        problem,
    };
    drawn_as(status, &page)
}

fn words(quotas: &Quotas) -> String {
    let all = [
        quotas.requests_per_month.map(|count| format!("{} requests a month", shown::number(count))),
        quotas.bytes_per_month.map(|count| format!("{} a month", shown::bytes(count))),
        quotas.requests_per_second.map(|count| format!("{count} requests a second")),
        quotas.bytes_per_second.map(|count| format!("{} a second", shown::bytes(count))),
        quotas.tunnels.map(|count| format!("{count} open at once")),
    ];
    let said: Vec<String> = all.into_iter().flatten().collect();
    if said.is_empty() { "no limits".to_owned() } else { said.join(", ") }
}

pub(crate) async fn page(State(console): State<Console>, Operator(visitor): Operator) -> Response {
    shown_with(&console, &visitor, None).await
}

#[derive(Deserialize)]
pub(crate) struct NewTier {
    #[serde(default)]
    name: String,
    /// Empty: no limit.
    #[serde(default)]
    requests_per_month: String,
    #[serde(default)]
    gigabytes_per_month: String,
    #[serde(default)]
    tunnels: String,
}

fn limit<T: std::str::FromStr>(text: &str) -> Result<Option<T>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("{text:?} is no whole number; leave it empty for no limit."))
}

pub(crate) async fn set(
    State(console): State<Console>,
    Operator(visitor): Operator,
    from: From,
    Form(tier): Form<NewTier>,
) -> Response {
    let read = || {
        Ok(Quotas {
            requests_per_month: limit(&tier.requests_per_month)?,
            bytes_per_month: limit::<u64>(&tier.gigabytes_per_month)?.map(|count| count.saturating_mul(GIGABYTE)),
            tunnels: limit(&tier.tunnels)?,
            ..Quotas::default()
        })
    };
    let quotas: Quotas = match read() {
        Ok(quotas) => quotas,
        Err(said) => return shown_with(&console, &visitor, Some(said)).await,
    };
    done(&console, &visitor, visitor.asks(&console, from, None).set_tier(tier.name.trim(), quotas).await.map(drop))
        .await
}

pub(crate) async fn remove(
    State(console): State<Console>,
    Operator(visitor): Operator,
    from: From,
    Path(tier): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    done(&console, &visitor, visitor.asks(&console, from, None).remove_tier(&tier).await).await
}

#[derive(Deserialize)]
pub(crate) struct Given {
    /// Empty: none.
    #[serde(default)]
    tier: String,
}

pub(crate) async fn give(
    State(console): State<Console>,
    Operator(visitor): Operator,
    from: From,
    Path(account): Path<String>,
    Form(Given { tier }): Form<Given>,
) -> Response {
    let change = AccountChange { tier: Some(Some(tier).filter(|tier| !tier.is_empty())), egress: None };
    done(&console, &visitor, visitor.asks(&console, from, None).set_account(&account, change).await.map(drop)).await
}

async fn done(console: &Console, visitor: &Visitor, result: Result<(), ControlError>) -> Response {
    match result {
        Ok(()) => Redirect::to("/tiers").into_response(),
        Err(error @ ControlError::StoreDown(_)) => failed(&error),
        Err(error) => shown_with(console, visitor, Some(error.to_string())).await,
    }
}
