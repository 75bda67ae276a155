//! What the trials showed, and which promises it breaks.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use moorgate_contract::listener::Product;
use sha2::{Digest as _, Sha256};

use super::{
    gateway::EGRESS,
    key::KeySearch,
    measure::{Cell, Needles, Row, control, rows},
    promise::{Promise, Way},
    recordings::{Passed, passed},
    secrets::{Planted, Secret},
    trial::Trial,
};

/// Whose private key a certificate belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The target's own.
    Own,
    /// The gateway's: signed by its CA, on the spot.
    Gateway,
}

/// A certificate that a client saw.
pub(super) struct Seen {
    /// On which way.
    pub(super) way: Way,
    /// Of which product.
    pub(super) product: Product,
    /// Who showed it.
    pub(super) by: &'static str,
    /// SHA-256 of its DER.
    pub(super) sha256: [u8; 32],
    /// Whose key that is.
    pub(super) whose: Whose,
    /// Whose it must be.
    pub(super) promised: Whose,
}

/// Something that is not as promised, or could not be checked.
pub(super) struct Broken {
    /// Which promise.
    pub(super) promise: String,
    /// What was found instead, and where.
    pub(super) found: String,
}

/// All that one run showed.
pub(super) struct Report {
    /// The table.
    pub(super) rows: Vec<Row>,
    /// Each secret of each trial that had to arrive somewhere, and whether it did.
    pub(super) control: Vec<(Way, Product, Secret, bool)>,
    /// What clients saw.
    pub(super) certificates: Vec<Seen>,
    /// Where the outbound connections came from, as the destinations saw it.
    pub(super) egress: BTreeMap<IpAddr, usize>,
    /// Whether Shield passed on inbound bytes as they came.
    pub(super) passed: Option<Passed>,
    /// Where the origin's key was looked for.
    pub(super) key: KeySearch,
    /// Requests that failed, and of which trial.
    pub(super) troubles: Vec<Broken>,
    /// How long all of it took.
    pub(super) took: Duration,
}

impl Report {
    /// Searches everything that was recorded. `key` is given what there is to search for the origin's key.
    pub(super) fn new(trials: &[Trial], planted: &Planted, key: impl FnOnce(&[Row]) -> KeySearch) -> Self {
        let needles = Needles::new(planted);
        let rows: Vec<Row> = trials.iter().flat_map(|trial| rows(trial, &needles)).collect();
        let mut report = Self {
            key: key(&rows),
            rows,
            control: Vec::new(),
            certificates: Vec::new(),
            egress: BTreeMap::new(),
            passed: None,
            troubles: Vec::new(),
            took: Duration::ZERO,
        };
        for trial in trials {
            let Trial { way, product, .. } = *trial;
            let found = control(trial, &needles);
            report.control.extend(found.into_iter().map(|(secret, found)| (way, product, secret, found)));
            report.certificates.extend(certificates(trial));
            match (way, product) {
                (Way::Inbound, Product::Shield) => report.passed = Some(passed(trial)),
                (Way::Inbound, Product::Static) => {}
                _ => trial.arrived.connections().iter().for_each(|connection| {
                    *report.egress.entry(connection.peer).or_default() += 1;
                }),
            }
            let trouble = trial.trouble.as_ref();
            report.troubles.extend(trouble.map(|why| Broken {
                promise: format!("{}: every request is answered", title(way, product)),
                found: why.clone(),
            }));
        }
        report
    }

    /// How many secrets were found by the control, and how many had to be.
    pub(super) fn controlled(&self) -> (usize, usize) {
        (self.control.iter().filter(|(.., found)| *found).count(), self.control.len())
    }

    /// In how many cells the gateway's own records say what was found, and how many cells there are.
    pub(super) fn claims(&self) -> (usize, usize) {
        let cells = || self.rows.iter().flat_map(|row| &row.cells).filter(|cell| cell.promise != Promise::None);
        (cells().filter(|cell| cell.claimed.is_some() && cell.claimed == cell.found()).count(), cells().count())
    }

    /// How many cells are as promised, and how many there are.
    pub(super) fn kept(&self) -> (usize, usize) {
        let cells = || self.rows.iter().flat_map(|row| &row.cells).filter(|cell| cell.promise != Promise::None);
        (cells().filter(|cell| cell.kept()).count(), cells().count())
    }

    /// Connections that came from no egress address of the gateway's.
    pub(super) fn strays(&self) -> usize {
        let ours = |address: &IpAddr| EGRESS.iter().any(|own| *own == address.to_string());
        self.egress.iter().filter(|(address, _)| !ours(address)).map(|(_, count)| count).sum()
    }

    /// Each promise that was broken or could not be checked.
    pub(super) fn broken(&self) -> Vec<Broken> {
        let mut broken: Vec<Broken> = self.control.iter().filter(|(.., found)| !found).map(missing).collect();
        broken.extend(self.rows.iter().flat_map(|row| {
            // What the control did not find is said above, once.
            let cells = row.cells.iter().filter(|cell| cell.known);
            let wrong = cells.clone().filter(|cell| !cell.kept()).map(|cell| wrong(row, cell));
            let disputed = cells.filter(|cell| disputed(cell)).map(|cell| dispute(row, cell));
            wrong.chain(disputed).chain((!row.recorded).then(|| unrecorded(row)))
        }));
        broken.extend(self.certificates.iter().filter(|seen| seen.whose != seen.promised).map(|seen| Broken {
            promise: format!("{}: the certificate that the client sees is {}", place(seen), whose(seen.promised)),
            found: format!("it is {}", whose(seen.whose)),
        }));
        if let Some(place) = &self.key.found {
            let promise = "the origin's private key never leaves the origin".to_owned();
            broken.push(Broken { promise, found: format!("it is in {place}") });
        }
        if self.passed.as_ref().is_some_and(|passed| !passed.identical) {
            let promise = format!("{}: bytes pass as they came", title(Way::Inbound, Product::Shield));
            broken.push(Broken { promise, found: "they differ between the two legs".to_owned() });
        }
        if self.strays() > 0 {
            let promise = format!("connections leave from {} alone", EGRESS.join(" and "));
            broken.push(Broken { promise, found: format!("{} came from elsewhere", self.strays()) });
        }
        broken
            .extend(self.troubles.iter().map(|own| Broken { promise: own.promise.clone(), found: own.found.clone() }));
        broken
    }
}

/// "Shield, to an https destination".
pub(super) fn title(way: Way, product: Product) -> String {
    let way = match way {
        Way::OutboundHttps => "to an https destination",
        Way::OutboundHttp => "to a plain http destination",
        Way::Inbound => "inbound",
    };
    format!("{}, {way}", product.name())
}

/// In few words, for a line that says more: "Shield, https: wire, app → gateway".
fn at(row: &Row) -> String {
    let way = match row.way {
        Way::OutboundHttps => "https",
        Way::OutboundHttp => "plain http",
        Way::Inbound => "inbound",
    };
    format!("{}, {way}: {}", row.product.name(), row.party.words(row.way))
}

fn place(seen: &Seen) -> String {
    format!("{}, {}", title(seen.way, seen.product), seen.by)
}

fn whose(whose: Whose) -> &'static str {
    match whose {
        Whose::Own => "the target's own",
        Whose::Gateway => "the gateway's",
    }
}

fn missing((way, product, secret, _): &(Way, Product, Secret, bool)) -> Broken {
    let at = if *secret == Secret::Password { "gateway" } else { "target" };
    let promise = format!("{}: what is sent arrives at the {at}", title(*way, *product));
    Broken { promise, found: format!("the {} did not, so nothing is known of it", secret.name()) }
}

fn unrecorded(row: &Row) -> Broken {
    Broken { promise: format!("{} is recorded", at(row)), found: "nothing was recorded".to_owned() }
}

fn wrong(row: &Row, cell: &Cell) -> Broken {
    let secret = cell.secret.name();
    match (&cell.hit, cell.promise) {
        (Some(hit), Promise::Hidden) => Broken {
            promise: format!("{} must not read this", at(row)),
            found: format!("{secret:9} {:9} byte {:<6} {}.bin", hit.form.to_string(), hit.offset, hit.recording),
        },
        _ => Broken {
            promise: format!("{} is said to read this", at(row)),
            found: format!("{secret:9} is nowhere in what was recorded"),
        },
    }
}

/// Whether the gateway's own records say otherwise than was found.
fn disputed(cell: &Cell) -> bool {
    cell.found().is_some() && cell.claimed != cell.found()
}

fn dispute(row: &Row, cell: &Cell) -> Broken {
    let said = match cell.claimed {
        None => "they do not say",
        Some(true) => "they say that it can",
        Some(false) => "they say that it cannot",
    };
    let promise = format!("{} in the gateway's records", at(row));
    Broken { promise, found: format!("{:9} {said}", cell.secret.name()) }
}

/// One for each server that clients of this trial opened TLS with, as the first of them saw it.
fn certificates(trial: &Trial) -> Vec<Seen> {
    let seen = |by, der: &[u8], promised| {
        let whose = if der == trial.own { Whose::Own } else { Whose::Gateway };
        Seen { way: trial.way, product: trial.product, by, sha256: Sha256::digest(der).into(), whose, promised }
    };
    let session = trial.session.as_ref().and_then(|session| session.connections().into_iter().next()?.certificate);
    let (by, promised) = match (trial.way, trial.product) {
        (Way::Inbound, Product::Shield) => ("the domain", Whose::Own),
        (Way::Inbound, Product::Static) => ("the domain", Whose::Gateway),
        _ => ("the proxy", Whose::Gateway),
    };
    let session = session.map(|der| seen(by, &der, promised));
    let inner = trial.inner.first().map(|inner| seen("the destination", &inner.certificate, Whose::Own));
    session.into_iter().chain(inner).collect()
}
