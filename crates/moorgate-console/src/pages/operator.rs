//! What operators see: accounts, gateways with their addresses and certificates, people, the audit log.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::StatusCode;
use moorgate_api::words;
use moorgate_control::{AuditFilter, ControlError, GatewayHealth, Standing, Who};
use moorgate_wire::visible::{visible, visible_within};
use serde::Deserialize;

use super::{Frame, drawn_as, failed, sign_in::Nothing};
use crate::{
    Console,
    form::{Form, Path, Query},
    guard::{From, Operator, Visitor},
    shown,
};

/// Entries of the audit log on one page.
const ENTRIES: u32 = 100;
/// The longest text of what changed in one entry, in characters.
const CHANGED: usize = 200;

/// Stands before the id of an invitation, among those of people.
const INVITED: &str = "invited-";

/// One line of a table.
struct Row {
    id: String,
    /// Where its first cell leads.
    href: Option<String>,
    cells: Vec<String>,
}

#[derive(Template)]
#[template(path = "table.html")]
struct TablePage {
    frame: Frame,
    title: &'static str,
    head: Vec<&'static str>,
    rows: Vec<Row>,
    /// Below which path a line is removed.
    removes: Option<&'static str>,
    /// Below which path somebody is let in again.
    again: Option<&'static str>,
    /// Where a form goes, what it asks for, and what its button says.
    form: Option<(&'static str, &'static str, &'static str)>,
    more: Option<String>,
    link: Option<String>,
    problem: Option<String>,
}

impl TablePage {
    fn new(visitor: &Visitor, here: &str, title: &'static str, head: &[&'static str]) -> Self {
        Self {
            frame: Frame::of(visitor, here),
            title,
            head: head.to_vec(),
            rows: Vec::new(),
            removes: None,
            again: None,
            form: None,
            more: None,
            link: None,
            problem: None,
        }
    }

    fn drawn(&self) -> Response {
        drawn_as(if self.problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK }, self)
    }
}

#[derive(Deserialize)]
pub(crate) struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    once: String,
}

async fn list_accounts(console: &Console, visitor: &Visitor, problem: Option<String>) -> Response {
    let mut page =
        TablePage::new(visitor, "/accounts", "Accounts", &["Account", "Made", "Tier", "Credentials", "Addresses"]);
    for view in console.control.list_accounts().await {
        let addresses = view.egress.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        page.rows.push(Row {
            id: view.name.clone(),
            href: Some(format!("/a/{}", view.name)),
            cells: vec![
                view.name,
                shown::day(view.created),
                view.tier.unwrap_or_else(|| "–".to_owned()),
                view.credentials.to_string(),
                if addresses.is_empty() { "whatever the kernel picks".to_owned() } else { addresses },
            ],
        });
    }
    page.form = Some(("/accounts", "Name of a new account", "Add"));
    page.problem = problem;
    page.drawn()
}

pub(crate) async fn accounts(State(console): State<Console>, Operator(visitor): Operator) -> Response {
    list_accounts(&console, &visitor, None).await
}

pub(crate) async fn add_account(
    State(console): State<Console>,
    Operator(visitor): Operator,
    from: From,
    Form(Named { name, .. }): Form<Named>,
) -> Response {
    match visitor.asks(&console, from, None).add_account(name.trim()).await {
        Ok(view) => Redirect::to(&format!("/a/{}", view.name)).into_response(),
        Err(error @ ControlError::StoreDown(_)) => failed(&error),
        Err(error) => list_accounts(&console, &visitor, Some(error.to_string())).await,
    }
}

pub(crate) async fn gateways(State(console): State<Console>, Operator(visitor): Operator) -> Response {
    let mut page = TablePage::new(&visitor, "/gateways", "Gateways", &["What", "How it is", "More"]);
    for view in console.control.list_gateways().await {
        let health = match view.health {
            GatewayHealth::Up => "up",
            GatewayHealth::Stopped => "stopped",
            GatewayHealth::Lost => "LOST: it gives no sign of life",
            GatewayHealth::Unknown => "not known: the store can't be asked",
        };
        page.rows.push(Row {
            id: view.name.clone(),
            href: None,
            cells: vec![format!("gateway {}", view.name), health.to_owned(), format!("version {}", view.release)],
        });
    }
    for view in console.control.egress() {
        let ports =
            view.ports.as_ref().map(|ports| format!("{} source ports left toward {}", ports.free(), ports.destination));
        page.rows.push(Row {
            id: view.address.to_string(),
            href: None,
            cells: vec![
                format!("egress address {}", view.address),
                if view.present { "present".to_owned() } else { "NOT an address of this machine".to_owned() },
                ports.unwrap_or_else(|| shown::counted(view.accounts.len(), "account")),
            ],
        });
    }
    for view in console.control.certificates_after(None, "", 200).await {
        let end = view.not_after.map_or_else(|| "none yet".to_owned(), |end| format!("until {}", shown::day(end)));
        page.rows.push(Row {
            id: view.domain.clone(),
            href: None,
            cells: vec![format!("certificate of {}", view.domain), end, view.last_error.unwrap_or(view.issuer)],
        });
    }
    page.drawn()
}

async fn list_people(console: &Console, visitor: &Visitor, link: Option<String>, problem: Option<String>) -> Response {
    let mut page = TablePage::new(visitor, "/people", "People", &["Email", "Since", "May", "Comes in by"]);
    let people = match console.control.list_people(None) {
        Ok(people) => people,
        Err(error) => return failed(&error),
    };
    for person in people {
        let roles: Vec<String> =
            person.roles.iter().map(|(account, role)| format!("{} of {account}", role.name())).collect();
        let may = if person.operator { "everything: an operator".to_owned() } else { roles.join(", ") };
        let by = words::way_in(person.issuer.as_deref(), person.has_app, person.passkeys.len());
        page.rows.push(Row {
            id: person.id,
            href: None,
            cells: vec![person.email, shown::day(person.created), may, by],
        });
    }
    for open in console.control.list_invitations(None).unwrap_or_default() {
        let becomes = match open.standing {
            Standing::Operator => "everything, once taken up".to_owned(),
            Standing::Known => "what they may already, with a new password".to_owned(),
            Standing::Member { account, role } => format!("{} of {account}, once taken up", role.name()),
        };
        let whom = open.email.unwrap_or_else(|| "whoever has the link".to_owned());
        let cells =
            vec![format!("{whom} (invited)"), format!("until {}", shown::day(open.until)), becomes, String::new()];
        page.rows.push(Row { id: format!("{INVITED}{}", open.id), href: None, cells });
    }
    page.removes = Some("/people");
    page.again = Some("/people");
    page.form = Some(("/people", "Email of another operator", "Invite"));
    (page.link, page.problem) = (link, problem);
    page.drawn()
}

pub(crate) async fn people(State(console): State<Console>, Operator(visitor): Operator) -> Response {
    list_people(&console, &visitor, None, None).await
}

pub(crate) async fn invite(
    State(console): State<Console>,
    Operator(visitor): Operator,
    from: From,
    Form(Named { name, once }): Form<Named>,
) -> Response {
    match visitor.asks_once(&console, from, None, &once).invite(Some(&name), Standing::Operator).await {
        Ok(made) => {
            let link = format!("{}/welcome/{}", console.url, made.token.reveal());
            list_people(&console, &visitor, Some(link), None).await
        }
        Err(error @ (ControlError::StoreDown(_) | ControlError::AlreadyDone { .. })) => failed(&error),
        Err(error) => list_people(&console, &visitor, None, Some(error.to_string())).await,
    }
}

/// A link for somebody who has lost their password, app or passkeys.
pub(crate) async fn let_in_again(
    State(console): State<Console>,
    Operator(visitor): Operator,
    from: From,
    Path(id): Path<String>,
    Form(Named { once, .. }): Form<Named>,
) -> Response {
    match visitor.asks_once(&console, from, None, &once).let_in_again(&id).await {
        Ok(made) => {
            let link = format!("{}/welcome/{}", console.url, made.token.reveal());
            list_people(&console, &visitor, Some(link), None).await
        }
        Err(error @ (ControlError::StoreDown(_) | ControlError::AlreadyDone { .. })) => failed(&error),
        Err(error) => list_people(&console, &visitor, None, Some(error.to_string())).await,
    }
}

pub(crate) async fn remove_person(
    State(console): State<Console>,
    Operator(visitor): Operator,
    from: From,
    Path(id): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    let control = visitor.asks(&console, from, None);
    let removed = match id.strip_prefix(INVITED) {
        Some(invitation) => control.take_back_invitation(invitation).await,
        None => control.remove_person(&id).await,
    };
    match removed {
        Ok(()) => Redirect::to("/people").into_response(),
        Err(error @ ControlError::StoreDown(_)) => failed(&error),
        Err(error) => list_people(&console, &visitor, None, Some(error.to_string())).await,
    }
}

#[derive(Deserialize)]
pub(crate) struct Before {
    before: Option<u64>,
}

pub(crate) async fn audit(
    State(console): State<Console>,
    Operator(visitor): Operator,
    Query(Before { before }): Query<Before>,
) -> Response {
    let entries = match console.control.audit(AuditFilter { account: None, before, limit: ENTRIES }).await {
        Ok(entries) => entries,
        Err(error) => return failed(&error),
    };
    let mut page =
        TablePage::new(&visitor, "/audit", "Audit log", &["When", "Who", "From", "What", "Account", "Changed"]);
    page.more = entries.last().filter(|last| last.seq > 1).map(|last| format!("/audit?before={}", last.seq));
    for entry in entries {
        let changed = words::changed(entry.before.as_ref(), entry.after.as_ref(), &shown::time);
        let changed = visible_within(&changed, CHANGED).to_string();
        page.rows.push(Row {
            id: entry.seq.to_string(),
            href: None,
            cells: vec![
                shown::time(entry.at),
                match entry.who {
                    Who::Gateway => "the gateway".to_owned(),
                    Who::Operator { token } => format!("an operator's token {token}"),
                    Who::Account { account, token } => format!("token {token} of {account}"),
                    Who::Person { email, .. } => email,
                },
                entry.client.map(|client| client.to_string()).unwrap_or_default(),
                format!("{} {} {}", entry.action, entry.kind, visible(&entry.name)),
                entry.account.unwrap_or_default(),
                changed,
            ],
        });
    }
    page.drawn()
}
