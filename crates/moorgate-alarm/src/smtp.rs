//! `[smtp]`: the server that mail is handed to, and who it is from.

use std::{fmt, path::PathBuf, str::FromStr};

use lettre::message::Mailbox;
use moorgate_fetch::Place;
use moorgate_wire::host::Host;
use percent_encoding::percent_decode_str;
use thiserror::Error;

/// How the connection is kept from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// TLS before anything is said that matters, or nothing is said (RFC 3207).
    StartTls,
    /// None: it does not leave this machine.
    Loopback,
}

/// `smtps://USER@HOST:PORT`, `smtp+starttls://…`, or `smtp://…` on a loopback address.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpUrl {
    pub(crate) security: Security,
    pub(crate) user: Option<String>,
    pub(crate) place: Place,
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpUrl").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Why a URL names no mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WrongSmtp {
    /// Not such a URL.
    #[error("smtps://USER@HOST:465 or smtp+starttls://USER@HOST:587")]
    Url,
    /// With a password.
    #[error("the URL without the password, which stands in a file that smtp.password_file names")]
    Password,
    /// In the clear.
    #[error("smtps:// or smtp+starttls://, as smtp:// is for a server on a loopback address alone")]
    InTheClear,
}

impl SmtpUrl {
    /// Whether it names somebody, who has a password.
    pub fn has_user(&self) -> bool {
        self.user.is_some()
    }
}

impl FromStr for SmtpUrl {
    type Err = WrongSmtp;

    fn from_str(text: &str) -> Result<Self, WrongSmtp> {
        let (scheme, rest) = text.split_once("://").ok_or(WrongSmtp::Url)?;
        let (security, usual) = match scheme {
            "smtps" => (Security::Tls, 465),
            "smtp+starttls" => (Security::StartTls, 587),
            "smtp" => (Security::Loopback, 25),
            _ => return Err(WrongSmtp::Url),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, address) = rest.rsplit_once('@').map_or((None, rest), |(user, address)| (Some(user), address));
        if user.is_some_and(|user| user.contains(':')) {
            return Err(WrongSmtp::Password);
        }
        let (host, port) = match address.rsplit_once(':') {
            // Within brackets it is an IPv6 address's.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| WrongSmtp::Url)?),
            _ => (address, usual),
        };
        let host = Host::parse(host).map_err(|_| WrongSmtp::Url)?;
        let is_here = match &host {
            Host::Name(name) => name.as_str() == "localhost",
            Host::V4(address) => address.is_loopback(),
            Host::V6(address) => address.is_loopback(),
        };
        if security == Security::Loopback && !is_here {
            return Err(WrongSmtp::InTheClear);
        }
        let decoded = |user: &str| percent_decode_str(user).decode_utf8().map(|user| user.into_owned()).ok();
        let user = match user {
            Some(user) => Some(decoded(user).filter(|user| !user.is_empty()).ok_or(WrongSmtp::Url)?),
            None => None,
        };
        Ok(Self { security, user, place: Place { host, port, tls: security == Security::Tls } })
    }
}

/// Who mail is from: an address, or a name and an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender(pub(crate) Mailbox);

impl FromStr for Sender {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.chars().any(char::is_control) {
            return Err(());
        }
        text.parse().map(Self).map_err(|_| ())
    }
}

/// `[smtp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSettings {
    /// The server.
    pub url: SmtpUrl,
    /// Where the password is, which is read anew for each mail; `None`: there is none.
    pub password_file: Option<PathBuf>,
    /// Who mail is from.
    pub from: Sender,
    /// The CA that signed the server's certificate, in PEM; `None`: one that the system trusts.
    pub trust: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_with_what_protects_the_way_to_it() {
        let read = |text: &str| {
            text.parse::<SmtpUrl>().map(|url| {
                let user = url.user.clone().unwrap_or_default();
                format!("{:?} {user} {} {}", url.security, url.place.host, url.place.port)
            })
        };
        for (text, expected) in [
            ("smtps://ops@mail.example.com", "Tls ops mail.example.com 465"),
            ("smtps://ops%40example.com@mail.example.com:2465/", "Tls ops@example.com mail.example.com 2465"),
            ("smtps://ops@example.com@mail.example.com", "Tls ops@example.com mail.example.com 465"),
            ("smtp+starttls://mail.example.com", "StartTls  mail.example.com 587"),
            ("smtp+starttls://u@[2001:db8::1]:25", "StartTls u 2001:db8::1 25"),
            ("smtp://127.0.0.1", "Loopback  127.0.0.1 25"),
            ("smtp://localhost:1025", "Loopback  localhost 1025"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("mail.example.com", WrongSmtp::Url),
            ("https://mail.example.com", WrongSmtp::Url),
            ("smtps://", WrongSmtp::Url),
            ("smtps://@mail.example.com", WrongSmtp::Url),
            ("smtps://mail.example.com:x", WrongSmtp::Url),
            ("smtps://ops:word@mail.example.com", WrongSmtp::Password),
            ("smtp://mail.example.com", WrongSmtp::InTheClear),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn mail_is_from_one_address_with_or_without_a_name() {
        for good in ["alarms@example.com", "Moorgate <alarms@example.com>"] {
            assert!(good.parse::<Sender>().is_ok(), "{good}");
        }
        for bad in ["", "alarms", "a@example.com\r\nBcc: b@example.com", "a@example.com, b@example.com"] {
            assert!(bad.parse::<Sender>().is_err(), "{bad:?}");
        }
    }
}
