//! What an auditor asks of an account: one document.

use std::collections::BTreeMap;

use moorgate_contract::{exposure::Exposure, flow::Flow, listener::Listener, policy::Policy};

use super::{AuditFilter, Control, now};
use crate::{
    error::Result,
    evidence::{
        ChangeLog, Evidence, EvidenceCredential, EvidenceRoute, ExposureCount, ExposureEvidence, KeyCustody, Readers,
        TlsPolicy,
    },
    limits::{MAX_AUDIT_READ, MAX_FLOWS_COUNTED},
    route_views::RouteView,
};

impl Control {
    /// What an auditor asks of an account: the TLS policy in force, who keeps which key, what was exposed to whom as
    /// counted from its latest flows, and what was changed, with what proves the log untouched.
    ///
    /// # Errors
    /// [`ControlError::NotFound`](crate::ControlError), [`ControlError::StoreDown`](crate::ControlError).
    pub async fn evidence(&self, account: &str) -> Result<Evidence> {
        let view = self.account(account).await?;
        let policy = self.policy(account).await?;
        let credentials = self.list_credentials(account).await?;
        let routes = self.list_routes(Some(account)).await;
        // So many that a client which tries again and again does not fill them.
        let latest = self.latest_flows(account, MAX_FLOWS_COUNTED).await?;
        let flows: Vec<Flow> = latest.flows.into_iter().map(|recorded| recorded.flow).collect();
        let filter = AuditFilter { account: Some(account.to_owned()), before: None, limit: MAX_AUDIT_READ };
        let changes = self.audit(filter).await?;
        let verdict = self.verify_audit().await?;
        Ok(Evidence {
            account: view.name,
            created: view.created,
            made: now(),
            gateway: self.inner.gateway.name.clone(),
            release: self.inner.gateway.release.clone(),
            tls: TlsPolicy::in_force(),
            egress: view.egress,
            policy: rules(Some(&policy)),
            credentials: credentials
                .into_iter()
                .map(|credential| EvidenceCredential {
                    username: credential.username,
                    name: credential.name,
                    created: credential.created,
                    expires: credential.expires,
                    clients: credential.clients,
                    policy: rules(credential.policy.as_ref()),
                    last_used: credential.last_used,
                })
                .collect(),
            routes: routes.iter().map(route).collect(),
            exposure: exposure(&flows),
            changes: ChangeLog {
                entries: verdict.entries,
                head: verdict.head,
                problem: verdict.problem,
                of_account: changes.len(),
                latest: changes.first().map(|entry| entry.at),
            },
        })
    }
}

fn rules(policy: Option<&Policy>) -> Vec<String> {
    policy.into_iter().flat_map(|policy| policy.rules()).map(ToString::to_string).collect()
}

fn route(view: &RouteView) -> EvidenceRoute {
    use moorgate_contract::route::Mode::{Passthrough, Terminate};
    let to_origin = view.origins.iter().chain(view.paths.iter().flat_map(|path| &path.origins));
    let in_clear = to_origin.filter(|origin| origin.url.starts_with("http://")).count();
    EvidenceRoute {
        domain: view.domain.clone(),
        mode: view.mode,
        key: match (view.mode, &view.certificate) {
            (Passthrough, _) => KeyCustody::Origin,
            (Terminate, Some(shown)) if shown.not_after.is_some() => KeyCustody::GatewayUploaded,
            (Terminate, _) => KeyCustody::GatewayLocalCa,
        },
        // Where TLS is passed through, whatever the origin is reached by is the client's own TLS.
        origins_in_clear: if view.mode == Terminate { in_clear } else { 0 },
    }
}

/// Flows counted by what each party could read.
fn exposure(flows: &[Flow]) -> ExposureEvidence {
    let mut counts: BTreeMap<(Listener, Readers), usize> = BTreeMap::new();
    for flow in flows {
        let Exposure { wire_to_gateway, gateway, wire_to_target, .. } = flow.exposure;
        let readers = Readers {
            wire_to_gateway: wire_to_gateway.to_string(),
            gateway: gateway.to_string(),
            wire_to_target: wire_to_target.to_string(),
        };
        *counts.entry((flow.listener, readers)).or_default() += 1;
    }
    let counted = counts.into_iter().map(|((listener, readers), flows)| ExposureCount { listener, readers, flows });
    ExposureEvidence {
        flows: flows.len(),
        since: flows.iter().map(|flow| flow.started).min(),
        counts: counted.collect(),
    }
}
