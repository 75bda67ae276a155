//! Allocations of each connection, each request and each MiB, and the bytes that an idle tunnel holds.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::Duration,
};

use dhat::{HeapStats, Profiler};

use crate::house::{House, PASSWORD, USER, Way, ask_once};

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

/// The heap is the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

struct Counted {
    house: House,
    _profiler: Profiler,
    _alone: MutexGuard<'static, ()>,
}

fn counted() -> Counted {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let house = House::new();
    let profiler = match std::env::var_os("MOORGATE_TEST_HEAP") {
        // Where they come from, for https://nnethercote.github.io/dh_view/dh_view.html.
        Some(file) => Profiler::builder().file_name(file).build(),
        None => Profiler::builder().testing().build(),
    };
    Counted { house, _profiler: profiler, _alone: alone }
}

/// Allocations for each of `count` runs of `work`, after a few that warm up.
fn allocations(count: u64, mut work: impl FnMut()) -> f64 {
    (0..20).for_each(|_| work());
    settle();
    let before = HeapStats::get().total_blocks;
    (0..count).for_each(|_| work());
    settle();
    (HeapStats::get().total_blocks - before) as f64 / count as f64
}

/// The gateway is done with a connection a little later than its client.
fn settle() {
    sleep(Duration::from_millis(100));
}

impl House {
    fn at(&self, way: Way) -> SocketAddr {
        match way {
            Way::Passthrough => self.passthrough,
            Way::Connect => self.connect,
            Way::Socks => self.socks,
        }
    }
}

#[test]
fn a_connection_allocates_little() {
    let Counted { house, .. } = &counted();
    for (way, most) in [(Way::Passthrough, 20.5), (Way::Connect, 26.5), (Way::Socks, 25.5)] {
        let script = way.script(USER, PASSWORD, house.origin);
        let made = allocations(300, || ask_once(way.open(house.at(way), &script)));
        assert!(made <= most, "{way:?}: {made:.1} allocations for each connection, at most {most} were expected");
    }
}

#[test]
fn a_request_allocates_little() {
    let Counted { house, .. } = &counted();
    let mut client = TcpStream::connect(house.http).unwrap();
    client.set_nodelay(true).unwrap();
    let made = allocations(300, || {
        client
            .write_all(
                b"GET /some/path?and=query HTTP/1.1\r\nHost: read.test\r\nAccept: */*\r\nUser-Agent: test\r\n\r\n",
            )
            .unwrap();
        let mut answer = [0; 1024];
        let mut read = 0;
        while !answer[..read].ends_with(b"hello") {
            let more = client.read(&mut answer[read..]).unwrap();
            assert!(more > 0, "the connection ended");
            read += more;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    });
    assert!(made <= 27.0, "{made:.1} allocations for each request");
}

#[test]
fn bulk_allocates_nothing_while_its_reader_keeps_up() {
    const MIB: usize = 1024 * 1024;
    let Counted { house, .. } = &counted();
    let way = Way::Connect;
    let mut client = way.open(house.connect, &way.script(USER, PASSWORD, house.origin));
    client.write_all(b"u").unwrap();
    let piece = vec![b'u'; MIB];
    let made = allocations(64, || client.write_all(&piece).unwrap());
    assert!(made <= 1.0, "{made:.1} allocations for each MiB");
}

#[test]
fn an_idle_tunnel_holds_little() {
    const TUNNELS: usize = 1000;
    let Counted { house, .. } = &counted();
    for (way, most) in [(Way::Passthrough, 1420.0), (Way::Connect, 1300.0), (Way::Socks, 1300.0)] {
        let script = way.script(USER, PASSWORD, house.origin);
        let mut held = Vec::with_capacity(TUNNELS + 20);
        let mut open = |count: usize| {
            for _ in 0..count {
                let mut client = way.open(house.at(way), &script);
                client.write_all(b"e").unwrap();
                client.read_exact(&mut [0; 1]).unwrap();
                held.push(client);
            }
            settle();
            HeapStats::get().curr_bytes
        };
        let before = open(20);
        let holds = (open(TUNNELS) - before) as f64 / TUNNELS as f64;
        assert!(holds <= most, "{way:?}: an idle tunnel holds {holds:.0} bytes, at most {most} were expected");
        drop(held);
        settle();
    }
}
