//! The document for an auditor (HIPAA, PCI): what is in it.

use std::net::IpAddr;

use ipnet::IpNet;
use moorgate_contract::{listener::Listener, route::Mode, time::Timestamp};
use serde::{Deserialize, Serialize};

/// What an auditor asks of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The account's name.
    pub account: String,
    /// When it was made.
    pub created: Timestamp,
    /// When this document was made.
    pub made: Timestamp,
    /// By which gateway.
    pub gateway: String,
    /// In which version.
    pub release: String,
    /// How TLS is spoken wherever the gateway speaks it.
    pub tls: TlsPolicy,
    /// The addresses that its connections leave from; empty: the kernel chooses.
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

/// How TLS is spoken. The same for every account: nothing here can be weakened by a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPolicy {
    /// The versions that are agreed on with clients of the gateway, and with origins.
    pub versions: Vec<String>,
    /// The key exchanges that are preferred, in order.
    pub key_exchange: Vec<String>,
    /// Whether origins' certificates are verified; `true` always.
    pub origins_verified: bool,
    /// Whether data is taken before a handshake is complete (0-RTT); `false` always.
    pub early_data: bool,
    /// How secrets are kept at rest.
    pub at_rest: String,
}

impl TlsPolicy {
    /// What this version does.
    pub(crate) fn in_force() -> Self {
        Self {
            versions: vec!["TLS 1.2".to_owned(), "TLS 1.3".to_owned()],
            key_exchange: ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1"].map(str::to_owned).to_vec(),
            origins_verified: true,
            early_data: false,
            at_rest:
                "AES-256-GCM under the store's key, which is sealed under the master key; proxy passwords and API \
                      tokens as keyed hashes (HMAC-SHA-256)"
                    .to_owned(),
        }
    }
}

/// A credential, without its password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceCredential {
    /// The proxy username.
    pub username: String,
    /// What it is called; empty: nothing.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is refused; `None`: never.
    pub expires: Option<Timestamp>,
    /// From where it may be used; empty: from anywhere.
    pub clients: Vec<IpNet>,
    /// Rules of its own, which narrow the account's; empty: none.
    pub policy: Vec<String>,
    /// When it was used last; `None`: never.
    pub last_used: Option<Timestamp>,
}

/// A route, and who keeps its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRoute {
    /// Its public name.
    pub domain: String,
    /// How it is served.
    pub mode: Mode,
    /// Who keeps the private key of its certificate.
    pub key: KeyCustody,
    /// How many of its origins are reached without TLS.
    pub origins_in_clear: usize,
}

/// Who keeps a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyCustody {
    /// The origin alone: the gateway never decrypts.
    Origin,
    /// The gateway, sealed at rest; the account uploaded it.
    GatewayUploaded,
    /// The gateway, sealed at rest; its local CA issued the certificate.
    GatewayLocalCa,
}

/// What could be read, as counted from flows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExposureEvidence {
    /// How many of the latest flows were counted.
    pub flows: usize,
    /// When the oldest of them began; `None`: there are none.
    pub since: Option<Timestamp>,
    /// How many flows exposed the same to the same parties.
    pub counts: Vec<ExposureCount>,
}

/// Flows that exposed the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExposureCount {
    /// Where they came in.
    pub listener: Listener,
    /// Who could read what.
    #[serde(flatten)]
    pub readers: Readers,
    /// How many they were.
    pub flows: usize,
}

/// Who could read what, in words: `nothing`, or such as `name, port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Readers {
    /// Whoever was on the wire from the client to the gateway.
    pub wire_to_gateway: String,
    /// The gateway.
    pub gateway: String,
    /// Whoever was on the wire from the gateway to the target.
    pub wire_to_target: String,
}

/// The audit log, and what proves it untouched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeLog {
    /// How many entries of the whole log are what was written, from the first on.
    pub entries: u64,
    /// The hash of the last of them: it covers all of them.
    pub head: String,
    /// What is wrong with the log; `None`: nothing.
    pub problem: Option<String>,
    /// How many entries concern this account, of the latest that were looked at.
    pub of_account: usize,
    /// When the latest of them was made.
    pub latest: Option<Timestamp>,
}
