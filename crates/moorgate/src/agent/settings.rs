//! Which gateway, which way, and what is mapped: from flags, environment and `default.env`.

use std::{collections::HashMap, fmt, fs, io, path::PathBuf};

use clap::ValueEnum;
use moorgate_tls::TrustRoots;
use moorgate_wire::{basic::Secret, host::HostPort};

use super::error::{AgentError, UrlError};
use crate::{config::default_data_dir, proxy_urls::DEFAULT_ENV};

/// The CA's variable.
const CA: &str = "MOORGATE_CA";

/// A way to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// HTTP proxy, not encrypted (MOORGATE_STATIC_URL)
    Static,
    /// HTTPS proxy (MOORGATE_SHIELD_URL)
    Shield,
    /// SOCKS5 over TLS (MOORGATE_SHIELD_SOCKS_URL)
    ShieldSocks,
}

impl Via {
    fn variable(self) -> &'static str {
        match self {
            Self::Static => "MOORGATE_STATIC_URL",
            Self::Shield => "MOORGATE_SHIELD_URL",
            Self::ShieldSocks => "MOORGATE_SHIELD_SOCKS_URL",
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Static => "http",
            Self::Shield => "https",
            Self::ShieldSocks => "socks5s",
        }
    }

    /// Whether the way there is encrypted.
    pub(crate) fn is_tls(self) -> bool {
        self != Self::Static
    }

    /// Whether SOCKS5 is spoken there, not HTTP.
    pub(crate) fn is_socks(self) -> bool {
        self == Self::ShieldSocks
    }
}

/// A local port that leads to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    /// Where it leads.
    pub(crate) target: HostPort,
}

impl Map {
    /// Reads `PORT=HOST:PORT`.
    ///
    /// # Errors
    /// What is wrong, in words for the command line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (port, target) = text.split_once('=').ok_or("write PORT=HOST:PORT, such as 15432=db.example.com:5432")?;
        let port = port.parse().map_err(|_| format!("{port:?} is no port; write a number up to 65535"))?;
        let target = HostPort::parse(target).map_err(|error| error.to_string())?;
        Ok(Self { port, target })
    }
}

/// A gateway's listener and the credential for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    /// Which of its listeners.
    pub(crate) via: Via,
    /// Where it is.
    pub(crate) address: HostPort,
    /// The credential's username.
    pub(crate) username: String,
    /// And its password.
    pub(crate) password: Secret,
    /// By whom its certificate must be signed.
    pub(crate) roots: TrustRoots,
}

/// For people; never the credential.
impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spoken = match self.via {
            Via::Static => "Static (HTTP, not encrypted)",
            Via::Shield => "Shield (HTTP over TLS)",
            Via::ShieldSocks => "Shield (SOCKS5 over TLS)",
        };
        write!(f, "{spoken} at {}", self.address)
    }
}

impl Gateway {
    /// The gateway of the environment, else of `default.env` in the data directory. The CA comes from where the URL came
    /// from, unless the environment names one.
    ///
    /// # Errors
    /// When neither names one, or not properly.
    pub(crate) fn find(
        via: Via,
        data_dir: Option<PathBuf>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, AgentError> {
        let variable = via.variable();
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let (url, ca) = match env(variable) {
            Some(url) => (url, env(CA)),
            None => {
                let directory =
                    data_dir.or_else(|| env("MOORGATE_DATA_DIR").map(PathBuf::from)).or_else(|| default_data_dir(&env));
                let file = directory.map(|directory| directory.join(DEFAULT_ENV));
                let mut left = file.as_ref().map(read_env).transpose()?.unwrap_or_default();
                let url = left.remove(variable).ok_or(AgentError::NoGateway { variable, file })?;
                (url, env(CA).or_else(|| left.remove(CA)))
            }
        };
        let roots = ca.map_or(TrustRoots::System, |path| TrustRoots::Pem(path.into()));
        Self::parse(via, &url, roots).map_err(|why| AgentError::BadUrl { variable, scheme: via.scheme(), why })
    }

    fn parse(via: Via, url: &str, roots: TrustRoots) -> Result<Self, UrlError> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(UrlError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(via.scheme()) {
            return Err(UrlError::Scheme);
        }
        let (credential, address) = rest.rsplit_once('@').ok_or(UrlError::NoCredential)?;
        let (username, password) = credential.split_once(':').ok_or(UrlError::NoCredential)?;
        if username.is_empty() || password.is_empty() {
            return Err(UrlError::NoCredential);
        }
        Ok(Self {
            via,
            address: HostPort::parse(address.strip_suffix('/').unwrap_or(address))?,
            username: percent_decoded(username).ok_or(UrlError::Encoding)?,
            password: Secret::new(percent_decoded(password).ok_or(UrlError::Encoding)?),
            roots,
        })
    }
}

/// `KEY=value` lines, as a shell's `.` reads them: values bare or in quotes. A missing file is an empty one.
fn read_env(path: &PathBuf) -> Result<HashMap<String, String>, AgentError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(AgentError::Unreadable { path: path.clone(), source }),
    };
    let unquoted = |value: &str| {
        let inner = |quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
        inner('\'').or_else(|| inner('"')).unwrap_or(value).to_owned()
    };
    let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
    Ok(pairs.map(|(name, value)| (name.trim_start_matches("export ").to_owned(), unquoted(value))).collect())
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit =
            || rest.next().and_then(|digit| char::from(digit).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
        bytes.push((digit()? << 4) | digit()?);
    }
    String::from_utf8(bytes).ok()
}
