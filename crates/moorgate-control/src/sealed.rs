//! The sealed copy: all rows, under the master key, so that a gateway can start while its store is down.
//!
//! Two files. `snapshot.sealed` has all rows as they were at some moment, and a name. `snapshot.changes` begins with that
//! name, and has what has changed since, each change sealed by itself: its length (four bytes, big-endian), then the sealed
//! change. So an edit costs what the edit is worth, not what all rows are.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    mem,
    path::{Path, PathBuf},
};

use moorgate_keys::{KeyError, MasterKey, MasterKeys, SealError, file, seal};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{
    book::{Book, Edit, Rows},
    error::{ControlError, SealedProblem},
    limits::SEALED_CHANGES,
    secret::random_token_id,
    store::Head,
};

const PURPOSE: &str = "snapshot";
const PURPOSE_OF_CHANGES: &str = "snapshot changes";
/// Counts changes of what is inside. An older gateway's copy with another number is not served.
const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Copy<R> {
    format: u32,
    /// Random.
    name: String,
    rows: R,
}

/// What made the rows into those of `version`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) version: u64,
    pub(crate) head: Head,
    pub(crate) edits: Vec<Edit>,
}

#[derive(Serialize, Deserialize)]
struct Change<S> {
    /// The copy's name.
    of: String,
    /// The version that it was made upon.
    upon: u64,
    steps: S,
}

/// What is still to be sealed.
#[derive(Debug)]
pub(crate) enum Unsealed {
    /// All rows: what has changed nobody has written down.
    All,
    /// These, upon a version.
    Steps { upon: u64, steps: Vec<Step> },
}

impl Unsealed {
    /// What is still to be sealed, and from now on nothing, as of `version`.
    pub(crate) fn take(&mut self, version: u64) -> Self {
        mem::replace(self, Self::Steps { upon: version, steps: Vec::new() })
    }

    pub(crate) fn push(&mut self, step: Step) {
        if let Self::Steps { steps, .. } = self {
            steps.push(step);
        }
    }
}

/// The one who writes the copy.
#[derive(Debug)]
pub(crate) struct Sealer {
    data_dir: PathBuf,
    written: Option<Written>,
}

/// What stands on the disk, as far as this run has written it.
#[derive(Debug)]
struct Written {
    name: String,
    bytes: usize,
    bytes_of_changes: usize,
}

impl Sealer {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), written: None }
    }

    /// Whether what comes next is better all written anew: there is no copy, or its changes have become too many.
    pub(crate) fn wants_all(&self) -> bool {
        let Some(written) = &self.written else { return true };
        written.bytes_of_changes > SEALED_CHANGES.max(written.bytes / 2)
            || !exists(&self.data_dir)
            || !changes_path(&self.data_dir).exists()
    }

    /// Replaces the copy. Blocks until it is on the disk.
    pub(crate) fn write_all(&mut self, key: &MasterKey, rows: &Rows) -> Result<(), WriteProblem> {
        self.written = None;
        let name = random_token_id().map_err(WriteProblem::Name)?;
        let sealed = sealed(key, PURPOSE, &Copy { format: FORMAT, name: name.clone(), rows })?;
        file::write_private(&path(&self.data_dir), &sealed)?;
        // From here on the changes of the copy before have the wrong name.
        file::write_private(&changes_path(&self.data_dir), name.as_bytes())?;
        self.written = Some(Written { name, bytes: sealed.len(), bytes_of_changes: 0 });
        Ok(())
    }

    /// Adds to the copy what has changed. Blocks until it is on the disk.
    pub(crate) fn write_changes(&mut self, key: &MasterKey, upon: u64, steps: &[Step]) -> Result<(), WriteProblem> {
        // Put back when all went well: behind half a change nobody would find another.
        let mut written = self.written.take().ok_or(WriteProblem::NoCopy)?;
        let sealed = sealed(key, PURPOSE_OF_CHANGES, &Change { of: written.name.clone(), upon, steps })?;
        let length = u32::try_from(sealed.len()).map_err(|_| WriteProblem::TooLong)?;
        let record = [&length.to_be_bytes()[..], &sealed].concat();
        let mut file = OpenOptions::new().append(true).open(changes_path(&self.data_dir))?;
        file.write_all(&record)?;
        file.sync_data()?;
        written.bytes_of_changes += record.len();
        self.written = Some(written);
        Ok(())
    }
}

fn sealed<T: Serialize>(key: &MasterKey, purpose: &str, plain: &T) -> Result<Vec<u8>, WriteProblem> {
    let plain = Zeroizing::new(serde_json::to_vec(plain)?);
    Ok(seal(key, purpose, &plain)?)
}

/// Why no copy could be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteProblem {
    #[error("cannot encode it")]
    Encode(#[from] serde_json::Error),
    #[error("cannot name it")]
    Name(#[source] ControlError),
    #[error("cannot seal it")]
    Seal(#[from] SealError),
    #[error("cannot write it")]
    Key(#[from] KeyError),
    #[error("cannot write it")]
    Io(#[from] io::Error),
    #[error("there is no copy yet that could change")]
    NoCopy,
    #[error("the change is longer than 4 GiB")]
    TooLong,
}

/// Where the copy lives.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("snapshot.sealed")
}

fn changes_path(data_dir: &Path) -> PathBuf {
    data_dir.join("snapshot.changes")
}

/// Whether there is one.
pub(crate) fn exists(data_dir: &Path) -> bool {
    path(data_dir).exists()
}

/// Takes the copy away, if there is one.
pub(crate) fn remove(data_dir: &Path) -> Result<(), KeyError> {
    file::remove(&path(data_dir))?;
    file::remove(&changes_path(data_dir))
}

/// Reads the copy, with what has changed since.
pub(crate) fn read(data_dir: &Path, keys: &MasterKeys) -> Result<Rows, SealedProblem> {
    let sealed = fs::read(path(data_dir)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SealedProblem::Missing,
        _ => SealedProblem::Io(error),
    })?;
    let Copy { format, name, rows } = opened::<Copy<Rows>>(keys, PURPOSE, &sealed)?;
    if format != FORMAT {
        return Err(SealedProblem::Format);
    }
    let changes = match fs::read(changes_path(data_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(rows),
        read => read.map_err(SealedProblem::Io)?,
    };
    // Those of the copy before: who wrote this one was stopped before it began anew with them.
    let Some(changes) = changes.strip_prefix(name.as_bytes()) else { return Ok(rows) };
    let mut book = Book::new(rows);
    let mut changes = records(changes).peekable();
    while let Some(record) = changes.next() {
        let change = match opened::<Change<Vec<Step>>>(keys, PURPOSE_OF_CHANGES, record) {
            // A power cut may have kept the last one's length, not its bytes.
            Err(SealedProblem::Seal(_)) if changes.peek().is_none() => break,
            opened => opened?,
        };
        if change.of != name || change.upon != book.version() {
            return Err(SealedProblem::Format);
        }
        for Step { version, head, edits } in change.steps {
            edits.into_iter().for_each(|edit| book.apply(edit));
            book.set_version(version, head);
        }
    }
    Ok(book.rows())
}

/// The sealed changes. The last one may have been cut short with the process that wrote it: it is left out.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (record, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        bytes = rest;
        Some(record)
    })
}

fn opened<T: DeserializeOwned>(keys: &MasterKeys, purpose: &str, sealed: &[u8]) -> Result<T, SealedProblem> {
    let plain = keys.open(purpose, sealed).map_err(SealedProblem::Seal)?;
    serde_json::from_slice(&plain).map_err(|_| SealedProblem::Format)
}
