//! `accounts/{account}/policy`: where an account's connections may go.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::extract::State;
use moorgate_contract::{
    account::Account,
    admit::admit,
    decide::{Ask, Destination, Plan, Transport, decide},
    egress::Presence,
    failure::Code,
    flow::Flow,
    outcome::Outcome,
    policy::Policy,
    snapshot::Snapshot,
    time::Timestamp,
};
use moorgate_control::{ControlError, FlowFilter, MAX_FLOWS_READ};
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
    let before = match api.control.policy(&account).await {
        // What can't be read is replaced.
        Err(ControlError::NotServed { .. }) => PolicyRules::from(&Policy::default()),
        policy => PolicyRules::from(&policy?),
    };
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
        unjudged: replay.unjudged,
        is_partial: replay.is_partial,
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
    /// By target and what is said of it.
    refused: HashMap<(Arc<str>, Box<str>), usize>,
    allowed: HashMap<(Arc<str>, Box<str>), usize>,
    /// Refused then, and depending on addresses that nobody knows.
    unjudged: usize,
    /// Whether the flows of other gateways could not be asked for.
    is_partial: bool,
}

impl Replay {
    async fn of(api: &ApiState, account: &str, policy: &Policy) -> Self {
        let (mut replay, snapshot) = (Self::default(), api.control.snapshot());
        let Some(served) = snapshot.account(account) else { return replay };
        let judged = Arc::new(Account { policy: policy.clone(), ..Account::clone(served) });
        let oldest = Timestamp::from(SystemTime::now() - WEEK);
        replay.is_partial = !api.control.knows_all_flows();
        let mut before = None;
        loop {
            let filter = FlowFilter { account: Some(account.to_owned()), limit: MAX_FLOWS_READ };
            // Without its flows (their file is gone) the rest is still answered.
            let page = api.control.flows_before(filter, before).await.unwrap_or_default();
            let page: Vec<Flow> = page.into_iter().map(|recorded| recorded.flow).collect();
            page.iter().filter(|flow| flow.started >= oldest).for_each(|flow| {
                replay.judge(&snapshot, &judged, flow);
            });
            match page.first() {
                Some(first) if page.len() == MAX_FLOWS_READ && first.started >= oldest => before = Some(first.id),
                _ => return replay,
            }
        }
    }

    fn judge(&mut self, snapshot: &Snapshot, judged: &Arc<Account>, flow: &Flow) {
        self.flows += 1;
        self.since = Some(self.since.map_or(flow.started, |since| since.min(flow.started)));
        let Some(target) = &flow.target else { return };
        let was_denied = flow.outcome == Outcome::Failed(Code::PolicyDenied);
        match verdict(snapshot, judged, flow) {
            Verdict::Refused(said) if !flow.outcome.is_refusal() => {
                *self.refused.entry((target.clone(), said)).or_default() += 1;
            }
            Verdict::Passed if was_denied => {
                let said = flow.said.clone().unwrap_or_default();
                *self.allowed.entry((target.clone(), said)).or_default() += 1;
            }
            Verdict::Open if was_denied => self.unjudged += 1,
            _ => {}
        }
    }
}

/// The most frequent first.
fn targets(judged: HashMap<(Arc<str>, Box<str>), usize>) -> Vec<RefusedTarget> {
    let targets = judged.into_iter().map(|((target, said), flows)| RefusedTarget {
        target: target.as_ref().into(),
        flows,
        said: said.into(),
    });
    let mut targets: Vec<RefusedTarget> = targets.collect();
    targets.sort_by(|a, b| b.flows.cmp(&a.flows).then_with(|| (&a.target, &a.said).cmp(&(&b.target, &b.said))));
    targets.truncate(NAMED_TARGETS);
    targets
}

/// What a policy would say of a flow.
enum Verdict {
    Refused(Box<str>),
    Passed,
    /// By its name it passes, and which address it has nobody knows.
    Open,
}

/// What `account`'s policy would say of a flow, and its credential's own beside it.
fn verdict(snapshot: &Snapshot, account: &Arc<Account>, flow: &Flow) -> Verdict {
    let Some(asked) = flow.target.as_deref().and_then(|target| Asked::from_authority(target, None).ok()) else {
        return Verdict::Passed;
    };
    let credential = flow.username.as_deref().and_then(|username| snapshot.credential(username));
    let credential = credential.filter(|credential| credential.account == account.id);
    let ask = Ask { account, credential, asked: &asked, transport: Transport::Stream };
    let judged = decide(&ask, &mut ()).and_then(|plan| {
        let address = match (&plan.destination, flow.address) {
            (Destination::Address(address), _) => *address,
            (Destination::Name(_), Some(dialled)) => dialled.ip(),
            (Destination::Name(_), None) => return Ok(if has_a_say(&plan) { Verdict::Open } else { Verdict::Passed }),
            (Destination::Echo, _) => return Ok(Verdict::Passed),
        };
        admit(&snapshot.site.guard, &Presence::default(), &plan, &[address], &mut ()).map(|_| Verdict::Passed)
    });
    match judged {
        Err(failure) if failure.code == Code::PolicyDenied => Verdict::Refused(failure.said),
        // What else refuses it would refuse it as before.
        Err(_) => Verdict::Passed,
        Ok(verdict) => verdict,
    }
}

/// Whether a rule about addresses could still refuse it.
fn has_a_say(plan: &Plan) -> bool {
    let own = plan.narrower.as_ref().and_then(|narrower| narrower.credential.policy.as_deref());
    let policies = [Some(&plan.account.policy), own];
    policies.into_iter().flatten().any(|policy| policy.rules().iter().any(|rule| rule.matcher.is_of_addresses()))
}
