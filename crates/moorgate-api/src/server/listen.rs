//! The listener: HTTP/1.1 with every phase bounded, since the console must answer while someone stalls it.

use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

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
use moorgate_tls::Terminator;
use moorgate_wire::name::DomainName;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{ApiState, hosts::Reached, router};

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

/// Tells long answers that the gateway goes down; an extension of the request.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Returns when it does.
    pub async fn wait(&mut self) {
        // An error means that the server itself is gone.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// How a request came; an extension of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// From where.
    pub peer: SocketAddr,
    /// Whether nobody on the way could read it.
    pub tls: bool,
}

/// How a listener is reached.
#[derive(Clone)]
pub enum Door {
    /// Plain HTTP, on a loopback address.
    Loopback,
    /// TLS, on any other.
    Tls {
        /// What opens it.
        terminator: Terminator,
        /// The name in its certificate.
        hostname: DomainName,
    },
}

/// Serves the API, and `pages`, on `listener` until `shutdown`, then lets open requests finish for five seconds.
pub async fn serve(
    listener: TcpListener,
    door: Door,
    state: ApiState,
    pages: Router,
    shutdown: impl Future<Output = ()>,
) {
    serve_within(listener, door, router(state, pages), Limits::default(), shutdown).await;
}

pub(super) async fn serve_within(
    listener: TcpListener,
    door: Door,
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
                let visit = Visit { peer, router: router.clone(), limits, stopping: Stopping(stopping.clone()) };
                let door = door.clone();
                connections.spawn(async move {
                    let _place = place;
                    visit.enter(stream, door).await;
                });
            }
            Err(_) if matches!(door, Door::Loopback) => turn_away(&stream),
            // Whoever waits for TLS can be told nothing.
            Err(_) => {}
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

/// One connection, and what it needs on its way.
struct Visit {
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    stopping: Stopping,
}

impl Visit {
    async fn enter(self, stream: TcpStream, door: Door) {
        let _ = stream.set_nodelay(true);
        // Covers a reader that closed its window too (RFC 5482; the kernel counts its probes).
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(self.limits.unread));
        match door {
            Door::Loopback => self.serve(stream, Reached::Loopback).await,
            Door::Tls { terminator, hostname } => {
                // A handshake that fails is the peer's affair.
                if let Ok(Ok(stream)) = timeout(self.limits.head, terminator.accept_within(stream)).await {
                    self.serve(stream, Reached::Tls(Arc::new(hostname))).await;
                }
            }
        }
    }

    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin, reached: Reached) {
        let (service, told) = (TowerToHyperService::new(self.router), self.stopping.clone());
        let arrival = Arrival { peer: self.peer, tls: matches!(reached, Reached::Tls(_)) };
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(arrival);
            request.extensions_mut().insert(reached.clone());
            request.extensions_mut().insert(told.clone());
            service.call(request)
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.limits.head);
        builder.max_buf_size(HEAD_BYTES).max_headers(HEAD_FIELDS);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        // How a connection ends is the peer's affair: an error here is one that left.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.stopping.wait() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}
