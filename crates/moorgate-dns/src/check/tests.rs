use super::*;
use crate::{
    claim::tests::{address, by, claim, cname},
    client::Asked,
};

const HERE: &str = "k3v9x2.edge.example.net";

fn observed(said: &[Said]) -> Observed {
    let sights = (1..).zip(said).map(|(last, said)| Sight { by: by(last), said: Ok(said.clone()) }).collect();
    Observed { sights, ..Observed::default() }
}

fn zone(name: &str, servers: &[Said]) -> Option<ZoneSeen> {
    let server = |(number, said): (u8, &Said)| {
        let by = Asked::Authority(([198, 51, 100, number], 53).into());
        (format!("ns{number}.{name}"), Sight { by, said: Ok(said.clone()) })
    };
    Some(ZoneSeen { name: name.to_owned(), servers: (1..).zip(servers).map(server).collect() })
}

/// The findings, a line each, with the records to set behind them, and until when.
fn found(domain: &str, observed: &Observed) -> Vec<String> {
    let known = Known {
        ours: ["203.0.113.10".parse().unwrap(), "2001:db8::10".parse().unwrap()].into(),
        ca: Some("ca.test"),
        by_dns: domain.starts_with("*.wild"),
        now: Timestamp(1_000_000_000),
    };
    let line = |finding: Finding| {
        let level = format!("{:?}", finding.level).to_lowercase();
        let records: String = finding.records.iter().map(|record| format!(" | {record}")).collect();
        let until = finding.until.map(|until| format!(" | {} s", until.since(known.now).as_secs())).unwrap_or_default();
        format!("{level}: {}{records}{until}", finding.said)
    };
    findings(&claim(domain), observed, &known).into_iter().map(line).collect()
}

fn check(domain: &str, observed: &Observed, expected: &[&str]) {
    assert_eq!(found(domain, observed), expected);
}

const CNAME: &str = "app.example.com. IN CNAME k3v9x2.edge.example.net.";
const TXT: &str = "_moorgate-challenge.app.example.com. IN TXT \"k3v9x2\"";

#[test]
fn a_domain_that_is_here_is_said_to_be() {
    let here = cname(HERE);
    check(
        "app.example.com",
        &observed(std::slice::from_ref(&here)),
        &["ok: app.example.com leads to k3v9x2.edge.example.net, as one resolver sees"],
    );
    let all = observed(&[here.clone(), here]);
    check("*.example.com", &all, &["ok: *.example.com leads to k3v9x2.edge.example.net, as all 2 resolvers see"]);
}

#[test]
fn a_domain_that_is_elsewhere_is_told_the_record_to_set() {
    let of = |said: Said| found("app.example.com", &observed(&[said])).remove(0);
    assert_eq!(
        of(Said { ttl: 300, ..Said::default() }),
        format!("problem: app.example.com leads nowhere yet: set this | {CNAME} | 300 s")
    );
    assert_eq!(
        of(cname("other.cdn.test")),
        format!("problem: app.example.com leads to other.cdn.test: set this in its place | {CNAME} | 300 s")
    );
    assert_eq!(
        of(address("198.51.100.7")),
        format!(
            "problem: app.example.com has address records (198.51.100.7): set this in their place | {CNAME} | 3600 s"
        )
    );
    let ours = of(address("203.0.113.10"));
    assert!(ours.contains("has the gateways' addresses, which many have") && ours.contains(TXT), "{ours}");
    let old = of(cname("OLD.edge.example.net"));
    assert!(old.contains("leads to OLD.edge.example.net, which is not this route's (any more)"), "{old}");
    let dangling = of(Said { exists: false, ..cname("gone.cdn.test") });
    assert!(dangling.contains("which does not exist: whoever gets that name gets app.example.com too"), "{dangling}");
}

#[test]
fn old_answers_that_are_still_out_there_are_said_with_their_end() {
    let mixed = observed(&[cname(HERE), address("198.51.100.7")]);
    check(
        "app.example.com",
        &mixed,
        &["wait: app.example.com is on its way here: 192.0.2.2 still says 198.51.100.7 | 3600 s"],
    );
    let told =
        Observed { zone: zone("example.com", &[cname(HERE)]), ..observed(&[address("198.51.100.7"), Said::default()]) };
    check(
        "app.example.com",
        &told,
        &[
            "wait: app.example.com's own DNS servers lead to k3v9x2.edge.example.net; resolvers still keep what they knew | 3600 s",
        ],
    );
    let half = Observed { zone: zone("example.com", &[cname(HERE), Said::default()]), ..observed(&[Said::default()]) };
    let found = found("app.example.com", &half);
    assert_eq!(
        found[1],
        "wait: the DNS servers of example.com disagree: ns2.example.com did not hear of the change yet"
    );
}

#[test]
fn the_top_of_a_zone_is_told_what_can_stand_there() {
    let apex = |said: Said| found("example.com", &Observed { zone: zone("example.com", &[]), ..observed(&[said]) });
    let txt = "_moorgate-challenge.example.com. IN TXT \"k3v9x2\"";
    let ways = "example.com. IN ALIAS k3v9x2.edge.example.net. | example.com. IN A 203.0.113.10 | example.com. IN AAAA 2001:db8::10";
    let wanted = apex(address("198.51.100.7")).remove(0);
    assert!(wanted.starts_with("problem: example.com is the top of its zone"), "{wanted}");
    assert!(wanted.ends_with(&format!(" | {txt} | {ways}")), "{wanted}");
    let unproved = apex(address("203.0.113.10"));
    assert_eq!(
        unproved,
        [format!(
            "problem: example.com has the gateways' addresses, which many have: this TXT record proves whose it is | {txt}"
        )]
    );
    let proofs = vec!["k3v9x2".to_owned()];
    let proved = apex(Said { proofs: proofs.clone(), ..address("203.0.113.10") });
    assert_eq!(proved, ["ok: example.com has the gateways' addresses, and its TXT record proves whose it is"]);
    let early = apex(Said { proofs: proofs.clone(), ..address("198.51.100.7") }).remove(0);
    assert!(early.contains("but its clients don't come here yet") && early.ends_with(ways), "{early}");
    let mixed = Said {
        addresses: ["203.0.113.10", "198.51.100.7"].map(|it| it.parse().unwrap()).to_vec(),
        proofs,
        ..Said::default()
    };
    assert!(apex(mixed)[1].contains("leads to 198.51.100.7 as well, which is no gateway"));
}

#[test]
fn what_browsers_and_cas_go_by_is_looked_at() {
    let with = |caa: &[(&str, &str)]| {
        let record = |(tag, value): &(&str, &str)| Caa { tag: (*tag).to_owned(), value: (*value).to_owned() };
        let caa = Some(("example.com".to_owned(), caa.iter().map(record).collect()));
        let observed = Observed { caa, ..observed(&[cname(HERE)]) };
        move |domain: &str| found(domain, &observed).get(1).cloned()
    };
    let refused = "problem: the CAA records of example.com allow no certificate by ca.test: add this beside them";
    let add = |tag: &str| Some(format!("{refused} | example.com. IN CAA 0 {tag} \"ca.test\""));
    assert_eq!(with(&[("issue", "other.test")])("app.example.com"), add("issue"));
    assert_eq!(with(&[("issue", ";")])("app.example.com"), add("issue"));
    assert_eq!(with(&[("issue", "other.test")])("*.example.com"), add("issue"));
    assert_eq!(with(&[("issue", "ca.test"), ("issuewild", ";")])("*.example.com"), add("issuewild"));
    for good in [
        &[("issue", "CA.test; account=5"), ("issue", "other.test")][..],
        &[("iodef", "mailto:a@b.test")],
        &[("issuewild", ";")],
    ] {
        assert_eq!(with(good)("app.example.com"), None, "{good:?}");
    }
    let https = Observed { https: vec!["1 . ipv4hint=198.51.100.7".to_owned()], ..observed(&[cname(HERE)]) };
    assert!(found("app.example.com", &https)[1].contains("an HTTPS record of its own (1 . ipv4hint=198.51.100.7)"));
}

#[test]
fn who_can_not_answer_is_named() {
    let mut observed = observed(&[cname(HERE)]);
    observed.sights.push(Sight { by: by(8), said: Err(Unsaid::Silent) });
    observed.sights.push(Sight { by: by(9), said: Err(Unsaid::Refused("SERVFAIL".to_owned())) });
    observed.target = vec![(by(1), Ok(BTreeSet::new()))];
    let all = found("app.example.com", &observed);
    assert!(
        all[1].starts_with(
            "problem: 192.0.2.1 finds nothing at k3v9x2.edge.example.net: the zone edge.example.net is not"
        ),
        "{all:?}"
    );
    assert_eq!(all[2], "note: 192.0.2.8 does not answer");
    assert!(all[3].starts_with("note: 192.0.2.9 finds no answer (SERVFAIL)"), "{all:?}");
    observed.sights.remove(0);
    assert_eq!(
        found("app.example.com", &observed)[0],
        "wait: no resolver could say anything of app.example.com; this gateway goes on asking"
    );
}

#[test]
fn a_wildcard_is_told_how_the_ca_finds_its_proof() {
    let here = || observed(&[cname(HERE)]);
    let record = "_acme-challenge.wild.test. IN CNAME _acme-challenge.k3v9x2.edge.example.net.";
    let told = found("*.wild.test", &here());
    assert_eq!(
        told[1],
        format!(
            "problem: the CA looks for its proof at _acme-challenge.wild.test: set this beside the rest | {record}"
        )
    );
    let led = vec!["_ACME-challenge.k3v9x2.edge.example.net".to_owned()];
    assert_eq!(found("*.wild.test", &Observed { challenge: led, ..here() }).len(), 1);
    // The wildcard itself leads there too, and not far enough.
    assert_eq!(found("*.wild.test", &Observed { challenge: vec![HERE.to_owned()], ..here() }).len(), 2);
    let below = observed(&[cname("w7d2c8.edge.example.net")]);
    assert!(found("app.example.com", &below)[0].contains("leads to w7d2c8.edge.example.net"));
}
