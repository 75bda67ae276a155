//! Accounts and credentials as the data plane sees them.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    decide::Witness,
    egress::Pair,
    failure::{Code, Failure},
    policy::Policy,
    quota::Quota,
    time::Timestamp,
};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);
    };
}

id! {
    /// An account, for as long as it exists; never used again.
    AccountId
}
id! {
    /// A credential: a username that keeps its identity while its password rotates.
    CredentialId
}
id! {
    /// One password of a credential.
    SecretId
}

/// An account: a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its identity.
    pub id: AccountId,
    /// Its name, as in the API and in refusals.
    pub name: Arc<str>,
    /// Where its connections may go.
    pub policy: Policy,
    /// Counts edits of the policy that also cut open tunnels which the new rules refuse.
    pub policy_cuts: u64,
    /// The addresses its connections leave from.
    pub egress: Pair,
    /// How many tunnels and exchanges it has open; one counter for as long as the account exists.
    #[serde(skip)]
    pub load: Load,
    /// What its tier allows; `None`: no limits. Not part of what is stored.
    #[serde(skip)]
    pub quota: Option<Arc<Quota>>,
}

impl Account {
    /// Lets one tunnel or exchange through and counts it, if its tier allows one more now. The clock is read only where
    /// there is a quota.
    ///
    /// # Errors
    /// [`Code::QuotaSpent`], with when to come again.
    pub fn take_request(&self, now: impl FnOnce() -> Timestamp) -> Result<(), Failure> {
        self.quota.as_ref().map_or(Ok(()), |quota| quota.take_request(&self.name, now()))
    }

    /// Asks whether [`take_place`](Self::take_place) and [`take_request`](Self::take_request) would let one more through,
    /// and takes nothing.
    ///
    /// # Errors
    /// As theirs.
    pub fn has_room(&self, most: usize, now: Timestamp, witness: &mut impl Witness) -> Result<(), Failure> {
        let quota = self.quota_of_places(most);
        let (open, places) = (self.load.taken(), quota.map_or(most, |(places, _)| places));
        if open >= places {
            return Err(self.no_place(quota, most));
        }
        if let Some(quota) = &self.quota {
            quota.judge(&self.name, now)?;
            witness.saw("quota", format_args!("leaves room for one more"));
        }
        Ok(())
    }

    /// Takes a place for one tunnel or exchange. `most` is the gateway's own limit for each account; the tier's counts
    /// where it is smaller.
    ///
    /// # Errors
    /// [`Code::QuotaSpent`].
    pub fn take_place(&self, most: usize) -> Result<Place, Failure> {
        let quota = self.quota_of_places(most);
        self.load.take(quota.map_or(most, |(places, _)| places)).ok_or_else(|| self.no_place(quota, most))
    }

    /// What its tier leaves to this gateway of places, where that is less than `most`.
    fn quota_of_places(&self, most: usize) -> Option<(usize, bool)> {
        let (places, shared) = self.quota.as_ref()?.places()?;
        Some((usize::try_from(places).unwrap_or(usize::MAX), shared)).filter(|(places, _)| *places < most)
    }

    fn no_place(&self, quota: Option<(usize, bool)>, most: usize) -> Failure {
        let name = &self.name;
        let failure = match quota {
            Some((_, shared)) => {
                let quota = self.quota.as_ref().and_then(|quota| quota.quotas().tunnels).unwrap_or_default();
                let gateways = if shared { " on its gateways" } else { "" };
                Failure::new(
                    Code::QuotaSpent,
                    format_args!(
                        "account {name} has {quota} tunnels and requests open{gateways}, which is its quota; close some, \
                         or ask your operator for a larger tier"
                    ),
                )
            }
            None => Failure::new(
                Code::QuotaSpent,
                format_args!("account {name} has {most} connections open, which is its limit"),
            ),
        };
        failure.to_be_tried_after(PLACE_FREE_AFTER)
    }
}

/// Nobody knows when a tunnel ends: the client is told to come again soon.
const PLACE_FREE_AFTER: Duration = Duration::from_secs(1);

/// A count of what is open, shared by all copies of an account. Says nothing about whether two accounts are equal.
#[derive(Clone, Debug, Default)]
pub struct Load(Arc<AtomicUsize>);

impl PartialEq for Load {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Load {}

impl Load {
    /// Takes one place if fewer than `limit` are taken. It is given back when the value is dropped.
    pub fn take(&self, limit: usize) -> Option<Place> {
        let taken = self.0.fetch_add(1, Relaxed);
        let place = Place(self.0.clone());
        (taken < limit).then_some(place)
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// One place of a [`Load`].
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A proxy username with its one or (while a rotation overlaps) two passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its identity.
    pub id: CredentialId,
    /// Who owns it.
    pub account: AccountId,
    /// The proxy username; unique over all accounts.
    pub username: Arc<str>,
    /// The passwords that are valid.
    pub secrets: Vec<Secret>,
    /// From when on it is refused, whatever its passwords; `None`: never. Holds even when nobody compiles a newer snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// From where it may be used; empty: from anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<IpNet>,
    /// Where its connections may go of where the account's may; `None`: everywhere there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Arc<Policy>>,
    /// Counts edits of its policy that also cut open tunnels which the new rules refuse.
    #[serde(default)]
    pub policy_cuts: u64,
}

/// A password as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its identity: flows remember it, so that the end of a rotation's overlap can cut them.
    pub id: SecretId,
    /// The keyed hash.
    pub hash: SecretHash,
    /// From when on it is refused; `None`: never. Holds even when nobody compiles a newer snapshot.
    pub until: Option<Timestamp>,
}

impl Secret {
    /// Whether it is accepted at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// HMAC-SHA-256 of username and password under the gateway's [`Pepper`].
///
/// Passwords are random with at least 128 bits, so one keyed hash is enough and a CONNECT costs no password hashing.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

impl SecretHash {
    fn matches(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// The key of [`SecretHash`]es. Derived from the master key; never leaves the gateway unsealed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pepper([u8; 32]);

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

impl Pepper {
    /// A pepper of these 32 bytes.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The hash of a username and password. The length in front keeps `ab`+`c` and `a`+`bc` apart.
    pub fn hash(&self, username: &str, password: &[u8]) -> SecretHash {
        // A 32-byte key is always accepted; the zero key of the fallback matches nothing that was ever stored.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return SecretHash([0; 32]) };
        mac.update(&(username.len() as u64).to_be_bytes());
        mac.update(username.as_bytes());
        mac.update(password);
        SecretHash(mac.finalize().into_bytes().into())
    }
}

/// Who asks: one value, made by [`Snapshot::authenticate`](crate::snapshot::Snapshot::authenticate), by which traffic
/// is both routed and authorised.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The account.
    pub account: Arc<Account>,
    /// The credential's username.
    pub username: Arc<str>,
    /// The credential.
    pub credential: CredentialId,
    /// Which of its passwords.
    pub secret: SecretId,
    /// What the credential is bound to, as it was when it was presented.
    pub bounds: Arc<Credential>,
}

impl Principal {
    /// Asks whether the credential may be used from `client`.
    ///
    /// # Errors
    /// [`Code::ClientDenied`].
    pub fn let_in(&self, client: IpAddr) -> Result<(), Failure> {
        self.bounds.let_in(client)
    }
}

impl Credential {
    /// Whether it is refused at `now`, whatever its passwords.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Asks whether it has expired by `now`, whatever its passwords.
    ///
    /// # Errors
    /// [`Code::CredentialsWrong`].
    pub fn still_valid(&self, now: Timestamp) -> Result<(), Failure> {
        if self.is_expired(now) { Err(Failure::credential_expired(&self.username)) } else { Ok(()) }
    }

    /// Asks whether it may be used from `client`.
    ///
    /// # Errors
    /// [`Code::ClientDenied`].
    pub fn let_in(&self, client: IpAddr) -> Result<(), Failure> {
        if self.is_for(client) { Ok(()) } else { Err(Failure::not_for_client(&self.username, client)) }
    }

    /// Whether it may be used from `client`.
    pub fn is_for(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.clients.is_empty() || self.clients.iter().any(|net| net.contains(&client))
    }

    /// The password of this credential that `hash` is, looking at every one in constant time.
    pub(crate) fn find(&self, hash: &SecretHash, now: Timestamp) -> Option<SecretId> {
        let mut found = None;
        for secret in &self.secrets {
            if bool::from(secret.hash.matches(hash)) && secret.is_valid(now) {
                found = Some(secret.id);
            }
        }
        found
    }
}
