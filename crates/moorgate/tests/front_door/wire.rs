//! The wire is exact: through each door, what one side sends or does is what the other side gets, and nothing else.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use tokio::{
    io::AsyncWriteExt,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    doors::{Destination, Door, Doors, Early, End, Open, Reader, STUCK, Side, Writer, flow_to},
    gateway::{Gateway, Setup, eventually},
};

/// Bytes of the bulk test, each way. Measured: the whole test takes under a minute on two quiet cores in the dev profile.
const BULK: u64 = 1 << 30;
const BLOCK: usize = 256 * 1024;
const MEBIBYTE: usize = 1 << 20;
/// Within what a reset must be seen.
const A_SECOND: Duration = Duration::from_secs(1);
/// Tunnels with a reader that stands still.
const STALLED: usize = 50;
/// What one of them may hold in the gateway: half of it is the relay's, the rest is TLS's and h2's.
const HELD: usize = MEBIBYTE;

fn gateway() -> (Gateway, Doors) {
    let gateway = Setup::default().env("MOORGATE_LOG_FORMAT", "json").start();
    let doors = Doors::of(&gateway);
    (gateway, doors)
}

/// Block `number` of an endless stream in which no two are equal.
fn block(seed: u64, number: u64) -> Vec<u8> {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..BLOCK / 8).flat_map(|_| next()).collect()
    });
    let mut block = NOISE.clone();
    block[..8].copy_from_slice(&number.to_le_bytes());
    block[8..16].copy_from_slice(&seed.to_le_bytes());
    block
}

fn digest_of(seed: u64) -> [u8; 32] {
    let mut hash = Sha256::new();
    (0..BULK / BLOCK as u64).for_each(|number| hash.update(block(seed, number)));
    hash.finalize().into()
}

async fn send_bulk(mut writer: Writer, seed: u64) -> Writer {
    for number in 0..BULK / BLOCK as u64 {
        writer.write_all(&block(seed, number)).await.expect("bulk is taken");
    }
    writer.finish().await.expect("the end is taken");
    writer
}

/// Bytes, digest and end of what comes.
async fn take_bulk(mut reader: Reader) -> (u64, [u8; 32], End, Reader) {
    let (mut count, mut hash) = (0, Sha256::new());
    let end = reader
        .read_all(|piece| {
            count += piece.len() as u64;
            hash.update(piece);
        })
        .await;
    (count, hash.finalize().into(), end, reader)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_both_ways_at_once_arrives_unchanged_through_every_door() {
    const UP: u64 = 1;
    const DOWN: u64 = 2;
    let digests = tokio::task::spawn_blocking(|| (digest_of(UP), digest_of(DOWN)));
    let (gateway, doors) = gateway();
    let (up, down) = digests.await.unwrap();
    for door in Door::ALL {
        let began = Instant::now();
        let Open { client, target, asked } = Open::through(&doors, door).await;
        let (to_target, to_client) =
            (tokio::spawn(send_bulk(client.writer, UP)), tokio::spawn(send_bulk(target.writer, DOWN)));
        let (at_target, at_client) = (tokio::spawn(take_bulk(target.reader)), tokio::spawn(take_bulk(client.reader)));
        let (received, digest, end, _reader) = at_target.await.unwrap();
        assert_eq!((received, end), (BULK, End::Fin), "{door:?} up");
        assert!(digest == up, "{door:?}: what went up is not what arrived");
        let (received, digest, end, _reader) = at_client.await.unwrap();
        assert_eq!((received, end), (BULK, End::Fin), "{door:?} down");
        assert!(digest == down, "{door:?}: what went down is not what arrived");
        drop((to_target.await.unwrap(), to_client.await.unwrap()));
        let flow = flow_to(&gateway, &asked).await;
        assert_eq!(flow["outcome"], "ok", "{flow}");
        assert_eq!((&flow["bytes_up"], &flow["bytes_down"]), (&BULK.into(), &BULK.into()), "{flow}");
        println!("{door:?}: {:?}", began.elapsed());
    }
}

/// `first` finishes, and still gets a mebibyte.
async fn finishes_first(mut first: Side, mut second: Side) {
    first.writer.write_all(b"last words").await.unwrap();
    first.writer.finish().await.unwrap();
    assert_eq!(second.reader.read_to_end().await, (b"last words".to_vec(), End::Fin));
    let mebibyte = block(0, 7).repeat(MEBIBYTE / BLOCK);
    let sending = async {
        second.writer.write_all(&mebibyte).await.unwrap();
        second.writer.finish().await.unwrap();
    };
    let ((), (received, end)) = tokio::join!(sending, first.reader.read_to_end());
    assert_eq!(end, End::Fin);
    assert!(received == mebibyte, "{} bytes of a mebibyte, or others", received.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_side_finishes_first_still_receives_a_mebibyte() {
    let (gateway, doors) = gateway();
    for door in Door::ALL {
        let Open { client, target, asked } = Open::through(&doors, door).await;
        finishes_first(client, target).await;
        let flow = flow_to(&gateway, &asked).await;
        assert_eq!(
            (&flow["outcome"], &flow["bytes_up"], &flow["bytes_down"]),
            (&"ok".into(), &10.into(), &MEBIBYTE.into()),
            "{door:?} client first: {flow}"
        );

        let Open { client, target, asked } = Open::through(&doors, door).await;
        finishes_first(target, client).await;
        let flow = flow_to(&gateway, &asked).await;
        assert_eq!(
            (&flow["outcome"], &flow["bytes_up"], &flow["bytes_down"]),
            (&"ok".into(), &MEBIBYTE.into(), &10.into()),
            "{door:?} target first: {flow}"
        );
    }
}

/// What a tunnel was doing when one side broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// The one that breaks off had finished before.
    AborterFinished,
    /// The other one had finished before.
    OtherFinished,
    /// The one that breaks off has sent more than the other one reads.
    OtherReadsSlowly,
    /// The other one has sent more than the one that breaks off reads.
    AborterReadsSlowly,
}

const STATES: [State; 5] =
    [State::Idle, State::AborterFinished, State::OtherFinished, State::OtherReadsSlowly, State::AborterReadsSlowly];

/// Writes until nothing more is taken.
async fn fill(writer: &mut Writer) {
    let block = block(0, 0);
    while timeout(Duration::from_millis(300), writer.write_all(&block)).await.is_ok_and(|sent| sent.is_ok()) {}
}

async fn check_reset(gateway: &Gateway, doors: &Doors, door: Door, by_client: bool, state: State, whole: bool) {
    let Open { client, target, asked } = Open::through(doors, door).await;
    let (mut aborter, mut other) = if by_client { (client, target) } else { (target, client) };
    let case = format!("{door:?}, {state:?}, by {}", if by_client { "client" } else { "target" });
    match state {
        State::Idle => {
            aborter.writer.write_all(b"a").await.unwrap();
            assert_eq!(other.reader.exactly(1).await.unwrap(), b"a");
        }
        State::AborterFinished => {
            aborter.writer.finish().await.unwrap();
            assert_eq!(other.reader.read_to_end().await.1, End::Fin);
        }
        State::OtherFinished => {
            other.writer.finish().await.unwrap();
            assert_eq!(aborter.reader.read_to_end().await.1, End::Fin);
        }
        State::OtherReadsSlowly => fill(&mut aborter.writer).await,
        State::AborterReadsSlowly => fill(&mut other.writer).await,
    }
    let began = Instant::now();
    if whole {
        aborter.abort_connection()
    } else {
        aborter.abort()
    }
    if state == State::OtherReadsSlowly {
        // Seen although nobody reads.
        flow_to(gateway, &asked).await;
        assert!(began.elapsed() < A_SECOND, "{case}: seen after {:?}", began.elapsed());
    }
    let end = match state {
        State::AborterFinished => {
            timeout(STUCK, other.broken_off()).await.unwrap_or_else(|_| panic!("{case}: not a reset"));
            End::Reset
        }
        _ => other.reader.read_to_end().await.1,
    };
    assert!(began.elapsed() < A_SECOND, "{case}: after {:?}", began.elapsed());
    let of_tls = door.is_tls() && door != Door::HttpsH2 && !by_client;
    assert!(end == End::Reset || (of_tls && end == End::Truncated), "{case}: ended with {end:?}");
    let flow = flow_to(gateway, &asked).await;
    let by = if by_client { "client" } else { "target" };
    assert_eq!(flow["outcome"], format!("reset_by_{by}"), "{case}: {flow}");
}

async fn check_resets(by_client: bool) {
    let (gateway, doors) = gateway();
    let gateway = Arc::new(gateway);
    let mut doors_done = JoinSet::new();
    for door in Door::ALL {
        let (gateway, doors) = (gateway.clone(), doors.clone());
        doors_done.spawn(async move {
            for state in STATES {
                check_reset(&gateway, &doors, door, by_client, state, false).await;
            }
        });
    }
    while let Some(done) = doors_done.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_by_the_client_is_a_reset_at_the_target_within_a_second_whatever_the_tunnel_was_doing() {
    check_resets(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_by_the_target_is_a_reset_at_the_client_within_a_second_whatever_the_tunnel_was_doing() {
    check_resets(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_h2_connection_that_dies_resets_every_target_of_its_tunnels() {
    let (gateway, doors) = gateway();
    for state in STATES {
        check_reset(&gateway, &doors, Door::HttpsH2, true, state, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_without_close_notify_is_no_clean_end_for_the_target() {
    let (gateway, doors) = gateway();
    for door in [Door::HttpsH1, Door::SocksTls] {
        let Open { mut client, mut target, asked } = Open::through(&doors, door).await;
        // Unread bytes, such as TLS's tickets, would make it an RST.
        target.writer.write_all(b"a").await.unwrap();
        assert_eq!(client.reader.exactly(1).await.unwrap(), b"a");
        drop(client);
        assert_eq!(target.reader.read_to_end().await, (vec![], End::Reset), "{door:?}");
        assert_eq!(flow_to(&gateway, &asked).await["outcome"], "truncated_by_client", "{door:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_come_with_the_request_or_right_behind_it_are_not_lost() {
    let (gateway, doors) = gateway();
    let (short, long) = (b"as short as a hello".to_vec(), block(3, 3));
    let cases = [(&short[..], &[][..]), (&[], &short), (&short, &long), (&long, &short), (&[], &long)];
    for door in Door::ALL {
        for (together, behind) in cases {
            let destination = Destination::bind().await;
            let early = Early { together, behind };
            let client = doors.open_early(door, &destination, early);
            let (client, mut target) = tokio::join!(client, destination.accept());
            let mut client = client.unwrap_or_else(|refused| panic!("{door:?}: {refused:?}"));
            client.writer.write_all(b"after the answer").await.unwrap();
            client.writer.finish().await.unwrap();
            let (received, end) = target.reader.read_to_end().await;
            let sent = [together, behind, b"after the answer"].concat();
            let case = format!("{door:?}, {} together, {} behind", together.len(), behind.len());
            assert!(received == sent, "{case}: {} of {} bytes, or others", received.len(), sent.len());
            assert_eq!(end, End::Fin, "{case}");
            assert_eq!(target.close().await, b"");
            assert_eq!(client.reader.read_to_end().await.1, End::Fin, "{case}");
            let flow = flow_to(&gateway, &destination.to_string()).await;
            assert_eq!(flow["bytes_up"], sent.len(), "{case}: {flow}");
        }
    }
}

/// Resident memory in bytes.
fn resident(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Sends without end and counts what was taken.
async fn flood(mut writer: Writer, taken: Arc<AtomicU64>) {
    for number in 0.. {
        if writer.write_all(&block(0, number)).await.is_err() {
            return;
        }
        taken.fetch_add(BLOCK as u64, Relaxed);
    }
}

/// Waits until none of the senders gets rid of anything.
async fn until_held_back(taken: &[Arc<AtomicU64>]) -> u64 {
    let total = || taken.iter().map(|taken| taken.load(Relaxed)).sum();
    let end = Instant::now() + STUCK;
    let mut before: u64 = total();
    loop {
        sleep(Duration::from_millis(500)).await;
        let now = total();
        if now == before {
            return now;
        }
        assert!(Instant::now() < end, "senders are not held back: {now} bytes so far");
        before = now;
    }
}

/// Readers stand still, senders send without end; then one reader goes on.
async fn check_slow_readers(by_client: bool) {
    let (gateway, doors) = gateway();
    for door in Door::ALL {
        // What the first tunnel of a kind needs for good is not what this is about.
        finishes(Open::through(&doors, door).await).await;
    }
    let before = resident(&gateway);
    let (mut readers, mut taken, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let mut floods = JoinSet::new();
    for door in Door::ALL.into_iter().cycle().take(STALLED) {
        let Open { client, target, .. } = Open::through(&doors, door).await;
        let (slow, fast) = if by_client { (client, target) } else { (target, client) };
        let count = Arc::new(AtomicU64::new(0));
        floods.spawn(flood(fast.writer, count.clone()));
        readers.push((door, slow.reader));
        kept.push((slow.writer, fast.reader));
        taken.push(count);
    }
    until_held_back(&taken).await;
    let grown = resident(&gateway).saturating_sub(before);
    println!("{STALLED} stalled tunnels hold {} KiB", grown / 1024);
    assert!(grown < STALLED * HELD, "{STALLED} stalled tunnels hold {} MiB", grown / MEBIBYTE);
    sleep(Duration::from_secs(1)).await;
    let later = resident(&gateway).saturating_sub(before);
    assert!(later <= grown + MEBIBYTE, "memory grows while nobody reads: {grown}, then {later} bytes");

    for ((door, reader), taken) in readers.iter_mut().zip(&taken).take(Door::ALL.len()) {
        let held_at = taken.load(Relaxed);
        let mut number = 0;
        // What was held back comes in order, and the sender goes on.
        while taken.load(Relaxed) < held_at + 4 * MEBIBYTE as u64 {
            let received = timeout(STUCK, reader.exactly(BLOCK)).await.expect("it goes on").unwrap();
            assert!(received == block(0, number), "{door:?}: block {number} is another");
            number += 1;
        }
    }
    floods.shutdown().await;
}

async fn finishes(open: Open) {
    finishes_first(open.client, open.target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_slow_clients_hold_back_their_targets_and_memory_stays_flat() {
    check_slow_readers(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_slow_targets_hold_back_their_clients_and_memory_stays_flat() {
    check_slow_readers(false).await;
}

/// An exchange that comes to a stop.
#[derive(Clone, Copy)]
enum Stalled {
    /// The target takes no more of the request's body.
    Upload,
    /// The client takes no more of the response's body.
    Download,
    /// The client sends requests and more requests, and the target answers none.
    Pipeline,
}

/// Begins one. What sends without end, and what must live on for it to stay as it is.
async fn stall(doors: &Doors, door: Door, how: Stalled) -> (Writer, Reader, Side) {
    let destination = Destination::bind().await;
    let mut wire = doors.wire(door).await.unwrap();
    let (method, framing) = match how {
        Stalled::Upload => ("POST", "Content-Length: 1000000000000\r\n"),
        Stalled::Download | Stalled::Pipeline => ("GET", ""),
    };
    let authorization = doors.authorization();
    let head = format!(
        "{method} http://{destination}/ HTTP/1.1\r\nHost: {destination}\r\n\
         Proxy-Authorization: {authorization}\r\n{framing}\r\n"
    );
    wire.stream.write_all(head.as_bytes()).await.unwrap();
    wire.stream.flush().await.unwrap();
    let (mut target, client) = (destination.accept().await, Side::over(wire, vec![]));
    match how {
        Stalled::Upload | Stalled::Pipeline => (client.writer, client.reader, target),
        Stalled::Download => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n";
            target.writer.write_all(head).await.unwrap();
            (target.writer, target.reader, client)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_exchanges_that_stand_still_hold_back_whoever_sends_and_memory_stays_flat() {
    let (gateway, doors) = gateway();
    for door in Door::ALL {
        finishes(Open::through(&doors, door).await).await;
    }
    for how in [Stalled::Upload, Stalled::Download, Stalled::Pipeline] {
        let before = resident(&gateway);
        let (mut taken, mut kept, mut floods) = (Vec::new(), Vec::new(), JoinSet::new());
        for door in [Door::Http, Door::HttpsH1].into_iter().cycle().take(STALLED) {
            let (writer, reader, other) = stall(&doors, door, how).await;
            let count = Arc::new(AtomicU64::new(0));
            floods.spawn(flood(writer, count.clone()));
            taken.push(count);
            kept.push((reader, other));
        }
        until_held_back(&taken).await;
        let grown = resident(&gateway).saturating_sub(before);
        println!("{STALLED} exchanges that stand still hold {} KiB", grown / 1024);
        assert!(grown < STALLED * HELD, "{STALLED} exchanges that stand still hold {} MiB", grown / MEBIBYTE);
        floods.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_tunnel_does_not_stop_the_others_of_its_h2_connection() {
    let (_gateway, doors) = gateway();
    let h2 = doors.h2().await.unwrap();
    let stalled = Destination::bind().await;
    let echo = Destination::bind().await.echo();
    let mut blocked = Vec::new();
    let mut floods = JoinSet::new();
    let mut taken = Vec::new();
    for _ in 0..4 {
        let client = h2.open(&stalled.to_string(), Early::default()).await.unwrap();
        let count = Arc::new(AtomicU64::new(0));
        floods.spawn(flood(client.writer, count.clone()));
        taken.push(count);
        blocked.push((client.reader, stalled.accept().await));
    }
    until_held_back(&taken).await;
    let mut lively = h2.open(&echo.to_string(), Early::default()).await.unwrap();
    for number in 0..16 {
        let sent = block(9, number);
        let (wrote, received) = tokio::join!(lively.writer.write_all(&sent), lively.reader.exactly(BLOCK));
        wrote.unwrap();
        assert!(received.unwrap() == sent);
    }
    lively.close().await;
    floods.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_tunnel_leaves_nothing_open() {
    let (gateway, doors) = gateway();
    // Of the store's files the gateway opens one more whenever it first needs it.
    let is_socket =
        |path: &std::path::Path| std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
    let descriptors = || {
        let all = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap();
        all.flatten().filter(|descriptor| is_socket(&descriptor.path())).count()
    };
    for door in Door::ALL {
        finishes(Open::through(&doors, door).await).await;
    }
    let before = eventually("a count that stays", || {
        let before = descriptors();
        std::thread::sleep(Duration::from_millis(300));
        (descriptors() == before).then_some(before)
    });
    for door in Door::ALL {
        for _ in 0..20 {
            finishes(Open::through(&doors, door).await).await;
        }
        for _ in 0..20 {
            Open::through(&doors, door).await.client.abort();
        }
    }
    eventually("every descriptor's return", || (descriptors() <= before).then_some(()));
}
