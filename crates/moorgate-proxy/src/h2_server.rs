//! One h2 connection of a client: its limits, its idle time, its drain. Each stream is handed out by itself.

mod cork;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::Request;
use moorgate_contract::{
    failure::{Code, Failure},
    flow::OpenFlow,
    limits::{
        H2_BROKEN_OFF, H2_BROKEN_OFF_WITHIN, H2_CONNECTION_WINDOW, H2_RESETS, H2_STREAM_WINDOW, H2_STREAMS, HEAD_BYTES,
        HEAD_FIELDS, INBOUND_H2_CONNECTION_WINDOW, INBOUND_H2_STREAM_WINDOW, INBOUND_H2_STREAMS,
    },
};
use moorgate_net::{
    registry::Open,
    runtime::{now, sleep, spawn, timeout},
};

use cork::Corked;
pub(crate) use cork::Hold;

use crate::{
    gateway::Visit,
    head,
    refuse::{StreamEnd, too_slow},
};

type Connection<S> = h2::server::Connection<Corked<S>, Bytes>;

/// What one connection may hold.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    streams: u32,
    stream_window: u32,
    connection_window: u32,
}

/// A proxy's client: an agent in front of a whole office is one connection.
pub(crate) const OUTBOUND: Bounds =
    Bounds { streams: H2_STREAMS, stream_window: H2_STREAM_WINDOW, connection_window: H2_CONNECTION_WINDOW };
/// Anybody, who comes by a route.
pub(crate) const INBOUND: Bounds = Bounds {
    streams: INBOUND_H2_STREAMS,
    stream_window: INBOUND_H2_STREAM_WINDOW,
    connection_window: INBOUND_H2_CONNECTION_WINDOW,
};

/// Bytes of one stream that wait for a slow client.
pub(crate) const SEND_BUFFER: usize = 256 * 1024;
/// How long a client without streams may take to answer the ping of a GOAWAY, and then to take the last one.
const GOODBYE: Duration = Duration::from_millis(500);

/// A connection that was closed for what its client said: no stream of it need ever have been a request.
pub(crate) struct GivenUp {
    pub(crate) flow: OpenFlow,
    why: Failure,
}

impl GivenUp {
    /// Records it.
    pub(crate) fn record(self) {
        self.flow.fail(&self.why);
    }
}

/// Serves a connection until it is over, idle for too long, drained, or `cut`. `handle` gets each stream.
///
/// # Errors
/// When it was given up, to be recorded by who knows more of it.
pub(crate) async fn serve<S, H, F>(
    visit: Arc<Visit>,
    stream: S,
    bounds: Bounds,
    cut: Option<&Open>,
    handle: H,
) -> Result<(), GivenUp>
where
    S: Hold,
    H: Fn(Arc<Visit>, OneMore, Request<RecvStream>, SendResponse<Bytes>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let limits = &visit.gateway.limits;
    let stream = Corked::new(stream);
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(u32::try_from(2 * HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_window_size(bounds.stream_window)
        .initial_connection_window_size(bounds.connection_window)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(H2_RESETS)
        .max_local_error_reset_streams(Some(H2_RESETS))
        .handshake(stream.clone());
    let flow = visit.open_flow(visit.accepted);
    let mut connection = match timeout(limits.head, handshake).await {
        Ok(Ok(connection)) => {
            flow.forget();
            connection
        }
        Ok(Err(error)) => {
            let why = Failure::new(Code::Malformed, format_args!("the h2 preface: {error}"));
            return Err(GivenUp { flow, why });
        }
        Err(_) => return Err(GivenUp { flow, why: too_slow("the h2 preface", limits.head) }),
    };
    stream.hold();
    let running = Running::default();
    let mut alarm = sleep(limits.idle_request);
    let mut draining = pin!(visit.gateway.drain.cancelled());
    let mut leaving = false;
    loop {
        tokio::select! {
            biased;
            // Its streams are cut by themselves.
            () = poll_fn(|cx| cut.map_or(Poll::Pending, |cut| cut.poll_cut(cx).map(drop))) => {
                close(connection, Reason::NO_ERROR).await;
                return Ok(());
            }
            () = &mut draining, if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
                alarm.reset(now() + GOODBYE);
            }
            accepted = accept(&mut connection, &stream) => match accepted {
                Some(Ok(_)) if running.broke_off_too_many() => {
                    tracing::warn!(
                        client = %visit.client,
                        "an h2 client broke off more than {H2_BROKEN_OFF} streams within {} s; its connection is closed",
                        H2_BROKEN_OFF_WITHIN.as_secs()
                    );
                    close(connection, Reason::ENHANCE_YOUR_CALM).await;
                    return Ok(());
                }
                Some(Ok((request, respond))) => {
                    // Boxed: a task is moved whole when it begins and once more when it ends.
                    spawn(Box::pin(handle(visit.clone(), running.one_more(), request, respond)));
                }
                // The end, or an error that ends every stream: each of them sees it by itself.
                Some(Err(error)) if error.is_go_away() && error.is_library() => {
                    let why = Failure::new(Code::Malformed, format_args!("the h2 connection was given up: {error}"));
                    return Err(GivenUp { flow: visit.open_flow(visit.accepted), why });
                }
                Some(Err(_)) | None => return Ok(()),
            },
            () = &mut alarm => {
                let wait = if leaving { GOODBYE } else { limits.idle_request };
                let now = now();
                match running.quiet_since().map(|since| since + wait) {
                    None => alarm.reset(now + wait),
                    Some(due) if due > now => alarm.reset(due),
                    Some(_) if leaving => {
                        close(connection, Reason::NO_ERROR).await;
                        return Ok(());
                    }
                    Some(_) => {
                        leaving = true;
                        connection.graceful_shutdown();
                        alarm.reset(now + GOODBYE);
                    }
                }
            }
        }
    }
}

type Accepted = Option<Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>>;

/// The next stream; `None` at the connection's end. Whenever there is none for now, all that was written goes out.
async fn accept<S: Hold>(connection: &mut Connection<S>, stream: &Corked<S>) -> Accepted {
    let mut accepted = pin!(connection.accept());
    poll_fn(|cx| match accepted.as_mut().poll(cx) {
        Poll::Pending => match ready!(stream.poll_out(cx)) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        },
        accepted => accepted,
    })
    .await
}

/// Closes a connection with a GOAWAY that does not wait for the client to agree.
async fn close<S: Hold>(mut connection: Connection<S>, reason: Reason) {
    connection.abrupt_shutdown(reason);
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
    /// How many the client has broken off since `counted`.
    broken_off: usize,
    counted: Instant,
}

/// One running stream.
pub(crate) struct OneMore {
    running: Running,
    broken_off: bool,
}

impl Default for Running {
    fn default() -> Self {
        let now = now();
        Self(Arc::new(Mutex::new(Streams { open: 0, quiet: now, broken_off: 0, counted: now })))
    }
}

impl Running {
    fn one_more(&self) -> OneMore {
        self.lock().open += 1;
        OneMore { running: self.clone(), broken_off: false }
    }

    fn broke_off_too_many(&self) -> bool {
        self.lock().broken_off > H2_BROKEN_OFF
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

impl OneMore {
    /// Takes note of how it ended for its client.
    pub(crate) fn ended(&mut self, how: StreamEnd) {
        self.broken_off |= how == StreamEnd::BrokenOff;
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        let mut streams = self.running.lock();
        let now = now();
        streams.open -= 1;
        streams.quiet = now;
        if self.broken_off {
            if now.duration_since(streams.counted) > H2_BROKEN_OFF_WITHIN {
                (streams.counted, streams.broken_off) = (now, 0);
            }
            streams.broken_off += 1;
        }
    }
}

/// A head beyond the bounds that hold over HTTP/1. The library's own bound is wider, so that this is said and recorded.
pub(crate) fn too_long(parts: &http::request::Parts) -> Option<Failure> {
    let fields = &parts.headers;
    // RFC 9113 §6.5.2: what a field counts beside its letters.
    let bytes: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    (fields.len() > HEAD_FIELDS || bytes > HEAD_BYTES).then(head::too_long)
}
