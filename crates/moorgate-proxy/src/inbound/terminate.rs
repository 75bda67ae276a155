//! Terminate: TLS ends here, with the route's own certificate, and each request is decided and acted upon by itself.

use std::sync::Arc;

use moorgate_contract::{
    certificate::{ACME_TLS, Challenge},
    exposure::Exposure,
    failure::{Code, Failure},
    flow::{Kind, OpenFlow},
    inbound::Routed,
    outcome::Outcome,
};
use moorgate_net::{
    buffer::PIECE,
    farewell::answer_and_close,
    registry::Registered,
    runtime::{TcpStream, timeout},
    socket::Socket,
};
use moorgate_tls::Terminator;
use moorgate_wire::{client_hello::ClientHello, name::DomainName, tls_record::ALERT_INTERNAL_ERROR};
use tokio::io::AsyncWriteExt as _;

use super::{http1, http2, served::Served};
use crate::{
    client::{Client, ClientStream as _},
    gateway::Visit,
    handshake,
};

/// What TLS has settled for every request of a connection.
pub(super) struct Secured {
    /// The server name that the client asked for.
    pub(super) name: DomainName,
    /// The protocol that was agreed on.
    pub(super) alpn: Option<Arc<str>>,
    /// The connection's own place in the registry: so that the removal of its route cuts it while it is idle.
    pub(super) connection: Registered,
}

impl Secured {
    /// Notes in a refused request's flow whose it is and what TLS has shown, if that was not found by the request itself:
    /// whoever runs the app that the connection was opened for looks for it there.
    pub(super) fn note(&self, visit: &Visit, flow: &mut OpenFlow) {
        if flow.record.exposure == Exposure::default() {
            flow.record.exposure = Exposure::inbound_asked(true, false);
        }
        flow.record.kind = Kind::Exchange;
        flow.record.alpn.clone_from(&self.alpn);
        flow.record.target.get_or_insert_with(|| self.name.as_str().into());
        if flow.record.route.is_none() {
            // A route that is gone has nobody to tell.
            let _ = visit.route(Some(&self.name), flow);
        }
    }
}

/// Shows a CA that validates an order of ours what it looks for. Nothing is said inside: the handshake is the answer.
pub(super) async fn show_to_ca(
    visit: Arc<Visit>,
    mut client: Client<TcpStream>,
    mut flow: OpenFlow,
    name: &DomainName,
    challenge: &Challenge,
) {
    // A name of the gateways' own has no route.
    let _ = visit.route(Some(name), &mut flow);
    let terminator = Terminator::for_challenge(name.as_str(), &challenge.answer, ACME_TLS).map_err(|error| {
        Failure::new(Code::Internal, format_args!("no certificate for the CA's validation of {name}: {error}"))
    });
    let terminator = match terminator {
        Ok(terminator) => terminator,
        Err(failure) => {
            flow.fail(&failure);
            return answer_and_close(&mut client.stream, &ALERT_INTERNAL_ERROR).await;
        }
    };
    let limit = visit.gateway.limits.handshake;
    let rest = limit.saturating_sub(visit.accepted.elapsed());
    let Client { stream, buffer } = client;
    let opened = timeout(rest, terminator.accept_peeked(Socket::replaying(stream, buffer))).await;
    let Some((mut stream, flow)) = handshake::opened(opened, limit, flow) else { return };
    // Whoever is gone by now has seen it.
    let _ = stream.shutdown().await;
    flow.end(Outcome::Ok);
}

/// Opens TLS with what was peeked, asserts that it saw the same name, and serves requests.
pub(super) async fn run(
    visit: Arc<Visit>,
    mut client: Client<TcpStream>,
    flow: OpenFlow,
    routed: &Routed,
    hello: &ClientHello,
) {
    let gateway = &visit.gateway;
    let served = Served::of(gateway, &gateway.snapshot(), &routed.route);
    let terminator = match served.terminator(&gateway.terminators.local) {
        Ok(terminator) => terminator,
        Err(failure) => {
            flow.fail(&failure);
            return answer_and_close(&mut client.stream, &ALERT_INTERNAL_ERROR).await;
        }
    };
    let limit = gateway.limits.handshake;
    let rest = limit.saturating_sub(visit.accepted.elapsed());
    let Client { stream, buffer } = client;
    let opened = timeout(rest, terminator.accept_peeked(Socket::replaying(stream, buffer))).await;
    let Some((mut stream, mut flow)) = handshake::opened(opened, limit, flow) else { return };
    // A whole piece of an answer goes out in one write.
    stream.hold_up_to(PIECE);
    let Some(name) = hello.server_name.clone().filter(|name| stream.server_name() == Some(name.as_str())) else {
        stream.abort();
        let said = "TLS read another server name than we did; the connection was closed";
        return flow.fail(&Failure::new(Code::NameMismatch, said));
    };
    let alpn = stream.alpn().map(|protocol| String::from_utf8_lossy(protocol).into());
    let Some(connection) = visit.enter_connection(routed) else {
        stream.abort();
        return flow.fail(&Failure::new(Code::DomainUnknown, "this route has just been removed"));
    };
    flow.record.alpn = alpn.clone();
    // Its requests are what is recorded.
    flow.forget();
    let is_h2 = alpn.as_deref() == Some("h2");
    let secured = Secured { name, alpn, connection };
    if is_h2 {
        http2::converse(visit, stream, secured).await;
    } else {
        http1::converse(visit, Client::new(stream), Some(secured)).await;
    }
}
