//! Passkeys: what a browser hands over when one is made and when one is shown (W3C Web Authentication Level 3, §7.1 and
//! §7.2, without attestation: who made an authenticator is not asked). Bytes in, an answer out.
//!
//! The key comes as the browser's `getPublicKey()` gives it (§5.2.1): no CBOR is parsed here.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{
        ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Flags of the authenticator's data (§6.1).
const PRESENT: u8 = 1;
const VERIFIED: u8 = 1 << 2;
const HAS_KEY: u8 = 1 << 6;
/// The most bytes of an authenticator's name for a key (§4).
const MAX_ID: usize = 1_023;
/// The longest public key, in bytes: RSA with 8192 bits.
const MAX_KEY: usize = 1_100;

/// Who asks for it: a browser gives a passkey to nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    /// The console's host name.
    pub id: String,
    /// As browsers say it: `https://console.example.com`.
    pub origin: String,
}

/// What a browser hands over when a passkey was made, as bytes.
#[derive(Clone, Debug, Default)]
pub struct MadePasskey {
    /// The authenticator's name for it.
    pub id: Vec<u8>,
    /// `clientDataJSON`.
    pub client: Vec<u8>,
    /// `getAuthenticatorData()`.
    pub authenticator: Vec<u8>,
    /// `getPublicKey()`: a `SubjectPublicKeyInfo`.
    pub key: Vec<u8>,
    /// `getPublicKeyAlgorithm()`: of COSE (RFC 9053).
    pub algorithm: i64,
}

/// What a browser hands over when a passkey is shown, as bytes.
#[derive(Clone, Debug, Default)]
pub struct ShownPasskey {
    /// The authenticator's name for it.
    pub id: Vec<u8>,
    /// `clientDataJSON`.
    pub client: Vec<u8>,
    /// `authenticatorData`.
    pub authenticator: Vec<u8>,
    /// Over both.
    pub signature: Vec<u8>,
}

/// A key that verifies what an authenticator signs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublicKey {
    algorithm: Algorithm,
    /// A `SubjectPublicKeyInfo`.
    der: Vec<u8>,
}

/// What authenticators sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    Es256,
    EdDsa,
    Rs256,
}

impl Algorithm {
    /// Of COSE, the best first: what browsers are asked for.
    pub(crate) const ALL: [(Self, i64); 3] = [(Self::EdDsa, -8), (Self::Es256, -7), (Self::Rs256, -257)];

    fn verifier(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &ECDSA_P256_SHA256_ASN1,
            Self::EdDsa => &ED25519,
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        }
    }
}

/// Why a passkey is not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PasskeyProblem {
    /// A part is not as browsers send it.
    #[error("the browser's answer can't be read: {0} is wrong")]
    Unreadable(&'static str),
    /// Not what was asked for.
    #[error("this answers another question than the one that was asked; try again")]
    Challenge,
    /// Made for another site.
    #[error("the browser used it on {seen}, not on {wanted}; open the console by that name")]
    Origin {
        /// Where, as the browser says.
        seen: String,
        /// Where it counts.
        wanted: String,
    },
    /// Nobody touched it or unlocked it.
    #[error("the authenticator did not check who you are; one with a PIN, a fingerprint or a face is needed")]
    Unverified,
    /// Of a kind that is not known here.
    #[error("the authenticator signs in a way that is not known here ({0} of COSE)")]
    Algorithm(i64),
    /// The signature is not its.
    #[error("the passkey's signature is wrong")]
    Signature,
    /// It was copied.
    #[error("the passkey counts backwards: it may have been copied. Remove it and make another")]
    Counter,
}

#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(rename = "crossOrigin", default)]
    cross_origin: bool,
}

/// What an authenticator says (§6.1).
struct AuthenticatorData<'a> {
    flags: u8,
    counter: u32,
    /// Behind these: a new key's part.
    rest: &'a [u8],
}

/// The key of a passkey that was just made, and its counter.
///
/// # Errors
/// [`PasskeyProblem`].
pub(crate) fn made(
    party: &RelyingParty,
    challenge: &[u8],
    made: &MadePasskey,
) -> Result<(PublicKey, u32), PasskeyProblem> {
    check_client(party, "webauthn.create", challenge, &made.client)?;
    let data = check_authenticator(party, &made.authenticator)?;
    // §6.5.1: 16 bytes of whose make it is, two of length, its name; then the key, which came by itself.
    let named = data.rest.get(16..).and_then(|rest| rest.split_first_chunk::<2>());
    let (length, rest) = named.filter(|_| data.flags & HAS_KEY != 0).ok_or(PasskeyProblem::Unreadable("its key"))?;
    let id = rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or(PasskeyProblem::Unreadable("its name"))?;
    if id != made.id || id.is_empty() || id.len() > MAX_ID {
        return Err(PasskeyProblem::Unreadable("its name"));
    }
    let known = Algorithm::ALL.into_iter().find(|(_, cose)| *cose == made.algorithm);
    let (algorithm, _) = known.ok_or(PasskeyProblem::Algorithm(made.algorithm))?;
    if made.key.is_empty() || made.key.len() > MAX_KEY {
        return Err(PasskeyProblem::Unreadable("its key"));
    }
    Ok((PublicKey { algorithm, der: made.key.clone() }, data.counter))
}

/// What a passkey's counter says now that it was shown. `counter`: what it said before.
///
/// # Errors
/// [`PasskeyProblem`].
pub(crate) fn shown(
    party: &RelyingParty,
    challenge: &[u8],
    key: &PublicKey,
    counter: u32,
    shown: &ShownPasskey,
) -> Result<u32, PasskeyProblem> {
    check_client(party, "webauthn.get", challenge, &shown.client)?;
    let data = check_authenticator(party, &shown.authenticator)?;
    let signed = [&*shown.authenticator, digest(&SHA256, &shown.client).as_ref()].concat();
    let key = UnparsedPublicKey::new(key.algorithm.verifier(), &key.der);
    key.verify(&signed, &shown.signature).map_err(|_| PasskeyProblem::Signature)?;
    // §7.2 step 22: one that counts at all counts up.
    if (data.counter, counter) != (0, 0) && data.counter <= counter {
        return Err(PasskeyProblem::Counter);
    }
    Ok(data.counter)
}

fn check_client(party: &RelyingParty, kind: &str, challenge: &[u8], json: &[u8]) -> Result<(), PasskeyProblem> {
    let client: ClientData = serde_json::from_slice(json).map_err(|_| PasskeyProblem::Unreadable("clientDataJSON"))?;
    let asked = URL_SAFE_NO_PAD.decode(&client.challenge).unwrap_or_default();
    if client.kind != kind || asked != challenge || challenge.is_empty() {
        return Err(PasskeyProblem::Challenge);
    }
    if client.origin != party.origin || client.cross_origin {
        return Err(PasskeyProblem::Origin { seen: crate::error::short(&client.origin), wanted: party.origin.clone() });
    }
    Ok(())
}

fn check_authenticator<'a>(party: &RelyingParty, data: &'a [u8]) -> Result<AuthenticatorData<'a>, PasskeyProblem> {
    const WHAT: PasskeyProblem = PasskeyProblem::Unreadable("authenticatorData");
    let (party_hash, rest) = data.split_first_chunk::<32>().ok_or(WHAT)?;
    let (&flags, rest) = rest.split_first().ok_or(WHAT)?;
    let (counter, rest) = rest.split_first_chunk::<4>().ok_or(WHAT)?;
    if party_hash != digest(&SHA256, party.id.as_bytes()).as_ref() {
        return Err(PasskeyProblem::Origin { seen: "another name".to_owned(), wanted: party.origin.clone() });
    }
    if flags & PRESENT == 0 || flags & VERIFIED == 0 {
        return Err(PasskeyProblem::Unverified);
    }
    Ok(AuthenticatorData { flags, counter: u32::from_be_bytes(*counter), rest })
}

#[cfg(test)]
pub(crate) mod tests;
