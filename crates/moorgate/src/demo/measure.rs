//! From recordings to cells: each is found by searching, and read only after the control.

use moorgate_contract::{exposure::Readable, listener::Product};

use super::{
    needle::{Case, Form, Needle},
    promise::{Party, Promise, Way, promise},
    recordings::{Recording, recordings},
    secrets::{Planted, Secret},
    tape::Direction,
    trial::Trial,
};

/// Where a secret was found first.
pub(super) struct Hit {
    /// The recording.
    pub(super) recording: String,
    /// Which way the bytes went.
    pub(super) direction: Option<Direction>,
    /// How it is written there.
    pub(super) form: Form,
    /// At which byte, from 0.
    pub(super) offset: usize,
}

/// What one party could read of one secret.
pub(super) struct Cell {
    /// The secret.
    pub(super) secret: Secret,
    /// The promise.
    pub(super) promise: Promise,
    /// Whether the control found the secret where it must be, and anything was recorded; without that nothing is known.
    pub(super) known: bool,
    /// Where it was found.
    pub(super) hit: Option<Hit>,
    /// What the gateway's own records say; `None` when there are none or they differ.
    pub(super) claimed: Option<bool>,
}

impl Cell {
    /// Whether it could be read; `None` when nothing is known, or there is nothing to read.
    pub(super) fn found(&self) -> Option<bool> {
        (self.known && self.promise != Promise::None).then_some(self.hit.is_some())
    }

    /// Whether it is as promised.
    pub(super) fn kept(&self) -> bool {
        match self.promise {
            Promise::Read => self.found() == Some(true),
            Promise::Hidden => self.found() == Some(false),
            Promise::None => true,
        }
    }
}

/// One line of the table.
pub(super) struct Row {
    /// Which way.
    pub(super) way: Way,
    /// Which product.
    pub(super) product: Product,
    /// Who might read.
    pub(super) party: Party,
    /// One for each secret.
    pub(super) cells: Vec<Cell>,
    /// What was searched.
    pub(super) recordings: Vec<Recording>,
    /// Whether both directions were recorded: a leg of which nothing was recorded says nothing.
    pub(super) recorded: bool,
}

impl Row {
    /// How many bytes were searched.
    pub(super) fn searched(&self) -> usize {
        self.recordings.iter().map(|recording| recording.bytes.len()).sum()
    }
}

/// The needles of a run.
pub(super) struct Needles([(Secret, Needle); 5]);

impl Needles {
    /// For these secrets.
    pub(super) fn new(planted: &Planted) -> Self {
        Self(Secret::ALL.map(|secret| {
            let case = if secret == Secret::Name { Case::Any } else { Case::Exact };
            (secret, Needle::new(planted.value(secret), case))
        }))
    }

    fn find(&self, secret: Secret, bytes: &[u8]) -> Option<(Form, usize)> {
        self.0.iter().find(|(own, _)| *own == secret)?.1.find(bytes)
    }

    fn hit(&self, secret: Secret, recording: &Recording) -> Option<Hit> {
        let (form, offset) = self.find(secret, &recording.bytes)?;
        Some(Hit { recording: recording.name.clone(), direction: recording.direction, form, offset })
    }
}

/// Which secrets of a trial were found at the party that must have them, in plaintext: the password at the gateway, all
/// others at the target.
pub(super) fn control(trial: &Trial, needles: &Needles) -> Vec<(Secret, bool)> {
    let arrived = trial.arrived.joined(Direction::Up);
    let handed = trial.session.as_ref().unwrap_or(&trial.to_gateway).joined(Direction::Up);
    // What was handed to the gateway has arrived there if it let us in by it.
    let let_in = trial.flows.iter().any(|flow| flow.username.is_some());
    let sent = Secret::ALL
        .into_iter()
        .filter(|secret| promise(trial.way, trial.product, Party::Gateway, *secret) != Promise::None);
    let found = |secret| match secret {
        Secret::Password => let_in && needles.find(secret, &handed).is_some(),
        _ => needles.find(secret, &arrived).is_some(),
    };
    sent.map(|secret| (secret, found(secret))).collect()
}

/// The three rows of a trial.
pub(super) fn rows(trial: &Trial, needles: &Needles) -> Vec<Row> {
    let control = control(trial, needles);
    let row = |party| {
        let recordings = recordings(trial, party);
        let recorded = Direction::ALL
            .iter()
            .all(|direction| recordings.iter().any(|own| own.direction == Some(*direction) && !own.bytes.is_empty()));
        let cell = |secret| Cell {
            secret,
            promise: promise(trial.way, trial.product, party, secret),
            known: recorded && control.contains(&(secret, true)),
            hit: recordings.iter().find_map(|recording| needles.hit(secret, recording)),
            claimed: claimed(trial, party, secret),
        };
        let cells = Secret::ALL.map(cell).into();
        Row { way: trial.way, product: trial.product, party, cells, recordings, recorded }
    };
    Party::ALL.map(row).into()
}

/// What the flows that the gateway recorded say could be read.
fn claimed(trial: &Trial, party: Party, secret: Secret) -> Option<bool> {
    let claim = |readable: Readable| match secret {
        Secret::Name => readable.name,
        Secret::Password => readable.credentials,
        Secret::Path => readable.path,
        Secret::Header => readable.headers,
        Secret::Body => readable.body,
    };
    let mut claims = trial.flows.iter().map(|flow| {
        claim(match party {
            Party::WireToGateway => flow.exposure.wire_to_gateway,
            Party::Gateway => flow.exposure.gateway,
            Party::WireToTarget => flow.exposure.wire_to_target,
        })
    });
    let first = claims.next()?;
    claims.all(|claim| claim == first).then_some(first)
}

#[cfg(test)]
mod tests;
