//! The listener: HTTP/1.1 with every phase bounded, since the console must answer while someone stalls it.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{ApiState, access::Peer, router};

/// What a connection may take. Units in the types.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A request's head from its first byte on, and the pause before it.
    pub(super) head: Duration,
    /// Bytes that wait to be acknowledged: a reader that takes nothing for this long is gone.
    pub(super) unread: Duration,
    /// What is open when the gateway goes down may take this long to finish.
    pub(super) drain: Duration,
    /// Connections at once.
    pub(super) connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            unread: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            connections: 256,
        }
    }
}

/// The longest head, in bytes, and the most fields in it.
const HEAD_BYTES: usize = 16 << 10;
const HEAD_FIELDS: usize = 64;
/// After an accept that failed (out of descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// To those beyond the limit of connections.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n\
    Content-Length: 43\r\n\r\nfull: too many connections, try again soon\n";

/// Tells long answers that the gateway goes down.
#[derive(Clone, Debug)]
pub(super) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Returns when it does.
    pub(super) async fn wait(&mut self) {
        // An error means that the server itself is gone.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// Serves the API on `listener` until `shutdown`, then lets open requests finish for five seconds.
pub async fn serve(listener: TcpListener, state: ApiState, shutdown: impl Future<Output = ()>) {
    serve_within(listener, router(state), Limits::default(), shutdown).await;
}

pub(super) async fn serve_within(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(false);
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                connections.spawn(connection(
                    stream,
                    Peer(peer),
                    place,
                    router.clone(),
                    limits,
                    Stopping(stopping.clone()),
                ));
            }
            Err(_) => turn_away(&stream),
        }
    }
    drop(listener);
    stop.send_replace(true);
    let _ = timeout(limits.drain, async { while connections.join_next().await.is_some() {} }).await;
}

/// Says 503 if it can be said at once; a connection too many is not waited for.
fn turn_away(stream: &TcpStream) {
    let _ = stream.try_write(FULL);
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    place: OwnedSemaphorePermit,
    router: Router,
    limits: Limits,
    mut stopping: Stopping,
) {
    let _place = place;
    let _ = stream.set_nodelay(true);
    // Covers a reader that closed its window too (RFC 5482; the kernel counts its probes).
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(limits.unread));
    let (service, told) = (TowerToHyperService::new(router), stopping.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(told.clone());
        service.call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD_BYTES).max_headers(HEAD_FIELDS);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // How a connection ends is the peer's affair: an error here is one that left.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopping.wait() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
