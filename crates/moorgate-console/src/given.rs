//! What people paste, as they mean it.

use moorgate_wire::host::{Asked, Host, HostPort};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What of a path stays as it is in code: nothing that a shell or a language reads as its own.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b'%').remove(b'@');

/// A domain: with a scheme, a path or a dot at its end it is the same one, and with letters of its own alphabet it is what
/// DNS has for it (IDNA).
pub(crate) fn domain(text: &str) -> String {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split(['/', '?', '#']).next().unwrap_or_default().trim_end_matches('.');
    match idna::domain_to_ascii(text) {
        Ok(ascii) if !text.is_ascii() => ascii,
        _ => text.to_owned(),
    }
}

/// A forwarding URL: without a scheme it is HTTPS.
pub(crate) fn forwarding_url(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

/// `host:port`: of a URL the port is its scheme's, where it has none, and alone a host means HTTPS.
pub(crate) fn target(text: &str) -> String {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
        let in_brackets = !before.contains(':') || before.ends_with(']');
        in_brackets && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    match (host.is_empty() || has_port, scheme) {
        (true, _) => host.to_owned(),
        (false, "http") => format!("{host}:80"),
        (false, _) => format!("{host}:443"),
    }
}

/// Where an app goes, as somebody typed it: of its text nothing is left that could act in code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) host: Host,
    /// `None`: that of whoever goes there.
    pub(crate) port: Option<u16>,
    /// Whether HTTP goes there in the clear.
    pub(crate) plain: bool,
    /// Begins with `/`.
    pub(crate) path: String,
}

impl Destination {
    /// Reads a URL, or a host with or without a port; `None`: nothing was typed.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let authority = match idna::domain_to_ascii(authority) {
            Ok(ascii) if !authority.is_ascii() => ascii,
            _ => authority.to_owned(),
        };
        // A name in capitals is the same name.
        let authority = authority.to_ascii_lowercase();
        let is_v6 = authority.parse::<std::net::Ipv6Addr>().is_ok();
        let has_port = !is_v6 && authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let (host, port) = if has_port {
            let Asked { host, port, .. } =
                Asked::from_authority(&authority, None).map_err(|error| error.to_string())?;
            (host.map_err(|error| error.to_string())?, Some(port))
        } else {
            (Host::parse(authority.trim_end_matches('.')).map_err(|error| error.to_string())?, None)
        };
        let path = utf8_percent_encode(path, PATH).to_string();
        let path = if path.is_empty() { "/".to_owned() } else { path };
        Ok(Some(Self { host, port, plain: scheme == "http" || (scheme == "https" && port == Some(80)), path }))
    }

    /// `host:port`, by this port where none was typed.
    pub(crate) fn authority(&self, port: u16) -> String {
        HostPort { host: self.host.clone(), port: self.port.unwrap_or(port) }.to_string()
    }

    /// The port for HTTP.
    pub(crate) fn web_port(&self) -> u16 {
        self.port.unwrap_or(if self.plain { 80 } else { 443 })
    }

    /// As a URL. A port that its scheme has anyway is left out.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.plain { "http" } else { "https" };
        let host = match &self.host {
            Host::V6(address) => format!("[{address}]"),
            host => host.to_string(),
        };
        let own = if self.plain { 80 } else { 443 };
        let port = self.port.filter(|port| *port != own).map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_host_and_nothing_that_acts_in_code() {
        let url = |text: &str| Destination::parse(text).map(|to| to.map(|to| to.url()));
        for (given, meant) in [
            ("api.example.com", "https://api.example.com/"),
            ("API.example.com.", "https://api.example.com/"),
            ("api.example.com:8443", "https://api.example.com:8443/"),
            ("api.example.com:80", "http://api.example.com/"),
            ("http://api.example.com", "http://api.example.com/"),
            (" https://api.example.com:443/v1/a-b?key=secret#x ", "https://api.example.com/v1/a-b"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
            ("[2001:db8::1]:5432", "https://[2001:db8::1]:5432/"),
            ("2001:db8::1", "https://[2001:db8::1]/"),
            ("a.example/$(id)`\"'\\#{x}", "https://a.example/%24%28id%29%60%22%27%5C"),
        ] {
            assert_eq!(url(given), Ok(Some(meant.to_owned())), "{given}");
        }
        assert_eq!(url("  "), Ok(None));
        for bad in ["a b", "a$(id).example", "x\"y", "0x7f.1", "a.example:http", "a.example:0", "me@a.example"] {
            assert!(url(bad).is_err(), "{bad}");
        }
        let at = |text: &str| Destination::parse(text).unwrap().unwrap().authority(5432);
        assert_eq!((&*at("db.example"), &*at("db.example:6000")), ("db.example:5432", "db.example:6000"));
    }

    #[test]
    fn what_is_pasted_is_taken_as_it_is_meant() {
        for (given, meant) in [
            (" app.example.com ", "app.example.com"),
            ("https://app.example.com/login?x", "app.example.com"),
            ("app.example.com.", "app.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.example.com", "*.example.com"),
            ("a b", "a b"),
            ("", ""),
        ] {
            assert_eq!(domain(given), meant, "{given}");
        }
        for (given, meant) in
            [("my-app.example.net", "https://my-app.example.net"), ("http://a:1", "http://a:1"), ("", "")]
        {
            assert_eq!(forwarding_url(given), meant);
        }
        for (given, meant) in [
            ("api.example.com", "api.example.com:443"),
            ("api.example.com:5432", "api.example.com:5432"),
            ("https://api.example.com/v1", "api.example.com:443"),
            ("http://api.example.com/", "api.example.com:80"),
            ("https://api.example.com:8443/v1", "api.example.com:8443"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
            ("[2001:db8::1]:5432", "[2001:db8::1]:5432"),
            ("", ""),
        ] {
            assert_eq!(target(given), meant, "{given}");
        }
    }
}
