//! `accounts/{account}/policy`: where an account's connections may go.

use axum::extract::State;
use moorgate_contract::policy::Policy;
use moorgate_control::{ControlError, Replay, Replayed};
use serde::Deserialize;

use super::Answer;
use crate::{
    server::{
        ApiState,
        extract::{Acting, Flag, Json, Path, Query},
    },
    view::{PolicyEdit, PolicyRules, RefusedTarget, Time},
};

/// How many targets are named that a new policy would decide otherwise.
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
        api.control.replay(&account, &policy).await?
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

fn targets(replayed: Vec<Replayed>) -> Vec<RefusedTarget> {
    let targets = replayed.into_iter().take(NAMED_TARGETS);
    targets
        .map(|it| RefusedTarget { target: it.target.as_ref().into(), flows: it.flows, said: it.said.into() })
        .collect()
}
