//! The HTTP proxy's conversation over HTTP/1: CONNECT and absolute-form, request after request.

use std::{
    future::{pending, poll_fn},
    io,
    pin::pin,
    sync::Arc,
};

use moorgate_contract::{
    decide::Destination,
    failure::{Code, Failure},
    flow::OpenFlow,
    outcome::{Ending, Outcome},
};
use moorgate_net::{
    leg::TcpLeg,
    runtime::{now, timeout},
};
use moorgate_wire::{
    host::Asked,
    http1::{RequestHead, Target},
};
use tokio::io::AsyncWriteExt;

use crate::{
    client::{Client, ClientStream},
    echo,
    exchange::{self, target::Kept},
    gateway::{Decided, Entered, Visit},
    head::{ask, next_request, peek_request},
    inbound::left,
    refuse::{self, say_no},
    tunnel::{self, Side},
};

/// The life of an HTTP proxy connection, after accept (and TLS): for each request peek, decide, connect, relay, record.
pub(super) async fn converse<S: ClientStream>(visit: Arc<Visit>, mut client: Client<S>) {
    let mut kept = None;
    let mut since = visit.accepted;
    loop {
        let flow = visit.open_flow(since);
        let limit = visit.gateway.limits.head;
        let rest = limit.saturating_sub(since.elapsed());
        let peeked = timeout(rest, peek_request(&mut client)).await;
        let head = match peeked.unwrap_or_else(|_| Err(Some(refuse::too_slow("the request's head", limit)))) {
            Ok(head) => head,
            Err(None) => return left(flow, &client),
            Err(Some(failure)) => return say_no(client, flow, &failure, false).await,
        };
        let after = match &head.target {
            Target::Authority(asked) => {
                let asked = asked.clone();
                return connect(visit, client, flow, &head, &asked).await;
            }
            // Its state is large, and of no use to a tunnel.
            Target::Absolute { .. } => Box::pin(exchange::http1::run(&visit, client, kept, flow, head)).await,
            Target::Origin(_) | Target::Asterisk => {
                let said = "this is a proxy: ask for CONNECT host:port or for http://host/path";
                return say_no(client, flow, &Failure::new(Code::NotSupported, said), false).await;
            }
        };
        (client, kept) = match after {
            Some(after) => after,
            None => return,
        };
        let more = {
            let mut next = pin!(next_request(&visit, &mut client, visit.gateway.drain.cancelled()));
            tokio::select! {
                biased;
                more = &mut next => more,
                () = closed(&mut kept) => {
                    kept = None;
                    next.await
                }
            }
        };
        if !more {
            return;
        }
        since = now();
    }
}

/// Resolves when the destination ends a kept connection, so that it does not wait for our end.
async fn closed(kept: &mut Option<Kept>) {
    match kept {
        Some(kept) => poll_fn(|cx| kept.poll_closed(cx)).await,
        None => pending().await,
    }
}

/// CONNECT: decide, connect, relay, record.
async fn connect<S: ClientStream>(
    visit: Arc<Visit>,
    mut client: Client<S>,
    mut flow: OpenFlow,
    head: &RequestHead,
    asked: &Asked,
) {
    let decided = match ask(&visit, &head.headers, asked, &mut flow) {
        Ok(decided) => decided,
        Err(failure) => return say_no(client, flow, &failure, false).await,
    };
    let entered = match visit.enter(&decided, &flow) {
        Ok(entered) => entered,
        Err(failure) => return say_no(client, flow, &failure, false).await,
    };
    if decided.plan.destination == Destination::Echo {
        return Box::pin(connect_echo(visit, client, flow, entered, decided)).await;
    }
    let connected = match visit.connect(&decided.plan, &entered, &mut flow, visit.gateway.limits.connect).await {
        Ok(connected) => connected,
        Err(failure) => {
            // Whoever is slow to hear of it has no place of its account's.
            drop(entered);
            return say_no(client, flow, &failure, false).await;
        }
    };
    flow.record.status = Some(200);
    if established(&mut client.stream).await.is_err() {
        return flow.end(Outcome::Cut(Ending::ClientLeft));
    }
    let early = client.take_early();
    let target = TcpLeg::new(connected.stream);
    tunnel::run(visit, flow, entered, client.stream.into_leg(), target, early, Side::Outbound);
}

async fn connect_echo<S: ClientStream>(
    visit: Arc<Visit>,
    mut client: Client<S>,
    mut flow: OpenFlow,
    entered: Entered,
    decided: Decided,
) {
    flow.record.status = Some(200);
    if established(&mut client.stream).await.is_err() {
        return flow.end(Outcome::Cut(Ending::ClientLeft));
    }
    let early = client.take_early();
    echo::serve_tunnel(visit, flow, entered, decided, client.stream.into_leg(), early).await;
}

/// RFC 9110 §9.3.6: no Content-Length, no Transfer-Encoding; what follows is the tunnel.
async fn established<S: ClientStream>(stream: &mut S) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    stream.flush().await
}
