//! A deployment as a text: applied and exported.

use std::collections::HashMap;

use moorgate_contract::account::AccountId;

use super::{Control, Session};
use crate::{
    apply::{self, Applied, Document, Plan, Planned},
    book::RouteRow,
    error::{ControlError, Invalid, Result},
    limits::{APPLY_TIME, MAX_TEXT},
};

impl Control {
    /// Makes everything as `text` (TOML) says, in one transaction; what is not in it is removed only with `prune`. A
    /// `dry_run` only says what would change.
    ///
    /// # Errors
    /// [`ControlError::Text`] with the line of what is wrong, and then nothing is changed; [`ControlError::StoreDown`].
    pub async fn apply(&self, text: &str, dry_run: bool, prune: bool) -> Result<Applied> {
        if text.len() > MAX_TEXT {
            return Err(Invalid::TextTooLong { bytes: text.len() }.into());
        }
        let document = Document::read(text).map_err(ControlError::Text)?;
        if dry_run {
            let plan = Plan::of(&document, &self.inner, prune).map_err(ControlError::Text)?;
            return Ok(applied(&plan, false));
        }
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let plan = Plan::of(&document, &inner, prune).map_err(ControlError::Text)?;
            let done = applied(&plan, true);
            let mut made: HashMap<String, AccountId> = HashMap::new();
            for change in plan.changes {
                carry_out(&mut session, change, &mut made).await?;
            }
            session.commit().await?;
            Ok(done)
        };
        self.write_within(APPLY_TIME, operation).await
    }

    /// Everything that is stored as a text, which applied would change nothing. No secret is in it.
    pub async fn export(&self) -> String {
        apply::write(&self.inner.book())
    }
}

fn applied(plan: &Plan, applied: bool) -> Applied {
    Applied { changes: plan.changes.iter().map(Planned::view).collect(), unnamed: plan.unnamed, applied }
}

async fn carry_out(session: &mut Session, change: Planned, made: &mut HashMap<String, AccountId>) -> Result<()> {
    match change {
        Planned::PutTier(old, row) => session.put_tier(old.as_ref(), row).await,
        Planned::AddAccount(row) => {
            let row = session.add_account(row).await?;
            made.insert(row.name, row.id);
            Ok(())
        }
        Planned::SetAccount(old, row) => session.set_account(&old, row).await,
        Planned::AddRoute(name, row) => {
            let account = match made.get(&name) {
                Some(account) => *account,
                None => session.inner.account_id(&name)?,
            };
            session.add_route(&name, RouteRow { account, ..row }).await
        }
        Planned::SetRoute(name, old, row) => session.set_route(&name, &old, row).await,
        Planned::RemoveRoute(name, row) => session.remove_route(&name, &row, "remove").await,
        Planned::RemoveAccount(row, ..) => session.remove_account(&row).await,
        Planned::RemoveTier(row) => session.remove_tier(&row).await,
    }
}
