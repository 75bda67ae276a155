//! Opening: the store, or the sealed copy in its place; and what a first start makes.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, RwLock},
};

use arc_swap::ArcSwap;
use moorgate_contract::account::Pepper;
use moorgate_keys::{MasterKey, SealError, file};
use tokio::{
    sync::broadcast,
    time::{Instant, sleep, timeout},
};

use super::{Control, Inner, Signals, Writer, accounts, credentials, now, store_path, tokens};
use crate::{
    background,
    book::{Book, Rows},
    compile::Compiler,
    error::{ControlError, Result, SealedProblem, StoreError, chain},
    flows::FlowStore,
    limits::{FOLLOW_BUFFER, LOCK_TIME, RETRY, STORE_TIME},
    sealed,
    settings::{Settings, Start},
    store::{Opening, Store},
    views::{NewCredential, NewToken, Scope},
};

const DEFAULT_ACCOUNT: &str = "default";
const CREDENTIAL_PEPPER: &str = "credential pepper";
const TOKEN_PEPPER: &str = "token pepper";

/// What a first start makes.
struct Made {
    account: Option<(String, NewCredential)>,
    token: NewToken,
}

impl Control {
    /// Opens the store (the first start makes it), compiles what is stored and publishes it.
    ///
    /// A store that can't be used is replaced by its sealed copy: [`Start::degraded`] says so, and the store is tried
    /// again in the background. Must be called within a tokio runtime, where the background work then runs.
    ///
    /// # Errors
    /// [`ControlError::WrongMasterKey`], [`ControlError::NewerSchema`] and [`ControlError::InUse`], before anything was
    /// changed; [`ControlError::Unstartable`] when neither store nor copy can be used.
    pub async fn open(settings: Settings) -> Result<(Self, Start)> {
        if settings.store_url != "sqlite" {
            // What follows the scheme may hold a password.
            let url = settings.store_url.split(':').next().unwrap_or_default();
            return Err(ControlError::UnsupportedStore { url: crate::error::short(url) });
        }
        let Settings { data_dir, master_key, site, egress, plane, .. } = settings;
        let master_key = Arc::new(master_key);
        file::private_dir(&data_dir).map_err(ControlError::File)?;
        let lock = lock_directory(&data_dir).await?;
        let pepper = Pepper::new(*master_key.derive(CREDENTIAL_PEPPER));
        let compiler = Compiler::new(site, pepper, egress, master_key.clone());
        let token_pepper = Pepper::new(*master_key.derive(TOKEN_PEPPER));

        let first = FirstStart {
            peppers: (compiler.pepper(), &token_pepper),
            account: settings.make_default_account.then_some(DEFAULT_ACCOUNT),
        };
        let Opened { rows, store, made, trouble } = store_or_copy(&data_dir, &master_key, first).await?;

        let inner = Arc::new(Inner {
            flows: FlowStore::new(&data_dir),
            data_dir,
            master_key,
            plane,
            token_pepper,
            book: RwLock::default(),
            current: ArcSwap::from_pointee(compiler.empty()),
            compiler,
            writer: Arc::new(tokio::sync::Mutex::new(Writer::new(store))),
            trouble: Mutex::default(),
            sealing: Mutex::default(),
            signals: Arc::<Signals>::default(),
            follow: broadcast::channel(FOLLOW_BUFFER).0,
            tasks: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        });
        inner.replace(Book::new(rows));
        if let Some(trouble) = &trouble {
            tracing::error!(problem = %trouble, "the store can't be used; the sealed copy is served");
            *inner.trouble() = Some(trouble.clone());
            inner.signals.mend.notify_one();
        }
        *super::lock(&inner.tasks) = background::spawn(&inner);
        let control = Self { inner };
        let status = control.status();
        let start = Start {
            first: made.is_some(),
            created_account: made.as_ref().and_then(|made| made.account.clone()),
            operator_token: made.map(|made| made.token),
            degraded: trouble,
            accounts: status.accounts,
            routes: status.routes,
            snapshot_version: status.snapshot_version,
        };
        Ok((control, start))
    }
}

/// What a start has to serve, and from where.
struct Opened {
    rows: Rows,
    /// `None`: the rows come from the sealed copy, because of the trouble.
    store: Option<Store>,
    made: Option<Made>,
    trouble: Option<String>,
}

async fn store_or_copy(data_dir: &Path, key: &MasterKey, first: FirstStart<'_>) -> Result<Opened> {
    let opening = async {
        let mut store = open_store(data_dir, key).await?;
        let made = if store.is_new() { Some(first.make(&mut store, key).await?) } else { None };
        let rows = load(&mut store, data_dir, key).await?;
        Ok(Opened { rows, store: Some(store), made, trouble: None })
    };
    let too_slow = StoreError::TooSlow { limit: STORE_TIME };
    match timeout(STORE_TIME, opening).await.unwrap_or(Err(too_slow.into())) {
        Err(ControlError::StoreDown(source)) => {
            let trouble = Some(chain(&source));
            Ok(Opened { rows: unseal(data_dir, key, source)?, store: None, made: None, trouble })
        }
        opened => opened,
    }
}

async fn open_store(data_dir: &Path, key: &MasterKey) -> Result<Store> {
    // Where there is a sealed copy there was a store: making an empty one in its place would lock everybody out.
    let opening = if sealed::exists(data_dir) { Opening::MustExist } else { Opening::MayCreate };
    Store::open(&store_path(data_dir), key.key_id(), opening).await
}

/// What a first start is to make, and with what.
struct FirstStart<'a> {
    /// Of credentials and of tokens.
    peppers: (&'a Pepper, &'a Pepper),
    account: Option<&'static str>,
}

impl FirstStart<'_> {
    /// One transaction: a start that is killed half-way has not been the first.
    async fn make(&self, store: &mut Store, key: &MasterKey) -> Result<Made> {
        let (at, (pepper, token_pepper)) = (now(), self.peppers);
        let mut tx = store.begin().await?;
        tx.initialise(key.key_id()).await?;
        let mut account = None;
        if let Some(name) = self.account {
            let row = accounts::insert(&mut tx, name, at).await?;
            let (_, credential) = credentials::insert(&mut tx, pepper, row.id, at).await?;
            account = Some((name.to_owned(), credential));
        }
        let (_, token) = tokens::insert(&mut tx, token_pepper, None, Scope::Write, at).await?;
        tx.commit().await?;
        Ok(Made { account, token })
    }
}

async fn load(store: &mut Store, data_dir: &Path, key: &MasterKey) -> Result<Rows> {
    let rows = store.load().await?;
    let sealed = sealed::read(data_dir, key).map_or(0, |rows| rows.version);
    if sealed <= rows.version {
        return Ok(rows);
    }
    // Versions must go on growing, or two different snapshots would bear the same one.
    tracing::warn!(stored = rows.version, sealed, "the store is older than its sealed copy: a backup was restored");
    store.raise_version(sealed).await?;
    Ok(store.load().await?)
}

fn unseal(data_dir: &Path, key: &MasterKey, source: StoreError) -> Result<Rows> {
    sealed::read(data_dir, key).map_err(|problem| match problem {
        SealedProblem::Seal(SealError::WrongKey { wants, have }) => {
            ControlError::WrongMasterKey { path: sealed::path(data_dir), wants, have }
        }
        sealed => ControlError::Unstartable { source, sealed },
    })
}

/// Two processes with one store would each serve what the other doesn't know.
async fn lock_directory(data_dir: &Path) -> Result<File> {
    let failed = |source| ControlError::Lock { path: data_dir.to_owned(), source };
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(data_dir.join("lock")).map_err(failed)?;
    let patience = Instant::now() + LOCK_TIME;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if Instant::now() >= patience => {
                return Err(ControlError::InUse { path: data_dir.to_owned() });
            }
            // The process before us may be about to end.
            Err(TryLockError::WouldBlock) => sleep(RETRY / 20).await,
        }
    }
}
