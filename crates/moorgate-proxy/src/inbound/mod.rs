//! Inbound: apps behind us. Two listeners; a missing or broken name never falls to anybody's default.

pub(crate) mod actions;
mod authority;
mod check;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod http1;
mod http2;
mod introduction;
pub(crate) mod origin;
mod passthrough;
mod request;
mod served;
mod terminate;
pub(crate) mod waiting;

use std::sync::Arc;

use moorgate_contract::{
    certificate::{ACME_TLS, Challenge, ChallengeKind},
    exposure::Exposure,
    failure::{Code, Failure},
    flow::OpenFlow,
    outcome::{Ending, Outcome},
    route::Mode,
};
use moorgate_net::{
    farewell::answer_and_close,
    runtime::{TcpStream, timeout},
};
use moorgate_wire::{
    client_hello::{ClientHello, HelloError, HelloReader, HelloStep},
    name::DomainName,
    tls_record::ALERT_UNRECOGNIZED_NAME,
};

use crate::{client::Client, gateway::Visit, refuse::too_slow};

pub(crate) use actions::too_large;
pub use check::look_after_origins;
use introduction::introduced;
pub use served::source_of;

/// Inbound HTTP: each request is peeked and decided by its authority.
pub(crate) async fn http(visit: Visit, stream: TcpStream) {
    let Some((visit, client)) = introduced(visit, stream).await else { return };
    http1::converse(visit, client, None).await;
}

/// Inbound TLS: peek the ClientHello, decide by its server name, and only then open TLS or pass it through.
pub(crate) async fn tls(visit: Visit, stream: TcpStream) {
    let Some((visit, mut client)) = introduced(visit, stream).await else { return };
    let mut flow = visit.open_flow(visit.accepted);
    let limit = visit.gateway.limits.handshake;
    let hello = match timeout(limit, peek(&mut client)).await {
        Ok(Peeked::Hello(hello)) => hello,
        Ok(Peeked::Left) => return left(flow, &client),
        Ok(Peeked::Malformed(why)) => {
            let alert: &[u8] = why.alert().map_or(&[], |alert| alert);
            flow.fail(&Failure::new(code(&why), why));
            return answer_and_close(&mut client.stream, alert).await;
        }
        Err(_) => return close(client, flow, &too_slow("the ClientHello", limit)).await,
    };
    flow.record.exposure = Exposure::inbound_asked(true, false);
    flow.record.target = hello.server_name.as_ref().map(DomainName::shared);
    if let Some((name, challenge)) = challenge(&visit, &hello) {
        return Box::pin(terminate::show_to_ca(visit, client, flow, &name, &challenge)).await;
    }
    let routed = match visit.route(hello.server_name.as_ref(), &mut flow) {
        Ok(routed) => routed,
        Err(failure) => {
            flow.fail(&failure);
            return answer_and_close(&mut client.stream, &ALERT_UNRECOGNIZED_NAME).await;
        }
    };
    match routed.route.mode {
        Mode::Passthrough => passthrough::run(visit, client, flow, &routed, &hello).await,
        // Its state is large, and of no use to what passes through.
        Mode::Terminate => Box::pin(terminate::run(visit, client, flow, &routed, &hello)).await,
    }
}

/// What a CA looks for that validates an order of ours over TLS, for exactly the name that it asks for (RFC 8737 §3). For
/// whatever else speaks its protocol there is nothing special: where TLS is passed through it reaches the origin.
fn challenge(visit: &Visit, hello: &ClientHello) -> Option<(DomainName, Arc<Challenge>)> {
    let name = hello.server_name.clone()?;
    let asks = hello.alpn().count() == 1 && hello.offers_alpn(ACME_TLS);
    let snapshot = visit.gateway.snapshot();
    let challenge = snapshot.challenge(&name, ChallengeKind::TlsAlpn).filter(|_| asks)?.clone();
    Some((name, challenge))
}

/// What the first bytes were.
enum Peeked {
    Hello(Box<ClientHello>),
    Malformed(HelloError),
    Left,
}

async fn peek(client: &mut Client<TcpStream>) -> Peeked {
    let mut reader = HelloReader::new();
    loop {
        match reader.feed(&client.buffer) {
            HelloStep::NeedMore => match client.read_more().await {
                Ok(0) | Err(_) => return Peeked::Left,
                Ok(_) => {}
            },
            HelloStep::Hello(hello) => return Peeked::Hello(Box::new(hello)),
            HelloStep::Refused(why) => return Peeked::Malformed(why),
        }
    }
}

fn code(why: &HelloError) -> Code {
    match why.alert() {
        // What is too long is closed without an alert.
        None => Code::HeadTooLong,
        Some(alert) if *alert == ALERT_UNRECOGNIZED_NAME => Code::DomainUnknown,
        Some(_) => Code::Malformed,
    }
}

/// Refuses where nothing can be said: the client speaks TLS, and not with us.
async fn close(mut client: Client<TcpStream>, flow: OpenFlow, failure: &Failure) {
    flow.fail(failure);
    answer_and_close(&mut client.stream, &[]).await;
}

/// A client that left before it asked for anything. One that never sent a byte (a health check, a port scan) is no flow.
pub(super) fn left<S>(flow: OpenFlow, client: &Client<S>) {
    if client.buffer.is_empty() { flow.forget() } else { flow.end(Outcome::Cut(Ending::ClientLeft)) }
}
