//! Accept: one loop for each listener on each worker, and the sweep beside them.

use std::{net::SocketAddr, sync::Arc};

use moorgate_contract::{limits::SWEEP, listener::Listener};
use moorgate_net::{farewell::answer_and_close, listener::accept};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    gateway::{Gateway, Visit},
    inbound, outbound, refuse,
};

/// Serves `listeners` on the runtime it runs on, which is worker `worker`, until the gateway drains and its last
/// connection is gone.
pub async fn serve(gateway: Arc<Gateway>, worker: usize, listeners: Vec<(Listener, std::net::TcpListener)>) {
    let mut loops = JoinSet::new();
    for (listener, socket) in listeners {
        match TcpListener::from_std(socket) {
            Ok(socket) => {
                loops.spawn(accept_all(gateway.clone(), worker, listener, socket));
            }
            Err(error) => tracing::error!(%error, listener = listener.name(), "this worker can't serve a listener"),
        }
    }
    let sweep = tokio::spawn(sweep(gateway.clone(), worker));
    gateway.drain.cancelled().await;
    // Dropping the sockets refuses whoever connects from now on.
    loops.shutdown().await;
    gateway.connections.wait().await;
    sweep.abort();
}

async fn sweep(gateway: Arc<Gateway>, worker: usize) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        gateway.sweep(worker);
    }
}

async fn accept_all(gateway: Arc<Gateway>, worker: usize, listener: Listener, socket: TcpListener) {
    loop {
        let (stream, client) = accept(&socket).await;
        // An IPv4 client of a dual-stack socket is an IPv4 client.
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let place = gateway.places.clone().try_acquire_owned().ok();
        match place.and_then(|place| gateway.welcome(listener, client, worker, place)) {
            Some(visit) => begin(visit, stream),
            // Beyond what is refused at once, the kernel's queue waits: the loop must not take descriptors that are not there.
            None => {
                if let Ok(refusing) = gateway.refusing.clone().acquire_owned().await {
                    let gateway = gateway.clone();
                    tokio::spawn(async move {
                        refuse_full(&gateway, listener, client, stream).await;
                        drop(refusing);
                    });
                }
            }
        }
    }
}

/// Each listener's task is as large as its own conversation, and no larger.
fn begin(visit: Visit, stream: TcpStream) {
    match visit.listener {
        Listener::InboundHttp => tokio::spawn(inbound::http(visit, stream)),
        Listener::InboundTls => tokio::spawn(inbound::tls(visit, stream)),
        Listener::OutboundHttp => tokio::spawn(outbound::http(Arc::new(visit), stream)),
        Listener::OutboundHttps => tokio::spawn(outbound::https(Arc::new(visit), stream)),
        Listener::OutboundSocks => tokio::spawn(outbound::socks(Arc::new(visit), stream)),
        Listener::OutboundSocksTls => tokio::spawn(outbound::socks_tls(Arc::new(visit), stream)),
    };
}

/// The gateway has no place left: said in the listener's own language, and recorded.
async fn refuse_full(gateway: &Gateway, listener: Listener, client: SocketAddr, mut stream: TcpStream) {
    let failure = gateway.record_full(listener, client);
    match listener {
        Listener::InboundHttp | Listener::OutboundHttp => {
            let answer = refuse::Refusal::of(&failure).encode(false, true);
            answer_and_close(&mut stream, &answer).await;
        }
        Listener::OutboundSocks => outbound::refuse_full_socks(stream, &failure).await,
        // Without a place there is no handshake either.
        Listener::InboundTls | Listener::OutboundHttps | Listener::OutboundSocksTls => {}
    }
}
