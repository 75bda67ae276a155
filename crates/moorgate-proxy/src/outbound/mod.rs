//! Outbound: apps that we serve. Four listeners, two conversations, and TLS opened before the head or not at all.

mod http1;
mod http2;
mod socks;

use std::sync::Arc;

use moorgate_net::runtime::{TcpStream, timeout};
use moorgate_tls::{Terminator, TlsStream};

use crate::{client::Client, gateway::Visit, handshake};

pub(crate) use socks::refuse_full as refuse_full_socks;

/// The HTTP proxy (Static): the head is the first thing on the wire.
pub(crate) async fn http(visit: Arc<Visit>, stream: TcpStream) {
    http1::converse(visit, Client::new(stream)).await;
}

/// The HTTPS proxy (Shield): TLS to the proxy, then the same head, over HTTP/1.1 or h2.
pub(crate) async fn https(visit: Arc<Visit>, stream: TcpStream) {
    let Some(stream) = terminate(&visit, &visit.gateway.terminators.https, stream).await else { return };
    let agreed_on_h2 = stream.alpn() == Some(b"h2");
    let mut client = Client::new(stream);
    if agreed_on_h2 && begins_h2(&visit, &mut client).await {
        http2::converse(visit, client.rewind()).await;
    } else {
        http1::converse(visit, client).await;
    }
}

/// Go's client offers h2 to a proxy, and then speaks HTTP/1.1 all the same (golang/go, net/http's Transport): what it
/// agreed on counts less than what it says. A client's preface comes first and at once (RFC 9113 §3.4).
async fn begins_h2(visit: &Visit, client: &mut Client<TlsStream>) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let looked = timeout(visit.gateway.limits.head.saturating_sub(visit.accepted.elapsed()), async {
        while client.buffer.len() < PREFACE.len() && PREFACE.starts_with(&client.buffer) {
            if !matches!(client.read_more().await, Ok(read) if read > 0) {
                break;
            }
        }
    });
    // A client that is too slow, or gone, is met again by whichever conversation begins.
    let _ = looked.await;
    client.buffer.starts_with(PREFACE)
}

/// SOCKS5 (Static): the greeting is the first thing on the wire.
pub(crate) async fn socks(visit: Arc<Visit>, stream: TcpStream) {
    socks::converse(visit, Client::new(stream)).await;
}

/// SOCKS5 over TLS (Shield).
pub(crate) async fn socks_tls(visit: Arc<Visit>, stream: TcpStream) {
    let Some(stream) = terminate(&visit, &visit.gateway.terminators.socks_tls, stream).await else { return };
    socks::converse(visit, Client::new(stream)).await;
}

/// Opens TLS within its limit. A handshake that fails is a flow of its own: there will be no other.
async fn terminate(visit: &Visit, terminator: &Terminator, stream: TcpStream) -> Option<TlsStream> {
    let flow = visit.open_flow(visit.accepted);
    let limit = visit.gateway.limits.handshake;
    let (stream, flow) = handshake::opened(timeout(limit, terminator.accept(stream)).await, limit, flow)?;
    flow.forget();
    Some(stream)
}
