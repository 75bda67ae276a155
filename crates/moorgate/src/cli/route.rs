//! The arguments of `route` and `cert`.

use std::{net::IpAddr, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use moorgate_contract::route::{
    HeaderField, HostFor, Mode, OnHttp, OriginSpec, OriginUrl, OriginUrlError, PathRedirect, ProxyVersion,
};
use thiserror::Error;

use super::Json;

#[derive(Debug, Subcommand)]
pub(crate) enum Route {
    /// Make a route: a domain whose clients reach an app
    Add {
        /// Its public name; *.example.com for exactly one label
        domain: String,
        /// Where it goes: http://HOST:PORT or https://HOST:PORT; for passthrough tls://HOST:PORT. Several share the
        /// load; ",weight=3" behind one gives it more
        #[arg(required = true, value_name = "URL")]
        urls: Vec<Spec>,
        /// Who has the key: the gateway (terminate: it reads and acts) or the origin alone (passthrough)
        #[arg(long, value_enum)]
        mode: ModeArg,
        /// Whose it is; may be left out while there is one account
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        #[command(flatten)]
        settings: Box<Settings>,
        #[command(flatten)]
        json: Json,
    },
    /// List routes
    List(Json),
    /// Show a route with all that is set of it
    Show {
        /// Its domain
        domain: String,
        #[command(flatten)]
        json: Json,
    },
    /// Look at a route's domain as its clients' resolvers see it, and say what to set
    Check {
        /// Its domain
        domain: String,
        #[command(flatten)]
        json: Json,
    },
    /// Change a route; what is given replaces what was set, "" clears a list. Open connections stay
    Set {
        /// Its domain
        domain: String,
        /// Where it goes; repeat for several, these replace all
        #[arg(long = "origin", value_name = "URL")]
        origins: Vec<Spec>,
        #[command(flatten)]
        settings: Box<Settings>,
        #[command(flatten)]
        json: Json,
    },
    /// Remove a route; its open connections are cut
    Remove {
        /// Its domain
        domain: String,
    },
}

/// What can be set of a route.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Send a part of the paths elsewhere: /api=http://HOST:PORT
    #[arg(long, value_name = "PREFIX=URL")]
    pub(crate) path: Vec<Listed<PathSpec>>,
    /// Tell origins the client's address by the PROXY protocol
    #[arg(long, value_enum)]
    pub(crate) proxy_protocol: Option<ProxyArg>,
    /// CA certificates (PEM) that alone are trusted for https:// origins; "" for the system's
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub(crate) origin_ca: Option<PathBuf>,
    /// Where a CA's challenges on port 80 go (passthrough), such as http://HOST:8080; "" for port 80 of the origins
    #[arg(long, value_name = "URL")]
    pub(crate) acme_origin: Option<AcmeOrigin>,
    /// Have the CA issue a certificate with an RSA key too, for clients that know no ECDSA (terminate)
    #[arg(long, value_enum)]
    pub(crate) rsa: Option<Switch>,
    /// The Host that origins get: the client's, or that of the forwarding URL (for platforms that route by it)
    #[arg(long, value_enum)]
    pub(crate) origin_host: Option<HostArg>,
    /// Look after origins this often, such as 10s; "off" leaves it to traffic
    #[arg(long, value_name = "TIME")]
    pub(crate) check_every: Option<Every>,
    /// Look by GET of this path, to be answered with 200 to 399, instead of a TCP connection
    #[arg(long, value_name = "PATH")]
    pub(crate) check_path: Option<String>,
    /// Let only these client addresses in
    #[arg(long, value_name = "CIDR")]
    pub(crate) allow_client: Vec<Listed<IpNetArg>>,
    /// Keep these client addresses out; wins over --allow-client
    #[arg(long, value_name = "CIDR")]
    pub(crate) deny_client: Vec<Listed<IpNetArg>>,
    /// What plain HTTP gets: 308 to https, or the app
    #[arg(long, value_enum)]
    pub(crate) http: Option<HttpArg>,
    /// Show this page (a file, or the text itself) with 503 in place of the app
    #[arg(long, value_name = "PAGE", conflicts_with = "no_maintenance")]
    pub(crate) maintenance: Option<String>,
    /// Show the app again
    #[arg(long)]
    pub(crate) no_maintenance: bool,
    /// Redirect a path: /old=/new, /old/*=https://other.example/*, with ",301" for another status than 308
    #[arg(long, value_name = "FROM=TO")]
    pub(crate) redirect: Vec<Listed<RedirectArg>>,
    /// Ask for a username and password (HTTP Basic): a file with a line user:password for each; "" for none
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub(crate) basic_auth_file: Option<PathBuf>,
    /// The longest request body, such as 10MiB; "none" for any
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_body: Option<Bytes>,
    /// Set a field of requests
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set_header: Vec<Listed<FieldArg>>,
    /// Take a field of requests away
    #[arg(long, value_name = "NAME")]
    pub(crate) remove_header: Vec<Listed<String>>,
    /// Set a field of responses
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set_response_header: Vec<Listed<FieldArg>>,
    /// Take a field of responses away
    #[arg(long, value_name = "NAME")]
    pub(crate) remove_response_header: Vec<Listed<String>>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Add the certificate of a domain's route, or replace it
    Add {
        /// The domain
        domain: String,
        /// The certificate and its issuers' (PEM), in any order
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
        /// Its private key (PEM)
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Whose it is, where the domain has no route yet
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// List certificates: added, issued, and ordered
    List(Json),
    /// Show a certificate, without its key
    Show {
        /// The domain
        domain: String,
        #[command(flatten)]
        json: Json,
    },
    /// Order a certificate anew; the old one is shown until the new one is there
    Renew {
        /// The domain
        domain: String,
        #[command(flatten)]
        json: Json,
    },
    /// Remove a certificate; clients are shown the local CA's until there is another
    Remove {
        /// The domain
        domain: String,
    },
}

/// An argument that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Wrong {
    #[error("{0}")]
    Said(String),
    #[error("write {0}")]
    Write(&'static str),
}

/// A member of a list; `""` is the list without members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed<T> {
    None,
    One(T),
}

impl<T: FromStr> FromStr for Listed<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Ok(Self::None) } else { text.parse().map(Self::One) }
    }
}

/// The list that was given; `None`: nothing was.
pub(crate) fn listed<T: Clone, U>(given: &[Listed<T>], make: impl Fn(T) -> U) -> Option<Vec<U>> {
    let one = |member: &Listed<T>| match member {
        Listed::None => None,
        Listed::One(one) => Some(make(one.clone())),
    };
    (!given.is_empty()).then(|| given.iter().filter_map(one).collect())
}

/// A forwarding URL, perhaps with a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec(pub(crate) OriginSpec);

/// A URL; `None` for "".
#[derive(Clone, Debug)]
pub(crate) struct AcmeOrigin(pub(crate) Option<OriginUrl>);

impl FromStr for AcmeOrigin {
    type Err = OriginUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|url| Self(Some(url))) }
    }
}

impl FromStr for Spec {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let (url, weight) = match text.split_once(",weight=") {
            None => (text, 1),
            Some((url, weight)) => (
                url,
                weight.parse().map_err(|_| Wrong::Write("a weight from 1 to 1000, as in http://HOST:PORT,weight=3"))?,
            ),
        };
        let url = url.parse().map_err(|error| Wrong::Said(format!("{error}")))?;
        Ok(Self(OriginSpec { url, weight }))
    }
}

/// A path prefix and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathSpec {
    pub(crate) prefix: String,
    pub(crate) origin: OriginSpec,
}

impl FromStr for PathSpec {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let (prefix, origin) =
            text.split_once('=').ok_or(Wrong::Write("PREFIX=URL, as in /api=http://127.0.0.1:4000"))?;
        Ok(Self { prefix: prefix.to_owned(), origin: origin.parse::<Spec>()?.0 })
    }
}

/// A network of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IpNetArg(pub(crate) IpNet);

impl FromStr for IpNetArg {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let net = text.parse().or_else(|_| address());
        net.map(Self).map_err(|_| Wrong::Write("an address or a network, such as 192.0.2.0/24"))
    }
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedirectArg(pub(crate) PathRedirect);

impl FromStr for RedirectArg {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let (from, to) = text.split_once('=').ok_or(Wrong::Write("FROM=TO, as in /old=/new"))?;
        let (to, status) = match to.rsplit_once(',') {
            Some((to, status)) if status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit()) => {
                (to, status.parse().map_err(|_| Wrong::Write("301, 302, 303, 307 or 308"))?)
            }
            _ => (to, 308),
        };
        Ok(Self(PathRedirect { from: from.to_owned(), to: to.to_owned(), status }))
    }
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldArg(pub(crate) HeaderField);

impl FromStr for FieldArg {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let (name, value) = text.split_once('=').ok_or(Wrong::Write("NAME=VALUE, as in X-Tenant=acme"))?;
        Ok(Self(HeaderField { name: name.to_owned(), value: value.to_owned() }))
    }
}

/// Seconds, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Every(pub(crate) Option<u32>);

impl FromStr for Every {
    type Err = super::Unreadable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        let seconds = super::duration(text)?.as_secs();
        u32::try_from(seconds).map(|seconds| Self(Some(seconds))).map_err(|_| super::Unreadable::Duration)
    }
}

/// A count of bytes, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Option<u64>);

impl FromStr for Bytes {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if text == "none" {
            return Ok(Self(None));
        }
        let wrong = || Wrong::Write("a number of bytes, such as 1000000, 512KiB or 10MiB; or none");
        let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(at).ok_or_else(wrong)?;
        let unit: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        bytes.map(|bytes| Self(Some(bytes))).ok_or_else(wrong)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ModeArg {
    // The products' names are taken too: who knows those needs no second try.
    #[value(alias = "static")]
    Terminate,
    #[value(alias = "shield")]
    Passthrough,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Terminate => Self::Terminate,
            ModeArg::Passthrough => Self::Passthrough,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProxyArg {
    V1,
    V2,
    Off,
}

impl From<ProxyArg> for Option<ProxyVersion> {
    fn from(version: ProxyArg) -> Self {
        match version {
            ProxyArg::V1 => Some(ProxyVersion::V1),
            ProxyArg::V2 => Some(ProxyVersion::V2),
            ProxyArg::Off => None,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HostArg {
    Client,
    Origin,
}

impl From<HostArg> for HostFor {
    fn from(host: HostArg) -> Self {
        match host {
            HostArg::Client => Self::Client,
            HostArg::Origin => Self::Origin,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HttpArg {
    Redirect,
    Forward,
}

impl From<HttpArg> for OnHttp {
    fn from(http: HttpArg) -> Self {
        match http {
            HttpArg::Redirect => Self::Redirect,
            HttpArg::Forward => Self::Forward,
        }
    }
}

/// A path; clap's own parser takes no empty one, which stands for none here.
fn path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(text.into())
}
