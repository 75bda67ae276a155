//! The variables that an application gets: one proxy URL for each outbound listener, and the CA where it is needed.

use std::{fmt, path::Path};

use moorgate_contract::listener::Listener;
use serde_json::Value;

use crate::shell::quote;

/// Each variable with its listener and scheme.
pub(crate) const VARIABLES: [(&str, Listener, &str); 4] = [
    ("MOORGATE_STATIC_URL", Listener::OutboundHttp, "http"),
    ("MOORGATE_STATIC_SOCKS_URL", Listener::OutboundSocks, "socks5h"),
    ("MOORGATE_SHIELD_URL", Listener::OutboundHttps, "https"),
    ("MOORGATE_SHIELD_SOCKS_URL", Listener::OutboundSocksTls, "socks5s"),
];

/// The variable that names the local CA's certificate.
pub(crate) const CA: &str = "MOORGATE_CA";

/// Where `up` leaves them for the account `default`, in the data directory.
pub(crate) const DEFAULT_ENV: &str = "default.env";

/// The proxy URLs of one credential. Holds its password: not in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProxyUrls {
    username: String,
    password: String,
    /// Variable and `scheme`, `host:port`.
    places: Vec<(&'static str, &'static str, String)>,
    ca: Option<String>,
}

impl fmt::Debug for ProxyUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyUrls").field("username", &self.username).finish_non_exhaustive()
    }
}

impl ProxyUrls {
    /// The URLs of a credential at the gateway that `facts` (its `gateway.json`) describes. Listeners that are not
    /// open have none.
    pub(crate) fn new(facts: &Value, username: &str, password: &str) -> Self {
        let hostname = facts.get("hostname").and_then(Value::as_str).unwrap_or("localhost");
        let host = if hostname.contains(':') { format!("[{hostname}]") } else { hostname.to_owned() };
        let port = |listener: Listener| {
            let bound = facts.get("listeners")?.get(listener.name())?.get(0)?.as_str()?;
            bound.rsplit_once(':').map(|(_, port)| port.to_owned())
        };
        let places = VARIABLES.iter().filter_map(|(variable, listener, scheme)| {
            Some((*variable, *scheme, format!("{host}:{}", port(*listener)?)))
        });
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            places: places.collect(),
            ca: facts.get("ca").and_then(Value::as_str).map(ToOwned::to_owned),
        }
    }

    /// The URLs in a file that [`ProxyUrls::env_file`] made. `None` when it is not there or holds none.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let value = |variable: &str| text.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
        let mut urls = Self { username: String::new(), password: String::new(), places: Vec::new(), ca: None };
        for (variable, _, scheme) in VARIABLES {
            let Some((credential, place)) = value(variable).and_then(|url| url.split_once("://")?.1.split_once('@'))
            else {
                continue;
            };
            let (username, password) = credential.split_once(':')?;
            (urls.username, urls.password) = (username.to_owned(), password.to_owned());
            urls.places.push((variable, scheme, place.to_owned()));
        }
        urls.ca = value(CA).map(unquote);
        (!urls.places.is_empty()).then_some(urls)
    }

    /// Username and password.
    pub(crate) fn credential(&self) -> (String, String) {
        (self.username.clone(), self.password.clone())
    }

    /// Each variable with its value.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let Self { username, password, places, ca } = self;
        let urls = places
            .iter()
            .map(move |(variable, scheme, place)| (*variable, format!("{scheme}://{username}:{password}@{place}")));
        urls.chain(ca.iter().map(|ca| (CA, ca.clone())))
    }

    /// Each variable with its URL as it may be shown on a terminal: enough to recognise, too little to use.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let start: String = self.password.chars().take(4).collect();
        let Self { username, places, .. } = self;
        places
            .iter()
            .map(move |(variable, scheme, place)| (*variable, format!("{scheme}://{username}:{start}…@{place}")))
    }

    /// The variables as a file that a shell can source and that an env file reader takes.
    pub(crate) fn env_file(&self) -> String {
        self.variables().map(|(variable, value)| format!("{variable}={}\n", quote(&value))).collect()
    }
}

fn unquote(word: &str) -> String {
    match word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
        Some(inner) => inner.replace(r"'\''", "'"),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_written_reads_back() {
        let facts = serde_json::json!({
            "hostname": "::1",
            "ca": "/tmp/it's here/ca.pem",
            "listeners": {"outbound_http": ["127.0.0.1:9293"], "outbound_socks_tls": ["[::1]:1081"], "outbound_https": []},
        });
        let urls = ProxyUrls::new(&facts, "mg_a", "secret-word");
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), urls.env_file()).unwrap();
        assert_eq!(ProxyUrls::read(path.path()), Some(urls.clone()));
        let variables: Vec<_> = urls.variables().collect();
        assert_eq!(variables[0], ("MOORGATE_STATIC_URL", "http://mg_a:secret-word@[::1]:9293".to_owned()));
        assert_eq!(variables.len(), 3);
        assert!(urls.shown().all(|(_, shown)| !shown.contains("secret-word")));
    }
}
