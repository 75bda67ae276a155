//! UDP that answers from the address that was asked: a machine has several, and a resolver takes no answer from another.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket as StdUdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    cmsg_space,
    libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, sendmsg,
        setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};
use tokio::{io::Interest, net::UdpSocket};

/// Where a datagram came from, and which of our addresses it came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    from: SocketAddr,
    to: Option<IpAddr>,
}

pub(super) struct Datagrams(UdpSocket);

impl Datagrams {
    /// The socket does not block.
    pub(super) fn new(socket: StdUdpSocket) -> io::Result<Self> {
        if socket.local_addr()?.is_ipv4() {
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        }
        Ok(Self(UdpSocket::from_std(socket)?))
    }

    /// How many bytes came, and by which way.
    pub(super) async fn receive(&self, packet: &mut [u8]) -> io::Result<(usize, Way)> {
        self.0.async_io(Interest::READABLE, || receive(&self.0, packet)).await
    }

    /// Sends back by a way; what can't be sent at once is lost, as datagrams are.
    pub(super) fn answer(&self, packet: &[u8], way: Way) -> io::Result<()> {
        self.0.try_io(Interest::WRITABLE, || send(&self.0, packet, way))
    }
}

fn receive(socket: &UdpSocket, packet: &mut [u8]) -> io::Result<(usize, Way)> {
    let mut pieces = [IoSliceMut::new(packet)];
    let mut control = cmsg_space!(in6_pktinfo);
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut pieces, Some(&mut control), MsgFlags::empty())?;
    let from = message.address.as_ref().and_then(socket_address).ok_or(io::ErrorKind::InvalidData)?;
    let to = message.cmsgs()?.find_map(|said| match said {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    });
    Ok((message.bytes, Way { from, to }))
}

fn send(socket: &UdpSocket, packet: &[u8], way: Way) -> io::Result<()> {
    let pieces = [IoSlice::new(packet)];
    let fd = socket.as_raw_fd();
    let sent = match (way.from, way.to) {
        (SocketAddr::V4(from), Some(IpAddr::V4(to))) => {
            let source = in_addr { s_addr: u32::from_ne_bytes(to.octets()) };
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: in_addr { s_addr: 0 } };
            let said = [ControlMessage::Ipv4PacketInfo(&info)];
            sendmsg(fd, &pieces, &said, MsgFlags::empty(), Some(&SockaddrIn::from(from)))
        }
        (SocketAddr::V6(from), Some(IpAddr::V6(to))) => {
            // A link's own addresses need the link: it is in where the datagram came from.
            let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: to.octets() }, ipi6_ifindex: from.scope_id() };
            let said = [ControlMessage::Ipv6PacketInfo(&info)];
            sendmsg(fd, &pieces, &said, MsgFlags::empty(), Some(&SockaddrIn6::from(from)))
        }
        (from, _) => sendmsg(fd, &pieces, &[], MsgFlags::empty(), Some(&SockaddrStorage::from(from))),
    };
    Ok(sent.map(drop)?)
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let four = address.as_sockaddr_in().map(|address| SocketAddr::V4(SocketAddrV4::from(*address)));
    four.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6(SocketAddrV6::from(*address))))
}
