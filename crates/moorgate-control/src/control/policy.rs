//! Policies.

use moorgate_contract::policy::{MAX_RULES, Policy};

use super::{Control, Session};
use crate::{
    book::AccountRow,
    compile,
    error::{ControlError, Invalid, Result},
};

impl Control {
    /// An account's policy.
    ///
    /// # Errors
    /// [`ControlError::NotFound`]; [`ControlError::NotServed`] when what is stored can't be read.
    pub async fn policy(&self, account: &str) -> Result<Policy> {
        let row = self.inner.account_row(account)?;
        compile::policy(&row).map_err(|_| ControlError::NotServed { account: row.name })
    }

    /// Replaces an account's policy. Open tunnels are kept; with `cut`, those that the new rules refuse are cut.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`Invalid::TooManyRules`], [`ControlError::StoreDown`].
    pub async fn set_policy(&self, account: &str, policy: Policy, cut: bool) -> Result<()> {
        let count = policy.rules().len();
        if count > MAX_RULES {
            return Err(Invalid::TooManyRules { count }.into());
        }
        let account = account.to_owned();
        let operation = async move |mut session: Session| {
            let old = session.inner.account_row(&account)?;
            let policy_cuts = old.policy_cuts + u64::from(cut);
            let row = AccountRow { policy: text(&policy), policy_cuts, ..old.clone() };
            session.set_account(&old, row).await?;
            session.commit().await
        };
        self.write(operation).await
    }
}

/// How a policy stands in a row.
pub(crate) fn text(policy: &Policy) -> String {
    // Rules are texts and two-valued effects: nothing in them can fail to be JSON. What could not be read again would
    // take out the account rather than open it.
    serde_json::to_string(policy).unwrap_or_default()
}
