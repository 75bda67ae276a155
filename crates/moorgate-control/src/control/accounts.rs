//! Accounts.

use std::{net::IpAddr, sync::Arc};

use moorgate_contract::{account::AccountId, egress::Pair, policy::Policy, quota::Spent, time::Timestamp};

use super::{Control, Inner, now};
use crate::{
    book::{AccountRow, Book},
    calendar, compile,
    error::{ControlError, Invalid, Result, What},
    limits::MAX_ACCOUNTS,
    names::check_account_name,
    views::{AccountChange, AccountView, QuotaView},
};

impl Control {
    /// Makes an account with an empty policy and the gateway's egress addresses.
    ///
    /// # Errors
    /// [`Invalid::AccountName`], [`ControlError::Exists`], [`Invalid::TooMany`], [`ControlError::StoreDown`].
    pub async fn add_account(&self, name: &str) -> Result<AccountView> {
        check_account_name(name)?;
        let name = name.to_owned();
        let operation = async move |mut session: super::Session| {
            let inner = session.inner.clone();
            inner.refuse_new_account(&name)?;
            session.add_account(new_row(&name, now())).await?;
            session.commit().await?;
            inner.account_view(&name)
        };
        self.write(operation).await
    }

    /// Every account, by name.
    pub async fn list_accounts(&self) -> Vec<AccountView> {
        self.inner.take_usage();
        let book = self.inner.book();
        let mut views: Vec<AccountView> = book.accounts().map(|row| self.inner.view(&book, row)).collect();
        views.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// One account.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn account(&self, name: &str) -> Result<AccountView> {
        self.inner.take_usage();
        self.inner.account_view(name)
    }

    /// Changes an account. New connections follow within the call; open ones are not touched.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::Invalid`], [`ControlError::StoreDown`].
    pub async fn set_account(&self, name: &str, change: AccountChange) -> Result<AccountView> {
        self.inner.account_row(name)?;
        if let Some(egress) = &change.egress {
            check_egress(egress, self.inner.compiler.configured_egress())?;
        }
        let name = name.to_owned();
        let operation = async move |mut session: super::Session| {
            let inner = session.inner.clone();
            let old = inner.account_row(&name)?;
            let mut row = old.clone();
            if let Some(egress) = &change.egress {
                row.egress = compile::egress_text(egress);
            }
            if let Some(tier) = change.tier {
                row.tier = tier.map(|tier| inner.tier_row(&tier)).transpose()?.map(|tier| tier.name);
            }
            if row != old {
                session.set_account(&old, row).await?;
            }
            session.commit().await?;
            inner.account_view(&name)
        };
        let view = self.write(operation).await?;
        // A quota that is new to the account knows what its month has had before this is answered.
        let _ = self.settle().await;
        Ok(view)
    }

    /// Removes an account with its credentials, tokens, routes and certificates; what it has open is cut.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn remove_account(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        let operation = async move |mut session: super::Session| {
            let row = session.inner.account_row(&name)?;
            session.remove_account(&row).await?;
            session.commit().await
        };
        self.write(operation).await
    }
}

impl Inner {
    pub(crate) fn account_row(&self, name: &str) -> Result<AccountRow> {
        let not_found = || ControlError::not_found(What::Account, name);
        self.book().account(name).cloned().ok_or_else(not_found)
    }

    pub(crate) fn account_id(&self, name: &str) -> Result<AccountId> {
        let not_found = || ControlError::not_found(What::Account, name);
        self.book().account(name).map(|row| row.id).ok_or_else(not_found)
    }

    /// The name of an account, for the audit log.
    pub(crate) fn account_name(&self, id: AccountId) -> String {
        self.book().account_by_id(id).map(|row| row.name.clone()).unwrap_or_default()
    }

    fn refuse_new_account(&self, name: &str) -> Result<()> {
        let book = self.book();
        if book.account(name).is_some() {
            return Err(ControlError::Exists { what: What::Account, name: name.to_owned() });
        }
        if book.accounts().len() >= MAX_ACCOUNTS {
            return Err(Invalid::TooMany { what: What::Account, limit: MAX_ACCOUNTS }.into());
        }
        Ok(())
    }

    fn account_view(self: &Arc<Self>, name: &str) -> Result<AccountView> {
        let book = self.book();
        let row = book.account(name).ok_or_else(|| ControlError::not_found(What::Account, name))?;
        Ok(self.view(&book, row))
    }

    fn view(&self, book: &Book, row: &AccountRow) -> AccountView {
        let snapshot = self.current.load();
        let served = snapshot.account(&row.name).filter(|served| served.id == row.id);
        let own = compile::own_egress(row).unwrap_or_default();
        AccountView {
            name: row.name.clone(),
            created: row.created,
            egress: served.map_or_else(|| own.clone(), |served| served.egress.addresses().to_vec()),
            own_egress: !row.egress.is_empty(),
            credentials: book.count_credentials(row.id),
            served: served.is_some(),
            tier: row.tier.clone(),
            quota: row.tier.as_deref().and_then(|tier| self.view_quota(book, row.id, tier)),
        }
    }
}

impl Inner {
    fn view_quota(&self, book: &Book, account: AccountId, tier: &str) -> Option<QuotaView> {
        let quotas = serde_json::from_str(&book.tier(tier)?.quotas).ok()?;
        let now = now();
        let Spent { requests, bytes } = self.spent(account, now);
        Some(QuotaView { quotas, requests, bytes, until: calendar::end_of_month(calendar::month(now)) })
    }
}

/// A new account, which has yet to get its id.
pub(crate) fn new_row(name: &str, created: Timestamp) -> AccountRow {
    AccountRow {
        id: AccountId(0),
        name: name.to_owned(),
        created,
        policy: super::policy::text(&Policy::default()),
        policy_cuts: 0,
        egress: String::new(),
        tier: None,
    }
}

pub(crate) fn check_egress(own: &[IpAddr], configured: &[IpAddr]) -> Result<(), Invalid> {
    if !own.is_empty() && configured.is_empty() {
        return Err(Invalid::NoEgressConfigured);
    }
    if own.len() > Pair::MAX {
        return Err(Invalid::TooManyEgress { count: own.len() });
    }
    if let Some(address) = own.iter().find(|address| !configured.contains(address)) {
        return Err(Invalid::NotAnEgressAddress { address: *address });
    }
    if let [first, second] = own
        && first == second
    {
        return Err(Invalid::SameEgressTwice { address: *first });
    }
    Ok(())
}
