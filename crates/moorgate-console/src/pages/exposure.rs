//! Who could read what: what an auditor asks for, counted from recorded flows.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State, response::Response};
use moorgate_contract::{
    exposure::{Exposure, Readable},
    flow::Flow,
};
use moorgate_control::{CredentialView, FlowFilter};

use super::{Frame, drawn, failed, now};
use crate::{Console, guard::Inside, shown};

/// Flows that are counted.
const COUNTED: usize = 1_000;

const COLUMNS: [&str; 6] = ["name", "port", "password", "path", "headers", "body"];

#[derive(Template)]
#[template(path = "exposure.html")]
struct ExposurePage {
    frame: Frame,
    account: String,
    day: String,
    count: usize,
    columns: [&'static str; 6],
    /// By what, how many flows, where, and in how many each thing could be read.
    rows: Vec<(String, usize, &'static str, [usize; 6])>,
}

pub(crate) async fn page(State(console): State<Console>, inside: Inside) -> Response {
    let filter = FlowFilter { account: Some(inside.account.clone()), limit: COUNTED };
    let flows = match console.control.flows(filter).await {
        Ok(flows) => flows,
        Err(error) => return failed(&error),
    };
    let credentials = match console.control.list_credentials(&inside.account).await {
        Ok(credentials) => credentials,
        Err(error) => return failed(&error),
    };
    let known = |username: &str| credentials.iter().find(|one| one.username == username);
    // What the console tries is no app's.
    let is_test = |flow: &Flow| flow.username.as_deref().and_then(known).is_some_and(CredentialView::is_for_tests);
    let flows: Vec<&Flow> = flows.iter().map(|recorded| &recorded.flow).filter(|flow| !is_test(flow)).collect();
    let mut by: BTreeMap<String, Vec<&Flow>> = BTreeMap::new();
    for flow in flows.iter().copied() {
        let by_what = match (&flow.route, &flow.username) {
            (Some(route), _) => format!("domain {route}"),
            (None, Some(username)) => format!(
                "{} with {}",
                flow.listener.words(),
                known(username).map_or_else(|| username.to_string(), CredentialView::called)
            ),
            (None, None) => flow.listener.words().to_owned(),
        };
        by.entry(by_what).or_default().push(flow);
    }
    let mut rows = Vec::new();
    for (name, flows) in &by {
        for (at, place) in
            ["on the way to the gateway", "in the gateway", "from the gateway on"].into_iter().enumerate()
        {
            let mut cells = [0; 6];
            for flow in flows {
                let Exposure { wire_to_gateway, gateway, wire_to_target, .. } = flow.exposure;
                let readable = [wire_to_gateway, gateway, wire_to_target].get(at).copied().unwrap_or_default();
                let Readable { name, port, credentials, path, headers, body } = readable;
                for (cell, is) in cells.iter_mut().zip([name, port, credentials, path, headers, body]) {
                    *cell += usize::from(is);
                }
            }
            rows.push((name.clone(), flows.len(), place, cells));
        }
    }
    drawn(&ExposurePage {
        frame: Frame::of_account(&inside.visitor, &inside.account, "/exposure"),
        account: inside.account,
        day: shown::day(now()),
        count: flows.len(),
        columns: COLUMNS,
        rows,
    })
}
