//! Which addresses this machine has: the egress addresses that can be bound, and everything local.
//!
//! A thread of its own looks four times a second, so that an address that goes is left within a second even while
//! every runtime is busy; a connection that fails to bind reports it at once.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    thread,
    time::Duration,
};

use moorgate_contract::egress::Presence;
use nix::ifaddrs::getifaddrs;
use tokio::sync::watch;

/// How often the kernel is asked.
const INTERVAL: Duration = Duration::from_millis(250);

/// What this machine has right now.
#[derive(Clone, Debug)]
pub struct PresenceWatch {
    sender: Arc<watch::Sender<Arc<Presence>>>,
}

impl PresenceWatch {
    /// Looks once, then goes on looking in the background for as long as the value lives.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start(egress: Vec<IpAddr>) -> std::io::Result<Self> {
        let sender = Arc::new(watch::Sender::new(Arc::new(look(&egress))));
        let weak = Arc::downgrade(&sender);
        thread::Builder::new().name("presence".into()).spawn(move || {
            while let Some(sender) = weak.upgrade() {
                let now = look(&egress);
                report(&sender, now);
                drop(sender);
                thread::sleep(INTERVAL);
            }
        })?;
        Ok(Self { sender })
    }

    /// The latest look.
    pub fn now(&self) -> Arc<Presence> {
        self.sender.borrow().clone()
    }

    /// Takes note that `address` is gone.
    fn mark_absent(&self, address: IpAddr) {
        let mut next = Presence::clone(&self.now());
        if next.has(address) {
            next.absent.push(address);
            report(&self.sender, next);
        }
    }

    /// Asks the kernel now, and takes note when `address` is gone.
    pub fn is_gone(&self, address: IpAddr) -> bool {
        let gone = !can_bind(address);
        if gone {
            self.mark_absent(address);
        }
        gone
    }

    /// Resolves when `address` goes.
    pub async fn left(&self, address: IpAddr) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in `self`, so the channel can't close.
        let _ = receiver.wait_for(|presence| !presence.has(address)).await;
    }
}

fn report(sender: &watch::Sender<Arc<Presence>>, now: Presence) {
    sender.send_if_modified(|presence| {
        if **presence == now {
            return false;
        }
        for address in now.absent.iter().filter(|address| presence.has(**address)) {
            tracing::warn!(%address, "egress address is gone from this machine");
        }
        for address in presence.absent.iter().filter(|address| now.has(**address)) {
            tracing::info!(%address, "egress address is back");
        }
        *presence = Arc::new(now);
        true
    });
}

fn look(egress: &[IpAddr]) -> Presence {
    let absent = egress.iter().copied().filter(|address| !can_bind(*address)).collect();
    Presence { local: local_addresses(), absent }
}

/// An address is present when the kernel lets us bind it. Asked with UDP: the TCP ports of a busy address may all be in
/// use by connections, each toward another destination. Any other error (no descriptor left) says nothing about the address.
fn can_bind(address: IpAddr) -> bool {
    match UdpSocket::bind(SocketAddr::new(address, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::AddrNotAvailable,
    }
}

fn local_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let mut local: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .collect();
    local.sort_unstable();
    local.dedup();
    local
}
