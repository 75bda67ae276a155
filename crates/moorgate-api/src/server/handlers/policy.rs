//! `accounts/{account}/policy`: where an account's connections may go.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::extract::State;
use moorgate_contract::{
    account::Account,
    decide::{Ask, Transport, decide},
    egress::Presence,
    failure::Code,
    flow::Flow,
    guard::Guard,
    outcome::Outcome,
    policy::Policy,
    time::Timestamp,
};
use moorgate_control::{FlowFilter, MAX_FLOWS_READ};
use moorgate_wire::host::Asked;
use serde::Deserialize;

use super::Answer;
use crate::{
    server::{
        ApiState,
        extract::{Acting, Flag, Json, Path, Query},
    },
    view::{PolicyEdit, PolicyRules, RefusedTarget, Time},
};

/// How far back a new policy is tried on what was asked for.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many targets are named that it would decide otherwise.
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
    let replay = if edit.dry_run.0 {
        Replay::of(&api, &account, &policy).await
    } else {
        api.control.set_policy(&account, policy, edit.cut.0).await?;
        Replay::default()
    };
    Ok(axum::Json(PolicyEdit {
        applied: !edit.dry_run.0,
        before,
        after,
        replayed: replay.flows,
        since: replay.since.map(Time),
        refuses: targets(replay.refused),
        allows: targets(replay.allowed),
    }))
}

/// What a policy would have made of the last week's flows, by the decision that traffic meets.
#[derive(Default)]
struct Replay {
    flows: usize,
    since: Option<Timestamp>,
    refused: HashMap<Arc<str>, (usize, Box<str>)>,
    allowed: HashMap<Arc<str>, (usize, Box<str>)>,
}

impl Replay {
    async fn of(api: &ApiState, account: &str, policy: &Policy) -> Self {
        let (mut replay, snapshot) = (Self::default(), api.control.snapshot());
        let Some(served) = snapshot.account(account) else { return replay };
        let judged = Arc::new(Account { policy: policy.clone(), ..Account::clone(served) });
        let oldest = Timestamp::from(SystemTime::now() - WEEK);
        let mut before = None;
        loop {
            let filter = FlowFilter { account: Some(account.to_owned()), limit: MAX_FLOWS_READ };
            // Without its flows (their file is gone) the rest is still answered.
            let page = api.control.flows_before(filter, before).await.unwrap_or_default();
            let page: Vec<Flow> = page.into_iter().map(|recorded| recorded.flow).collect();
            page.iter().filter(|flow| flow.started >= oldest).for_each(|flow| {
                replay.judge(&snapshot.site.guard, &judged, flow);
            });
            match page.first() {
                Some(first) if page.len() == MAX_FLOWS_READ && first.started >= oldest => before = Some(first.id),
                _ => return replay,
            }
        }
    }

    fn judge(&mut self, guard: &Guard, judged: &Arc<Account>, flow: &Flow) {
        self.flows += 1;
        self.since = Some(self.since.map_or(flow.started, |since| since.min(flow.started)));
        let Some(target) = &flow.target else { return };
        let was_denied = flow.outcome == Outcome::Failed(Code::PolicyDenied);
        match refusal(guard, judged, flow) {
            Some(said) if !flow.outcome.is_refusal() => {
                self.refused.entry(target.clone()).or_insert((0, said)).0 += 1;
            }
            None if was_denied => {
                let said = flow.said.clone().unwrap_or_default();
                self.allowed.entry(target.clone()).or_insert((0, said)).0 += 1;
            }
            _ => {}
        }
    }
}

/// The most frequent first.
fn targets(judged: HashMap<Arc<str>, (usize, Box<str>)>) -> Vec<RefusedTarget> {
    let targets = judged.into_iter().map(|(target, (flows, said))| RefusedTarget {
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
fn refusal(guard: &Guard, account: &Arc<Account>, flow: &Flow) -> Option<Box<str>> {
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
