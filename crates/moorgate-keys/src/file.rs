//! Files of the data directory: written whole or not at all, readable by whom they should be.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use crate::{Hex, KeyError, random};

/// For the owner only.
pub(crate) const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Replaces `path` by a file of mode 0600 that holds `bytes`, atomically: readers see the old contents or the new, also
/// after a power cut.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    replace(path, bytes, PRIVATE)
}

/// [`write_private`] for what anyone may read: mode 0644.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    replace(path, bytes, PUBLIC)
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<(), KeyError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(KeyError::Io { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Makes the directory and what is missing above it, each of mode 0700. One that exists is left as it is, but refused
/// when group or others may write to it: they could put their own files in place of ours.
pub fn private_dir(path: &Path) -> Result<(), KeyError> {
    let failed = |source| KeyError::Io { action: "create", path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(KeyError::LooseDirectory { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Writes a file that must not exist yet, down to the disk.
pub(crate) fn create_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file
        .set_permissions(Permissions::from_mode(mode))
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file is worse than none; the first error is the one to tell.
        let _ = fs::remove_file(path);
    }
    written
}

/// The directory of `path`, made durable after an entry of it changed.
pub(crate) fn sync_dir_of(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    // Random, not the process id: a gateway in a container is always process 1 and would meet its own leftovers.
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", Hex(&random::<8>()?)));
    let temporary = path.with_file_name(name);
    create_new(&temporary, bytes, mode)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_dir_of(path))
        .map_err(|source| {
            let _ = fs::remove_file(&temporary);
            KeyError::Io { action: "write", path: path.to_owned(), source }
        })
}

#[cfg(test)]
mod tests;
