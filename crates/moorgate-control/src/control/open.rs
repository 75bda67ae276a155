//! Opening: the store, or the sealed copy in its place; and what a first start makes.

use std::{
    fs::{File, TryLockError},
    path::Path,
    sync::{Arc, Mutex, RwLock},
};

use arc_swap::ArcSwap;
use moorgate_contract::{account::Pepper, time::Timestamp};
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
#[derive(Default)]
struct Made {
    account: Option<(String, NewCredential)>,
    token: Option<NewToken>,
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
        file::private_dir(&data_dir).map_err(ControlError::File)?;
        let lock = lock_directory(&data_dir).await?;
        let compiler = Compiler::new(site, Pepper::new(*master_key.derive(CREDENTIAL_PEPPER)), egress);
        let token_pepper = Pepper::new(*master_key.derive(TOKEN_PEPPER));

        let peppers = (compiler.pepper(), &token_pepper);
        let default = settings.make_default_account.then_some(DEFAULT_ACCOUNT);
        let opening = async {
            let mut store = open_store(&data_dir, &master_key).await?;
            let made = if store.is_new() {
                Some(first_start(&mut store, &master_key, peppers, default).await?)
            } else {
                None
            };
            Ok((load(&mut store, &data_dir, &master_key).await?, store, made))
        };
        let too_slow = StoreError::TooSlow { limit: STORE_TIME };
        let opened = timeout(STORE_TIME, opening).await.unwrap_or(Err(too_slow.into()));
        let (rows, store, made, trouble) = match opened {
            Ok((rows, store, made)) => (rows, Some(store), made, None),
            Err(ControlError::StoreDown(source)) => {
                let trouble = chain(&source);
                (unseal(&data_dir, &master_key, source)?, None, None, Some(trouble))
            }
            Err(error) => return Err(error),
        };

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
        let first = made.is_some();
        let Made { account, token } = made.unwrap_or_default();
        let start = Start {
            first,
            created_account: account,
            operator_token: token,
            degraded: trouble,
            accounts: status.accounts,
            snapshot_version: status.snapshot_version,
        };
        Ok((control, start))
    }
}

async fn open_store(data_dir: &Path, key: &MasterKey) -> Result<Store> {
    // Where there is a sealed copy there was a store: making an empty one in its place would lock everybody out.
    let opening = if sealed::exists(data_dir) { Opening::MustExist } else { Opening::MayCreate };
    Store::open(&store_path(data_dir), key.key_id(), opening).await
}

/// One transaction: a start that is killed half-way has not been the first.
async fn first_start(
    store: &mut Store,
    key: &MasterKey,
    (pepper, token_pepper): (&Pepper, &Pepper),
    default: Option<&str>,
) -> Result<Made> {
    let at: Timestamp = now();
    let mut made = Made::default();
    let mut tx = store.begin().await?;
    tx.initialise(key.key_id()).await?;
    if let Some(name) = default {
        let account = accounts::insert(&mut tx, name, at).await?;
        let (_, credential) = credentials::insert(&mut tx, pepper, account.id, at).await?;
        made.account = Some((name.to_owned(), credential));
    }
    let (_, token) = tokens::insert(&mut tx, token_pepper, None, Scope::Write, at).await?;
    made.token = Some(token);
    tx.commit().await?;
    Ok(made)
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
    let file = File::create(data_dir.join("lock")).map_err(failed)?;
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
