//! What a client asked for, canonical or not.

use std::{net::IpAddr, sync::Arc};

use super::{
    Host, HostPort, NotCanonical,
    authority::{self, PortError},
    not_canonical::{short, without_userinfo},
};
use crate::text::with_port;

/// What a client asked for: kept even when it is not canonical, so that the refusal and the flow
/// can show it. At most some 300 characters of text are kept, and none of a userinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    text: Arc<str>,
    /// As asked, or the scheme's.
    pub port: u16,
    /// The host in its one form, or why it has none. Port 0 is no destination either.
    pub host: Result<Host, NotCanonical>,
}

impl Asked {
    /// From a host and a port that came apart, as in SOCKS5. `host_text` may be IPv6 in brackets or bare.
    pub fn new(host_text: &str, port: u16) -> Self {
        let bare_v6 = host_text.contains(':') && !host_text.starts_with('[') && !host_text.contains('@');
        let text = if bare_v6 { format!("[{host_text}]:{port}") } else { with_port(host_text, port) };
        Self::build(&text, port, Host::parse(host_text))
    }

    /// As [`Asked::new`], from bytes that may not even be UTF-8.
    pub fn from_bytes(host: &[u8], port: u16) -> Self {
        // A replacement character is not ASCII, so such a host is refused.
        Self::new(&String::from_utf8_lossy(host), port)
    }

    /// From an address in binary.
    pub fn from_ip(ip: IpAddr, port: u16) -> Self {
        let host = Host::from(ip);
        let text = HostPort { host: host.clone(), port }.to_string();
        Self::build(&text, port, Ok(host))
    }

    /// From `host[:port]` as URIs have it (RFC 3986 §3.2), IPv6 in brackets; `default` is the
    /// port when none is written.
    ///
    /// # Errors
    /// The port is no number, or missing without a default. What is wrong with the host is in [`Asked::host`].
    pub fn from_authority(text: &str, default: Option<u16>) -> Result<Self, PortError> {
        let parts = authority::split(text)?;
        if parts.unbracketed {
            let host =
                if text.contains('@') { NotCanonical::userinfo(text) } else { NotCanonical::brackets_needed(text) };
            return Ok(Self::build(text, default.unwrap_or_default(), Err(host)));
        }
        // "::1" is read where a host stands alone; here only brackets tell where it ends.
        let port = parts.port.or(default).ok_or(PortError::Missing)?;
        Ok(Self::build(&with_port(parts.host, port), port, Host::parse(parts.host)))
    }

    fn build(text: &str, port: u16, host: Result<Host, NotCanonical>) -> Self {
        let host = if port == 0 { host.and(Err(NotCanonical::PortZero)) } else { host };
        let text = if text.contains('@') { short(&without_userinfo(text)) } else { short(text) };
        Self { text, port, host }
    }

    /// `host:port` as it was asked for: a peer's bytes, to be shown through
    /// [`visible`](crate::visible::visible) only.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same, for whoever keeps it.
    pub fn shared_text(&self) -> Arc<str> {
        self.text.clone()
    }

    /// The destination, when it is canonical.
    pub fn canonical(&self) -> Option<HostPort> {
        let host = self.host.as_ref().ok()?.clone();
        Some(HostPort { host, port: self.port })
    }
}
