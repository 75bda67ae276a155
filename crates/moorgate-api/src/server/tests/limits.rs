use std::time::Duration;

use tokio::time::timeout;

use super::*;

fn short() -> Limits {
    Limits { head: Duration::from_millis(300), drain: Duration::from_secs(2), ..Limits::default() }
}

/// How long a connection that sends `bytes` and then nothing is kept.
async fn kept(house: &House, bytes: &str) -> Duration {
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let since = Instant::now();
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("it was never closed");
    since.elapsed()
}

#[tokio::test]
async fn a_client_that_stalls_in_its_head_is_dropped_at_the_limit() {
    let house = House::with(short()).await;
    let finished = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", house.address);
    for bytes in ["", "GET /healthz HTTP/1.1\r\nHost: loc", &finished] {
        let kept = kept(&house, bytes).await;
        assert!(
            (Duration::from_millis(250)..Duration::from_millis(1300)).contains(&kept),
            "{bytes:?} was kept {kept:?}"
        );
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let house = House::with(Limits { connections: 2, ..Limits::default() }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(b"GET ").await.unwrap();
        held.push(stream);
    }
    let answer = house.raw("").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("try again soon\n"), "{answer}");
    drop(held);
    for _ in 0..100 {
        if house.ask("GET", "/healthz", "", "").await.0 == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the places were never given back");
}

#[tokio::test]
async fn a_gateway_that_goes_down_ends_its_streams() {
    let mut house = House::with(short()).await;
    let mut following = house.client().follow(None, 0).await.unwrap();
    house.stop.take().unwrap().send(()).unwrap();
    assert_eq!(timeout(Duration::from_secs(1), following.next()).await.unwrap().unwrap(), None);
    timeout(Duration::from_secs(3), house.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let house = House::new().await;
    let (status, _) = house.ask("GET", "/healthz", &format!("X: {}\r\n", "a".repeat(20_000)), "").await;
    assert_eq!(status, 431);
}
