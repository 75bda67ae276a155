//! Backups: everything in the store, sealed under the master key, in one file for either kind of store.

use std::{
    fs,
    path::{Path, PathBuf},
};

use moorgate_contract::account::Pepper;
use moorgate_keys::{KeyId, MasterKeys, SealError, StoreKey, file, open, seal};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    control::{AUDIT_CHAIN, lock_directory, now, restored_backup},
    error::{ControlError, Result, StoreError},
    limits::RESTORE_TIME,
    location::Location,
    sealed,
    secret::random_label,
    store::{Author, Opening, Store, StoreUrl, Whole},
};

const PURPOSE: &str = "backup";
/// Counts changes of what is inside.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Backup<W> {
    format: u32,
    whole: W,
}

/// A sealed backup.
#[derive(Debug)]
pub struct SealedBackup {
    /// What goes into the file.
    pub bytes: Vec<u8>,
    /// The master key that can open it.
    pub key: KeyId,
}

pub(crate) fn pack(keys: &MasterKeys, whole: &Whole) -> Result<SealedBackup> {
    // Rows, texts and numbers: nothing in them can fail to be JSON.
    let plain = Zeroizing::new(serde_json::to_vec(&Backup { format: FORMAT, whole }).unwrap_or_default());
    let bytes = seal(&keys.current, PURPOSE, &plain).map_err(ControlError::Seal)?;
    Ok(SealedBackup { bytes, key: keys.current.key_id() })
}

/// What a restoration needs to know.
pub struct Restoration {
    /// The backup's file.
    pub backup: PathBuf,
    /// The data directory of the gateway that is to serve it.
    pub data_dir: PathBuf,
    /// `[store] url`.
    pub store_url: String,
    /// The master key that the backup was made under among them.
    pub master_keys: MasterKeys,
    /// What the audit log names.
    pub gateway: String,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// How many accounts there are.
    pub accounts: usize,
    /// How many routes there are.
    pub routes: usize,
    /// The store.
    pub location: Location,
}

/// Puts a backup into a store that holds nothing, while no gateway runs on it.
///
/// # Errors
/// [`ControlError::WrongMasterKey`] says which key it needs; [`ControlError::NotEmpty`]; [`ControlError::InUse`];
/// [`ControlError::Backup`] for a file that is none; [`ControlError::StoreDown`]. Nothing is changed then.
pub async fn restore(restoration: Restoration) -> Result<Restored> {
    let Restoration { backup, data_dir, store_url, master_keys, gateway } = restoration;
    let mut whole = read(&backup, &master_keys)?;
    // One from before there were targets has none.
    for route in whole.rows.routes.iter_mut().filter(|route| route.label.is_empty()) {
        route.label = random_label()?;
    }
    let store_url = StoreUrl::parse(&store_url, &data_dir)?;
    file::private_dir(&data_dir).map_err(ControlError::File)?;
    let _lock = lock_directory(&data_dir).await?;
    let location = store_url.location();
    let put = put(whole, &store_url, &master_keys, gateway);
    let too_slow = StoreError::TooSlow { limit: RESTORE_TIME };
    let (accounts, routes) =
        tokio::time::timeout(RESTORE_TIME, put).await.unwrap_or(Err(too_slow.into())).map_err(unrestored)?;
    // The copy is of what was before: the next start makes another.
    sealed::remove(&data_dir).map_err(ControlError::File)?;
    Ok(Restored { accounts, routes, location })
}

/// No traffic depends on it.
fn unrestored(error: ControlError) -> ControlError {
    match error {
        ControlError::StoreDown(source) => ControlError::Unrestored(source),
        error => error,
    }
}

async fn put(whole: Whole, url: &StoreUrl, keys: &MasterKeys, gateway: String) -> Result<(usize, usize)> {
    let store = Store::open(url, keys, Opening::MayCreate).await?;
    let mut tx = store.begin().await?;
    if !tx.is_new() {
        return Err(ControlError::NotEmpty { location: url.location() });
    }
    let sealed = whole.rows.key.as_deref();
    let store_key =
        sealed.map_or_else(|| Ok(StoreKey::of_master(&keys.current)), |sealed| StoreKey::open(keys, sealed));
    let store_key = store_key.map_err(|problem| StoreError::Key { location: url.location(), problem })?;
    let master = &keys.current;
    tx.initialise(master.key_id(), &store_key.seal(master).map_err(ControlError::Seal)?).await?;
    tx.put_whole(&whole).await?;
    let chain = Pepper::new(*store_key.key().derive(AUDIT_CHAIN));
    let author = Author { at: now(), gateway, token: None, owner: None, client: None };
    let (store, ..) = tx.commit(vec![restored_backup(whole.rows.version)], &author, &chain).await?;
    store.close().await?;
    Ok((whole.rows.accounts.len(), whole.rows.routes.len()))
}

fn read(path: &Path, keys: &MasterKeys) -> Result<Whole> {
    let bytes = fs::read(path).map_err(|source| ControlError::BackupUnread { path: path.to_owned(), source })?;
    let location = Location::from(path);
    let opened = keys.iter().find_map(|key| open(key, PURPOSE, &bytes).ok());
    let plain = match opened {
        Some(plain) => plain,
        None => open(&keys.current, PURPOSE, &bytes).map_err(|problem| match problem {
            SealError::WrongKey { wants, have } => {
                ControlError::WrongMasterKey { location: location.clone(), wants, have }
            }
            SealError::Damaged => ControlError::Backup {
                location: location.clone(),
                problem: "it was cut short or changed, or is something else; take another".to_owned(),
            },
            problem => ControlError::Backup { location: location.clone(), problem: problem.to_string() },
        })?,
    };
    match serde_json::from_slice::<Backup<Whole>>(&plain) {
        Ok(Backup { format: FORMAT, whole }) => Ok(whole),
        _ => Err(ControlError::Backup { location, problem: "its contents are of another version".to_owned() }),
    }
}
