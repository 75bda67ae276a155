//! Rows as the audit log shows them: all that was decided, nothing that is secret.

use moorgate_contract::{
    account::AccountId,
    policy::Policy,
    route::{BasicUser, HeaderEdits, RouteSettings},
    time::Timestamp,
};
use moorgate_keys::Facts;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    book::{
        AccountRow, AlarmRow, CertificateRow, CredentialRow, InvitationRow, IssuanceRow, PersonRow, RouteRow,
        SignInRow, TierRow, TokenRow, TroubleRow,
    },
    compile::is_sealed,
};

/// Stands for a value that is kept and not shown.
const HIDDEN: &str = "(hidden)";

pub(crate) fn account(row: &AccountRow) -> Value {
    json!({ "tier": row.tier, "egress": list(&row.egress), "policy": rules(Some(&row.policy)) })
}

pub(crate) fn credential(row: &CredentialRow) -> Value {
    json!({
        "name": row.name,
        "passwords": row.secrets.len(),
        "overlap_until": row.secrets.iter().filter_map(|secret| secret.until).max().map(time),
        "expires": row.expires.map(time),
        "clients": list(&row.clients),
        "policy": rules(row.policy.as_deref()),
    })
}

pub(crate) fn token(row: &TokenRow) -> Value {
    json!({ "operator": row.account.is_none(), "scope": row.scope })
}

/// A person's standing. `name_of`: an account's name.
pub(crate) fn person(row: &PersonRow, name_of: &dyn Fn(AccountId) -> String) -> Value {
    let roles: serde_json::Map<String, Value> =
        row.roles.iter().map(|(account, role)| (name_of(*account), json!(role))).collect();
    let proofs = &row.proofs;
    let passkeys: Vec<&String> = proofs.passkeys.iter().map(|passkey| &passkey.name).collect();
    json!({
        "email": row.email,
        "operator": row.operator,
        "roles": roles,
        "password": !row.password.is_empty(),
        "app": proofs.totp.is_some(),
        "recovery_codes": proofs.recovery.len(),
        "passkeys": passkeys,
        "issuer": proofs.identity.as_ref().map(|identity| &identity.issuer),
    })
}

pub(crate) fn sign_in(row: &SignInRow) -> Value {
    json!({ "until": second(row.until), "client": row.client, "agent": row.agent })
}

pub(crate) fn invitation(row: &InvitationRow) -> Value {
    json!({ "email": row.email, "operator": row.operator, "role": row.role, "until": second(row.until) })
}

/// A receiver of alarms. What stands in its URL's path may be a secret.
pub(crate) fn alarm(row: &AlarmRow) -> Value {
    let receiver = row.receiver.split_once("://").map_or_else(
        || row.receiver.clone(),
        |(scheme, rest)| format!("{scheme}://{}/…", rest.split(['/', '?']).next().unwrap_or_default()),
    );
    let kinds: Vec<&str> = row.kinds.iter().map(|kind| kind.name()).collect();
    json!({ "receiver": receiver, "kinds": kinds, "off": (!row.off.is_empty()).then_some(&row.off) })
}

pub(crate) fn trouble(row: &TroubleRow) -> Value {
    json!({ "kind": row.kind.name(), "stage": row.stage, "since": second(row.since), "said": row.said })
}

pub(crate) fn tier(row: &TierRow) -> Value {
    parsed(&row.quotas)
}

pub(crate) fn certificate(row: &CertificateRow) -> Value {
    chain(&row.chain)
}

/// Without what is to be shown to the CA, which is over by the time that somebody reads of it.
pub(crate) fn issuance(row: &IssuanceRow) -> Value {
    let next = (row.next.0 > 0).then(|| second(row.next));
    let error = (!row.error.is_empty()).then_some(&row.error);
    json!({ "ordering": !row.holder.is_empty(), "failures": row.failures, "next": next, "error": error })
}

/// A chain in PEM.
pub(crate) fn chain(pem: &str) -> Value {
    match Facts::of_pem(pem.as_bytes()) {
        Ok(facts) => json!({ "fingerprint": facts.fingerprint, "issuer": facts.issuer, "names": facts.names }),
        Err(_) => json!({ "fingerprint": null }),
    }
}

pub(crate) fn route(row: &RouteRow) -> Value {
    let settings = match serde_json::from_str::<RouteSettings>(&row.settings) {
        Ok(mut settings) => {
            let actions = &mut settings.actions;
            let user = |user: BasicUser| (user.username, json!(hidden(&user.hash.0)));
            let users: Map<String, Value> = actions.basic_auth.drain(..).map(user).collect();
            hide(&mut actions.request_headers);
            let mut shown = json!(settings);
            if let (false, Some(shown)) = (users.is_empty(), shown.as_object_mut()) {
                shown.insert("basic_auth".to_owned(), json!(users));
            }
            shown
        }
        // It may hold anything.
        Err(_) => Value::Null,
    };
    json!({ "mode": row.mode, "dns": row.dns, "settings": settings })
}

fn hide(edits: &mut HeaderEdits) {
    for field in &mut edits.set {
        // What is not sealed (by a version before) could be found by trying.
        field.value = if is_sealed(field) { hidden(field.value.as_bytes()) } else { HIDDEN.into() };
    }
}

/// Stands for a secret by what is stored in its place: another one is seen to be another.
fn hidden(stored: &[u8]) -> String {
    let digest = Sha256::digest(stored);
    let tag: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("(hidden, {tag})")
}

/// The second it is in, for a person (RFC 3339).
pub(crate) fn second(at: Timestamp) -> String {
    time(Timestamp(at.0 - at.0 % 1_000_000))
}

/// As the API writes it (RFC 3339).
fn time(time: Timestamp) -> String {
    let time = i64::try_from(time.0).ok().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    time.unwrap_or(jiff::Timestamp::MAX).to_string()
}

fn list(commas: &str) -> Vec<&str> {
    commas.split(',').filter(|text| !text.is_empty()).collect()
}

/// Rules as a person writes them.
fn rules(policy: Option<&str>) -> Value {
    let Some(policy) = policy else { return Value::Null };
    match serde_json::from_str::<Policy>(policy) {
        Ok(policy) => policy.rules().iter().map(ToString::to_string).collect(),
        Err(_) => Value::Null,
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
