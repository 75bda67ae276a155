//! `usage`: what accounts moved, by the hour. An account sees its own.

use std::time::{Duration, SystemTime};

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use moorgate_contract::time::Timestamp;
use moorgate_control::{GroupBy, UsageFilter};
use serde::Deserialize;

use super::internal;
use crate::{
    problem::{Case, Problem},
    server::{ApiState, access::Caller, extract::Query},
    view::{Time, UsageRow},
};

/// How far back usage goes where nobody says since when.
const SINCE: Duration = Duration::from_secs(24 * 3600);
/// The longest answer, in bytes: half as many rows again as there can be accounts would not fit, and whoever bills by
/// the row must not be given a part of them.
const ANSWER_BYTES: usize = 12 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    account: Option<String>,
    since: Option<Time>,
    until: Option<Time>,
    #[serde(default)]
    by: GroupBy,
}

/// Says what was moved in whole hours, from that of `since` to that of `until`, each row for its account.
#[utoipa::path(get, path = "/api/v1/usage", tag = "usage",
    params(("account" = Option<String>, Query, description = "Only this account's"),
        ("since" = Option<String>, Query, description = "From the hour in which this is; left out: 24 hours before `until`"),
        ("until" = Option<String>, Query, description = "To the hour in which this is; left out: now"),
        ("by" = Option<String>, Query, description = "What is counted together; left out: `account`. `all`: nothing")),
    responses((status = OK, body = Vec<UsageRow>)))]
pub(super) async fn show_usage(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let account = which.account.as_deref().or(caller.account()).map(str::to_owned);
    if let Some(account) = &account {
        caller.must_see(account)?;
    }
    let until = which.until.map_or_else(|| SystemTime::now().into(), |time| time.0);
    let before = Timestamp(until.0.saturating_sub(u64::try_from(SINCE.as_micros()).unwrap_or_default()));
    let since = which.since.map_or(before, |time| time.0);
    if since > until {
        return Err(Problem::new(Case::Invalid, "since is later than until; swap the two"));
    }
    let rows = api.control.usage(UsageFilter { account, since, until, by: which.by }).await?;
    answer(rows.into_iter().map(UsageRow::from))
}

fn answer(rows: impl Iterator<Item = UsageRow>) -> Result<Response, Problem> {
    let mut body = vec![b'['];
    for row in rows {
        if body.len() > 1 {
            body.push(b',');
        }
        serde_json::to_writer(&mut body, &row).map_err(|_| internal("a row can't be written as JSON"))?;
        if body.len() > ANSWER_BYTES {
            let said =
                "this is more than one answer holds; ask for a shorter time, for one account, or by something else";
            return Err(Problem::new(Case::Invalid, said));
        }
    }
    body.push(b']');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
