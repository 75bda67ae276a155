//! The HTTP proxy's conversation over HTTP/1: CONNECT and absolute-form, request after request.

use std::{io, sync::Arc, time::Instant};

use moorgate_contract::{
    decide::Destination,
    failure::{Code, Failure},
    flow::OpenFlow,
    limits::HEAD_BYTES,
    outcome::{Ending, Outcome},
};
use moorgate_net::leg::TcpLeg;
use moorgate_wire::{
    host::Asked,
    http1::{HeadStep, RequestHead, Target, parse_request},
};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    client::{Client, ClientStream},
    echo, exchange,
    gateway::{Decided, Entered, Visit},
    head::ask,
    inbound::{left, malformed},
    refuse::{self, say_no},
    tunnel,
};

/// The life of an HTTP proxy connection, after accept (and TLS): for each request peek, decide, connect, relay, record.
pub(super) async fn converse<S: ClientStream>(visit: Arc<Visit>, mut client: Client<S>) {
    let mut kept = None;
    let mut since = visit.accepted;
    loop {
        let flow = visit.open_flow(since);
        let limit = visit.gateway.limits.head;
        let rest = limit.saturating_sub(since.elapsed());
        let peeked = timeout(rest, peek(&mut client)).await;
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
            Target::Absolute { .. } => exchange::http1::run(&visit, client, kept, flow, head).await,
            Target::Origin(_) | Target::Asterisk => {
                let said = "this is a proxy: ask for CONNECT host:port or for http://host/path";
                return say_no(client, flow, &Failure::new(Code::NotSupported, said), false).await;
            }
        };
        (client, kept) = match after {
            Some(after) => after,
            None => return,
        };
        if !next_request(&visit, &mut client).await {
            return;
        }
        since = Instant::now();
    }
}

/// Reads one head. `None` inside the error: the client left.
async fn peek<S: ClientStream>(client: &mut Client<S>) -> Result<RequestHead, Option<Failure>> {
    loop {
        match parse_request(&client.buffer) {
            HeadStep::NeedMore => match client.read_more().await {
                Ok(0) | Err(_) => return Err(None),
                Ok(_) => {}
            },
            HeadStep::Head { consumed, head } => {
                client.consume(consumed);
                return Ok(head);
            }
            HeadStep::Malformed(why) => return Err(Some(Failure::new(malformed(&why), why))),
            HeadStep::TooLong => {
                let said = format_args!(
                    "the request's head is longer than {} KiB or has more than 100 fields",
                    HEAD_BYTES / 1024
                );
                return Err(Some(Failure::new(Code::HeadTooLong, said)));
            }
        }
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
        return connect_echo(visit, client, flow, entered, decided).await;
    }
    let connected = match visit.connect(&decided, &entered, &mut flow).await {
        Ok(connected) => connected,
        Err(failure) => return say_no(client, flow, &failure, false).await,
    };
    flow.record.status = Some(200);
    if established(&mut client.stream).await.is_err() {
        return flow.end(Outcome::Cut(Ending::ClientLeft));
    }
    let early = client.take_early();
    let target = TcpLeg::new(connected.stream);
    tunnel::run(visit, flow, entered, client.stream.into_leg(), target, early);
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

/// Waits for the next request's first byte. `false`: there will be none.
async fn next_request<S: ClientStream>(visit: &Visit, client: &mut Client<S>) -> bool {
    let gateway = &visit.gateway;
    tokio::select! {
        biased;
        () = gateway.drain.cancelled() => false,
        more = timeout(gateway.limits.idle_request, client.wait_for_more()) => matches!(more, Ok(Ok(read)) if read > 0),
    }
}
