//! A gateway that was told to stop.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

use super::{api, assert_at, start};
use crate::doors::{Destination, Door, Doors, Early, End, Open, Refused, STUCK, flow_to};

/// Waits until a listener takes nobody in any more.
async fn until_refused(doors: &Doors, door: Door) {
    let end = Instant::now() + STUCK;
    loop {
        match doors.tcp(door).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            // In the kernel's queue when the listener closed.
            Ok(_) | Err(_) => assert!(Instant::now() < end, "{door:?} still takes connections"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_told_to_stop_lets_open_tunnels_finish_and_takes_nothing_new() {
    let (mut gateway, doors) = start(&[("DRAIN", "50s")]);
    let mut tunnels = Vec::new();
    for door in Door::ALL {
        tunnels.push((door, Open::through(&doors, door).await));
    }
    let destination = Destination::bind().await.to_string();
    let (http, socks) = (doors.wire(Door::Http).await.unwrap(), doors.wire(Door::Socks).await.unwrap());
    let (https, socks_tls) = (doors.wire(Door::HttpsH1).await.unwrap(), doors.wire(Door::SocksTls).await.unwrap());
    assert_eq!(api(&gateway, "/readyz").await.unwrap(), 200);

    gateway.signal("TERM");
    for door in Door::ALL {
        until_refused(&doors, door).await;
    }
    assert_eq!(api(&gateway, "/readyz").await.unwrap(), 503);
    assert_eq!(api(&gateway, "/healthz").await.unwrap(), 200);
    // Open already, but with nothing asked yet.
    for wire in [http, https] {
        let refused = doors.connect(wire, &destination, Early::default()).await.err();
        assert_eq!(refused, Some(Refused::Http(503, "draining".to_owned())));
    }
    for wire in [socks, socks_tls] {
        let refused = doors.socks(wire, &destination, Early::default()).await.err();
        assert_eq!(refused, Some(Refused::Socks(1)));
    }
    for (door, Open { mut client, mut target, asked }) in tunnels {
        client.writer.write_all(b"almost done").await.unwrap();
        client.writer.finish().await.unwrap();
        assert_eq!(target.reader.read_to_end().await, (b"almost done".to_vec(), End::Fin), "{door:?}");
        target.writer.write_all(b"done").await.unwrap();
        target.writer.finish().await.unwrap();
        assert_eq!(client.reader.read_to_end().await, (b"done".to_vec(), End::Fin), "{door:?}");
        assert_eq!(flow_to(&gateway, &asked).await["outcome"], "ok", "{door:?}");
    }
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_h2_client_does_not_hold_up_a_gateway_that_was_told_to_stop() {
    let (mut gateway, doors) = start(&[("DRAIN", "50s")]);
    let mut wire = doors.wire(Door::HttpsH2).await.unwrap();
    let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    wire.stream.write_all(&begin).await.unwrap();
    // The answer to the preface: from here on it is an h2 connection.
    wire.stream.read_u8().await.unwrap();
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_still_open_at_the_drain_limit_is_cut_and_its_flow_says_drained() {
    let (mut gateway, doors) = start(&[("DRAIN", "2s")]);
    let mut tunnels = Vec::new();
    for door in Door::ALL {
        tunnels.push((door, Open::through(&doors, door).await));
    }
    gateway.signal("TERM");
    let began = Instant::now();
    for (door, open) in &mut tunnels {
        let (received, end) = open.client.reader.read_to_end().await;
        assert_eq!(received, b"", "{door:?}");
        assert_ne!(end, End::Fin, "{door:?}: a cut is no clean end");
        assert_at(Duration::from_secs(2), began, &format!("{door:?}"));
        assert_eq!(open.target.reader.read_to_end().await, (vec![], End::Reset), "{door:?}");
    }
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.stderr());
    for (door, open) in tunnels {
        assert_eq!(flow_to(&gateway, &open.asked).await["outcome"], "drained", "{door:?}");
    }
}
