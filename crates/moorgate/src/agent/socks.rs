//! SOCKS5 without authentication (RFC 1928), for programs on this machine.

use std::io;

use moorgate_net::runtime::TcpStream;
use moorgate_wire::{
    host::Asked,
    socks5::{Command, Reply, Server, Step, encode_reply},
};

use super::local::{read_more, say};

/// Version and method "no authentication required".
const NO_AUTHENTICATION: [u8; 2] = [5, 0];
const NO_ACCEPTABLE_METHOD: [u8; 2] = [5, 0xff];
/// What a client with a username would have said first: a greeting that offers it, and one letter each.
const GREETING: [u8; 3] = [5, 1, 2];
const CREDENTIAL: [u8; 5] = [1, 1, b'-', 1, b'-'];

/// What the client wants.
pub(super) enum SocksAsked {
    /// A tunnel. What is left in the buffer belongs to it.
    Connect(Asked),
    /// Something else; this is the answer.
    Refused(Vec<u8>),
}

/// Reads greeting and request. `buf` holds what was read already, and at the end what came behind the request.
///
/// # Errors
/// The client left, or does not speak SOCKS5.
pub(super) async fn read(client: &mut TcpStream, buf: &mut Vec<u8>) -> io::Result<SocksAsked> {
    let methods = loop {
        match methods(buf) {
            Some(methods) => break methods.to_vec(),
            None => read_more(client, buf).await?,
        }
    };
    if !methods.contains(&0) {
        return Ok(SocksAsked::Refused(NO_ACCEPTABLE_METHOD.to_vec()));
    }
    buf.drain(..methods.len() + 2);
    say(client, &NO_AUTHENTICATION).await?;
    // The gateway's reader of requests wants credentials first. Nobody checks these.
    let mut server = Server::new();
    server.feed(&GREETING);
    server.feed(&CREDENTIAL);
    loop {
        return Ok(match server.feed(buf) {
            Step::NeedMore => {
                read_more(client, buf).await?;
                continue;
            }
            Step::Request { consumed, command: Command::Connect, asked } => {
                buf.drain(..consumed);
                SocksAsked::Connect(asked)
            }
            Step::Request { .. } => refused(Reply::CommandNotSupported),
            Step::UnsupportedAddressType { .. } => refused(Reply::AddressTypeNotSupported),
            Step::Send { .. } | Step::Authenticate { .. } | Step::NoAcceptableMethod { .. } | Step::Malformed(_) => {
                return Err(io::ErrorKind::InvalidData.into());
            }
        });
    }
}

fn refused(reply: Reply) -> SocksAsked {
    SocksAsked::Refused(encode_reply(reply, ([0, 0, 0, 0], 0).into()))
}

/// The methods that a whole greeting offers.
fn methods(buf: &[u8]) -> Option<&[u8]> {
    let [_version, count, rest @ ..] = buf else { return None };
    rest.get(..usize::from(*count))
}
