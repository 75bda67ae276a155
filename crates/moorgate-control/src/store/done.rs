//! What was done under a key: written with the change itself, so that it is never done twice, whatever becomes of the answer.

use std::time::Duration;

use moorgate_contract::time::Timestamp;
use sqlx::{query, query_as};

use super::{Tx, stored};
use crate::{
    call::Once,
    error::{ControlError, Result},
};

/// How long a key is remembered.
const KEPT: Duration = Duration::from_secs(24 * 3600);

impl Tx {
    /// Looks whether a key is still to be had.
    ///
    /// # Errors
    /// [`ControlError::AlreadyDone`] and [`ControlError::KeyReused`] when it is not; [`ControlError::StoreDown`].
    pub(crate) async fn check_once(&mut self, once: &Once, now: Timestamp) -> Result<()> {
        let failed = self.failed();
        let known: Option<(Vec<u8>, String)> = query_as("SELECT asked, did FROM done WHERE key = $1 AND at >= $2")
            .bind(once.key.to_vec())
            .bind(stored(forgotten(now)))
            .fetch_optional(self.connection())
            .await
            .map_err(failed)?;
        match known {
            None => Ok(()),
            Some((asked, did)) if asked == once.asked => Err(ControlError::AlreadyDone { did }),
            Some(_) => Err(ControlError::KeyReused),
        }
    }

    /// Takes a key for what this transaction does, `did` in words. Nobody can have taken it since this one began.
    pub(crate) async fn take_once(&mut self, once: &Once, did: &str, now: Timestamp) -> Result<()> {
        let failed = self.failed();
        query("DELETE FROM done WHERE at < $1")
            .bind(stored(forgotten(now)))
            .execute(self.connection())
            .await
            .map_err(&failed)?;
        query("INSERT INTO done (key, asked, at, did) VALUES ($1, $2, $3, $4)")
            .bind(once.key.to_vec())
            .bind(once.asked.to_vec())
            .bind(stored(now.0))
            .bind(did)
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(())
    }
}

/// The time before which keys are forgotten.
fn forgotten(now: Timestamp) -> u64 {
    now.0.saturating_sub(u64::try_from(KEPT.as_micros()).unwrap_or(u64::MAX))
}
