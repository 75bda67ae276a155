//! Refused clients: each has a moment to read why, and no more.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{assert_at, start};
use crate::doors::{Destination, Door, STUCK, Wire, response};

const LINGER: Duration = Duration::from_secs(2);
const REFUSING: usize = 32;
const KIBIBYTE: usize = 1024;

/// What every listener refuses, and how its answer begins.
fn nonsense(door: Door) -> (&'static [u8], &'static [u8]) {
    match door {
        Door::Socks | Door::SocksTls => (&[5, 1, 0], &[5, 0xff]),
        _ => (b"NONSENSE\r\n\r\n", b"HTTP/1.1 400 "),
    }
}

async fn refused(wire: &mut Wire, door: Door) {
    let (sends, gets) = nonsense(door);
    wire.stream.write_all(sends).await.unwrap();
    wire.stream.flush().await.unwrap();
    let mut answer = vec![0; gets.len()];
    wire.stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, gets, "{door:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_client_that_stays_is_left_after_two_seconds() {
    let (_gateway, doors) = start(&[]);
    for door in [Door::Http, Door::Socks, Door::HttpsH1, Door::SocksTls] {
        let mut wire = doors.wire(door).await.unwrap();
        let began = Instant::now();
        refused(&mut wire, door).await;
        let mut rest = Vec::new();
        wire.stream.read_to_end(&mut rest).await.expect("the whole answer, and a clean end");
        // It goes on all the same, and so slowly that its bytes are no matter.
        while wire.stream.write_all(b"x").await.is_ok() && wire.stream.flush().await.is_ok() {
            assert!(began.elapsed() < STUCK, "{door:?}: kept for ever");
            sleep(Duration::from_millis(50)).await;
        }
        assert_at(LINGER, began, &format!("{door:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_a_refused_client_still_sends_256_kib_are_thrown_away_and_then_it_stands_still_until_it_is_left() {
    let (_gateway, doors) = start(&[]);
    for door in [Door::Http, Door::Socks, Door::HttpsH1, Door::SocksTls] {
        let mut modest = doors.wire(door).await.unwrap();
        refused(&mut modest, door).await;
        modest.stream.write_all(&vec![0; 200 * KIBIBYTE]).await.unwrap();
        modest.stream.flush().await.unwrap();
        let mut rest = Vec::new();
        modest.stream.read_to_end(&mut rest).await.expect("the whole answer, and a clean end");

        let mut wire = doors.wire(door).await.unwrap();
        refused(&mut wire, door).await;
        let (began, mut sent) = (Instant::now(), 0);
        let piece = vec![0; 16 * KIBIBYTE];
        while wire.stream.write_all(&piece).await.is_ok() && wire.stream.flush().await.is_ok() {
            sent += piece.len();
        }
        // What the two kernels hold of it is beyond us; what flows in such a time would be far more.
        assert!((256..16 * 1024).contains(&(sent / KIBIBYTE)), "{door:?}: {sent} bytes were taken");
        assert_at(LINGER, began, &format!("{door:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_gateway_refuses_32_clients_at_once_and_the_next_when_one_of_them_is_done() {
    let (_gateway, doors) = start(&[("CONNECTIONS", "1")]);
    let echo = Destination::bind().await.echo();
    let mut held = doors.open(Door::Http, echo).await.unwrap();
    let mut crowd = JoinSet::new();
    let began = Instant::now();
    for _ in 0..REFUSING + 8 {
        let doors = doors.clone();
        crowd.spawn(async move {
            let mut wire = doors.tcp(Door::Http).await.unwrap();
            let answer = timeout(STUCK, response(&mut wire.stream)).await.expect("an answer").expect("a whole one");
            assert_eq!(answer.0, 503);
            // It stays where it is.
            (began.elapsed(), wire)
        });
    }
    let mut answers = crowd.join_all().await;
    answers.sort_by_key(|(after, _)| *after);
    let first = answers[0].0;
    assert!(answers[REFUSING - 1].0 < first + LINGER / 2, "{:?}", answers[REFUSING - 1].0);
    assert!(answers[REFUSING].0 > first + LINGER * 3 / 4, "one more than may be refused: {:?}", answers[REFUSING].0);
    assert_at(LINGER, began, "the others");
    held.writer.write_all(b"mine").await.unwrap();
    assert_eq!(held.reader.exactly(4).await.unwrap(), b"mine");
}
