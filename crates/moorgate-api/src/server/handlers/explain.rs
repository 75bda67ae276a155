//! `explain`: what traffic would meet, by the decision that traffic meets.

use std::net::IpAddr;

use axum::{Extension, extract::State};
use moorgate_control::{By, Explanation};
use moorgate_wire::host::Asked;
use serde::Deserialize;

use super::Answer;
use crate::{
    server::{
        ApiState,
        access::Caller,
        extract::{Flag, Query},
    },
    view::{Explained, ExplainedStep, Refusal},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    account: String,
    host: String,
    port: u16,
    credential: Option<String>,
    client: Option<IpAddr>,
    #[serde(default = "yes")]
    dns: Flag,
}

fn yes() -> Flag {
    Flag(true)
}

/// Says what a connection of an account to a host and port would meet, step by step, without sending traffic.
#[utoipa::path(get, path = "/api/v1/explain", tag = "explain",
    params(("account" = String, Query, description = "On whose behalf"), ("host" = String, Query, description = "A name or an address"),
        ("port" = u16, Query, description = "The port there"),
        ("credential" = Option<String>, Query, description = "By which of its credentials, whose own bounds are asked too"),
        ("client" = Option<String>, Query, description = "From which address; without one it is not asked whether the credential is for it"),
        ("dns" = Option<bool>, Query, description = "Resolve the name as traffic would (default), or stop before that")),
    responses((status = OK, body = Explained)))]
pub(super) async fn explain_target(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Query(target): Query<Target>,
) -> Answer<Explained> {
    caller.must_see(&target.account)?;
    let Target { account, host, port, credential, client, dns } = target;
    let by = By { credential: credential.as_deref(), client, policy: None };
    Ok(axum::Json(view(api.control.explain(&account, by, &Asked::new(&host, port), dns.0).await?)))
}

/// As the API writes it.
pub(super) fn view(explanation: Explanation) -> Explained {
    let steps = explanation.steps.into_iter();
    Explained {
        account: explanation.account,
        target: explanation.target,
        allowed: explanation.refusal.is_none(),
        steps: steps.map(|step| ExplainedStep { check: step.check, found: step.found }).collect(),
        admitted: explanation.admitted,
        unjudged: explanation.unjudged,
        egress: explanation.egress,
        refusal: explanation.refusal.map(|refusal| Refusal { code: refusal.code, said: refusal.said }),
    }
}
