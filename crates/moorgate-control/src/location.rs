//! Where something is stored.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where something is stored, as a person is told: never with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file of the data directory.
    File(PathBuf),
    /// A PostgreSQL database: `postgres://host:port/database`.
    Server(Box<str>),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(url) => f.write_str(url),
        }
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}
