//! Where the gateway's API is, and the paths in it.

use std::fmt;

use super::ClientError;

/// `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Clone)]
pub(super) struct Base {
    is_tls: bool,
    authority: http::uri::Authority,
}

impl Base {
    pub(super) fn parse(url: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::BadUrl { url: url.chars().take(200).collect() };
        let uri: http::Uri = url.trim().parse().map_err(|_| bad())?;
        let is_ours = matches!(uri.path().trim_end_matches('/'), "" | "/api/v1");
        let authority = uri.authority().cloned().ok_or_else(bad)?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        if !is_ours || authority.as_str().contains('@') {
            return Err(bad());
        }
        Ok(Self { is_tls, authority })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Without the brackets of IPv6.
    pub(super) fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_tls { 443 } else { 80 })
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_tls { "https" } else { "http" }, self.authority)
    }
}

/// A path under `/api/v1` with its query, escaped.
#[derive(Clone)]
pub(super) struct Path {
    text: String,
    has_query: bool,
}

impl Path {
    pub(super) fn of<const N: usize>(segments: [&str; N]) -> Self {
        let mut text = String::from("/api/v1");
        for segment in segments {
            text.push('/');
            escape(segment, &mut text);
        }
        Self { text, has_query: false }
    }

    /// One that the gateway named. `None` for what is not in its API.
    pub(super) fn given(text: &str) -> Option<Self> {
        let is_ours = text.starts_with("/api/v1/") && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_ours.then(|| Self { text: text.to_owned(), has_query: text.contains('?') })
    }

    pub(super) fn ask(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(name);
        self.text.push('=');
        escape(value, &mut self.text);
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Everything but the unreserved characters of RFC 3986 §2.3, and dots that would make `.` or `..`.
fn escape(text: &str, to: &mut String) {
    let dots = text == "." || text == "..";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || (byte == b'.' && !dots) {
            to.push(char::from(byte));
        } else {
            to.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_segment() {
        let mut path = Path::of(["accounts", "../tokens?x=1"]);
        path.ask("host", Some("a&b=c d"));
        assert_eq!(path.to_string(), "/api/v1/accounts/..%2Ftokens%3Fx%3D1?host=a%26b%3Dc%20d");
    }

    #[test]
    fn a_base_is_an_origin_with_or_without_the_apis_path() {
        for (url, want) in [
            ("http://127.0.0.1:7070", Some(("127.0.0.1", 7070))),
            ("http://[::1]:7070/", Some(("::1", 7070))),
            ("http://localhost:7070/api/v1", Some(("localhost", 7070))),
            ("https://console.example.com", Some(("console.example.com", 443))),
            ("ftp://127.0.0.1:7070", None),
            ("http://user@127.0.0.1:7070", None),
            ("127.0.0.1:7070", None),
            ("http://127.0.0.1:7070/else", None),
        ] {
            let base = Base::parse(url).ok();
            assert_eq!(base.as_ref().map(|base| (base.host(), base.port())), want, "{url}");
        }
    }
}
