//! The first tail: bytes that nobody reads.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use moorgate_contract::{exposure::Exposure, flow::OpenFlow};
use moorgate_net::{
    leg::Leg,
    relay::{Relay, relay},
    runtime::go_on_as,
};

use crate::gateway::{Entered, Visit};

/// Which way a tunnel goes: what it exposes is known before it begins, or only by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// By a route: the flow says what it exposes.
    Inbound,
    /// To a destination.
    Outbound,
}

/// An open tunnel. Written by hand: what the compiler makes of an `async` block is half as large again, and this is
/// what an idle tunnel holds.
struct Tunnel<C: Leg, T: Leg> {
    relay: Relay<C, T>,
    side: Side,
    /// Both are there until the end.
    entered: Option<Entered>,
    flow: Option<OpenFlow>,
    /// The connection's place, given back when all is recorded.
    _visit: Arc<Visit>,
}

/// Relays until the tunnel ends, and records it, once the task that says so has ended: what the head needed is gone then.
pub(crate) fn run<C: Leg, T: Leg>(
    visit: Arc<Visit>,
    flow: OpenFlow,
    entered: Entered,
    client: C,
    target: T,
    early: Bytes,
    side: Side,
) {
    entered.open.idles_after(Some(visit.gateway.limits.idle_tunnel));
    let relay = relay(client, target, early, entered.open.clone());
    go_on_as(Tunnel { relay, side, entered: Some(entered), flow: Some(flow), _visit: visit });
}

impl<C: Leg, T: Leg> Future for Tunnel<C, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let relayed = ready!(Pin::new(&mut self.relay).poll(cx));
        self.entered = None;
        if let Some(mut flow) = self.flow.take() {
            if self.side == Side::Outbound {
                flow.record.exposure = Exposure::outbound(flow.record.listener, relayed.content);
            }
            flow.end(relayed.outcome);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use moorgate_net::leg::TcpLeg;

    use super::*;

    /// A task is its future and some hundred bytes of the runtime's; together they fit three cache-line pairs.
    #[test]
    fn an_open_tunnel_is_small() {
        let size = size_of::<Tunnel<TcpLeg, TcpLeg>>();
        assert!(size <= 264, "{size} bytes");
    }
}
