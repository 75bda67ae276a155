//! What stands in the way of a domain's clients: findings from what was seen, each one sentence with the records to set.
//! Pure.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use moorgate_contract::{route::Domain, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    claim::{Claim, Said, Sight},
    client::Unsaid,
    look::{Caa, Observed, ZoneSeen},
    record::DnsRecord,
};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is as it should be.
    Ok,
    /// It will be, by itself.
    Wait,
    /// Something to know.
    Note,
    /// Something to do.
    Problem,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// One sentence.
    pub said: String,
    /// What to set; any one of them where the sentence says so.
    pub records: Vec<DnsRecord>,
    /// Until when it lasts at most, where that is known.
    pub until: Option<Timestamp>,
}

/// What is known besides what was seen.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// Where the gateways are.
    pub ours: BTreeSet<IpAddr>,
    /// The CA that is to issue a certificate for the domain, as CAA records name it; `None`: none is asked.
    pub ca: Option<&'a str>,
    /// Whether the CA looks in DNS, as it does for wildcards.
    pub by_dns: bool,
    /// Now.
    pub now: Timestamp,
}

/// What was found, the most important first.
pub fn findings(claim: &Claim, observed: &Observed, known: &Known<'_>) -> Vec<Finding> {
    let mut finder = Finder { claim, observed, known, found: Vec::new() };
    finder.arrival();
    finder.target();
    finder.strays();
    finder.https();
    finder.caa();
    finder.challenge();
    finder.silent();
    finder.found
}

struct Finder<'a> {
    claim: &'a Claim,
    observed: &'a Observed,
    known: &'a Known<'a>,
    found: Vec<Finding>,
}

impl Finder<'_> {
    fn find(&mut self, level: Level, said: String) {
        self.found.push(Finding { level, said, records: Vec::new(), until: None });
    }

    /// With what is to be set.
    fn find_to_set(&mut self, said: String, records: Vec<DnsRecord>) {
        self.found.push(Finding { level: Level::Problem, said, records, until: None });
    }

    /// With an end by itself.
    fn find_to_wait(&mut self, said: String, until: Timestamp) {
        self.found.push(Finding { level: Level::Wait, said, records: Vec::new(), until: Some(until) });
    }

    fn after(&self, seconds: u32) -> Timestamp {
        self.known.now.after(Duration::from_secs(seconds.into()))
    }

    /// What resolvers said that said something.
    fn said(&self) -> impl Iterator<Item = (&Sight, &Said)> {
        self.observed.sights.iter().filter_map(|sight| Some((sight, sight.said.as_ref().ok()?)))
    }

    fn is_apex(&self) -> bool {
        let domain = self.claim.domain.to_string();
        self.observed.zone.as_ref().is_some_and(|zone| zone.name.eq_ignore_ascii_case(&domain))
    }

    /// Whether the domain is here, and if not, why.
    fn arrival(&mut self) {
        let all = self.said().count();
        let seeing = self.said().filter(|(_, said)| said.leads_to(self.claim)).count();
        let domain = self.claim.domain.to_string();
        if all == 0 {
            self.find(Level::Wait, format!("no resolver could say anything of {domain}; this gateway goes on asking"));
            return;
        }
        if seeing == all {
            // That of a wildcard, where that is what leads here.
            let led = self.said().flat_map(|(_, said)| &said.aliases).find(|alias| self.claim.is_target(alias));
            let target = led.cloned().unwrap_or_else(|| self.claim.target());
            self.find(
                Level::Ok,
                format!(
                    "{domain} leads to {target}, as {}",
                    if all == 1 { "one resolver sees".to_owned() } else { format!("all {all} resolvers see") }
                ),
            );
            return;
        }
        if seeing > 0 {
            self.some_see_it();
            return;
        }
        let proved = self.said().all(|(_, said)| said.proofs.contains(&self.claim.label));
        let told = self.zone_says_so();
        if told && !proved {
            let until = self.said().map(|(_, said)| said.ttl).max().unwrap_or_default();
            let until = self.after(until);
            let said = format!(
                "{domain}'s own DNS servers lead to {}; resolvers still keep what they knew",
                self.claim.target()
            );
            self.find_to_wait(said, until);
        } else if proved {
            self.by_word();
        } else if self.is_apex() {
            self.apex();
        } else {
            self.elsewhere();
        }
        self.servers_differ();
    }

    /// Whether every one of the zone's own servers that answered leads here.
    fn zone_says_so(&self) -> bool {
        let zone = self.observed.zone.iter().flat_map(|zone| &zone.servers);
        let mut said = zone.filter_map(|(_, sight)| sight.said.as_ref().ok()).peekable();
        said.peek().is_some() && said.all(|said| said.leads_to(self.claim))
    }

    fn some_see_it(&mut self) {
        let late: Vec<(String, u32)> = self
            .said()
            .filter(|(_, said)| !said.leads_to(self.claim))
            .map(|(sight, said)| (format!("{} still says {}", sight.by, what(said)), said.ttl))
            .collect();
        let until = self.after(late.iter().map(|(_, ttl)| *ttl).max().unwrap_or_default());
        let texts: Vec<String> = late.into_iter().map(|(text, _)| text).collect();
        let said = format!("{} is on its way here: {}", self.claim.domain, texts.join(", "));
        self.find_to_wait(said, until);
    }

    /// It is proved by TXT.
    fn by_word(&mut self) {
        let (domain, ours) = (self.claim.domain.to_string(), &self.known.ours);
        let here = self.said().any(|(_, said)| said.addresses.iter().any(|address| ours.contains(address)));
        if here {
            self.find(
                Level::Ok,
                format!("{domain} has the gateways' addresses, and its TXT record proves whose it is"),
            );
            return;
        }
        let said =
            format!("the TXT record proves whose {domain} is, but its clients don't come here yet; set one of these");
        let records = self.ways_here();
        self.find_to_set(said, records);
    }

    fn apex(&mut self) {
        let (domain, txt) = (self.claim.domain.to_string(), self.claim.txt());
        let is_ours =
            |said: &Said| !said.addresses.is_empty() && said.addresses.iter().all(|it| self.known.ours.contains(it));
        if self.said().all(|(_, said)| is_ours(said)) {
            let said =
                format!("{domain} has the gateways' addresses, which many have: this TXT record proves whose it is");
            self.find_to_set(said, vec![txt]);
            return;
        }
        let said = format!(
            "{domain} is the top of its zone, where DNS allows no CNAME: set the TXT record and either ALIAS (ANAME, \
             flattened CNAME), if your DNS provider has that, or the addresses"
        );
        let records = std::iter::once(txt).chain(self.ways_here()).collect();
        self.find_to_set(said, records);
    }

    /// What leads clients here: the alias, or where none can stand the addresses.
    fn ways_here(&self) -> Vec<DnsRecord> {
        if !self.is_apex() {
            return vec![self.claim.cname()];
        }
        let kind = |address: &IpAddr| if address.is_ipv4() { "A" } else { "AAAA" };
        let addresses = self.known.ours.iter().map(|it| DnsRecord::new(&self.claim.domain, kind(it), it));
        std::iter::once(DnsRecord { kind: "ALIAS".to_owned(), ..self.claim.cname() }).chain(addresses).collect()
    }

    fn elsewhere(&mut self) {
        let domain = self.claim.domain.to_string();
        let Some((_, said)) = self.said().next() else { return };
        let in_zone = format!(".{}", self.claim.zone);
        let lost = !said.exists && !said.aliases.is_empty();
        let text = match said.aliases.first() {
            Some(other) if other.to_ascii_lowercase().ends_with(&in_zone) => {
                format!("{domain} leads to {other}, which is not this route's (any more): set this in its place")
            }
            Some(other) if lost => format!(
                "{domain} leads to {other}, which does not exist: whoever gets that name gets {domain} too; set this in \
                 its place"
            ),
            Some(other) => format!("{domain} leads to {other}: set this in its place"),
            None if said.addresses.is_empty() => format!("{domain} leads nowhere yet: set this"),
            None if said.addresses.iter().any(|address| self.known.ours.contains(address)) => format!(
                "{domain} has the gateways' addresses, which many have: set this in place of its address records, or the \
                 TXT record that proves whose it is"
            ),
            None => format!("{domain} has address records ({}): set this in their place", list(&said.addresses)),
        };
        let (until, is_ours) = (said.ttl, said.addresses.iter().any(|address| self.known.ours.contains(address)));
        let (until, txt) = ((until > 0).then(|| self.after(until)), self.claim.txt());
        let cname = self.claim.cname();
        let records = std::iter::once(cname).chain(is_ours.then_some(txt)).collect();
        self.found.push(Finding { level: Level::Problem, said: text, records, until });
    }

    fn servers_differ(&mut self) {
        let Some(ZoneSeen { name, servers }) = &self.observed.zone else { return };
        let says =
            |(server, sight): &(String, Sight)| Some((server.clone(), sight.said.as_ref().ok()?.leads_to(self.claim)));
        let said: Vec<(String, bool)> = servers.iter().filter_map(says).collect();
        let late: Vec<&str> = said.iter().filter(|(_, leads)| !leads).map(|(server, _)| &**server).collect();
        if late.is_empty() || late.len() == said.len() {
            return;
        }
        let text = format!("the DNS servers of {name} disagree: {} did not hear of the change yet", late.join(", "));
        self.find(Level::Wait, text);
    }

    /// Whether the target leads to the gateways.
    fn target(&mut self) {
        let (target, zone) = (self.claim.target(), self.claim.zone.to_string());
        let ours = &self.known.ours;
        let astray = self.observed.target.iter().find(|(_, found)| match found {
            Ok(found) => ours.is_disjoint(found),
            Err(problem) => *problem != Unsaid::Silent,
        });
        let Some((by, found)) = astray else { return };
        let what = match found {
            Ok(found) if found.is_empty() => "nothing".to_owned(),
            Ok(found) => list(found),
            Err(Unsaid::Refused(code)) => code.clone(),
            Err(Unsaid::Silent) => return,
        };
        let said = format!(
            "{by} finds {what} at {target}: the zone {zone} is not handed to its servers yet; an operator makes the records \
             of `moorgate dns records`"
        );
        self.find(Level::Problem, said);
    }

    /// Addresses that lead elsewhere, beside those that lead here.
    fn strays(&mut self) {
        let ours = &self.known.ours;
        let mut stray = BTreeSet::new();
        for (_, said) in self.said() {
            if said.aliases.is_empty() && said.addresses.iter().any(|address| ours.contains(address)) {
                stray.extend(said.addresses.iter().filter(|address| !ours.contains(address)));
            }
        }
        if !stray.is_empty() {
            let said = format!(
                "{} leads to {} as well, which is no gateway: those of its clients don't come here; remove these records",
                self.claim.domain,
                list(&stray)
            );
            self.find(Level::Problem, said);
        }
    }

    fn https(&mut self) {
        if self.observed.https.is_empty() {
            return;
        }
        let said = format!(
            "{} has an HTTPS record of its own ({}), which browsers go by before any address: remove it, the target has one",
            self.claim.domain,
            self.observed.https.join("; ")
        );
        self.find(Level::Problem, said);
    }

    fn caa(&mut self) {
        let (Some(ca), Some((name, records))) = (self.known.ca, &self.observed.caa) else { return };
        let is_wildcard = matches!(self.claim.domain, Domain::Wildcard(_));
        if allows(records, ca, is_wildcard) {
            return;
        }
        let tag =
            if is_wildcard && records.iter().any(|record| record.tag == "issuewild") { "issuewild" } else { "issue" };
        let said = format!("the CAA records of {name} allow no certificate by {ca}: add this beside them");
        let record = DnsRecord::new(name, "CAA", format_args!("0 {tag} \"{ca}\""));
        self.find_to_set(said, vec![record]);
    }

    /// Whether a CA that looks in DNS finds its way here.
    fn challenge(&mut self) {
        let wanted = self.claim.challenge();
        let leads = |alias: &String| alias.eq_ignore_ascii_case(&wanted.value);
        if self.known.by_dns && !self.observed.challenge.iter().any(leads) {
            let said = format!("the CA looks for its proof at {}: set this beside the rest", wanted.name);
            self.find_to_set(said, vec![wanted]);
        }
    }

    fn silent(&mut self) {
        for sight in &self.observed.sights {
            let said = match &sight.said {
                Ok(_) => continue,
                Err(Unsaid::Silent) => format!("{} does not answer", sight.by),
                Err(Unsaid::Refused(code)) if code == "SERVFAIL" => format!(
                    "{} finds no answer (SERVFAIL): the DNS servers of {} don't answer, or their DNSSEC is broken",
                    sight.by, self.claim.domain
                ),
                Err(Unsaid::Refused(code)) => format!("{} refuses to answer ({code})", sight.by),
            };
            self.found.push(Finding { level: Level::Note, said, records: Vec::new(), until: None });
        }
    }
}

/// RFC 8659 §4.2 and §4.3. Parameters restrict further, which only the CA can judge.
fn allows(records: &[Caa], ca: &str, is_wildcard: bool) -> bool {
    let of =
        |tag: &str| records.iter().filter(|record| record.tag == tag).map(|it| it.value.clone()).collect::<Vec<_>>();
    let (issue, wild) = (of("issue"), of("issuewild"));
    let holding = if is_wildcard && !wild.is_empty() { wild } else { issue };
    let issuer = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    holding.is_empty() || holding.iter().any(|value| issuer(value) == ca.to_ascii_lowercase())
}

/// What somebody was told.
fn what(said: &Said) -> String {
    match said.aliases.first() {
        Some(alias) => alias.clone(),
        None if said.addresses.is_empty() => "that there is nothing".to_owned(),
        None => list(&said.addresses),
    }
}

fn list<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    let texts: Vec<String> = addresses.into_iter().map(IpAddr::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
