//! The floor: what the kernel alone costs a relay. One thread, one epoll, one buffer, and nothing else: no parsing, no
//! limits, no timers, no accounts. It is no proxy to use.
//!
//! It is edge-triggered: whoever has an event is read until it is drained, and what a full socket does not take is kept
//! until it takes more.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;
use socket2::SockRef;

use crate::error::LoadError;

/// What a read may bring: as much as in the gateway, since with less the floor would not be the floor of bulk.
const BUFFER_BYTES: usize = 512 * 1024;
/// Events taken at once.
const EVENTS: usize = 1024;
/// Waiting to be accepted.
const BACKLOG: i32 = 4096;
/// No leg has it.
const LISTENER: Token = Token(usize::MAX);

/// Relays until it is killed.
///
/// # Errors
/// It can't listen, print its address, or poll.
pub(crate) fn run(origin: SocketAddr) -> Result<(), LoadError> {
    let any = crate::any();
    let mut floor = Floor::new(origin).map_err(|source| LoadError::Listen { address: any, source })?;
    let address = floor.listener.local_addr().map_err(|source| LoadError::Listen { address: any, source })?;
    crate::print_line(&address.to_string())?;
    floor.relay().map_err(|source| LoadError::Accept { address, source })
}

struct Floor {
    origin: SocketAddr,
    listener: TcpListener,
    poll: Poll,
    legs: Slab<Leg>,
    buffer: Vec<u8>,
}

/// One side of a connection.
struct Leg {
    stream: TcpStream,
    other: usize,
    /// What this side's socket did not take yet.
    rest: Vec<u8>,
    /// Its end is here, perhaps behind data: no other event will tell of it.
    closing: bool,
    /// All that it said is read.
    ended: bool,
}

impl Floor {
    fn new(origin: SocketAddr) -> io::Result<Self> {
        let mut listener = TcpListener::bind(crate::any())?;
        let socket = SockRef::from(&listener);
        socket.listen(BACKLOG)?;
        // What is accepted inherits it.
        socket.set_tcp_nodelay(true)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { origin, listener, poll, legs: Slab::new(), buffer: vec![0; BUFFER_BYTES] })
    }

    fn relay(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(leg) => self.turn(leg, event.is_read_closed()),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                // A connection that has come to nothing ends with its sockets.
                Ok((client, _)) => drop(self.pair(client)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn pair(&mut self, mut client: TcpStream) -> io::Result<()> {
        let mut origin = TcpStream::connect(self.origin)?;
        origin.set_nodelay(true)?;
        let place = self.legs.vacant_key();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut client, Token(place), both)?;
        let leg = |stream, other| Leg { stream, other, rest: Vec::new(), closing: false, ended: false };
        self.legs.insert(leg(client, usize::MAX));
        let other = self.legs.vacant_key();
        self.poll.registry().register(&mut origin, Token(other), both)?;
        self.legs.insert(leg(origin, place));
        if let Some(client) = self.legs.get_mut(place) {
            client.other = other;
        }
        Ok(())
    }

    /// Something happened on a leg: it may take more, or has said more.
    fn turn(&mut self, leg: usize, closing: bool) {
        let Some(it) = self.legs.get_mut(leg) else { return };
        it.closing |= closing;
        let other = it.other;
        let done = self.flush(leg, other).and_then(|()| self.pump(leg, other));
        let over = |leg: usize| self.legs.get(leg).is_none_or(|it| it.ended && it.rest.is_empty());
        if done.is_err() || over(leg) && over(other) {
            self.legs.try_remove(leg);
            self.legs.try_remove(other);
        }
    }

    /// Gives a leg what it did not take before. Once it took all, its other side is read again.
    fn flush(&mut self, to: usize, from: usize) -> io::Result<()> {
        let Some(leg) = self.legs.get_mut(to) else { return Ok(()) };
        if leg.rest.is_empty() {
            return Ok(());
        }
        let sent = send(&mut leg.stream, &leg.rest)?;
        leg.rest.drain(..sent);
        if !leg.rest.is_empty() {
            return Ok(());
        }
        leg.rest = Vec::new();
        self.pump(from, to)
    }

    /// Reads one side and writes the other, until there is nothing more or the other takes no more.
    fn pump(&mut self, from: usize, to: usize) -> io::Result<()> {
        let Some((from, to)) = self.legs.get2_mut(from, to) else { return Ok(()) };
        while !from.ended && to.rest.is_empty() {
            match from.stream.read(&mut self.buffer) {
                Ok(0) => from.ended = true,
                Ok(count) => {
                    let read = self.buffer.get(..count).unwrap_or_default();
                    let sent = send(&mut to.stream, read)?;
                    to.rest.extend_from_slice(read.get(sent..).unwrap_or_default());
                    // A read that did not fill the buffer has emptied the socket: an event tells of what comes next.
                    if count < BUFFER_BYTES && !from.closing {
                        return Ok(());
                    }
                }
                Err(error) if waits(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        // The last end is said by closing both.
        if from.ended && to.rest.is_empty() && !to.ended {
            to.stream.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

/// Writes until all is gone or the socket is full; how much is gone.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while let Some(left) = bytes.get(sent..).filter(|left| !left.is_empty()) {
        match stream.write(left) {
            Ok(count) => sent += count,
            Err(error) if waits(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Whether an event will say when to try again. A socket that is still connecting is "not connected".
fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}
