//! Accept: one loop for each listener on each worker, and the sweep beside them.

use std::{net::SocketAddr, sync::Arc};

use futures_util::{
    FutureExt as _,
    future::{AbortHandle, abortable},
};
use moorgate_contract::{limits::SWEEP, listener::Listener};
use moorgate_net::{
    farewell::answer_and_close,
    listener::pause_after,
    runtime::{TcpListener, TcpStream, sleep, spawn},
};

use crate::{
    gateway::{Gateway, Visit},
    inbound, outbound, refuse,
};

/// Serves `listeners` on the runtime it runs on, which is worker `worker`, until the gateway drains and its last
/// connection is gone.
pub async fn serve(gateway: Arc<Gateway>, worker: usize, listeners: Vec<(Listener, std::net::TcpListener)>) {
    let mut loops = Vec::new();
    for (listener, socket) in listeners {
        match TcpListener::from_std(socket) {
            Ok(socket) => {
                let (accepting, ending) = abortable(accept_all(gateway.clone(), worker, listener, socket));
                spawn(accepting.map(drop));
                loops.push(ending);
            }
            Err(error) => tracing::error!(%error, listener = listener.name(), "this worker can't serve a listener"),
        }
    }
    let (sweeping, sweeps) = abortable(sweep(gateway.clone(), worker));
    spawn(sweeping.map(drop));
    gateway.drain.cancelled().await;
    // Dropping the sockets refuses whoever connects from now on.
    loops.iter().for_each(AbortHandle::abort);
    gateway.connections.wait().await;
    sweeps.abort();
}

async fn sweep(gateway: Arc<Gateway>, worker: usize) {
    loop {
        gateway.sweep(worker);
        sleep(SWEEP).await;
    }
}

async fn accept_all(gateway: Arc<Gateway>, worker: usize, listener: Listener, socket: TcpListener) {
    loop {
        let (stream, client) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(error).await;
                continue;
            }
        };
        // An IPv4 client of a dual-stack socket is an IPv4 client.
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let place = gateway.places.clone().try_acquire_owned().ok();
        match place.and_then(|place| gateway.welcome(listener, client, worker, place)) {
            Some(visit) => begin(visit, stream),
            // Beyond what is refused at once, the kernel's queue waits: the loop must not take descriptors that are not there.
            None => {
                if let Ok(refusing) = gateway.refusing.clone().acquire_owned().await {
                    let gateway = gateway.clone();
                    spawn(async move {
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
        Listener::InboundHttp => spawn(inbound::http(visit, stream)),
        Listener::InboundTls => spawn(inbound::tls(visit, stream)),
        Listener::OutboundHttp => spawn(outbound::http(Arc::new(visit), stream)),
        Listener::OutboundHttps => spawn(outbound::https(Arc::new(visit), stream)),
        Listener::OutboundSocks => spawn(outbound::socks(Arc::new(visit), stream)),
        Listener::OutboundSocksTls => spawn(outbound::socks_tls(Arc::new(visit), stream)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, F>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_conversations_task_is_small() {
        for (what, size, most) in [
            ("inbound http", size(inbound::http), 2_900),
            ("inbound tls", size(inbound::tls), 2_300),
            ("http", size(outbound::http), 2_900),
            ("https", size(outbound::https), 4_800),
            ("socks", size(outbound::socks), 1_800),
            ("socks tls", size(outbound::socks_tls), 1_800),
        ] {
            assert!(size <= most, "{what}: {size} bytes, at most {most} were expected");
        }
    }
}
