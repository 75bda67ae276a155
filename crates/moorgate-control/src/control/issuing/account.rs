//! The account at the CA: registered once for all gateways of a store, and kept sealed.

use std::sync::Arc;

use moorgate_acme::{Kind, Problem};
use moorgate_keys::{open, seal};
use zeroize::Zeroizing;

use super::{Issuing, words};
use crate::{
    control::{Control, Session, changes},
    error::{ControlError, Result},
};

/// What the account at the CA is sealed for.
const PURPOSE: &str = "ACME account";

impl Control {
    /// What is kept of the account at the CA; registered now, if there is none.
    pub(super) async fn ca_account(&self, issuing: Arc<Issuing>) -> Result<Arc<Zeroizing<Vec<u8>>>, Problem> {
        let mut known = issuing.account.lock().await;
        if let Some(account) = &*known {
            return Ok(account.clone());
        }
        let unwritten = |error: ControlError| Problem {
            kind: Kind::Unreachable,
            said: format!("what is kept of the account at the CA can't be read or written: {}", words(&error)),
            retry_after: None,
        };
        let directory = issuing.ca().directory.clone();
        if let Some(kept) = self.kept_ca_account(directory.clone(), None).await.map_err(unwritten)? {
            return Ok(known.insert(Arc::new(kept)).clone());
        }
        let made = issuing.ca().register().await?;
        // Another gateway may have registered meanwhile; the first one stays.
        let kept = self.kept_ca_account(directory, Some(made.clone())).await.map_err(unwritten)?;
        Ok(known.insert(Arc::new(kept.unwrap_or(made))).clone())
    }

    /// What the store keeps of the account at a CA; `made` is kept, if there is none.
    async fn kept_ca_account(
        &self,
        directory: String,
        made: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let key = inner.store_key.key();
            if let Some(sealed) = session.tx()?.ca_account(&directory).await? {
                // One that can't be opened is as good as none: another is registered.
                if let Ok(kept) = open(key, PURPOSE, &sealed) {
                    session.commit().await?;
                    return Ok(Some(kept));
                }
            }
            if let Some(made) = &made {
                let sealed = seal(key, PURPOSE, made).map_err(ControlError::Seal)?;
                session.tx()?.set_ca_account(&directory, Some(sealed)).await?;
                session.entries.push(changes::registered(&directory));
            }
            session.commit().await?;
            Ok(None)
        };
        self.write(operation).await
    }

    pub(super) async fn forget_ca_account(&self, issuing: Arc<Issuing>) {
        *issuing.account.lock().await = None;
        let directory = issuing.ca().directory.clone();
        let operation = async move |mut session: Session| {
            session.tx()?.set_ca_account(&directory, None).await?;
            session.entries.push(changes::forgot(&directory));
            session.commit().await
        };
        if let Err(error) = self.write(operation).await {
            tracing::debug!(error = words(&error), "an account that the CA does not know is kept for now");
        }
    }
}
