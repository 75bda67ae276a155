//! One packet in, at most one out: DNS around a zone's answers, without sockets and clocks.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::LowerName,
};

use crate::zone::{Answer, Targets, Zone};

/// How a packet came: what its answer may be as long as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram.
    Udp,
    /// A stream.
    Tcp,
}

/// The most bytes of an answer by UDP, and what we say we take: no path cuts it into pieces (RFC 9715 §3.2).
const UDP_BYTES: u16 = 1_232;
/// Without EDNS (RFC 1035 §2.3.4).
const BARE_UDP_BYTES: u16 = 512;
/// The longest message there is.
const TCP_BYTES: u16 = u16::MAX;
/// A header (RFC 1035 §4.1.1).
const HEADER_BYTES: usize = 12;

/// The answer to a packet. `None`: it is none that is answered, or nothing can be said.
pub fn respond(packet: &[u8], transport: Transport, zone: &Zone, targets: &dyn Targets) -> Option<Vec<u8>> {
    let Ok(asked) = Message::from_vec(packet) else { return refuse_unreadable(packet) };
    if asked.metadata.message_type != MessageType::Query {
        // An answer to an answer would be answered.
        return None;
    }
    let mut said = Message::response(asked.metadata.id, asked.metadata.op_code);
    said.metadata.recursion_desired = asked.metadata.recursion_desired;
    let mut most = if transport == Transport::Tcp { TCP_BYTES } else { BARE_UDP_BYTES };
    let mut unknown_version = false;
    if let Some(edns) = &asked.edns {
        unknown_version = edns.version() > 0;
        if transport == Transport::Udp {
            most = edns.max_payload().clamp(BARE_UDP_BYTES, UDP_BYTES);
        }
        let mut own = Edns::new();
        own.set_max_payload(UDP_BYTES).set_version(0);
        said.edns = Some(own);
    }
    said.add_queries(asked.queries.iter().cloned());
    match &asked.queries[..] {
        // RFC 6891 §6.1.3.
        _ if unknown_version => said.metadata.response_code = ResponseCode::BADVERS,
        _ if asked.metadata.op_code != OpCode::Query => said.metadata.response_code = ResponseCode::NotImp,
        // RFC 9619.
        [query] => take(&mut said, look(query, zone, targets)),
        _ => said.metadata.response_code = ResponseCode::FormErr,
    }
    let bytes = said.to_vec().ok()?;
    if bytes.len() <= usize::from(most) {
        return Some(bytes);
    }
    // RFC 2181 §9: part of a set is none; by TCP there is all of it.
    for section in [&mut said.answers, &mut said.authorities, &mut said.additionals] {
        section.clear();
    }
    said.metadata.truncation = true;
    said.to_vec().ok()
}

fn look(query: &Query, zone: &Zone, targets: &dyn Targets) -> Answer {
    zone.answer(targets, &LowerName::from(query.name()), query.query_class(), query.query_type())
}

fn take(said: &mut Message, answer: Answer) {
    said.metadata.response_code = answer.code;
    said.metadata.authoritative = answer.authoritative;
    (said.answers, said.authorities, said.additionals) = (answer.answers, answer.authorities, answer.additionals);
}

/// What can't be read is told so, if it can be told apart from an answer.
fn refuse_unreadable(packet: &[u8]) -> Option<Vec<u8>> {
    let header = packet.get(..HEADER_BYTES)?;
    let (id, is_answer) = (u16::from_be_bytes([*header.first()?, *header.get(1)?]), header.get(2)? & 0x80 != 0);
    if is_answer {
        return None;
    }
    Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok()
}

#[cfg(test)]
mod tests;
