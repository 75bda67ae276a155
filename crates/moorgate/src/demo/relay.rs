//! The recording relays: one stands on each leg, takes connections and passes every byte on as it came.
//!
//! A relay never reads what it carries. One that opens TLS onward records what goes into that session, so what whoever
//! ends it can read: it stands inside the client, before its TLS, and no other party ever connects to it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use moorgate_tls::Originator;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{
    DemoError,
    tape::{Direction, Tape, Track},
};
use crate::output;

/// What is read at once, in bytes.
const READ: usize = 16 * 1024;
/// How long the connections may take to end once their ends are gone.
const SETTLE: Duration = Duration::from_secs(2);

/// Where a relay connects to.
#[derive(Clone)]
pub(super) enum Onward {
    /// There, from the address that the client came from: the next one sees who it was.
    Tcp(SocketAddr),
    /// There, over TLS with the server of this name.
    Tls(SocketAddr, Originator, String),
}

/// A running relay. Ends when dropped.
pub(super) struct Relay {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// What it recorded.
    pub(super) tape: Tape,
    connections: TaskTracker,
    _accepting: AbortOnDropHandle<()>,
}

/// A port of loopback's that the kernel chooses.
pub(super) async fn listen() -> Result<(TcpListener, SocketAddr), DemoError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DemoError::Listen)?;
    let address = listener.local_addr().map_err(DemoError::Listen)?;
    Ok((listener, address))
}

impl Relay {
    /// Starts one that records on `tape`.
    ///
    /// # Errors
    /// When there is no port for it.
    pub(super) async fn start(onward: Onward, tape: Tape) -> Result<Self, DemoError> {
        let (listener, address) = listen().await?;
        let connections = TaskTracker::new();
        let (to, carried) = (tape.clone(), connections.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, peer)) = listener.accept().await {
                let (onward, track) = (onward.clone(), to.open(peer.ip()));
                carried.spawn(async move {
                    if let Err(why) = carry(client, peer.ip(), onward, &track).await {
                        track.failed(why);
                    }
                });
            }
        });
        Ok(Self { address, tape, connections, _accepting: AbortOnDropHandle::new(accepting) })
    }

    /// Waits until its connections have ended, within a bound.
    pub(super) async fn settle(&self) {
        self.connections.close();
        // What is open still has been recorded up to here.
        let _ = timeout(SETTLE, self.connections.wait()).await;
    }
}

async fn carry(client: TcpStream, from: IpAddr, onward: Onward, track: &Track) -> Result<(), String> {
    // Without it small messages only wait longer.
    let _ = client.set_nodelay(true);
    match onward {
        Onward::Tcp(address) => {
            let server = connect(from, address).await.map_err(|error| output::chain(&error))?;
            both(client, server, track).await;
        }
        Onward::Tls(address, originator, name) => {
            let server = connect(from, address).await.map_err(|error| output::chain(&error))?;
            let server = originator.connect(server, &name).await.map_err(|error| output::chain(&error))?;
            track.certificate(server.peer_certificate());
            both(client, server, track).await;
        }
    }
    Ok(())
}

async fn connect(from: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(address).await?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn both(client: TcpStream, server: impl AsyncRead + AsyncWrite, track: &Track) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    tokio::join!(
        copy(from_client, to_server, track, Direction::Up),
        copy(from_server, to_client, track, Direction::Down)
    );
}

/// One direction, until its end. A break is passed on as an end: the demo has nothing to say about it.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, track: &Track, direction: Direction) {
    let mut buf = Vec::with_capacity(READ);
    while let Ok(1..) = from.read_buf(&mut buf).await {
        if !track.record(direction, &buf) || to.write_all(&buf).await.is_err() || to.flush().await.is_err() {
            break;
        }
        buf.clear();
    }
    let _ = to.shutdown().await;
}
