//! What an operator can do, and the store: accounts, credentials, tokens, policies, routes, certificates, flows,
//! snapshots.
//!
//! [`Control`] keeps what is stored in memory too, compiles it into a [`Snapshot`](moorgate_contract::snapshot::Snapshot)
//! and hands that to a [`Plane`]. Every write is one transaction, then a swap, then the answer: what was acknowledged is
//! durable and served. A sealed copy lets a gateway start while its store is down.
//!
//! Knows neither proxy nor TLS; what it asks of DNS and of a CA it asks through their crates.

mod alarm_views;
mod apply;
mod background;
mod backup;
mod book;
mod calendar;
mod call;
mod compile;
mod control;
mod error;
mod evidence;
mod explain;
mod flows;
mod invalid;
mod ledger;
mod limits;
mod location;
mod names;
mod people_views;
mod proofs;
mod route_change;
mod route_views;
mod sealed;
mod secret;
mod settings;
mod shown;
mod store;
#[cfg(test)]
mod testing;
mod usage_views;
mod views;

pub use alarm_views::{AlarmKind, AlarmTry, AlarmView, NewAlarm};
pub use apply::{Applied, AppliedChange, Wrong};
pub use backup::{Restoration, Restored, SealedBackup, restore};
pub use call::{Call, Once};
pub use control::{
    AuditFilter, CertificateCounts, Control, DNS_LISTENER, Diagnosis, Replay, Replayed, Unwell, ZoneFacts, stage_of,
};
pub use error::{ControlError, DatabaseError, Invalid, Location, Result, SealedProblem, StoreError, What, chain};
pub use evidence::{
    ChangeLog, Evidence, EvidenceCredential, EvidenceRoute, ExposureCount, ExposureEvidence, KeyCustody, Readers,
    TlsPolicy,
};
pub use explain::By;
pub use flows::{FlowFilter, LatestFlows, Recorded};
pub use limits::{
    FLOWS_KEPT, KEEP_USAGE, MAX_ACCOUNTS, MAX_ALARMS, MAX_AUDIT_READ, MAX_CLIENTS, MAX_CREDENTIAL_NAME,
    MAX_CREDENTIALS, MAX_FLOWS_READ, MAX_ORIGINS, MAX_OVERLAP, MAX_ROUTES, MAX_TEXT, MAX_TIERS, MAX_TOKENS,
    MIN_PASSWORD,
};
pub use moorgate_dns::{
    DnsRecord,
    check::{Finding, Level},
};
pub use names::MAX_ACCOUNT_NAME;
pub use names::is_public_suffix;
pub use people_views::{
    AppSetup, Entered, InvitationView, Joining, NewInvitation, NewSignIn, PasskeyQuestion, PasskeyView, PersonView,
    Role, SignInView, SignedIn, Standing,
};
pub use proofs::{
    Identity,
    passkey::{MadePasskey, PasskeyProblem, RelyingParty, ShownPasskey},
};
pub use route_views::{
    ActionsView, CertificateSource, CertificateView, DnsState, HeaderChange, HeaderNames, NewBasicUser, NewHeaderField,
    OriginExplanation, OriginView, PathView, RouteChange, RouteCheck, RouteExplanation, RouteState, RouteView, SeenBy,
    ShownCertificate, StandingView,
};
pub use secret::{Password, SigningSecret, Token};
pub use settings::{AlarmSettings, CaSettings, Itself, Plane, PortsInUse, Settings, Start, ZoneSettings};
pub use usage_views::{GroupBy, Part, UsageFilter, UsageRow};
pub use views::{
    AccountChange, AccountView, AuditEntry, AuditVerdict, Caller, CredentialChange, CredentialStanding, CredentialView,
    EgressView, ExplainStep, Explanation, GatewayHealth, GatewayView, NewCredential, NewToken, PortsView, QuotaView,
    RefusalView, Scope, Status, TierView, TokenView, Who,
};
