//! Passthrough: the client's TLS goes on to the origin unread, byte for byte; the origin keeps its key.

use std::sync::Arc;

use moorgate_contract::{
    exposure::{Carried, Exposure},
    flow::OpenFlow,
    inbound::{Routed, let_in},
};
use moorgate_net::{leg::TcpLeg, runtime::TcpStream};
use moorgate_wire::{client_hello::ClientHello, visible::visible};

use super::{
    close,
    origin::{Ask, Chosen},
};
use crate::{
    client::Client,
    gateway::Visit,
    tunnel::{self, Side},
};

/// Connect, relay, record: what was peeked goes first.
pub(super) async fn run(
    visit: Arc<Visit>,
    mut client: Client<TcpStream>,
    mut flow: OpenFlow,
    routed: &Routed,
    hello: &ClientHello,
) {
    flow.record.alpn = hello.alpn().next().map(|protocol| visible(protocol).to_string().into());
    let entered = let_in(routed, visit.client.ip(), &mut ()).and_then(|()| visit.enter_route(routed, &flow));
    let entered = match entered {
        Ok(entered) => entered,
        Err(failure) => return close(client, flow, &failure).await,
    };
    let local = routed.route.settings.proxy_protocol.map(|_| client.stream.local_addr().unwrap_or(visit.client));
    let name = hello.server_name.as_ref();
    let ask = Ask { visit: &visit, routed, pool: &routed.route.pool, name, local, chosen: Chosen::default() };
    let reached = match ask.reach(&entered, &mut flow).await {
        Ok(reached) => reached,
        Err(failure) => return close(client, flow, &failure).await,
    };
    flow.record.exposure = Exposure::inbound(Carried::PassedThrough);
    let header = ask.header();
    let early = client.take_early();
    let early = if header.is_empty() { early } else { [header.as_slice(), &early].concat().into() };
    let (client, target) = (TcpLeg::new(client.stream), TcpLeg::new(reached.stream));
    tunnel::run(visit, flow, entered, client, target, early, Side::Inbound);
}
