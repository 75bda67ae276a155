//! Forwarding URLs: the servers behind a route.

use std::{fmt, str::FromStr, sync::Arc};

use moorgate_wire::{
    host::{Asked, Host, HostPort},
    visible::visible,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Mode;
use crate::balance::Health;

/// What is spoken with an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginScheme {
    /// HTTP in the clear.
    Http,
    /// HTTP inside TLS that begins at the gateway and is verified.
    Https,
    /// The client's own TLS, passed through.
    Tls,
}

impl OriginScheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tls => "tls",
        }
    }

    pub(super) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https | Self::Tls => 443,
        }
    }
}

/// A forwarding URL: `http://HOST:PORT`, `https://HOST:PORT` or `tls://HOST:PORT`. Serialises as that text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginUrl {
    /// What is spoken there.
    pub scheme: OriginScheme,
    /// Where it is.
    pub target: HostPort,
}

/// Why a text is no forwarding URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginUrlError {
    /// No scheme, or another one.
    #[error("{0:?} is no forwarding URL: write http://HOST:PORT, https://HOST:PORT or tls://HOST:PORT")]
    Scheme(Box<str>),
    /// The host or port can't be read.
    #[error("{0:?}: {1}")]
    Host(Box<str>, Box<str>),
    /// A username or password.
    #[error("a forwarding URL has no username or password; set an Authorization header on the route instead")]
    Userinfo,
    /// A path.
    #[error("{0:?} has a path; a forwarding URL ends after the port, and the client's path is forwarded as it is")]
    Path(Box<str>),
    /// A scheme that the mode does not have.
    #[error("{url} does not fit a passthrough route: the client's TLS goes on to the origin, so write tls://HOST:PORT")]
    NotForPassthrough {
        /// As given.
        url: OriginUrl,
    },
    /// `tls://` on a terminate route.
    #[error("{url} does not fit a terminate route, which speaks HTTP: write http:// or https://")]
    NotForTerminate {
        /// As given.
        url: OriginUrl,
    },
}

impl OriginUrl {
    /// Whether a route of `mode` can go there. `https://` means `tls://` for passthrough.
    ///
    /// # Errors
    /// What to write instead.
    pub fn check_mode(&self, mode: Mode) -> Result<(), OriginUrlError> {
        match (mode, self.scheme) {
            (Mode::Passthrough, OriginScheme::Http) => Err(OriginUrlError::NotForPassthrough { url: self.clone() }),
            (Mode::Terminate, OriginScheme::Tls) => Err(OriginUrlError::NotForTerminate { url: self.clone() }),
            _ => Ok(()),
        }
    }

    /// The authority as HTTP writes it: without the port where it is the scheme's own.
    pub fn authority(&self) -> String {
        let text = self.target.to_string();
        if self.target.port != self.scheme.default_port() {
            return text;
        }
        text.rsplit_once(':').map_or(text.clone(), |(host, _)| host.to_owned())
    }
}

impl FromStr for OriginUrl {
    type Err = OriginUrlError;

    fn from_str(text: &str) -> Result<Self, OriginUrlError> {
        let shown = || visible(text.chars().take(200).collect::<String>().as_bytes()).to_string().into_boxed_str();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| OriginUrlError::Scheme(shown()))?;
        let schemes = [OriginScheme::Http, OriginScheme::Https, OriginScheme::Tls];
        let scheme = schemes.into_iter().find(|known| known.name().eq_ignore_ascii_case(scheme));
        let scheme = scheme.ok_or_else(|| OriginUrlError::Scheme(shown()))?;
        if rest.contains('@') {
            return Err(OriginUrlError::Userinfo);
        }
        // One slash behind an http authority is no path yet.
        let rest = if scheme == OriginScheme::Tls { rest } else { rest.strip_suffix('/').unwrap_or(rest) };
        if rest.contains(['/', '?', '#', '\\']) {
            return Err(OriginUrlError::Path(shown()));
        }
        let host = |why: &dyn fmt::Display| OriginUrlError::Host(shown(), why.to_string().into());
        let asked = Asked::from_authority(rest, Some(scheme.default_port())).map_err(|why| host(&why))?;
        let found = asked.host.as_ref().map_err(|why| host(why))?.clone();
        Ok(Self { scheme, target: HostPort { host: found, port: asked.port } })
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.target)
    }
}

impl Serialize for OriginUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OriginUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A forwarding URL with its weight, as an account sets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginSpec {
    /// Where to.
    pub url: OriginUrl,
    /// Its share beside the others', 1 to 1,000; 1 unless said.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u16,
}

impl OriginSpec {
    /// The largest weight.
    pub const MAX_WEIGHT: u16 = 1_000;
}

fn one() -> u16 {
    1
}

fn is_one(weight: &u16) -> bool {
    *weight == 1
}

/// One server behind a route, with what is known of it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where to.
    pub url: OriginUrl,
    /// The same, as flows say it.
    pub text: Arc<str>,
    /// The target as the rest of the gateway asks for one.
    pub asked: Asked,
    /// Its share, at least 1.
    pub weight: u16,
    /// How it is, for as long as some route has it.
    pub health: Arc<Health>,
}

impl Origin {
    pub(crate) fn new(spec: &OriginSpec) -> Self {
        let HostPort { host, port } = &spec.url.target;
        let asked = match host {
            Host::Name(name) => Asked::new(name.as_str(), *port),
            Host::V4(address) => Asked::from_ip((*address).into(), *port),
            Host::V6(address) => Asked::from_ip((*address).into(), *port),
        };
        Self {
            url: spec.url.clone(),
            text: spec.url.to_string().into(),
            asked,
            weight: spec.weight.max(1),
            health: Arc::default(),
        }
    }
}
