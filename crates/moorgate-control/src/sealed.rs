//! The sealed copy: all rows, under the master key, so that a gateway can start while its store is down.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use moorgate_keys::{KeyError, MasterKey, MasterKeys, SealError, file, seal};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{book::Rows, error::SealedProblem};

const PURPOSE: &str = "snapshot";
/// Counts changes of what is inside. An older gateway's copy with another number is not served.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Copy<R> {
    format: u32,
    rows: R,
}

/// Where the copy lives.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("snapshot.sealed")
}

/// Whether there is one.
pub(crate) fn exists(data_dir: &Path) -> bool {
    path(data_dir).exists()
}

/// Replaces the copy. Blocks until it is on the disk.
pub(crate) fn write(data_dir: &Path, key: &MasterKey, rows: &Rows) -> Result<(), WriteProblem> {
    let copy = Copy { format: FORMAT, rows };
    let plain = Zeroizing::new(serde_json::to_vec(&copy)?);
    file::write_private(&path(data_dir), &seal(key, PURPOSE, &plain)?)?;
    Ok(())
}

/// Why no copy could be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteProblem {
    #[error("cannot encode it")]
    Encode(#[from] serde_json::Error),
    #[error("cannot seal it")]
    Seal(#[from] SealError),
    #[error("cannot write it")]
    Write(#[from] KeyError),
}

/// Reads the copy.
pub(crate) fn read(data_dir: &Path, keys: &MasterKeys) -> Result<Rows, SealedProblem> {
    let sealed = fs::read(path(data_dir)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SealedProblem::Missing,
        _ => SealedProblem::Io(error),
    })?;
    let plain = keys.open(PURPOSE, &sealed).map_err(SealedProblem::Seal)?;
    match serde_json::from_slice::<Copy<Rows>>(&plain) {
        Ok(Copy { format: FORMAT, rows }) => Ok(rows),
        _ => Err(SealedProblem::Format),
    }
}
