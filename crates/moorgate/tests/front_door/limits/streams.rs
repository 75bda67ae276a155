//! HTTP/2: streams, resets and windows that a client may have, and what comes of more.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::mpsc, time::timeout};

use super::start;
use crate::{
    doors::{
        Destination, Door, Doors, Early, Open, STUCK,
        frames::{
            self, DATA, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, Frame, Frames, GOAWAY, HEADERS, REFUSED_STREAM,
            RST_STREAM, WINDOW_UPDATE, connect, ids, ping, reset,
        },
    },
    gateway::raise_descriptors,
    target::Target,
};

/// Streams at once, and those that a client may break off within ten seconds.
const STREAMS: usize = 1_000;
/// Streams broken off before they were looked at, and refused streams, before the connection ends.
const RESETS: usize = 100;
const MEBIBYTE: usize = 1 << 20;
/// The most that a DATA frame may hold unless more was agreed on (RFC 9113 §4.2).
const PIECE: usize = 16 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_of_one_connection_are_open_at_once_and_the_next_waits_for_a_place() {
    raise_descriptors();
    let (_gateway, doors) = start(&[]);
    let echo = Destination::bind().await.echo().to_string();
    let h2 = doors.h2().await.unwrap();
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        open.push(h2.open(&echo, Early::default()).await.unwrap());
    }
    assert_eq!(h2.requests.current_max_send_streams(), STREAMS);
    let mut next = Box::pin(h2.open(&echo, Early::default()));
    assert!(timeout(Duration::from_millis(500), &mut next).await.is_err(), "one more than there are places");
    for side in &mut open {
        side.writer.write_all(b"mine").await.unwrap();
        assert_eq!(side.reader.exactly(4).await.unwrap(), b"mine");
    }
    open.pop().unwrap().close().await;
    timeout(STUCK, next).await.expect("the place of the one that closed").unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_opens_streams_beyond_its_limit_is_refused_those_and_in_the_end_the_connection() {
    raise_descriptors();
    let (_gateway, doors) = start(&[]);
    let echo = Destination::bind().await.echo().to_string();
    let authorization = doors.authorization();
    let mut client = Frames::open(&doors).await;
    assert_eq!(client.settings.setting(3), Some(STREAMS as u32), "SETTINGS_MAX_CONCURRENT_STREAMS");
    let mut ids = ids();
    for id in ids.by_ref().take(STREAMS) {
        client.send(&connect(id, &echo, Some(&authorization))).await;
    }
    for _ in 0..STREAMS {
        let opened = client.next_of(HEADERS).await.expect("an answer");
        assert_eq!(opened.payload[0], 0x88, ":status 200 (RFC 7541 appendix A)");
    }
    for id in ids.by_ref().take(RESETS) {
        client.send(&connect(id, &echo, Some(&authorization))).await;
        let refused = client.next_of(RST_STREAM).await.expect("a refusal");
        assert_eq!((refused.stream, refused.code()), (id, REFUSED_STREAM));
    }
    client.send(&frames::frame(DATA, 0, 1, b"mine")).await;
    let back = client.next_of(DATA).await.expect("the others go on");
    assert_eq!((back.stream, &*back.payload), (1, &b"mine"[..]));
    client.send(&connect(ids.next().unwrap(), &echo, Some(&authorization))).await;
    assert_eq!(client.next_of(GOAWAY).await.expect("a GOAWAY").code(), ENHANCE_YOUR_CALM);
    assert!(client.next().await.is_none(), "the connection is closed");
}

/// A tunnel of somebody else's that must not notice anything.
async fn still_works(bystander: &mut Open) {
    bystander.client.writer.write_all(b"still there?").await.unwrap();
    assert_eq!(bystander.target.reader.exactly(12).await.unwrap(), b"still there?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_broken_off_faster_than_they_are_looked_at_end_their_connection_and_nobody_elses() {
    let (_gateway, doors) = start(&[]);
    let mut bystander = Open::through(&doors, Door::HttpsH2).await;
    let mut client = Frames::open(&doors).await;
    // In one TLS record, so that they are there at once.
    let rapid = |id| [connect(id, "127.0.0.1:9", None), reset(id)].concat();
    let few: Vec<u8> = ids().take(RESETS).flat_map(rapid).collect();
    client.send(&[few, ping()].concat()).await;
    client.settle().await.expect("so many may wait");
    let many: Vec<u8> = ids().skip(RESETS).take(RESETS + 1).flat_map(rapid).collect();
    assert!(many.len() < PIECE, "one record");
    client.send(&many).await;
    let goaway = client.next_of(GOAWAY).await.expect("a GOAWAY");
    assert_eq!(goaway.code(), ENHANCE_YOUR_CALM);
    assert!(client.next().await.is_none(), "the connection is closed");
    still_works(&mut bystander).await;
    still_works(&mut Open::through(&doors, Door::HttpsH2).await).await;
}

/// Opens streams and breaks them off at once, a few at a time so that each is looked at; how many it took.
async fn break_off(doors: &Doors, request: impl Fn(u32) -> Vec<u8>) -> usize {
    const BURST: usize = 20;
    let mut client = Frames::open(doors).await;
    let mut ids = ids();
    for burst in 1..=2 * STREAMS / BURST {
        let rapid = ids.by_ref().take(BURST).flat_map(|id| [request(id), reset(id)].concat());
        let bytes: Vec<u8> = rapid.chain(ping()).collect();
        client.send(&bytes).await;
        match client.settle().await {
            Ok(_) => {}
            Err(goaway) => {
                assert_eq!(goaway.expect("a GOAWAY").code(), ENHANCE_YOUR_CALM);
                assert!(client.next().await.is_none(), "the connection is closed");
                return burst * BURST;
            }
        }
    }
    panic!("{} streams broken off, and nothing comes of it", 2 * STREAMS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_breaks_off_stream_after_stream_is_told_to_calm_down_and_costs_no_connection() {
    let (_gateway, doors) = start(&[]);
    let mut bystander = Open::through(&doors, Door::HttpsH2).await;
    let target = Target::echo();
    let asked = target.address.to_string();
    let authorization = doors.authorization();
    for authorization in [None, Some(&*authorization)] {
        let broken_off = break_off(&doors, |id| connect(id, &asked, authorization)).await;
        // The last of a burst may still be on their way when the next one is read.
        assert!(broken_off > STREAMS && broken_off <= STREAMS + 100, "{authorization:?}: after {broken_off}");
    }
    assert_eq!(target.seen().peers.len(), 0, "what is broken off at once is not connected");
    still_works(&mut bystander).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_breaks_off_a_few_streams_keeps_its_connection() {
    let (_gateway, doors) = start(&[]);
    let echo = Destination::bind().await.echo().to_string();
    let h2 = doors.h2().await.unwrap();
    let mut kept = h2.open(&echo, Early::default()).await.unwrap();
    for _ in 0..STREAMS / 4 {
        h2.open(&echo, Early::default()).await.unwrap().abort();
    }
    kept.writer.write_all(b"mine").await.unwrap();
    assert_eq!(kept.reader.exactly(4).await.unwrap(), b"mine");
    h2.open(&echo, Early::default()).await.expect("and takes more").close().await;
}

/// A target that takes connections and never reads. Little of what is sent fits into the kernel.
fn never_reads() -> SocketAddr {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(PIECE).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(128).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener.into()).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

/// What a client may still send, as the gateway has said so far (RFC 9113 §5.2).
struct Windows {
    connection: usize,
    streams: HashMap<u32, usize>,
    first: usize,
}

impl Windows {
    fn note(&mut self, frame: &Frame) {
        if frame.kind == WINDOW_UPDATE {
            let more = frame.number(0) as usize;
            match frame.stream {
                0 => self.connection += more,
                stream => *self.streams.entry(stream).or_insert(self.first) += more,
            }
        }
    }

    fn of(&mut self, stream: u32) -> &mut usize {
        self.streams.entry(stream).or_insert(self.first)
    }
}

/// Sends on `streams` tunnels to a target that never reads, as much as it may; then one frame more. What comes of that.
async fn overrun(doors: &Doors, streams: usize) -> Frame {
    let target = never_reads().to_string();
    let authorization = doors.authorization();
    let mut client = Frames::open(doors).await;
    let first = client.settings.setting(4).expect("SETTINGS_INITIAL_WINDOW_SIZE") as usize;
    assert_eq!(first, MEBIBYTE);
    let mut windows = Windows { connection: 65_535, streams: HashMap::new(), first };
    let ids: Vec<u32> = ids().take(streams).collect();
    for id in &ids {
        client.send(&connect(*id, &target, Some(&authorization))).await;
    }
    let (mut reader, mut writer) = tokio::io::split(client.wire.stream);
    let (said, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(frame) = frames::read(&mut reader).await {
            if said.send(frame).is_err() {
                break;
            }
        }
    });
    let mut opened = 0;
    while opened < streams {
        let frame = timeout(STUCK, heard.recv()).await.expect("an answer").expect("a connection");
        windows.note(&frame);
        opened += usize::from(frame.kind == HEADERS);
    }
    assert_eq!(windows.connection, 32 * MEBIBYTE);
    let piece = vec![0; PIECE];
    let began = Instant::now();
    loop {
        while let Ok(frame) = heard.try_recv() {
            assert!(frame.kind != GOAWAY && frame.kind != RST_STREAM, "within its windows: {frame:?}");
            windows.note(&frame);
        }
        let room = windows.connection >= PIECE;
        let Some(id) = ids.iter().find(|id| room && *windows.of(**id) >= PIECE) else {
            // Nothing more may be sent: is more allowed in a moment?
            match timeout(Duration::from_millis(500), heard.recv()).await {
                Ok(Some(frame)) => windows.note(&frame),
                Ok(None) => panic!("the connection ended"),
                Err(_) => break,
            }
            continue;
        };
        assert!(began.elapsed() < STUCK, "it takes without end");
        writer.write_all(&frames::frame(DATA, 0, *id, &piece)).await.unwrap();
        writer.flush().await.unwrap();
        *windows.of(*id) -= PIECE;
        windows.connection -= PIECE;
    }
    // Where it is the connection that is full, a stream that has room.
    let id = *ids.iter().max_by_key(|id| *windows.of(**id)).unwrap();
    writer.write_all(&frames::frame(DATA, 0, id, &piece)).await.unwrap();
    writer.flush().await.unwrap();
    loop {
        let frame = timeout(STUCK, heard.recv()).await.expect("an answer").expect("a last word");
        if matches!(frame.kind, GOAWAY | RST_STREAM) {
            return frame;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_more_than_a_mebibyte_a_stream_or_32_a_connection_unread_is_cut_off() {
    let (_gateway, doors) = start(&[]);
    let mut bystander = Open::through(&doors, Door::HttpsH2).await;
    let stream = overrun(&doors, 1).await;
    assert_eq!((stream.kind, stream.code()), (RST_STREAM, FLOW_CONTROL_ERROR));
    let connection = overrun(&doors, 40).await;
    assert_eq!((connection.kind, connection.code()), (GOAWAY, FLOW_CONTROL_ERROR));
    still_works(&mut bystander).await;
}
