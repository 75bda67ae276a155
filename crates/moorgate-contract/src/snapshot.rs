//! The immutable rules that traffic is served by. Compiled by the control plane, swapped in whole.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use ipnet::IpNet;

use crate::{
    account::{Account, AccountId, Credential, CredentialId, Pepper, Principal, SecretId},
    failure::Failure,
    guard::Guard,
    time::Timestamp,
};

/// What comes from the gateway's file rather than from the store.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// The name in Via and Proxy-Status; unique per gateway, so that a loop is seen.
    pub gateway: Arc<str>,
    /// The SSRF guard.
    pub guard: Guard,
    /// The name that the TLS proxy listeners have a certificate for.
    pub hostname: Arc<str>,
    /// Whether this is the loopback profile.
    pub loopback_profile: bool,
}

impl Site {
    /// Whether an operator opened `net` to destinations.
    pub fn allows(&self, net: &IpNet) -> bool {
        self.guard.allowed.iter().any(|allowed| allowed.contains(net))
    }
}

/// A map in shards: a copy with one entry changed shares all shards but one.
#[derive(Clone, Debug)]
struct Shards<K, V> {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<K, V>>>,
}

const SHARDS: usize = 64;

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    fn new() -> Self {
        Self { hasher: RandomState::new(), shards: vec![Arc::default(); SHARDS] }
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // Truncation keeps the low bits, which is all the modulus needs.
        (self.hasher.hash_one(key) as usize) % SHARDS
    }

    fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shards.get(self.shard(key))?.get(key)
    }

    fn insert(&mut self, key: K, value: V) {
        let shard = self.shard(&key);
        if let Some(shard) = self.shards.get_mut(shard) {
            Arc::make_mut(shard).insert(key, value);
        }
    }

    fn remove<Q>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let shard = self.shard(key);
        if let Some(shard) = self.shards.get_mut(shard)
            && shard.contains_key(key)
        {
            Arc::make_mut(shard).remove(key);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// Entries of shards that `newer` does not share with us.
    fn iter_unshared<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = (&'a K, &'a V)> {
        self.shards
            .iter()
            .zip(&newer.shards)
            .filter(|(old, new)| !Arc::ptr_eq(old, new))
            .flat_map(|(old, _)| old.iter())
    }
}

/// The rules. Cheap to clone and edit: a copy shares what did not change.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Grows with each change; 0 is the empty snapshot before the first.
    pub version: u64,
    /// What the gateway's file says.
    pub site: Arc<Site>,
    pepper: Arc<Pepper>,
    accounts: Shards<AccountId, Arc<Account>>,
    names: Shards<Arc<str>, AccountId>,
    credentials: Shards<Arc<str>, Arc<Credential>>,
}

impl Snapshot {
    /// A snapshot with nobody in it.
    pub fn empty(site: Arc<Site>, pepper: Pepper) -> Self {
        Self {
            version: 0,
            site,
            pepper: Arc::new(pepper),
            accounts: Shards::new(),
            names: Shards::new(),
            credentials: Shards::new(),
        }
    }

    /// Adds or replaces an account.
    pub fn put_account(&mut self, mut account: Account) {
        if let Some(old) = self.accounts.get(&account.id).cloned() {
            // What is open stays counted.
            account.load = old.load.clone();
            if old.name != account.name {
                self.names.remove(&*old.name);
            }
        }
        self.names.insert(account.name.clone(), account.id);
        self.accounts.insert(account.id, Arc::new(account));
    }

    /// Removes an account; its credentials stop working with it.
    pub fn remove_account(&mut self, id: AccountId) {
        if let Some(account) = self.accounts.get(&id).cloned() {
            self.names.remove(&*account.name);
            self.accounts.remove(&id);
        }
    }

    /// Adds or replaces a credential.
    pub fn put_credential(&mut self, credential: Credential) {
        self.credentials.insert(credential.username.clone(), Arc::new(credential));
    }

    /// Removes a credential.
    pub fn remove_credential(&mut self, username: &str) {
        self.credentials.remove(username);
    }

    /// The account of this name.
    pub fn account(&self, name: &str) -> Option<&Arc<Account>> {
        self.accounts.get(self.names.get(name)?)
    }

    /// Every account, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.iter().map(|(_, account)| account)
    }

    /// Every credential, in no order.
    pub fn credentials(&self) -> impl Iterator<Item = &Arc<Credential>> {
        self.credentials.iter().map(|(_, credential)| credential)
    }

    /// Whom a username and password belong to at `now`. Takes as long for a username that does not exist.
    ///
    /// # Errors
    /// [`Code::CredentialsMissing`](crate::failure::Code) and [`Code::CredentialsWrong`](crate::failure::Code).
    pub fn authenticate(&self, presented: Option<(&str, &[u8])>, now: Timestamp) -> Result<Principal, Failure> {
        let (username, password) = presented.ok_or_else(Failure::credentials_missing)?;
        let hash = self.pepper.hash(username, password);
        self.credentials
            .get(username)
            .and_then(|credential| {
                Some(Principal {
                    secret: credential.find(&hash, now)?,
                    account: self.accounts.get(&credential.account)?.clone(),
                    username: credential.username.clone(),
                    credential: credential.id,
                })
            })
            .ok_or_else(|| Failure::credentials_wrong(username))
    }

    /// Whether `principal` would be let in again: asked once more after its flow was entered in the registry, so that a
    /// revocation in between is not missed.
    pub fn still_has(&self, principal: &Principal, now: Timestamp) -> bool {
        self.accounts.get(&principal.account.id).is_some()
            && self.credentials.get(&principal.username).is_some_and(|credential| {
                credential.id == principal.credential
                    && credential.secrets.iter().any(|secret| secret.id == principal.secret && secret.is_valid(now))
            })
    }

    /// What `newer` no longer has, or has under new rules: whose open flows must be looked at.
    pub fn revoked_by(&self, newer: &Self) -> Revoked {
        let mut revoked = Revoked::default();
        for (id, account) in self.accounts.iter_unshared(&newer.accounts) {
            match newer.accounts.get(id) {
                None => revoked.accounts.push(*id),
                Some(now) if now.policy_cuts != account.policy_cuts => revoked.policies.push(now.clone()),
                Some(_) => {}
            }
        }
        for (username, credential) in self.credentials.iter_unshared(&newer.credentials) {
            match newer.credentials.get(username) {
                Some(now) if now.id == credential.id => {
                    let gone =
                        credential.secrets.iter().filter(|secret| now.secrets.iter().all(|new| new.id != secret.id));
                    revoked.secrets.extend(gone.map(|secret| secret.id));
                }
                _ => revoked.credentials.push(credential.id),
            }
        }
        revoked
    }

    /// Passwords that end at a time which is already known (a rotation's overlap).
    pub fn deadlines(&self) -> Vec<(Timestamp, SecretId)> {
        let secrets = self.credentials().flat_map(|credential| &credential.secrets);
        secrets.filter_map(|secret| Some((secret.until?, secret.id))).collect()
    }
}

/// What a swap took away.
#[derive(Clone, Debug, Default)]
pub struct Revoked {
    /// Accounts that are gone.
    pub accounts: Vec<AccountId>,
    /// Credentials that are gone.
    pub credentials: Vec<CredentialId>,
    /// Single passwords that are gone.
    pub secrets: Vec<SecretId>,
    /// Accounts whose policy was edited with `--cut`, as they are now.
    pub policies: Vec<Arc<Account>>,
}

impl Revoked {
    /// Whether no open flow can be touched by it.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.credentials.is_empty() && self.secrets.is_empty() && self.policies.is_empty()
    }
}

#[cfg(test)]
mod tests;
