//! Every listener, bound before anything else happens: what is taken is said with who holds it and which key to change.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use moorgate_contract::listener::Listener;
use moorgate_dns::server::Sockets as ZoneSockets;
use moorgate_net::{holder, listener::bind};

use super::UpError;
use crate::config::{CONSOLE_VARIABLE, Config, variable_of};

/// Where everything is bound, ports of 0 resolved.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) traffic: Vec<(Listener, SocketAddr)>,
    /// What people and programs elsewhere use.
    pub(super) console: SocketAddr,
    /// What commands on this machine use, always on loopback: the same, if that is.
    pub(super) api: SocketAddr,
    /// The zone's server.
    pub(super) dns: Vec<SocketAddr>,
}

impl Addresses {
    /// Every address, those of console, API and zone too.
    pub(super) fn all(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.traffic.iter().map(|(_, address)| *address).chain([self.console, self.api]).chain(self.dns.iter().copied())
    }

    /// The addresses of one listener.
    pub(super) fn of(&self, listener: Listener) -> impl Iterator<Item = SocketAddr> + '_ {
        self.traffic.iter().filter(move |(own, _)| *own == listener).map(|(_, address)| *address)
    }
}

/// The sockets: for each worker its own of every listener.
pub(super) struct Sockets {
    pub(super) traffic: Vec<Vec<(Listener, TcpListener)>>,
    pub(super) console: TcpListener,
    /// Beside the console, where that is not on loopback.
    pub(super) api: Option<TcpListener>,
    pub(super) dns: Vec<ZoneSockets>,
}

/// Everything bound.
pub(super) struct Bound {
    pub(super) addresses: Addresses,
    pub(super) sockets: Sockets,
}

impl Bound {
    /// Binds everything that `config` names.
    pub(super) fn bind(config: &Config, workers: usize) -> Result<Self, UpError> {
        let mut traffic: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for (listener, address) in config.listeners() {
            let sockets = match bind(address, workers) {
                Ok(sockets) => sockets,
                Err(error) if is_without_family(&error, address) => continue,
                Err(error) => return Err(taken(error, address, listener.words(), &variable_of(listener))),
            };
            let local = sockets.first().map_or(Ok(address), TcpListener::local_addr).map_err(UpError::Thread)?;
            addresses.push((listener, local));
            for (mine, socket) in traffic.iter_mut().zip(sockets) {
                mine.push((listener, socket));
            }
        }
        let console = one(config.console)?;
        let console_address = console.local_addr().map_err(UpError::Thread)?;
        let beside = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let api = (!console_address.ip().is_loopback()).then(|| one(beside)).transpose()?;
        let api_address = api.as_ref().map_or(Ok(console_address), TcpListener::local_addr).map_err(UpError::Thread)?;
        let (mut dns, mut dns_addresses) = (Vec::new(), Vec::new());
        for address in config.zone_listen.iter().copied() {
            let taken = |error| taken(error, address, "DNS server", "MOORGATE_DNS_LISTEN");
            let sockets = match ZoneSockets::bind(address) {
                Err(error) if is_without_family(&error, address) => continue,
                bound => bound.map_err(taken)?,
            };
            dns_addresses.push(sockets.address().map_err(UpError::Thread)?);
            dns.push(sockets);
        }
        Ok(Self {
            addresses: Addresses { traffic: addresses, console: console_address, api: api_address, dns: dns_addresses },
            sockets: Sockets { traffic, console, api, dns },
        })
    }
}

/// A socket of the control plane, which has one runtime.
fn one(address: SocketAddr) -> Result<TcpListener, UpError> {
    bind(address, 1)
        .and_then(|sockets| sockets.into_iter().next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
        .map_err(|error| taken(error, address, "console and API", CONSOLE_VARIABLE))
}

/// A machine without IPv6 serves the same listener over IPv4.
fn is_without_family(error: &io::Error, address: SocketAddr) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    let without = error.raw_os_error() == Some(EAFNOSUPPORT) && address.ip() == Ipv6Addr::UNSPECIFIED;
    if without {
        tracing::warn!(%address, "this machine has no IPv6; that address is not listened on");
    }
    without
}

fn taken(source: io::Error, address: SocketAddr, words: &'static str, variable: &str) -> UpError {
    let holder = (source.kind() == io::ErrorKind::AddrInUse).then(|| holder::of(address)).flatten();
    UpError::Bind { address, words, variable: variable.to_owned(), holder, source }
}
