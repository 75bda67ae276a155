//! How many connections each client address has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use foldhash::quality::RandomState;

/// Connections of each client address.
pub(super) struct PerAddress {
    pub(super) most: usize,
    counts: Mutex<HashMap<IpAddr, usize, RandomState>>,
}

impl PerAddress {
    pub(super) fn new(most: usize) -> Self {
        Self { most, counts: Mutex::default() }
    }

    /// Counts one more; `false`: there are as many as there may be.
    pub(super) fn enter(&self, client: IpAddr) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        let fits = *count < self.most;
        if fits {
            *count += 1;
        }
        fits
    }

    pub(super) fn leave(&self, client: IpAddr) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&client);
            }
        }
    }
}
