//! The HTTPS proxy's conversation over h2: each stream is a CONNECT or an exchange, decided by itself.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Method, Request, Response};
use moorgate_contract::{
    decide::Destination,
    failure::{Code, Failure},
    flow::OpenFlow,
    limits::{H2_CONNECTION_WINDOW, H2_RESETS, H2_STREAM_WINDOW, H2_STREAMS, HEAD_BYTES, HEAD_FIELDS},
    outcome::{Ending, Outcome},
};
use moorgate_net::leg::{Cut, Leg, TcpLeg};
use moorgate_tls::TlsStream;
use moorgate_wire::host::Asked;
use tokio::time::{sleep, timeout};

use crate::{
    client::Rewound,
    echo, exchange,
    gateway::Visit,
    head::{ask, fields},
    refuse::{self, say_no_on_stream},
    tunnel,
};

/// Bytes of one stream that wait for a slow client.
const SEND_BUFFER: usize = 256 * 1024;
/// How long a client without streams may take to answer the ping of a GOAWAY, and then to take the last one.
const GOODBYE: Duration = Duration::from_millis(500);

/// The life of an h2 connection: its streams live by themselves, side by side.
pub(super) async fn converse(visit: Arc<Visit>, stream: Rewound<TlsStream>) {
    let limits = &visit.gateway.limits;
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(2 * HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(H2_RESETS)
        .max_local_error_reset_streams(Some(H2_RESETS))
        .handshake(stream);
    let flow = visit.open_flow(visit.accepted);
    let mut connection = match timeout(limits.head, handshake).await {
        Ok(Ok(connection)) => {
            flow.forget();
            connection
        }
        Ok(Err(error)) => return flow.fail(&Failure::new(Code::Malformed, format_args!("the h2 preface: {error}"))),
        Err(_) => return flow.fail(&refuse::too_slow("the h2 preface", limits.head)),
    };
    let running = Running::default();
    let mut alarm = pin!(sleep(limits.idle_request));
    let mut leaving = false;
    loop {
        tokio::select! {
            biased;
            () = visit.gateway.drain.cancelled(), if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
                alarm.as_mut().reset((Instant::now() + GOODBYE).into());
            }
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    tokio::spawn(one_stream(visit.clone(), running.one_more(), request, respond));
                }
                // The end, or an error that ends every stream: each of them sees it by itself.
                Some(Err(_)) | None => return,
            },
            () = &mut alarm => {
                let wait = if leaving { GOODBYE } else { limits.idle_request };
                let now = Instant::now();
                match running.quiet_since().map(|since| since + wait) {
                    None => alarm.as_mut().reset((now + wait).into()),
                    Some(due) if due > now => alarm.as_mut().reset(due.into()),
                    Some(_) if leaving => return close(connection).await,
                    Some(_) => {
                        leaving = true;
                        connection.graceful_shutdown();
                        alarm.as_mut().reset((now + GOODBYE).into());
                    }
                }
            }
        }
    }
}

/// Closes a connection without streams whose client did not answer the ping that goes with a GOAWAY.
async fn close(mut connection: h2::server::Connection<Rewound<TlsStream>, Bytes>) {
    connection.abrupt_shutdown(Reason::NO_ERROR);
    // One that does not even take the GOAWAY is dropped as it is.
    let _ = timeout(GOODBYE, poll_fn(|cx| connection.poll_closed(cx))).await;
}

/// The streams of one connection that have not ended, tunnels included.
#[derive(Clone)]
struct Running(Arc<Mutex<Streams>>);

struct Streams {
    open: usize,
    /// When the last one ended, or the connection began.
    quiet: Instant,
}

/// One running stream.
struct OneMore(Running);

impl Default for Running {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Streams { open: 0, quiet: Instant::now() })))
    }
}

impl Running {
    fn one_more(&self) -> OneMore {
        self.lock().open += 1;
        OneMore(self.clone())
    }

    /// `None`: some are still running.
    fn quiet_since(&self) -> Option<Instant> {
        let streams = self.lock();
        (streams.open == 0).then_some(streams.quiet)
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        let mut streams = self.0.lock();
        streams.open -= 1;
        streams.quiet = Instant::now();
    }
}

/// One stream: its head has been read by the h2 library; decide, connect, relay or exchange, record.
async fn one_stream(
    visit: Arc<Visit>,
    running: OneMore,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let mut flow = visit.open_flow(Instant::now());
    if let Some(failure) = too_long(&request) {
        flow.record.target = request.uri().authority().map(|authority| authority.as_str().into());
        return say_no_on_stream(respond, flow, &failure, request.method() != Method::HEAD);
    }
    if request.method() != Method::CONNECT {
        return exchange::http2::run(&visit, request, respond, flow).await;
    }
    let (parts, body) = request.into_parts();
    let prepared = prepare(&visit, &parts, &mut flow);
    let (decided, entered) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return say_no_on_stream(respond, flow, &failure, true),
    };
    if decided.plan.destination == Destination::Echo {
        let Some(leg) = established(&mut respond, body, running, &mut flow) else {
            return flow.end(Outcome::Cut(Ending::ClientLeft));
        };
        return echo::serve_tunnel(visit, flow, entered, decided, leg, Box::default()).await;
    }
    let connected = tokio::select! {
        connected = visit.connect(&decided, &entered, &mut flow) => connected,
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return flow.end(Outcome::Cut(Ending::ClientLeft)),
    };
    let connected = match connected {
        Ok(connected) => connected,
        Err(failure) => return say_no_on_stream(respond, flow, &failure, true),
    };
    let Some(leg) = established(&mut respond, body, running, &mut flow) else {
        return flow.end(Outcome::Cut(Ending::ClientLeft));
    };
    tunnel::run(visit, flow, entered, leg, TcpLeg::new(connected.stream), Box::default());
}

/// A head beyond the bounds that hold over HTTP/1. The library's own bound is wider, so that this is said and recorded.
fn too_long(request: &Request<RecvStream>) -> Option<Failure> {
    let fields = request.headers();
    // RFC 9113 §6.5.2: what a field counts beside its letters.
    let bytes: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    (fields.len() > HEAD_FIELDS || bytes > HEAD_BYTES).then(|| {
        Failure::new(
            Code::HeadTooLong,
            format_args!(
                "the request's head is longer than {} KiB or has more than {HEAD_FIELDS} fields",
                HEAD_BYTES / 1024
            ),
        )
    })
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
    running: OneMore,
    flow: &mut OpenFlow,
) -> Option<H2Leg> {
    let send = respond.send_response(Response::new(()), false).ok()?;
    flow.record.status = Some(200);
    Some(H2Leg { send, receive: body, rest: Bytes::new(), _running: running })
}

/// A CONNECT stream of h2 as a leg (RFC 9113 §8.5): END_STREAM is Fin, RST_STREAM is Reset.
pub(crate) struct H2Leg {
    send: SendStream<Bytes>,
    receive: RecvStream,
    rest: Bytes,
    _running: OneMore,
}

impl Leg for H2Leg {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Cut>> {
        while self.rest.is_empty() {
            match self.receive.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(0)),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Cut::Reset)),
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
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Cut::Reset)),
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
        self.send.poll_reset(cx).map(|_| Cut::Reset)
    }

    fn abort(&mut self) {
        self.send.send_reset(Reason::CONNECT_ERROR);
    }
}
