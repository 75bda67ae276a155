//! Bound addresses, and the loop that accepts on them.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::runtime::sleep;

/// Connections that wait in the kernel.
const BACKLOG: i32 = 4096;
/// The pause after an accept that failed: the loop must not spin while descriptors are short.
const PAUSE: Duration = Duration::from_millis(20);

/// Binds `address` once for each worker. Port 0 is chosen by the kernel, the same for all.
///
/// # Errors
/// As bind(2): most often the address is in use.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    if workers <= 1 {
        return Ok(vec![open(address, false)?]);
    }
    // With SO_REUSEPORT a second gateway of the same user would share the port unseen: look first without.
    if address.port() != 0 {
        drop(open(address, false)?);
    }
    let first = open(address, true)?;
    let address = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..workers {
        all.push(open(address, true)?);
    }
    Ok(all)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `0.0.0.0` is a listener of its own.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    // Inherited by accepted sockets: one system call less for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// After an accept that failed: a pause, unless it was a peer that left while it waited.
pub async fn pause_after(error: io::Error) {
    if !is_about_the_peer(&error) {
        tracing::warn!(%error, "accept failed; trying again");
        sleep(PAUSE).await;
    }
}

fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
