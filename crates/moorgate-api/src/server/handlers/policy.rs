//! `accounts/{account}/policy`: where an account's connections may go.

use std::{collections::HashMap, sync::Arc};

use axum::extract::State;
use moorgate_contract::{
    account::Account,
    decide::{Ask, Transport, decide},
    egress::Presence,
    failure::Code,
    flow::Flow,
    policy::Policy,
};
use moorgate_control::FlowFilter;
use moorgate_wire::host::Asked;
use serde::Deserialize;

use super::Answer;
use crate::{
    server::{
        ApiState,
        extract::{Acting, Flag, Json, Path, Query},
    },
    view::{PolicyEdit, PolicyRules, RefusedTarget},
};

/// How many of the latest flows a new policy is tried on.
const TRIED_FLOWS: usize = 1_000;
/// How many targets are named that it would refuse.
const NAMED_TARGETS: usize = 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    #[serde(default)]
    dry_run: Flag,
    #[serde(default)]
    cut: Flag,
}

/// Shows an account's policy.
#[utoipa::path(get, path = "/api/v1/accounts/{account}/policy", tag = "policy",
    params(("account" = String, Path, description = "The account's name")),
    responses((status = OK, body = PolicyRules)))]
pub(super) async fn show_policy(State(api): State<ApiState>, Path(account): Path<String>) -> Answer<PolicyRules> {
    Ok(axum::Json(PolicyRules::from(&api.control.policy(&account).await?)))
}

/// Replaces an account's policy as a whole. Open flows stay, unless `cut` and the new rules refuse them.
#[utoipa::path(put, path = "/api/v1/accounts/{account}/policy", tag = "policy", request_body = PolicyRules,
    params(("account" = String, Path, description = "The account's name"),
        ("dry_run" = Option<bool>, Query, description = "Only say what would change"),
        ("cut" = Option<bool>, Query, description = "Cut open flows that the new rules refuse")),
    responses((status = OK, body = PolicyEdit)))]
pub(super) async fn set_policy(
    Acting(api): Acting,
    Path(account): Path<String>,
    Query(edit): Query<Edit>,
    Json(after): Json<PolicyRules>,
) -> Answer<PolicyEdit> {
    let before = PolicyRules::from(&api.control.policy(&account).await?);
    let policy = Policy::from(after.clone());
    // An edit waits for nothing that it does not need: what was carried is looked at when there is time to think.
    let refuses = if edit.dry_run.0 {
        refused_targets(&api, &account, &policy).await
    } else {
        api.control.set_policy(&account, policy, edit.cut.0).await?;
        Vec::new()
    };
    let applied = !edit.dry_run.0;
    Ok(axum::Json(PolicyEdit { applied, before, after, refuses }))
}

/// Which targets that were carried lately a policy refuses, by the decision that traffic meets.
async fn refused_targets(api: &ApiState, account: &str, policy: &Policy) -> Vec<RefusedTarget> {
    let snapshot = api.control.snapshot();
    let Some(served) = snapshot.account(account) else { return Vec::new() };
    let judged = Arc::new(Account { policy: policy.clone(), ..Account::clone(served) });
    let filter = FlowFilter { account: Some(account.to_owned()), limit: TRIED_FLOWS };
    // Without its flows (the store is down) the rest is still answered.
    let flows = api.control.flows(filter).await.unwrap_or_default();
    let mut refused: HashMap<Arc<str>, (usize, Box<str>)> = HashMap::new();
    for flow in flows.iter().filter(|flow| !flow.outcome.is_refusal()) {
        if let (Some(target), Some(said)) = (&flow.target, refusal(&snapshot.site.guard, &judged, flow)) {
            refused.entry(target.clone()).or_insert((0, said)).0 += 1;
        }
    }
    let targets = refused.into_iter().map(|(target, (flows, said))| RefusedTarget {
        target: target.as_ref().into(),
        flows,
        said: said.into(),
    });
    let mut targets: Vec<RefusedTarget> = targets.collect();
    targets.sort_by(|a, b| b.flows.cmp(&a.flows).then_with(|| a.target.cmp(&b.target)));
    targets.truncate(NAMED_TARGETS);
    targets
}

/// What `account`'s policy would say of a flow that went to an address already.
fn refusal(guard: &moorgate_contract::guard::Guard, account: &Arc<Account>, flow: &Flow) -> Option<Box<str>> {
    let asked = Asked::from_authority(flow.target.as_deref()?, None).ok()?;
    let ask = Ask { account, credential: None, asked: &asked, transport: Transport::Stream };
    let decided = decide(&ask, &mut ()).and_then(|plan| match flow.address {
        Some(address) => {
            moorgate_contract::admit::admit(guard, &Presence::default(), &plan, &[address.ip()], &mut ()).map(|_| ())
        }
        None => Ok(()),
    });
    decided.err().filter(|failure| failure.code == Code::PolicyDenied).map(|failure| failure.said)
}
