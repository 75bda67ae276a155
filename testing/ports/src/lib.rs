//! Ports for programs that a test can't give port 0: kept for it until its end, however long the program takes to come
//! and however often it comes back. Whatever goes wrong here ends the test.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1 that nobody else on this machine is given.
///
/// Its socket is bound and nothing else: until a program comes, nothing listens there, and one that sets
/// `SO_REUSEADDR`, as servers do, may listen beside it. The kernel gives the port to nobody who doesn't ask for it by
/// its number, and uses it for no connection.
pub struct Port {
    number: u16,
    _held: Socket,
}

impl Port {
    /// For a program that listens by TCP.
    pub fn keep() -> Self {
        let tcp = held(Type::STREAM, 0).unwrap();
        Self { number: number(&tcp), _held: tcp }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

fn held(kind: Type, port: u16) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket)
}

fn number(socket: &Socket) -> u16 {
    socket.local_addr().unwrap().as_socket().unwrap().port()
}

#[cfg(test)]
mod tests {
    use std::{
        io::ErrorKind,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_server_comes_to_a_kept_port_and_comes_back() {
        let port = Port::keep();
        for _ in 0..2 {
            assert_eq!(TcpStream::connect(port.address()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            let server = TcpListener::bind(port.address()).unwrap();
            let client = TcpStream::connect(port.address()).unwrap();
            // Closed here first: the connection lingers at the server's port.
            drop(server.accept().unwrap());
            drop(client);
        }
    }

    #[test]
    fn a_kept_port_is_given_to_nobody() {
        let kept: Vec<Port> = (0..100).map(|_| Port::keep()).collect();
        let given: Vec<TcpListener> = (0..700).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        for listener in given {
            let number = listener.local_addr().unwrap().port();
            assert!(kept.iter().all(|port| port.number() != number), "{number} was given twice");
        }
    }
}
