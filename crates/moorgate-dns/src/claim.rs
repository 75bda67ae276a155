//! Whose a domain is, as its DNS says: pure.

use std::{collections::BTreeSet, net::IpAddr};

use moorgate_contract::route::Domain;
use moorgate_wire::name::DomainName;

use crate::{
    client::{Asked, Unsaid},
    record::DnsRecord,
    zone::CHALLENGE as CHALLENGE_LABEL,
};

/// Where the TXT record stands that proves a claim: below the domain, or below what a wildcard stands for.
const CHALLENGE: &str = "_moorgate-challenge";

/// A domain that somebody claims, and what its DNS would say if they were right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The domain.
    pub domain: Domain,
    /// The label of its target: nobody could guess it before, and nobody else has it.
    pub label: String,
    /// The label of the same account's wildcard that stands for the domain too: what leads there leads here.
    pub wildcard: Option<String>,
    /// The zone that the targets are in.
    pub zone: DomainName,
}

impl Claim {
    /// What the domain is to be another name of.
    pub fn target(&self) -> String {
        format!("{}.{}", self.label, self.zone)
    }

    /// Whether a name is the target, or that of the wildcard.
    pub fn is_target(&self, name: &str) -> bool {
        let labels = [Some(&self.label), self.wildcard.as_ref()].into_iter().flatten();
        labels.into_iter().any(|label| name.eq_ignore_ascii_case(&format!("{label}.{}", self.zone)))
    }

    /// The record that leads clients here, and proves the claim.
    pub fn cname(&self) -> DnsRecord {
        DnsRecord::new(&self.domain, "CNAME", self.target())
    }

    /// The record that leads a CA here which looks in DNS (RFC 8555 §8.4).
    pub fn challenge(&self) -> DnsRecord {
        let name = format_args!("{CHALLENGE_LABEL}.{}", self.domain.key()).to_string();
        DnsRecord::new(name, "CNAME", format_args!("{CHALLENGE_LABEL}.{}", self.target()))
    }

    /// The record that proves the claim where no CNAME can stand, or not yet.
    pub fn txt(&self) -> DnsRecord {
        DnsRecord::new(challenge_name(&self.domain), "TXT", &self.label)
    }
}

/// Where the TXT record of a claim stands.
pub fn challenge_name(domain: &Domain) -> String {
    format!("{CHALLENGE}.{}", domain.key())
}

/// What one server said of a domain.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// Which.
    pub by: Asked,
    /// What.
    pub said: Result<Said, Unsaid>,
}

/// What a server knows of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Whether there is such a name.
    pub exists: bool,
    /// What it is another name of, and what that is another name of, and so on; without the dot at their end.
    pub aliases: Vec<String>,
    /// Where it leads in the end.
    pub addresses: Vec<IpAddr>,
    /// How long whoever was told so may keep it, in seconds.
    pub ttl: u32,
    /// What the TXT records say that may prove a claim.
    pub proofs: Vec<String>,
}

impl Said {
    /// Whether it leads to the claim's target, directly or not.
    pub fn leads_to(&self, claim: &Claim) -> bool {
        self.aliases.iter().any(|alias| claim.is_target(alias))
    }

    /// What it says of a claim, where `ours` are the gateways.
    pub fn standing(&self, claim: &Claim, ours: &BTreeSet<IpAddr>) -> Standing {
        let (leads, txt) = (self.leads_to(claim), self.proofs.contains(&claim.label));
        let here = leads || (txt && self.addresses.iter().any(|address| ours.contains(address)));
        Standing { proved: leads || txt, here }
    }
}

/// What is to be thought of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether the domain's DNS says that it is right.
    pub proved: bool,
    /// Whether the domain's clients come here, and the claim is proved.
    pub here: bool,
}

/// What is to be thought of a claim after all these sights. `None`: nobody answered, or they disagree whether it is proved;
/// then things stay as they are.
pub fn judge(sights: &[Sight], claim: &Claim, ours: &BTreeSet<IpAddr>) -> Option<Standing> {
    let said = sights.iter().filter_map(|sight| sight.said.as_ref().ok());
    let standings: Vec<Standing> = said.map(|said| said.standing(claim, ours)).collect();
    let proved = standings.first()?.proved;
    if standings.iter().any(|standing| standing.proved != proved) {
        return None;
    }
    // Where one still sees it, it is not gone.
    Some(Standing { proved, here: standings.iter().any(|standing| standing.here) })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn claim(domain: &str) -> Claim {
        let (domain, zone) = (domain.parse().unwrap(), "edge.example.net".parse().unwrap());
        Claim { domain, label: "k3v9x2".to_owned(), wildcard: Some("w7d2c8".to_owned()), zone }
    }

    pub(crate) fn by(last: u8) -> Asked {
        Asked::Resolver(([192, 0, 2, last], 53).into())
    }

    fn sight(last: u8, said: Result<Said, Unsaid>) -> Sight {
        Sight { by: by(last), said }
    }

    pub(crate) fn cname(to: &str) -> Said {
        Said { exists: true, aliases: vec![to.to_owned()], ttl: 300, ..Said::default() }
    }

    pub(crate) fn address(to: &str) -> Said {
        Said { exists: true, addresses: vec![to.parse().unwrap()], ttl: 3600, ..Said::default() }
    }

    fn txt(said: Said, value: &str) -> Said {
        Said { proofs: vec!["other".to_owned(), value.to_owned()], ..said }
    }

    fn check(said: &[Result<Said, Unsaid>], expected: Option<(bool, bool)>) {
        let sights: Vec<Sight> = (1..).zip(said).map(|(last, said)| sight(last, said.clone())).collect();
        let judged = judge(&sights, &claim("app.example.com"), &["203.0.113.10".parse().unwrap()].into());
        assert_eq!(judged, expected.map(|(proved, here)| Standing { proved, here }), "{said:?}");
    }

    #[test]
    fn a_claim_is_proved_by_its_own_target_or_word_and_by_nothing_else() {
        let here = || cname("K3v9x2.Edge.example.net");
        check(&[Ok(here())], Some((true, true)));
        check(&[Ok(cname("k3v9x3.edge.example.net"))], Some((false, false)));
        check(&[Ok(cname("edge.example.net"))], Some((false, false)));
        check(&[Ok(cname("w7d2c8.edge.example.net"))], Some((true, true)));
        check(&[Ok(address("203.0.113.10"))], Some((false, false)));
        check(&[Ok(txt(address("203.0.113.10"), "k3v9x2"))], Some((true, true)));
        check(&[Ok(txt(address("198.51.100.7"), "k3v9x2"))], Some((true, false)));
        check(&[Ok(txt(address("203.0.113.10"), "K3V9X2"))], Some((false, false)));
        check(&[Ok(Said::default())], Some((false, false)));
        let chain = Said { aliases: vec!["www.cdn.test".to_owned(), "k3v9x2.edge.example.net".to_owned()], ..here() };
        check(&[Ok(chain)], Some((true, true)));
    }

    #[test]
    fn all_who_answer_must_say_the_same() {
        let (here, gone) = (|| Ok(cname("k3v9x2.edge.example.net")), || Ok(Said::default()));
        check(&[here(), gone()], None);
        check(&[here(), Err(Unsaid::Silent)], Some((true, true)));
        check(&[gone(), Err(Unsaid::Refused("SERVFAIL".to_owned()))], Some((false, false)));
        check(&[Err(Unsaid::Silent), Err(Unsaid::Silent)], None);
        check(&[], None);
        check(&[here(), Ok(txt(address("198.51.100.7"), "k3v9x2"))], Some((true, true)));
    }

    #[test]
    fn what_is_to_be_set_is_a_line_of_a_zone_file() {
        assert_eq!(claim("app.example.com").cname().to_string(), "app.example.com. IN CNAME k3v9x2.edge.example.net.");
        let (one, all) = (claim("app.example.com"), claim("*.example.com"));
        assert_eq!(one.txt().to_string(), "_moorgate-challenge.app.example.com. IN TXT \"k3v9x2\"");
        assert_eq!(all.cname().to_string(), "*.example.com. IN CNAME k3v9x2.edge.example.net.");
        assert_eq!(all.txt().name, "_moorgate-challenge.example.com");
    }
}
