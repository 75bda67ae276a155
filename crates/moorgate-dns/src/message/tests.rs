use hickory_proto::rr::{DNSClass, Name, RecordType};

use super::*;
use crate::zone::tests::{Two, zone};

fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload).set_version(0);
        message.set_edns(edns);
    }
    message
}

fn said(packet: &[u8], transport: Transport) -> Option<Message> {
    respond(packet, transport, &zone(), &Two).map(|bytes| Message::from_vec(&bytes).unwrap())
}

fn ask(message: &Message) -> Message {
    said(&message.to_vec().unwrap(), Transport::Udp).unwrap()
}

#[test]
fn a_question_is_answered_under_its_number() {
    let answer = ask(&question("k3v9x2.edge.example.com.", RecordType::A, None));
    assert_eq!((answer.metadata.id, answer.metadata.message_type), (4711, MessageType::Response));
    assert!(answer.metadata.authoritative && answer.metadata.recursion_desired && !answer.metadata.recursion_available);
    assert_eq!((answer.queries.len(), answer.answers.len()), (1, 2));
    assert!(answer.edns.is_none());
    let with_edns = ask(&question("k3v9x2.edge.example.com.", RecordType::A, Some(4_096)));
    assert_eq!(with_edns.edns.unwrap().max_payload(), UDP_BYTES);
}

#[test]
fn what_is_no_question_of_ours_is_refused_or_not_answered() {
    let mut update = question("edge.example.com.", RecordType::SOA, None);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(ask(&update).metadata.response_code, ResponseCode::NotImp);
    let mut two = question("edge.example.com.", RecordType::SOA, None);
    two.add_query(Query::query(Name::from_ascii("edge.example.com.").unwrap(), RecordType::NS));
    assert_eq!(ask(&two).metadata.response_code, ResponseCode::FormErr);
    let mut none = question("edge.example.com.", RecordType::SOA, None);
    none.queries.clear();
    assert_eq!(ask(&none).metadata.response_code, ResponseCode::FormErr);
    let mut chaos = question("version.bind.", RecordType::TXT, None);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(ask(&chaos).metadata.response_code, ResponseCode::Refused);
    let mut newer = question("edge.example.com.", RecordType::SOA, Some(1_232));
    newer.edns.as_mut().unwrap().set_version(1);
    assert_eq!(u16::from(ask(&newer).metadata.response_code), 16, "BADVERS");

    let mut answer = question("edge.example.com.", RecordType::SOA, None);
    answer.metadata.message_type = MessageType::Response;
    assert!(said(&answer.to_vec().unwrap(), Transport::Udp).is_none());
    assert!(said(b"", Transport::Udp).is_none() && said(&[0; 11], Transport::Udp).is_none());
    let mut broken = question("edge.example.com.", RecordType::SOA, None).to_vec().unwrap();
    broken.truncate(15);
    assert_eq!(said(&broken, Transport::Udp).unwrap().metadata.response_code, ResponseCode::FormErr);
    broken[2] |= 0x80;
    assert!(said(&broken, Transport::Udp).is_none());
}

#[test]
fn what_does_not_fit_a_datagram_is_to_be_asked_for_by_tcp() {
    use std::{
        collections::BTreeSet,
        net::{IpAddr, Ipv4Addr},
    };
    let many: BTreeSet<IpAddr> = (0..100).map(|n| IpAddr::V4(Ipv4Addr::new(203, 0, 113, n))).collect();
    let zone = Zone::new(&"edge.example.com".parse().unwrap(), 1, &many, &many).unwrap();
    let packet = |payload| question("p8w4m1.edge.example.com.", RecordType::A, payload).to_vec().unwrap();
    for payload in [None, Some(100), Some(512), Some(65_535)] {
        let short = respond(&packet(payload), Transport::Udp, &zone, &Two).unwrap();
        let read = Message::from_vec(&short).unwrap();
        assert!(read.metadata.truncation && read.answers.is_empty() && short.len() <= 512, "{payload:?}");
    }
    let whole = respond(&packet(None), Transport::Tcp, &zone, &Two).unwrap();
    let whole = Message::from_vec(&whole).unwrap();
    assert!(!whole.metadata.truncation && whole.answers.len() == 100);
}
