//! The immutable rules that traffic is served by. Compiled by the control plane, swapped in whole.

use std::{
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use ipnet::IpNet;
use moorgate_wire::name::DomainName;

use crate::{
    account::{Account, AccountId, Credential, CredentialId, Pepper, Principal, SecretHash, SecretId},
    certificate::{Certificate, Challenge, ChallengeKind},
    failure::Failure,
    guard::Guard,
    route::{CnameTarget, Domain, Route, RouteId},
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
    /// From where inbound connections begin with a PROXY header, and only from there.
    pub load_balancers: Vec<IpNet>,
    /// The port by which clients reach the inbound TLS listener; `None`: it is off. A redirect to https names it.
    pub inbound_tls_port: Option<u16>,
}

impl Site {
    /// Whether an operator opened `net` to destinations.
    pub fn allows(&self, net: &IpNet) -> bool {
        self.guard.allowed.iter().any(|allowed| allowed.contains(net))
    }
}

/// A map in shards: a copy with one entry changed shares all shards but one. A key is hashed once, for the shard and in it.
#[derive(Clone, Debug)]
struct Shards<K, V> {
    hasher: RandomState,
    shards: Vec<Arc<HashTable<(K, V)>>>,
}

/// At 100,000 entries an edit copies four hundred of them, and half as many pointers. Shards of shards would copy fewer, but
/// a decision would wait for memory once more.
const SHARDS: usize = 256;

fn place(hash: u64) -> usize {
    // Not by the lowest bits nor by the highest seven: those a table itself goes by.
    (hash >> 40) as usize % SHARDS
}

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    fn new() -> Self {
        // What is empty is there once.
        let empty = Arc::default();
        Self { hasher: RandomState::default(), shards: vec![empty; SHARDS] }
    }

    fn shard_mut(&mut self, hash: u64) -> Option<&mut HashTable<(K, V)>> {
        self.shards.get_mut(place(hash)).map(Arc::make_mut)
    }

    fn find<Q>(&self, hash: u64, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let entry = self.shards.get(place(hash))?.find(hash, |(own, _)| own.borrow() == key);
        entry.map(|(_, value)| value)
    }

    fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.find(self.hasher.hash_one(key), key)
    }

    fn insert(&mut self, key: K, value: V) {
        let hasher = self.hasher.clone();
        let hash = hasher.hash_one(&key);
        let Some(shard) = self.shard_mut(hash) else { return };
        match shard.find_mut(hash, |(own, _)| *own == key) {
            Some((_, old)) => *old = value,
            None => drop(shard.insert_unique(hash, (key, value), |(own, _)| hasher.hash_one(own))),
        }
    }

    fn remove<Q>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        // What is not there needs no copy of what is.
        if self.find(hash, key).is_some()
            && let Some(shard) = self.shard_mut(hash)
            && let Ok(entry) = shard.find_entry(hash, |(own, _)| own.borrow() == key)
        {
            entry.remove();
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(|(key, value)| (key, value))
    }

    /// Whether `newer` is the same map, not only an equal one.
    fn is_shared_with(&self, newer: &Self) -> bool {
        self.shards.iter().zip(&newer.shards).all(|(old, new)| Arc::ptr_eq(old, new))
    }

    /// Entries of shards that `newer` does not share with us.
    fn iter_unshared<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = (&'a K, &'a V)> {
        let shards = self.shards.iter().zip(&newer.shards).filter(|(old, new)| !Arc::ptr_eq(old, new));
        shards.flat_map(|(old, _)| old.iter()).map(|(key, value)| (key, value))
    }
}

/// A map by domain: exact names, and wildcards by what follows the `*.`.
#[derive(Clone, Debug)]
struct ByDomain<V> {
    exact: Shards<DomainName, V>,
    wildcard: Shards<DomainName, V>,
}

impl<V: Clone> ByDomain<V> {
    fn new() -> Self {
        Self { exact: Shards::new(), wildcard: Shards::new() }
    }

    fn side(&mut self, domain: &Domain) -> &mut Shards<DomainName, V> {
        match domain {
            Domain::Exact(_) => &mut self.exact,
            Domain::Wildcard(_) => &mut self.wildcard,
        }
    }

    fn get(&self, domain: &Domain) -> Option<&V> {
        match domain {
            Domain::Exact(name) => self.exact.get(name),
            Domain::Wildcard(suffix) => self.wildcard.get(suffix),
        }
    }

    fn insert(&mut self, domain: &Domain, value: V) {
        self.side(domain).insert(domain.key().clone(), value);
    }

    fn remove(&mut self, domain: &Domain) {
        self.side(domain).remove(domain.key());
    }

    fn iter(&self) -> impl Iterator<Item = &V> {
        self.exact.iter().chain(self.wildcard.iter()).map(|(_, value)| value)
    }

    fn iter_unshared<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = &'a V> {
        let exact = self.exact.iter_unshared(&newer.exact);
        exact.chain(self.wildcard.iter_unshared(&newer.wildcard)).map(|(_, value)| value)
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
    /// Those of them with quotas.
    metered: Shards<AccountId, Arc<Account>>,
    names: Shards<Arc<str>, AccountId>,
    credentials: Shards<Arc<str>, Arc<Credential>>,
    routes: ByDomain<Arc<Route>>,
    /// Those of them whose origins are checked.
    checked: ByDomain<Arc<Route>>,
    /// Domains whose route can't be served: theirs all the same, so that no wildcard takes them over.
    unserved: ByDomain<()>,
    certificates: ByDomain<Arc<Certificate>>,
    /// What CAs look for, of orders that are open.
    challenges: ByDomain<Arc<Challenge>>,
    /// By label in the zone, those of routes that are not served yet as well.
    targets: Shards<Arc<str>, CnameTarget>,
}

impl Snapshot {
    /// A snapshot with nobody in it.
    pub fn empty(site: Arc<Site>, pepper: Pepper) -> Self {
        Self {
            version: 0,
            site,
            pepper: Arc::new(pepper),
            accounts: Shards::new(),
            metered: Shards::new(),
            names: Shards::new(),
            credentials: Shards::new(),
            routes: ByDomain::new(),
            checked: ByDomain::new(),
            unserved: ByDomain::new(),
            certificates: ByDomain::new(),
            challenges: ByDomain::new(),
            targets: Shards::new(),
        }
    }

    /// Adds or replaces an account.
    pub fn put_account(&mut self, mut account: Account) {
        if let Some(old) = self.accounts.get(&account.id).cloned() {
            // What is open stays counted.
            account.load = old.load.clone();
            // And what was spent stays spent.
            if let (Some(new), Some(old)) = (&account.quota, &old.quota) {
                account.quota = Some(Arc::new(new.replacing(old)));
            }
            if old.name != account.name {
                self.names.remove(&*old.name);
            }
        }
        let account = Arc::new(account);
        match account.quota {
            Some(_) => self.metered.insert(account.id, account.clone()),
            None => self.metered.remove(&account.id),
        }
        self.names.insert(account.name.clone(), account.id);
        self.accounts.insert(account.id, account);
    }

    /// Removes an account; its credentials stop working with it.
    pub fn remove_account(&mut self, id: AccountId) {
        if let Some(account) = self.accounts.get(&id).cloned() {
            self.names.remove(&*account.name);
            self.metered.remove(&id);
            self.accounts.remove(&id);
        }
    }

    /// Adds a route, or replaces the one of this domain: what is known of its origins stays known.
    pub fn put_route(&mut self, mut route: Route) {
        if let Some(old) = self.routes.get(&route.domain).filter(|old| old.id == route.id) {
            route.take_over(old);
        }
        self.unserved.remove(&route.domain);
        self.serve(route);
    }

    fn serve(&mut self, route: Route) {
        let route = Arc::new(route);
        match route.settings.check.every {
            Some(_) => self.checked.insert(&route.domain, route.clone()),
            None => self.checked.remove(&route.domain),
        }
        self.routes.insert(&route.domain.clone(), route);
    }

    /// Removes the route of this domain.
    pub fn remove_route(&mut self, domain: &Domain) {
        self.unserved.remove(domain);
        self.routes.remove(domain);
        self.checked.remove(domain);
    }

    /// Takes the route of this domain out of service: nobody is served there, not by a wildcard either.
    pub fn take_out_route(&mut self, domain: &Domain) {
        self.remove_route(domain);
        self.unserved.insert(domain, ());
    }

    /// Adds or replaces the certificate of a domain. The route that shows it begins anew, so that nothing made with the
    /// old one (a ticket, a TLS configuration) is used for the new.
    pub fn put_certificate(&mut self, certificate: Certificate) {
        let domain = certificate.domain.clone();
        self.certificates.insert(&domain, Arc::new(certificate));
        self.refresh(&domain);
    }

    /// Removes the certificate of a domain.
    pub fn remove_certificate(&mut self, domain: &Domain) {
        self.certificates.remove(domain);
        self.refresh(domain);
    }

    fn refresh(&mut self, domain: &Domain) {
        if let Some(route) = self.routes.get(domain) {
            let mut route = Route::clone(route);
            route.attached = Default::default();
            self.serve(route);
        }
    }

    /// The route that serves `name`, and whose it is. Exact beats wildcard, and nothing falls to a default.
    pub fn route(&self, name: &DomainName) -> Option<(&Arc<Route>, &Arc<Account>)> {
        let exact = self.routes.exact.get(name);
        let route = match exact {
            Some(route) => route,
            None if self.unserved.exact.get(name).is_some() => return None,
            None => self.routes.wildcard.get(name.parent()?)?,
        };
        Some((route, self.accounts.get(&route.account)?))
    }

    /// Adds or replaces the target of this label, which is in lower case.
    pub fn put_target(&mut self, label: &str, target: CnameTarget) {
        if self.targets.get(label) != Some(&target) {
            self.targets.insert(label.into(), target);
        }
    }

    /// Removes the target of this label.
    pub fn remove_target(&mut self, label: &str) {
        self.targets.remove(label);
    }

    /// The target of this label.
    pub fn target(&self, label: &str) -> Option<CnameTarget> {
        self.targets.get(label).cloned()
    }

    /// The label of every target, in no order.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<str>> {
        self.targets.iter().map(|(label, _)| label)
    }

    /// Whose a route is.
    pub fn account_of(&self, route: &Route) -> Option<&Arc<Account>> {
        self.accounts.get(&route.account)
    }

    /// The route of exactly this domain.
    pub fn route_of(&self, domain: &Domain) -> Option<&Arc<Route>> {
        self.routes.get(domain)
    }

    /// Every route, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// Every route whose origins are checked, in no order.
    pub fn checked_routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.checked.iter()
    }

    /// The certificate that a route shows; `None`: it has none of its own.
    pub fn certificate(&self, domain: &Domain) -> Option<&Arc<Certificate>> {
        self.certificates.get(domain)
    }

    /// Sets what a CA looks for, of the order for this domain that is open; `None`: none is.
    pub fn set_challenge(&mut self, domain: &Domain, challenge: Option<Challenge>) {
        match challenge {
            Some(challenge) => self.challenges.insert(domain, Arc::new(challenge)),
            None => self.challenges.remove(domain),
        }
    }

    /// Shows no CA anything.
    pub fn forget_challenges(&mut self) {
        self.challenges = ByDomain::new();
    }

    /// What a CA looks for at this name. A wildcard's is not looked for there.
    pub fn challenge(&self, name: &DomainName, kind: ChallengeKind) -> Option<&Arc<Challenge>> {
        self.challenges.exact.get(name).filter(|challenge| challenge.kind == kind)
    }

    /// Every certificate, in no order.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.certificates.iter()
    }

    /// The keyed hash of a username and password, for what else than credentials is kept that way.
    pub fn hash(&self, username: &str, password: &[u8]) -> SecretHash {
        self.pepper.hash(username, password)
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

    /// Every account with quotas, in no order.
    pub fn metered_accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.metered.iter().map(|(_, account)| account)
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
        let known = self.credentials.get(username).and_then(|credential| {
            Some(Principal {
                secret: credential.find(&hash, now)?,
                account: self.accounts.get(&credential.account)?.clone(),
                username: credential.username.clone(),
                credential: credential.id,
                bounds: credential.clone(),
            })
        });
        let principal = known.ok_or_else(|| Failure::credentials_wrong(username))?;
        // Said to nobody but whoever knows its password.
        principal.bounds.still_valid(now)?;
        Ok(principal)
    }

    /// Whether `principal` would be let in again: asked once more after its flow was entered in the registry, so that a
    /// revocation in between is not missed.
    pub fn still_has(&self, principal: &Principal, now: Timestamp) -> bool {
        self.accounts.get(&principal.account.id).is_some()
            && self.credentials.get(&principal.username).is_some_and(|credential| {
                credential.id == principal.credential
                    && !credential.is_expired(now)
                    && credential.secrets.iter().any(|secret| secret.id == principal.secret && secret.is_valid(now))
            })
    }

    /// Whether `route` is still served, in whatever version.
    pub fn still_routes(&self, route: &Route) -> bool {
        self.accounts.get(&route.account).is_some()
            && self.routes.get(&route.domain).is_some_and(|now| now.id == route.id)
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
                    if now.policy_cuts != credential.policy_cuts {
                        revoked.credential_policies.push(now.clone());
                    }
                }
                _ => revoked.credentials.push(credential.id),
            }
        }
        for route in self.routes.iter_unshared(&newer.routes) {
            if newer.routes.get(&route.domain).is_none_or(|now| now.id != route.id) {
                revoked.routes.push(route.id);
            }
        }
        revoked
    }

    /// What ends at a time which is already known: passwords by a rotation's overlap, credentials that expire.
    pub fn deadlines(&self) -> Vec<(Timestamp, Ends)> {
        let secrets = self.credentials().flat_map(|credential| &credential.secrets);
        let secrets = secrets.filter_map(|secret| Some((secret.until?, Ends::Secret(secret.id))));
        let expire = |credential: &Arc<Credential>| Some((credential.expires?, Ends::Credential(credential.id)));
        secrets.chain(self.credentials().filter_map(expire)).collect()
    }

    /// Whether not one credential has changed up to `newer`.
    pub fn shares_credentials_with(&self, newer: &Self) -> bool {
        self.credentials.is_shared_with(&newer.credentials)
    }

    /// The credential of this username.
    pub fn credential(&self, username: &str) -> Option<&Arc<Credential>> {
        self.credentials.get(username)
    }
}

/// What ends by the clock alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// A password.
    Secret(SecretId),
    /// A credential.
    Credential(CredentialId),
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
    /// Credentials whose own policy was edited with `--cut`, as they are now.
    pub credential_policies: Vec<Arc<Credential>>,
    /// Routes that are gone.
    pub routes: Vec<RouteId>,
}

impl Revoked {
    /// Whether no open flow can be touched by it.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
            && self.credentials.is_empty()
            && self.secrets.is_empty()
            && self.policies.is_empty()
            && self.credential_policies.is_empty()
            && self.routes.is_empty()
    }
}

#[cfg(test)]
mod tests;
