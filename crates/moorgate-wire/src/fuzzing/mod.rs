//! What fuzzing holds the parsers to: plain functions of bytes that assert. The targets in `fuzz/`
//! call them, and so does a test here, over the corpus kept beside those targets.

mod client_hello;
pub mod corpus;
mod http1;
mod path;
mod proxy_protocol;

use std::net::Ipv4Addr;

pub use client_hello::client_hello;
pub use http1::{http1_body, http1_request};
pub use path::path;
pub use proxy_protocol::proxy_protocol;

use crate::{
    basic,
    host::{Asked, Host, HostPort},
    socks5::{Client, ClientStep, Server, Step, encode_reply},
};

/// Every cut of the bytes gives the same steps, and none takes more than it was given.
pub fn socks5_server(data: &[u8]) {
    let whole = server_steps(data, data.len().max(1));
    assert_eq!(whole, server_steps(data, 1), "cut at every byte");
    assert_eq!(whole, server_steps(data, 7), "cut at every seventh byte");
    for step in &whole {
        if let Step::Authenticate { consumed, username, .. } = step {
            let other = Step::Authenticate { consumed: *consumed, username: username.clone(), password: [].into() };
            assert_eq!(format!("{step:?}"), format!("{other:?}"), "a password shows");
        }
    }
}

/// The steps for bytes that arrive `cut` at a time; credentials are taken for right.
fn server_steps(data: &[u8], cut: usize) -> Vec<Step> {
    let mut server = Server::new();
    let mut steps = Vec::new();
    let (mut from, mut to) = (0, 0);
    loop {
        let fed = data.get(from..to).unwrap_or_default();
        let step = server.feed(fed);
        let (consumed, more) = match step {
            Step::NeedMore if to == data.len() => return steps,
            Step::NeedMore => {
                to = data.len().min(to + cut);
                continue;
            }
            Step::Send { consumed, .. } | Step::Authenticate { consumed, .. } => (consumed, true),
            Step::Request { consumed, .. }
            | Step::NoAcceptableMethod { consumed, .. }
            | Step::UnsupportedAddressType { consumed } => (consumed, false),
            Step::Malformed(_) => (0, false),
        };
        assert!(consumed <= fed.len(), "took more than it was given");
        from += consumed;
        steps.push(step);
        if !more {
            return steps;
        }
    }
}

/// The client never panics on what a proxy says, and what it says itself our server reads back.
pub fn socks5_client(data: &[u8]) {
    let target = HostPort { host: Ipv4Addr::new(192, 0, 2, 1).into(), port: 443 };
    let mut client = Client::new("user", "pass", &target);
    assert!(matches!(client.feed(&[]), ClientStep::Send(_)), "the client speaks first");
    let (mut from, mut to) = (0, 0);
    while to < data.len() {
        to += 1;
        let fed = data.get(from..to).unwrap_or_default();
        match client.feed(fed) {
            ClientStep::NeedMore => {}
            ClientStep::Send(_) => from = to,
            ClientStep::Done { consumed } => {
                assert_eq!(consumed, fed.len(), "done as soon as the reply is whole");
                break;
            }
            ClientStep::Refused { reply } => {
                assert_ne!(reply, 0);
                break;
            }
            ClientStep::AuthFailed | ClientStep::Malformed(_) => break,
        }
    }
    both_sides_agree(data);
}

/// Client and server of ours in one conversation, with a username, password and name from the fuzzer.
fn both_sides_agree(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\n');
    let (Some(username), Some(password), Some(host)) = (parts.next(), parts.next(), parts.next()) else { return };
    let fits = |text: &str| (1..=255).contains(&text.len());
    let (Ok(host), true, true) = (Host::parse(host), fits(username), fits(password)) else { return };
    let target = HostPort { host, port: 8443 };
    let mut client = Client::new(username, password, &target);
    let mut server = Server::new();
    let mut answer = Vec::new();
    loop {
        let said = match client.feed(&answer) {
            ClientStep::Send(bytes) => bytes,
            step => {
                assert_eq!(step, ClientStep::Done { consumed: answer.len() });
                return;
            }
        };
        answer = match server.feed(&said) {
            Step::Send { bytes, .. } => bytes,
            Step::Authenticate { username: u, password: p, .. } => {
                assert!(*u == *username.as_bytes() && *p == *password.as_bytes(), "credentials arrive as they are");
                Server::auth_reply(true).into()
            }
            Step::Request { asked, .. } => {
                assert_eq!(asked.canonical().as_ref(), Some(&target), "the target arrives as it is");
                encode_reply(crate::socks5::Reply::Succeeded, ([127, 0, 0, 1], 1).into())
            }
            step => {
                assert_eq!(step, Step::NeedMore, "our server does not understand our client");
                return;
            }
        };
    }
}

/// A canonical host reads the same again, and what is refused is refused in words that are safe to show.
pub fn host(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Host::parse(&text) {
        Ok(host) => {
            let shown = host.to_string();
            assert_eq!(Host::parse(&shown).as_ref(), Ok(&host), "reads the same again");
            let asked = Asked::new(&text, 443);
            assert_eq!(asked.host.as_ref(), Ok(&host));
            let pair = HostPort { host, port: 443 };
            assert_eq!(HostPort::parse(&pair.to_string()), Ok(pair), "with a port too");
        }
        Err(why) => {
            let words = why.to_string();
            assert!(!words.chars().any(char::is_control), "a peer's control byte reaches the reader");
            assert!(words.len() < 8 * 1024);
            let asked = Asked::new(&text, 443);
            assert!(asked.host.is_err(), "refused alone, yet taken with a port");
            assert!(!asked.text().contains('@') || asked.text().contains("…@"), "userinfo is kept");
        }
    }
    if let Ok(asked) = Asked::from_authority(&text, Some(80))
        && let Some(canonical) = asked.canonical()
    {
        assert_eq!(HostPort::parse(&canonical.to_string()), Ok(canonical));
    }
}

/// What is read is written back to the same, and what is written is read.
pub fn basic(data: &[u8]) {
    if let Some(read) = basic::parse(data) {
        let again = basic::parse(basic::encode(&read.username, read.password.as_str()).as_bytes());
        assert_eq!(again, Some(read));
    }
    let text = String::from_utf8_lossy(data);
    let Some((username, password)) = text.split_once(':') else { return };
    if text.len() < 1024 && !text.chars().any(char::is_control) {
        let read = basic::parse(basic::encode(username, password).as_bytes());
        let read = read.map(|read| (read.username.clone(), read.password.as_str().to_owned()));
        assert_eq!(read, Some((username.to_owned(), password.to_owned())));
    }
}

#[cfg(test)]
pub(crate) mod tests;
