//! Who is told: a webhook's URL, or an email address.

use http::Uri;
use lettre::Address;
use moorgate_fetch::Place;
use thiserror::Error;

/// The longest receiver, in bytes.
pub const MAX_RECEIVER: usize = 2_048;
/// The longest email address, in bytes (RFC 5321 §4.5.3.1.3, without the brackets).
const MAX_EMAIL: usize = 254;

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// A URL that is posted to.
    Webhook {
        /// As it was given.
        url: Uri,
        /// Where it leads.
        place: Place,
    },
    /// A mailbox.
    Email(Address),
}

/// Why a text names no receiver.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WrongReceiver {
    /// Neither.
    #[error("give an https:// URL, or an email address such as ops@example.com")]
    Neither,
    /// Not for a header.
    #[error("it has a space, a line break or a control byte in it; leave that out")]
    Blank,
    /// Too long.
    #[error("it is longer than {MAX_RECEIVER} bytes")]
    TooLong,
    /// Not a URL.
    #[error("it is no URL that can be posted to; write it as https://hooks.example.com/path")]
    Url,
    /// In the clear.
    #[error("what is told must not be read on the way: use https:// (http:// only on a loopback address)")]
    InTheClear,
    /// With a password.
    #[error("leave username and password out of the URL: the signature says who sends")]
    Userinfo,
}

impl Receiver {
    /// Reads what somebody has written.
    ///
    /// # Errors
    /// [`WrongReceiver`].
    pub fn parse(text: &str) -> Result<Self, WrongReceiver> {
        let text = text.trim_matches(' ');
        if text.len() > MAX_RECEIVER {
            return Err(WrongReceiver::TooLong);
        }
        // Each could end a header, or begin another.
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(WrongReceiver::Blank);
        }
        if text.contains("://") {
            return webhook(text);
        }
        let address: Address = text.parse().map_err(|_| WrongReceiver::Neither)?;
        let is_named = text.len() <= MAX_EMAIL && address.domain().contains('.') && text.is_ascii();
        if is_named { Ok(Self::Email(address)) } else { Err(WrongReceiver::Neither) }
    }

    /// Whether it is a URL.
    pub fn is_webhook(&self) -> bool {
        matches!(self, Self::Webhook { .. })
    }
}

fn webhook(text: &str) -> Result<Receiver, WrongReceiver> {
    // A fragment is for browsers.
    let url: Uri = text.split('#').next().unwrap_or_default().parse().map_err(|_| WrongReceiver::Url)?;
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(WrongReceiver::Userinfo);
    }
    match (Place::of(&url), url.scheme_str()) {
        (Ok(place), _) => Ok(Receiver::Webhook { url, place }),
        (Err(_), Some("http")) => Err(WrongReceiver::InTheClear),
        (Err(_), _) => Err(WrongReceiver::Url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_a_url_or_an_address_and_nothing_that_a_header_would_break_at() {
        for good in [
            "https://hooks.example.com/moorgate?team=1",
            "https://[2001:db8::1]:8443/",
            "http://127.0.0.1:9000/x",
            "ops@example.com",
            " ops+moorgate@mail.example.com ",
        ] {
            assert!(Receiver::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", WrongReceiver::Neither),
            ("ops", WrongReceiver::Neither),
            ("ops@localhost", WrongReceiver::Neither),
            ("a@b@example.com", WrongReceiver::Neither),
            ("ops@example.com\r\nBcc: all@example.com", WrongReceiver::Blank),
            ("ops@example.com\n", WrongReceiver::Blank),
            ("Ops <ops@example.com>", WrongReceiver::Blank),
            ("<ops@example.com>", WrongReceiver::Neither),
            ("https://a.example/\r\nX: y", WrongReceiver::Blank),
            ("http://hooks.example.com/", WrongReceiver::InTheClear),
            ("http://169.254.169.254/latest", WrongReceiver::InTheClear),
            ("https://user:word@a.example/", WrongReceiver::Userinfo),
            ("ftp://a.example/", WrongReceiver::Url),
            ("javascript://a.example/%0aalert(1)", WrongReceiver::Url),
            ("https:///path", WrongReceiver::Url),
        ] {
            assert_eq!(Receiver::parse(bad), Err(why), "{bad:?}");
        }
        assert_eq!(Receiver::parse(&format!("https://a.example/{}", "x".repeat(2_048))), Err(WrongReceiver::TooLong));
    }
}
