//! The first tail: bytes that nobody reads.

use std::sync::Arc;

use moorgate_contract::{exposure::Exposure, flow::OpenFlow};
use moorgate_net::{leg::Leg, relay::relay};

use crate::gateway::{Entered, Visit};

/// Which way a tunnel goes: what it exposes is known before it begins, or only by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// By a route: the flow says what it exposes.
    Inbound,
    /// To a destination.
    Outbound,
}

/// Relays until the tunnel ends, and records it. In a task of its own, so that what the head needed is gone.
pub(crate) fn run<C: Leg, T: Leg>(
    visit: Arc<Visit>,
    mut flow: OpenFlow,
    entered: Entered,
    client: C,
    target: T,
    early: Box<[u8]>,
    side: Side,
) {
    tokio::spawn(async move {
        entered.open.idles_after(Some(visit.gateway.limits.idle_tunnel));
        let relayed = relay(client, target, early, entered.open.clone()).await;
        if side == Side::Outbound {
            flow.record.exposure = Exposure::outbound(flow.record.listener, relayed.content);
        }
        drop(entered);
        flow.end(relayed.outcome);
        drop(visit);
    });
}
