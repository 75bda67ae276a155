//! The document for an auditor, as JSON.

use std::net::IpAddr;

use moorgate_contract::{listener::Listener, route::Mode};
use moorgate_control as control;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// What an auditor asks of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// The account's name.
    pub account: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// When this document was made.
    #[schema(value_type = String, format = DateTime)]
    pub made: Time,
    /// By which gateway.
    pub gateway: String,
    /// In which version.
    pub release: String,
    /// How TLS is spoken wherever the gateway speaks it; no setting weakens it.
    pub tls: TlsPolicy,
    /// The addresses that its connections leave from; empty: the kernel chooses.
    #[schema(value_type = Vec<String>)]
    pub egress: Vec<IpAddr>,
    /// Where its connections may go: rules in order.
    pub policy: Vec<String>,
    /// Who may connect on its behalf.
    pub credentials: Vec<EvidenceCredential>,
    /// The domains it serves, and who keeps their keys.
    pub routes: Vec<EvidenceRoute>,
    /// What could be read of its latest flows, and by whom.
    pub exposure: ExposureEvidence,
    /// What was changed.
    pub changes: ChangeLog,
}

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TlsPolicy {
    /// The versions that are agreed on.
    pub versions: Vec<String>,
    /// The key exchanges that are offered, the preferred one first.
    pub key_exchange: Vec<String>,
    /// Whether origins' certificates are verified.
    pub origins_verified: bool,
    /// Whether data is taken before a handshake is complete.
    pub early_data: bool,
    /// How secrets are kept at rest.
    pub at_rest: String,
}

/// A credential, without its password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceCredential {
    /// The proxy username.
    pub username: String,
    /// What it is called; empty: nothing.
    pub name: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// From when on it is refused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Time>,
    /// From where it may be used; empty: from anywhere.
    pub clients: Vec<String>,
    /// Rules of its own, which narrow the account's.
    pub policy: Vec<String>,
    /// When it was used last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Time>,
}

/// A route, and who keeps its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceRoute {
    /// Its public name.
    pub domain: String,
    /// How it is served.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// Who keeps the private key of its certificate: `origin` alone, or the gateway (`gateway_uploaded`,
    /// `gateway_local_ca`).
    #[schema(value_type = String)]
    pub key: control::KeyCustody,
    /// How many of its origins are reached without TLS.
    pub origins_in_clear: usize,
}

/// What could be read, as counted from flows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExposureEvidence {
    /// How many of the latest flows were counted.
    pub flows: usize,
    /// When the oldest of them began; `null`: there are none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,
    /// How many flows exposed the same to the same parties.
    pub counts: Vec<ExposureCount>,
}

/// Flows that exposed the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExposureCount {
    /// Where they came in.
    #[schema(value_type = String)]
    pub listener: Listener,
    /// What could be read on the wire from the client to the gateway.
    pub wire_to_gateway: String,
    /// What the gateway could read.
    pub gateway: String,
    /// What could be read on the wire from the gateway to the target.
    pub wire_to_target: String,
    /// How many they were.
    pub flows: usize,
}

/// The audit log, and what proves it untouched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeLog {
    /// How many entries of the whole log are what was written, from the first on.
    pub entries: u64,
    /// The hash of the last of them: it covers all of them.
    pub head: String,
    /// What is wrong with the log.
    pub problem: Option<String>,
    /// How many of the latest entries concern this account.
    pub of_account: usize,
    /// When the latest of them was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub latest: Option<Time>,
}

impl From<control::Evidence> for Evidence {
    fn from(evidence: control::Evidence) -> Self {
        let credential = |credential: control::EvidenceCredential| EvidenceCredential {
            username: credential.username,
            name: credential.name,
            created: Time(credential.created),
            expires: credential.expires.map(Time),
            clients: credential.clients.iter().map(ToString::to_string).collect(),
            policy: credential.policy,
            last_used: credential.last_used.map(Time),
        };
        let route = |route: control::EvidenceRoute| EvidenceRoute {
            domain: route.domain,
            mode: route.mode,
            key: route.key,
            origins_in_clear: route.origins_in_clear,
        };
        let count = |count: control::ExposureCount| ExposureCount {
            listener: count.listener,
            wire_to_gateway: count.readers.wire_to_gateway,
            gateway: count.readers.gateway,
            wire_to_target: count.readers.wire_to_target,
            flows: count.flows,
        };
        let (tls, changes) = (evidence.tls, evidence.changes);
        Self {
            account: evidence.account,
            created: Time(evidence.created),
            made: Time(evidence.made),
            gateway: evidence.gateway,
            release: evidence.release,
            tls: TlsPolicy {
                versions: tls.versions,
                key_exchange: tls.key_exchange,
                origins_verified: tls.origins_verified,
                early_data: tls.early_data,
                at_rest: tls.at_rest,
            },
            egress: evidence.egress,
            policy: evidence.policy,
            credentials: evidence.credentials.into_iter().map(credential).collect(),
            routes: evidence.routes.into_iter().map(route).collect(),
            exposure: ExposureEvidence {
                flows: evidence.exposure.flows,
                since: evidence.exposure.since.map(Time),
                counts: evidence.exposure.counts.into_iter().map(count).collect(),
            },
            changes: ChangeLog {
                entries: changes.entries,
                head: changes.head,
                problem: changes.problem,
                of_account: changes.of_account,
                latest: changes.latest.map(Time),
            },
        }
    }
}
