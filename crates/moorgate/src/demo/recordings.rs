//! What each party of a trial could read: the bytes that are searched.

use super::{
    promise::Party,
    tape::{Direction, Tape},
    trial::Trial,
};
use crate::output;

/// Bytes that a party could read, under the name that their file has.
pub(super) struct Recording {
    /// `outbound-https-shield.to-gateway.up`.
    pub(super) name: String,
    /// `None` for the gateway's records of flows.
    pub(super) direction: Option<Direction>,
    /// All connections, one after the other.
    pub(super) bytes: Vec<u8>,
}

/// On a wire its bytes. The gateway reads what it ended TLS of, else the bytes as they are; and it knows what it wrote down.
pub(super) fn recordings(trial: &Trial, party: Party) -> Vec<Recording> {
    let product = trial.product.name().to_ascii_lowercase();
    let name = |part: &str| format!("{}-{product}.{}{part}", trial.way.name(), party.file());
    let both = |tape: &Tape| {
        Direction::ALL.map(|direction| Recording {
            name: name(&format!(".{}", direction.name())),
            direction: Some(direction),
            bytes: tape.joined(direction),
        })
    };
    match party {
        Party::WireToGateway => both(&trial.to_gateway).into(),
        Party::WireToTarget => both(&trial.to_target).into(),
        Party::Gateway => {
            // Whose key a session ends with is for the certificate to say: whatever is not the target's is the gateway's,
            // since clients trust nobody else.
            let ended = trial
                .session
                .as_ref()
                .filter(|session| session.connections().iter().any(|own| own.certificate.as_ref() != Some(&trial.own)));
            let mut all: Vec<_> = both(ended.unwrap_or(&trial.to_gateway)).into();
            let inner = trial.inner.iter().filter(|inner| inner.certificate != trial.own);
            let inner: Vec<u8> = inner.flat_map(|inner| inner.sent.clone()).collect();
            if !inner.is_empty() {
                all.push(Recording { name: name(".inner.up"), direction: Some(Direction::Up), bytes: inner });
            }
            let flows = trial.flows.iter().filter_map(|flow| output::json_line(flow).ok());
            all.push(Recording { name: name(".flows"), direction: None, bytes: flows.collect::<String>().into() });
            all
        }
    }
}

/// Whether every connection of a trial carried the same bytes on both legs.
pub(super) struct Passed {
    /// Every byte of every connection, in both directions.
    pub(super) identical: bool,
    /// Connections from clients.
    pub(super) connections: usize,
    /// Bytes from clients.
    pub(super) up: usize,
    /// Bytes to clients.
    pub(super) down: usize,
}

/// Compares the legs of a trial, connection by connection: its requests came one after the other.
pub(super) fn passed(trial: &Trial) -> Passed {
    let (one, other) = (trial.to_gateway.connections(), trial.to_target.connections());
    let same = |direction| one.iter().zip(&other).all(|(one, other)| one.way(direction) == other.way(direction));
    let [up, down] = Direction::ALL.map(|direction| trial.to_gateway.joined(direction).len());
    let whole = one.len() == other.len() && up > 0 && down > 0;
    Passed { identical: whole && Direction::ALL.into_iter().all(same), connections: one.len(), up, down }
}
