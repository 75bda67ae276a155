//! What is stored, as it is stored.

use std::fmt;

use moorgate_contract::{
    account::{AccountId, CredentialId, Secret, SecretHash},
    route::RouteId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{AlarmRow, InvitationRow, PersonRow, SignInRow, TroubleRow};
use crate::{route_views::DnsState, store::Head, views::Scope};

/// An account as it is stored. Policy and egress stay text here: a row that can't be read must not take others with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountRow {
    pub(crate) id: AccountId,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    /// JSON of a [`Policy`](moorgate_contract::policy::Policy).
    pub(crate) policy: String,
    pub(crate) policy_cuts: u64,
    /// Addresses with commas between; empty: the gateway's first two.
    pub(crate) egress: String,
    /// By name; `None`: no quotas.
    #[serde(default)]
    pub(crate) tier: Option<String>,
}

/// A tier as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TierRow {
    pub(crate) name: String,
    /// JSON of the contract's quotas.
    pub(crate) quotas: String,
    pub(crate) created: Timestamp,
}

/// A credential as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CredentialRow {
    pub(crate) id: CredentialId,
    pub(crate) account: AccountId,
    pub(crate) username: String,
    /// What it is called; empty: nothing.
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    #[serde(default)]
    pub(crate) expires: Option<Timestamp>,
    /// CIDRs with commas between; empty: from anywhere.
    #[serde(default)]
    pub(crate) clients: String,
    /// JSON of a policy, as an account's; `None`: the account's alone.
    #[serde(default)]
    pub(crate) policy: Option<String>,
    #[serde(default)]
    pub(crate) policy_cuts: u64,
    /// Oldest first.
    pub(crate) secrets: Vec<Secret>,
}

/// An API token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    pub(crate) id: String,
    /// `None`: an operator's.
    pub(crate) account: Option<AccountId>,
    pub(crate) scope: Scope,
    pub(crate) hash: SecretHash,
    pub(crate) created: Timestamp,
}

/// A route as it is stored. All stays text here, as an account's policy does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteRow {
    pub(crate) id: RouteId,
    pub(crate) account: AccountId,
    pub(crate) domain: String,
    /// The name of a [`Mode`](moorgate_contract::route::Mode).
    pub(crate) mode: String,
    /// JSON of [`RouteSettings`](moorgate_contract::route::RouteSettings).
    pub(crate) settings: String,
    pub(crate) created: Timestamp,
    /// Of its target in the zone: unguessable, and never another route's. Empty: from a copy older than targets.
    #[serde(default)]
    pub(crate) label: String,
    /// What is known of its domain's DNS, and since when.
    #[serde(default)]
    pub(crate) dns: DnsState,
    #[serde(default)]
    pub(crate) dns_since: Timestamp,
}

/// A certificate as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CertificateRow {
    pub(crate) account: AccountId,
    pub(crate) domain: String,
    /// PEM, the end entity's first, then each one's issuer.
    pub(crate) chain: String,
    /// The private key's DER, sealed under the master key.
    pub(crate) key: Vec<u8>,
    pub(crate) created: Timestamp,
    /// From the CA of `[acme]`, and renewed by itself.
    #[serde(default)]
    pub(crate) issued: bool,
}

/// What is being done so that a domain has a certificate from the CA of `[acme]`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IssuanceRow {
    pub(crate) domain: String,
    /// `None`: a name of the gateways' own.
    pub(crate) account: Option<AccountId>,
    /// Which run of a gateway is at it, and until when nobody else takes it up (by the store's clock); empty: nobody.
    pub(crate) holder: String,
    pub(crate) until: Timestamp,
    /// What the CA looks for: JSON of a [`Challenge`](moorgate_contract::certificate::Challenge); empty: nothing.
    pub(crate) challenge: String,
    /// How often in a row it came to nothing.
    pub(crate) failures: u64,
    /// Before when nothing is ordered.
    pub(crate) next: Timestamp,
    /// Why it came to nothing the last time; empty: it did not.
    pub(crate) error: String,
    /// The certificate of a name of the gateways' own, as a [`CertificateRow`] has it.
    pub(crate) own: Option<SealedCertificate>,
    /// The one with an RSA key, beside the domain's other.
    #[serde(default)]
    pub(crate) rsa: Option<SealedCertificate>,
    /// Only that one is to be ordered: the other was issued already.
    #[serde(default)]
    pub(crate) rsa_only: bool,
}

/// A chain in PEM, and its key, sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SealedCertificate {
    pub(crate) chain: String,
    pub(crate) key: Vec<u8>,
}

impl fmt::Debug for IssuanceRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuanceRow").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl fmt::Debug for SealedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedCertificate").finish_non_exhaustive()
    }
}

impl fmt::Debug for CertificateRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateRow").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// All that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rows {
    pub(crate) version: u64,
    /// The store's own key, sealed under the master key; `None`: the master key itself is that.
    #[serde(default)]
    pub(crate) key: Option<Vec<u8>>,
    /// The end of the audit log.
    #[serde(default)]
    pub(crate) head: Head,
    #[serde(default)]
    pub(crate) tiers: Vec<TierRow>,
    pub(crate) accounts: Vec<AccountRow>,
    pub(crate) credentials: Vec<CredentialRow>,
    pub(crate) tokens: Vec<TokenRow>,
    // A sealed copy from before there were routes has neither.
    #[serde(default)]
    pub(crate) routes: Vec<RouteRow>,
    #[serde(default)]
    pub(crate) certificates: Vec<CertificateRow>,
    #[serde(default)]
    pub(crate) issuances: Vec<IssuanceRow>,
    #[serde(default)]
    pub(crate) people: Vec<PersonRow>,
    #[serde(default)]
    pub(crate) sign_ins: Vec<SignInRow>,
    #[serde(default)]
    pub(crate) invitations: Vec<InvitationRow>,
    #[serde(default)]
    pub(crate) alarms: Vec<AlarmRow>,
    #[serde(default)]
    pub(crate) troubles: Vec<TroubleRow>,
}
