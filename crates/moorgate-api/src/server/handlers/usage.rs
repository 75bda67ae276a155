//! `usage`: what accounts moved, by the hour. An account sees its own.

use std::time::{Duration, SystemTime};

use axum::{Extension, extract::State, response::Response};
use http::Uri;
use moorgate_contract::time::Timestamp;
use moorgate_control::{GroupBy, UsageFilter};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{
    problem::{Case, Problem},
    server::{
        ApiState,
        access::Caller,
        extract::Query,
        page::{KEY_BYTES, Listing, Page},
    },
    view::{Time, UsageRow},
};

/// How far back usage goes where nobody says since when.
const SINCE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    account: Option<String>,
    since: Option<Time>,
    until: Option<Time>,
    #[serde(default)]
    by: GroupBy,
    limit: Option<usize>,
    cursor: Option<String>,
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
    uri: Uri,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let page = Page::of(Listing::Usage, which.limit, which.cursor.as_deref())?;
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
    let rows = api.control.usage(UsageFilter { account, since, until, by: which.by, ..UsageFilter::default() }).await?;
    let rows: Vec<UsageRow> = page.choose(rows.into_iter().map(UsageRow::from).collect(), key);
    page.answer(&uri, &rows, key)
}

/// What a row is of: no two have the same.
fn key(row: &UsageRow) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let hour = row.hour.map_or(0, |hour| hour.0.0);
    let egress = row.egress.map(|egress| egress.to_string());
    let parts = [&row.account, &row.credential, &row.route, &row.host, &egress].map(text);
    let whole = format!("{hour:020}\u{1f}{}", parts.join("\u{1f}"));
    if whole.len() <= KEY_BYTES {
        return whole;
    }
    // Sorted by its beginning still, and told from others by all of it.
    let digest = Sha256::digest(whole.as_bytes());
    let digest = digest.iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    whole.chars().take(KEY_BYTES - digest.len()).chain(digest.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_fits_a_cursor_and_is_one_rows() {
        let row = |host: String| UsageRow { host: Some(host), ..UsageRow::default() };
        let (long, longer) = (row("a".repeat(253)), row(format!("{}b", "a".repeat(252))));
        assert_eq!((key(&long).len(), key(&longer).len()), (KEY_BYTES, KEY_BYTES));
        assert_ne!(key(&long), key(&longer));
        assert!(key(&row("a.example".into())) < key(&row("b.example".into())));
    }
}
