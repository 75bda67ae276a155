//! The recordings as files, for who wants to search them with tools of their own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use moorgate_keys::{KeyError, file::private_dir};

use super::{DemoError, report::Report};

/// A directory for recordings, for its owner only.
pub(super) struct Kept(PathBuf);

impl Kept {
    /// Makes it, before anything is measured.
    ///
    /// # Errors
    /// When it can't be made, or holds something.
    pub(super) fn new(dir: &Path) -> Result<Self, DemoError> {
        let path = || dir.to_owned();
        let failed = |action| move |source| DemoError::File { action, path: dir.to_owned(), source };
        private_dir(dir).map_err(|error| match error {
            KeyError::LooseDirectory { .. } => DemoError::Loose { path: path() },
            KeyError::Io { source, .. } => failed("keep recordings in")(source),
            other => DemoError::Keys(other),
        })?;
        if fs::read_dir(dir).map_err(failed("read"))?.next().is_some() {
            return Err(DemoError::NotEmpty { path: path() });
        }
        // Whether files can be made there shows now, and not when everything has been measured.
        tempfile::tempfile_in(dir).map_err(failed("keep recordings in"))?;
        Ok(Self(path()))
    }

    /// Writes each recording to `NAME.bin`, and the result to `result.json`. Returns the directory.
    ///
    /// # Errors
    /// When a file can't be written.
    pub(super) fn write(&self, report: &Report, document: &str) -> Result<&Path, DemoError> {
        let recordings = report.rows.iter().flat_map(|row| &row.recordings);
        let recordings = recordings.map(|recording| (format!("{}.bin", recording.name), &*recording.bytes));
        for (name, bytes) in recordings.chain([("result.json".to_owned(), document.as_bytes())]) {
            let path = self.0.join(name);
            fs::write(&path, bytes).map_err(|source| DemoError::File { action: "write", path, source })?;
        }
        Ok(&self.0)
    }
}
