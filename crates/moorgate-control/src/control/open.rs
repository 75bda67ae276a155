//! Opening: what is stored is served, and looked after from then on.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, RwLock},
};

use arc_swap::ArcSwap;
use moorgate_contract::{account::Pepper, snapshot::Site};
use moorgate_keys::file;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{
    Control, Inner, Signals, Writer,
    alarms::Alarming,
    beginning::{AUDIT_CHAIN, Beginning, CREDENTIAL_PEPPER, Made, Opened, TOKEN_PEPPER},
    flows::Flows,
    issuing::Issuing,
    kept, now,
    sealing::Sealing,
    usage::Counting,
};
use crate::{
    background,
    book::Book,
    compile::Compiler,
    error::{ControlError, Result},
    limits::{FIRST_SETTLE, HASHED_AT_ONCE, LOCK_TIME, RETRY},
    secret::random_token_id,
    settings::{Settings, Start},
    store::StoreUrl,
};

const DEFAULT_ACCOUNT: &str = "default";

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
        let Settings { data_dir, store_url, master_keys, gateway, local_ca, site, egress, plane, .. } = settings;
        let Settings { usage, keep_flows, keep_usage, make_default_account, zone, ca: issuer, alarms, .. } = settings;
        let store_url = StoreUrl::parse(&store_url, &data_dir)?;
        file::private_dir(&data_dir).map_err(ControlError::File)?;
        let lock = lock_directory(&data_dir).await?;
        let opening = Beginning {
            data_dir: &data_dir,
            store_url: &store_url,
            keys: &master_keys,
            gateway: &gateway.name,
            ca: &local_ca,
            account: make_default_account.then_some(DEFAULT_ACCOUNT),
        };
        let (opened, located) = tokio::join!(opening.store_or_copy(), kept::locate(&store_url));
        let Opened { rows, store, store_key, made, trouble } = opened?;
        let (located, mut site) = (located.unwrap_or_default(), Site::clone(&site));
        site.guard.store.clone_from(&located);
        let Made { first, account, token, ca } = made;

        let store_key = Arc::new(store_key);
        let pepper = Pepper::new(*store_key.key().derive(CREDENTIAL_PEPPER));
        let compiler = Compiler::new(Arc::new(site), pepper, egress, store_key.clone(), zone.is_some());
        let id = random_token_id()?;
        let inner = Arc::new(Inner {
            counting: Counting::new(format!("{}/{id}", gateway.name), usage, keep_usage),
            demands: Mutex::default(),
            flows: Flows::new(&data_dir, keep_flows),
            sealing: Sealing::new(&data_dir),
            zone,
            leaving: false.into(),
            alarming: Alarming::new(alarms),
            checks: Default::default(),
            issuing: issuer.map(|settings| Arc::new(Issuing::new(settings))),
            data_dir,
            store_url,
            master_keys,
            gateway,
            id,
            started: now(),
            seen: Mutex::default(),
            located: Mutex::new(located),
            side: Arc::default(),
            plane,
            token_pepper: Pepper::new(*store_key.key().derive(TOKEN_PEPPER)),
            hashing: Semaphore::new(HASHED_AT_ONCE),
            chain: Pepper::new(*store_key.key().derive(AUDIT_CHAIN)),
            store_key,
            book: RwLock::default(),
            current: ArcSwap::from_pointee(compiler.empty()),
            compiler,
            writer: Arc::new(tokio::sync::Mutex::new(Writer::new(store))),
            trouble: Mutex::default(),
            signals: Arc::<Signals>::default(),
            tasks: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        });
        inner.replace(Book::new(rows));
        if let Some(trouble) = &trouble {
            tracing::error!(problem = %trouble, "the store can't be used; the sealed copy is served");
            *inner.trouble() = Some(trouble.clone());
            inner.signals.mend.notify_one();
        }
        let control = Self::by_itself(inner);
        if trouble.is_none() {
            // What was spent before counts from the first request on, and so do the other gateways to the guard; a store
            // that is slow holds up nobody.
            let _ = timeout(FIRST_SETTLE, control.settle()).await;
            let _ = timeout(FIRST_SETTLE, control.beat()).await;
        }
        // Before anything in the background could have the writer for longer.
        control.inner.renew_guard().await;
        *super::lock(&control.inner.tasks) = background::spawn(&control.inner);
        let status = control.status();
        let start = Start {
            first,
            created_account: account,
            operator_token: token,
            local_ca: ca,
            degraded: trouble,
            accounts: status.accounts,
            routes: status.routes,
            snapshot_version: status.snapshot_version,
        };
        Ok((control, start))
    }
}

/// Two processes with one store would each serve what the other doesn't know.
pub(crate) async fn lock_directory(data_dir: &Path) -> Result<File> {
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
