//! The sockets of the zone's server. Bounded in everything: whoever asks much must not take from traffic.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use datagram::Datagrams;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    message::{Transport, respond},
    zone::{Targets, Zone},
};

/// The most connections, and the most of one address.
const CONNECTIONS: usize = 256;
const CONNECTIONS_OF_ONE: usize = 8;
/// How long a connection may say nothing, or take for one question or answer (RFC 7766 §6.2.3).
const IDLE: Duration = Duration::from_secs(5);
/// Questions of one connection.
const QUESTIONS: usize = 1_000;
/// The longest datagram that is read.
const DATAGRAM: usize = 4_096;
/// Between two tries of a socket that fails.
const PAUSE: Duration = Duration::from_millis(100);

mod datagram;

/// A server's sockets: UDP and TCP of one address.
#[derive(Debug)]
pub struct Sockets {
    udp: StdUdpSocket,
    tcp: StdTcpListener,
}

impl Sockets {
    /// Binds both on one port, also where the kernel chooses it.
    ///
    /// # Errors
    /// As bind(2).
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let tcp = socket(address, Type::STREAM)?;
        tcp.listen(BACKLOG)?;
        let tcp = StdTcpListener::from(tcp);
        let udp = socket(tcp.local_addr()?, Type::DGRAM)?.into();
        Ok(Self { udp, tcp })
    }

    /// Where they are bound.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

fn socket(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        // 0.0.0.0 and [::] each take their own family.
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Where the zone is as it is now.
pub trait Source: Send + Sync + 'static {
    /// The zone of this moment; `None`: nothing is known yet.
    fn zone(&self) -> Option<Arc<Zone>>;
    /// The targets in it.
    fn targets(&self) -> &dyn Targets;
}

/// A server on its sockets. Ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    tasks: Vec<AbortHandle>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Server {
    /// Answers on these sockets. Must be called within a tokio runtime, where it then runs.
    ///
    /// # Errors
    /// A socket that the runtime refuses.
    pub fn start(sockets: Vec<Sockets>, source: &Arc<dyn Source>) -> io::Result<Self> {
        let mut server = Self { tasks: Vec::new() };
        for Sockets { udp, tcp } in sockets {
            let (udp, tcp) = (Datagrams::new(udp)?, TcpListener::from_std(tcp)?);
            server.tasks.push(tokio::spawn(datagrams(udp, source.clone())).abort_handle());
            server.tasks.push(tokio::spawn(streams(tcp, source.clone())).abort_handle());
        }
        Ok(server)
    }
}

async fn datagrams(socket: Datagrams, source: Arc<dyn Source>) {
    let mut packet = vec![0; DATAGRAM];
    loop {
        let Ok((length, way)) = socket.receive(&mut packet).await else {
            // Of an answer that somebody refused, or of a lack of memory: neither ends it.
            sleep(PAUSE).await;
            continue;
        };
        let answer = packet.get(..length).and_then(|packet| answer(packet, Transport::Udp, &*source));
        if let Some(answer) = answer {
            // A datagram that is lost is asked for again.
            let _ = socket.answer(&answer, way);
        }
    }
}

fn answer(packet: &[u8], transport: Transport, source: &dyn Source) -> Option<Vec<u8>> {
    let zone = source.zone()?;
    respond(packet, transport, &zone, source.targets())
}

async fn streams(listener: TcpListener, source: Arc<dyn Source>) {
    let open = Arc::new(Open::default());
    // Ends with its connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    if let Some(place) = open.take(from.ip()) {
                        let source = source.clone();
                        connections.spawn(async move {
                            let _place = place;
                            // Whoever breaks off has what was answered.
                            let _ = converse(stream, &*source).await;
                        });
                    }
                }
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Each message with its length before it (RFC 1035 §4.2.2).
async fn converse(mut stream: TcpStream, source: &dyn Source) -> io::Result<()> {
    for _ in 0..QUESTIONS {
        let packet = timeout(IDLE, async {
            let length = stream.read_u16().await?;
            let mut packet = vec![0; usize::from(length)];
            stream.read_exact(&mut packet).await?;
            io::Result::Ok(packet)
        });
        let packet = packet.await??;
        let Some(answer) = answer(&packet, Transport::Tcp, source) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
    Ok(())
}

/// Who has how many connections.
#[derive(Debug, Default)]
struct Open(Mutex<HashMap<IpAddr, usize>>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, from: IpAddr) -> Option<OpenPlace> {
        let mut open = self.lock();
        let (all, own): (usize, _) = (open.values().sum(), open.get(&from).copied().unwrap_or_default());
        if all >= CONNECTIONS || own >= CONNECTIONS_OF_ONE {
            return None;
        }
        open.insert(from, own + 1);
        Some(OpenPlace { open: self.clone(), from })
    }
}

struct OpenPlace {
    open: Arc<Open>,
    from: IpAddr,
}

impl Drop for OpenPlace {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(own) = open.get_mut(&self.from) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests;
