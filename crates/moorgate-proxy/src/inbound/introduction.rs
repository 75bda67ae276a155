//! The PROXY header, by which a load balancer says on whose behalf it connects.

use std::sync::Arc;

use moorgate_contract::failure::{Code, Failure};
use moorgate_net::runtime::{TcpStream, timeout};
use moorgate_wire::proxy_protocol::{self, ProxyHeader, ProxyHeaderError, ProxyStep};

use super::left;
use crate::{client::Client, gateway::Visit, refuse::too_slow};

/// Reads the PROXY header that a load balancer of `[inbound] trust_proxy_protocol_from` has to send first. From anybody
/// else there is none: what looks like one is a malformed hello or request.
pub(super) async fn introduced(mut visit: Visit, stream: TcpStream) -> Option<(Arc<Visit>, Client<TcpStream>)> {
    let mut client = Client::new(stream);
    if !visit.is_from_load_balancer() {
        return Some((Arc::new(visit), client));
    }
    let limit = visit.gateway.limits.head;
    let refusal = match timeout(limit, read(&mut client)).await {
        Ok(Ok(header)) => match header.addresses {
            Some((client, _)) if !visit.speaks_for(client) => Failure::new(
                Code::Full,
                format_args!("{} has as many connections here as one client address may have", client.ip()),
            ),
            _ => return Some((Arc::new(visit), client)),
        },
        Ok(Err(None)) => {
            left(visit.open_flow(visit.accepted), &client);
            return None;
        }
        Ok(Err(Some(why))) => Failure::new(Code::Malformed, why),
        Err(_) => too_slow("the PROXY header", limit),
    };
    visit.open_flow(visit.accepted).fail(&refusal);
    None
}

/// `None` inside the error: the load balancer left.
async fn read(client: &mut Client<TcpStream>) -> Result<ProxyHeader, Option<ProxyHeaderError>> {
    loop {
        match proxy_protocol::parse(&client.buffer) {
            ProxyStep::NeedMore => match client.read_more().await {
                Ok(0) | Err(_) => return Err(None),
                Ok(_) => {}
            },
            ProxyStep::Header { consumed, header } => {
                client.consume(consumed);
                return Ok(header);
            }
            ProxyStep::Malformed(why) => return Err(Some(why)),
        }
    }
}
