//! The demo's own name server: every name of the demo is on loopback, where a relay stands.

use std::net::{Ipv4Addr, SocketAddr};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

use super::{DemoError, secrets::ZONE};

/// The largest query that is read, in bytes.
const QUERY: usize = 4 * 1024;

/// A running name server. Ends when dropped.
pub(super) struct Names {
    /// Where it is asked, over UDP.
    pub(super) address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Names {
    /// Starts it.
    ///
    /// # Errors
    /// When there is no port for it.
    pub(super) async fn start() -> Result<Self, DemoError> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DemoError::Listen)?;
        let address = socket.local_addr().map_err(DemoError::Listen)?;
        let serving = tokio::spawn(async move {
            let mut buf = [0; QUERY];
            while let Ok((size, client)) = socket.recv_from(&mut buf).await {
                let query = buf.get(..size).and_then(|bytes| Message::from_vec(bytes).ok());
                if let Some(reply) = query.and_then(answer) {
                    // Who asked asks again.
                    let _ = socket.send_to(&reply, client).await;
                }
            }
        });
        Ok(Self { address, _serving: AbortOnDropHandle::new(serving) })
    }
}

/// `None` for what is no question.
fn answer(message: Message) -> Option<Vec<u8>> {
    let query = message.queries.first()?.clone();
    let mut reply = message.into_response();
    reply.edns = None;
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    if !name.ends_with(&format!(".{ZONE}")) {
        reply.metadata.response_code = ResponseCode::NXDomain;
    } else if query.query_type() == RecordType::A {
        reply.add_answer(Record::from_rdata(query.name().clone(), 0, RData::A(Ipv4Addr::LOCALHOST.into())));
    }
    reply.to_vec().ok()
}
