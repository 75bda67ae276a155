//! What can be wrong with a gateway's settings.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use ipnet::IpNet;
use moorgate_alarm::WrongSmtp;
use moorgate_wire::visible::visible;
use thiserror::Error;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the gateway's file.
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// In the environment.
    Env {
        /// The variable's name.
        variable: String,
    },
    /// Nowhere: it is the default of a profile.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Env { variable } => write!(f, "environment variable {variable}"),
            Self::Default => f.write_str("defaults"),
        }
    }
}

/// What would have been right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Wanted {
    /// A list.
    #[error("a list in brackets, such as [\"127.0.0.1:9293\"]")]
    List,
    /// A section.
    #[error("a section: write [{0}] on a line of its own and its keys below")]
    Section(Box<str>),
    /// An address to listen on.
    #[error("an address and a port, such as 127.0.0.1:9293 or [::]:9293")]
    Listen,
    /// An egress address.
    #[error("an IP address of this gateway, such as 203.0.113.10")]
    Egress,
    /// A CA's directory.
    #[error("the https:// URL of a CA's ACME directory, such as https://acme-v02.api.letsencrypt.org/directory")]
    Directory,
    /// Whom a CA writes to.
    #[error("where the CA may write to, such as mailto:ops@example.com")]
    Contact,
    /// A mail server.
    #[error("{0}")]
    MailServer(WrongSmtp),
    /// Whom mail is from.
    #[error("an email address, such as alarms@example.com or Moorgate <alarms@example.com>")]
    Sender,
    /// A word.
    #[error("a word of visible characters")]
    Text,
    /// An external account's key.
    #[error("a key in base64url, as the CA gave it")]
    HmacKey,
    /// The zone of targets.
    #[error("the name of a zone of your own with room for longer names in it, such as edge.example.com")]
    Zone,
    /// Where clients come.
    #[error("an IP address by which clients reach this gateway, such as 203.0.113.10")]
    Reached,
    /// A resolver.
    #[error("a resolver's IP address, such as 192.0.2.53 or 192.0.2.53:5353")]
    Resolver,
    /// `true`, `false` or networks.
    #[error("true, false or a list of networks, such as [\"10.0.0.0/8\"]")]
    Networks,
    /// A network.
    #[error("a network in CIDR form, such as 10.0.0.0/8, or an address")]
    Cidr,
    /// A network whose host bits are zero.
    #[error("a network; the one around it is {0}")]
    Trunk(IpNet),
    /// A name.
    #[error("a domain name or an IP address, such as proxy.example.com")]
    Hostname,
    /// Yes or no.
    #[error("true or false")]
    Switch,
    /// The console's name.
    #[error("a name that browsers reach the console by, such as console.example.com")]
    ConsoleHostname,
    /// An identity provider.
    #[error("the https:// URL of an OpenID Connect provider, as it names itself, such as https://id.example.com")]
    Issuer,
    /// What people call something.
    #[error("a name of at most 40 visible characters")]
    Label,
    /// A client's secret.
    #[error("the client's secret, as the identity provider gave it")]
    ClientSecret,
    /// The part of addresses behind the `@`.
    #[error("what stands behind the @ of your people's addresses, such as example.com")]
    EmailDomain,
    /// What somebody may do.
    #[error("viewer, member or owner")]
    Role,
    /// A time.
    #[error("a time with its unit, such as 500ms, 10s, 5m, 1h or 7d, above zero")]
    Time,
    /// A time that may be none.
    #[error("a time with its unit, such as 500ms, 10s, 5m, 1h or 7d; 0s for none")]
    TimeOrZero,
    /// A count.
    #[error("a whole number, at least 1")]
    Count,
    /// A path.
    #[error("the path of a file or directory")]
    Path,
    /// A log format.
    #[error("text or json")]
    LogFormat,
    /// Where flows go.
    #[error("stdout, off or a file's path with a slash in it, such as /var/log/moorgate/flows.log")]
    Flows,
    /// The only store there is.
    #[error("sqlite or postgres://USER:PASSWORD@HOST/DATABASE")]
    Store,
    /// A master key.
    #[error("64 hexadecimal digits")]
    MasterKey,
    /// A gateway's name.
    #[error("a name of letters, digits, hyphens and dots, such as gateway-1")]
    GatewayName,
}

/// Why the settings can't be used. One line each, with what to do.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the gateway's file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{place} is not valid TOML: {}", visible(&**message))]
    Syntax {
        /// Where it stops being TOML.
        place: Place,
        /// What the parser said.
        message: Box<str>,
    },
    /// Something for a CA that is not named.
    #[error("{place}: {key} is for a CA; name it in acme.directory")]
    NoDirectory {
        /// Where.
        place: Place,
        /// The key.
        key: Box<str>,
    },
    /// Something for an identity provider that is not named.
    #[error("{place}: {key} is for an identity provider; name it in openid.issuer")]
    NoIssuer {
        /// Where.
        place: Place,
        /// The key.
        key: Box<str>,
    },
    /// An identity provider that we can't talk to.
    #[error(
        "{place}: openid.issuer wants openid.client_id and openid.client_secret too; register a client there whose redirect URI is the console's URL with /sign-in/openid/back"
    )]
    NoClient {
        /// Where.
        place: Place,
    },
    /// Whom to let in as somebody new, but not as what, or the other way around.
    #[error(
        "{place}: openid.domains, openid.account and openid.role go together: whose addresses come in by themselves, into which account, as what"
    )]
    HalfJoining {
        /// Where.
        place: Place,
    },
    /// One of two that go together.
    #[error("{place}: acme.eab_key_id and acme.eab_hmac_key go together; give both, as the CA did")]
    HalfBinding {
        /// Where.
        place: Place,
    },
    /// Something for a mail server that is not named.
    #[error("{place}: {key} is for a mail server; name it in smtp.url")]
    NoMailServer {
        /// Where.
        place: Place,
        /// The key.
        key: Box<str>,
    },
    /// Mail from nobody.
    #[error("{place}: say whom mail is from in smtp.from, such as alarms@example.com")]
    NoSender {
        /// Where.
        place: Place,
    },
    /// One of two that go together.
    #[error("{place}: the user in smtp.url and smtp.password_file go together; give both, or neither")]
    HalfLogin {
        /// Where.
        place: Place,
    },
    /// A server without a zone.
    #[error("{place}: dns.listen answers for a zone; name it in dns.zone")]
    NoZone {
        /// Where.
        place: Place,
    },
    /// A key or section that does not exist.
    #[error("{place}: there is no {what} {}; did you mean {nearest}?", visible(&**written))]
    Unknown {
        /// Where.
        place: Place,
        /// `key` or `section`.
        what: &'static str,
        /// As written, `section.name`.
        written: Box<str>,
        /// The nearest right one.
        nearest: Box<str>,
    },
    /// A key of a later version.
    #[error("{place}: {key} is not supported by this version; leave it out")]
    Later {
        /// Where.
        place: Place,
        /// The key.
        key: Box<str>,
    },
    /// A value that the key can't have.
    #[error("{place}: {key} is {}, but must be {wanted}", visible(&**value))]
    Wrong {
        /// Where.
        place: Place,
        /// The key.
        key: Box<str>,
        /// The value or, in a list, the member that is wrong.
        value: Box<str>,
        /// What would be right.
        wanted: Wanted,
    },
    /// An address twice in one list.
    #[error("{place}: {key} has {value} twice; once is enough")]
    Twice {
        /// Where.
        place: Place,
        /// The key.
        key: Box<str>,
        /// What is there twice.
        value: Box<str>,
    },
    /// Two listeners on one address.
    #[error("{first} and {second} both want {address}; give one of them another port")]
    Clash {
        /// A key.
        first: Box<str>,
        /// Another key.
        second: Box<str>,
        /// The address.
        address: SocketAddr,
    },
    /// A console that others could read along with.
    #[error(
        "{place}: console.listen is {address}, and off loopback the console speaks TLS alone: name it in console.hostname, \
         or write 127.0.0.1:{} and reach it through an SSH tunnel", address.port()
    )]
    ConsoleWithoutName {
        /// Where.
        place: Place,
        /// What was given.
        address: SocketAddr,
    },
    /// A secret given in two ways.
    #[error("both {variable} and {variable}_FILE are set; unset one of them")]
    TwoSecrets {
        /// The variable.
        variable: Box<str>,
    },
    /// A secret's file can't be read.
    #[error("cannot read {}, which {variable} names", path.display())]
    SecretUnreadable {
        /// The variable.
        variable: Box<str>,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No directory to keep things in.
    #[error("no data directory: neither HOME nor XDG_STATE_HOME is set; give one with --data-dir")]
    NoDataDir,
}
