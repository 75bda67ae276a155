//! Secrets at rest: the store's key under another master key, and backups.

use moorgate_keys::{KeyId, StoreKey};

use super::{Control, Session, changes};
use crate::{
    backup::{self, SealedBackup},
    book::RouteRow,
    compile,
    error::{ControlError, Result},
    limits::RESTORE_TIME,
    store::Store,
};

impl Control {
    /// Seals the store's key under the master key in use, whichever it was sealed under. Answers with that master key's
    /// id. What a version before left unsealed is sealed too. Other gateways go on with what they have; each must know
    /// this master key before it starts again.
    ///
    /// # Errors
    /// [`ControlError::Seal`], [`ControlError::StoreDown`].
    pub async fn rewrap_secrets(&self) -> Result<KeyId> {
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let master = &inner.master_keys.current;
            let is_under = |sealed: &[u8]| StoreKey::is_under(master, sealed);
            let key = match inner.book().key().filter(|sealed| is_under(sealed)) {
                Some(_) => None,
                None => Some(inner.store_key.seal(master).map_err(ControlError::Seal)?),
            };
            if let Some(key) = &key {
                session.tx()?.set_key(master.key_id(), key).await?;
                session.entries.push(changes::sealed_key(master.key_id()));
            }
            let unsealed: Vec<RouteRow> =
                inner.book().routes().filter(|row| compile::has_open_values(row)).cloned().collect();
            for row in unsealed {
                // As it stands: what would be refused by now must not hold up another master key.
                let Ok(mut settings) = compile::settings(&row) else { continue };
                let sealed = compile::seal_values(inner.store_key.key(), &mut settings, &[], &[]);
                sealed.map_err(ControlError::Seal)?;
                let settings = serde_json::to_string(&settings).unwrap_or_default();
                session.set_route(&inner.account_name(row.account), &row, RouteRow { settings, ..row.clone() }).await?;
            }
            session.commit().await?;
            if let Some(key) = key {
                inner.rewrite(|book| book.set_key(key));
            }
            inner.signals.seal.notify_one();
            Ok(master.key_id())
        };
        self.write(operation).await
    }

    /// Everything in the store as of one moment, sealed under the master key in use.
    ///
    /// # Errors
    /// [`ControlError::Seal`], [`ControlError::StoreDown`].
    pub async fn backup(&self) -> Result<SealedBackup> {
        // Usage up to now is in it; without, what is stored is.
        let _ = self.settle().await;
        let take = async move |mut store: Store| {
            let whole = store.take_whole().await?;
            Ok((store, whole))
        };
        let whole = self.aside_within(RESTORE_TIME, take).await?;
        backup::pack(&self.inner.master_keys, &whole)
    }
}
