//! What can go wrong, on what, and what to do.

use std::{fmt, io, path::PathBuf, time::Duration};

use moorgate_keys::{KeyError, KeyId, SealError};
use thiserror::Error;

pub use crate::{invalid::Invalid, location::Location};

/// The result of what an operator does.
pub type Result<T, E = ControlError> = std::result::Result<T, E>;

/// Why an operation failed. `Display` says what failed, on what and what to do; the cause is the `source`.
#[derive(Debug, Error)]
pub enum ControlError {
    /// There is no such thing.
    #[error("there is no {what} {name:?}; `{}` lists them", what.listed_by())]
    NotFound {
        /// What was looked for.
        what: What,
        /// By which name.
        name: String,
    },
    /// The name is taken.
    #[error("there is already {} {what} {name:?}; {}", what.article(), what.instead())]
    Exists {
        /// What was to be made.
        what: What,
        /// Under which name.
        name: String,
    },
    /// The request itself can't be fulfilled.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A text that was to be applied is wrong. Nothing was changed.
    #[error(transparent)]
    Text(crate::apply::Wrong),
    /// The account exists, but its row can't be compiled, so no traffic is served for it.
    #[error(
        "account {account} is not served: what is stored of it can't be used (the log says why); \
         set its policy and egress addresses anew"
    )]
    NotServed {
        /// The account.
        account: String,
    },
    /// The credential exists, but its row can't be compiled, so nobody is let in by it.
    #[error("the credential {username} is not served: {problem}")]
    CredentialNotServed {
        /// The username.
        username: String,
        /// Why, and what to do.
        problem: String,
    },
    /// The store can't be read or written now. Traffic goes on by what was last known.
    #[error("the store can't be used now, so this was not done; traffic goes on; try again when it is back")]
    StoreDown(#[source] StoreError),
    /// The store into which a backup was to be put can't be written.
    #[error("nothing was restored: the store can't be used; see that it runs and may be written, and restore again")]
    Unrestored(#[source] StoreError),
    /// The store can't be opened, and there is no sealed copy that could be served instead.
    #[error("the store can't be opened and there is no usable sealed copy ({sealed})")]
    Unstartable {
        /// Why the store can't be opened.
        source: StoreError,
        /// Why there is no copy.
        sealed: SealedProblem,
    },
    /// Something was written since what it was decided upon. Nothing was changed.
    #[error("something else was changed meanwhile; try again")]
    Overtaken,
    /// It was done under this key before. Its answer is not in the store: it may have held a secret.
    #[error(
        "this was done already, under the same key{}, and its answer is gone; look at what there is now",
        if did.is_empty() { String::new() } else { format!(" ({did})") }
    )]
    AlreadyDone {
        /// What it was, without secrets; may be empty.
        did: String,
    },
    /// Something else was done under this key.
    #[error("this key was used for another request; choose a new one for each change")]
    KeyReused,
    /// The store, or its sealed copy, was made under another master key. Nothing was changed.
    #[error(
        "{location} was made under master key {wants}, and this one is {have}: start with the master key it was made under"
    )]
    WrongMasterKey {
        /// The store or file.
        location: Location,
        /// The key it was made under.
        wants: KeyId,
        /// The key we have.
        have: KeyId,
    },
    /// A backup that can't be read.
    #[error("cannot read {}", path.display())]
    BackupUnread {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file that is no backup, or not one of this version.
    #[error("{location} is no backup that this version can read ({problem})")]
    Backup {
        /// The file.
        location: Location,
        /// Why not.
        problem: String,
    },
    /// A backup is only put where nothing is lost by it.
    #[error("{location} already holds something: move it away, or name an empty database, and restore again")]
    NotEmpty {
        /// The store.
        location: Location,
    },
    /// The store was written by a newer version. Nothing was changed.
    #[error(
        "{location} was written by a newer Moorgate (schema {found}, this one knows up to {known}): start that version, or restore a backup made before the update"
    )]
    NewerSchema {
        /// The store.
        location: Location,
        /// The schema it has.
        found: i64,
        /// The newest schema that we know.
        known: i64,
    },
    /// Another process has the data directory.
    #[error("another gateway is running on data directory {}: stop it, or use another --data-dir", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// A kind of store that this version doesn't have.
    #[error(
        "[store] url {url:?} is no store this version has; write \"sqlite\" or \"postgres://USER:PASSWORD@HOST/DATABASE\""
    )]
    UnsupportedStore {
        /// As configured, without anything that could be a password.
        url: String,
    },
    /// A URL that no database can be reached by.
    #[error(
        "[store] url can't be read; write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, other characters as %xx"
    )]
    UnreadableStoreUrl,
    /// A file of the data directory could not be had.
    #[error("cannot use a file of the data directory")]
    File(#[source] KeyError),
    /// A key could not be sealed.
    #[error("the certificate's key can't be sealed, so nothing was stored")]
    Seal(#[source] SealError),
    /// The lock file of the data directory could not be had.
    #[error("cannot lock data directory {}", path.display())]
    Lock {
        /// The data directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The system's random generator failed.
    #[error("the system's random generator gives no bytes, so no secret can be made")]
    Random,
    /// The task that did the work died; always a defect. Whether the change was made shows in a listing.
    #[error("the operation ended before it was done; list what there is, then try again")]
    Interrupted,
}

impl ControlError {
    pub(crate) fn not_found(what: What, name: &str) -> Self {
        Self::NotFound { what, name: short(name) }
    }
}

/// Things that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An account.
    Account,
    /// A credential of an account.
    Credential,
    /// An API token.
    Token,
    /// A route.
    Route,
    /// A certificate.
    Certificate,
    /// A tier.
    Tier,
    /// What is being done so that a domain has a certificate.
    Issuance,
    /// Somebody who may use the console.
    Person,
    /// A browser that somebody is signed in with.
    SignIn,
    /// An invitation to the console.
    Invitation,
    /// A receiver of alarms.
    Alarm,
    /// What receivers of alarms were told of.
    Trouble,
    /// A gateway, with the store that it shares.
    Gateway,
}

impl What {
    const ALL: [Self; 13] = [
        Self::Account,
        Self::Credential,
        Self::Token,
        Self::Route,
        Self::Certificate,
        Self::Tier,
        Self::Issuance,
        Self::Person,
        Self::SignIn,
        Self::Invitation,
        Self::Alarm,
        Self::Trouble,
        Self::Gateway,
    ];

    /// In a word, as in the audit log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Credential => "credential",
            Self::Token => "token",
            Self::Route => "route",
            Self::Certificate => "certificate",
            Self::Tier => "tier",
            Self::Issuance => "issuance",
            Self::Person => "person",
            Self::SignIn => "sign-in",
            Self::Invitation => "invitation",
            Self::Alarm => "alarm",
            Self::Trouble => "trouble",
            Self::Gateway => "gateway",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.name() == name)
    }

    fn article(self) -> &'static str {
        match self {
            Self::Account | Self::Alarm | Self::Issuance => "an",
            _ => "a",
        }
    }

    fn instead(self) -> &'static str {
        match self {
            Self::Route => "change it with `moorgate route set`, if it is yours",
            _ => "choose another name",
        }
    }

    fn listed_by(self) -> &'static str {
        match self {
            Self::Account => "moorgate account list",
            Self::Credential => "moorgate credential list ACCOUNT",
            Self::Token => "moorgate token list",
            Self::Route => "moorgate route list",
            Self::Certificate => "moorgate cert list",
            Self::Tier => "moorgate tier list",
            Self::Issuance => "moorgate cert list",
            Self::Person | Self::SignIn | Self::Invitation => "moorgate person list",
            Self::Alarm | Self::Trouble => "moorgate alarm list ACCOUNT",
            Self::Gateway => "moorgate gateway list",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why the store can't be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database said no.
    #[error("cannot {action} {location}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// On which store.
        location: Location,
        /// What the database said.
        source: DatabaseError,
    },
    /// The server is there and does not let us in as [store] url says.
    #[error("cannot open {location}: {said}; {remedy}")]
    NotLetIn {
        /// The store.
        location: Location,
        /// What the server said.
        said: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The server showed a certificate that the URL gives no reason to trust.
    #[error(
        "the certificate of {location} is not trusted: name its CA in [store] url with sslrootcert=FILE, and as the host \
         what it is for"
    )]
    Untrusted {
        /// The store.
        location: Location,
        /// What is wrong with the certificate.
        source: rustls::Error,
    },
    /// A file that the URL names, or the socket, is not there or can't be read.
    #[error("cannot open a file that [store] url names for {location}: sslrootcert, sslcert, sslkey, or its socket")]
    NamedFile {
        /// The store.
        location: Location,
        /// The system's answer.
        source: io::Error,
    },
    /// The schema could not be brought up to date.
    #[error("cannot bring the schema of {location} up to date")]
    Migration {
        /// The store.
        location: Location,
        /// What the database said.
        source: sqlx::migrate::MigrateError,
    },
    /// The file system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file fails the database's own check.
    #[error("{location} is damaged: restore a backup")]
    Damaged {
        /// The store.
        location: Location,
    },
    /// The file is gone or empty, yet a sealed copy shows that there was something in it.
    #[error(
        "{location} is gone or empty, but the sealed copy in the data directory is not: restore a backup; to begin anew, remove snapshot.sealed too"
    )]
    Gone {
        /// The store.
        location: Location,
    },
    /// The file that was opened is not the file that is there now.
    #[error("{location} was removed or replaced while the gateway ran")]
    Replaced {
        /// The store.
        location: Location,
    },
    /// What was stored can't be read with the keys we have.
    #[error("the key that {location} was written with can't be opened ({problem})")]
    Key {
        /// The store.
        location: Location,
        /// Why not.
        problem: SealError,
    },
    /// It did not answer in time.
    #[error("the store did not answer within {} s", limit.as_secs())]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// It is not open: it could not be opened since the start, or has been closed.
    #[error("the store is not open")]
    NotOpen,
}

/// What a database, or the way to it, said. Its line says all there is: where in a server's source it was said is nothing to
/// whoever runs one.
#[derive(Debug)]
pub struct DatabaseError(sqlx::Error);

impl DatabaseError {
    /// Its code, where a database said it: of PostgreSQL an SQLSTATE, of SQLite a number.
    pub(crate) fn code(&self) -> Option<String> {
        self.0.as_database_error()?.code().map(Into::into)
    }

    /// What to do where [store] url does not fit its server.
    fn remedy(&self) -> Option<&'static str> {
        if matches!(self.0, sqlx::Error::Tls(_)) {
            return Some("have the server speak TLS (ssl = on), or leave sslmode out of [store] url");
        }
        // PostgreSQL's documentation, appendix A.
        match self.code()?.as_str() {
            "28P01" | "28000" => Some("check user and password in [store] url, and the server's pg_hba.conf"),
            "3D000" => Some("create it (createdb), or name another in [store] url"),
            "42501" => Some("make the user of [store] url the database's owner"),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            sqlx::Error::Database(error) => f.write_str(error.message()),
            sqlx::Error::Io(error) => error.fmt(f),
            sqlx::Error::Tls(error) => error.fmt(f),
            error => error.fmt(f),
        }
    }
}

impl std::error::Error for DatabaseError {}

impl StoreError {
    /// Why a connection to the store failed.
    pub(crate) fn connecting(location: &Location, failed: sqlx::Error) -> Self {
        use io::ErrorKind::{NotFound, PermissionDenied};
        let (action, location) = ("open", location.clone());
        let source = match failed {
            sqlx::Error::Io(source) => source,
            source => {
                let said = DatabaseError(source);
                return match said.remedy() {
                    Some(remedy) => Self::NotLetIn { location, said: said.to_string(), remedy },
                    None => Self::Database { action, location, source: said },
                };
            }
        };
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(source @ rustls::Error::InvalidCertificate(_)) => Self::Untrusted { location, source: source.clone() },
            // A server that is not there is refused or times out.
            None if matches!(source.kind(), NotFound | PermissionDenied) && matches!(location, Location::Server(_)) => {
                Self::NamedFile { location, source }
            }
            _ => Self::Database { action, location, source: DatabaseError(sqlx::Error::Io(source)) },
        }
    }
}

/// Why a sealed copy can't be served.
#[derive(Debug, Error)]
pub enum SealedProblem {
    /// There is none.
    #[error("there is none")]
    Missing,
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Io(io::Error),
    /// It can't be opened.
    #[error("{0}")]
    Seal(SealError),
    /// Its contents are not what this version writes.
    #[error("its contents are of another version")]
    Format,
}

/// An error and its causes in one line, for a log or a status.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(": ");
        said.push_str(&error.to_string());
        cause = error.source();
    }
    said
}

/// The beginning of a text that someone gave us, for an error: long enough to be recognised.
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(['…']).collect()
}
