//! Resolve, admit, bind, connect: in one place, so that the address that was checked is the address that is dialled.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use moorgate_contract::{
    admit::admit,
    decide::{Destination, Plan},
    failure::{Code, Failure},
    limits::{ADDRESSES_PER_NAME, Limits},
    snapshot::Site,
};
use moorgate_wire::visible::visible;
use nix::{
    libc,
    sys::socket::{setsockopt, sockopt::IpBindAddressNoPort},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    presence::PresenceWatch,
    resolver::Resolver,
    runtime::{TcpStream, timeout},
};

/// The pause before the next address is tried beside the ones under way (RFC 8305 §5, the recommended value).
const STAGGER: Duration = Duration::from_millis(250);

/// Reaches targets.
#[derive(Clone, Debug)]
pub struct Connector {
    resolver: Resolver,
    presence: PresenceWatch,
    resolve: Duration,
}

/// A connection, and where it leaves from.
#[derive(Debug)]
pub struct Connected {
    /// The socket, with Nagle's algorithm off.
    pub stream: TcpStream,
    /// The address that was dialled.
    pub address: SocketAddr,
    /// The address it leaves from.
    pub egress: IpAddr,
    /// The port it leaves from, where that had to be asked for.
    port: Option<u16>,
    /// How many addresses were dialled.
    pub tries: u32,
}

impl Connected {
    /// Address and port that it leaves from; port 0 when the kernel does not say.
    pub fn local(&self) -> SocketAddr {
        let asked = || self.stream.local_addr().map_or(0, |local| local.port());
        SocketAddr::new(self.egress, self.port.unwrap_or_else(asked))
    }
}

/// A connection that was not to be had.
#[derive(Debug)]
pub struct NotConnected {
    /// Why.
    pub failure: Failure,
    /// The address that was dialled first, if any was.
    pub address: Option<SocketAddr>,
    /// How many addresses were dialled.
    pub tries: u32,
}

impl From<Failure> for NotConnected {
    fn from(failure: Failure) -> Self {
        Self { failure, address: None, tries: 0 }
    }
}

impl Connector {
    /// A connector that gives a name as long to resolve as `limits` says.
    pub fn new(resolver: Resolver, presence: PresenceWatch, limits: &Limits) -> Self {
        Self { resolver, presence, resolve: limits.resolve }
    }

    /// What is local and present right now.
    pub fn presence(&self) -> &PresenceWatch {
        &self.presence
    }

    /// The addresses of a plan's destination.
    ///
    /// # Errors
    /// When the name has none, or no resolver answers in time.
    pub async fn resolve(&self, destination: &Destination) -> Result<Arc<[IpAddr]>, Failure> {
        match destination {
            Destination::Address(address) => Ok([*address].into()),
            Destination::Echo => Ok(Arc::default()),
            // Boxed: its state is two thirds of a connection's, and most of the time of no use.
            Destination::Name(name) => {
                timeout(self.resolve, Box::pin(self.resolver.resolve(name))).await.unwrap_or_else(|_| {
                    Err(Failure::new(
                        Code::NameNotResolved,
                        format_args!(
                            "{name} did not resolve within {} s; check [resolver] servers",
                            self.resolve.as_secs_f32()
                        ),
                    ))
                })
            }
        }
    }

    /// Carries a plan out as far as a connected socket; all attempts together take `limit` at most.
    ///
    /// # Errors
    /// The failure that the client is told.
    pub async fn connect(&self, site: &Site, plan: &Plan, limit: Duration) -> Result<Connected, NotConnected> {
        let addresses = self.resolve(&plan.destination).await?;
        let looked_at = addresses.get(..ADDRESSES_PER_NAME).unwrap_or(&addresses);
        let admitted = admit(&site.guard, &self.presence.now(), plan, looked_at, &mut ())?;
        let mut race = Race { connector: self, plan, tries: 0, first: None };
        let slow = |race: &Race<'_>| NotConnected {
            failure: Failure::new(
                Code::ConnectTimeout,
                format_args!("{} did not answer within {} s", visible(plan.asked.text()), limit.as_secs_f32()),
            ),
            address: race.first,
            tries: race.tries,
        };
        match timeout(limit, race.run(interleave(admitted))).await {
            Ok(Ok(connected)) => Ok(Connected { tries: race.tries, ..connected }),
            // Without an egress address no SYN left, to no address.
            Ok(Err(failure)) if failure.code == Code::NoEgressLeft => Err(failure.into()),
            Ok(Err(failure)) => Err(NotConnected { failure, address: race.first, tries: race.tries }),
            Err(_) => Err(slow(&race)),
        }
    }

    /// The address that a destination would see of `plan`, without connecting anywhere.
    ///
    /// # Errors
    /// [`Code::NoEgressLeft`], as a connection would meet it.
    pub fn would_leave_from(&self, plan: &Plan, loopback_profile: bool) -> Result<IpAddr, Failure> {
        if plan.egress().is_kernels_choice() {
            let v4 = IpAddr::from([127, 0, 0, 1]);
            return Ok(if loopback_profile { v4 } else { kernels_choice().unwrap_or(v4) });
        }
        let presence = self.presence.now();
        let order = |destination| plan.egress().order(plan.account.id.0, &plan.host(), destination);
        let mut addresses = order(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).chain(order(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        addresses.find(|address| presence.has(*address)).ok_or_else(|| Failure::no_egress_left(&plan.account.name))
    }

    /// One address, from the pair's addresses in their order, until one is present.
    async fn attempt(&self, plan: &Plan, address: SocketAddr) -> Result<Connected, Failure> {
        let connected = |stream, egress, port| Connected { stream, address, egress, port, tries: 0 };
        if plan.egress().is_kernels_choice() {
            let failed = |error| said(&error, address, None);
            let stream = dial(address, None).await.map_err(failed)?;
            let local = stream.local_addr().map_err(Dial::Connect).map_err(failed)?;
            return Ok(connected(stream, local.ip(), Some(local.port())));
        }
        for egress in plan.egress().order(plan.account.id.0, &plan.host(), address.ip()) {
            if !self.presence.now().has(egress) {
                continue;
            }
            let dialled = tokio::select! {
                biased;
                dialled = dial(address, Some(egress)) => dialled,
                // The address went while its SYN was on the way: nothing will come back to it.
                () = self.presence.left(egress) => continue,
            };
            match dialled {
                Ok(stream) => return Ok(connected(stream, egress, None)),
                // It may have gone between the bind and the SYN, too.
                Err(_) if self.presence.is_gone(egress) => {}
                Err(error) => return Err(said(&error, address, Some(egress))),
            }
        }
        Err(Failure::no_egress_left(&plan.account.name))
    }
}

/// The address that the kernel would leave from toward the internet. Connecting a UDP socket sends nothing.
fn kernels_choice() -> Option<IpAddr> {
    let toward = |from: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0)).ok()?;
        socket.connect(SocketAddr::new(to, 9)).ok()?;
        socket.local_addr().ok().map(|local| local.ip())
    };
    // Documentation addresses (RFC 5737, RFC 3849): routed by the default route and by nothing else.
    toward(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
        .or_else(|| toward(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()))
}

/// RFC 8305: addresses side by side, each a little later than the one before, at once when the one before failed.
struct Race<'a> {
    connector: &'a Connector,
    plan: &'a Plan,
    tries: u32,
    first: Option<SocketAddr>,
}

impl Race<'_> {
    async fn run(&mut self, addresses: Vec<SocketAddr>) -> Result<Connected, Failure> {
        if let [only] = *addresses {
            // Most destinations have one address, and one does not race.
            self.tries += 1;
            self.first = Some(only);
            return self.connector.attempt(self.plan, only).await;
        }
        // Its state is large.
        Box::pin(self.several(addresses)).await
    }

    async fn several(&mut self, addresses: Vec<SocketAddr>) -> Result<Connected, Failure> {
        let mut waiting = addresses.into_iter();
        let mut under_way = FuturesUnordered::new();
        let mut first_failure = None;
        loop {
            // No timer before the first: a timer of "now" would cost a millisecond and a system call.
            if let Some(address) = waiting.next() {
                self.tries += 1;
                self.first.get_or_insert(address);
                under_way.push(self.connector.attempt(self.plan, address));
            }
            let ended = if waiting.len() == 0 {
                under_way.next().await
            } else {
                // Not in time: the next one starts beside it.
                let Ok(ended) = timeout(STAGGER, under_way.next()).await else { continue };
                ended
            };
            match ended {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(failure)) => drop(first_failure.get_or_insert(failure)),
                None if waiting.len() == 0 => break,
                None => {}
            }
        }
        Err(first_failure.unwrap_or_else(|| Failure::new(Code::Internal, "no address was tried")))
    }
}

/// Families in turn, beginning with the first one's (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else { return addresses };
    if addresses.iter().all(|address| address.is_ipv4() == first) {
        return addresses;
    }
    let (mut one, mut other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == first);
    one.reverse();
    other.reverse();
    let mut order = Vec::with_capacity(one.len() + other.len());
    while let Some(address) = one.pop() {
        order.push(address);
        order.extend(other.pop());
    }
    order.extend(other.into_iter().rev());
    order
}

/// Where dialling failed.
#[derive(Debug)]
enum Dial {
    Socket(io::Error),
    Bind(io::Error),
    Connect(io::Error),
}

async fn dial(address: SocketAddr, egress: Option<IpAddr>) -> Result<TcpStream, Dial> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP));
    let socket = socket.map_err(Dial::Socket)?;
    socket.set_tcp_nodelay(true).map_err(Dial::Socket)?;
    if let Some(egress) = egress {
        // Ports are then chosen at connect and unique per destination, not per egress address (ip(7)). Kernels without
        // the option for this family still bind, with fewer ports.
        let _ = setsockopt(&socket, IpBindAddressNoPort, &true);
        socket.bind(&SocketAddr::new(egress, 0).into()).map_err(Dial::Bind)?;
    }
    TcpStream::connect(socket, address).await.map_err(Dial::Connect)
}

fn said(error: &Dial, address: SocketAddr, egress: Option<IpAddr>) -> Failure {
    let (Dial::Socket(cause) | Dial::Bind(cause) | Dial::Connect(cause)) = error;
    match (error, cause.raw_os_error()) {
        (Dial::Socket(_), Some(libc::EMFILE | libc::ENFILE)) => {
            Failure::new(Code::Full, "the gateway has no descriptor left; try again shortly")
        }
        (Dial::Connect(_), Some(libc::ECONNREFUSED)) => Failure::new(
            Code::ConnectionRefused,
            format_args!("{address} refused the connection: nothing listens there"),
        ),
        (Dial::Connect(_), Some(libc::ENETUNREACH)) => {
            Failure::new(Code::NetworkUnreachable, format_args!("the gateway has no route to the network of {address}"))
        }
        (Dial::Connect(_), Some(libc::EHOSTUNREACH | libc::EACCES | libc::EPERM)) => {
            Failure::new(Code::HostUnreachable, format_args!("{address} can't be reached from the gateway: {cause}"))
        }
        (Dial::Connect(_), Some(libc::ETIMEDOUT)) => {
            Failure::new(Code::ConnectTimeout, format_args!("{address} did not answer"))
        }
        (Dial::Connect(_), Some(libc::EADDRNOTAVAIL)) => Failure::new(
            Code::PortsExhausted,
            format_args!(
                "every source port from {} to {address} is in use",
                egress.map_or("the gateway".into(), |egress| egress.to_string())
            ),
        ),
        (Dial::Connect(_), Some(libc::ECONNRESET)) => {
            Failure::new(Code::ConnectionRefused, format_args!("{address} reset the connection"))
        }
        _ => Failure::new(Code::HostUnreachable, format_args!("{address} can't be reached: {cause}")),
    }
}
