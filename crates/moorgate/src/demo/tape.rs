//! What was recorded of each connection, in both directions.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The most that is recorded of one connection in one direction, in bytes. The demo sends far less.
const MOST: usize = 1024 * 1024;

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Client to target.
    Up,
    /// Target to client.
    Down,
}

impl Direction {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Up, Self::Down];

    /// In file names and in the JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// One connection.
#[derive(Clone)]
pub(super) struct Recorded {
    /// Who connected.
    pub(super) peer: IpAddr,
    /// The certificate that the server showed (DER), where TLS was opened.
    pub(super) certificate: Option<Vec<u8>>,
    up: Vec<u8>,
    down: Vec<u8>,
}

/// The connections of one place, in the order in which they came. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Tape(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    connections: Vec<Recorded>,
    trouble: Option<String>,
}

impl Tape {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What was recorded before somebody panicked still was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection.
    pub(super) fn open(&self, peer: IpAddr) -> Track {
        let mut inner = self.lock();
        inner.connections.push(Recorded { peer, certificate: None, up: Vec::new(), down: Vec::new() });
        Track { tape: self.clone(), index: inner.connections.len() - 1 }
    }

    /// All connections.
    pub(super) fn connections(&self) -> Vec<Recorded> {
        self.lock().connections.clone()
    }

    /// The bytes of all connections in one direction, one after the other.
    pub(super) fn joined(&self, direction: Direction) -> Vec<u8> {
        self.lock().connections.iter().flat_map(|connection| connection.way(direction)).copied().collect()
    }

    /// What went wrong here first.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }
}

impl Recorded {
    /// Its bytes in one direction.
    pub(super) fn way(&self, direction: Direction) -> &[u8] {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// Where the bytes of one connection go.
pub(super) struct Track {
    tape: Tape,
    index: usize,
}

impl Track {
    /// Adds bytes. `false` when there are more than anything in the demo sends: the connection should end.
    pub(super) fn record(&self, direction: Direction, bytes: &[u8]) -> bool {
        let mut inner = self.tape.lock();
        let Some(connection) = inner.connections.get_mut(self.index) else { return false };
        let way = match direction {
            Direction::Up => &mut connection.up,
            Direction::Down => &mut connection.down,
        };
        way.extend_from_slice(bytes);
        way.len() <= MOST
    }

    /// Notes the certificate that the server showed.
    pub(super) fn certificate(&self, der: Option<&[u8]>) {
        if let Some(connection) = self.tape.lock().connections.get_mut(self.index) {
            connection.certificate = der.map(<[u8]>::to_vec);
        }
    }

    /// Notes what went wrong.
    pub(super) fn failed(&self, why: String) {
        self.tape.lock().trouble.get_or_insert(why);
    }
}
