use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

/// Two targets: one of a route whose clients come by HTTPS alone, and one of another.
pub(crate) struct Two;

impl Targets for Two {
    fn target(&self, label: &str) -> Option<CnameTarget> {
        match label {
            "k3v9x2" => Some(CnameTarget { https: true, challenge: Some("what a CA looks for".into()) }),
            "p8w4m1" => Some(CnameTarget::default()),
            _ => None,
        }
    }
}

pub(crate) fn zone() -> Zone {
    let v4 = |last| IpAddr::V4(Ipv4Addr::new(203, 0, 113, last));
    let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let (servers, addresses) = ([v4(10), v4(11)].into(), [v4(10), v4(11), v6].into());
    Zone::new(&"edge.example.com".parse().unwrap(), 7, &servers, &addresses).unwrap()
}

fn ask(name: &str, kind: RecordType) -> Answer {
    zone().answer(&Two, &LowerName::from(&Name::from_ascii(name).unwrap()), DNSClass::IN, kind)
}

/// What is said, a record a line, as a zone file writes it.
fn said(records: &[Record]) -> Vec<String> {
    records.iter().map(ToString::to_string).collect()
}

#[test]
fn a_target_is_where_the_gateways_are() {
    let four = ask("k3v9x2.edge.example.com.", RecordType::A);
    assert_eq!(
        said(&four.answers),
        ["k3v9x2.edge.example.com. 30 IN A 203.0.113.10", "k3v9x2.edge.example.com. 30 IN A 203.0.113.11"]
    );
    assert!(four.authoritative && four.code == ResponseCode::NoError && four.authorities.is_empty());
    let six = ask("K3V9X2.Edge.Example.com.", RecordType::AAAA);
    assert_eq!(said(&six.answers).len(), 1, "in whatever case it is written: {six:?}");
    let https = ask("k3v9x2.edge.example.com.", RecordType::HTTPS);
    assert_eq!(said(&https.answers), ["k3v9x2.edge.example.com. 30 IN HTTPS 1 . alpn=h2,"]);
    assert_eq!(https.additionals.len(), 3);
    assert_eq!(ask("p8w4m1.edge.example.com.", RecordType::HTTPS).answers, [], "its clients may come without");
}

#[test]
fn what_there_is_not_is_said_with_how_long_that_holds() {
    for (name, kind, code) in [
        ("nobody.edge.example.com.", RecordType::A, ResponseCode::NXDomain),
        ("a.k3v9x2.edge.example.com.", RecordType::A, ResponseCode::NXDomain),
        ("_acme-challenge.nobody.edge.example.com.", RecordType::TXT, ResponseCode::NXDomain),
        ("_acme-challenge.edge.example.com.", RecordType::TXT, ResponseCode::NXDomain),
        ("_acme-challenge.p8w4m1.edge.example.com.", RecordType::TXT, ResponseCode::NoError),
        ("_acme-challenge.k3v9x2.edge.example.com.", RecordType::A, ResponseCode::NoError),
        ("k3v9x2.edge.example.com.", RecordType::TXT, ResponseCode::NoError),
        ("ns3.edge.example.com.", RecordType::A, ResponseCode::NXDomain),
        ("ns0.edge.example.com.", RecordType::A, ResponseCode::NXDomain),
        ("k3v9x2.edge.example.com.", RecordType::MX, ResponseCode::NoError),
        ("ns1.edge.example.com.", RecordType::AAAA, ResponseCode::NoError),
        ("edge.example.com.", RecordType::A, ResponseCode::NoError),
    ] {
        let answer = ask(name, kind);
        assert_eq!((answer.code, answer.authoritative, answer.answers.len()), (code, true, 0), "{name} {kind}");
        let soa = "edge.example.com. 30 IN SOA ns1.edge.example.com. hostmaster.edge.example.com. 7 3600 600 86400 30";
        assert_eq!(said(&answer.authorities), [soa], "{name} {kind}");
    }
    for (name, kind) in [
        ("example.com.", RecordType::A),
        ("notedge.example.com.", RecordType::A),
        (".", RecordType::NS),
        ("edge.example.com.", RecordType::AXFR),
    ] {
        let refused = ask(name, kind);
        assert_eq!((refused.code, refused.authoritative), (ResponseCode::Refused, false), "{name}");
        assert!(refused.authorities.is_empty());
    }
    let chaos = zone().answer(
        &Two,
        &LowerName::from(&Name::from_ascii("edge.example.com.").unwrap()),
        DNSClass::CH,
        RecordType::TXT,
    );
    assert_eq!(chaos.code, ResponseCode::Refused);
}

#[test]
fn what_a_ca_looks_for_is_below_the_target_and_kept_by_nobody() {
    let found = ask("_ACME-challenge.k3v9x2.edge.example.com.", RecordType::TXT);
    assert_eq!(said(&found.answers), ["_acme-challenge.k3v9x2.edge.example.com. 0 IN TXT what a CA looks for"]);
}

#[test]
fn the_zone_says_who_answers_for_it() {
    let servers = ask("edge.example.com.", RecordType::NS);
    assert_eq!(
        said(&servers.answers),
        ["edge.example.com. 3600 IN NS ns1.edge.example.com.", "edge.example.com. 3600 IN NS ns2.edge.example.com."]
    );
    assert_eq!(
        said(&servers.additionals),
        ["ns1.edge.example.com. 3600 IN A 203.0.113.10", "ns2.edge.example.com. 3600 IN A 203.0.113.11"]
    );
    assert_eq!(said(&ask("ns2.edge.example.com.", RecordType::A).answers), said(&servers.additionals[1..]));
    assert_eq!(ask("edge.example.com.", RecordType::SOA).answers.len(), 1);
    let any = ask("edge.example.com.", RecordType::ANY);
    assert!(any.answers.len() == 1 && any.answers[0].record_type() == RecordType::HINFO);
    assert_eq!(
        zone().wildcard()[0].to_string(),
        "*.edge.example.com. 30 IN A 203.0.113.10",
        "for where somebody else answers"
    );
}

#[test]
fn a_zone_without_room_for_labels_is_refused() {
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(30)].join(".");
    assert!(Zone::new(&long.parse().unwrap(), 1, &BTreeSet::new(), &BTreeSet::new()).is_err());
}
