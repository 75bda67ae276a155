//! No place left, an account's quota used up, the gateway going down.

use super::{Expected, HTTP, SOCKS, check_refusal};
use crate::{
    gateway::{Setup, eventually},
    talk::{self, CONNECT, Said, Talk, get, socks, socks_host, socks_tunnel},
    target::Target,
};

#[test]
fn an_accounts_limit_of_open_connections_is_429_and_ends_with_the_first_that_closes() {
    let gateway = Setup::default().env("MOORGATE_LIMITS_CONNECTIONS_PER_ACCOUNT", "1").start();
    let credential = gateway.credential();
    let target = Target::echo().address.to_string();
    let mut expected = Expected::of(&gateway);
    let held = Talk::tunnel(gateway.address(HTTP), &credential, &target).unwrap();
    let held_from = held.local();

    for request in [talk::connect(&credential, &target), get(&credential, &target, "/", "")] {
        let mut talk = Talk::to(gateway.address(HTTP));
        talk.send(request);
        check_refusal(&talk.reply(), 429, "quota_spent");
        expected.note(talk.local(), HTTP, "quota_spent");
    }
    let (talk, said) = socks(gateway.address(SOCKS), &credential, CONNECT, &socks_host("127.0.0.1"), 9);
    assert_eq!(said, Said::Reply(0x02));
    expected.note(talk.local(), SOCKS, "quota_spent");

    drop(held);
    expected.note(held_from, HTTP, "ok");
    let mut again = eventually("a place", || socks_tunnel(gateway.address(SOCKS), &credential, &target).ok());
    again.send("x");
    assert_eq!(again.take(1).unwrap(), b"x");
}

#[test]
fn a_full_gateway_says_503_or_0x01_and_serves_again_when_somebody_leaves() {
    let gateway = Setup::default().env("MOORGATE_LIMITS_CONNECTIONS", "2").start();
    let credential = gateway.credential();
    let target = Target::echo().address.to_string();
    let mut expected = Expected::of(&gateway);
    let mut held: Vec<Talk> =
        (0..2).map(|_| Talk::tunnel(gateway.address(HTTP), &credential, &target).unwrap()).collect();

    let mut talk = Talk::to(gateway.address(HTTP));
    talk.send(talk::connect(&credential, &target));
    check_refusal(&talk.reply(), 503, "full");
    expected.note(talk.local(), HTTP, "full");
    let (host, port) = target.rsplit_once(':').unwrap();
    let (talk, said) = socks(gateway.address(SOCKS), &credential, CONNECT, &socks_host(host), port.parse().unwrap());
    assert_eq!(said, Said::Reply(0x01));
    expected.note(talk.local(), SOCKS, "full");
    expected.check();

    for tunnel in &mut held {
        tunnel.send("still here");
        assert_eq!(tunnel.take(10).unwrap(), b"still here");
    }
    held.pop();
    eventually("a place", || Talk::tunnel(gateway.address(HTTP), &credential, &target).ok());
}

#[test]
fn a_draining_gateway_refuses_what_is_new_and_finishes_what_runs() {
    let mut gateway = Setup::default().env("MOORGATE_LIMITS_DRAIN", "20s").env("MOORGATE_LOG_FORMAT", "json").start();
    let credential = gateway.credential();
    let target = Target::echo().address.to_string();
    let mut running = Talk::tunnel(gateway.address(HTTP), &credential, &target).unwrap();
    // Connected before, with nothing asked yet: a byte of each shows that they were accepted.
    let mut http = Talk::to(gateway.address(HTTP));
    http.send("C");
    let mut other = Talk::to(gateway.address(SOCKS));
    other.send([5, 1, 2]);
    assert_eq!(other.take(2).unwrap(), [5, 2]);

    gateway.signal("TERM");
    eventually("the end of the listeners", || {
        std::net::TcpStream::connect(gateway.address(HTTP)).is_err().then_some(())
    });
    http.send(&talk::connect(&credential, &target)[1..]);
    check_refusal(&http.reply(), 503, "draining");
    let (user, password) = &credential;
    let sized = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let (host, port) = target.rsplit_once(':').unwrap();
    let port = port.parse::<u16>().unwrap().to_be_bytes();
    other.send([&[1][..], &sized(user), &sized(password), &[5, 1, 0], &socks_host(host), &port].concat());
    assert_eq!(other.take(2).unwrap(), [1, 0]);
    assert_eq!(other.take(2).unwrap(), [5, 1]);

    running.send("finish me");
    assert_eq!(running.take(9).unwrap(), b"finish me");
    drop(running);
    assert!(gateway.wait().success());
    let out = eventually("the flows", || {
        let out = gateway.stdout();
        (out.matches("\"outcome\":\"draining\"").count() == 2 && out.contains("\"outcome\":\"ok\"")).then_some(out)
    });
    assert!(!out.contains("drained"), "{out}");
}
