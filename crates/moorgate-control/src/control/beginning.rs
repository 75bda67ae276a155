//! What a start finds in the store, or in the sealed copy in its place; and what a first one makes.

use std::{path::Path, time::Duration};

use moorgate_contract::account::Pepper;
use moorgate_keys::{LocalCa, MasterKeys, SealError, StoreKey, open, seal};
use tokio::time::timeout;

use super::{accounts, changes, credentials, now, tokens};
use crate::{
    book::Rows,
    error::{ControlError, Result, SealedProblem, StoreError, chain},
    limits::{COLD_START_TIME, STORE_TIME},
    location::Location,
    sealed,
    store::{Author, Entry, Opening, Store, StoreUrl, StoredCa, Tx},
    views::{NewCredential, NewToken, Scope},
};

/// What the peppers, of passwords, of tokens and of the audit log's hashes, are derived for.
pub(super) const CREDENTIAL_PEPPER: &str = "credential pepper";
pub(super) const TOKEN_PEPPER: &str = "token pepper";
pub(crate) const AUDIT_CHAIN: &str = "audit chain";
const CA_PURPOSE: &str = "local CA key";

/// What a start makes.
#[derive(Default)]
pub(super) struct Made {
    /// Whether the store was empty.
    pub(super) first: bool,
    pub(super) account: Option<(String, NewCredential)>,
    /// For a data directory that has none yet.
    pub(super) token: Option<NewToken>,
    /// The store's local CA, where this data directory has another.
    pub(super) ca: Option<LocalCa>,
}

/// What a start has to serve, and from where.
pub(super) struct Opened {
    pub(super) rows: Rows,
    /// `None`: the rows come from the sealed copy, because of the trouble.
    pub(super) store: Option<Store>,
    pub(super) store_key: StoreKey,
    pub(super) made: Made,
    pub(super) trouble: Option<String>,
}

/// What a start begins with.
pub(super) struct Beginning<'a> {
    pub(super) data_dir: &'a Path,
    pub(super) store_url: &'a StoreUrl,
    pub(super) keys: &'a MasterKeys,
    pub(super) gateway: &'a str,
    pub(super) ca: &'a LocalCa,
    /// What a first start is to make.
    pub(super) account: Option<&'static str>,
}

impl Beginning<'_> {
    /// Opens the store or, in its place, the sealed copy.
    pub(super) async fn store_or_copy(&self) -> Result<Opened> {
        let has_copy = sealed::exists(self.data_dir);
        // Where there is a copy to serve, nobody is to wait for a server that is down. A file says at once what it is.
        let is_elsewhere = self.store_url.server().is_some();
        let limit = if has_copy && is_elsewhere { COLD_START_TIME } else { STORE_TIME };
        // Where there is a sealed copy there was a store: making an empty one in its place would lock everybody out.
        let opening = if has_copy { Opening::MustExist } else { Opening::MayCreate };
        let too_slow = StoreError::TooSlow { limit: STORE_TIME };
        match timeout(STORE_TIME, self.open_store(opening, limit)).await.unwrap_or(Err(too_slow.into())) {
            Err(ControlError::StoreDown(source)) => {
                let trouble = Some(chain(&source));
                let rows = self.unseal(source)?;
                let store_key = self.store_key(rows.key.as_deref(), &sealed::path(self.data_dir).as_path().into())?;
                Ok(Opened { rows, store: None, store_key, made: Made::default(), trouble })
            }
            opened => opened,
        }
    }

    /// Waits so long for the store to answer; what it holds may take longer to read.
    async fn open_store(&self, opening: Opening, limit: Duration) -> Result<Opened> {
        let begun =
            async { Ok::<_, ControlError>(Store::open(self.store_url, self.keys, opening).await?.begin().await?) };
        let mut tx = timeout(limit, begun).await.unwrap_or(Err(StoreError::TooSlow { limit }.into()))?;
        if tx.is_new() {
            return self.make(tx).await;
        }
        let mut rows = tx.load().await?;
        let store_key = self.store_key(rows.key.as_deref(), &self.store_url.location())?;
        let chain = Pepper::new(*store_key.key().derive(AUDIT_CHAIN));
        let sealed = self.sealed_version();
        let mut entries = Vec::new();
        if rows.key.is_none() {
            let master = &self.keys.current;
            let key = store_key.seal(master).map_err(ControlError::Seal)?;
            tx.set_key(master.key_id(), &key).await?;
            rows.key = Some(key);
            entries.push(changes::sealed_key(master.key_id()));
        }
        if sealed > rows.version {
            // Versions must go on growing, or two different snapshots would bear the same one.
            tracing::warn!(
                stored = rows.version,
                sealed,
                "the store is older than its sealed copy: a backup was restored"
            );
            tx.raise_version(sealed);
            entries.push(changes::restored(rows.version, sealed));
        }
        let mut made = Made::default();
        match tx.ca().await? {
            Some(stored) => made.ca = self.other_ca(&stored, &store_key),
            None => entries.push(self.store_ca(&mut tx, &store_key).await?),
        }
        if opening == Opening::MayCreate {
            // This data directory is new to the store. Whoever has it has the master key, and is an operator.
            let pepper = Pepper::new(*store_key.key().derive(TOKEN_PEPPER));
            let (row, token) = tokens::new_row(&pepper, None, Scope::Write, now())?;
            tx.insert_token(&row).await?;
            entries.push(changes::added_token(None, &row));
            rows.tokens.push(row);
            made.token = Some(token);
        }
        let store = if entries.is_empty() {
            tx.rollback().await?
        } else {
            let (store, version, head) = tx.commit(entries, &self.author(), &chain).await?;
            (rows.version, rows.head) = (version, head);
            store
        };
        Ok(Opened { rows, store: Some(store), store_key, made, trouble: None })
    }

    /// A first start, in one transaction: one that is killed half-way has not been the first.
    async fn make(&self, mut tx: Tx) -> Result<Opened> {
        let (at, store_key) = (now(), StoreKey::random().map_err(ControlError::File)?);
        let master = &self.keys.current;
        tx.initialise(master.key_id(), &store_key.seal(master).map_err(ControlError::Seal)?).await?;
        let mut entries = vec![changes::sealed_key(master.key_id())];
        entries.push(self.store_ca(&mut tx, &store_key).await?);
        let mut account = None;
        if let Some(name) = self.account {
            let mut row = accounts::new_row(name, at);
            row.id = tx.insert_account(&row).await?;
            entries.push(changes::added_account(&row));
            let pepper = Pepper::new(*store_key.key().derive(CREDENTIAL_PEPPER));
            let (mut credential, hash, new) = credentials::new_row(&pepper, row.id, at)?;
            credential.id = tx.insert_credential(&credential).await?;
            tx.insert_secret(credential.id, hash).await?;
            entries.push(changes::added_credential(name, &credential));
            account = Some((name.to_owned(), new));
        }
        let token_pepper = Pepper::new(*store_key.key().derive(TOKEN_PEPPER));
        let (row, token) = tokens::new_row(&token_pepper, None, Scope::Write, at)?;
        tx.insert_token(&row).await?;
        entries.push(changes::added_token(None, &row));
        let chain = Pepper::new(*store_key.key().derive(AUDIT_CHAIN));
        let (store, ..) = tx.commit(entries, &self.author(), &chain).await?;
        let mut tx = store.begin().await?;
        let rows = tx.load().await?;
        let (store, made) = (tx.rollback().await?, Made { first: true, account, token: Some(token), ca: None });
        Ok(Opened { rows, store: Some(store), store_key, made, trouble: None })
    }

    /// Gives the store this data directory's local CA.
    async fn store_ca(&self, tx: &mut Tx, store_key: &StoreKey) -> Result<Entry> {
        let key = seal(store_key.key(), CA_PURPOSE, &self.ca.key_der()).map_err(ControlError::Seal)?;
        tx.set_ca(&StoredCa { certificate: self.ca.cert_pem(), key }).await?;
        Ok(changes::set_ca(self.ca))
    }

    /// The store's local CA, when it is another than ours.
    fn other_ca(&self, stored: &StoredCa, store_key: &StoreKey) -> Option<LocalCa> {
        if stored.certificate == self.ca.cert_pem() {
            return None;
        }
        let opened = open(store_key.key(), CA_PURPOSE, &stored.key).map_err(|problem| problem.to_string());
        let ca =
            opened.and_then(|key| LocalCa::from_pem(&stored.certificate, &key).map_err(|problem| problem.to_string()));
        ca.inspect_err(|problem| {
            tracing::error!(%problem, "the store's local CA can't be used; this gateway goes on with its own");
        })
        .ok()
    }

    fn author(&self) -> Author {
        Author { at: now(), gateway: self.gateway.to_owned(), token: None, owner: None, client: None }
    }

    /// The version of the sealed copy; 0 when there is none that can be read.
    fn sealed_version(&self) -> u64 {
        sealed::read(self.data_dir, self.keys).map_or(0, |rows| rows.version)
    }

    /// The store's own key, opened with whichever master key it is sealed under.
    fn store_key(&self, sealed: Option<&[u8]>, location: &Location) -> Result<StoreKey> {
        let Some(sealed) = sealed else { return Ok(StoreKey::of_master(&self.keys.current)) };
        StoreKey::open(self.keys, sealed).map_err(|problem| match problem {
            SealError::WrongKey { wants, have } => {
                ControlError::WrongMasterKey { location: location.clone(), wants, have }
            }
            problem => StoreError::Key { location: location.clone(), problem }.into(),
        })
    }

    fn unseal(&self, source: StoreError) -> Result<Rows> {
        sealed::read(self.data_dir, self.keys).map_err(|problem| match problem {
            SealedProblem::Seal(SealError::WrongKey { wants, have }) => {
                let location = sealed::path(self.data_dir).as_path().into();
                ControlError::WrongMasterKey { location, wants, have }
            }
            sealed => ControlError::Unstartable { source, sealed },
        })
    }
}
