//! Tiers: the quotas that an account may have bought.

use moorgate_contract::quota::Quotas;

use super::{Control, Inner, now};
use crate::{
    book::{Book, TierRow},
    error::{ControlError, Invalid, Result, What},
    limits::MAX_TIERS,
    names::check_tier_name,
    views::TierView,
};

impl Control {
    /// Every tier, by name.
    pub async fn list_tiers(&self) -> Vec<TierView> {
        let book = self.inner.book();
        book.tiers().map(|row| view(&book, row)).collect()
    }

    /// One tier.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn tier(&self, name: &str) -> Result<TierView> {
        self.inner.tier_view(name)
    }

    /// Makes a tier, or replaces its quotas: every account that has it follows at once, open tunnels are kept.
    ///
    /// # Errors
    /// [`ControlError::Invalid`], [`ControlError::StoreDown`].
    pub async fn set_tier(&self, name: &str, quotas: Quotas) -> Result<TierView> {
        check_tier_name(name)?;
        let name = name.to_owned();
        let operation = async move |mut session: super::Session| {
            let inner = session.inner.clone();
            let old = inner.book().tier(&name).cloned();
            if old.is_none() && inner.book().tiers().len() >= MAX_TIERS {
                return Err(Invalid::TooMany { what: What::Tier, limit: MAX_TIERS }.into());
            }
            // Numbers: nothing in them can fail to be JSON.
            let quotas = serde_json::to_string(&quotas).unwrap_or_default();
            let created = old.as_ref().map_or_else(now, |old| old.created);
            session.put_tier(old.as_ref(), TierRow { name: name.clone(), quotas, created }).await?;
            session.commit().await?;
            inner.tier_view(&name)
        };
        let view = self.write(operation).await?;
        let _ = self.settle().await;
        Ok(view)
    }

    /// Removes a tier that no account has.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`Invalid::TierInUse`], [`ControlError::StoreDown`].
    pub async fn remove_tier(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        let operation = async move |mut session: super::Session| {
            let inner = session.inner.clone();
            let row = inner.tier_row(&name)?;
            let accounts = inner.book().accounts_of_tier(&name).count();
            if accounts > 0 {
                return Err(Invalid::TierInUse { name, accounts }.into());
            }
            session.remove_tier(&row).await?;
            session.commit().await
        };
        self.write(operation).await
    }
}

impl Inner {
    pub(crate) fn tier_row(&self, name: &str) -> Result<TierRow> {
        self.book().tier(name).cloned().ok_or_else(|| ControlError::not_found(What::Tier, name))
    }

    fn tier_view(&self, name: &str) -> Result<TierView> {
        let book = self.book();
        let row = book.tier(name).ok_or_else(|| ControlError::not_found(What::Tier, name))?;
        Ok(view(&book, row))
    }
}

fn view(book: &Book, row: &TierRow) -> TierView {
    TierView {
        name: row.name.clone(),
        created: row.created,
        quotas: serde_json::from_str(&row.quotas).unwrap_or_default(),
        accounts: book.accounts_of_tier(&row.name).count(),
    }
}
