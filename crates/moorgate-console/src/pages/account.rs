//! The start page of an account, and the letter to its partners.

use std::sync::Arc;

use askama::Template;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, header};
use moorgate_contract::{
    exposure::{Content, Exposure, Readable},
    listener::Product,
    time::Timestamp,
};
use moorgate_control::{
    AccountView, CredentialStanding, GroupBy, QuotaView, RouteState, UsageFilter, UsageRow, stage_of,
};
use serde_json::json;

use super::{Frame, drawn, failed, now, wants_json};
use crate::{
    Console,
    guard::Inside,
    plot::{self, Column},
    probe::answering::Answer,
    shown,
};

/// The most things of one kind that are named one by one.
const NAMED: usize = 5;
/// Microseconds.
const DAY: u64 = 86_400 * 1_000_000;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    view: AccountView,
    /// What, where it can be mended, and how that is called.
    attention: Vec<(String, String, &'static str)>,
    /// Product, URL, and what others can read on the way to the gateway.
    urls: Vec<(&'static str, String, Readable)>,
    month: String,
    requests: String,
    bytes: String,
    refusals: String,
    spent: Vec<Spent>,
}

pub(crate) async fn page(State(console): State<Console>, inside: Inside) -> Response {
    let Inside { visitor, account, .. } = &inside;
    let view = match console.control.account(account).await {
        Ok(view) => view,
        Err(error) => return failed(&error),
    };
    let rows = month(&console, account).await;
    let sum = |of: fn(&UsageRow) -> u64| rows.iter().map(of).sum::<u64>();
    let urls = (console.proxy_urls)("USERNAME", "PASSWORD").into_iter().map(|it| {
        let product = it.listener.product().map_or("", Product::name);
        (product, it.url, Exposure::outbound(it.listener, Content::Tls).wire_to_gateway)
    });
    let spent = view.quota.as_ref().map(spent).unwrap_or_default();
    let page = AccountPage {
        frame: Frame::of_account(visitor, account, ""),
        attention: attention(&console, account, &spent).await,
        urls: urls.collect(),
        spent,
        month: plot::columns("Requests and tunnels by day", &days(&rows), |most| shown::number(most as u64)),
        requests: shown::number(sum(|row| row.requests + row.connections)),
        bytes: shown::bytes(sum(|row| row.bytes_up + row.bytes_down)),
        refusals: shown::number(sum(|row| row.refusals)),
        view,
    };
    drawn(&page)
}

/// Something that the tier limits by the month.
struct Spent {
    what: &'static str,
    spent: String,
    of: String,
    /// How urgent it is, as alarms have it.
    stage: u8,
}

fn spent(quota: &QuotaView) -> Vec<Spent> {
    let QuotaView { quotas, requests, bytes, .. } = quota;
    let one = |what, used, limit: Option<u64>, say: fn(u64) -> String| {
        limit.map(|of| Spent { what, spent: say(used), of: say(of), stage: stage_of(used, of) })
    };
    let counted = one("Requests and tunnels", *requests, quotas.requests_per_month, shown::number);
    let moved = one("Bytes", *bytes, quotas.bytes_per_month, shown::bytes);
    counted.into_iter().chain(moved).collect()
}

/// The usage of the last thirty days, by hour. None where the store can't be asked.
async fn month(console: &Console, account: &str) -> Vec<UsageRow> {
    let until = now();
    let since = Timestamp(until.0.saturating_sub(30 * DAY));
    let filter =
        UsageFilter { account: Some(account.to_owned()), since, until, by: GroupBy::Hour, ..UsageFilter::default() };
    console.control.usage(filter).await.unwrap_or_default()
}

fn days(rows: &[UsageRow]) -> Vec<Column> {
    let today = now().0 / DAY;
    let column = |back: u64| {
        let day = today.saturating_sub(back);
        let of_day = rows.iter().filter(|row| row.hour.is_some_and(|hour| hour.0 / DAY == day));
        let count: u64 = of_day.map(|row| row.requests + row.connections).sum();
        let name = shown::day(Timestamp(day * DAY));
        let label = if back.is_multiple_of(7) { name.get(5..).unwrap_or_default().to_owned() } else { String::new() };
        Column { label, title: format!("{name}: {}", shown::number(count)), parts: vec![count as f64] }
    };
    (0..30).rev().map(column).collect()
}

/// What somebody should look at, the worst first.
async fn attention(console: &Console, account: &str, spent: &[Spent]) -> Vec<(String, String, &'static str)> {
    let mut all = Vec::new();
    let base = format!("/a/{account}");
    for Spent { what, spent, of, stage } in spent.iter().filter(|one| one.stage > 0) {
        let (how, what) = (if *stage == 2 { "All" } else { "Four fifths" }, what.to_lowercase());
        all.push((format!("{how} of the month's {what} are spent: {spent} of {of}."), format!("{base}#tier"), "Tier"));
    }
    let unwell = console.control.unwell(account, NAMED);
    for (domain, state, _) in unwell.routes {
        let said = match state {
            RouteState::Failed => format!("{domain} can't be served."),
            RouteState::Pending => format!("{domain} waits for its DNS."),
            RouteState::Released => format!("{domain} is not served any more: its DNS was not here for a week."),
            RouteState::Active => format!("The DNS of {domain} has left."),
        };
        all.push((said, format!("{base}/routes/{domain}"), "Look"));
    }
    for domain in unwell.certificates {
        all.push((format!("The certificate of {domain} could not be had."), format!("{base}/routes/{domain}"), "Look"));
    }
    let credentials = console.control.list_credentials(account).await.unwrap_or_default();
    for one in credentials.iter().filter(|one| !one.is_for_tests()) {
        let said = match (one.standing, one.last_used) {
            (CredentialStanding::NeverUsed, _) => {
                format!("The credential {} was never used: its app may still connect directly.", one.called())
            }
            (CredentialStanding::Stopped, Some(last)) => {
                format!("The traffic of {} stopped after {}.", one.called(), shown::time(last))
            }
            (CredentialStanding::Expired, _) => format!("The credential {} has expired.", one.called()),
            _ => continue,
        };
        if all.len() < 3 * NAMED {
            all.push((said, format!("{base}/credentials"), "Credentials"));
        }
    }
    all
}

#[derive(Template)]
#[template(path = "answers.html")]
struct AnswersPage {
    frame: Frame,
    account: String,
    said: String,
    class: &'static str,
    found: Arc<[Answer]>,
    needs_ca: bool,
}

/// Whether the gateway answers where apps go: for a script as JSON, for people as a page.
pub(crate) async fn answers(State(console): State<Console>, inside: Inside, headers: HeaderMap) -> Response {
    let needs_ca = (console.proxy_ca)().is_some();
    let found = console.answering.look((console.proxy_urls)("USERNAME", "PASSWORD"), needs_ca).await;
    let (class, said) = summary(&found);
    if wants_json(&headers) {
        return Json(json!({ "state": class, "said": said })).into_response();
    }
    let frame = Frame::of_account(&inside.visitor, &inside.account, "");
    drawn(&AnswersPage { frame, account: inside.account, said, class, found, needs_ca })
}

fn summary(found: &[Answer]) -> (&'static str, String) {
    let silent: Vec<&str> = found.iter().filter(|one| !one.answers).map(|one| &*one.place).collect();
    match (&*silent, found.len()) {
        (_, 0) => ("problem", "This gateway has no proxy open to apps.".to_owned()),
        ([], 1) => ("good", "Its proxy answers, by the name that apps use.".to_owned()),
        ([], count) => ("good", format!("Its {count} proxies answer, by the name that apps use.")),
        (silent, _) => ("problem", format!("There is no answer at {}.", silent.join(", "))),
    }
}

#[derive(Template)]
#[template(path = "letter.html")]
struct Letter {
    account: String,
    day: String,
    addresses: Vec<String>,
    /// Whether no other account leaves from them.
    alone: bool,
    contact: String,
}

pub(crate) async fn letter(State(console): State<Console>, inside: Inside) -> Response {
    match console.control.account(&inside.account).await {
        Ok(view) => drawn(&Letter {
            alone: console
                .control
                .egress()
                .iter()
                .filter(|egress| view.egress.contains(&egress.address))
                .all(|egress| egress.accounts == [inside.account.as_str()]),
            account: inside.account,
            day: shown::day(now()),
            addresses: view.egress.iter().map(ToString::to_string).collect(),
            contact: inside.visitor.person.email,
        }),
        Err(error) => failed(&error),
    }
}

/// What clients have to trust for the TLS listeners, where the system does not.
pub(crate) async fn ca(State(console): State<Console>, _: Inside) -> Response {
    match (console.proxy_ca)() {
        Some(pem) => ([(header::CONTENT_TYPE, "application/x-pem-file")], pem).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
