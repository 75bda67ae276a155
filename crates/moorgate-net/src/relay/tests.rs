use std::task::Waker;

use moorgate_contract::{
    account::{AccountId, CredentialId, SecretId},
    flow::Meter,
    limits::RELAY_BUFFER,
};
use moorgate_wire::host::Host;

use super::*;
use crate::registry::{Owner, Registry};

/// Sends as much as is read of it, and takes nothing.
struct Endless;

impl Leg for Endless {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Cut>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[u8]) -> Poll<Result<usize, Cut>> {
        Poll::Pending
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        Poll::Pending
    }

    fn poll_cut(&mut self, _: &mut Context<'_>) -> Poll<Cut> {
        Poll::Pending
    }

    fn abort(&mut self) {}
}

#[test]
fn slow_readers_may_leave_64_mib_with_a_thread_and_from_then_on_16_kib_each() {
    let registry = Registry::new(1);
    let owner = Owner::Outbound {
        account: AccountId(0),
        credential: CredentialId(0),
        secret: SecretId(0),
        host: Host::parse("127.0.0.1").unwrap(),
        port: 80,
        client: "127.0.0.1".parse().unwrap(),
    };
    let mut stalled = Vec::new();
    let mut stall = || {
        let open = registry.register(0, owner.clone(), Arc::new(Meter::default()));
        // Both ways stand still: two leftovers.
        let mut tunnel = relay(Endless, Endless, Bytes::new(), open.clone());
        assert!(Pin::new(&mut tunnel).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        stalled.push((tunnel, open));
        HELD.get()
    };
    for tunnels in 1..=LEFTOVER_BUDGET / (2 * RELAY_BUFFER) {
        assert_eq!(stall(), tunnels * 2 * RELAY_BUFFER);
    }
    for beyond in 1..=100 {
        assert_eq!(stall(), LEFTOVER_BUDGET + beyond * 2 * SMALL_READ);
    }
    stalled.clear();
    assert_eq!(HELD.get(), 0);
}
