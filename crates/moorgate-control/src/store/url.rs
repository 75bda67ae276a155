//! `[store] url`: which store.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sqlx::postgres::PgConnectOptions;

use super::Kind;
use crate::{
    error::{ControlError, short},
    location::Location,
};

/// The name of the file in the data directory.
const FILE: &str = "moorgate.sqlite";
/// A server that is reached by a socket file has a TCP port of the same number here, or none.
const SOCKETS_HOST: &str = "127.0.0.1";
/// What ends a path in a URL, or means something in it.
const PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'%').add(b'?');

/// Which store. Hides its password from `Debug`.
#[derive(Clone)]
pub(crate) enum StoreUrl {
    Sqlite(PathBuf),
    Postgres(Server),
}

/// A PostgreSQL database, with what it takes to connect.
#[derive(Clone)]
pub(crate) struct Server {
    url: Box<str>,
    shown: Box<str>,
    host: Box<str>,
    port: u16,
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location().fmt(f)
    }
}

impl StoreUrl {
    /// Reads `[store] url`: `sqlite` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    ///
    /// # Errors
    /// [`ControlError::UnsupportedStore`] without what could be a password.
    pub(crate) fn parse(text: &str, data_dir: &Path) -> Result<Self, ControlError> {
        if text == "sqlite" {
            return Ok(Self::Sqlite(data_dir.join(FILE)));
        }
        // What follows the scheme may hold a password.
        let unsupported = || ControlError::UnsupportedStore { url: short(text.split(':').next().unwrap_or_default()) };
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(unsupported());
        }
        let options: PgConnectOptions = text.parse().map_err(|_| ControlError::UnreadableStoreUrl)?;
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let (host, port) = (options.get_host(), options.get_port());
        let shown = format!("postgres://{host}:{port}/{database}").into();
        let is_socket = options.get_socket().is_some() || host.starts_with('/');
        let host = if is_socket { SOCKETS_HOST } else { host.trim_matches(['[', ']']) }.into();
        Ok(Self::Postgres(Server { url: text.into(), shown, host, port }))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    pub(crate) fn location(&self) -> Location {
        match self {
            Self::Sqlite(path) => Location::File(path.clone()),
            Self::Postgres(server) => Location::Server(server.shown.clone()),
        }
    }

    /// What the driver connects by.
    pub(super) fn connect(&self) -> String {
        match self {
            Self::Sqlite(path) => {
                format!("sqlite://{}?mode=rw", utf8_percent_encode(&path.to_string_lossy(), PATH))
            }
            Self::Postgres(server) => server.url.to_string(),
        }
    }

    /// The name or address of the server, and its port; `None` for a file.
    pub(crate) fn address(&self) -> Option<(&str, u16)> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(server) => Some((&server.host, server.port)),
        }
    }

    /// For the driver's own listener; `None` for a store that nobody else writes to.
    pub(crate) fn server(&self) -> Option<&str> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(server) => Some(&server.url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_without_its_password() {
        let parse = |text: &str| StoreUrl::parse(text, Path::new("/data dir"));
        let server = parse("postgres://moor:hunter2@db.example:5433/gate?sslmode=require").unwrap();
        assert_eq!(format!("{server:?}"), "Server(\"postgres://db.example:5433/gate\")");
        assert_eq!(parse("sqlite").unwrap().connect(), "sqlite:///data%20dir/moorgate.sqlite?mode=rw");
        for wrong in ["mysql://u:hunter2@h/d", "hunter2", "postgres://u:hunter2@h:port/d"] {
            let said = parse(wrong).unwrap_err().to_string();
            assert!(!said.contains("hunter2@") && said.contains("postgres://"), "{said}");
        }
    }

    #[test]
    fn a_server_is_found_by_its_host_and_port() {
        for (url, address) in [
            ("postgres://moor@db.example/gate", ("db.example", 5432)),
            ("postgres://moor@10.0.0.1:5433/gate", ("10.0.0.1", 5433)),
            ("postgres://moor@[fd00::1]/gate", ("fd00::1", 5432)),
            ("postgres://moor@db.example/gate?hostaddr=10.0.0.2&port=6432", ("10.0.0.2", 6432)),
            ("postgres:///gate?host=/run/postgresql", ("127.0.0.1", 5432)),
            ("postgres://moor@%2Frun%2Fpostgresql:5434/gate", ("127.0.0.1", 5434)),
        ] {
            assert_eq!(StoreUrl::parse(url, Path::new("/data")).unwrap().address(), Some(address), "{url}");
        }
        assert_eq!(StoreUrl::parse("sqlite", Path::new("/data")).unwrap().address(), None);
    }
}
