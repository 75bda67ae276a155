//! Looking at a domain as others see it. Nothing is cached.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::{join, join_all};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::CAA};
use moorgate_contract::route::Domain;
use moorgate_wire::name::DomainName;
use tokio::time::timeout;

use crate::{
    claim::{Claim, Said, Sight, challenge_name},
    client::{Asked, Reply, Unsaid, ask},
    record::bare,
};

/// Servers of a zone that are asked: more say nothing new.
const MOST_SERVERS: usize = 4;
/// Labels that a search upwards passes at most.
const MOST_LABELS: usize = 10;
/// How long what is not needed to judge a claim may take.
const MORE: Duration = Duration::from_secs(8);
/// The port of DNS (RFC 1035 §4.2).
const PORT: u16 = 53;

/// What was seen around a claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Of the domain, by the resolvers.
    pub sights: Vec<Sight>,
    /// Of the target, by the resolvers that know nothing of the domain's being here: where it leads.
    pub target: Vec<(Asked, Result<BTreeSet<IpAddr>, Unsaid>)>,
    /// The zone that the domain is in, and what its own servers say.
    pub zone: Option<ZoneSeen>,
    /// HTTPS records that the domain has itself, as a zone file writes them.
    pub https: Vec<String>,
    /// What the name is another name of where a CA looks in DNS; for wildcards.
    pub challenge: Vec<String>,
    /// The CAA records that hold for the domain; of which name, and what they say.
    pub caa: Option<(String, Vec<Caa>)>,
}

/// A zone.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneSeen {
    /// Its name.
    pub name: String,
    /// Its servers by name, and what each says.
    pub servers: Vec<(String, Sight)>,
}

/// A CAA record (RFC 8659 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caa {
    /// `issue`, `issuewild` or something else.
    pub tag: String,
    /// Such as `ca.example.net`.
    pub value: String,
}

/// What one server says of the domain of a claim.
pub async fn look(by: Asked, claim: &Claim) -> Sight {
    Sight { by, said: said(by, claim).await }
}

/// What the TXT records say that may prove a claim on `domain`.
///
/// # Errors
/// The server said nothing of use.
pub async fn proofs(by: Asked, domain: &Domain) -> Result<Vec<String>, Unsaid> {
    let Some(name) = name(&challenge_name(domain)) else { return Ok(Vec::new()) };
    let reply = ask(by, &name, RecordType::TXT).await?;
    let text = |data: &RData| match data {
        RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
        _ => None,
    };
    Ok(reply.data(RecordType::TXT).filter_map(text).collect())
}

async fn said(by: Asked, claim: &Claim) -> Result<Said, Unsaid> {
    // One that is too long for DNS was never anybody's.
    let Some(name) = name(&claim.domain.to_string()) else { return Ok(Said::default()) };
    let four = ask(by, &name, RecordType::A).await?;
    let mut said = Said {
        exists: four.exists,
        aliases: four.aliases(&name).iter().map(|(alias, _)| bare(alias)).collect(),
        addresses: addresses(&four),
        ttl: ttl(&four, &name),
        proofs: Vec::new(),
    };
    if said.leads_to(claim) {
        return Ok(said);
    }
    let (six, proofs) = join(ask(by, &name, RecordType::AAAA), proofs(by, &claim.domain)).await;
    // Without them nothing can be thought of the claim.
    said.proofs = proofs?;
    said.addresses.extend(six.iter().flat_map(addresses));
    Ok(said)
}

/// How long it holds what a reply says of `name` itself.
fn ttl(reply: &Reply, name: &Name) -> u32 {
    let own = reply.answers.iter().filter(|record| record.name == *name).map(|record| record.ttl);
    own.min().or_else(|| reply.negative_ttl()).unwrap_or_default()
}

fn addresses(reply: &Reply) -> Vec<IpAddr> {
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    reply.answers.iter().filter_map(address).collect()
}

fn name(text: &str) -> Option<Name> {
    Name::from_ascii(format!("{text}.")).ok()
}

/// Looks at everything that may stand in a claim's way. `may_ask`: whether somebody named by others may be asked there.
pub async fn observe(
    claim: &Claim,
    resolvers: &[SocketAddr],
    may_ask: &(dyn Fn(SocketAddr) -> bool + Sync),
) -> Observed {
    let resolvers: Vec<Asked> = resolvers.iter().map(|address| Asked::Resolver(*address)).collect();
    let target = claim.target();
    let sights = join_all(resolvers.iter().map(|by| look(*by, claim))).await;
    let first = sights.iter().find_map(|sight| Some((sight.by, sight.said.as_ref().ok()?)));
    let (zone, https, caa, challenge) = match first {
        None => Default::default(),
        Some((by, said)) => {
            let more = join(own_https(by, &claim.domain), join(caa(by, &claim.domain), challenge_aliases(by, claim)));
            let all = timeout(MORE, join(see_zone(by, claim, said, may_ask), more)).await;
            let (zone, (https, (caa, challenge))) = all.unwrap_or_default();
            (zone, https, caa, challenge)
        }
    };
    let unseen = sights.iter().filter(|sight| sight.said.as_ref().is_ok_and(|said| said.addresses.is_empty()));
    let where_to = async |by: Asked| {
        let Some(name) = name(&target) else { return (by, Err(Unsaid::Silent)) };
        let (four, six) = join(ask(by, &name, RecordType::A), ask(by, &name, RecordType::AAAA)).await;
        let found = four.map(|four| addresses(&four).into_iter().chain(six.iter().flat_map(addresses)).collect());
        (by, found)
    };
    let target = join_all(unseen.map(|sight| where_to(sight.by))).await;
    Observed { sights, target, zone, https, challenge, caa }
}

async fn see_zone(
    by: Asked,
    claim: &Claim,
    said: &Said,
    may_ask: &(dyn Fn(SocketAddr) -> bool + Sync),
) -> Option<ZoneSeen> {
    let mut from = name(claim.domain.key().as_str())?;
    if !said.aliases.is_empty() && matches!(claim.domain, Domain::Exact(_)) {
        // An alias is never the top of a zone, and what it leads to is in another.
        from = from.base_name();
    }
    let soa = ask(by, &from, RecordType::SOA).await.ok()?.soa?;
    let names = ask(by, &soa.name, RecordType::NS).await.ok()?;
    let server = |data: &RData| match data {
        RData::NS(server) => Some(server.0.clone()),
        _ => None,
    };
    let servers: Vec<Name> = names.data(RecordType::NS).filter_map(server).take(MOST_SERVERS).collect();
    let sight = async |server: &Name| {
        let (four, six) = join(ask(by, server, RecordType::A), ask(by, server, RecordType::AAAA)).await;
        let found = four.iter().chain(&six).flat_map(addresses).map(|address| SocketAddr::new(address, PORT));
        let address = found.into_iter().find(|address| may_ask(*address))?;
        Some((bare(server), look(Asked::Authority(address), claim).await))
    };
    let servers = join_all(servers.iter().map(sight)).await.into_iter().flatten().collect();
    Some(ZoneSeen { name: bare(&soa.name), servers })
}

/// Those that are the domain's own, rather than what its alias leads to.
async fn own_https(by: Asked, domain: &Domain) -> Vec<String> {
    let Some(name) = name(&domain.to_string()) else { return Vec::new() };
    let Ok(reply) = ask(by, &name, RecordType::HTTPS).await else { return Vec::new() };
    let own = reply.answers.iter().filter(|it| it.name == name && it.record_type() == RecordType::HTTPS);
    own.map(|record| record.data.to_string()).collect()
}

async fn challenge_aliases(by: Asked, claim: &Claim) -> Vec<String> {
    let name = name(&claim.challenge().name).filter(|_| matches!(claim.domain, Domain::Wildcard(_)));
    let Some(name) = name else { return Vec::new() };
    let reply = ask(by, &name, RecordType::TXT).await;
    reply.map(|reply| reply.aliases(&name).iter().map(|(alias, _)| bare(alias)).collect()).unwrap_or_default()
}

/// RFC 8659 §3: those of the name nearest to the domain, upwards, that has any.
async fn caa(by: Asked, domain: &Domain) -> Option<(String, Vec<Caa>)> {
    let mut at = name(domain.key().as_str())?;
    for _ in 0..MOST_LABELS {
        if at.is_root() {
            return None;
        }
        let reply = ask(by, &at, RecordType::CAA).await.ok()?;
        let read = |data: &RData| match data {
            RData::CAA(caa) => Some(read_caa(caa)),
            _ => None,
        };
        let found: Vec<Caa> = reply.data(RecordType::CAA).filter_map(read).collect();
        if !found.is_empty() {
            return Some((bare(&at), found));
        }
        at = at.base_name();
    }
    None
}

fn read_caa(caa: &CAA) -> Caa {
    Caa { tag: caa.tag.to_ascii_lowercase(), value: String::from_utf8_lossy(&caa.value).into_owned() }
}

/// Where the first server is that a zone names in its SOA.
///
/// # Errors
/// The server said nothing of use.
pub async fn top(by: Asked, zone: &DomainName) -> Result<Vec<IpAddr>, Unsaid> {
    let Some(name) = name(zone.as_str()) else { return Ok(Vec::new()) };
    let reply = ask(by, &name, RecordType::SOA).await?;
    let server = reply.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.mname.clone()),
        _ => None,
    });
    let Some(server) = server else { return Ok(Vec::new()) };
    let (four, six) = join(ask(by, &server, RecordType::A), ask(by, &server, RecordType::AAAA)).await;
    Ok(four.iter().chain(&six).flat_map(addresses).collect())
}

/// Where a name leads that no route has, in a zone that is records at a provider.
///
/// # Errors
/// The server said nothing of use.
pub async fn leads(by: Asked, zone: &DomainName) -> Result<Vec<IpAddr>, Unsaid> {
    let Some(name) = name(&format!("any.{zone}")) else { return Ok(Vec::new()) };
    let (four, six) = join(ask(by, &name, RecordType::A), ask(by, &name, RecordType::AAAA)).await;
    Ok(addresses(&four?).into_iter().chain(six.iter().flat_map(addresses)).collect())
}
