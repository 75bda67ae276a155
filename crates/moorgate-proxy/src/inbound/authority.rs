//! What a request's Host or `:authority` names, and what an origin is told of its client. Requests of one connection mostly say
//! the same, which is read once.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use moorgate_contract::failure::{Code, Failure};
use moorgate_wire::{
    host::{Asked, Host, PortError},
    http1::Headers,
    name::DomainName,
    text::{push_ip, with_port},
};

/// Stands in where an authority has no port, which says nothing here.
const NO_PORT: u16 = 443;
const NO_PORT_TEXT: &str = ":443";
/// An IPv6 address has no more.
const IP_BYTES: usize = 45;

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) ip: IpAddr,
    /// Over TLS.
    pub(super) secure: bool,
}

/// A name that a route may have.
pub(super) struct Authority {
    /// As the client wrote it.
    text: Box<str>,
    /// For records: short, and without a user's name.
    shown: Option<Arc<str>>,
    pub(super) name: DomainName,
    /// As it is forwarded: canonical, with the port that was written.
    pub(super) forwarded: String,
    /// The fields by which an origin hears of the client.
    pub(super) of_client: Headers,
}

impl Authority {
    /// Reads it. `shown` becomes what is recorded of it, also where it is wrong.
    ///
    /// # Errors
    /// It names no app.
    pub(super) fn read(text: &str, asker: Asker, shown: &mut Option<Arc<str>>) -> Result<Self, Failure> {
        let asked = Asked::from_authority(text, Some(NO_PORT));
        *shown = asked.as_ref().ok().map(|asked| short(text, asked));
        let (name, forwarded) = name(text, asked)?;
        let of_client = of_client(asker, &forwarded);
        Ok(Self { text: text.into(), shown: shown.clone(), name, forwarded, of_client })
    }
}

/// The last one that a connection's requests named.
#[derive(Default)]
pub(super) struct LastAuthority(Mutex<Option<Arc<Authority>>>);

impl LastAuthority {
    /// [`Authority::read`], or what that came to before.
    ///
    /// # Errors
    /// It names no app.
    pub(super) fn read(
        &self,
        text: &str,
        asker: Asker,
        shown: &mut Option<Arc<str>>,
    ) -> Result<Arc<Authority>, Failure> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| *last.text == *text) {
            shown.clone_from(&last.shown);
            return Ok(last.clone());
        }
        let read = Arc::new(Authority::read(text, asker, shown)?);
        *last = Some(read.clone());
        Ok(read)
    }
}

fn short(text: &str, asked: &Asked) -> Arc<str> {
    let bare = asked.text().strip_suffix(NO_PORT_TEXT).filter(|_| !text.contains(':'));
    bare.map_or_else(|| asked.shared_text(), Into::into)
}

/// The name, and the authority as it is forwarded.
fn name(text: &str, asked: Result<Asked, PortError>) -> Result<(DomainName, String), Failure> {
    if text.is_empty() {
        return Err(Failure::new(Code::DomainUnknown, "the request names no app; send its name in Host"));
    }
    let asked = asked.map_err(|why| Failure::new(Code::Malformed, why))?;
    let host = asked.host.map_err(|why| Failure::new(Code::HostNotCanonical, why))?;
    let Host::Name(name) = host else {
        return Err(Failure::new(
            Code::DomainUnknown,
            format_args!("no route has an address for its domain; ask by name, not by {host}"),
        ));
    };
    let forwarded = if text.contains(':') { with_port(name.as_str(), asked.port) } else { name.as_str().to_owned() };
    Ok((name, forwarded))
}

/// RFC 7239, and the older fields that most frameworks still read.
fn of_client(Asker { ip: client, secure }: Asker, authority: &str) -> Headers {
    let mut ip = Vec::with_capacity(IP_BYTES);
    push_ip(&mut ip, client.to_canonical());
    let proto = if secure { "https" } else { "http" };
    let (opens, closes): (&[u8], &[u8]) = if ip.contains(&b':') { (b"for=\"[", b"]\"") } else { (b"for=", b"") };
    let parts = [opens, &ip, closes, b";host=\"", authority.as_bytes(), b"\";proto=", proto.as_bytes()];
    // There is room in any for what a proxy adds.
    let mut fields = Headers::with_capacity(0, 0, 2 * authority.len());
    fields.push_parts("forwarded", &parts);
    fields.push("x-forwarded-for", &ip);
    fields.push("x-forwarded-host", authority);
    fields.push("x-forwarded-proto", proto);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Asker = Asker { ip: IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), secure: true };

    #[test]
    fn what_is_asked_again_is_not_read_again_and_what_is_wrong_displaces_nothing() {
        let last = LastAuthority::default();
        let read = |text: &str| {
            let mut shown = None;
            (last.read(text, ASKER, &mut shown), shown)
        };
        let (first, shown) = read("App.example:8443");
        let first = first.unwrap_or_else(|_| unreachable!());
        assert_eq!((&*first.forwarded, first.name.as_str()), ("app.example:8443", "app.example"));
        assert_eq!(shown.as_deref(), Some("App.example:8443"));
        for wrong in ["", "a b", "127.0.0.1", "app.example:x"] {
            assert!(read(wrong).0.is_err(), "{wrong}");
        }
        let (again, shown) = read("App.example:8443");
        assert!(again.is_ok_and(|again| Arc::ptr_eq(&again, &first)));
        assert_eq!(shown.as_deref(), Some("App.example:8443"));
        let (other, shown) = read("app.example");
        assert!(other.is_ok_and(|other| other.forwarded == "app.example" && other.name == first.name));
        assert_eq!(shown.as_deref(), Some("app.example"));
    }

    #[test]
    fn an_origin_hears_who_asks_for_what_and_how() {
        let authority = Authority::read("app.example:8443", ASKER, &mut None);
        let of_client = authority.map(|authority| authority.of_client).unwrap_or_default();
        let fields: Vec<_> = of_client.iter().collect();
        assert_eq!(
            fields,
            [
                ("forwarded", &b"for=\"[::1]\";host=\"app.example:8443\";proto=https"[..]),
                ("x-forwarded-for", b"::1"),
                ("x-forwarded-host", b"app.example:8443"),
                ("x-forwarded-proto", b"https"),
            ]
        );
    }
}
