//! h2 used against us: whoever does it loses the stream or the connection, and nobody else notices.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, time::timeout};

use super::h2::{BIG_PATH, Came, HELD, NAME, Scene, asks, came, post, request};
use crate::{
    doors::frames::{
        self, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, Frames, GOAWAY,
        HEADERS, PING, PRIORITY, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
        ids, literal, ping, reset,
    },
    gateway::{Setup, eventually},
    tools::{python, run},
};

/// Streams at once.
const STREAMS: usize = 128;
/// Resets of one connection: those that its client sends before we look, and those that it provokes.
const RESETS: usize = 100;
/// Streams that a client may break off within ten seconds.
const BROKEN_OFF: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_broken_off_at_once_end_their_connection_and_reach_no_origin() {
    let mut scene = Scene::start();
    let connections = scene.origin.seen().peers.len();
    let rapid = |id| [request(id, "/rapid"), reset(id)].concat();
    // In one TLS record, so that they are there at once.
    let mut client = scene.open().await;
    let few: Vec<u8> = ids().take(RESETS).flat_map(rapid).collect();
    client.send(&[few, ping()].concat()).await;
    client.settle().await.expect("so many may wait");
    let many: Vec<u8> = ids().skip(RESETS).take(RESETS + 1).flat_map(rapid).collect();
    assert!(many.len() < 16 * 1024, "one record");
    client.send(&many).await;
    assert_eq!(client.next_of(GOAWAY).await.expect("a GOAWAY").code(), ENHANCE_YOUR_CALM);
    assert!(client.next().await.is_none(), "the connection is closed");
    // A few at a time, so that each is looked at.
    let mut client = scene.open().await;
    let (mut ids, mut opened) = (ids(), 0);
    let goaway = loop {
        assert!(opened < 2 * BROKEN_OFF, "{opened} streams broken off, and nothing comes of it");
        let burst: Vec<u8> = ids.by_ref().take(20).flat_map(rapid).chain(ping()).collect();
        client.send(&burst).await;
        opened += 20;
        if let Err(goaway) = client.settle().await {
            break goaway.expect("a GOAWAY");
        }
    };
    assert_eq!(goaway.code(), ENHANCE_YOUR_CALM);
    assert!(opened > BROKEN_OFF && opened <= BROKEN_OFF + 100, "after {opened}");
    assert_eq!(scene.reached(), [""; 0], "what is broken off at once is asked of nobody");
    assert_eq!(scene.origin.seen().peers.len(), connections);
    scene.others_go_on();
    scene.gateway.wait_flow(|flow| flow["outcome"] == "reset_by_client" && flow["route"] == NAME);
}

/// What a client does to a stream so that we reset it; the reset's code, and after how many the connection is given up
/// with which code.
struct Provocation {
    what: &'static str,
    bytes: fn(u32) -> Vec<u8>,
    reset: Option<u32>,
    goaway: (usize, u32),
}

/// Resets the stream, and the connection in the end.
const fn counted(what: &'static str, reset: u32, bytes: fn(u32) -> Vec<u8>) -> Provocation {
    Provocation { what, bytes, reset: Some(reset), goaway: (RESETS + 1, ENHANCE_YOUR_CALM) }
}

/// Ends the connection at once.
const fn fatal(what: &'static str, bytes: fn(u32) -> Vec<u8>) -> Provocation {
    Provocation { what, bytes, reset: None, goaway: (1, PROTOCOL_ERROR) }
}

const PROVOCATIONS: &[Provocation] = &[
    counted("more data than its length", PROTOCOL_ERROR, |id| {
        [post(id, HELD, &[("content-length", "1")]), frame(DATA, 0, id, b"12")].concat()
    }),
    counted("an end before its length", PROTOCOL_ERROR, |id| {
        [post(id, HELD, &[("content-length", "3")]), frame(DATA, END_STREAM, id, b"12")].concat()
    }),
    counted("a window beyond every bound", FLOW_CONTROL_ERROR, |id| {
        [request(id, HELD), frame(WINDOW_UPDATE, 0, id, &0x7fff_ffff_u32.to_be_bytes())].concat()
    }),
    counted("a stream that waits for itself", PROTOCOL_ERROR, |id| {
        [request(id, HELD), frame(PRIORITY, 0, id, &[&id.to_be_bytes()[..], &[0]].concat())].concat()
    }),
    counted("framing of HTTP/1", PROTOCOL_ERROR, |id| post(id, HELD, &[("transfer-encoding", "chunked")])),
    fatal("a window that grows by nothing", |id| [request(id, HELD), frame(WINDOW_UPDATE, 0, id, &[0; 4])].concat()),
    fatal("data behind the end", |id| [request(id, HELD), frame(DATA, 0, id, b"more")].concat()),
    fatal("another head behind the end", |id| [request(id, HELD), request(id, HELD)].concat()),
];

/// MadeYouReset (CVE-2025-8671): a stream that we reset is no longer counted as open, and its origin works on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_that_a_client_provokes_are_counted_and_end_its_connection() {
    let mut scene = Scene::start();
    for Provocation { what, bytes, reset, goaway } in PROVOCATIONS {
        let mut client = scene.open().await;
        let from = client.wire.local().to_string();
        let mut streams = 0;
        let last = loop {
            assert!(streams < 2 * RESETS, "{what}: {streams} resets, and nothing comes of it");
            client.send(&[bytes(2 * streams as u32 + 1), ping()].concat()).await;
            streams += 1;
            match client.settle().await {
                Ok(said) => {
                    let resets = said.iter().filter(|frame| frame.kind == RST_STREAM);
                    resets.for_each(|frame| assert_eq!(Some(frame.code()), *reset, "{what}"));
                }
                Err(last) => break last.unwrap_or_else(|| panic!("{what}: no GOAWAY")),
            }
        };
        assert_eq!((streams, last.code()), *goaway, "{what}");
        scene.gateway.wait_flow(|flow| flow["client"] == from && flow["outcome"] == "malformed");
        scene.others_go_on();
    }
    assert!(scene.reached().len() <= PROVOCATIONS.len() * (RESETS + 1));
}

/// Sends the same again and again until the connection is given up: how often it went out, and the code.
async fn flood(client: &mut Frames, most: usize, bytes: impl Fn(usize) -> Vec<u8>) -> (usize, Option<u32>) {
    for sent in 0..most {
        client.send(&bytes(sent)).await;
        // Whoever floods does not wait for answers; here it only must not outrun them.
        if sent % 16 == 15
            && let Ok(frame) = timeout(Duration::from_millis(25), client.next_of(GOAWAY)).await
        {
            return (sent, frame.map(|frame| frame.code()));
        }
    }
    let last = timeout(Duration::from_secs(5), client.next_of(GOAWAY)).await;
    (most, last.ok().flatten().map(|frame| frame.code()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_never_ends_is_given_up_after_a_few_frames() {
    let mut scene = Scene::start();
    // CVE-2024-27316: fields without end, fields that say nothing, and frames without any.
    let endless: [(&str, Vec<u8>); 3] = [
        ("fields", literal(b"x-more", &[b'v'; 1024])),
        ("one short field", literal(b"x", b"")),
        ("nothing", Vec::new()),
    ];
    for (what, piece) in &endless {
        let mut client = scene.open().await;
        let from = client.wire.local().to_string();
        client.send(&frame(HEADERS, 0, 1, &block(asks("GET", "/", &[])))).await;
        let (sent, code) = flood(&mut client, 2_000, |_| frame(CONTINUATION, 0, 1, piece)).await;
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{what} after {sent} frames");
        // Some dozens are enough; a busy machine may let more be sent before it answers.
        assert!(sent < 512, "{what}: only after {sent} frames");
        scene.gateway.wait_flow(|flow| flow["client"] == from && flow["outcome"] == "malformed");
    }
    assert_eq!(scene.reached(), [""; 0]);
    scene.others_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_without_end_is_given_up_after_a_hundred_frames() {
    let mut scene = Scene::start();
    let mut client = scene.open().await;
    client.send(&post(1, "/upload", &[])).await;
    // RUSTSEC-2026-0258.
    let (sent, code) = flood(&mut client, 10_000, |_| frame(DATA, 0, 1, &[])).await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM), "after {sent} frames");
    assert!(sent < 256, "only after {sent} frames");
    assert_eq!(scene.reached(), [""; 0], "a request that broke off is no whole one");
    scene.others_go_on();
    // Whoever ends each body by an empty frame is no such client.
    let mut client = scene.open().await;
    for id in ids().take(3 * RESETS) {
        client.send(&[post(id, "/upload", &[]), frame(DATA, END_STREAM, id, &[])].concat()).await;
        let answered = client.next_of(HEADERS).await.expect("an answer");
        assert_eq!(answered.stream, id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_asks_for_answers_and_reads_none_costs_nothing_and_ends_as_idle() {
    let scene = Scene::with(Setup::default().env("MOORGATE_LIMITS_IDLE_REQUEST", "2s"), &[]);
    let floods = [("PING", ping()), ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))];
    for (what, bytes) in floods {
        let before = scene.memory();
        let mut client = scene.open().await;
        let piece = bytes.repeat(1_000);
        let began = Instant::now();
        let mut sent = 0;
        // Until nothing more is taken, or it is closed: what was asked for is never read.
        while let Ok(Ok(())) = timeout(Duration::from_secs(1), client.wire.stream.write_all(&piece)).await {
            sent += 1_000;
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: takes without end, {sent} so far");
        }
        scene.newcomers_are_served();
        let grown = scene.memory().saturating_sub(before);
        assert!(grown < 32 * 1024, "{what}: {grown} KiB for {sent} frames");
        while client.next().await.is_some() {}
        let after = began.elapsed();
        assert!(after < Duration::from_secs(30), "{what}: closed only after {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_keep_no_connection_from_being_idle() {
    let scene = Scene::with(Setup::default().env("MOORGATE_LIMITS_IDLE_REQUEST", "2s"), &[]);
    // One now and then, and as many as it takes.
    for pause in [Duration::from_millis(50), Duration::ZERO] {
        let began = Instant::now();
        let client = scene.open().await;
        let (mut reader, mut writer) = tokio::io::split(client.wire.stream);
        let pings = tokio::spawn(async move {
            let pings = ping().repeat(if pause.is_zero() { 1_000 } else { 1 });
            while writer.write_all(&pings).await.is_ok() && writer.flush().await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        });
        let mut answers = 0_u32;
        let reading = async {
            while frames::read(&mut reader).await.is_some() {
                answers += 1;
            }
        };
        timeout(Duration::from_secs(20), reading).await.expect("it is kept open by pings");
        assert!(began.elapsed() > Duration::from_secs(1), "closed after {:?}", began.elapsed());
        assert!(answers > 10, "{answers} answers");
        scene.newcomers_are_served();
        pings.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_opens_no_window_holds_nobody_up_and_is_cut_after_the_bodys_limit() {
    let mut scene = Scene::with(Setup::default().env("MOORGATE_LIMITS_BODY", "2s"), &[]);
    let before = scene.memory();
    // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
    let mut client = scene.open_with(&[(4, 0)]).await;
    let from = client.wire.local().to_string();
    let began = Instant::now();
    let held: Vec<u32> = ids().take(16).collect();
    for id in &held {
        client.send(&request(*id, BIG_PATH)).await;
    }
    let small = ids().nth(16).unwrap();
    client.send(&[request(small, "/small"), frame(WINDOW_UPDATE, 0, small, &1_000_u32.to_be_bytes())].concat()).await;
    let data = client.next_of(DATA).await.expect("the stream that has a window goes on");
    assert_eq!((data.stream, &*data.payload), (small, &b"hi"[..]));
    scene.others_go_on();
    // Of 128 MiB that are asked for, what fits into the buffers of connections and streams.
    let grown = scene.memory().saturating_sub(before);
    assert!(grown < 48 * 1024, "{grown} KiB are held for a client that takes nothing");
    for _ in &held {
        let reset = client.next_of(RST_STREAM).await.expect("a reset");
        assert!(held.contains(&reset.stream), "{reset:?}");
    }
    let after = began.elapsed();
    assert!(after > Duration::from_secs(1) && after < Duration::from_secs(10), "cut after {after:?}");
    eventually("a flow for each", || {
        let flows = scene.gateway.flows();
        let cut = flows.iter().filter(|flow| flow["client"] == from && flow["outcome"] == "body_too_slow");
        (cut.count() == held.len()).then_some(())
    });
    scene.others_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_128_streams_at_once_and_is_refused_more() {
    let mut scene = Scene::start();
    let mut client = scene.open().await;
    assert_eq!(client.settings.setting(3), Some(STREAMS as u32), "SETTINGS_MAX_CONCURRENT_STREAMS");
    let mut ids = ids();
    for id in ids.by_ref().take(STREAMS) {
        client.send(&request(id, HELD)).await;
    }
    for id in ids.by_ref().take(RESETS) {
        client.send(&request(id, "/more")).await;
        let refused = client.next_of(RST_STREAM).await.expect("a refusal");
        assert_eq!((refused.stream, refused.code()), (id, REFUSED_STREAM));
    }
    eventually("those that were in time", || (scene.reached().len() == STREAMS).then_some(()));
    client.send(&request(ids.next().unwrap(), "/more")).await;
    assert_eq!(client.next_of(GOAWAY).await.expect("a GOAWAY").code(), ENHANCE_YOUR_CALM);
    assert!(scene.reached().iter().all(|request| request.starts_with("GET /held ")));
    scene.others_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_too_many_or_too_long_fields_is_431_and_the_connection_goes_on() {
    let mut scene = Scene::start();
    let long = "v".repeat(1_000);
    let fields =
        |count: usize, value| -> Vec<(String, &str)> { (0..count).map(|n| (format!("x-{n}"), value)).collect() };
    let cases = [
        ("as many fields as may be", fields(100, "v"), 200),
        ("one field more", fields(101, "v"), 431),
        ("as long as may be", fields(30, &long), 200),
        ("longer", fields(33, &long), 431),
        // What the library refuses by itself.
        ("far longer", fields(70, &long), 431),
    ];
    let mut fitting = 0;
    for (what, fields, status) in &cases {
        let more: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, *value)).collect();
        let head = block(asks("GET", "/long", &more));
        let (first, rest) = head.split_at(head.len().min(16 * 1024));
        let mut bytes = frame(HEADERS, END_STREAM | if rest.is_empty() { END_HEADERS } else { 0 }, 1, first);
        let pieces: Vec<&[u8]> = rest.chunks(16 * 1024).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let flags = if at + 1 == pieces.len() { END_HEADERS } else { 0 };
            bytes.extend(frame(CONTINUATION, flags, 1, piece));
        }
        let mut client = scene.open().await;
        client.send(&bytes).await;
        let came = came(&mut client, 1).await;
        assert_eq!(came.status(), Some(*status), "{what}: {came:?}");
        fitting += usize::from(*status == 200);
        assert_eq!(scene.reached().len(), fitting, "{what}");
        client.send(&request(3, "/next")).await;
        assert_eq!(client.next_of(HEADERS).await.expect("the next answer").stream, 3);
        fitting += 1;
    }
    scene.gateway.wait_flow(|flow| flow["outcome"] == "head_too_long" && flow["status"] == 431);
    scene.others_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_unpacks_to_megabytes_is_given_up_before_it_is_unpacked() {
    let mut scene = Scene::start();
    let before = scene.memory();
    // A field that the table remembers (RFC 7541 §6.2.1), and then its number, twelve thousand times: one byte each.
    let mut head = block(asks("GET", "/bomb", &[]));
    let mut remembered = literal(b"x-bomb", &[b'v'; 3_900]);
    remembered[0] = 0x40;
    head.extend(remembered);
    head.extend([0x80 | 62; 12_000]);
    let mut client = scene.open().await;
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
    assert_eq!(came(&mut client, 1).await, Came::Goaway(ENHANCE_YOUR_CALM));
    let grown = scene.memory().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for a head of 16 KiB");
    assert_eq!(scene.reached(), [""; 0]);
    scene.others_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_client_says_is_let_by_and_what_breaks_the_rules_ends_its_connection() {
    let mut scene = Scene::start();
    // Unknown settings, a priority of both kinds (RFC 9218 §7.1), a grease frame, an unknown flag.
    let mut client = scene.open_with(&[(0x0a0a, 1), (9, 1)]).await;
    let newer = [
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 15]),
        frame(0x10, 0, 0, b"\0\0\0\x01u=1"),
        frame(0x2a, 0xff, 0, b"grease"),
        frame(0x2a, 0, 7, b""),
        frame(PING, 0xf0, 0, b"whatever"),
        request(1, "/newer"),
    ];
    client.send(&newer.concat()).await;
    assert_eq!(came(&mut client, 1).await.status(), Some(200));
    let broken: [(&str, Vec<u8>); 8] = [
        ("an even stream", request(2, "/broken")),
        ("a head on stream 0", request(0, "/broken")),
        ("data on stream 0", frame(DATA, 0, 0, b"data")),
        ("a push", frame(5, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])),
        ("a frame longer than agreed", frame(DATA, 0, 1, &vec![0; 16 * 1024 + 1])),
        ("half a setting", frame(SETTINGS, 0, 0, &[0, 1, 0])),
        ("a reset of nothing", reset(5)),
        ("an index that the table has not", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80 | 100])),
    ];
    for (what, bytes) in broken {
        let mut client = scene.open().await;
        let from = client.wire.local().to_string();
        client.send(&bytes).await;
        let came = came(&mut client, 1).await;
        assert!(matches!(came, Came::Goaway(_)), "{what}: {came:?}");
        assert!(client.next().await.is_none(), "{what}: the connection is closed");
        scene.gateway.wait_flow(|flow| flow["client"] == from && flow["outcome"] == "malformed");
    }
    assert_eq!(scene.reached().len(), 1);
    scene.others_go_on();
}

#[test]
fn an_h2_library_of_somebody_elses_gets_no_further_with_any_of_it() {
    let mut scene = Scene::start();
    let address = scene.gateway.address("inbound_tls").to_string();
    let said = run(python("abuse_h2.py").args([&address, NAME]).arg(scene.gateway.ca()));
    let expected = "rapid reset: GOAWAY ENHANCE_YOUR_CALM\n\
                    a head without end: GOAWAY ENHANCE_YOUR_CALM\n\
                    a bomb of fields: GOAWAY ENHANCE_YOUR_CALM\n\
                    empty data: GOAWAY ENHANCE_YOUR_CALM\n\
                    two lengths: RST_STREAM PROTOCOL_ERROR\n\
                    a line break in a value: GOAWAY PROTOCOL_ERROR\n\
                    a polite request: 200\n";
    assert_eq!(said, expected);
    assert_eq!(scene.reached().iter().filter(|request| !request.starts_with("GET /polite ")).count(), 0);
    scene.others_go_on();
}
