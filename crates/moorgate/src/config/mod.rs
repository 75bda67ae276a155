//! The gateway's settings: the file, over it the environment, under both the defaults of one of two profiles.
//!
//! Everything is parsed and checked here; nobody validates a second time.

mod env;
mod error;
mod file;
mod given;
mod keys;

use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use moorgate_alarm::MailSettings;
use moorgate_contract::{guard::Guard, limits::Limits, listener::Listener};
use moorgate_control::{FLOWS_KEPT, KEEP_USAGE, Role};
use moorgate_wire::{host::Host, name::DomainName};
use zeroize::Zeroizing;

pub(crate) use error::ConfigError;
use error::Place;
use given::{Bad, Given, Value};
use keys::{Key, Kind};

/// Where a gateway with a file keeps its things.
const SYSTEM_DATA_DIR: &str = "/var/lib/moorgate";
/// What a gateway writes about itself into its data directory when it is ready.
pub(crate) const GATEWAY_FILE: &str = "gateway.json";
/// A systemd credential of this name is the master key (systemd.exec(5), LoadCredential=).
const CREDENTIAL: &str = "master.key";

/// Which defaults hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// No `--config`: everything on loopback, and loopback destinations are allowed.
    Loopback,
    /// With `--config`: production.
    File,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where ended flows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FlowLog {
    /// Standard output.
    Stdout,
    /// Nowhere; `moorgate log` still has them.
    Off,
    /// The end of this file.
    File(PathBuf),
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) Zeroizing<String>);

/// A gateway's settings, checked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Which defaults held.
    pub(crate) profile: Profile,
    /// Absolute.
    pub(crate) data_dir: PathBuf,
    /// `sqlite` or a PostgreSQL's URL, which may hold a password.
    pub(crate) store_url: Box<str>,
    /// The master key itself; before its file.
    pub(crate) master_key: Option<Secret>,
    /// `None`: `data_dir/master.key`, made when missing.
    pub(crate) master_key_file: Option<PathBuf>,
    /// Of the master key before this one, until everything is sealed anew.
    pub(crate) previous_master_key_file: Option<PathBuf>,
    /// What this gateway is called among those on its store; `None`: after the host and the data directory.
    pub(crate) gateway_name: Option<Box<str>>,
    /// Each list may be empty: then that listener is not opened. Port 0 is the kernel's choice.
    pub(crate) inbound_http: Vec<SocketAddr>,
    /// As [`Config::inbound_http`].
    pub(crate) inbound_tls: Vec<SocketAddr>,
    /// Where load balancers in front are, whose connections begin with a PROXY header.
    pub(crate) load_balancers: Vec<IpNet>,
    /// As [`Config::inbound_http`].
    pub(crate) outbound_http: Vec<SocketAddr>,
    /// As [`Config::inbound_http`].
    pub(crate) outbound_socks: Vec<SocketAddr>,
    /// As [`Config::inbound_http`].
    pub(crate) outbound_https: Vec<SocketAddr>,
    /// As [`Config::inbound_http`].
    pub(crate) outbound_socks_tls: Vec<SocketAddr>,
    /// The host of the proxy URLs, and the name in the TLS listeners' certificate. `localhost` when none was given, in
    /// either profile: then the certificate carries the bound addresses too, and clients use one of these.
    pub(crate) hostname: Host,
    /// In the operator's order. Empty: the kernel chooses.
    pub(crate) egress: Vec<IpAddr>,
    /// Special networks that destinations may be in; those of the profile included.
    pub(crate) allowed_networks: Vec<IpNet>,
    /// Empty: the system's.
    pub(crate) resolvers: Vec<SocketAddr>,
    /// The limits.
    pub(crate) limits: Limits,
    /// How long usage is kept.
    pub(crate) keep_usage: Duration,
    /// The CA that certificates are ordered from.
    pub(crate) acme: Option<Acme>,
    /// How alarms are mailed; `None`: they are not.
    pub(crate) smtp: Option<MailSettings>,
    /// The zone in which routes have their targets.
    pub(crate) zone: Option<DomainName>,
    /// By what clients reach this gateway; empty: by what its inbound listeners are bound to.
    pub(crate) zone_addresses: Vec<IpAddr>,
    /// Where the zone is answered for. Port 0 is the kernel's choice.
    pub(crate) zone_listen: Vec<SocketAddr>,
    /// Who is asked about domains; empty: [`Config::resolvers`].
    pub(crate) zone_resolvers: Vec<SocketAddr>,
    /// Plain HTTP on a loopback address, TLS on any other.
    pub(crate) console: SocketAddr,
    /// The name in the console's certificate: there is one where the console is not on loopback.
    pub(crate) console_hostname: Option<DomainName>,
    /// Whether whoever comes to the console may make an account.
    pub(crate) sign_up: bool,
    /// The identity provider that lets people into the console.
    pub(crate) openid: Option<OpenIdKeys>,
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// Where flows are written.
    pub(crate) log_flows: FlowLog,
    /// How many flows are kept.
    pub(crate) keep_flows: u64,
}

/// `[acme]`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Acme {
    /// An `https://` URL.
    pub(crate) directory: Box<str>,
    /// `mailto:…`.
    pub(crate) contact: Option<Box<str>>,
    /// The CA's own root, where it is a private one.
    pub(crate) trust: Option<PathBuf>,
    /// Which of the CA's profiles.
    pub(crate) profile: Option<Box<str>>,
    /// Whose customer we are: a key's id, and the key.
    pub(crate) binding: Option<(Box<str>, SecretBytes)>,
}

/// `[openid]`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OpenIdKeys {
    /// An `https://` URL.
    pub(crate) issuer: Box<str>,
    /// Who we are there.
    pub(crate) client_id: Box<str>,
    /// What only it and we know.
    pub(crate) client_secret: Secret,
    /// What people call it; `None`: by its host.
    pub(crate) name: Option<Box<str>>,
    /// The root of its certificate, where that is a private one.
    pub(crate) trust: Option<PathBuf>,
    /// Whether its addresses count where it does not say that they were confirmed.
    pub(crate) trust_email: bool,
    /// Whose addresses come in by themselves.
    pub(crate) domains: Vec<DomainName>,
    /// Into which account, and as what.
    pub(crate) joining: Option<(Box<str>, Role)>,
}

/// Bytes that are never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretBytes(pub(crate) Zeroizing<Vec<u8>>);

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("profile", &self.profile)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Every address of every traffic listener.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (Listener, SocketAddr)> + '_ {
        Listener::ALL
            .into_iter()
            .flat_map(|listener| self.addresses(listener).iter().map(move |address| (listener, *address)))
    }

    /// The addresses of one listener.
    pub(crate) fn addresses(&self, listener: Listener) -> &[SocketAddr] {
        match listener {
            Listener::InboundHttp => &self.inbound_http,
            Listener::InboundTls => &self.inbound_tls,
            Listener::OutboundHttp => &self.outbound_http,
            Listener::OutboundSocks => &self.outbound_socks,
            Listener::OutboundHttps => &self.outbound_https,
            Listener::OutboundSocksTls => &self.outbound_socks_tls,
        }
    }

    /// Whether another machine could connect. Possible in the loopback profile too, by the environment.
    pub(crate) fn is_reachable_from_outside(&self) -> bool {
        self.listeners().any(|(_, address)| !address.ip().is_loopback())
    }
}

/// The variable that sets a listener's addresses, for whoever finds its port taken: `MOORGATE_OUTBOUND_HTTP`.
pub(crate) fn variable_of(listener: Listener) -> String {
    format!("MOORGATE_{}", listener.name().to_uppercase())
}

/// The variable that sets the console's address.
pub(crate) const CONSOLE_VARIABLE: &str = "MOORGATE_CONSOLE_LISTEN";

/// Reads the settings: `file` is `--config`, `data_dir` is `--data-dir`, `env` looks a variable up.
///
/// # Errors
/// The first thing that is wrong, from the top of the file, then the environment.
pub(crate) fn load(
    file: Option<&Path>,
    data_dir: Option<PathBuf>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let mut given = match file {
        Some(path) => file::read(path)?,
        None => HashMap::new(),
    };
    given.extend(env::read(env)?);
    let profile = if file.is_some() { Profile::File } else { Profile::Loopback };
    Settings { profile, given }.build(data_dir, env)
}

/// Checks a file by itself, without the environment: `moorgate config check FILE`.
///
/// # Errors
/// As [`load`].
pub(crate) fn check(path: &Path) -> Result<Config, ConfigError> {
    load(Some(path), None, &|_| None)
}

/// `$XDG_STATE_HOME/moorgate`, else `~/.local/state/moorgate`; `None` when neither variable says anything.
pub(crate) fn default_data_dir(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    // A relative path there is to be ignored (XDG Base Directory Specification).
    let absolute = |variable| env(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("moorgate"))
}

/// Where a command without `--data-dir` finds the gateway that it is to ask: in [`default_data_dir`], or where a gateway
/// with a file keeps its things, when only there is one.
pub(crate) fn gateway_dir(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    with_gateway(default_data_dir(env), Path::new(SYSTEM_DATA_DIR))
}

fn with_gateway(default: Option<PathBuf>, system: &Path) -> Option<PathBuf> {
    // What we may not look at may be there; whoever goes on to read it says what to do.
    let has = |dir: &Path| {
        dir.join(GATEWAY_FILE).try_exists().unwrap_or_else(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    match default {
        Some(dir) if has(&dir) => Some(dir),
        default => has(system).then(|| system.to_owned()).or(default),
    }
}

/// What was given, to be read key by key.
struct Settings {
    profile: Profile,
    given: HashMap<Key, Given>,
}

impl Settings {
    fn given(&self, section: &str, name: &str) -> Option<(Key, &Given)> {
        let key = keys::find(section, name)?;
        self.given.get(&key).map(|given| (key, given))
    }

    /// Reads one key, or takes its default.
    fn get<T>(
        &self,
        section: &str,
        name: &str,
        default: T,
        read: impl Fn(&Value) -> Result<T, Bad>,
    ) -> Result<T, ConfigError> {
        let Some((key, given)) = self.given(section, name) else { return Ok(default) };
        read(&given.value).map_err(|Bad { value, wanted }| ConfigError::Wrong {
            place: given.place.clone(),
            key: key.dotted().into(),
            // A mistyped secret is still one.
            value: if matches!(key.kind, Kind::Secret | Kind::Hidden) { "…".into() } else { value.into() },
            wanted,
        })
    }

    /// As [`Settings::get`], for a list whose members must differ.
    fn list<T: Eq + std::hash::Hash + std::fmt::Display>(
        &self,
        section: &str,
        name: &str,
        default: Vec<T>,
        read: impl Fn(&Value) -> Result<Vec<T>, Bad>,
    ) -> Result<Vec<T>, ConfigError> {
        let list = self.get(section, name, default, read)?;
        let mut seen = HashSet::new();
        match list.iter().find(|member| !seen.insert(*member)) {
            None => Ok(list),
            Some(twice) => Err(ConfigError::Twice {
                place: self.place(section, name),
                key: format!("{section}.{name}").into(),
                value: twice.to_string().into(),
            }),
        }
    }

    fn place(&self, section: &str, name: &str) -> Place {
        self.given(section, name).map_or(Place::Default, |(_, given)| given.place.clone())
    }

    fn build(self, data_dir: Option<PathBuf>, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let config = Config {
            profile: self.profile,
            data_dir: self.data_dir(data_dir, env)?,
            store_url: self.get("store", "url", "sqlite".into(), given::store)?,
            master_key: self.get("secrets", "master_key", None, given::master_key)?,
            master_key_file: self.master_key_file(env)?,
            previous_master_key_file: self.get("secrets", "previous_master_key_file", None, given::optional_path)?,
            gateway_name: self.get("cluster", "name", None, given::gateway_name)?,
            inbound_http: self.listener("inbound", "http", 80, 8080)?,
            inbound_tls: self.listener("inbound", "tls", 443, 8443)?,
            load_balancers: self.list("inbound", "trust_proxy_protocol_from", Vec::new(), given::cidrs)?,
            outbound_http: self.listener("outbound", "http", 9293, 9293)?,
            outbound_socks: self.listener("outbound", "socks", 1080, 1080)?,
            outbound_https: self.listener("outbound", "https", 9294, 9294)?,
            outbound_socks_tls: self.listener("outbound", "socks_tls", 1081, 1081)?,
            hostname: self.get("outbound", "hostname", None, given::hostname)?.unwrap_or_else(localhost),
            egress: self.list("egress", "addresses", Vec::new(), given::egress)?,
            allowed_networks: self.allowed_networks()?,
            resolvers: self.list("resolver", "servers", Vec::new(), given::resolvers)?,
            limits: self.limits()?,
            keep_usage: self.get("usage", "keep", KEEP_USAGE, given::time)?,
            acme: self.acme()?,
            smtp: self.smtp()?,
            zone: self.get("dns", "zone", None, given::zone)?,
            zone_addresses: self.list("dns", "addresses", Vec::new(), given::reached)?,
            zone_listen: self.list("dns", "listen", Vec::new(), given::listeners)?,
            zone_resolvers: self.list("dns", "resolvers", Vec::new(), given::resolvers)?,
            console: self.get("console", "listen", SocketAddr::from((Ipv4Addr::LOCALHOST, 7070)), given::listen)?,
            console_hostname: self.get("console", "hostname", None, given::console_hostname)?,
            sign_up: self.get("console", "sign_up", false, given::switch)?,
            openid: self.openid()?,
            log_format: self.get("log", "format", LogFormat::Text, given::log_format)?,
            log_flows: self.get("log", "flows", FlowLog::Stdout, given::flow_log)?,
            keep_flows: self.get("log", "keep", FLOWS_KEPT, given::flow_count)?,
        };
        clash(&config)?;
        if config.zone.is_none() && !config.zone_listen.is_empty() {
            return Err(ConfigError::NoZone { place: self.place("dns", "listen") });
        }
        if config.console_hostname.is_none() && !config.console.ip().is_loopback() {
            let address = config.console;
            return Err(ConfigError::ConsoleWithoutName { place: self.place("console", "listen"), address });
        }
        Ok(config)
    }

    fn data_dir(&self, flag: Option<PathBuf>, env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, ConfigError> {
        let path = match (flag, self.profile) {
            (Some(flag), _) => flag,
            (None, _) if self.given("", "data_dir").is_some() => {
                self.get("", "data_dir", PathBuf::new(), given::path)?
            }
            (None, Profile::File) => SYSTEM_DATA_DIR.into(),
            (None, Profile::Loopback) => default_data_dir(env).ok_or(ConfigError::NoDataDir)?,
        };
        // Fails only for an empty path or without a working directory; then the path says it best itself.
        Ok(std::path::absolute(&path).unwrap_or(path))
    }

    fn master_key_file(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<PathBuf>, ConfigError> {
        let named = self.get("secrets", "master_key_file", None, given::optional_path)?;
        let credential = || env("CREDENTIALS_DIRECTORY").map(|directory| Path::new(&directory).join(CREDENTIAL));
        Ok(named.or_else(|| credential().filter(|path| path.is_file())))
    }

    fn listener(
        &self,
        section: &str,
        name: &str,
        port: u16,
        loopback_port: u16,
    ) -> Result<Vec<SocketAddr>, ConfigError> {
        let default = match self.profile {
            Profile::Loopback => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, loopback_port))],
            Profile::File => vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()],
        };
        self.list(section, name, default, given::listeners)
    }

    fn allowed_networks(&self) -> Result<Vec<IpNet>, ConfigError> {
        let mut allowed = match self.profile {
            Profile::Loopback => Guard::loopback_profile(),
            Profile::File => Vec::new(),
        };
        allowed.extend(self.list("egress", "allow_private_destinations", Vec::new(), given::networks)?);
        Ok(allowed)
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        let default = Limits::default();
        let time = |name, default| self.get("limits", name, default, given::time);
        let count = |name, default| self.get("limits", name, default, given::count);
        Ok(Limits {
            head: time("head", default.head)?,
            handshake: time("handshake", default.handshake)?,
            resolve: time("resolve", default.resolve)?,
            connect: time("connect", default.connect)?,
            response: time("response", default.response)?,
            body: time("body", default.body)?,
            idle_request: time("idle_request", default.idle_request)?,
            idle_tunnel: time("idle_tunnel", default.idle_tunnel)?,
            drain: self.get("limits", "drain", default.drain, given::time_or_zero)?,
            connections: self
                .get("limits", "connections", default.connections, |value| given::count(value).map(Some))?,
            connections_per_account: count("connections_per_account", default.connections_per_account)?,
            unauthenticated_per_client: count("unauthenticated_per_client", default.unauthenticated_per_client)?,
            inbound_per_client: count("inbound_per_client", default.inbound_per_client)?,
        })
    }

    fn acme(&self) -> Result<Option<Acme>, ConfigError> {
        let directory = self.get("acme", "directory", None, given::directory)?;
        let contact = self.get("acme", "contact", None, given::contact)?;
        let trust = self.get("acme", "trust", None, given::optional_path)?;
        let profile = self.get("acme", "profile", None, given::optional_text)?;
        let key_id = self.get("acme", "eab_key_id", None, given::optional_text)?;
        let hmac_key = self.get("acme", "eab_hmac_key", None, given::hmac_key)?;
        let given = ["contact", "trust", "profile", "eab_key_id", "eab_hmac_key"];
        let is_given = |name: &&str| self.given("acme", name).is_some_and(|(_, given)| !given.value.is_none());
        let Some(directory) = directory else {
            let alone = given.into_iter().find(is_given);
            return alone.map_or(Ok(None), |name| {
                Err(ConfigError::NoDirectory { place: self.place("acme", name), key: format!("acme.{name}").into() })
            });
        };
        let binding = match (key_id, hmac_key) {
            (Some(key_id), Some(hmac_key)) => Some((key_id, hmac_key)),
            (None, None) => None,
            (Some(_), None) => return Err(ConfigError::HalfBinding { place: self.place("acme", "eab_key_id") }),
            (None, Some(_)) => return Err(ConfigError::HalfBinding { place: self.place("acme", "eab_hmac_key") }),
        };
        Ok(Some(Acme { directory, contact, trust, profile, binding }))
    }

    fn openid(&self) -> Result<Option<OpenIdKeys>, ConfigError> {
        const NAMES: [&str; 8] =
            ["client_id", "client_secret", "name", "trust", "trust_email", "domains", "account", "role"];
        let issuer = self.get("openid", "issuer", None, given::issuer)?;
        let client_id = self.get("openid", "client_id", None, given::optional_text)?;
        let client_secret = self.get("openid", "client_secret", None, given::client_secret)?;
        let name = self.get("openid", "name", None, given::label)?;
        let trust = self.get("openid", "trust", None, given::optional_path)?;
        let trust_email = self.get("openid", "trust_email", false, given::switch)?;
        let domains = self.list("openid", "domains", Vec::new(), given::email_domains)?;
        let account = self.get("openid", "account", None, given::optional_text)?;
        let role = self.get("openid", "role", None, given::role)?;
        let Some(issuer) = issuer else {
            let is_given = |name: &&str| self.given("openid", name).is_some_and(|(_, given)| !given.value.is_none());
            let alone = NAMES.into_iter().find(is_given);
            return alone.map_or(Ok(None), |name| {
                Err(ConfigError::NoIssuer { place: self.place("openid", name), key: format!("openid.{name}").into() })
            });
        };
        let Some((client_id, client_secret)) = client_id.zip(client_secret) else {
            return Err(ConfigError::NoClient { place: self.place("openid", "issuer") });
        };
        let parts = [!domains.is_empty(), account.is_some(), role.is_some()];
        if parts.contains(&true) && parts.contains(&false) {
            return Err(ConfigError::HalfJoining { place: self.place("openid", "issuer") });
        }
        let joining = account.zip(role);
        Ok(Some(OpenIdKeys { issuer, client_id, client_secret, name, trust, trust_email, domains, joining }))
    }
}

impl Settings {
    fn smtp(&self) -> Result<Option<MailSettings>, ConfigError> {
        let url = self.get("smtp", "url", None, given::smtp_url)?;
        let password_file = self.get("smtp", "password_file", None, given::optional_path)?;
        let from = self.get("smtp", "from", None, given::sender)?;
        let trust = self.get("smtp", "trust", None, given::optional_path)?;
        let Some(url) = url else {
            let is_given = |name: &&str| self.given("smtp", name).is_some_and(|(_, given)| !given.value.is_none());
            let alone = ["password_file", "from", "trust"].into_iter().find(is_given);
            return alone.map_or(Ok(None), |name| {
                Err(ConfigError::NoMailServer { place: self.place("smtp", name), key: format!("smtp.{name}").into() })
            });
        };
        let Some(from) = from else { return Err(ConfigError::NoSender { place: self.place("smtp", "url") }) };
        if url.has_user() != password_file.is_some() {
            return Err(ConfigError::HalfLogin { place: self.place("smtp", "url") });
        }
        Ok(Some(MailSettings { url, password_file, from, trust }))
    }
}

fn localhost() -> Host {
    // "localhost" is a name; the address stands in only to keep this free of a panic.
    DomainName::parse("localhost").map_or(Host::V4(Ipv4Addr::LOCALHOST), Host::Name)
}

/// Two listeners on one address are a mistake that bind(2) would report in poorer words.
fn clash(config: &Config) -> Result<(), ConfigError> {
    let dotted = |listener: Listener| listener.name().replacen('_', ".", 1);
    let named = config.listeners().map(|(listener, address)| (dotted(listener), address));
    let mut seen: HashMap<SocketAddr, String> = HashMap::new();
    let zone = config.zone_listen.iter().map(|address| ("dns.listen".to_owned(), *address));
    for (key, address) in named.chain([("console.listen".to_owned(), config.console)]).chain(zone) {
        if address.port() == 0 {
            continue;
        }
        if let Some(first) = seen.insert(address, key.clone()) {
            return Err(ConfigError::Clash { first: first.into(), second: key.into(), address });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
