//! Inbound: apps behind us. There is no route yet, and a missing one never falls to anybody's default: every name is
//! unknown here, and said so in the listener's own language.

use std::sync::Arc;

use moorgate_contract::{
    failure::{Code, Failure},
    flow::OpenFlow,
    outcome::{Ending, Outcome},
};
use moorgate_wire::{
    http1::{HeadStep, parse_request},
    tls_record::{ALERT_DECODE_ERROR, ALERT_UNRECOGNIZED_NAME, First, first},
};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    client::Client,
    gateway::Visit,
    refuse::{self, Refusal},
};

/// Inbound HTTP: peek the request, decide by its authority.
pub(crate) async fn http(visit: Arc<Visit>, stream: TcpStream) {
    let mut flow = visit.open_flow(visit.accepted);
    let mut client = Client::new(stream);
    let limit = visit.gateway.limits.head;
    let failure = match timeout(limit, peek_http(&mut client, &mut flow)).await {
        Ok(Some(failure)) => failure,
        Ok(None) => return left(flow, &client),
        Err(_) => refuse::too_slow("the request's head", limit),
    };
    let status = match failure.code.row().inbound {
        Some(
            moorgate_contract::failure::InboundAnswer::Http(status)
            | moorgate_contract::failure::InboundAnswer::Alert(_, status),
        ) => status,
        None => failure.code.row().http,
    };
    flow.record.status = Some(status);
    flow.fail(&failure);
    refuse::send_and_close(&mut client.stream, &Refusal::of(&failure).encode(false, true)).await;
}

async fn peek_http(client: &mut Client<TcpStream>, flow: &mut OpenFlow) -> Option<Failure> {
    loop {
        match parse_request(&client.buffer) {
            HeadStep::NeedMore => match client.read_more().await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            },
            HeadStep::Head { head, .. } => {
                flow.record.target = head.headers.get("host").map(|host| String::from_utf8_lossy(host).into());
                return Some(Failure::new(Code::DomainUnknown, "no route of this gateway has that domain"));
            }
            HeadStep::Malformed(why) => return Some(Failure::new(malformed(&why), why)),
            HeadStep::TooLong => {
                return Some(Failure::new(Code::HeadTooLong, "the request's head is longer than 32 KiB"));
            }
        }
    }
}

/// The row of a head that can't be read.
pub(crate) fn malformed(why: &moorgate_wire::http1::HeadError) -> Code {
    if why.is_host_mismatch() { Code::HostMismatch } else { Code::Malformed }
}

/// Inbound TLS: look at the first record and answer with an alert. Nothing is terminated.
pub(crate) async fn tls(visit: Arc<Visit>, stream: TcpStream) {
    let flow = visit.open_flow(visit.accepted);
    let mut client = Client::new(stream);
    let limit = visit.gateway.limits.handshake;
    let seen = timeout(limit, async {
        loop {
            match first(&client.buffer) {
                First::NeedMore => match client.read_more().await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                },
                seen => return Some(seen),
            }
        }
    });
    let (failure, alert): (Failure, &[u8]) = match seen.await {
        Ok(Some(First::Handshake)) => (
            Failure::new(Code::DomainUnknown, "no route of this gateway has that server name"),
            &ALERT_UNRECOGNIZED_NAME,
        ),
        Ok(Some(First::NotTls | First::NeedMore)) => (
            Failure::new(Code::Malformed, "this listener speaks TLS, and the client did not begin with a ClientHello"),
            &ALERT_DECODE_ERROR,
        ),
        Ok(None) => return left(flow, &client),
        Err(_) => (refuse::too_slow("the TLS handshake", limit), &[]),
    };
    flow.fail(&failure);
    refuse::send_and_close(&mut client.stream, alert).await;
}

/// A client that left before it asked for anything. One that never sent a byte (a health check, a port scan) is no flow.
pub(crate) fn left<S>(flow: OpenFlow, client: &Client<S>) {
    if client.buffer.is_empty() { flow.forget() } else { flow.end(Outcome::Cut(Ending::ClientLeft)) }
}
