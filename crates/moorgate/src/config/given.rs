//! Values as they were given, and how each kind of key reads its own.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ipnet::IpNet;
use moorgate_alarm::{Sender, SmtpUrl, WrongSmtp};
use moorgate_contract::guard::Guard;
use moorgate_control::{Role, is_public_suffix};
use moorgate_dns::zone::Zone;
use moorgate_wire::{host::Host, name::DomainName};

use super::{
    FlowLog, LogFormat, Secret, SecretBytes,
    error::{Place, Wanted},
};

/// The port of DNS (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A value of the file, or a variable that still is to be read as what its key needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(String),
    Bool(bool),
    List(Vec<Value>),
    /// Of a kind that no key has: shown as it stands.
    Odd(String),
    Variable(String),
}

/// What was wrong with a value.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) value: String,
    pub(super) wanted: Wanted,
}

impl Value {
    /// As an error shows it.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Variable(text) if text.is_empty() => "empty".to_owned(),
            Self::Integer(text) | Self::Odd(text) | Self::Variable(text) => text.clone(),
            Self::Bool(value) => value.to_string(),
            Self::List(members) => {
                let members: Vec<_> = members.iter().map(Self::shown).collect();
                format!("[{}]", members.join(", "))
            }
        }
    }

    fn bad(&self, wanted: Wanted) -> Bad {
        Bad { value: self.shown(), wanted }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Variable(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// Whether it says what leaving the key out says.
    pub(super) fn is_none(&self) -> bool {
        match self {
            Self::Text(text) | Self::Variable(text) => text.trim().is_empty(),
            Self::List(members) => members.is_empty(),
            Self::Integer(_) | Self::Bool(_) | Self::Odd(_) => false,
        }
    }

    fn one<T>(&self, wanted: Wanted, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Bad> {
        match self.text() {
            Some(text) => read(text).ok_or_else(|| self.bad(wanted)),
            None => Err(self.bad(wanted)),
        }
    }

    fn many<T>(&self, wanted: &Wanted, read: impl Fn(&str) -> Result<T, Wanted>) -> Result<Vec<T>, Bad> {
        let member = |text: &str| {
            let text = text.trim();
            read(text).map_err(|wanted| Bad { value: format!("{text:?}"), wanted })
        };
        match self {
            Self::List(members) => members
                .iter()
                .map(|value| match value {
                    Self::Text(text) => member(text),
                    odd => Err(odd.bad(wanted.clone())),
                })
                .collect(),
            Self::Variable(text) if text.trim().is_empty() => Ok(Vec::new()),
            Self::Variable(text) => text.split(',').map(member).collect(),
            _ => Err(self.bad(Wanted::List)),
        }
    }
}

pub(super) fn path(value: &Value) -> Result<PathBuf, Bad> {
    value.one(Wanted::Path, |text| (!text.is_empty()).then(|| PathBuf::from(text)))
}

/// `None` when it is empty.
pub(super) fn optional_path(value: &Value) -> Result<Option<PathBuf>, Bad> {
    value.one(Wanted::Path, |text| Some((!text.is_empty()).then(|| PathBuf::from(text))))
}

pub(super) fn store(value: &Value) -> Result<Box<str>, Bad> {
    let is_url = |text: &str| text.starts_with("postgres://") || text.starts_with("postgresql://");
    value.one(Wanted::Store, |text| (text == "sqlite" || is_url(text)).then(|| text.into()))
}

pub(super) fn master_key(value: &Value) -> Result<Option<Secret>, Bad> {
    let is_key = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    value.one(Wanted::MasterKey, |text| is_key(text).then(|| Some(Secret(text.to_owned().into()))))
}

/// `[a-z0-9-]`, such as a host's name.
pub(super) fn gateway_name(value: &Value) -> Result<Option<Box<str>>, Bad> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = |text: &str| (1..=63).contains(&text.len()) && text.bytes().all(good);
    value.one(Wanted::GatewayName, |text| is_name(text).then(|| Some(text.into())))
}

pub(super) fn listen(value: &Value) -> Result<SocketAddr, Bad> {
    value.one(Wanted::Listen, |text| text.parse().ok())
}

pub(super) fn listeners(value: &Value) -> Result<Vec<SocketAddr>, Bad> {
    value.many(&Wanted::Listen, |text| text.parse().map_err(|_| Wanted::Listen))
}

/// `None` when it is empty.
pub(super) fn hostname(value: &Value) -> Result<Option<Host>, Bad> {
    value.one(Wanted::Hostname, |text| if text.is_empty() { Some(None) } else { Host::parse(text).ok().map(Some) })
}

pub(super) fn egress(value: &Value) -> Result<Vec<IpAddr>, Bad> {
    value.many(&Wanted::Egress, |text| match text.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() && !address.is_multicast() => Ok(address.to_canonical()),
        _ => Err(Wanted::Egress),
    })
}

/// `None` when it is empty.
pub(super) fn directory(value: &Value) -> Result<Option<Box<str>>, Bad> {
    let is_url = |text: &str| text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && is_word(rest));
    optional(value, Wanted::Directory, is_url)
}

/// `None` when it is empty.
pub(super) fn contact(value: &Value) -> Result<Option<Box<str>>, Bad> {
    let is_contact = |text: &str| text.strip_prefix("mailto:").is_some_and(|rest| rest.contains('@') && is_word(rest));
    optional(value, Wanted::Contact, is_contact)
}

/// `None` when it is empty. One with a password in it is not shown.
pub(super) fn smtp_url(value: &Value) -> Result<Option<SmtpUrl>, Bad> {
    let Some(text) = value.text() else { return Err(value.bad(Wanted::MailServer(WrongSmtp::Url))) };
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|wrong| Bad {
        value: if text.contains('@') { "…".to_owned() } else { value.shown() },
        wanted: Wanted::MailServer(wrong),
    })
}

/// `None` when it is empty.
pub(super) fn sender(value: &Value) -> Result<Option<Sender>, Bad> {
    value.one(Wanted::Sender, |text| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) })
}

/// `None` when it is empty.
pub(super) fn optional_text(value: &Value) -> Result<Option<Box<str>>, Bad> {
    optional(value, Wanted::Text, is_word)
}

/// `None` when it is empty.
pub(super) fn hmac_key(value: &Value) -> Result<Option<SecretBytes>, Bad> {
    value.one(Wanted::HmacKey, |text| {
        if text.is_empty() {
            return Some(None);
        }
        let key = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok().filter(|key| !key.is_empty())?;
        Some(Some(SecretBytes(key.into())))
    })
}

fn optional(value: &Value, wanted: Wanted, fits: impl Fn(&str) -> bool) -> Result<Option<Box<str>>, Bad> {
    value.one(wanted, |text| if text.is_empty() { Some(None) } else { fits(text).then(|| Some(text.into())) })
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn switch(value: &Value) -> Result<bool, Bad> {
    match value {
        Value::Bool(on) => Ok(*on),
        Value::Variable(text) if text == "true" || text == "false" => Ok(text == "true"),
        other => Err(other.bad(Wanted::Switch)),
    }
}

/// `None` when it is empty.
pub(super) fn console_hostname(value: &Value) -> Result<Option<DomainName>, Bad> {
    value.one(Wanted::ConsoleHostname, |text| {
        if text.is_empty() { Some(None) } else { DomainName::parse(text).ok().map(Some) }
    })
}

/// `None` when it is empty.
pub(super) fn issuer(value: &Value) -> Result<Option<Box<str>>, Bad> {
    let is_url = |text: &str| text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && is_word(rest));
    optional(value, Wanted::Issuer, is_url)
}

/// `None` when it is empty. What people read: spaces are well.
pub(super) fn label(value: &Value) -> Result<Option<Box<str>>, Bad> {
    let is_label = |text: &str| text.chars().count() <= 40 && !text.chars().any(char::is_control);
    optional(value, Wanted::Label, is_label)
}

/// `None` when it is empty.
pub(super) fn client_secret(value: &Value) -> Result<Option<Secret>, Bad> {
    let fits = |text: &str| text.chars().all(|c| !c.is_control());
    value.one(Wanted::ClientSecret, |text| {
        if text.is_empty() { Some(None) } else { fits(text).then(|| Some(Secret(text.to_owned().into()))) }
    })
}

/// Of addresses: what stands behind the `@`.
pub(super) fn email_domains(value: &Value) -> Result<Vec<DomainName>, Bad> {
    value.many(&Wanted::EmailDomain, |text| DomainName::parse(text).map_err(|_| Wanted::EmailDomain))
}

/// `None` when it is empty.
pub(super) fn role(value: &Value) -> Result<Option<Role>, Bad> {
    value.one(Wanted::Role, |text| if text.is_empty() { Some(None) } else { Role::from_name(text).map(Some) })
}

/// `None` when it is empty.
pub(super) fn zone(value: &Value) -> Result<Option<DomainName>, Bad> {
    let fits = |name: &DomainName| Zone::new(name, 0, &BTreeSet::new(), &BTreeSet::new()).is_ok();
    let is_own = |name: &DomainName| !is_public_suffix(name);
    value.one(Wanted::Zone, |text| {
        if text.is_empty() { Some(None) } else { DomainName::parse(text).ok().filter(fits).filter(is_own).map(Some) }
    })
}

/// Where clients reach this gateway.
pub(super) fn reached(value: &Value) -> Result<Vec<IpAddr>, Bad> {
    value.many(&Wanted::Reached, |text| match text.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() && !address.is_multicast() => Ok(address.to_canonical()),
        _ => Err(Wanted::Reached),
    })
}

pub(super) fn resolvers(value: &Value) -> Result<Vec<SocketAddr>, Bad> {
    value.many(&Wanted::Resolver, |text| {
        let bare = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
        text.parse().or_else(|_| bare()).map_err(|_| Wanted::Resolver)
    })
}

/// The special networks that destinations may be in.
pub(super) fn networks(value: &Value) -> Result<Vec<IpNet>, Bad> {
    match value {
        Value::Bool(false) => return Ok(Vec::new()),
        Value::Bool(true) => return Ok(Guard::private_networks()),
        Value::Variable(text) if text.trim() == "false" => return Ok(Vec::new()),
        Value::Variable(text) if text.trim() == "true" => return Ok(Guard::private_networks()),
        Value::List(_) | Value::Variable(_) => {}
        odd => return Err(odd.bad(Wanted::Networks)),
    }
    value.many(&Wanted::Networks, network)
}

/// Networks, and nothing but these.
pub(super) fn cidrs(value: &Value) -> Result<Vec<IpNet>, Bad> {
    value.many(&Wanted::Cidr, |text| {
        network(text).map_err(|wanted| match wanted {
            Wanted::Networks => Wanted::Cidr,
            wanted => wanted,
        })
    })
}

fn network(text: &str) -> Result<IpNet, Wanted> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    match text.parse::<IpNet>() {
        Ok(net) if net.trunc() == net => Ok(net),
        Ok(net) => Err(Wanted::Trunk(net.trunc())),
        Err(_) => Err(Wanted::Networks),
    }
}

pub(super) fn time(value: &Value) -> Result<Duration, Bad> {
    value.one(Wanted::Time, |text| duration(text).filter(|time| !time.is_zero()))
}

pub(super) fn time_or_zero(value: &Value) -> Result<Duration, Bad> {
    value.one(Wanted::TimeOrZero, duration)
}

pub(super) fn count(value: &Value) -> Result<usize, Bad> {
    let (Value::Integer(text) | Value::Variable(text)) = value else { return Err(value.bad(Wanted::Count)) };
    text.trim().parse().ok().filter(|count| *count > 0).ok_or_else(|| value.bad(Wanted::Count))
}

pub(super) fn flow_count(value: &Value) -> Result<u64, Bad> {
    count(value).map(|count| u64::try_from(count).unwrap_or(u64::MAX))
}

pub(super) fn log_format(value: &Value) -> Result<LogFormat, Bad> {
    value.one(Wanted::LogFormat, |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    })
}

pub(super) fn flow_log(value: &Value) -> Result<FlowLog, Bad> {
    value.one(Wanted::Flows, |text| match text {
        "stdout" => Some(FlowLog::Stdout),
        "off" => Some(FlowLog::Off),
        // A slash tells a path from a word that was mistyped.
        path if path.contains('/') => Some(FlowLog::File(path.into())),
        _ => None,
    })
}

/// Reads `500ms`, `10s`, `5m`, `1h` or `7d`. `None` for all else, and for more than 100 years.
fn duration(text: &str) -> Option<Duration> {
    const CENTURY_MS: u64 = 100 * 365 * 86_400_000;
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let all = number.parse::<u64>().ok()?.checked_mul(milliseconds)?;
    (all <= CENTURY_MS).then(|| Duration::from_millis(all))
}
