//! The Host check: a page of some other site must not reach the API by letting its own name resolve to 127.0.0.1
//! (DNS rebinding). Only `localhost` and loopback addresses are names of a plain listener; of one with TLS, its own name and
//! addresses. The port may differ (tunnels, load balancers).

use std::sync::Arc;

use axum::{extract::Request, middleware::Next, response::Response};
use http::{Version, header};
use moorgate_wire::{host::Host, name::DomainName};

use crate::problem::{Case, Problem};

/// By which kind of listener a request came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Plain HTTP.
    Loopback,
    /// TLS, by this name.
    Tls(Arc<DomainName>),
}

pub(super) async fn only_ours(request: Request, next: Next) -> Result<Response, Problem> {
    let reached = request.extensions().get().cloned().unwrap_or(Reached::Loopback);
    if names_us(&request, &reached) {
        return Ok(next.run(request).await);
    }
    let said = match reached {
        Reached::Loopback => {
            "this listener answers to localhost and loopback addresses only; use http://127.0.0.1:PORT".to_owned()
        }
        Reached::Tls(name) => format!("this listener answers to {name} only; use https://{name}"),
    };
    Err(Problem::new(Case::Misdirected, said))
}

fn names_us(request: &Request, reached: &Reached) -> bool {
    let mut named = request.headers().get_all(header::HOST).iter().peekable();
    // Health checks of load balancers use HTTP/1.0 without Host; no browser does.
    let is_named = named.peek().is_some() || request.version() == Version::HTTP_10;
    let target = request.uri().authority();
    is_named
        && named.all(|host| host.to_str().is_ok_and(|host| is_ours(host, reached)))
        && target.is_none_or(|authority| is_ours(authority.as_str(), reached))
}

fn is_ours(authority: &str, reached: &Reached) -> bool {
    let port_at = authority.rfind(':').filter(|at| !authority.get(*at..).unwrap_or_default().contains(']'));
    let (host, port) = authority.split_at(port_at.unwrap_or(authority.len()));
    if !port.trim_start_matches(':').bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    match (Host::parse(host), reached) {
        (Ok(Host::V6(_)), _) if !host.starts_with('[') => false,
        // No name can be led to an address that stands there itself.
        (Ok(Host::V4(_) | Host::V6(_)), Reached::Tls(_)) => true,
        (Ok(Host::Name(name)), Reached::Tls(own)) => name == **own || name.as_str() == "localhost",
        (Ok(Host::Name(name)), Reached::Loopback) => name.as_str() == "localhost",
        (Ok(Host::V4(address)), Reached::Loopback) => address.is_loopback(),
        (Ok(Host::V6(address)), Reached::Loopback) => address.is_loopback(),
        (Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use moorgate_wire::name::DomainName;

    use super::{Reached, is_ours};

    #[test]
    fn only_loopback_names_are_ours() {
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:7070", true),
            ("127.0.0.1:7070", true),
            ("127.0.0.2", true),
            ("[::1]:7070", true),
            ("::1", false),
            ("evil.example:7070", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.1", false),
            ("10.0.0.1:7070", false),
            ("user@localhost", false),
            ("localhost:7070, evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_ours(host, &Reached::Loopback), ours, "{host:?}");
        }
    }

    #[test]
    fn over_tls_the_name_in_the_certificate_is_ours() {
        let reached = Reached::Tls(Arc::new(DomainName::parse("console.example.com").unwrap()));
        for (host, ours) in [
            ("console.example.com", true),
            ("Console.Example.com:7070", true),
            ("192.0.2.1:7070", true),
            ("[2001:db8::1]", true),
            ("2001:db8::1", false),
            ("localhost:7070", true),
            ("a.console.example.com", false),
            ("example.com", false),
            ("console.example.com.evil.example", false),
            ("user@console.example.com", false),
            ("", false),
        ] {
            assert_eq!(is_ours(host, &reached), ours, "{host:?}");
        }
    }
}
