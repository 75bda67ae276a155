use std::future::poll_fn;

use moorgate_wire::basic::Secret;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::agent::settings::Via;

fn for_proxy() -> Rewrite {
    Rewrite::for_proxy(&Gateway {
        via: Via::Shield,
        address: HostPort::parse("localhost:9294").unwrap(),
        username: "mg_user".into(),
        password: Secret::new("secret".into()),
        roots: moorgate_tls::TrustRoots::System,
    })
}

fn for_origin(target: &str) -> Rewrite {
    Rewrite::ForOrigin(HostPort::parse(target).unwrap())
}

/// What goes on when a client sends `early`, then `later` byte by byte, then its end.
async fn forwarded(rewrite: Rewrite, early: &[u8], later: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let mut leg = RequestLeg::new(TcpLeg::new(accepted.into()), rewrite, early.to_vec());
    let later = later.to_vec();
    let sender = tokio::spawn(async move {
        for byte in later {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.shutdown().await.unwrap();
        client
    });
    // An odd size, so that nothing depends on where a read ends.
    let (mut out, mut buf) = (Vec::new(), [0; 7]);
    loop {
        match poll_fn(|cx| leg.poll_read(cx, &mut buf)).await.unwrap() {
            0 => break,
            read => out.extend_from_slice(&buf[..read]),
        }
    }
    drop(sender.await.unwrap());
    String::from_utf8(out).unwrap()
}

/// Whatever was read before the leg began, what goes on is the same.
async fn check(rewrite: impl Fn() -> Rewrite, sent: &str, expected: &str) {
    for cut in [0, 1, sent.len() / 2, sent.len()] {
        let (early, later) = sent.as_bytes().split_at(cut);
        assert_eq!(forwarded(rewrite(), early, later).await, expected, "{sent:?} cut at {cut}");
    }
}

const CREDENTIAL: &str = "proxy-authorization: Basic bWdfdXNlcjpzZWNyZXQ=\r\n";

#[tokio::test]
async fn every_request_to_the_gateway_carries_the_credential() {
    let post = "POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello";
    let get = "GET http://b.test:81/y?z HTTP/1.1\r\nhost: b.test:81\r\nProxy-Authorization: Basic bG9jYWw6b25l\r\n\r\n";
    let expected = format!(
        "POST http://a.test:80/x HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\n{CREDENTIAL}\r\nhello\
         GET http://b.test:81/y?z HTTP/1.1\r\nhost: b.test:81\r\n{CREDENTIAL}\r\n"
    );
    check(for_proxy, &format!("{post}{get}"), &expected).await;
}

#[tokio::test]
async fn a_body_in_chunks_goes_by_as_it_is() {
    let chunks = "5;ext=1\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    let sent = format!("PUT http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let expected = format!(
        "PUT http://a.test:80/ HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n{CREDENTIAL}\r\n{chunks}"
    );
    check(for_proxy, &sent, &expected).await;
}

#[tokio::test]
async fn bytes_behind_connect_are_the_tunnels() {
    let tunnel = "\u{16}\u{3}GET http://not.a/request HTTP/1.1\r\n\r\n";
    let sent = format!("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n{tunnel}");
    let expected = format!("CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n{CREDENTIAL}\r\n{tunnel}");
    check(for_proxy, &sent, &expected).await;
}

#[tokio::test]
async fn what_cannot_be_read_goes_on_unchanged_for_the_gateway_to_refuse() {
    for sent in ["GET  / HTTP/1.1\r\n\r\nrest", "GET http://a.test/ HTTP/1.1\r\nHost: a.te"] {
        check(for_proxy, sent, sent).await;
    }
}

#[tokio::test]
async fn an_origin_sees_one_request_in_its_own_form_and_no_credential() {
    let sent = "POST http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\nProxy-Connection: keep-alive\r\n\
                Proxy-Authorization: Basic bG9jYWw6b25l\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhiGET http://b.test/ HTTP/1.1\r\n";
    let expected = "POST /x?y HTTP/1.1\r\ncontent-length: 2\r\nhost: a.test\r\nexpect: 100-continue\r\nconnection: close\r\n\r\nhi";
    check(|| for_origin("a.test:80"), sent, expected).await;

    let sent = "OPTIONS http://[::1]:8080 HTTP/1.1\r\nHost: [::1]:8080\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let expected =
        "OPTIONS * HTTP/1.1\r\nhost: [::1]:8080\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n";
    check(|| for_origin("[::1]:8080"), sent, expected).await;
}

#[test]
fn the_credential_is_not_shown() {
    let shown = format!("{:?}", for_proxy());
    assert!(!shown.contains("bWdf"), "{shown}");
}
