//! The HTTPS proxy's conversation over h2: each stream is a CONNECT or an exchange, decided by itself.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Method, Request, Response};
use moorgate_contract::{
    decide::Destination,
    failure::{Code, Failure},
    flow::OpenFlow,
    outcome::{Ending, Outcome},
};
use moorgate_net::{
    leg::{Cut, Leg, TcpLeg},
    runtime::now,
};
use moorgate_tls::TlsStream;
use moorgate_wire::host::Asked;

use crate::{
    client::Rewound,
    echo, exchange,
    gateway::Visit,
    h2_server::{self, OneMore, SEND_BUFFER, too_long},
    head::{ask, fields},
    refuse::{StreamEnd, say_no_on_stream, say_no_to_request},
    tunnel::{self, Side},
};

/// The life of an h2 connection: its streams live by themselves, side by side.
pub(super) async fn converse(visit: Arc<Visit>, stream: Rewound<TlsStream>) {
    if let Err(given_up) = h2_server::serve(visit, stream, h2_server::OUTBOUND, None, one_stream).await {
        given_up.record();
    }
}

/// One stream: its head has been read by the h2 library; decide, connect, relay or exchange, record.
async fn one_stream(
    visit: Arc<Visit>,
    mut running: OneMore,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let mut flow = visit.open_flow(now());
    let (parts, body) = request.into_parts();
    if let Some(failure) = too_long(&parts) {
        flow.record.target = parts.uri.authority().map(|authority| authority.as_str().into());
        let with_body = parts.method != Method::HEAD;
        return running.ended(say_no_to_request(respond, flow, &failure, with_body, body).await);
    }
    if parts.method != Method::CONNECT {
        let request = Request::from_parts(parts, body);
        return running.ended(exchange::http2::run(&visit, request, respond, flow).await);
    }
    let prepared = prepare(&visit, &parts, &mut flow);
    let (decided, entered) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return running.ended(say_no_on_stream(respond, flow, &failure, true)),
    };
    if decided.plan.destination == Destination::Echo {
        let Some(leg) = established(&mut respond, body, running, &mut flow) else {
            return flow.end(Outcome::Cut(Ending::ClientLeft));
        };
        return echo::serve_tunnel(visit, flow, entered, decided, leg, Bytes::new()).await;
    }
    let connected = tokio::select! {
        biased;
        // Asked first: what was broken off at once must not cost a connection.
        _ = poll_fn(|cx| respond.poll_reset(cx)) => {
            running.ended(StreamEnd::BrokenOff);
            return flow.end(Outcome::Cut(Ending::ClientLeft));
        }
        connected = visit.connect(&decided.plan, &entered, &mut flow, visit.gateway.limits.connect) => connected,
    };
    let connected = match connected {
        Ok(connected) => connected,
        Err(failure) => return running.ended(say_no_on_stream(respond, flow, &failure, true)),
    };
    let Some(leg) = established(&mut respond, body, running, &mut flow) else {
        return flow.end(Outcome::Cut(Ending::ClientLeft));
    };
    tunnel::run(visit, flow, entered, leg, TcpLeg::new(connected.stream), Bytes::new(), Side::Outbound);
}

fn prepare(
    visit: &Visit,
    parts: &http::request::Parts,
    flow: &mut OpenFlow,
) -> Result<(crate::gateway::Decided, crate::gateway::Entered), Failure> {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let asked = Asked::from_authority(authority, None).map_err(|why| Failure::new(Code::Malformed, why))?;
    let decided = ask(visit, &fields(&parts.headers), &asked, flow)?;
    let entered = visit.enter(&decided, flow)?;
    Ok((decided, entered))
}

fn established(
    respond: &mut SendResponse<Bytes>,
    body: RecvStream,
    mut running: OneMore,
    flow: &mut OpenFlow,
) -> Option<H2Leg> {
    let Ok(send) = respond.send_response(Response::new(()), false) else {
        running.ended(StreamEnd::BrokenOff);
        return None;
    };
    flow.record.status = Some(200);
    Some(H2Leg { send, receive: body, rest: Bytes::new(), running })
}

/// A CONNECT stream of h2 as a leg (RFC 9113 §8.5): END_STREAM is Fin, RST_STREAM is Reset.
pub(crate) struct H2Leg {
    send: SendStream<Bytes>,
    receive: RecvStream,
    rest: Bytes,
    running: OneMore,
}

impl H2Leg {
    fn broken_off(&mut self) -> Cut {
        self.running.ended(StreamEnd::BrokenOff);
        Cut::Reset
    }
}

impl Leg for H2Leg {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Cut>> {
        while self.rest.is_empty() {
            match self.receive.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(0)),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(self.broken_off())),
                Poll::Ready(Some(Ok(data))) => self.rest = data,
            }
        }
        let taken = self.rest.split_to(self.rest.len().min(buf.len()));
        if let Some(space) = buf.get_mut(..taken.len()) {
            space.copy_from_slice(&taken);
        }
        // The client may send as much again as was taken: a slow target holds it back.
        let _ = self.receive.flow_control().release_capacity(taken.len());
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, Cut>> {
        loop {
            let room = self.send.capacity().min(buf.len());
            if let Some(data) = buf.get(..room).filter(|data| !data.is_empty()) {
                let sent = self.send.send_data(Bytes::copy_from_slice(data), false);
                return Poll::Ready(sent.map(|()| room).map_err(|_| Cut::Reset));
            }
            self.send.reserve_capacity(buf.len().min(SEND_BUFFER));
            match self.send.poll_capacity(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(self.broken_off())),
            }
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(|_| Cut::Reset))
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        self.send.poll_reset(cx).map(|_| self.broken_off())
    }

    fn abort(&mut self) {
        self.send.send_reset(Reason::CONNECT_ERROR);
    }
}
