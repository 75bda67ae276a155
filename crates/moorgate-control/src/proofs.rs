//! What people prove who they are with beside a password: codes of an authenticator app (RFC 6238), passkeys, and what an
//! identity provider says of them.

use moorgate_contract::{account::SecretHash, time::Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) mod passkey;
pub(crate) mod step;
pub(crate) mod totp;

/// All of one person's, as stored.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Proofs {
    /// An authenticator app.
    pub(crate) totp: Option<TotpRow>,
    /// Of codes for whoever has lost it, each good once.
    pub(crate) recovery: Vec<SecretHash>,
    pub(crate) passkeys: Vec<PasskeyRow>,
    /// Who they are to an identity provider.
    pub(crate) identity: Option<Identity>,
}

/// What an authenticator app's codes are made of.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TotpRow {
    /// Sealed under the store's key.
    pub(crate) secret: Vec<u8>,
    /// The last step whose code was taken: no code is taken twice (RFC 6238 §5.2).
    pub(crate) used: u64,
    pub(crate) since: Timestamp,
}

/// A passkey.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PasskeyRow {
    /// The authenticator's name for it, base64url.
    pub(crate) id: String,
    /// What its owner calls it.
    pub(crate) name: String,
    pub(crate) key: passkey::PublicKey,
    /// How often the authenticator says that it was used; many always say 0.
    pub(crate) counter: u32,
    pub(crate) created: Timestamp,
    pub(crate) used: Option<Timestamp>,
}

/// Somebody, to an identity provider (OpenID Connect Core §2: `iss`, `sub`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Who says it: an `https://` URL.
    pub issuer: String,
    /// Never given to anybody else by them.
    pub subject: String,
}

impl Proofs {
    /// As JSON; empty: none.
    pub(crate) fn stored(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        // What can't be written must not read as nothing.
        serde_json::to_string(self).unwrap_or_else(|_| "?".to_owned())
    }

    /// What can't be read (a later version has written it) wants a code that nobody has: a password alone must not do.
    pub(crate) fn from_stored(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        let nobody = TotpRow { secret: Vec::new(), used: 0, since: Timestamp(0) };
        serde_json::from_str(text).unwrap_or(Self { totp: Some(nobody), ..Self::default() })
    }
}
