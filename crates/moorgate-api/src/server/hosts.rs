//! The Host check: a page of some other site must not reach the API by letting its own name resolve to 127.0.0.1
//! (DNS rebinding). Only `localhost` and loopback addresses are names of this listener; the port may differ (tunnels).

use axum::{extract::Request, middleware::Next, response::Response};
use http::{Version, header};
use moorgate_wire::host::Host;

use crate::problem::{Case, Problem};

pub(super) async fn only_ours(request: Request, next: Next) -> Result<Response, Problem> {
    if !names_us(&request) {
        let said = "this listener answers to localhost and loopback addresses only; use http://127.0.0.1:PORT";
        return Err(Problem::new(Case::Misdirected, said));
    }
    Ok(next.run(request).await)
}

fn names_us(request: &Request) -> bool {
    let mut named = request.headers().get_all(header::HOST).iter().peekable();
    // Health checks of load balancers use HTTP/1.0 without Host; no browser does.
    let is_named = named.peek().is_some() || request.version() == Version::HTTP_10;
    let target = request.uri().authority();
    is_named
        && named.all(|host| host.to_str().is_ok_and(is_ours))
        && target.is_none_or(|authority| is_ours(authority.as_str()))
}

fn is_ours(authority: &str) -> bool {
    let port_at = authority.rfind(':').filter(|at| !authority.get(*at..).unwrap_or_default().contains(']'));
    let (host, port) = authority.split_at(port_at.unwrap_or(authority.len()));
    if !port.trim_start_matches(':').bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    match Host::parse(host) {
        Ok(Host::Name(name)) => name.as_str() == "localhost",
        Ok(Host::V4(address)) => address.is_loopback(),
        Ok(Host::V6(address)) => address.is_loopback() && host.starts_with('['),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_ours;

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
            assert_eq!(is_ours(host), ours, "{host:?}");
        }
    }
}
