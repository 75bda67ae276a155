use std::{future::poll_fn, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};

use super::*;
use crate::testing::{Ca, accepting};

const MIB: usize = 1 << 20;

/// A connection's two ends: the client's, the gateway's.
async fn pair(ca: &Ca) -> (TlsStream, TlsStream) {
    let (client, accepted) = accepting(&ca.terminator()).await;
    let client = ca.originator().connect(client, "localhost").await.unwrap();
    (client, accepted.await.unwrap().unwrap())
}

async fn read(leg: &mut TlsLeg) -> Result<Vec<u8>, Cut> {
    let (mut all, mut buf) = (Vec::new(), vec![0; 100_000]);
    loop {
        match poll_fn(|cx| leg.poll_read(cx, &mut buf)).await? {
            0 => return Ok(all),
            read => all.extend_from_slice(&buf[..read]),
        }
    }
}

async fn write(leg: &mut TlsLeg, mut bytes: &[u8]) -> Result<(), Cut> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| leg.poll_write(cx, bytes)).await?;
        bytes = &bytes[written..];
    }
    poll_fn(|cx| leg.poll_flush(cx)).await
}

async fn finish(leg: &mut TlsLeg) -> Result<(), Cut> {
    poll_fn(|cx| leg.poll_finish(cx)).await
}

/// Whichever side we are, and whichever side ends first, the other direction still carries a MiB.
async fn check_half_close(leg: TlsStream, mut peer: TlsStream, leg_first: bool) {
    let mut leg = TlsLeg::new(leg);
    let sent = vec![7; MIB];
    if leg_first {
        write(&mut leg, b"first").await.unwrap();
        finish(&mut leg).await.unwrap();
        let mut first = Vec::new();
        peer.read_to_end(&mut first).await.unwrap();
        assert_eq!(first, b"first");
        let peers = async {
            peer.write_all(&sent).await.unwrap();
            peer.shutdown().await.unwrap();
        };
        let (got, ()) = tokio::join!(read(&mut leg), peers);
        assert_eq!(got.unwrap().len(), MIB);
    } else {
        peer.write_all(b"first").await.unwrap();
        peer.shutdown().await.unwrap();
        assert_eq!(read(&mut leg).await.unwrap(), b"first");
        let ours = async {
            write(&mut leg, &sent).await.unwrap();
            finish(&mut leg).await.unwrap();
        };
        let mut got = Vec::new();
        let (read, ()) = tokio::join!(peer.read_to_end(&mut got), ours);
        assert_eq!((read.unwrap(), got.len()), (MIB, MIB));
    }
}

#[tokio::test]
async fn half_close_works_both_ways_and_on_both_sides() {
    let ca = Ca::new();
    for leg_first in [true, false] {
        let (client, gateway) = pair(&ca).await;
        check_half_close(gateway, client, leg_first).await;
        let (client, gateway) = pair(&ca).await;
        check_half_close(client, gateway, leg_first).await;
    }
}

/// A client on OpenSSL through memory, which can end its own direction and go on reading.
const OPENSSL_CLIENT: &str = r#"
import socket, ssl, sys
port, ca, first, version = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
sock = socket.create_connection(("127.0.0.1", port))
come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(come, go, server_hostname="localhost")
def run(step):
    while True:
        try:
            result = step()
            sock.sendall(go.read())
            return result
        except ssl.SSLWantReadError:
            sock.sendall(go.read())
            data = sock.recv(65536)
            come.write(data) if data else come.write_eof()
def read_to_end():
    got = b""
    while True:
        try:
            data = run(lambda: tls.read(65536))
        except ssl.SSLZeroReturnError:
            return got
        if not data:
            return got
        got += data
def finish():
    try:
        tls.unwrap()
    except ssl.SSLWantReadError:
        pass
    sock.sendall(go.read())
run(tls.do_handshake)
if first == "client":
    run(lambda: tls.write(b"question"))
    finish()
    assert len(read_to_end()) == 1 << 20
else:
    assert read_to_end() == b"question"
    for _ in range(64):
        run(lambda: tls.write(bytes(16384)))
    finish()
"#;

#[tokio::test]
async fn half_close_works_with_openssl_on_the_other_side() {
    let ca = Ca::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for (first, version) in
        [("client", "TLSv1_3"), ("gateway", "TLSv1_3"), ("client", "TLSv1_2"), ("gateway", "TLSv1_2")]
    {
        let client = Command::new("python3")
            .args(["-c", OPENSSL_CLIENT, &port])
            .arg(ca.pem())
            .args([first, version])
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let accepted = listener.accept().await.unwrap().0;
        let mut leg = TlsLeg::new(ca.terminator().accept(accepted).await.unwrap());
        if first == "client" {
            assert_eq!(read(&mut leg).await.unwrap(), b"question");
            write(&mut leg, &vec![7; MIB]).await.unwrap();
            finish(&mut leg).await.unwrap();
        } else {
            write(&mut leg, b"question").await.unwrap();
            finish(&mut leg).await.unwrap();
            assert_eq!(read(&mut leg).await.unwrap().len(), MIB, "{version}");
        }
        let output = client.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{first} {version}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_a_truncation_and_not_an_end() {
    let ca = Ca::new();
    let (mut client, gateway) = pair(&ca).await;
    let mut leg = TlsLeg::new(gateway);
    // Reading this, it reads its tickets: left unread they would make the close a reset.
    write(&mut leg, b"x").await.unwrap();
    client.read_u8().await.unwrap();
    client.write_all(b"half of it").await.unwrap();
    client.flush().await.unwrap();
    drop(client);
    assert_eq!(read(&mut leg).await, Err(Cut::Truncated));
    assert_eq!(read(&mut leg).await, Err(Cut::Truncated), "and stays one");
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let ca = Ca::new();
    let (client, gateway) = pair(&ca).await;
    let mut leg = TlsLeg::new(gateway);
    client.tcp().set_zero_linger().unwrap();
    drop(client);
    assert_eq!(read(&mut leg).await, Err(Cut::Reset));
}

#[tokio::test]
async fn a_reset_is_noticed_while_nobody_reads() {
    let ca = Ca::new();
    let (mut client, gateway) = pair(&ca).await;
    let mut leg = TlsLeg::new(gateway);
    client.shutdown().await.unwrap();
    assert_eq!(read(&mut leg).await, Ok(Vec::new()));
    assert!(poll_fn(|cx| Poll::Ready(leg.poll_cut(cx).is_pending())).await);
    client.tcp().set_zero_linger().unwrap();
    drop(client);
    // No waker announces it.
    while poll_fn(|cx| Poll::Ready(leg.poll_cut(cx))).await.is_pending() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_abort_is_a_reset_at_the_peer_even_after_our_end() {
    let ca = Ca::new();
    for finished in [false, true] {
        let (mut client, gateway) = pair(&ca).await;
        let mut leg = TlsLeg::new(gateway);
        write(&mut leg, b"half of it").await.unwrap();
        let mut got = [0; 10];
        client.read_exact(&mut got).await.unwrap();
        if finished {
            finish(&mut leg).await.unwrap();
            assert_eq!(client.read(&mut got).await.unwrap(), 0);
        }
        leg.abort();
        leg.abort();
        drop(leg);
        if finished {
            // More than the kernel takes unseen.
            assert!(client.write_all(&[0; 16 * MIB]).await.is_err());
        } else {
            let error = client.read(&mut got).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
}
