use moorgate_contract::listener::Product;

use super::*;
use crate::demo::{client::Inner, key::KeySearch, report::Report, tape::Tape};

const US: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn planted() -> Planted {
    Planted::draw(("mg_a".to_owned(), "a-password-of-ours".to_owned())).unwrap()
}

/// One connection of which this was recorded, both ways.
fn tape(text: &str, certificate: Option<&[u8]>) -> Tape {
    let tape = Tape::default();
    let track = tape.open(US);
    for direction in Direction::ALL {
        track.record(direction, text.as_bytes());
    }
    track.certificate(certificate);
    tape
}

/// A request inbound whose path alone went through: TLS on both legs, ended with the certificate `shown`.
fn trial(arrived: &str, shown: &[u8]) -> Trial {
    Trial {
        way: Way::Inbound,
        product: Product::Shield,
        to_gateway: tape("ciphertext", None),
        session: Some(tape(arrived, Some(shown))),
        inner: Vec::new(),
        to_target: tape("ciphertext", None),
        arrived: tape(arrived, None),
        own: b"the origin's".to_vec(),
        flows: Vec::new(),
        trouble: None,
    }
}

fn path(rows: &[Row], party: Party) -> &Cell {
    let row = rows.iter().find(|row| row.party == party).unwrap();
    row.cells.iter().find(|cell| cell.secret == Secret::Path).unwrap()
}

#[test]
fn what_did_not_arrive_is_unknown_and_no_promise_is_kept_by_it() {
    let planted = planted();
    let needles = Needles::new(&planted);
    let known = rows(&trial(&planted.path(), b"the origin's"), &needles);
    assert!(Party::ALL.iter().all(|party| path(&known, *party).found() == Some(false)));
    assert!(Party::ALL.iter().all(|party| path(&known, *party).kept()));
    let lost = trial("nothing", b"the origin's");
    assert!(Party::ALL.iter().all(|party| path(&rows(&lost, &needles), *party).found().is_none()));
    assert!(!Party::ALL.iter().any(|party| path(&rows(&lost, &needles), *party).kept()));
    let report = Report::new(&[lost], &planted, |_| KeySearch { recordings: 0, files: 0, found: None });
    assert!(report.broken().iter().any(|own| own.found.starts_with("the path did not, so nothing is known")));
}

#[test]
fn a_leg_of_which_nothing_was_recorded_proves_nothing() {
    let planted = planted();
    let mut trial = trial(&planted.path(), b"the origin's");
    trial.to_target = Tape::default();
    let rows = rows(&trial, &Needles::new(&planted));
    assert_eq!(path(&rows, Party::WireToTarget).found(), None);
    assert_eq!(path(&rows, Party::WireToGateway).found(), Some(false));
}

#[test]
fn tls_that_ends_with_a_key_that_is_not_the_targets_is_read_by_the_gateway() {
    let planted = planted();
    let needles = Needles::new(&planted);
    let ended = trial(&planted.path(), b"another");
    assert_eq!(path(&rows(&ended, &needles), Party::Gateway).found(), Some(true));
    let report = Report::new(&[ended], &planted, |_| KeySearch { recordings: 0, files: 0, found: None });
    assert!(report.broken().iter().any(|own| own.promise.contains("the certificate that the client sees")));
    // The same inside a tunnel.
    let mut tunnel = trial(&planted.path(), b"the origin's");
    tunnel.inner.push(Inner { certificate: b"another".to_vec(), sent: planted.path().into_bytes() });
    assert_eq!(path(&rows(&tunnel, &needles), Party::Gateway).found(), Some(true));
}

#[test]
fn bytes_that_differ_between_the_legs_of_passthrough_are_told() {
    let planted = planted();
    let identical = |trial: Trial| {
        let report = Report::new(&[trial], &planted, |_| KeySearch { recordings: 0, files: 0, found: None });
        report.passed.unwrap().identical
    };
    assert!(identical(trial("", b"the origin's")));
    let mut changed = trial("", b"the origin's");
    changed.to_target = tape("ciphertexT", None);
    assert!(!identical(changed));
    let mut silent = trial("", b"the origin's");
    (silent.to_gateway, silent.to_target) = (Tape::default(), Tape::default());
    assert!(!identical(silent));
}
