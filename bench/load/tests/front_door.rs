//! The load against itself: an origin, the floor in front of it, and a client, each a process of its own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    process::{Child, Command, Stdio},
};

const LOAD: &str = env!("CARGO_BIN_EXE_moorgate-load");

/// A part that serves; killed when the test is over.
struct Serving {
    process: Child,
    address: String,
}

impl Serving {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(LOAD).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned() }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn through_the_floor() -> (Serving, Serving) {
    let origin = Serving::start(&["origin"]);
    let floor = Serving::start(&["floor", &origin.address]);
    (origin, floor)
}

/// Drives for a moment; the report.
fn drive(proxy: &str, via: &str, work: &str) -> serde_json::Value {
    let arguments = ["drive", "--proxy", proxy, "--via", via, "--work", work, "--seconds", "0.3", "--connections", "3"];
    let done = Command::new(LOAD).args(arguments).output().unwrap();
    assert!(done.status.success(), "{work}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn check(proxy: &str, via: &str, work: &str, counts: &str) {
    let report = drive(proxy, via, work);
    assert_eq!(report["errors"], 0, "{work}: {report}");
    assert!(report[counts].as_u64().unwrap() > 0, "{work}: {report}");
}

#[test]
fn every_work_gets_through_the_floor_without_an_error() {
    let (_origin, floor) = through_the_floor();
    for (work, counts) in [("connection", "done"), ("ping", "done"), ("down", "bytes"), ("up", "bytes")] {
        check(&floor.address, "sni", work, counts);
    }
    check(&floor.address, "direct", "request", "done");
}

#[test]
fn every_work_is_answered_by_the_origin_itself() {
    let origin = Serving::start(&["origin"]);
    for (work, counts) in [("connection", "done"), ("ping", "done"), ("down", "bytes"), ("up", "bytes")] {
        check(&origin.address, "direct", work, counts);
    }
}

#[test]
fn an_upload_that_ends_with_its_connection_is_answered_through_the_floor() {
    let (_origin, floor) = through_the_floor();
    let mut client = TcpStream::connect(&floor.address).unwrap();
    client.write_all(b"u").unwrap();
    client.write_all(&u64::MAX.to_be_bytes()).unwrap();
    // More than all sockets on the way hold, so that the floor has to wait and to go on.
    client.write_all(&vec![1; 32 << 20]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "ok");
}

#[test]
fn a_download_arrives_whole_at_a_slow_reader() {
    let (_origin, floor) = through_the_floor();
    let count: usize = 24 << 20;
    let mut client = TcpStream::connect(&floor.address).unwrap();
    client.write_all(b"d").unwrap();
    client.write_all(&(count as u64).to_be_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    client.read_exact(&mut vec![0; count]).unwrap();
    // The next work on the same connection.
    client.write_all(b"c").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.len(), 64);
}

#[test]
fn requests_may_come_in_pieces_and_together() {
    let origin = Serving::start(&["origin"]);
    let mut client = TcpStream::connect(&origin.address).unwrap();
    client.set_nodelay(true).unwrap();
    client.write_all(b"GET /5 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HT").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    client.write_all(b"TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.contains("\r\n\r\ndddddHTTP/1.1"), "{answers}");
    assert!(answers.ends_with("\r\n\r\nddd"), "{answers}");
}

#[test]
fn what_is_held_is_held_until_standard_input_ends() {
    let (_origin, floor) = through_the_floor();
    for work in ["idle", "stalled"] {
        let arguments = ["drive", "--proxy", &floor.address, "--via", "sni", "--work", work, "--count", "20"];
        let mut held = Command::new(LOAD).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(held.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n", "{work}");
        drop(held.stdin.take());
        assert!(held.wait().unwrap().success(), "{work}");
    }
}
