//! The sealed copy, kept up to date in the background.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use super::{Inner, lock};
use crate::{
    error::chain,
    sealed::{self, Sealer, Step, Unsealed, WriteProblem},
};

/// What is to be sealed, and what seals it.
pub(crate) struct Sealing {
    /// What the copy lacks. Changed only by who holds the book.
    unsealed: Mutex<Unsealed>,
    /// One at a time, so that an older copy never replaces a newer one.
    sealer: Mutex<Sealer>,
}

impl Sealing {
    /// Of a data directory. Whatever copy is there lacks everything.
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { unsealed: Mutex::new(Unsealed::All), sealer: Mutex::new(Sealer::new(data_dir)) }
    }

    /// The copy lacks one more change.
    pub(super) fn lacks(&self, step: Step) {
        lock(&self.unsealed).push(step);
    }

    /// The copy has to be written anew.
    pub(super) fn lacks_all(&self) {
        *lock(&self.unsealed) = Unsealed::All;
    }
}

impl Inner {
    /// Brings the sealed copy up to date. Says whether it is.
    pub(crate) async fn seal(self: Arc<Self>) -> bool {
        let write = move || {
            let written = self.write_unsealed();
            if let Err(error) = &written {
                self.sealing.lacks_all();
                let path = sealed::path(&self.data_dir);
                tracing::error!(path = %path.display(), error = chain(error), "no sealed copy: a restart needs the store");
            }
            written.is_ok()
        };
        tokio::task::spawn_blocking(write).await.unwrap_or(false)
    }

    fn write_unsealed(&self) -> Result<(), WriteProblem> {
        let (key, mut sealer) = (&self.master_keys.current, lock(&self.sealing.sealer));
        let book = self.book();
        let unsealed = lock(&self.sealing.unsealed).take(book.version());
        match unsealed {
            Unsealed::Steps { upon, steps } if !sealer.wants_all() => {
                drop(book);
                if steps.is_empty() { Ok(()) } else { sealer.write_changes(key, upon, &steps) }
            }
            _ => {
                let rows = book.rows();
                drop(book);
                sealer.write_all(key, &rows)
            }
        }
    }
}
