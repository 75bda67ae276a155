//! What the zone answers: pure, without sockets and clocks.

use std::{collections::BTreeSet, net::IpAddr};

use hickory_proto::{
    ProtoError,
    op::ResponseCode,
    rr::{
        DNSClass, LowerName, Name, RData, Record, RecordType,
        rdata::{
            A, AAAA, HINFO, HTTPS, NS, SOA, SVCB, TXT,
            svcb::{Alpn, SvcParamKey, SvcParamValue},
        },
    },
};
use moorgate_contract::route::CnameTarget;
use moorgate_wire::name::DomainName;

use crate::record::DnsRecord;

/// How long others may keep where a target is, in seconds: a gateway that is gone is not asked for much longer.
pub const TARGET_TTL: u32 = 30;
/// How long they may keep which servers answer for the zone, in seconds.
pub const SERVER_TTL: u32 = 3_600;
/// How long they may keep that there is no such name, in seconds (RFC 2308 §5).
const NEGATIVE_TTL: u32 = 30;
/// What secondaries would go by, had the zone any, in seconds (RFC 1912 §2.2).
const REFRESH: i32 = 3_600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 86_400;
/// How long they may keep what a CA looks for, in seconds: the next order has another.
const CHALLENGE_TTL: u32 = 0;
/// Where a CA looks that validates an order by DNS (RFC 8555 §8.4), below a target.
pub const CHALLENGE: &str = "_acme-challenge";
/// The most servers that a delegation names: its answer fits a packet.
const MOST_SERVERS: usize = 8;

/// Who knows the targets there are.
pub trait Targets: Send + Sync {
    /// The target of this label, in lower case.
    fn target(&self, label: &str) -> Option<CnameTarget>;
}

/// A zone, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    apex: Name,
    serial: u32,
    servers: Vec<IpAddr>,
    addresses: Vec<IpAddr>,
}

/// What is said to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// RFC 1035 §4.1.1.
    pub code: ResponseCode,
    /// Whether we are who has to know.
    pub authoritative: bool,
    /// What was asked for.
    pub answers: Vec<Record>,
    /// The zone's SOA, where there is nothing else to say (RFC 2308 §2).
    pub authorities: Vec<Record>,
    /// Addresses of what the answers name.
    pub additionals: Vec<Record>,
}

impl Answer {
    fn refused() -> Self {
        let (answers, authorities, additionals) = (Vec::new(), Vec::new(), Vec::new());
        Self { code: ResponseCode::Refused, authoritative: false, answers, authorities, additionals }
    }
}

impl Zone {
    /// The zone `apex`: its name servers are at `servers`, and every target at `addresses`. `serial` grows with each change.
    ///
    /// # Errors
    /// When `apex` leaves no room for labels before it.
    pub fn new(
        apex: &DomainName,
        serial: u32,
        servers: &BTreeSet<IpAddr>,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<Self, ProtoError> {
        let apex = Name::from_ascii(format!("{apex}."))?;
        // What is longest of all that is made of it.
        Name::from_ascii("a".repeat(MOST_LABEL))?.append_domain(&apex)?;
        let servers = servers.iter().copied().take(MOST_SERVERS).collect();
        Ok(Self { apex, serial, servers, addresses: addresses.iter().copied().collect() })
    }

    /// What is said to whoever asks for records of `kind` of `name`.
    pub fn answer(&self, targets: &dyn Targets, name: &LowerName, class: DNSClass, kind: RecordType) -> Answer {
        let name: &Name = name;
        if class != DNSClass::IN || !self.apex.zone_of(name) || kind == RecordType::AXFR || kind == RecordType::IXFR {
            return Answer::refused();
        }
        let Some(found) = self.find(targets, name) else { return self.nothing(ResponseCode::NXDomain) };
        if kind == RecordType::ANY {
            // RFC 8482 §4.2: something that is cheap to carry and tells nobody anything.
            let data = HINFO::new("RFC8482".to_owned(), String::new());
            return self.something(vec![Record::from_rdata(name.clone(), SERVER_TTL, RData::HINFO(data))], Vec::new());
        }
        let (records, additionals) = self.records(found, name, kind);
        if records.is_empty() { self.nothing(ResponseCode::NoError) } else { self.something(records, additionals) }
    }

    /// The records by which the zone above hands this one to its servers, and where those are.
    pub fn delegation(&self) -> Vec<DnsRecord> {
        let (servers, addresses) = self.servers();
        servers.iter().chain(&addresses).map(DnsRecord::from).collect()
    }

    /// The records by which a DNS provider answers for every target, where the zone is not delegated.
    pub fn wildcard(&self) -> Vec<DnsRecord> {
        let name = Name::from_ascii("*").and_then(|star| star.append_domain(&self.apex)).ok();
        let records = name.iter().flat_map(|name| self.addresses.iter().map(|address| at(name, *address, TARGET_TTL)));
        records.map(|record| DnsRecord::from(&record)).collect()
    }

    fn servers(&self) -> (Vec<Record>, Vec<Record>) {
        (self.server_records(), (0..self.servers.len()).filter_map(|at| self.server_address(at)).collect())
    }

    fn find(&self, targets: &dyn Targets, name: &Name) -> Option<Found> {
        match name.num_labels().checked_sub(self.apex.num_labels())? {
            0 => Some(Found::Apex),
            1 => {
                let label = name.iter().next().and_then(|label| std::str::from_utf8(label).ok())?;
                let server = label.strip_prefix(SERVER).and_then(|number| number.parse::<usize>().ok());
                let server = server.and_then(|number| number.checked_sub(1)).filter(|at| *at < self.servers.len());
                server.map(Found::Server).or_else(|| targets.target(label).map(Found::Target))
            }
            2 => {
                let mut labels = name.iter();
                labels.next().filter(|first| *first == CHALLENGE.as_bytes())?;
                let label = labels.next().and_then(|label| std::str::from_utf8(label).ok())?;
                targets.target(label).map(Found::Challenge)
            }
            _ => None,
        }
    }

    fn records(&self, found: Found, name: &Name, kind: RecordType) -> (Vec<Record>, Vec<Record>) {
        match (found, kind) {
            (Found::Apex, RecordType::SOA) => (self.soa().into_iter().collect(), Vec::new()),
            (Found::Apex, RecordType::NS) => self.servers(),
            (Found::Server(at), RecordType::A | RecordType::AAAA) => {
                let record = self.server_address(at).filter(|record| record.record_type() == kind);
                (record.into_iter().collect(), Vec::new())
            }
            (Found::Target(_), RecordType::A | RecordType::AAAA) => {
                (self.target_addresses(name, Some(kind)), Vec::new())
            }
            (Found::Target(CnameTarget { https: true, .. }), RecordType::HTTPS) => {
                // RFC 9460 §9: the name itself, by what it speaks beside HTTP/1.1.
                let alpn = (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["h2".to_owned()])));
                let data = HTTPS(SVCB::new(1, Name::root(), vec![alpn]));
                let record = Record::from_rdata(name.clone(), TARGET_TTL, RData::HTTPS(data));
                (vec![record], self.target_addresses(name, None))
            }
            (Found::Challenge(CnameTarget { challenge: Some(said), .. }), RecordType::TXT) => {
                let data = RData::TXT(TXT::new(vec![said.as_ref().to_owned()]));
                (vec![Record::from_rdata(name.clone(), CHALLENGE_TTL, data)], Vec::new())
            }
            _ => (Vec::new(), Vec::new()),
        }
    }

    fn target_addresses(&self, name: &Name, kind: Option<RecordType>) -> Vec<Record> {
        let records = self.addresses.iter().map(|address| at(name, *address, TARGET_TTL));
        records.filter(|record| kind.is_none_or(|kind| record.record_type() == kind)).collect()
    }

    fn server_name(&self, at: usize) -> Option<Name> {
        Name::from_ascii(format!("{SERVER}{}", at + 1)).and_then(|name| name.append_domain(&self.apex)).ok()
    }

    fn server_records(&self) -> Vec<Record> {
        let names = (0..self.servers.len()).filter_map(|at| self.server_name(at));
        names.map(|name| Record::from_rdata(self.apex.clone(), SERVER_TTL, RData::NS(NS(name)))).collect()
    }

    fn server_address(&self, number: usize) -> Option<Record> {
        Some(at(&self.server_name(number)?, *self.servers.get(number)?, SERVER_TTL))
    }

    fn soa(&self) -> Option<Record> {
        let first = self.server_name(0)?;
        let responsible = Name::from_ascii("hostmaster").and_then(|name| name.append_domain(&self.apex)).ok()?;
        let soa = SOA::new(first, responsible, self.serial, REFRESH, RETRY, EXPIRE, NEGATIVE_TTL);
        Some(Record::from_rdata(self.apex.clone(), NEGATIVE_TTL, RData::SOA(soa)))
    }

    fn something(&self, answers: Vec<Record>, additionals: Vec<Record>) -> Answer {
        let code = ResponseCode::NoError;
        Answer { code, authoritative: true, answers, authorities: Vec::new(), additionals }
    }

    fn nothing(&self, code: ResponseCode) -> Answer {
        let authorities = self.soa().into_iter().collect();
        Answer { code, authoritative: true, answers: Vec::new(), authorities, additionals: Vec::new() }
    }
}

/// What the names of our servers begin with.
const SERVER: &str = "ns";
/// The longest label before the apex (RFC 1035 §2.3.4).
const MOST_LABEL: usize = 63;

/// What a name of the zone is.
#[derive(Clone, Debug)]
enum Found {
    Apex,
    Server(usize),
    Target(CnameTarget),
    /// Where a CA looks that validates an order by DNS.
    Challenge(CnameTarget),
}

fn at(name: &Name, address: IpAddr, ttl: u32) -> Record {
    let data = match address.to_canonical() {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(name.clone(), ttl, data)
}

#[cfg(test)]
pub(crate) mod tests;
